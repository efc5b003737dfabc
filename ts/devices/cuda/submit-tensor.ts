/**
 * Layouts of tensors. Nothing is copied to the host, and nothing is waited for.
 *
 * @module
 */
import type { TensorRequest } from '../../layout/layout-request.ts';
import { communicationStreamOf } from './communication-stream.ts';
import type { ComputedDeviceLayout } from './device-layout.ts';
import type { DeviceTensor } from './device-tensor.ts';
import { PreparedLayout } from './prepared-layout.ts';

type LayoutsByInput = WeakMap<DeviceTensor, PreparedLayout>;

/** The last layout of each tensor into each `out`. It keeps neither of them. */
const intoGiven = new WeakMap<object, LayoutsByInput>();
/** The last layout of each tensor into new tensors. */
const intoNew: LayoutsByInput = new WeakMap();

/** Queues a layout of a tensor, whose results go to the caller's tensors or to new ones. */
export function submitTensor(request: TensorRequest): ComputedDeviceLayout {
  const topkIdx = request.topkIdx as DeviceTensor;
  const { gpu } = topkIdx.allocation;
  const { out } = request;
  let layouts = typeof out === 'object' && out !== null ? intoGiven.get(out) : intoNew;
  let layout = layouts?.get(topkIdx);
  if (layout === undefined || !layout.isFor(request)) {
    layout = new PreparedLayout(communicationStreamOf(request.partition.group, gpu), request);
    if (layouts === undefined) {
      layouts = new WeakMap();
      intoGiven.set(out as object, layouts);
    }
    layouts.set(topkIdx, layout);
  }
  return layout.launch(request);
}
