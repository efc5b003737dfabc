/**
 * How even a placement by name is over several numbers of ranks, and what it costs to send to.
 *
 * @module
 */
import { type Capture, hasTokens } from '../../ts/capture/capture.ts';
import type { Settings } from '../../ts/capture/settings.ts';
import { balanceOf, rankLoads, type Spread, spreadOf } from '../../ts/placement/index.ts';
import { choosePlan, tokensOf } from './choose-plan.ts';
import { LayerLayouts } from './layer-layouts.ts';

/** One number of ranks. */
export interface SweptRanks {
  readonly numRanks: number;
  readonly numNodes: number;
  /** Where max/mean of the tokens per rank lies over the layers; null where nothing is sent. */
  readonly maxOverMean: Spread | null;
  readonly meanRanksPerToken: number;
  /** Null within one node. */
  readonly meanNodesPerToken: number | null;
}

/** More ranks are not offered, but can be asked for. */
const mostOffered = 512;
/** There are no groups of more ranks. */
export const mostRanks = 2048;

/** The numbers of ranks that can be: those of one node, and whole nodes, and no more ranks than experts. */
export function possibleRanks(numExperts: number, numRanksPerNode: number): readonly number[] {
  const most = Math.min(numExperts, mostOffered);
  const numbers = Array.from({ length: most }, (_, index) => index + 1);
  return numbers.filter((number) => number <= numRanksPerNode || number % numRanksPerNode === 0);
}

/** Numbers of ranks that are worth comparing. */
export function numbersOfRanks(numExperts: number, numRanksPerNode: number): readonly number[] {
  const usual = new Set([1, 2, 4, 8, 12, 16, 24, 32, 40, 48, 64, 72, 96, 128, 144, 192, 256, 320, 384, 512]);
  return possibleRanks(numExperts, numRanksPerNode).filter((number) => usual.has(number));
}

/** Computes one number of ranks. EPLB and plans are for one number: where they are chosen, the placement is linear. */
export function sweepOne(
  capture: Capture,
  settings: Settings,
  numRanks: number,
  counted: readonly number[],
): SweptRanks {
  const placement = settings.placement === 'round_robin' ? 'round_robin' : 'linear';
  const swept: Settings = { ...settings, numRanks, placement, replicaRule: 'round_robin', sourceRank: null };
  const chosen = choosePlan(capture, swept);
  const layouts = new LayerLayouts(capture, chosen, swept, 'none');
  let numTokens = 0;
  let numSent = 0;
  let numSentToNodes = 0;
  const balances = counted.map((layer) => {
    if (!hasTokens(capture)) return balanceOf(rankLoads(capture.counts[layer], chosen.plan, 0));
    const tokensPerRank = new Float64Array(numRanks);
    const end = tokensOf(capture, layer);
    layouts.run(layer, 0, end, Number.POSITIVE_INFINITY, ({ numTokensPerRank, numTokensPerRdmaRank }) => {
      for (let rank = 0; rank < numRanks; rank++) tokensPerRank[rank] += numTokensPerRank[rank];
      if (numTokensPerRdmaRank !== null) numSentToNodes += sum(numTokensPerRdmaRank);
    });
    numSent += sum(tokensPerRank);
    numTokens += capture.keepEvery === 1 ? capture.numTokens : capture.numKept;
    return balanceOf(tokensPerRank);
  });
  return {
    numRanks,
    numNodes: layouts.numNodes,
    maxOverMean: spreadOf(balances)?.['max/mean'] ?? null,
    meanRanksPerToken: numTokens === 0 ? 0 : numSent / numTokens,
    meanNodesPerToken: numTokens === 0 || layouts.numNodes === 1 ? null : numSentToNodes / numTokens,
  };
}

function sum(counts: ArrayLike<number>): number {
  let all = 0;
  for (let index = 0; index < counts.length; index++) all += counts[index];
  return all;
}
