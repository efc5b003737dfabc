/**
 * Computations on tensors. Nothing is copied to the host, and nothing is waited for.
 *
 * @module
 */
import type { TensorRequest } from '../../layout/layout-request.ts';
import type { ComputationKind, OutputName } from '../../layout/outputs.ts';
import { communicationStreamOf } from './communication-stream.ts';
import type { ComputedOnDevice } from './device-layout.ts';
import type { DeviceTensor } from './device-tensor.ts';
import { PreparedLayout } from './prepared-layout.ts';

type LayoutsByInput = WeakMap<DeviceTensor, PreparedLayout>;

/** What is kept of the last computations of one kind. */
interface LastLayouts {
  /**
   * Those of each tensor into the caller's tensors, which are known by one of them: the object around them may be a new
   * one each time. It keeps none of them.
   */
  readonly intoGiven: WeakMap<DeviceTensor, LayoutsByInput>;
  /** Those of each tensor into new tensors. */
  readonly intoNew: LayoutsByInput;
  /** The output whose tensor the caller's tensors are known by. */
  readonly knownBy: OutputName;
}

const none = (knownBy: OutputName): LastLayouts => ({ intoGiven: new WeakMap(), intoNew: new WeakMap(), knownBy });
const lastLayouts: Readonly<Record<ComputationKind, LastLayouts>> = {
  layout: none('numTokensPerRank'),
  byExpert: none('expertOffsets'),
  byRank: none('rankOffsets'),
};

/** Queues a computation on a tensor, whose results go to the caller's tensors or to new ones. */
export function submitTensor(request: TensorRequest): ComputedOnDevice {
  const topkIdx = request.topkIdx as DeviceTensor;
  const { gpu } = topkIdx.allocation;
  const { out } = request;
  const { intoGiven, intoNew, knownBy } = lastLayouts[request.computation.kind];
  const first = out?.[knownBy] as DeviceTensor;
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
