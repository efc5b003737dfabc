/**
 * Everything of the library that the command line uses. The other modules of the command line import it from here, so that
 * `../index.ts` is named in this one place: the build leaves that import out of the bundle and points it to
 * `dist/index.js`. What the library does not export, such as its table of outputs, is bundled in.
 *
 * @module
 */

export { deviceNames } from '../errors/availability.ts';
export {
  type DeviceDescription,
  type DeviceOption,
  DispatchLayoutError,
  describeDevices,
  ExpertGroup,
  type ExpertGroupOptions,
  InvalidExpertError,
  type LayoutArrays,
  type LayoutOptions,
} from '../index.ts';
export {
  dimensionsOf,
  type LayoutShape,
  lengthOfOutput,
  type Output,
  type OutputName,
  outputNames,
  outputs,
} from '../layout/outputs.ts';
export { type IdType, type IdTypeFacts, type IntegerArray, idTypeNames, idTypes } from '../values/id-types.ts';
export { denseStrides, sizeOf } from '../values/shape.ts';
