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
} from '../index.ts';
<<<<<<< HEAD
export { layoutComputations, layoutForm } from '../layout/layout.ts';
export { dimensionsOf, type LayoutShape, type Output, type OutputName, type OutputShape } from '../layout/outputs.ts';
=======
export { type ExpertOrder, layoutComputations, type RankOrder, rankOrders } from '../layout/computation.ts';
export {
  dimensionsOf,
  type LayoutShape,
  type Output,
  type OutputName,
  type OutputShape,
  outputNames,
  outputs,
} from '../layout/outputs.ts';
>>>>>>> 6d520d9 (dispatch-layout permute: the orders of rows by expert and by rank of a routing file, with a report and an .npz)
export { type IdType, type IdTypeFacts, type IntegerArray, idTypeNames, idTypes } from '../values/id-types.ts';
export { denseStrides, sizeOf } from '../values/shape.ts';

// If a static import failed, for instance because a file is missing, Node.js would end with exit code 1, which means a
// finding.
export const { DispatchLayoutError, describeDevices, ExpertGroup, InvalidExpertError } = await import(
  '../index.ts'
).catch((error) => process.exit(reportBug(error)));
