/**
 * Layouts of host arrays on the GPU.
 *
 * @module
 */
import { type EventHandle, finishedHandle } from '../../layout/event-overlap.ts';
import type { LayoutRequest } from '../../layout/layout-request.ts';
import { communicationStreamOf } from './communication-stream.ts';
import { HostLayoutEvent } from './events.ts';
import { finishHostLayout } from './host-layout.ts';
import { addonInUse } from './runtime.ts';
import { nativeOrder } from './stream-order.ts';

/** Queues a layout, and waits for it unless `asyncFinish` is set. The ids are copied before this returns. */
export function submitArrays(request: LayoutRequest): EventHandle {
  const { topkIdx, partition, isStrict } = request;
  const comm = communicationStreamOf(partition.group);
  const plan = comm.planFor(partition);
  if (isStrict) comm.reportEarlier();
  const layout = addonInUse().launchOnHost({ plan, ids: topkIdx, isStrict, order: nativeOrder(request) });
  if (request.asyncFinish) return new HostLayoutEvent(layout, request);
  finishHostLayout(layout, request);
  return finishedHandle;
}
