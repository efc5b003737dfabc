/**
 * What is known of the dispatch of a whole group.
 *
 * @module
 */
import type { ChosenRouting } from '../read/routing.ts';

/** The counts of one layer, or their sums over all layers. */
export interface DispatchCounts {
  /** `[numRanks, numRanks]`: the tokens that each rank (row) sends to each rank. */
  readonly numTokensBetweenRanks: Float64Array;
  /** `[numRdmaRanks, numRdmaRanks]`: the same between nodes. */
  readonly numTokensBetweenNodes: Float64Array;
  /** `[numExperts]`: the selections of each expert by all ranks. */
  readonly numTokensPerExpert: Float64Array;
  /** `[numRanks]`: the selections that each rank receives. */
  readonly numSelectionsPerRank: Float64Array;
  /** `[numRanks]`: the rows that each rank has in the order by expert, padding included. */
  readonly numRowsPerRank: Float64Array;
}

/** The dispatch of all chosen layers. */
export interface RoutingDispatch {
  readonly ranks: readonly ChosenRouting[];
  readonly numRanks: number;
  readonly numRanksPerNode: number;
  readonly numRdmaRanks: number;
  readonly numExperts: number;
  /** The experts of the dispatch: with a plan, its slots. */
  readonly numPhysicalExperts: number;
  readonly numTopk: number;
  readonly alignment: number;
  readonly device: string;
  readonly layers: readonly DispatchCounts[];
}
