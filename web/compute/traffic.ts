/**
 * How many tokens go from each rank to each rank.
 *
 * @module
 */
import type { Capture } from '../../ts/capture/capture.ts';
import { sendersOf } from '../../ts/capture/senders.ts';
import type { Settings } from '../../ts/capture/settings.ts';
import { tokensOf } from './choose-plan.ts';
import type { JudgedPlacement } from './judged-placement.ts';
import { LayerLayouts } from './layer-layouts.ts';

/** Who sends what to whom. */
export interface Traffic {
  readonly numRanks: number;
  readonly numNodes: number;
  /** Whether files say which rank sends their tokens, or each rank is taken to send an equal share of all tokens. */
  readonly source: 'files' | 'even';
  /** `[numRanks, numRanks]`: the tokens that go from one rank to another, row by row. */
  readonly betweenRanks: Float64Array;
  /** `[numNodes, numNodes]`: the same of nodes. */
  readonly betweenNodes: Float64Array;
}

/** Counts the tokens of a layer by where they come from and go to. */
export function trafficOf(
  capture: Capture,
  { chosen, layers, numNodes }: JudgedPlacement,
  settings: Settings,
  layer: number,
): Traffic {
  const { numRanks } = chosen.plan;
  const betweenRanks = new Float64Array(numRanks * numRanks);
  const betweenNodes = new Float64Array(numNodes * numNodes);
  const senders = sendersOf(capture.ranks, numRanks);
  const shape = { numRanks, numNodes, betweenRanks, betweenNodes };
  if (senders === null) {
    const { tokensPerRank, tokensPerNode } = layers[layer];
    for (let at = 0; at < betweenRanks.length; at++) betweenRanks[at] = tokensPerRank[at % numRanks] / numRanks;
    for (let at = 0; at < betweenNodes.length; at++) betweenNodes[at] = tokensPerNode[at % numNodes] / numNodes;
    return { ...shape, source: 'even' };
  }
  const layouts = new LayerLayouts(capture, chosen, settings, 'none');
  let from = 0;
  for (const { file, end } of capture.runs[layer]) {
    const first = from;
    from = end;
    if (file === null) continue;
    const rank = senders[file];
    const node = Math.floor(rank / layouts.numRanksPerNode);
    const to = Math.min(end, tokensOf(capture, layer));
    layouts.run(layer, first, to, Number.POSITIVE_INFINITY, ({ numTokensPerRank, numTokensPerRdmaRank }) => {
      for (let each = 0; each < numRanks; each++) betweenRanks[rank * numRanks + each] += numTokensPerRank[each];
      for (let each = 0; each < numNodes; each++) {
        betweenNodes[node * numNodes + each] += numTokensPerRdmaRank?.[each] ?? 0;
      }
    });
  }
  return { ...shape, source: 'files' };
}
