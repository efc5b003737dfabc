/**
 * dispatch-layout/cuda has tensors that stay on the GPU, streams and events. If `topkIdx` is a {@link DeviceTensor},
 * `getDispatchLayout`, `getExpertPermutation` and `getRankPermutation` return DeviceTensors.
 *
 * @module
 */

export type { TypedArrayOf } from '../../values/id-types.ts';
export type { CudaFailure } from './addon.ts';
export { CudaError } from './cuda-error.ts';
export type {
  DeviceDispatchLayout,
  DeviceExpertPermutation,
  DeviceExpertPermutationArrays,
  DeviceLayoutArrays,
  DeviceRankPermutation,
  DeviceRankPermutationArrays,
} from './device-layout.ts';
export { type AllocationOptions, DeviceTensor, type IpcOptions, type TypeOf } from './device-tensor.ts';
export { DeviceWorkspace, type DeviceWorkspaceOptions } from './device-workspace.ts';
export { Stream, type StreamOptions } from './stream.ts';
