/**
 * Computes every chosen layer of a routing file.
 *
 * @module
 */
import { failOnLibraryError } from '../fail.ts';
import type { DeviceDescription, ExpertGroup, OutputShape } from '../library.ts';
import type { Routing, TopkIdxView } from '../read/routing.ts';
import { allocateOutputs, type OutputsOfLayers } from './outputs-of-layers.ts';
import { type Timing, timePasses } from './timing.ts';

/** What is to be computed for each layer, and how. */
export interface LayersRequest<Arrays> {
  readonly routing: Routing;
  /** The group that computes. */
  readonly group: InstanceType<typeof ExpertGroup>;
  readonly shape: OutputShape;
  /** Whether the outputs with a row for each token or selection, which are long, are kept. The counts always are. */
  readonly keepRows: boolean;
  /** What to do if the outputs take too much memory. */
  readonly remedy: string;
  /** Computes a layer, and writes to these arrays. */
  readonly computeLayer: (view: TopkIdxView, out: Arrays) => void;
}

/** What was computed for all chosen layers. Each of them has the shape that is given here. */
export interface ComputedLayers<Arrays> extends OutputShape, OutputsOfLayers<Arrays> {
  readonly routing: Routing;
  readonly device: DeviceDescription['device'];
  readonly numLayers: number;
  readonly timing: Timing;
  /** What to do if something that is made of this takes too much memory. */
  readonly remedy: string;
}

/** Computes every layer, and measures how long that takes. */
export function computeLayers<Arrays>(request: LayersRequest<Arrays>): ComputedLayers<Arrays> {
  const { routing, group, shape, keepRows, remedy, computeLayer } = request;
  const { blocks, layers } = allocateOutputs<Arrays>(routing, shape, keepRows, remedy);
  const computeLayerAt = (index: number): void => {
    try {
      computeLayer(routing.views[index], layers[index]);
    } catch (error) {
      const { name } = routing;
      const where = routing.layers === null ? name : `${name}, layer ${routing.layers[index]}`;
      failOnLibraryError(where, shape.numExperts, error);
    }
  };
  const timing = timePasses(computeLayerAt, layers.length);
  return { ...shape, routing, device: group.device, numLayers: layers.length, layers, blocks, timing, remedy };
}

/** What to do about results that are too large. */
export function smallerRemedy({ views }: Routing): string {
  return views.length > 1 ? 'take one --layer at a time' : 'split the file by tokens';
}
