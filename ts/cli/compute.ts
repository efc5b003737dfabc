/**
 * Computes the layouts of all chosen layers, and times them.
 *
 * @module
 */

import { fail, failOnLibraryError } from './fail.ts';
import type { InvalidExperts } from './flags.ts';
import { ExpertGroup, type ExpertGroupOptions, type LayoutArrays } from './library.ts';
import { startProgress } from './progress.ts';
import type { Routing } from './read/routing.ts';

/** The outputs of all layers, one after the other: `[numLayers, …]`, row-major. */
export interface RoutingLayout {
  readonly device: ExpertGroup['device'];
  readonly numLayers: number;
  readonly numTokens: number;
  readonly numTopk: number;
  readonly numExperts: number;
  readonly numRanks: number;
  readonly numRanksPerNode: number;
  readonly numRdmaRanks: number;
  readonly numTokensPerRank: Int32Array<ArrayBuffer>;
  readonly numTokensPerRdmaRank: Int32Array<ArrayBuffer> | null;
  readonly numTokensPerExpert: Int32Array<ArrayBuffer>;
  /** `[numLayers, numTokens, numRanks]`; `null` unless it was to be kept. */
  readonly isTokenInRank: Uint8Array<ArrayBuffer> | null;
  readonly timing: Timing;
}

/** How long one pass over all chosen layers took. Reading the file and reporting are no part of it. */
export interface Timing {
  readonly seconds: number;
  /** Passes that `seconds` is the median of; the first, cold pass is one of them only if it is the only one. */
  readonly numPasses: number;
  readonly warm: boolean;
}

/** Passes are repeated for this long: enough for a steady median, too short to wait for. */
const timingBudgetMs = 150;
const maxPasses = 101;

/** The longest array of Node 20. */
const maxMaskBytes = 2 ** 32 - 1;

/**
 * @param keepMask whether `isTokenInRank` of every layer is wanted.
 * @param name what to call the file in errors.
 */
export function computeRoutingLayout(
  routing: Routing,
  numExperts: number,
  groupOptions: ExpertGroupOptions,
  invalidExperts: InvalidExperts,
  keepMask: boolean,
  name: string,
): RoutingLayout {
  try {
    const group = new ExpertGroup(groupOptions);
    const blocks = allocateBlocks(routing, numExperts, group, keepMask, name);
    const outs = routing.views.map((_, index) =>
      layerOf(blocks, index, routing.numTokens, numExperts, group, keepMask),
    );
    const computeLayer = (index: number): void => {
      try {
        group.getDispatchLayout(routing.views[index], numExperts, { invalidExperts, out: outs[index] });
      } catch (error) {
        failOnLibraryError(
          routing.layers === null ? name : `${name}, layer ${routing.layers[index]}`,
          numExperts,
          error,
        );
      }
    };
    const timing = timePasses(computeLayer, outs.length);
    return {
      device: group.device,
      numLayers: outs.length,
      numTokens: routing.numTokens,
      numTopk: routing.numTopk,
      numExperts,
      numRanks: group.numRanks,
      numRanksPerNode: group.numRanksPerNode,
      numRdmaRanks: group.numRdmaRanks,
      numTokensPerRank: blocks.numTokensPerRank,
      numTokensPerRdmaRank: blocks.numTokensPerRdmaRank,
      numTokensPerExpert: blocks.numTokensPerExpert,
      isTokenInRank: keepMask ? blocks.isTokenInRank : null,
      timing,
    };
  } catch (error) {
    return failOnLibraryError(name, numExperts, error);
  }
}

interface Blocks {
  readonly numTokensPerRank: Int32Array<ArrayBuffer>;
  readonly numTokensPerRdmaRank: Int32Array<ArrayBuffer> | null;
  readonly numTokensPerExpert: Int32Array<ArrayBuffer>;
  readonly isTokenInRank: Uint8Array<ArrayBuffer>;
}

function allocateBlocks(
  routing: Routing,
  numExperts: number,
  group: ExpertGroup,
  keepMask: boolean,
  name: string,
): Blocks {
  const numLayers = routing.views.length;
  const maskBytes = (keepMask ? numLayers : 1) * routing.numTokens * group.numRanks;
  if (maskBytes > maxMaskBytes) {
    const remedy = keepMask && numLayers > 1 ? 'write one --layer at a time' : 'split the file by tokens';
    fail(`is_token_in_rank of ${name} would take ${maskBytes} bytes, over the limit of 4 GiB; ${remedy}`);
  }
  return {
    numTokensPerRank: new Int32Array(numLayers * group.numRanks),
    numTokensPerRdmaRank: group.numRdmaRanks > 1 ? new Int32Array(numLayers * group.numRdmaRanks) : null,
    numTokensPerExpert: new Int32Array(numLayers * numExperts),
    isTokenInRank: new Uint8Array(maskBytes),
  };
}

/** The part of the blocks that one layer is written to; the mask is shared by all layers unless it is kept. */
function layerOf(
  blocks: Blocks,
  layer: number,
  numTokens: number,
  numExperts: number,
  { numRanks, numRdmaRanks }: ExpertGroup,
  keepMask: boolean,
): LayoutArrays {
  const maskLayer = keepMask ? layer : 0;
  const maskLength = numTokens * numRanks;
  return {
    numTokensPerRank: blocks.numTokensPerRank.subarray(layer * numRanks, (layer + 1) * numRanks),
    numTokensPerRdmaRank:
      blocks.numTokensPerRdmaRank?.subarray(layer * numRdmaRanks, (layer + 1) * numRdmaRanks) ?? null,
    numTokensPerExpert: blocks.numTokensPerExpert.subarray(layer * numExperts, (layer + 1) * numExperts),
    isTokenInRank: blocks.isTokenInRank.subarray(maskLayer * maskLength, (maskLayer + 1) * maskLength),
  };
}

/** The first pass computes the results and warms up; short ones are then repeated for a time that can be trusted. */
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
