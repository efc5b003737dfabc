/**
 * Everything of the library that the command line uses. The other modules of the command line import it from here, so
 * only this module names `../index.ts`. The build leaves that import out of the bundle and points it to
 * `dist/index.mjs`. What the library does not export, such as its table of outputs, is bundled in.
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
export { type IdType, type IdTypeFacts, type IntegerArray, idTypeNames, idTypes } from '../values/id-types.ts';
export { denseStrides, sizeOf } from '../values/shape.ts';

// If a static import failed, for instance because a file is missing, Node.js would end with exit code 1, which means a
// finding.
export const { DispatchLayoutError, describeDevices, ExpertGroup, InvalidExpertError } = await import(
  '../index.ts'
).catch((error) => process.exit(reportBug(error)));
