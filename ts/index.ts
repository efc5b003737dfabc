/// <reference lib="esnext.disposable" preserve="true" />
/**
 * dispatch-layout: the dispatch layout of Mixture-of-Experts expert parallelism, what DeepEP calls
 * `get_dispatch_layout`. One function, {@link getDispatchLayout}, and several devices that give the same bits.
 *
 * @module
 */
export type { DeviceDescription, DeviceName, DeviceVersions, Obstacle, ObstacleCode } from './device.ts';
export type { DeviceDispatchLayout, DeviceLayoutArrays } from './device-layout.ts';
export { type DeviceOption, describeDevices } from './devices.ts';
export {
  DeviceUnavailableError,
  DispatchLayoutError,
  type ErrorCode,
  type ErrorDetails,
  InvalidExpertError,
} from './errors.ts';
export { type EventHandle, EventOverlap } from './event-overlap.ts';
export { type DeviceLayoutOptions, ExpertGroup, type ExpertGroupOptions, type LayoutOptions } from './expert-group.ts';
export { type DispatchLayoutOptions, getDispatchLayout } from './get-dispatch-layout.ts';
export type { DispatchLayout, LayoutArrays, LayoutShape } from './layout.ts';
export { type PrepareOptions, prepare } from './prepare.ts';
export type { IdType, IntegerArray, TopkIdxInput, TopkNdarray, TopkTensor } from './topk-idx.ts';
export { Workspace, type WorkspaceOptions } from './workspace.ts';
