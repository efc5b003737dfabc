/**
 * The `cuda` device: the kernel of `cuda/`, on the communication stream of each group.
 *
 * @module
 */
import type { PreparedStreamsDevice, QueuedTensors, StreamOrder, StreamsDevice } from '../device.ts';
import type { DeviceLayoutArrays } from '../device-layout.ts';
import { DispatchLayoutError } from '../errors.ts';
import type { EventHandle } from '../event-overlap.ts';
import type { LayoutArrays } from '../layout.ts';
import type { Partition } from '../partition.ts';
import { checkRowShape, type TopkIdx } from '../topk-idx.ts';
import {
  idTypeCodes,
  type NativeEvent,
  type NativeStreamOrder,
  type NativeTopkShape,
  type PlanHandle,
  type StreamHandle,
} from './addon.ts';
import { checkTensorsOut } from './device-out.ts';
import { DeviceTensor, SharedAllocation } from './device-tensor.ts';
import { HostLayoutEvent } from './host-layout-event.ts';
import { LayoutCheck } from './layout-check.ts';
import { addonInUse, cudaAddon } from './runtime.ts';
import { Stream, StreamEvent } from './stream.ts';

/** The CUDA device. */
export const cudaDevice: StreamsDevice = {
  name: 'cuda',
  prepare: (partition, earlier) =>
    new PreparedCuda(partition, earlier instanceof PreparedCuda ? earlier.comm : new CommunicationStream()),
  canWaitFor: isNative,
  capture: () => new StreamEvent(addonInUse().recordEvent(Stream.current.native)),
};

const maxPlans = 8;

/** The stream that all layouts of a group run on, one after the other. */
class CommunicationStream {
  readonly native: StreamHandle = cudaAddon().createStream();
  /** Checks of layouts of tensors that nobody may ever wait for, in the order of the stream. */
  readonly #checks: LayoutCheck[] = [];
  /** By number of experts, on which alone the partitions of one group depend. */
  readonly #plans = new Map<number, PlanHandle>();

  /** Memory of the GPU for a partition, kept for a few: models whose layers differ take turns. */
  planFor(partition: Partition): PlanHandle {
    const { numExperts, numRanks, numRanksPerNode, numRdmaRanks, rankOfExpert } = partition;
    const existing = this.#plans.get(numExperts);
    if (existing !== undefined) return existing;
    const table = isContiguous(partition) ? null : rankOfExpert;
    const plan = cudaAddon().createPlan(this.native, numExperts, numRanks, numRanksPerNode, numRdmaRanks, table);
    if (this.#plans.size === maxPlans) this.#plans.clear();
    this.#plans.set(numExperts, plan);
    return plan;
  }

  /** Keeps the check of a layout that was queued, to be reported if nobody else asks. */
  remember(check: LayoutCheck): void {
    this.#checks.push(check);
  }

  /** Throws what an earlier layout of tensors found, if it is done by now and nobody has been told. */
  reportEarlier(): void {
    while (this.#checks.length > 0 && this.#checks[0].isDone) this.#checks.shift()?.assertReported();
  }
}

class PreparedCuda implements PreparedStreamsDevice {
  readonly comm: CommunicationStream;
  readonly #partition: Partition;
  readonly #plan: PlanHandle;

  constructor(partition: Partition, comm: CommunicationStream) {
    this.comm = comm;
    this.#partition = partition;
    this.#plan = comm.planFor(partition);
  }

  computeLayout(topkIdx: TopkIdx, strict: boolean, out: LayoutArrays): void {
    this.queueLayout(topkIdx, strict, out, { previous: null, asyncFinish: false, allocateOnCommStream: false });
  }

  queueLayout(topkIdx: TopkIdx, strict: boolean, out: LayoutArrays, order: StreamOrder): EventHandle {
    if (strict) this.comm.reportEarlier();
    const { data, idType, numTokens, numTopk, offset, tokenStride, slotStride } = topkIdx;
    const shape: NativeTopkShape = [
      idTypeCodes[idType],
      numTokens,
      slotsOf(numTokens, numTopk),
      tokenStride,
      slotStride,
    ];
    const addon = addonInUse();
    const layout = addon.launchOnHost(this.#plan, data, offset, shape, strict, nativeOrder(order));
    const event = new HostLayoutEvent(layout, topkIdx, this.#partition.numExperts, out);
    if (!order.asyncFinish) event.synchronize();
    return event;
  }

  queueTensors(
    topkIdx: DeviceTensor,
    strict: boolean,
    out: DeviceLayoutArrays | undefined,
    order: StreamOrder,
  ): QueuedTensors {
    const { numExperts, numRanks, numRdmaRanks } = this.#partition;
    if (strict) this.comm.reportEarlier();
    const [numTokens, numTopk] = checkRowShape(topkIdx.shape, topkIdx.strides);
    checkMask(numTokens, numRanks);
    const layoutShape = { numTokens, numTopk, numExperts, numRanks, numRdmaRanks };
    const given = out === undefined ? undefined : checkTensorsOut(out, layoutShape, topkIdx);
    const addon = addonInUse();
    const { dtype } = topkIdx;
    const [memory, done, status] = addon.launchOnDevice(
      this.#plan,
      topkIdx.allocation.handle,
      topkIdx.byteOffset,
      [idTypeCodes[dtype], numTokens, slotsOf(numTokens, numTopk), topkIdx.strides[0], 1],
      given === undefined ? null : nativeOutputs(given),
      strict,
      nativeOrder(order),
    );
    const check = status === null ? undefined : new LayoutCheck(status, dtype, numTopk, numExperts);
    if (check !== undefined) this.comm.remember(check);
    let tensors = given;
    if (memory !== null) {
      const offsets = addon.outputOffsets(this.#plan, numTokens);
      const shared = new SharedAllocation(memory);
      tensors = {
        numTokensPerRank: new DeviceTensor(shared, offsets[0], [numRanks], 'int32'),
        numTokensPerRdmaRank: numRdmaRanks === 1 ? null : new DeviceTensor(shared, offsets[1], [numRdmaRanks], 'int32'),
        numTokensPerExpert: new DeviceTensor(shared, offsets[2], [numExperts], 'int32'),
        isTokenInRank: new DeviceTensor(shared, offsets[3], [numTokens, numRanks], 'uint8'),
      };
    }
    const written = tensors as DeviceLayoutArrays;
    for (const tensor of tensorsOf(written)) tensor.writtenBy(check);
    return { ...layoutShape, arrays: written, handle: done === null ? null : new CheckedEvent(done, check) };
  }
}

/** More bytes than any GPU has, which 64-bit offsets hold by far. */
const maxMaskBytes = 2 ** 48;

function checkMask(numTokens: number, numRanks: number): void {
  if (numTokens * numRanks <= maxMaskBytes) return;
  throw new DispatchLayoutError('TOO_LARGE', `isTokenInRank would have ${numTokens} x ${numRanks} elements`, {
    value: numTokens * numRanks,
    remedy: 'Correct the shape of topkIdx, or split the tokens and add up the counts.',
  });
}

/** The slots that the kernel has to read: no tokens have none, whatever the shape says. */
function slotsOf(numTokens: number, numTopk: number): number {
  return numTokens === 0 ? 0 : numTopk;
}

/** The event of a layout of tensors: reports what strict mode found, once the host has waited. */
class CheckedEvent extends StreamEvent implements EventHandle {
  readonly #check: LayoutCheck | undefined;

  constructor(native: NativeEvent, check: LayoutCheck | undefined) {
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

function tensorsOf(arrays: DeviceLayoutArrays): readonly DeviceTensor[] {
  const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank } = arrays;
  const always = [numTokensPerRank, numTokensPerExpert, isTokenInRank];
  return numTokensPerRdmaRank === null ? always : [...always, numTokensPerRdmaRank];
}

function nativeOutputs(out: DeviceLayoutArrays) {
  const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank } = out;
  return [numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank].flatMap((tensor) =>
    tensor === null ? [null, 0] : [tensor.allocation.handle, tensor.byteOffset],
  );
}

function nativeOrder({ previous, asyncFinish, allocateOnCommStream }: StreamOrder): NativeStreamOrder {
  const event = previous !== null && isNative(previous) ? previous.native : null;
  return [Stream.current.native, event, asyncFinish, allocateOnCommStream];
}

function isNative(event: EventHandle): event is StreamEvent | HostLayoutEvent {
  return event instanceof StreamEvent || event instanceof HostLayoutEvent;
}

/** Whether the kernel can compute the table: blocks of `floor(numExperts / numRanks)` experts, the rest on no rank. */
function isContiguous({ numExperts, numRanks, rankOfExpert }: Partition): boolean {
  const numExpertsPerRank = Math.floor(numExperts / numRanks);
  return rankOfExpert.every((rank, expert) => {
    const expected = numExpertsPerRank === 0 ? numRanks : Math.floor(expert / numExpertsPerRank);
    return rank === (expected < numRanks ? expected : -1);
  });
}
