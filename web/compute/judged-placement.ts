/**
 * What a placement is worth: the loads of ranks, of each layer and of each window of its tokens.
 *
 * @module
 */
import { type Capture, hasTokens } from '../../ts/capture/capture.ts';
import type { Settings } from '../../ts/capture/settings.ts';
import {
  type Balance,
  balanceOf,
  findingsOf,
  lowerBound,
  type PlanFinding,
  rankLoads,
  type Spread,
  spreadOf,
} from '../../ts/placement/index.ts';
import { type ChosenPlan, tokensOf } from './choose-plan.ts';
import { countExperts } from './count-experts.ts';
import { LayerLayouts } from './layer-layouts.ts';

/** Where the figures of several layers or windows lie; null where there are none. */
export type Spreads = Readonly<Record<keyof Balance, Spread>> | null;

/** One layer under one placement. */
export interface JudgedLayer {
  /** `[numRanks]`: the tokens that go to each rank. */
  readonly tokensPerRank: Float64Array;
  /** `[numNodes]`: the tokens that go to each node. */
  readonly tokensPerNode: Float64Array;
  /** `[numRanks]`: the selections that go to each rank, of the tokens that judge. */
  readonly loads: Float64Array;
  /** The balance of these loads, null where nothing was selected. */
  readonly balance: Balance | null;
  /** The balance of each window of the tokens that judge. The last tokens are left out if they fill none. */
  readonly windows: readonly (Balance | null)[];
  /** The load over the mean that no placement in so many slots can beat, null where nothing was selected. */
  readonly bound: number | null;
}

/** One placement. */
export interface JudgedPlacement {
  readonly chosen: ChosenPlan;
  readonly numNodes: number;
  readonly layers: readonly JudgedLayer[];
  /** Over the counted layers. */
  readonly overLayers: Spreads;
  /** Over the windows of all counted layers. */
  readonly overWindows: Spreads;
  /** What is odd about the plan. */
  readonly findings: readonly PlanFinding[];
}

/**
 * Judges a placement by all layers.
 *
 * @param counted the layers that are in the figures over all.
 */
export function judgePlacement(
  capture: Capture,
  chosen: ChosenPlan,
  settings: Settings,
  counted: readonly number[],
): JudgedPlacement {
  const layouts = new LayerLayouts(capture, chosen, settings, 'none');
  const judge = hasTokens(capture) ? judgeLayer : judgeCounts;
  const layers = capture.ids.map((_, layer) => judge(capture, chosen, settings.window, layouts, layer));
  return {
    chosen,
    numNodes: layouts.numNodes,
    layers,
    overLayers: spreadOf(counted.map((layer) => layers[layer].balance)),
    overWindows: spreadOf(counted.flatMap((layer) => layers[layer].windows)),
    findings: findingsOf(chosen.plan),
  };
}

function judgeLayer(
  capture: Capture,
  { plan, judgedFrom }: ChosenPlan,
  window: number,
  layouts: LayerLayouts,
  layer: number,
): JudgedLayer {
  const { numRanks, numPhysicalExperts } = plan;
  const slotsPerRank = numPhysicalExperts / numRanks;
  const tokensPerRank = new Float64Array(numRanks);
  const tokensPerNode = new Float64Array(layouts.numNodes);
  const loads = new Float64Array(numRanks);
  const ofWindow = new Float64Array(numRanks);
  const windows: (Balance | null)[] = [];
  const from = judgedFrom[layer];
  const end = tokensOf(capture, layer);
  for (const isJudged of from === 0 ? [true] : [false, true]) {
    layouts.run(layer, isJudged ? from : 0, isJudged ? end : from, window, (layout, _first, _count, isEnd) => {
      const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert } = layout;
      for (let rank = 0; rank < numRanks; rank++) tokensPerRank[rank] += numTokensPerRank[rank];
      for (let node = 0; node < tokensPerNode.length; node++) tokensPerNode[node] += numTokensPerRdmaRank?.[node] ?? 0;
      if (!isJudged) return;
      for (let rank = 0, slot = 0; rank < numRanks; rank++) {
        let load = 0;
        for (let each = 0; each < slotsPerRank; each++) load += numTokensPerExpert[slot++];
        ofWindow[rank] += load;
      }
      if (!isEnd) return;
      windows.push(balanceOf(ofWindow));
      for (let rank = 0; rank < numRanks; rank++) loads[rank] += ofWindow[rank];
      ofWindow.fill(0);
    });
  }
  for (let rank = 0; rank < numRanks; rank++) loads[rank] += ofWindow[rank];
  if (windows.length === 0) windows.push(balanceOf(ofWindow));
  const bound = boundOf(countExperts(capture, layer, from, end), plan);
  return { tokensPerRank, tokensPerNode, loads, balance: balanceOf(loads), windows, bound };
}

/** What can be said of counts without tokens: the replicas of an expert get equal shares of them. */
function judgeCounts(
  { counts }: Capture,
  { plan, planLayers }: ChosenPlan,
  _window: number,
  { numNodes }: LayerLayouts,
  layer: number,
): JudgedLayer {
  const loads = rankLoads(counts[layer], plan, planLayers[layer]);
  return {
    tokensPerRank: new Float64Array(plan.numRanks),
    tokensPerNode: new Float64Array(numNodes),
    loads,
    balance: balanceOf(loads),
    windows: [],
    bound: boundOf(counts[layer], plan),
  };
}

/** The load over the mean that no placement in so many slots can beat. */
function boundOf(loads: Float64Array, { numPhysicalExperts, numRanks }: ChosenPlan['plan']): number | null {
  const mean = loads.reduce((sum, load) => sum + load, 0) / numRanks;
  return mean === 0 ? null : lowerBound(loads, { numPhysicalExperts, numRanks }) / mean;
}
