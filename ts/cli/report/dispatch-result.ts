/**
 * What the reports of `receive` show.
 *
 * @module
 */
import type { DispatchCounts, RoutingDispatch } from '../compute/dispatch-counts.ts';
import type { InvalidExperts } from '../flags.ts';
import type { PlanFinding } from '../library.ts';
import type { ChosenPlacement } from '../read/placement.ts';
import type { ChosenPlan } from '../read/plan.ts';
import { imbalance, sumOverLayers } from './counts.ts';

/** The result of `receive`. */
export interface DispatchResult {
  readonly dispatch: RoutingDispatch;
  readonly invalidExperts: InvalidExperts;
  readonly placement: ChosenPlacement | ChosenPlan;
  /** What is odd about the plan, or `null` where the placement is none. */
  readonly planFindings: readonly PlanFinding[] | null;
  /** Why the device was chosen. */
  readonly deviceReason: string;
}

/** The statistics of one layer, or of all layers together. */
export interface DispatchStatistics extends DispatchCounts {
  /** `[numRanks]`: the tokens that each rank receives, its own included. */
  readonly numTokensPerRank: Float64Array;
  /** `[numRanks]`: the tokens that each rank sends, its own included. */
  readonly numTokensSentPerRank: Float64Array;
  /** The largest number of received tokens divided by the mean: 1 where all are equal, `null` where there are none. */
  readonly rankImbalance: number | null;
  /** The same of rows. */
  readonly rowImbalance: number | null;
}

/** The statistics of each layer. */
export function perLayer({ layers }: RoutingDispatch): DispatchStatistics[] {
  return layers.map(summarise);
}

/** The statistics of all layers together. */
export function total({ layers }: RoutingDispatch): DispatchStatistics {
  const sumOf = (name: keyof DispatchCounts): Float64Array => sumOverLayers(layers.map((layer) => layer[name]));
  return summarise({
    numTokensBetweenRanks: sumOf('numTokensBetweenRanks'),
    numTokensBetweenNodes: sumOf('numTokensBetweenNodes'),
    numTokensPerExpert: sumOf('numTokensPerExpert'),
    numSelectionsPerRank: sumOf('numSelectionsPerRank'),
    numRowsPerRank: sumOf('numRowsPerRank'),
  });
}

function summarise(counts: DispatchCounts): DispatchStatistics {
  const { numTokensBetweenRanks, numRowsPerRank } = counts;
  const numRanks = numRowsPerRank.length;
  const numTokensPerRank = new Float64Array(numRanks);
  const numTokensSentPerRank = new Float64Array(numRanks);
  for (let source = 0; source < numRanks; source++) {
    for (let rank = 0; rank < numRanks; rank++) {
      const tokens = numTokensBetweenRanks[source * numRanks + rank];
      numTokensPerRank[rank] += tokens;
      numTokensSentPerRank[source] += tokens;
    }
  }
  const rankImbalance = imbalance(numTokensPerRank);
  return { ...counts, numTokensPerRank, numTokensSentPerRank, rankImbalance, rowImbalance: imbalance(numRowsPerRank) };
}
