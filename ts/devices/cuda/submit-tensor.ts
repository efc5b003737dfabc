/**
 * Layouts of tensors. Nothing is copied to the host, and nothing is waited for.
 *
 * @module
 */
import { DispatchLayoutError } from '../../errors/errors.ts';
import { readShape, readStrides } from '../../input/read-topk-idx.ts';
import type { TopkIdx } from '../../input/topk-idx.ts';
import { EventOverlap, notRecorded } from '../../layout/event-overlap.ts';
import type { TensorRequest } from '../../layout/layout-request.ts';
import { dimensionsOf, lengthOfOutput, outputNames, outputs, perOutput } from '../../layout/outputs.ts';
import type { TensorLayout } from '../../layout/tensors.ts';
import { idTypes } from '../../values/id-types.ts';
import type { AllocationHandle, LaunchedOnDevice, PlanHandle } from './addon.ts';
import { checkTensors, type OutputShape } from './check-tensors.ts';
import { communicationStreamOf } from './communication-stream.ts';
import { deviceLayout, type OutputTensors } from './device-layout.ts';
import { DeviceTensor } from './device-tensor.ts';
import { TensorLayoutEvent } from './events.ts';
import { emptyIdBits, IdCheck } from './id-check.ts';
import { addonInUse, type Gpu } from './runtime.ts';
import { SharedAllocation } from './shared-allocation.ts';
import { nativeOrder } from './stream-order.ts';

/** Queues a layout of a tensor, whose results go to the caller's tensors or to new ones. */
export function submitTensor(request: TensorRequest): TensorLayout {
  const topkIdx = request.topkIdx as DeviceTensor;
  const { partition, hasMask, isStrict } = request;
  const { handle: allocation, gpu } = topkIdx.allocation;
  const comm = communicationStreamOf(partition.group, gpu);
  const plan = comm.planFor(partition);
  if (isStrict) comm.reportEarlier();
  const axes = readTensor(topkIdx);
  const { numExperts, numRanks, numRdmaRanks } = partition;
  const shape = { numTokens: axes.numTokens, numTopk: axes.numTopk, numExperts, numRanks, numRdmaRanks };
  const outputShape = { ...shape, hasMask };
  checkLengths(outputShape);
  const given = request.out === undefined ? null : checkTensors(request.out, outputShape, topkIdx);
  const emptyId = emptyIdBits(request.emptyId);
  const launched = addonInUse().launchOnDevice({
    plan,
    ids: {
      allocation,
      byteOffset: topkIdx.byteOffset,
      type: idTypes[topkIdx.dtype],
      numTokens: shape.numTokens,
      numTopk: shape.numTopk,
      tokenStride: axes.tokenStride,
      emptyId,
    },
    outputs: given && perOutput((name) => given[name]?.place ?? null),
    hasMask,
    isStrict,
    order: nativeOrder(request, gpu),
  });
  const { event, status } = launched;
  const check = status === null ? undefined : new IdCheck(status, topkIdx.dtype, axes, numExperts);
  if (check !== undefined) comm.remember(check);
  const tensors = given ?? tensorsIn(launched, plan, outputShape, gpu);
  for (const name of outputNames) tensors[name]?.writtenBy(check);
  const overlap = event === null ? notRecorded : new EventOverlap(new TensorLayoutEvent(event, gpu, check));
  return deviceLayout(tensors, shape, overlap, gpu.name, given === null);
}

/** Returns the axes of the ids, after checking that the ids of each token are contiguous. */
function readTensor({ shape, strides }: DeviceTensor): TensorAxes {
  const ids: TensorAxes = { numTokens: 0, numTopk: 0, leadingAxes: null, tokenStride: 0, slotStride: 1 };
  readShape(shape, ids);
  readStrides(strides, ids);
  if (ids.numTopk > 1 && ids.numTokens > 0 && ids.slotStride !== 1) {
    throw new DispatchLayoutError('TOPK_SHAPE', `the slots of topkIdx are ${ids.slotStride} elements apart`, {
      value: strides,
      remedy: 'On the GPU the ids of each token must be contiguous; only tokens may be apart.',
    });
  }
  return ids;
}

type TensorAxes = Pick<TopkIdx, 'numTokens' | 'numTopk' | 'leadingAxes' | 'tokenStride' | 'slotStride'>;

/** Makes new tensors for the outputs. The counts have memory of their own, so that they can be kept without the rows. */
function tensorsIn({ counts, rows }: LaunchedOnDevice, plan: PlanHandle, shape: OutputShape, gpu: Gpu): OutputTensors {
  const memory = {
    counts: new SharedAllocation(counts as AllocationHandle, gpu),
    rows: rows && new SharedAllocation(rows, gpu),
  };
  const byteOffsets = addonInUse().outputOffsets(plan, shape.numTokens, shape.hasMask);
  return perOutput((name) => {
    const { kind, type } = outputs[name];
    const dimensions = dimensionsOf(outputs[name], shape);
    const piece = kind === 'rows' ? memory.rows : memory.counts;
    return dimensions && piece && new DeviceTensor(piece, byteOffsets[name], dimensions, type);
  });
}

/**
 * A bound on the elements of an output. No GPU has so many bytes, and 64-bit offsets are by far large enough for them.
 */
const maxElements = 2 ** 48;

/** @throws DispatchLayoutError `TOO_LARGE` */
function checkLengths(shape: OutputShape): void {
  for (const name of outputNames) {
    const length = lengthOfOutput(outputs[name], shape) ?? 0;
    if (length <= maxElements) continue;
    const dimensions = dimensionsOf(outputs[name], shape);
    throw new DispatchLayoutError('TOO_LARGE', `${name} would have ${dimensions?.join(' x ')} elements`, {
      value: length,
      remedy: 'Correct the shape of topkIdx, or split the tokens and add up the counts.',
    });
  }
}
