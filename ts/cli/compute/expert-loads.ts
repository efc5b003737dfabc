/**
 * The loads of experts, from which plans are made: how often each was selected.
 *
 * @module
 */
import { isDense } from '../../findings/find.ts';
import type { InvalidExperts } from '../flags.ts';
import { ExpertGroup } from '../library.ts';
import type { ChosenRouting } from '../read/routing.ts';
import { addTo } from './computed-layers.ts';
import { createWorkspace, type RoutingWorkspace, runPass } from './pass.ts';

/** How ids are read. */
export interface IdOptions {
  readonly invalidExperts: InvalidExperts;
  /** The id that stands for an empty slot, beside -1. */
  readonly emptyId: number | bigint | undefined;
}

/** Which tokens of a layer a plan is made from, and which it is judged by. */
export interface TokenSplit {
  /** The plan is made from the tokens before this one. */
  readonly placedBefore: number;
  /** The plan is judged by the tokens from this one on. */
  readonly judgedFrom: number;
  /** It is judged by the tokens before this one. */
  readonly judgedBefore: number;
}

/** The loads of the experts of one layer. */
export interface ExpertLoads {
  /** `[numExperts]`: those by the tokens from which the plan is made. */
  readonly placed: Float64Array;
  /** `[numExperts]`: those by the tokens by which it is judged. */
  readonly judged: Float64Array;
  /** Whether it holds one expert only, or none: it is dense, or was not captured. */
  readonly isDense: boolean;
}

/** A workspace for the ids as the files have them, which counts experts and knows nothing of ranks. */
export function createIdWorkspace(routing: ChosenRouting, numExperts: number, options: IdOptions): RoutingWorkspace {
  const group = new ExpertGroup({ numRanks: 1 });
  return createWorkspace({ routing, group, numExperts, options: { ...options, mask: 'none' }, orders: {} });
}

/**
 * Counts the selections of every expert in one pass. It reads all tokens, so that an invalid id is found wherever it is.
 *
 * @param splits of each chosen layer.
 */
export async function countExpertLoads(
  routing: ChosenRouting,
  numExperts: number,
  options: IdOptions,
  splits: readonly TokenSplit[],
): Promise<readonly ExpertLoads[]> {
  const workspace = createIdWorkspace(routing, numExperts, options);
  const sums = splits.map(() => ({ placed: new Float64Array(numExperts), all: new Float64Array(numExperts) }));
  await runPass({
    routing,
    workspace,
    numExperts,
    compute(numTokens, { layer, firstToken }) {
      addTo(sums[layer].all, workspace.run(numTokens).numTokensPerExpert);
      const numPlaced = Math.min(numTokens, splits[layer].placedBefore - firstToken);
      if (numPlaced > 0) addTo(sums[layer].placed, workspace.run(numPlaced).numTokensPerExpert);
    },
    receive() {},
  });
  return sums.map(({ placed, all }, layer) => ({
    placed,
    judged: splits[layer].judgedFrom === 0 ? all : all.map((count, expert) => count - placed[expert]),
    isDense: isDense({ counts: all, numTokens: splits[layer].judgedBefore, numInvalid: 0 }, routing.routing.topk),
  }));
}
