/**
 * What a group computes with: its device, the communication stream and the tables. The functions and the methods that
 * users call are thin wrappers around it.
 *
 * @module
 */
import {
  chooseDevice,
  chooseTensorDevice,
  deviceForLargeArrays,
  largeArraysFrom,
  readDeviceOption,
  type StreamsDevice,
} from './choose-device.ts';
import type { DeviceTensor } from './devices/cuda/device-tensor.ts';
import type { Device } from './devices/device.ts';
import type { DeviceName, DeviceOption } from './errors/availability.ts';
import { checkOptions, readStrictness } from './errors/checks.ts';
import { DispatchLayoutError, type ErrorCode } from './errors/errors.ts';
import {
  checkRankGroup,
  expertsOnOneRank,
  isSamePlacement,
  type Partition,
  type Placement,
  partitionExperts,
  type RankGroup,
  readPlacement,
} from './input/partition.ts';
import { checkExtent, readEmptyId, readTopkIdx, type TopkIdxInput } from './input/read-topk-idx.ts';
import { Computed } from './layout/computed.ts';
import { type EventHandle, EventOverlap, notRecorded, waitHere } from './layout/event-overlap.ts';
import { LayoutRequest, type StreamOrder, type TensorRequest } from './layout/layout-request.ts';
import { allocateOut, checkOut, readOut } from './layout/out-arrays.ts';
import type { AnyArrays, Computation, ComputationKind } from './layout/outputs.ts';
import { type GpuTensor, isGpuTensor, type TensorArrays } from './layout/tensors.ts';
import { type ExpertGroupOptions, groupOptions, readOrder } from './options.ts';
import type { Task, TaskOptions } from './task.ts';
import { idTypes } from './values/id-types.ts';

/** What is kept of the calls of one task. */
interface Kept {
  /** The request of the last call, for the next one. */
  request?: LayoutRequest | undefined;
  computation?: Computation;
}

/** The device, the partition and the requests of a group. */
export class ComputingGroup {
  readonly group: RankGroup;
  readonly option: DeviceOption;
  /** The device that computes host arrays. */
  readonly device: Device;
  readonly #placement: Placement | undefined;
  /** The number of selections from which `auto` may prefer another device for host arrays. */
  readonly #askFrom: number;
  #tensorDevice: StreamsDevice | undefined;
  #partition: Partition | undefined;
  /** The experts of the last task for which their ranks do not matter, if #partition does not have them. */
  #experts: Partition | undefined;
  readonly #kept: Readonly<Record<ComputationKind, Kept>> = { layout: {}, byExpert: {}, byRank: {} };

  /**
   * @throws DispatchLayoutError `NUM_RANKS`, `NUM_RANKS_PER_NODE`, `PLACEMENT`, `OPTION`, `ENVIRONMENT`
   * @throws DeviceUnavailableError if `device` names a device that cannot be used here.
   */
  constructor(options: ExpertGroupOptions) {
    const { numRanks, numRanksPerNode = 8, placement, device } = checkOptions(options, groupOptions);
    this.group = checkRankGroup(numRanks, numRanksPerNode);
    this.#placement = placement === undefined ? undefined : readPlacement(placement, numRanks);
    this.option = readDeviceOption(device);
    this.device = chooseDevice(this.option);
    this.#askFrom = IS_NODE && this.option === 'auto' ? largeArraysFrom() : Number.POSITIVE_INFINITY;
  }

  /** Whether the placement that the group was made with is equal to this one. */
  hasPlacement(placement: ExpertGroupOptions['placement']): boolean {
    return isSamePlacement(this.#placement, placement);
  }

  /** Computes the result of a task, for options whose names were checked before. */
  compute(task: Task, topkIdx: TopkIdxInput | DeviceTensor, numExperts: number, options: TaskOptions): unknown {
    if (IS_NODE && isGpuTensor(topkIdx)) {
      const device = tensorDevice(this.#tensorDevice, this.option, topkIdx);
      this.#tensorDevice = device;
      const request = this.tensorRequest(task, topkIdx, numExperts, options);
      readOrder(options, request);
      this.#awaitPrevious(device, request);
      return device.streams.submit(request);
    }
    // Getters of the caller may call this method again. The inner call then finds no idle request and makes a new one
    const kept = this.#kept[task.form.kind];
    const request = kept.request ?? new LayoutRequest(task.form, task.onCpu);
    kept.request = undefined;
    try {
      return this.#computeArrays(task, request, topkIdx as TopkIdxInput, numExperts, options);
    } finally {
      // With asyncFinish the event may read the request later, so it is not used again
      if (!request.asyncFinish) {
        request.clear();
        kept.request = request;
      }
    }
  }

  /** Reads what a computation on a tensor works on. The order of the streams is not read. */
  tensorRequest(task: Task, topkIdx: GpuTensor, numExperts: number, options: TaskOptions): TensorRequest {
    // Only these are read here, since the task and `readOrder` read the others, and each is read once
    const { invalidExperts, emptyId, out } = options;
    const isStrict = readStrictness(invalidExperts);
    return {
      topkIdx,
      emptyId: readEmptyId(emptyId, idTypes[topkIdx.dtype]),
      out: out as TensorArrays | undefined,
      isStrict,
      partition: this.partitionFor(numExperts, isStrict, task.hasRanks),
      computation: this.#read(task, options, numExperts),
      previous: null,
      asyncFinish: false,
      allocateOnCommStream: false,
    };
  }

  /** The placement of experts on the ranks or, if these do not matter, any. */
  partitionFor(numExperts: number, isStrict: boolean, hasRanks: boolean): Partition {
    const last = this.#partition;
    if (!hasRanks) {
      if (last?.numExperts === numExperts) return last;
      if (this.#experts?.numExperts !== numExperts) this.#experts = expertsOnOneRank(numExperts, this.group);
      return this.#experts;
    }
    if (last?.numExperts === numExperts) {
      const isEven = this.#placement !== undefined || numExperts % this.group.numRanks === 0;
      if (isEven || !isStrict) return last;
    }
    this.#partition = partitionExperts(this.group, numExperts, this.#placement, isStrict);
    return this.#partition;
  }

  #computeArrays(
    task: Task,
    request: LayoutRequest,
    topkIdx: TopkIdxInput,
    numExperts: number,
    options: TaskOptions,
  ): unknown {
    const out = this.#readCall(task, request, topkIdx, numExperts, options);
    let device = this.#deviceFor(request);
    if (out === undefined) allocateOut(request);
    else checkOut(out, request);
    let handle: EventHandle;
    try {
      handle = this.#submit(device, request, out);
    } catch (error) {
      if (IS_NODE && device !== this.device && isDeviceFailure(error)) {
        // `auto` chose this device only for its speed. The group's own device computes the same
        device = this.device;
        handle = this.#submit(device, request, out);
      } else {
        throw error;
      }
    }
    const event = request.asyncFinish ? new EventOverlap(handle) : notRecorded;
    if (out instanceof Computed && isResult(out, request, event, device.name)) return out;
    return task.form.resultOf(request.out, request, event, device.name);
  }

  /**
   * Reads everything that the caller has given into the request, each property once.
   *
   * @returns the caller's object of arrays, if there is one.
   */
  #readCall(
    task: Task,
    request: LayoutRequest,
    topkIdx: TopkIdxInput,
    numExperts: number,
    options: TaskOptions,
  ): AnyArrays | undefined {
    const { invalidExperts, emptyId } = options;
    const out = options.out as AnyArrays | undefined;
    request.isStrict = readStrictness(invalidExperts);
    readOrder(options, request);
    request.isOutGiven = out !== undefined;
    if (out !== undefined) readOut(out, request.out);
    const partition = this.partitionFor(numExperts, request.isStrict, task.hasRanks);
    const computation = this.#read(task, options, numExperts);
    // No ids may be read before the previous event. Reading nested arrays copies them, so the wait comes first
    if (Array.isArray(topkIdx)) this.#awaitPrevious(this.device, request);
    readTopkIdx(topkIdx, request.topkIdx, emptyId);
    task.checkSize?.(request.topkIdx.numTokens * request.topkIdx.numTopk, computation);
    request.setShape(partition, computation);
    return out;
  }

  /** Reads what to compute. A call that asks for the same as the one before gets the same object. */
  #read(task: Task, options: TaskOptions, numExperts: number): Computation {
    const kept = this.#kept[task.form.kind];
    kept.computation = task.read(options, numExperts, kept.computation);
    return kept.computation;
  }

  #deviceFor(request: LayoutRequest): Device {
    // Only of layouts it was measured from which size on another device is faster
    if (IS_NODE && request.onCpu === undefined && request.numTokens * request.numTopk >= this.#askFrom) {
      return deviceForLargeArrays(request) ?? this.device;
    }
    return this.device;
  }

  #submit(device: Device, request: LayoutRequest, out: AnyArrays | undefined): EventHandle {
    if (request.previous !== null && this.#awaitPrevious(device, request)) {
      // An event may run code of the caller, which may transfer arrays away, or shrink them
      checkExtent(request.topkIdx, false);
      if (out !== undefined) checkOut(out, request);
    }
    return device.submit(request);
  }

  /**
   * Waits for the previous event if the device cannot wait for it by itself, and takes it out of the order.
   *
   * @returns whether this thread has waited for an event.
   */
  #awaitPrevious(device: Device, order: StreamOrder): boolean {
    const { previous } = order;
    if (previous === null || (IS_NODE && device.streams?.canWaitFor(previous))) return false;
    order.previous = null;
    try {
      waitHere(previous);
    } catch (error) {
      // `auto` goes on without the GPU. An event that was lost with it counts as finished
      if (!(IS_NODE && this.option === 'auto' && isDeviceFailure(error))) throw error;
    }
    return true;
  }
}

// These are functions of the module, and not methods, so that bundles for browsers do not contain them

/** The device of a tensor, which may be that of the tensor before. */
export function tensorDevice(
  last: StreamsDevice | undefined,
  option: DeviceOption,
  { device }: GpuTensor,
): StreamsDevice {
  return last?.name === device ? last : chooseTensorDevice(option, device);
}

/** Whether `out` equals the result that the call would make. The call then returns `out` itself. */
function isResult(out: Computed, request: LayoutRequest, event: EventOverlap, device: DeviceName): boolean {
  return (
    out.event === event &&
    out.device === device &&
    request.out.form.haveSame(request.out, out as unknown as AnyArrays) &&
    out.hasShape(request)
  );
}

/** The codes of errors that another device would not have. */
const deviceFailures: readonly ErrorCode[] = ['CUDA_ERROR', 'OUT_OF_MEMORY', 'CAPTURE'];

function isDeviceFailure(error: unknown): boolean {
  return error instanceof DispatchLayoutError && deviceFailures.includes(error.code);
}
