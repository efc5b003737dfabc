/**
 * What plans are made from and judged by: the tokens of routing, or counts of experts where there are no tokens.
 *
 * @module
 */
import { fail } from '../fail.ts';
import { loadPlacement, type PlacementPlan, type RebalanceOptions } from '../library.ts';
import { type ReplicaChoice, type ReplicaFlags, readReplicaChoice } from '../read/replica-choice.ts';
import type { ChosenCounts, ChosenRouting } from '../read/routing.ts';
import { defaultWindow } from '../shared-flags.ts';
import { countExpertLoads, type ExpertLoads, type IdOptions, type TokenSplit } from './expert-loads.ts';
import { type FittedPlan, type JudgedLayer, judge } from './judge.ts';

/** What plans are tried on. */
export interface Trial {
  /** The loads of each chosen layer. */
  readonly loads: readonly ExpertLoads[];
  /** How tokens are used, or null where there are counts only. */
  readonly tokens: TokenUse | null;
  /**
   * Computes the loads of ranks, of all plans in one pass.
   *
   * @returns for each plan, its loads in each chosen layer.
   */
  judge(plans: readonly FittedPlan[]): Promise<readonly (readonly JudgedLayer[])[]>;
}

/** How tokens are used. */
export interface TokenUse {
  readonly replicas: ReplicaChoice;
  /** Of each chosen layer. */
  readonly splits: readonly TokenSplit[];
  /** Whether plans are made from all tokens, and judged by the same. */
  readonly isOnAll: boolean;
  /** The number of tokens of a window. */
  readonly window: number;
}

/** The flags of a trial, parsed. */
export interface TrialFlags extends ReplicaFlags, IdOptions {
  readonly window?: number;
  readonly all?: true;
}

/** Reads what plans are made from: all tokens, so that no invalid id is left, or counts. */
export function startTrial(
  source: ChosenRouting | ChosenCounts,
  numExperts: number,
  flags: TrialFlags,
): Promise<Trial> {
  return 'routing' in source ? tryOnTokens(source, numExperts, flags) : tryOnCounts(source, numExperts, flags);
}

/** Makes the plan of EPLB, whose layers have the numbers of those that were read. */
export async function makePlan(
  { loads }: Trial,
  { layers }: ChosenRouting | ChosenCounts,
  shape: RebalanceOptions,
): Promise<PlacementPlan> {
  const { rebalance } = await loadPlacement();
  const plan = rebalance(
    loads.map(({ placed }) => placed),
    shape,
  );
  return { ...plan, layerIds: layers ?? plan.layerIds };
}

async function tryOnTokens(routing: ChosenRouting, numExperts: number, flags: TrialFlags): Promise<Trial> {
  const { window = defaultWindow, all: isOnAll = false, invalidExperts, emptyId } = flags;
  const replicas = readReplicaChoice(flags, routing);
  const options = { invalidExperts, emptyId };
  const splits = routing.chosen.map((layer) => splitOf(routing, layer, isOnAll));
  return {
    loads: await countExpertLoads(routing, numExperts, options, splits),
    tokens: { replicas, splits, isOnAll, window },
    judge: (placements) => judge({ routing, numExperts, options, splits, window, replicas, placements }),
  };
}

/** The first half of the tokens of a layer is for placing, and the second for judging, unless all are for both. */
function splitOf({ routing, name }: ChosenRouting, layer: number, isOnAll: boolean): TokenSplit {
  const numTokens = routing.tokensOfLayer?.[layer] ?? routing.tokens;
  if (isOnAll) return { placedBefore: numTokens, judgedFrom: 0, judgedBefore: numTokens };
  const half = Math.floor(numTokens / 2);
  if (half === 0) {
    fail(`${name} has too few tokens (${numTokens}) to place on one half and judge on the other; pass --all`);
  }
  return { placedBefore: half, judgedFrom: half, judgedBefore: numTokens };
}

/** Takes counts as loads. They are for both, placing and judging, and each replica of an expert gets an equal share. */
async function tryOnCounts(chosen: ChosenCounts, numExperts: number, flags: TrialFlags): Promise<Trial> {
  const { counts, name } = chosen;
  const { replicaRule, sourceRank, window, emptyId } = flags;
  const given = {
    '--replica-rule': replicaRule,
    '--source-rank': sourceRank,
    '--window': window,
    '--empty-id': emptyId,
  };
  for (const [flag, value] of Object.entries(given)) {
    if (value !== undefined) fail(`${flag} is for tokens, and ${name} has only counts of experts; leave it out`);
  }
  if (counts.numbering === 'physical') {
    const remedy = 'record counts of experts, with SGLang in the mode stat, or the ids of tokens';
    fail(`${name} has counts of physical experts, which are the slots of some placement; ${remedy}`);
  }
  const { rankLoads } = await loadPlacement();
  const loads = chosen.chosen.map((layer, index) =>
    loadsOf(counts.counts[layer], numExperts, `${name}, layer ${chosen.layers[index]}`),
  );
  return {
    loads,
    tokens: null,
    judge: async (plans) =>
      plans.map(({ plan, planLayers }) =>
        loads.map(({ judged }, index) => ({ loads: rankLoads(judged, plan, planLayers[index]), windows: [] })),
      ),
  };
}

/** The counts of a layer as loads. Files may leave out experts that were not selected. */
function loadsOf(counts: Float64Array, numExperts: number, where: string): ExpertLoads {
  if (counts.length > numExperts) {
    fail(`${where} has counts of ${counts.length} experts, but --num-experts is ${numExperts}; correct it`);
  }
  const loads = new Float64Array(numExperts);
  loads.set(counts);
  return { placed: loads, judged: loads, isDense: loads.filter((count) => count > 0).length <= 1 };
}
