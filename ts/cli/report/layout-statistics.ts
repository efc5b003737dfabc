/**
 * The numbers that say how even a layout is.
 *
 * @module
 */
import type { RoutingLayout } from '../compute/layout.ts';
import { type Counts, imbalance, sum, sumOverLayers } from './counts.ts';

/** The counts of one layer, or their sums over all layers. */
interface LayerCounts {
  readonly numTokensPerRank: Counts;
  readonly numTokensPerRdmaRank: Counts | null;
  readonly numTokensPerExpert: Counts;
}

/** The statistics of one layer, or of all layers together. */
export interface LayerStatistics extends LayerCounts {
  /** The largest count divided by the mean count: 1 where all are equal, `null` where nothing was counted. */
  readonly rankImbalance: number | null;
  readonly rdmaRankImbalance: number | null;
  readonly expertImbalance: number | null;
  /** The number of ranks that a token goes to on average; `null` if there are no tokens. */
  readonly meanRanksPerToken: number | null;
  /** The number of nodes that a token goes to on average; `null` within one node, and if there are no tokens. */
  readonly meanNodesPerToken: number | null;
  /**
   * The number of slots of `topkIdx` that selected no expert: those with -1 and, with `ignore`, those with any id that
   * is not an expert.
   */
  readonly numEmptySlots: number;
}

/** The statistics of each layer. */
export function perLayer({ layers, numTokens, numTopk }: RoutingLayout): LayerStatistics[] {
  return layers.map((layer) => summarise(layer, numTokens, numTopk));
}

/** The statistics of all layers together. */
export function total({ layers, numTokens, numTopk }: RoutingLayout): LayerStatistics {
  const byRdmaRank = layers.map((layer) => layer.numTokensPerRdmaRank).filter((counts) => counts !== null);
  const counts: LayerCounts = {
    numTokensPerRank: sumOverLayers(layers.map((layer) => layer.numTokensPerRank)),
    numTokensPerRdmaRank: byRdmaRank.length === 0 ? null : sumOverLayers(byRdmaRank),
    numTokensPerExpert: sumOverLayers(layers.map((layer) => layer.numTokensPerExpert)),
  };
  return summarise(counts, numTokens * layers.length, numTopk);
}

function summarise(layer: LayerCounts, numTokens: number, numTopk: number): LayerStatistics {
  const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert } = layer;
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
