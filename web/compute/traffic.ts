/**
 * How many tokens go from each rank to each rank.
 *
 * @module
 */
import type { Capture } from '../../ts/capture/capture.ts';
import type { Settings } from '../../ts/capture/settings.ts';
import { type ChosenPlan, tokensOf } from './choose-plan.ts';
import { LayerLayouts } from './layer-layouts.ts';

/** Who sends what to whom. */
export interface Traffic {
  readonly numRanks: number;
  readonly numNodes: number;
  /** Whether the file says which rank sends its tokens. Otherwise they are dealt out evenly: each rank sends a block. */
  readonly isSourceKnown: boolean;
  /** `[numRanks, numRanks]`: the tokens that go from one rank to another, row by row. */
  readonly betweenRanks: Float64Array;
  /** `[numNodes, numNodes]`: the same of nodes. */
  readonly betweenNodes: Float64Array;
}

/** Counts the tokens of a layer by where they come from and go to. */
export function trafficOf(capture: Capture, chosen: ChosenPlan, settings: Settings, layer: number): Traffic {
  const layouts = new LayerLayouts(capture, chosen, settings, 'none');
  const { numRanks, numNodes, numRanksPerNode } = layouts;
  const betweenRanks = new Float64Array(numRanks * numRanks);
  const betweenNodes = new Float64Array(numNodes * numNodes);
  const numTokens = tokensOf(capture, layer);
  const isSourceKnown = capture.rank !== null && capture.rank < numRanks;
  const addBlock = (source: number, from: number, to: number): void => {
    const node = Math.floor(source / numRanksPerNode);
    layouts.run(layer, from, to, Number.POSITIVE_INFINITY, ({ numTokensPerRank, numTokensPerRdmaRank }) => {
      for (let rank = 0; rank < numRanks; rank++) betweenRanks[source * numRanks + rank] += numTokensPerRank[rank];
      for (let each = 0; each < numNodes; each++) {
        betweenNodes[node * numNodes + each] += numTokensPerRdmaRank?.[each] ?? 0;
      }
    });
  };
  if (isSourceKnown) {
    addBlock(capture.rank as number, 0, numTokens);
  } else {
    for (let source = 0; source < numRanks; source++) {
      const from = Math.floor((source * numTokens) / numRanks);
      addBlock(source, from, Math.floor(((source + 1) * numTokens) / numRanks));
    }
  }
  return { numRanks, numNodes, isSourceKnown, betweenRanks, betweenNodes };
}
