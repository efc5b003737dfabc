/**
 * Everything of the library that the command line uses. The other modules of the command line import it from here, so
 * only this module names `../index.ts` and `../placement/index.ts`. The build leaves these imports out of the bundle and
 * points them to `dist/index.mjs` and `dist/placement.mjs`, so that errors have the same classes in both. What the library does not export, such as its table of outputs, is bundled in.
 *
 * @module
 */

import { reportBug } from './bug.ts';

export { anyGpuName, deviceNames, ordinalIn } from '../errors/availability.ts';
export type {
  DeviceDescription,
  DeviceOption,
  ExpertGroupOptions,
  ExpertPermutationArrays,
  GpuDescription,
  LayoutArrays,
  LayoutOptions,
  MaskForm,
  PlacementName,
  RankPermutationArrays,
  SimulatedDispatch,
  Workspace,
  WorkspaceOrders,
} from '../index.ts';
export { expertOrderForm } from '../layout/expert-permutation.ts';
export { layoutComputations, layoutForm } from '../layout/layout.ts';
export {
  dimensionsOf,
  type ExpertOrder,
  type LayoutShape,
  type Output,
  type OutputName,
  type OutputShape,
  type RankOrder,
} from '../layout/outputs.ts';
export { rankOrders } from '../layout/rank-permutation.ts';
export type {
  Balance,
  BalanceFigure,
  PlacementPlan,
  PlanFinding,
  PlanFormatName,
  RebalanceOptions,
  ReplicaRule,
  Spread,
} from '../placement/index.ts';
export { counted, grouped } from '../values/grouped.ts';
export { type IdType, type IdTypeFacts, type IntegerArray, idTypeNames, idTypes } from '../values/id-types.ts';
export { denseStrides, sizeOf } from '../values/shape.ts';

// If a static import failed, for instance because a file is missing, Node.js would end with exit code 1, which means a
// finding.
export const { DispatchLayoutError, describeDevices, ExpertGroup, InvalidExpertError, simulateDispatch } = await import(
  '../index.ts'
).catch((error) => process.exit(reportBug(error)));

/** Loads the library of placements, which only some commands need. */
export function loadPlacement(): Promise<typeof import('../placement/index.ts')> {
  return import('../placement/index.ts').catch((error) => process.exit(reportBug(error)));
}
