/**
 * How even loads are: the figures by which projects judge it, under the names that reports give them.
 *
 * @module
 */
import { wrongValue } from '../errors/checks.ts';
import { checkLayer, type PlacementPlan, rankOfSlot, wrongPlan } from './plan.ts';
import { readLoads } from './rebalance.ts';
import { replicate } from './replicate.ts';

/**
 * The names of the figures. `max/mean` is 1 where all loads are equal; Megatron calls it overload. `mean/max` is what
 * SGLang and vLLM call balancedness. `(max-mean)/mean` is what TensorRT-LLM prints.
 */
export type BalanceFigure = 'max/mean' | 'mean/max' | '(max-mean)/mean';

/** The names of the figures, for reports and command lines. */
export const balanceFigures: readonly BalanceFigure[] = ['max/mean', 'mean/max', '(max-mean)/mean'];

/** The figures of some loads. */
export type Balance = Readonly<Record<BalanceFigure, number>>;

/**
 * How even loads are: those of ranks, of nodes or of experts.
 *
 * ```ts
 * import { balanceOf } from 'dispatch-layout/placement';
 *
 * console.log(balanceOf([2, 1, 0, 1])); // { 'max/mean': 2, 'mean/max': 0.5, '(max-mean)/mean': 1 }
 * ```
 *
 * @returns null if there are no loads, or all are 0.
 */
export function balanceOf(loads: ArrayLike<number>): Balance | null {
  let sum = 0;
  let max = 0;
  for (let index = 0; index < loads.length; index++) {
    sum += loads[index];
    if (loads[index] > max) max = loads[index];
  }
  if (sum === 0) return null;
  const mean = sum / loads.length;
  return { 'max/mean': max / mean, 'mean/max': mean / max, '(max-mean)/mean': (max - mean) / mean };
}

/** Where the values of several layers, or of several windows of tokens, lie. */
export interface Spread {
  /** The median. */
  readonly p50: number;
  /** 95 % of the values are as good as this, or better. */
  readonly p95: number;
  /** The worst value. */
  readonly worst: number;
}

/**
 * Where the figures of several layers, or of several windows of tokens, lie. Values between two of them are
 * interpolated, as `numpy.percentile` does. `mean/max` is worse where it is smaller: its p95 is the value that 95 % of
 * the layers reach.
 *
 * @param balances of each layer or window. Those that are null are left out.
 * @returns null if all are null.
 */
export function spreadOf(balances: readonly (Balance | null)[]): Readonly<Record<BalanceFigure, Spread>> | null {
  const known = balances.filter((balance) => balance !== null);
  if (known.length === 0) return null;
  const spread = (figure: BalanceFigure): Spread => {
    const values = known.map((balance) => balance[figure]);
    const at = (percent: number) => percentile(values, figure === 'mean/max' ? 100 - percent : percent);
    return { p50: at(50), p95: at(95), worst: at(100) };
  };
  return {
    'max/mean': spread('max/mean'),
    'mean/max': spread('mean/max'),
    '(max-mean)/mean': spread('(max-mean)/mean'),
  };
}

/**
 * The value below which so many percent of the values lie, interpolated linearly as by `numpy.percentile`.
 *
 * ```ts
 * import { percentile } from 'dispatch-layout/placement';
 *
 * console.log(percentile([4, 1, 3, 2], 50)); // 2.5
 * ```
 *
 * @param values at least one.
 * @param percent from 0 to 100.
 * @throws DispatchLayoutError `OPTION` if there are no values, or `percent` is out of range.
 */
export function percentile(values: ArrayLike<number>, percent: number): number {
  if (!(values.length > 0)) throw wrongValue('OPTION', 'values', values, 'There must be at least one value.');
  if (!(percent >= 0 && percent <= 100)) {
    throw wrongValue('OPTION', 'percent', percent, 'It must be a number from 0 to 100.');
  }
  const sorted = Float64Array.from(values).sort();
  const position = ((sorted.length - 1) * percent) / 100;
  const below = Math.floor(position);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (position - below);
}

/**
 * The load of each rank, from the loads of experts, if every replica of an expert gets an equal share of them. This is
 * what can be said of counts without tokens. For tokens, map them by {@link mapToPhysical}, and compute their layout.
 *
 * ```ts
 * import { createPlan, rankLoads } from 'dispatch-layout/placement';
 *
 * const plan = createPlan([[0, 1, 2, 0]], { numRanks: 2 });
 * console.log(rankLoads([6, 1, 2], plan, 0).join(' ')); // 4 5
 * ```
 *
 * @param loads `[numExperts]`: how often each expert was selected. Those of an expert that has no replica go nowhere.
 * @param layer the index of the layer in the plan.
 * @returns `[numRanks]`
 * @throws DispatchLayoutError `OPTION` if there is no such layer; `PLACEMENT` if `loads` has another length.
 */
export function rankLoads(loads: ArrayLike<number>, plan: PlacementPlan, layer: number): Float64Array {
  checkLayer(plan, layer);
  if (loads.length !== plan.numExperts) {
    const problem = `there are ${loads.length} loads for ${plan.numExperts} experts`;
    throw wrongPlan(problem, loads.length, 'Pass the load of each expert.');
  }
  const ofRanks = new Float64Array(plan.numRanks);
  for (const [slot, expert] of plan.physicalToLogical[layer].entries()) {
    if (expert >= 0) ofRanks[rankOfSlot(slot, plan)] += loads[expert] / plan.replicaCount[layer][expert];
  }
  return ofRanks;
}

/** What a {@link lowerBound} is for. */
export interface BoundShape {
  /** The number of experts with their replicas: at least the number of experts. */
  readonly numPhysicalExperts: number;
  /** The number of ranks. */
  readonly numRanks: number;
}

/**
 * A load that the busiest rank has at least, in every placement of so many replicas on so many ranks in which replicas
 * share the load of their expert equally. It is the larger one of the mean load of a rank, and of the load of the
 * busiest replica, if the replicas are given to the experts in the best way.
 *
 * ```ts
 * import { lowerBound } from 'dispatch-layout/placement';
 *
 * console.log(lowerBound([10, 1, 1], { numPhysicalExperts: 4, numRanks: 4 })); // 5
 * ```
 *
 * @param loads `[numExperts]`: how often each expert was selected.
 * @throws DispatchLayoutError `PLACEMENT` if a load is negative or not finite; `OPTION` if a number is too
 *   small.
 */
export function lowerBound(loads: ArrayLike<number>, { numPhysicalExperts, numRanks }: BoundShape): number {
  const [checked] = readLoads([loads], Float64Array);
  if (!Number.isInteger(numRanks) || numRanks < 1) {
    throw wrongValue('OPTION', 'numRanks', numRanks, 'It must be a positive integer.');
  }
  if (!Number.isInteger(numPhysicalExperts) || numPhysicalExperts < checked.length) {
    const remedy = `It must be an integer, at least the number of experts, ${checked.length}.`;
    throw wrongValue('OPTION', 'numPhysicalExperts', numPhysicalExperts, remedy);
  }
  // The next replica always goes to the expert whose replicas are busiest. No other way makes the busiest one less busy:
  // it would have to leave this expert with fewer replicas than here
  const { counts } = replicate(checked, numPhysicalExperts);
  let bound = checked.reduce((sum, load) => sum + load, 0) / numRanks;
  for (const [expert, load] of checked.entries()) bound = Math.max(bound, load / counts[expert]);
  return bound;
}
