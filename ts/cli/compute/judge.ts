/**
 * Judges placements by tokens: the loads of ranks, of each layer and of each window of its tokens.
 *
 * @module
 */
import { type Balance, ExpertGroup, type IntegerArray, loadPlacement, type PlacementPlan } from '../library.ts';
import type { ReplicaChoice } from '../read/replica-choice.ts';
import type { ChosenRouting } from '../read/routing.ts';
import { createIdWorkspace, type IdOptions, type TokenSplit } from './expert-loads.ts';
import { runPass } from './pass.ts';

/** What is judged, and by what. */
export interface JudgeJob {
  readonly routing: ChosenRouting;
  readonly numExperts: number;
  readonly options: IdOptions;
  /** Of each chosen layer. */
  readonly splits: readonly TokenSplit[];
  /** The number of tokens of a window. */
  readonly window: number;
  readonly replicas: ReplicaChoice;
  readonly placements: readonly FittedPlan[];
}

/** A plan, fitted to the layers that were chosen. */
export interface FittedPlan {
  readonly plan: PlacementPlan;
  /** For each chosen layer, the index of its layer in the plan. */
  readonly planLayers: readonly number[];
}

/** The loads of ranks of one layer by one placement. */
export interface JudgedLayer {
  /** `[numRanks]`: the selections that go to each rank. */
  readonly loads: Float64Array;
  /**
   * The balance of ranks in each window, null where nothing was selected. Tokens at the end that do not fill a window
   * are left out, unless they are all there is.
   */
  readonly windows: readonly (Balance | null)[];
}

/**
 * Maps every judged token to replicas, and counts the selections of each rank, in one pass.
 *
 * @returns for each placement, its loads in each chosen layer.
 */
export async function judge(job: JudgeJob): Promise<readonly (readonly JudgedLayer[])[]> {
  const { routing, numExperts, options, splits, window, placements } = job;
  const workspace = createIdWorkspace(routing, numExperts, options);
  const maxTokens = Math.max(1, Math.min(workspace.maxTokens, window));
  const judges = await Promise.all(placements.map((placement) => createJudge(placement, job, maxTokens)));
  const { numTopk, topkIdx } = workspace;
  await runPass({
    routing,
    workspace,
    numExperts,
    compute(numTokens, { layer, firstToken }) {
      const { judgedFrom, judgedBefore } = splits[layer];
      const end = Math.min(firstToken + numTokens, judgedBefore);
      for (let token = Math.max(firstToken, judgedFrom); token < end; ) {
        const windowEnd = token - ((token - judgedFrom) % window) + window;
        const next = Math.min(end, windowEnd);
        const row = token - firstToken;
        const ids = topkIdx.subarray(row * numTopk, (row + next - token) * numTopk);
        for (const each of judges) each.add(ids, layer, token, next - token, next === windowEnd);
        token = next;
      }
    },
    receive() {},
  });
  return judges.map((each) => each.finish());
}

/** Collects the loads of ranks by one placement. */
interface Judge {
  /**
   * @param ids of tokens of one window.
   * @param isLast whether they end the window.
   */
  add(ids: IntegerArray, layer: number, firstToken: number, numTokens: number, isLast: boolean): void;
  finish(): readonly JudgedLayer[];
}

async function createJudge(
  { plan, planLayers }: FittedPlan,
  { routing, options, replicas }: JudgeJob,
  maxTokens: number,
): Promise<Judge> {
  const { balanceOf, mapToPhysical } = await loadPlacement();
  const { rule, sourceRank, numRanksPerNode } = replicas;
  const numTopk = routing.routing.topk;
  const { numRanks, numPhysicalExperts } = plan;
  const slotsPerRank = numPhysicalExperts / numRanks;
  // Slots are counted as experts: one rank is enough for that
  const workspace = new ExpertGroup({ numRanks: 1 }).createWorkspace({
    numExperts: numPhysicalExperts,
    maxTokens,
    numTopk,
    idType: 'int32',
    mask: 'none',
  });
  const layers = planLayers.map(() => ({
    loads: new Float64Array(numRanks),
    ofWindow: new Float64Array(numRanks),
    windows: [] as (Balance | null)[],
  }));
  return {
    add(ids, layer, firstToken, numTokens, isLast) {
      const mapping = { ...options, sourceRank, numRanksPerNode, firstToken, out: workspace.topkIdx };
      mapToPhysical({ data: ids, shape: [numTokens, numTopk] }, plan, planLayers[layer], rule, mapping);
      const { numTokensPerExpert } = workspace.run(numTokens);
      const { loads, ofWindow, windows } = layers[layer];
      for (let slot = 0; slot < numPhysicalExperts; slot++) {
        ofWindow[Math.floor(slot / slotsPerRank)] += numTokensPerExpert[slot];
      }
      if (!isLast) return;
      windows.push(balanceOf(ofWindow));
      for (let rank = 0; rank < numRanks; rank++) loads[rank] += ofWindow[rank];
      ofWindow.fill(0);
    },
    finish: () =>
      layers.map(({ loads, ofWindow, windows }) => ({
        loads: loads.map((load, rank) => load + ofWindow[rank]),
        windows: windows.length === 0 ? [balanceOf(ofWindow)] : windows,
      })),
  };
}
