/**
 * What every command knows of the layers that it has computed.
 *
 * @module
 */
import type { DeviceDescription, OutputShape } from '../library.ts';
import type { ChosenRouting } from '../read/routing.ts';
import type { Timing } from './pass.ts';

/** What was computed for all chosen layers. Each of them has the shape that is given here. */
export interface ComputedLayers extends OutputShape {
  readonly routing: ChosenRouting;
  readonly device: DeviceDescription['device'];
  readonly numLayers: number;
  readonly timing: Timing;
}

/** The shape of arrays with these dimensions for each layer. */
export function shapeInFile({ hasLayerAxis, chosen }: ChosenRouting, dimensions: readonly number[]): readonly number[] {
  return hasLayerAxis ? [chosen.length, ...dimensions] : dimensions;
}

/** Adds counts to sums. The sums are doubles, since those of 32-bit counts may need more than 32 bits. */
export function addTo(sums: Float64Array, counts: ArrayLike<number>): void {
  for (let index = 0; index < sums.length; index++) sums[index] += counts[index];
}
