/**
 * Computes the layouts of all chosen layers, and measures how long that takes.
 *
 * @module
 */
import { deepepName } from './deepep-name.ts';
import { fail, failOnLibraryError, withMemory } from './fail.ts';
import type { InvalidExperts } from './flags.ts';
import {
  type DeviceDescription,
  ExpertGroup,
  type ExpertGroupOptions,
  idTypes,
  type LayoutArrays,
  type LayoutShape,
  layoutComputations,
  layoutForm,
  type MaskForm,
  type Output,
  type OutputName,
} from './library.ts';
import { startProgress } from './progress.ts';
import type { Routing } from './read/routing.ts';

/** What is to be computed, and how. */
export interface RoutingRequest {
  readonly routing: Routing;
  /** What the routing file is called in errors. */
  readonly name: string;
  readonly numExperts: number;
  readonly groupOptions: ExpertGroupOptions;
  readonly invalidExperts: InvalidExperts;
  /** The id that stands for an empty slot, beside -1. */
  readonly emptyId: number | bigint | undefined;
  readonly mask: MaskForm;
  /** Whether the outputs with a row for each token, which are long, are kept. The counts always are. */
  readonly keepRows: boolean;
}

/** The layouts of all chosen layers. Each of them has the shape that is given here. */
export interface RoutingLayout extends LayoutShape {
  /** The form of `isTokenInRank`. */
  readonly mask: MaskForm;
  readonly device: DeviceDescription['device'];
  readonly numLayers: number;
  readonly numRanksPerNode: number;
  /** The outputs of each layer. Rows that are not kept are in one array for all layers, each of which overwrites it. */
  readonly layers: readonly LayoutArrays<MaskForm>[];
  readonly blocks: OutputBlocks;
  readonly timing: Timing;
}

/**
 * Each output of all layers in one array, `[numLayers, …]`, row-major. It is `null` where a layout of this shape does
 * not have the output, and where rows are not kept.
 */
export type OutputBlocks = { readonly [Name in keyof LayoutArrays]: Block | null };

type Block = Int32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

/** The time of one pass over all chosen layers, without reading the file and without reporting. */
export interface Timing {
  readonly seconds: number;
  /** How many passes `seconds` is the median of. The first pass is one of them only if it is the only one. */
  readonly numPasses: number;
  /** Whether there was a pass before those that were measured. */
  readonly warm: boolean;
}

/** For how long passes are repeated: long enough for a steady median, and too short for the user to notice. */
const timingBudgetMs = 150;
const maxPasses = 101;

/** The longest array that Node.js 20 can allocate. */
const maxBlockBytes = 2 ** 32 - 1;

/** Computes the layout of every layer of the routing. */
export function computeRoutingLayout(request: RoutingRequest): RoutingLayout {
  const { routing, name, numExperts, invalidExperts, emptyId, mask } = request;
  try {
    const group = new ExpertGroup(request.groupOptions);
    const shape = {
      mask,
      numTokens: routing.numTokens,
      numTopk: routing.numTopk,
      numExperts,
      numRanks: group.numRanks,
      numRdmaRanks: group.numRdmaRanks,
    };
    const { blocks, layers } = allocate(request, shape);
    const computeLayer = (index: number): void => {
      try {
        group.getDispatchLayout(routing.views[index], numExperts, {
          invalidExperts,
          emptyId,
          mask,
          out: layers[index],
        });
      } catch (error) {
        const where = routing.layers === null ? name : `${name}, layer ${routing.layers[index]}`;
        failOnLibraryError(where, numExperts, error);
      }
    };
    const timing = timePasses(computeLayer, layers.length);
    return {
      ...shape,
      device: group.device,
      numLayers: layers.length,
      numRanksPerNode: group.numRanksPerNode,
      layers,
      blocks,
      timing,
    };
  } catch (error) {
    return failOnLibraryError(name, numExperts, error);
  }
}

/** Allocates the outputs of all layers. An output that is kept for all layers is in one block, of which each has a part. */
function allocate(
  { routing, keepRows, name: file }: RoutingRequest,
  shape: LayoutShape & { readonly mask: MaskForm },
): { blocks: OutputBlocks; layers: LayoutArrays<MaskForm>[] } {
  const blocks: Partial<Record<OutputName, Block | null>> = {};
  const layers = routing.views.map((): Partial<Record<OutputName, Block | null>> => ({}));
  for (const output of layoutForm.outputs) {
    const { name } = output;
    const length = output.length({ ...shape, computation: layoutComputations[shape.mask] });
    const isKept = output.kind === 'count' || keepRows;
    const block = length === null ? null : allocateBlock(output, length, isKept ? layers.length : 1, file);
    blocks[name] = isKept ? block : null;
    layers.forEach((layer, index) => {
      layer[name] =
        block === null || length === null || !isKept ? block : block.subarray(index * length, (index + 1) * length);
    });
  }
  // The loop has set every output, and its arrays are of the types that the table says.
  return { blocks: blocks as OutputBlocks, layers: layers as LayoutArrays<MaskForm>[] };
}

function allocateBlock({ name, type }: Output, length: number, numLayers: number, file: string): Block {
  const what = `${deepepName(name)} of ${file}`;
  const bytes = numLayers * length * idTypes[type].bytes;
  const remedy = smallerRemedy(numLayers);
  if (bytes > maxBlockBytes) fail(`${what} would take ${bytes} bytes, over the limit of 4 GiB; ${remedy}`);
  return withMemory(
    `the ${bytes} bytes of ${what}`,
    remedy,
    () => new idTypes[type].array(numLayers * length) as Block,
  );
}

/** What to do about a layout that is too large. */
export function smallerRemedy(numLayers: number): string {
  return numLayers > 1 ? 'take one --layer at a time' : 'split the file by tokens';
}

/**
 * Computes all layers, and measures how long that takes. The first pass also warms up; if it was short, more passes follow,
 * and the time is their median.
 */
function timePasses(computeLayer: (index: number) => void, numLayers: number): Timing {
  const progress = startProgress('computing layers', numLayers);
  const firstStart = performance.now();
  try {
    for (let layer = 0; layer < numLayers; layer++) {
      computeLayer(layer);
      progress.update(layer + 1);
    }
  } finally {
    progress.stop();
  }
  const firstMs = performance.now() - firstStart;
  if (firstMs > timingBudgetMs) return { seconds: firstMs / 1000, numPasses: 1, warm: false };

  const times: number[] = [];
  const repeatUntil = performance.now() + timingBudgetMs;
  do {
    const start = performance.now();
    for (let layer = 0; layer < numLayers; layer++) computeLayer(layer);
    times.push(performance.now() - start);
  } while (times.length < maxPasses && performance.now() < repeatUntil);
  times.sort((left, right) => left - right);
  return { seconds: times[times.length >> 1] / 1000, numPasses: times.length, warm: true };
}
