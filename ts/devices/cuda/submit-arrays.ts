/**
 * Computations on host arrays on the GPU.
 *
 * @module
 */
import type { TopkIdx } from '../../input/topk-idx.ts';
import { type EventHandle, finishedHandle } from '../../layout/event-overlap.ts';
import type { LayoutRequest } from '../../layout/layout-request.ts';
import type { NativeHostIds } from './addon.ts';
import { communicationStreamOf } from './communication-stream.ts';
import { HostLayoutEvent } from './events.ts';
import { finishHostLayout } from './host-layout.ts';
import { emptyIdBits } from './id-check.ts';
import { addonInUse, type Gpu } from './runtime.ts';
import { nativeOrder } from './stream-order.ts';

/** Queues a computation on a GPU, and waits for it unless `asyncFinish` is set. The ids are copied before this returns. */
export function submitArrays(request: LayoutRequest, gpu: Gpu): EventHandle {
  const { topkIdx, partition, computation, isStrict } = request;
  const comm = communicationStreamOf(partition.group, gpu);
  const plan = comm.planFor(partition, computation.kind);
  if (isStrict) comm.reportEarlier();
  const ids = nativeIds(topkIdx);
  const layout = addonInUse().launchOnHost({ plan, ids, computation, isStrict, order: nativeOrder(request, gpu) });
  if (request.asyncFinish) return new HostLayoutEvent(layout, request);
  finishHostLayout(layout, request);
  return finishedHandle;
}

function nativeIds(topkIdx: TopkIdx): NativeHostIds {
  const { data, type, numTokens, numTopk, offset, tokenStride, slotStride, emptyId } = topkIdx;
  return { data, type, numTokens, numTopk, offset, tokenStride, slotStride, emptyId: emptyIdBits(emptyId) };
}
