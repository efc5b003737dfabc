/**
 * The group of ranks that experts are spread over: what DeepEP's `Buffer` is to its users.
 *
 * @module
 */
import type { DeviceTensor } from './cuda/device-tensor.ts';
import { describe } from './describe.ts';
import type {
  Device,
  DeviceName,
  PreparedDevice,
  PreparedStreamsDevice,
  StreamOrder,
  StreamsDevice,
} from './device.ts';
import { type DeviceDispatchLayout, type DeviceLayoutArrays, isDeviceTensor } from './device-layout.ts';
import {
  chooseDevice,
  chooseTensorDevice,
  cudaForHostArrays,
  cudaInUse,
  type DeviceOption,
  readDeviceOption,
} from './devices.ts';
import { DispatchLayoutError } from './errors.ts';
import { type EventHandle, EventOverlap, finishedHandle, handleOf, notRecorded } from './event-overlap.ts';
import { ComputedLayout, type DispatchLayout, isResult, type LayoutArrays } from './layout.ts';
import { LayoutRequest, plainOrder } from './layout-request.ts';
import { allocateOut, checkOut, readOut } from './out-arrays.ts';
import { checkPlacement, checkRankGroup, type Partition, partitionExperts, type RankGroup } from './partition.ts';
import { checkExtent, type IdType, readTopkIdx, type TopkIdxInput } from './topk-idx.ts';
import { Workspace, type WorkspaceOptions } from './workspace.ts';

/** What an {@link ExpertGroup} is made of. */
export interface ExpertGroupOptions {
  /** Number of ranks in the expert-parallel group. */
  readonly numRanks: number;
  /**
   * Number of ranks that share a node, and so one RDMA rank; any number that divides `numRanks`, or is not smaller.
   * Default 8, what DeepEP is built for.
   */
  readonly numRanksPerNode?: number | undefined;
  /**
   * `[numExperts]`: the rank of each expert, any assignment. Default: contiguous blocks of `numExperts / numRanks`
   * experts, as in DeepEP. The table is copied.
   */
  readonly placement?: ArrayLike<number> | undefined;
  /** Where to compute. Default `auto`: ids on the GPU there, host arrays where that is fastest. */
  readonly device?: DeviceOption | undefined;
}

/** What can differ from one call to the next, besides where the results go. */
interface CallOptions {
  /**
   * What to do with an id that is neither -1 nor in `[0, numExperts)`, and with experts that do not divide evenly
   * among ranks. `throw` (default) reports the first; `ignore` skips them, as DeepEP does.
   */
  readonly invalidExperts?: 'throw' | 'ignore' | undefined;
  /** Work to wait for before the layout is computed. */
  readonly previousEvent?: EventOverlap | undefined;
  /**
   * Whether the current stream goes on without waiting; the outputs are valid after `event`. On a CPU device the work is
   * done when the call returns, and the event is finished. On `cuda`, ids that are no experts are reported by the event:
   * `event.wait()` rejects, `event.currentStreamWait()` throws. Default false.
   */
  readonly asyncFinish?: boolean | undefined;
  /** Whether the outputs belong to the communication stream; needs `previousEvent` and `asyncFinish`. Default false. */
  readonly allocateOnCommStream?: boolean | undefined;
}

/** What can differ from one call to the next. */
export interface LayoutOptions extends CallOptions {
  /**
   * Arrays to write to, such as an earlier result, which is returned again where it fits the call, so that nothing is
   * allocated. Untouched if the call throws. Where `isTokenInRank` is longer than needed, the result has a view of its
   * first part: to use all of it again, pass the same object again. Default: new arrays.
   */
  readonly out?: LayoutArrays | undefined;
}

/** The same for ids on the GPU. */
export interface DeviceLayoutOptions extends CallOptions {
  /** Tensors to write to, such as an earlier result. Default: new tensors. */
  readonly out?: DeviceLayoutArrays | undefined;
}

/** The table that a group has read, or undefined. */
export let placementOf: (group: ExpertGroup) => Int32Array | undefined;

/**
 * Computes layouts for one group of ranks. It owns the device, the communication stream and the prepared tables, so that
 * repeated calls with the same `numExperts` cost nothing but the kernel.
 *
 * ```ts
 * import { ExpertGroup } from 'dispatch-layout';
 *
 * const group = new ExpertGroup({ numRanks: 16 });
 * const ids = new BigInt64Array(4096 * 8);
 * const layout = group.getDispatchLayout({ data: ids, shape: [4096, 8] }, 256);
 * console.log(layout.numTokensPerRdmaRank?.join(' ')); // 4096 0
 * ```
 */
export class ExpertGroup {
  readonly #group: RankGroup;
  readonly #placement: Int32Array | undefined;
  readonly #option: DeviceOption;
  /** For host arrays, unless they are so many that `auto` prefers the GPU. */
  readonly #host: Lane<Device>;
  #cuda: Lane<StreamsDevice> | undefined;
  #partition: Partition | undefined;
  #idleRequest: LayoutRequest | undefined;

  static {
    placementOf = (group) => group.#placement;
  }

  /**
   * @throws {@link DispatchLayoutError} `NUM_RANKS`, `NUM_RANKS_PER_NODE`, `PLACEMENT`, `OPTION`, `ENVIRONMENT`
   * @throws {@link DeviceUnavailableError} if `device` names one that cannot be used here.
   */
  constructor(options: ExpertGroupOptions) {
    const { numRanks, numRanksPerNode = 8, placement, device: option } = checkObject('options', options);
    this.#group = checkRankGroup(numRanks, numRanksPerNode);
    this.#placement = placement === undefined ? undefined : checkPlacement(placement, numRanks);
    const device = readDeviceOption(option);
    this.#option = device;
    if (device === 'cuda') {
      this.#cuda = new Lane(chooseTensorDevice(device));
      this.#host = this.#cuda;
    } else {
      this.#host = new Lane(chooseDevice(device));
    }
  }

  /** Number of ranks in the group. */
  get numRanks(): number {
    return this.#group.numRanks;
  }

  /** Number of ranks that share a node. */
  get numRanksPerNode(): number {
    return this.#group.numRanksPerNode;
  }

  /** Number of nodes; 1 within one node, where `numTokensPerRdmaRank` is `null`. */
  get numRdmaRanks(): number {
    return this.#group.numRdmaRanks;
  }

  /** The device that computes the layouts of host arrays; `auto` may send large ones, and tensors, to the GPU. */
  get device(): DeviceName {
    return this.#host.device.name;
  }

  /**
   * The layout of what this rank is about to dispatch: how many tokens go to each rank, each RDMA rank and each expert,
   * and which token goes to which rank. Semantics: DeepEP's `Buffer.get_dispatch_layout`.
   *
   * For a `DeviceTensor` the results are DeviceTensors, and nothing is copied or waited for. Ids that are no experts are
   * then reported by whatever synchronises next: the event's `wait()`, a copy of a result to the host, or the next call.
   *
   * @param topkIdx `[numTokens, numTopk]` integers: the expert of each slot of each token, -1 for none.
   * @param numExperts experts over all ranks.
   * @throws {@link InvalidExpertError} for the first id that is neither -1 nor an expert, unless they are ignored.
   * @throws {@link DispatchLayoutError} `TOPK_TYPE`, `TOPK_SHAPE`, `DETACHED_BUFFER`, `NUM_EXPERTS`, `UNEVEN_EXPERTS`,
   *   `PLACEMENT`, `OUT`, `OPTION`, `EVENT_FLAGS`, `TOO_LARGE`, `OUT_OF_MEMORY`, `CUDA_ERROR`, `DISPOSED`
   */
  getDispatchLayout(topkIdx: DeviceTensor, numExperts: number, options?: DeviceLayoutOptions): DeviceDispatchLayout;
  getDispatchLayout(topkIdx: TopkIdxInput, numExperts: number, options?: LayoutOptions): DispatchLayout;
  getDispatchLayout(
    topkIdx: TopkIdxInput | DeviceTensor,
    numExperts: number,
    options: LayoutOptions | DeviceLayoutOptions,
  ): DispatchLayout | DeviceDispatchLayout;
  getDispatchLayout(
    topkIdx: TopkIdxInput | DeviceTensor,
    numExperts: number,
    options: LayoutOptions | DeviceLayoutOptions = {},
  ): DispatchLayout | DeviceDispatchLayout {
    const { invalidExperts, out, previousEvent, asyncFinish, allocateOnCommStream } = checkObject('options', options);
    const strict = isStrict(invalidExperts);
    const order = readOrder(previousEvent, asyncFinish, allocateOnCommStream);
    if (isDeviceTensor(topkIdx)) {
      return this.#layoutOfTensor(topkIdx, numExperts, strict, out as DeviceLayoutArrays | undefined, order);
    }
    // A getter of the caller's may call again: it finds none, and makes one of its own
    const request = this.#idleRequest ?? new LayoutRequest();
    this.#idleRequest = undefined;
    request.strict = strict;
    request.order = order;
    try {
      return this.#layoutOfArrays(topkIdx, numExperts, out as LayoutArrays | undefined, request);
    } finally {
      if (!order.asyncFinish) {
        request.clear();
        this.#idleRequest = request;
      }
    }
  }

  /**
   * A workspace: arrays in which this group computes layouts without copies and without allocations.
   *
   * @throws {@link DispatchLayoutError} `NUM_EXPERTS`, `UNEVEN_EXPERTS`, `PLACEMENT`, `OPTION`, `TOO_LARGE`, `OUT_OF_MEMORY`
   */
  createWorkspace<Type extends IdType = 'int64'>(options: WorkspaceOptions<Type>): Workspace<Type> {
    const {
      numExperts,
      maxTokens,
      numTopk,
      idType = 'int64' as Type,
      invalidExperts,
    } = checkObject('options', options);
    const strict = isStrict(invalidExperts);
    const partition = this.#partitionFor(numExperts, strict);
    const prepared = this.#host.prepare(partition);
    const shape = { numExperts, maxTokens, numTopk, idType };
    return new Workspace(this.#group, shape, strict, this.#host.device.name, prepared);
  }

  /** An event recorded on the current stream, to pass as `previousEvent`: DeepEP's `Buffer.capture`. */
  capture(): EventOverlap {
    // The current stream is not the group's: with `auto` it may have work before the group has computed anything there
    const device = this.#option === 'auto' ? cudaInUse() : this.#cuda?.device;
    return new EventOverlap(device?.capture() ?? finishedHandle);
  }

  #layoutOfArrays(
    topkIdx: TopkIdxInput,
    numExperts: number,
    out: LayoutArrays | undefined,
    request: LayoutRequest,
  ): DispatchLayout {
    request.isOutGiven = out !== undefined;
    if (out !== undefined) readOut(out, request.out);
    const partition = this.#partitionFor(numExperts, request.strict);
    // Nested arrays are copied at once, and like all ids not before the event
    if (Array.isArray(topkIdx)) request.order = waitHere(this.#host.device, request.order, this.#option);
    const { numTokens, numTopk } = readTopkIdx(topkIdx, request.topkIdx);
    request.numTokens = numTokens;
    request.numTopk = numTopk;
    request.numExperts = numExperts;
    request.numRanks = this.#group.numRanks;
    request.numRdmaRanks = this.#group.numRdmaRanks;
    let lane = this.#laneFor(numTokens * numTopk, partition);
    if (out === undefined) {
      allocateOut(request, request.out);
    } else {
      checkOut(request.out, request, request.topkIdx);
    }

    let handle: EventHandle;
    try {
      handle = this.#compute(lane, partition, request);
    } catch (error) {
      if (lane === this.#host || !isDeviceFailure(error)) throw error;
      // `auto` chose the GPU for its speed: without it, the layout is as good
      lane = this.#host;
      handle = this.#compute(lane, partition, request);
    }
    const event = request.order.asyncFinish ? new EventOverlap(handle) : notRecorded;
    const { name } = lane.device;
    if (isResult(out, request.out, request, event, name)) return out;
    return new ComputedLayout(request.out, request, event, name);
  }

  #compute(lane: Lane<Device>, partition: Partition, request: LayoutRequest): EventHandle {
    const { topkIdx, out, strict, isOutGiven } = request;
    const prepared = lane.prepare(partition);
    const order = waitHere(lane.device, request.order, this.#option);
    if (order !== request.order) {
      request.order = order;
      // An event may run code of the caller, which may transfer arrays away, or shrink them
      checkExtent(topkIdx, false);
      if (isOutGiven) checkOut(out, request, topkIdx);
    }
    if (hasStreams(prepared)) return prepared.queueLayout(topkIdx, strict, out, order);
    prepared.computeLayout(topkIdx, strict, out, isOutGiven);
    return finishedHandle;
  }

  #layoutOfTensor(
    topkIdx: DeviceTensor,
    numExperts: number,
    strict: boolean,
    out: DeviceLayoutArrays | undefined,
    order: StreamOrder,
  ): DeviceDispatchLayout {
    this.#cuda ??= new Lane(chooseTensorDevice(this.#option));
    const prepared = this.#cuda.prepare(this.#partitionFor(numExperts, strict));
    const { arrays, handle, numTokens, numTopk } = prepared.queueTensors(
      topkIdx,
      strict,
      out,
      waitHere(this.#cuda.device, order, this.#option),
    );
    const { numRanks, numRdmaRanks } = this.#group;
    return {
      ...arrays,
      numTokens,
      numTopk,
      numExperts,
      numRanks,
      numRdmaRanks,
      event: handle === null ? notRecorded : new EventOverlap(handle),
      device: 'cuda',
      [Symbol.dispose]() {
        // Those of `out` are the caller's
        if (out !== undefined) return;
        for (const tensor of Object.values(arrays)) tensor?.dispose();
      },
    };
  }

  #laneFor(numSelections: number, partition: Partition): Lane<Device> {
    const cuda = this.#option === 'auto' ? cudaForHostArrays(numSelections, partition) : undefined;
    if (cuda === undefined) return this.#host;
    this.#cuda ??= new Lane(cuda);
    return this.#cuda;
  }

  #partitionFor(numExperts: number, strict: boolean): Partition {
    if (this.#partition?.numExperts === numExperts) {
      const isEven = this.#placement !== undefined || numExperts % this.#group.numRanks === 0;
      if (isEven || !strict) return this.#partition;
    }
    this.#partition = partitionExperts(this.#group, numExperts, this.#placement, strict);
    return this.#partition;
  }
}

/** A device of one group, with the tables of the partition that it computed last. */
class Lane<Kind extends Device> {
  readonly device: Kind;
  #partition: Partition | undefined;
  #prepared: ReturnType<Kind['prepare']> | undefined;

  constructor(device: Kind) {
    this.device = device;
  }

  prepare(partition: Partition): ReturnType<Kind['prepare']> {
    if (this.#prepared === undefined || this.#partition !== partition) {
      this.#prepared = this.device.prepare(partition, this.#prepared) as ReturnType<Kind['prepare']>;
      this.#partition = partition;
    }
    return this.#prepared;
  }
}

/** Waits for an event that the device cannot wait for by itself, and takes it out of the order. */
function waitHere(device: Device | StreamsDevice, order: StreamOrder, option: DeviceOption): StreamOrder {
  const { previous } = order;
  if (previous === null || ('canWaitFor' in device && device.canWaitFor(previous))) return order;
  try {
    if (previous.synchronize !== undefined) previous.synchronize();
    else previous.currentStreamWait();
  } catch (error) {
    if (!isOver(error, option)) throw error;
  }
  return { ...order, previous: null };
}

/** Whether an event that failed so is over: to `auto`, which goes on without a GPU, one that the GPU has lost. */
function isOver(error: unknown, option: DeviceOption): boolean {
  return option === 'auto' && isDeviceFailure(error);
}

function hasStreams(prepared: PreparedDevice): prepared is PreparedStreamsDevice {
  return 'queueLayout' in prepared;
}

function isDeviceFailure(error: unknown): boolean {
  return error instanceof DispatchLayoutError && (error.code === 'CUDA_ERROR' || error.code === 'OUT_OF_MEMORY');
}

/** Options, which must be an object. */
export function checkObject<Options extends object>(name: string, options: Options): Options {
  if (typeof options !== 'object' || options === null) {
    throw new DispatchLayoutError('OPTION', `${name} is ${describe(options)}`, {
      value: options,
      remedy: 'Pass an object.',
    });
  }
  return options;
}

function isStrict(invalidExperts: unknown): boolean {
  if (invalidExperts === undefined || invalidExperts === 'throw') return true;
  if (invalidExperts === 'ignore') return false;
  throw new DispatchLayoutError('OPTION', `invalidExperts is ${describe(invalidExperts)}`, {
    value: invalidExperts,
    remedy: "It must be 'throw' or 'ignore'.",
  });
}

/** The stream options, after DeepEP's host-side assertions on them. */
function readOrder(
  previousEvent: EventOverlap | undefined,
  asyncFinish: boolean | undefined,
  allocateOnCommStream: boolean | undefined,
): StreamOrder {
  if (previousEvent === undefined && asyncFinish === undefined && allocateOnCommStream === undefined) return plainOrder;
  checkFlag('asyncFinish', asyncFinish);
  checkFlag('allocateOnCommStream', allocateOnCommStream);
  if (previousEvent !== undefined && !(previousEvent instanceof EventOverlap)) {
    throw new DispatchLayoutError('EVENT_FLAGS', `previousEvent is ${describe(previousEvent)}`, {
      value: previousEvent,
      remedy: 'Pass the event of an earlier layout, or one from group.capture().',
    });
  }
  if (allocateOnCommStream && !(previousEvent?.recorded && asyncFinish)) {
    const missing = [
      previousEvent?.recorded ? [] : 'a recorded previousEvent',
      asyncFinish ? [] : 'asyncFinish',
    ].flat();
    throw new DispatchLayoutError('EVENT_FLAGS', `allocateOnCommStream was given without ${missing.join(' and ')}`, {
      value: allocateOnCommStream,
      remedy: 'Outputs of the communication stream need both previousEvent (recorded) and asyncFinish: true.',
    });
  }
  return {
    previous: previousEvent === undefined ? null : handleOf(previousEvent),
    asyncFinish: asyncFinish === true,
    allocateOnCommStream: allocateOnCommStream === true,
  };
}

/** @throws DispatchLayoutError `OPTION` */
function checkFlag(name: string, flag: unknown): void {
  if (flag === undefined || typeof flag === 'boolean') return;
  throw new DispatchLayoutError('OPTION', `${name} is ${describe(flag)}`, {
    value: flag,
    remedy: 'It must be true or false.',
  });
}
