/**
 * dispatch-layout/placement answers what a placement of experts is worth, and which one would be better: EPLB
 * ({@link rebalance}), replicas ({@link mapToPhysical}), the balance of loads ({@link balanceOf}), and plans in the forms
 * of other projects ({@link readPlan}, {@link writePlan}).
 *
 * @module
 */
export {
  type Balance,
  type BalanceFigure,
  type BoundShape,
  balanceFigures,
  balanceOf,
  lowerBound,
  percentile,
  rankLoads,
  type Spread,
  spreadOf,
} from './balance.ts';
export { findingsOf, type PlanFinding, type PlanFindingKind } from './findings.ts';
export type { ShapedArray } from './formats/arrays.ts';
export { type EplbTensors, type Int32Tensor, toEplbTensors } from './formats/eplb.ts';
export type { PlanFormatName, ReadPlanOptions } from './formats/format.ts';
export { planFormats, readPlan, writePlan } from './formats/plan-files.ts';
export { rankOfExpert } from './formats/ranks.ts';
export { type MappingOptions, mapToPhysical, type PhysicalIds } from './map-to-physical.ts';
export { linear, type NamedPlanShape, roundRobin } from './named-plans.ts';
export { createPlan, type PlacementPlan, type PlanShape } from './plan.ts';
export { type RebalanceOptions, rebalance } from './rebalance.ts';
export { type ReplicaRule, replicaRules, type TokenSource } from './replica-table.ts';
