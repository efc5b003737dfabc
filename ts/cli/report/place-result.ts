/**
 * What the reports of `place` show.
 *
 * @module
 */
import type { ExpertLoads } from '../compute/expert-loads.ts';
import type { JudgedLayer } from '../compute/judge.ts';
import type { TokenUse } from '../compute/trial.ts';
import type { InvalidExperts } from '../flags.ts';
import type { GateResult } from '../gate.ts';
import {
  type Balance,
  type BalanceFigure,
  loadPlacement,
  type PlacementPlan,
  type PlanFinding,
  type Spread,
} from '../library.ts';
import type { ChosenPlan } from '../read/plan.ts';
import type { ChosenCounts, ChosenRouting } from '../read/routing.ts';
import { type Coverage, coverageOf } from './expert-statistics.ts';
import { findInPlan } from './plan-findings.ts';

/** Where the figures of several layers or windows lie; null where there are none. */
export type Spreads = Readonly<Record<BalanceFigure, Spread>> | null;

/** One layer under one placement. A dense layer, which holds one expert only, has loads and no figures. */
export interface PlacedLayer {
  /** `[numRanks]`: the selections that go to each rank. */
  readonly loads: Float64Array;
  /** The balance of these loads, null where nothing was selected. */
  readonly balance: Balance | null;
  /** The balances of the windows of the layer; null without tokens. */
  readonly windows: Spreads;
  readonly numWindows: number;
}

/** One placement, judged. */
export interface JudgedPlacement {
  readonly perLayer: readonly PlacedLayer[];
  /** Over the layers. */
  readonly layers: Spreads;
  /** Over the windows of all layers. */
  readonly windows: Spreads;
  /** What is odd about it. */
  readonly findings: readonly PlanFinding[];
}

/** How the placement before and the plan compare. */
export interface PlaceStatistics {
  readonly before: JudgedPlacement;
  readonly after: JudgedPlacement;
  /** For each layer, what no placement in so many slots can beat, null where nothing was selected. */
  readonly bounds: readonly (Balance | null)[];
  /** The same over the layers. */
  readonly bound: Spreads;
  /** For each layer, how large a share of the judged selections the most popular experts have. */
  readonly coverages: readonly (readonly Coverage[] | null)[];
  /** For each layer, whether it is dense, and so in the plan, but not in the figures. */
  readonly isLeftOut: readonly boolean[];
}

/** The result of `place`. */
export interface PlaceResult extends PlaceStatistics {
  readonly source: ChosenRouting | ChosenCounts;
  readonly numExperts: number;
  readonly numRanks: number;
  readonly numRanksPerNode: number;
  readonly numNodes: number;
  readonly numGroups: number;
  /** The placement before. */
  readonly placement: ChosenPlan;
  readonly plan: PlacementPlan;
  /** How tokens were used, or null where there are counts only. */
  readonly tokens: TokenUse | null;
  readonly invalidExperts: InvalidExperts;
  /** The limits that were given, of the plan. */
  readonly gates: readonly GateResult[];
}

/** What statistics are made of. */
interface Judged {
  readonly placement: PlacementPlan;
  readonly plan: PlacementPlan;
  readonly loads: readonly ExpertLoads[];
  readonly before: readonly JudgedLayer[];
  readonly after: readonly JudgedLayer[];
}

/** Computes the figures of all layers. */
export async function summarise({ placement, plan, loads, before, after }: Judged): Promise<PlaceStatistics> {
  const { balanceOf, lowerBound, spreadOf } = await loadPlacement();
  const isLeftOut = loads.every(({ isDense }) => isDense)
    ? loads.map(() => false)
    : loads.map(({ isDense }) => isDense);
  const summariseOne = async (layers: readonly JudgedLayer[], of: PlacementPlan): Promise<JudgedPlacement> => {
    const perLayer = layers.map(({ loads: ofRanks, windows }, layer) => ({
      loads: ofRanks,
      balance: isLeftOut[layer] ? null : balanceOf(ofRanks),
      windows: isLeftOut[layer] ? null : spreadOf(windows),
      numWindows: windows.length,
    }));
    return {
      perLayer,
      layers: spreadOf(perLayer.map(({ balance }) => balance)),
      windows: spreadOf(layers.flatMap(({ windows }, layer) => (isLeftOut[layer] ? [] : windows))),
      findings: await findInPlan(of),
    };
  };
  const bounds = loads.map(({ judged }, layer) => {
    const mean = judged.reduce((sum, load) => sum + load, 0) / plan.numRanks;
    return mean === 0 || isLeftOut[layer] ? null : balanceOfBound(lowerBound(judged, plan), mean);
  });
  return {
    before: await summariseOne(before, placement),
    after: await summariseOne(after, plan),
    bounds,
    bound: spreadOf(bounds),
    coverages: loads.map(({ judged }) => coverageOf(judged)),
    isLeftOut,
  };
}

function balanceOfBound(max: number, mean: number): Balance {
  return { 'max/mean': max / mean, 'mean/max': mean / max, '(max-mean)/mean': (max - mean) / mean };
}
