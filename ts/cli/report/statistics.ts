/**
 * The numbers that say how even a layout is.
 *
 * @module
 */
import type { RoutingLayout } from '../compute.ts';

/** Counts of tokens, by rank, RDMA rank or expert. */
export type Counts = ArrayLike<number>;

/** One layer, or the sum of all. */
export interface LayerStatistics {
  readonly numTokensPerRank: Counts;
  readonly numTokensPerRdmaRank: Counts | null;
  readonly numTokensPerExpert: Counts;
  /** Largest count over mean count, 1 where all are even; `null` where nothing was counted. */
  readonly rankImbalance: number | null;
  readonly rdmaRankImbalance: number | null;
  readonly expertImbalance: number | null;
  /** Ranks that a token goes to, on average; `null` without tokens. */
  readonly meanRanksPerToken: number | null;
  /** Nodes that a token goes to, on average; `null` within one node. */
  readonly meanNodesPerToken: number | null;
  /** Slots of `topkIdx` that selected no expert: -1, and with `ignore` every id that is none. */
  readonly numEmptySlots: number;
}

/** Statistics of each layer. */
export function perLayer(layout: RoutingLayout): LayerStatistics[] {
  return Array.from({ length: layout.numLayers }, (_, layer) => {
    const slice = (block: Int32Array, length: number): Int32Array =>
      block.subarray(layer * length, (layer + 1) * length);
    return summarise(
      slice(layout.numTokensPerRank, layout.numRanks),
      layout.numTokensPerRdmaRank === null ? null : slice(layout.numTokensPerRdmaRank, layout.numRdmaRanks),
      slice(layout.numTokensPerExpert, layout.numExperts),
      layout.numTokens,
      layout.numTopk,
    );
  });
}

/** Statistics over all layers together. */
export function total(layout: RoutingLayout): LayerStatistics {
  return summarise(
    sumOverLayers(layout.numTokensPerRank, layout.numRanks),
    layout.numTokensPerRdmaRank === null ? null : sumOverLayers(layout.numTokensPerRdmaRank, layout.numRdmaRanks),
    sumOverLayers(layout.numTokensPerExpert, layout.numExperts),
    layout.numTokens * layout.numLayers,
    layout.numTopk,
  );
}

/** The sum of counts. */
export function sum(counts: Counts): number {
  let result = 0;
  for (let index = 0; index < counts.length; index++) result += counts[index];
  return result;
}

/** The indices of counts, most tokens first; equal ones in their own order. */
export function hottestFirst(counts: Counts): number[] {
  return Array.from(counts, (_, index) => index).sort((left, right) => counts[right] - counts[left] || left - right);
}

/** The index of the largest count, the first of equal ones. */
export function hottest(counts: Counts): number {
  let best = 0;
  for (let index = 1; index < counts.length; index++) if (counts[index] > counts[best]) best = index;
  return best;
}

function summarise(
  numTokensPerRank: Counts,
  numTokensPerRdmaRank: Counts | null,
  numTokensPerExpert: Counts,
  numTokens: number,
  numTopk: number,
): LayerStatistics {
  const perToken = (counts: Counts): number | null => (numTokens === 0 ? null : sum(counts) / numTokens);
  return {
    numTokensPerRank,
    numTokensPerRdmaRank,
    numTokensPerExpert,
    rankImbalance: imbalance(numTokensPerRank),
    rdmaRankImbalance: numTokensPerRdmaRank === null ? null : imbalance(numTokensPerRdmaRank),
    expertImbalance: imbalance(numTokensPerExpert),
    meanRanksPerToken: perToken(numTokensPerRank),
    meanNodesPerToken: numTokensPerRdmaRank === null ? null : perToken(numTokensPerRdmaRank),
    numEmptySlots: numTokens * numTopk - sum(numTokensPerExpert),
  };
}

function imbalance(counts: Counts): number | null {
  const mean = sum(counts) / counts.length;
  return mean === 0 ? null : counts[hottest(counts)] / mean;
}

/** Sums of 32-bit counts need more than 32 bits. */
function sumOverLayers(block: Int32Array, length: number): Float64Array {
  const sums = new Float64Array(length);
  for (let index = 0; index < block.length; index++) sums[index % length] += block[index];
  return sums;
}
