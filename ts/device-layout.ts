/**
 * The result of `getDispatchLayout` for ids on the GPU: the same, in tensors that stay there. Types only: the tensors
 * themselves are in `dispatch-layout/cuda`.
 *
 * @module
 */
import type { DeviceTensor } from './cuda/device-tensor.ts';
import type { EventOverlap } from './event-overlap.ts';
import type { LayoutShape } from './layout.ts';

/** The output tensors of a layout, to be passed as `out`, too. */
export interface DeviceLayoutArrays {
  /** `[numRanks]`: tokens to send to each rank. */
  readonly numTokensPerRank: DeviceTensor<'int32'>;
  /** `[numRdmaRanks]`: tokens to send to each RDMA rank (node); `null` within one node. */
  readonly numTokensPerRdmaRank: DeviceTensor<'int32'> | null;
  /** `[numExperts]`: tokens to send to each expert; an expert selected twice by one token counts twice. */
  readonly numTokensPerExpert: DeviceTensor<'int32'>;
  /** `[numTokens, numRanks]`, row-major: 1 where the token goes to the rank, else 0. */
  readonly isTokenInRank: DeviceTensor<'uint8'>;
}

/** A layout on the GPU. Nothing was waited for: the tensors are valid in the order of the streams. */
export interface DeviceDispatchLayout extends DeviceLayoutArrays, LayoutShape, Disposable {
  /** The done-event; recorded only with `asyncFinish`. */
  readonly event: EventOverlap;
  /** The device that computes this layout. */
  readonly device: 'cuda';
  /** `using layout = …` disposes of the tensors on leaving the block, except for those of `out`: they are the caller's. */
  [Symbol.dispose](): void;
}

const brand = Symbol.for('dispatch-layout.DeviceTensor');

/** Whether `topkIdx` is a tensor on the GPU. */
export function isDeviceTensor(value: unknown): value is DeviceTensor {
  return typeof value === 'object' && value !== null && brand in value;
}
