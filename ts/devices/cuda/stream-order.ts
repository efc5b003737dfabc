/**
 * The order of the streams in one call, as the addon takes it.
 *
 * @module
 */
import type { StreamOrder } from '../../layout/layout-request.ts';
import type { NativeStreamOrder } from './addon.ts';
import { currentStreamHandle } from './current-stream.ts';
import { isCudaEvent } from './events.ts';

/** The order of a call whose `previous` event, if there is one, is one of CUDA's: all others have been waited for. */
export function nativeOrder({ previous, asyncFinish, allocateOnCommStream }: StreamOrder): NativeStreamOrder {
  return {
    currentStream: currentStreamHandle(),
    previous: previous !== null && isCudaEvent(previous) ? previous.native : null,
    asyncFinish,
    allocateOnCommStream,
  };
}
