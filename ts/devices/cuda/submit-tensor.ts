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

/**
 * The last layout of each tensor into the caller's tensors, which are known by the first of them: the object around them
 * may be a new one each time. It keeps none of them.
 */
const intoGiven = new WeakMap<DeviceTensor, LayoutsByInput>();
/** The last layout of each tensor into new tensors. */
const intoNew: LayoutsByInput = new WeakMap();

/** Queues a layout of a tensor, whose results go to the caller's tensors or to new ones. */
export function submitTensor(request: TensorRequest): ComputedDeviceLayout {
  const topkIdx = request.topkIdx as DeviceTensor;
  const { gpu } = topkIdx.allocation;
  const { out } = request;
  const first = out?.numTokensPerRank as DeviceTensor;
  let layouts = out === undefined ? intoNew : intoGiven.get(first);
  let layout = layouts?.get(topkIdx);
  if (layout === undefined || !layout.isFor(request)) {
    layout = new PreparedLayout(communicationStreamOf(request.partition.group, gpu), request);
    if (layouts === undefined) {
      layouts = new WeakMap();
      intoGiven.set(first, layouts);
    }
    layouts.set(topkIdx, layout);
  }
  return layout.launch(request);
}
