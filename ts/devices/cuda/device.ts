/**
 * The `cuda` device: the kernel of `cuda/`, on the communication stream of each group. Importing this module touches
 * nothing of CUDA.
 *
 * @module
 */
import { DispatchLayoutError } from '../../errors/errors.ts';
import type { Partition } from '../../input/partition.ts';
import { readShape } from '../../input/read-topk-idx.ts';
import { type EventHandle, EventOverlap, notRecorded } from '../../layout/event-overlap.ts';
import type { LayoutRequest, StreamOrder, TensorRequest } from '../../layout/layout-request.ts';
import { dimensionsOf, type LayoutShape, lengthOfOutput, outputNames, outputs } from '../../layout/outputs.ts';
import type { TensorLayout } from '../../layout/tensors.ts';
import { idTypes } from '../../values/id-types.ts';
import type { Device, DeviceStreams } from '../device.ts';
import type { NativeEvent, NativeStreamOrder, NativeTopkShape } from './addon.ts';
import { type CheckedTensors, checkTensors } from './check-tensors.ts';
import { communicationStreamOf } from './communication-stream.ts';
import { cudaCanTake, fromSelections } from './crossover.ts';
import { deviceLayout } from './device-layout.ts';
import { DeviceTensor, SharedAllocation } from './device-tensor.ts';
import { HostLayoutEvent } from './host-layout-event.ts';
import { IdCheck } from './id-check.ts';
import { probeCuda } from './probe.ts';
import { addonInUse, isCudaInUse } from './runtime.ts';
import { Stream, StreamEvent } from './stream.ts';

/** The CUDA device. */
export const cudaDevice: Device & { readonly streams: DeviceStreams } = {
  name: 'cuda',
  probe: () => probeCuda(submit),
  get fromSelections() {
    return fromSelections();
  },
  suits: cudaCanTake,
  submit,
  streams: {
    get areInUse() {
      return isCudaInUse();
    },
    submit: submitTensor,
    capture: () => new StreamEvent(addonInUse().recordEvent(Stream.current.native)),
    canWaitFor: isNative,
  },
};

/** Queues a layout of host arrays, which the GPU reads and writes where they were packed. */
function submit(request: LayoutRequest): EventHandle {
  const { topkIdx, partition, isStrict, numTokens } = request;
  const comm = communicationStreamOf(partition.group);
  const plan = comm.planFor(partition);
  if (isStrict) comm.reportEarlier();
  const { data, type, offset, tokenStride, slotStride } = topkIdx;
  const shape: NativeTopkShape = [type.code, numTokens, slotsOf(request), tokenStride, slotStride];
  const layout = addonInUse().launchOnHost(plan, data, offset, shape, isStrict, nativeOrder(request));
  const event = new HostLayoutEvent(layout, request);
  if (!request.asyncFinish) event.synchronize();
  return event;
}

/** Queues a layout of a tensor, into the tensors of the caller or new ones. */
function submitTensor(request: TensorRequest): TensorLayout {
  const { partition, isStrict } = request;
  const topkIdx = request.topkIdx as DeviceTensor;
  const comm = communicationStreamOf(partition.group);
  const plan = comm.planFor(partition);
  if (isStrict) comm.reportEarlier();
  const shape = layoutShape(topkIdx, partition);
  checkLengths(shape);
  const given = request.out === undefined ? undefined : checkTensors(request.out, shape, topkIdx);
  const addon = addonInUse();
  const { dtype } = topkIdx;
  const [memory, done, status] = addon.launchOnDevice(
    plan,
    topkIdx.allocation.handle,
    topkIdx.byteOffset,
    [idTypes[dtype].code, shape.numTokens, slotsOf(shape), topkIdx.strides[0], 1],
    given === undefined ? null : nativeOutputs(given),
    isStrict,
    nativeOrder(request),
  );
  const check = status === null ? undefined : new IdCheck(status, dtype, shape.numTopk, shape.numExperts);
  if (check !== undefined) comm.remember(check);
  const tensors =
    memory === null
      ? (given as CheckedTensors)
      : tensorsIn(new SharedAllocation(memory), addon.outputOffsets(plan, shape.numTokens), shape);
  for (const name of outputNames) tensors[name]?.writtenBy(check);
  const event = done === null ? notRecorded : new EventOverlap(new CheckedEvent(done, check));
  return deviceLayout(tensors, shape, event, memory !== null);
}

/** The shape of a layout of ids that must be contiguous in each token. */
function layoutShape({ shape, strides }: DeviceTensor, partition: Partition): LayoutShape {
  const ids = { numTokens: 0, numTopk: 0 };
  readShape(shape, ids);
  if (ids.numTopk > 1 && ids.numTokens > 0 && strides[1] !== 1) {
    throw new DispatchLayoutError('TOPK_SHAPE', `the slots of topkIdx are ${strides[1]} elements apart`, {
      value: strides,
      remedy: 'On the GPU the ids of each token must be contiguous; only tokens may be apart.',
    });
  }
  const { numExperts, numRanks, numRdmaRanks } = partition;
  return { ...ids, numExperts, numRanks, numRdmaRanks };
}

/** New tensors for the outputs, in one piece of memory. */
function tensorsIn(memory: SharedAllocation, offsets: readonly number[], shape: LayoutShape): CheckedTensors {
  return Object.fromEntries(
    outputNames.map((name, index) => {
      const dimensions = dimensionsOf(outputs[name], shape);
      const tensor =
        dimensions === null ? null : new DeviceTensor(memory, offsets[index], dimensions, outputs[name].type);
      return [name, tensor];
    }),
  ) as CheckedTensors;
}

/** More elements than any GPU has bytes, which 64-bit offsets hold by far. */
const maxElements = 2 ** 48;

function checkLengths(shape: LayoutShape): void {
  for (const name of outputNames) {
    const dimensions = dimensionsOf(outputs[name], shape);
    const length = lengthOfOutput(outputs[name], shape) ?? 0;
    if (length <= maxElements) continue;
    throw new DispatchLayoutError('TOO_LARGE', `${name} would have ${dimensions?.join(' x ')} elements`, {
      value: length,
      remedy: 'Correct the shape of topkIdx, or split the tokens and add up the counts.',
    });
  }
}

/** The slots that the kernel has to read: no tokens have none, whatever the shape says. */
function slotsOf({ numTokens, numTopk }: { readonly numTokens: number; readonly numTopk: number }): number {
  return numTokens === 0 ? 0 : numTopk;
}

/** The event of a layout of tensors: reports what strict mode found, once the host has waited. */
class CheckedEvent extends StreamEvent implements EventHandle {
  readonly #check: IdCheck | undefined;

  constructor(native: NativeEvent, check: IdCheck | undefined) {
    super(native);
    this.#check = check;
  }

  override synchronize(): void {
    super.synchronize();
    this.#check?.assertValid();
  }

  override async wait(): Promise<void> {
    await super.wait();
    this.#check?.assertValid();
  }
}

function nativeOutputs(tensors: CheckedTensors) {
  return outputNames.flatMap((name) => {
    const tensor = tensors[name];
    return tensor === null ? [null, 0] : [tensor.allocation.handle, tensor.byteOffset];
  });
}

function nativeOrder({ previous, asyncFinish, allocateOnCommStream }: StreamOrder): NativeStreamOrder {
  const event = previous !== null && isNative(previous) ? previous.native : null;
  return [Stream.current.native, event, asyncFinish, allocateOnCommStream];
}

function isNative(event: EventHandle): event is StreamEvent | HostLayoutEvent {
  return event instanceof StreamEvent || event instanceof HostLayoutEvent;
}
