/**
 * The order of the streams in one call, in the form that the addon takes.
 *
 * @module
 */
import type { StreamOrder } from '../../layout/layout-request.ts';
import type { NativeStreamOrder } from './addon.ts';
import { currentStreamHandle } from './current-stream.ts';
import { isCudaEvent } from './events.ts';
import type { Gpu } from './runtime.ts';

/**
 * Converts the order of a call. Its `previous` event must be one of CUDA's, if there is one: the calling thread has
 * waited for any other.
 *
 * @param gpu the GPU on which the layout runs.
 */
export function nativeOrder({ previous, asyncFinish, allocateOnCommStream }: StreamOrder, gpu: Gpu): NativeStreamOrder {
  return {
    currentStream: currentStreamHandle(gpu),
    previous: previous !== null && isCudaEvent(previous) ? previous.native : null,
    asyncFinish,
    allocateOnCommStream,
  };
}
