/**
 * The group of ranks that experts are spread over: the counterpart of DeepEP's `Buffer`.
 *
 * @module
 */
import {
  chooseDevice,
  chooseStreamsDevice,
  chooseTensorDevice,
  deviceForLargeArrays,
  largeArraysFrom,
  readDeviceOption,
  type StreamsDevice,
  streamsInUse,
} from './choose-device.ts';
import type {
  DeviceDispatchLayout,
  DeviceExpertPermutation,
  DeviceRankPermutation,
} from './devices/cuda/device-layout.ts';
import type { DeviceTensor } from './devices/cuda/device-tensor.ts';
import type { DeviceWorkspace, DeviceWorkspaceOptions } from './devices/cuda/device-workspace.ts';
import type { Stream } from './devices/cuda/stream.ts';
import type { Device } from './devices/device.ts';
import type { DeviceName, DeviceOption } from './errors/availability.ts';
import { checkOptions } from './errors/checks.ts';
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
import {
  type Computation,
  type ComputationKind,
  checkRows,
  type ExpertOrder,
  layoutComputations,
  type MaskForm,
} from './layout/computation.ts';
import { Computed } from './layout/computed.ts';
import { type EventHandle, EventOverlap, finishedHandle, notRecorded, waitHere } from './layout/event-overlap.ts';
import { ComputedLayout, type DispatchLayout } from './layout/layout.ts';
import { LayoutRequest, type StreamOrder, type TensorRequest } from './layout/layout-request.ts';
import { allocateOut, checkOut, readOut } from './layout/out-arrays.ts';
import { type AnyArrays, haveSameArrays } from './layout/outputs.ts';
import {
  ComputedExpertPermutation,
  ComputedRankPermutation,
  type ExpertPermutation,
  type RankPermutation,
} from './layout/permutations.ts';
import { type GpuTensor, isGpuTensor, type TensorArrays } from './layout/tensors.ts';
import {
  type CallOptions,
  type DeviceExpertPermutationOptions,
  type DeviceLayoutOptions,
  type DeviceRankPermutationOptions,
  type ExpertGroupOptions,
  type ExpertOrderOptions,
  type ExpertPermutationOptions,
  expertPermutationOptions,
  groupOptions,
  type LayoutOptions,
  layoutOptions,
  type RankOrderOptions,
  type RankPermutationOptions,
  rankPermutationOptions,
  readExpertOrder,
  readMask,
  readOrder,
  readRankOrder,
  readStrictness,
} from './options.ts';
import { type IdType, idTypes } from './values/id-types.ts';
import { readWorkspaceOrders, Workspace, type WorkspaceOptions, workspaceOptions } from './workspace.ts';

/** The options of any call, read for one kind of computation. */
interface AnyOptions extends CallOptions, ExpertOrderOptions, RankOrderOptions {
  readonly mask?: MaskForm | undefined;
  readonly out?: unknown;
}

/**
 * Computes layouts for one group of ranks. It keeps the device, the communication stream and the tables, so that
 * repeated calls with the same `numExperts` prepare nothing anew.
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
  readonly #placement: Placement | undefined;
  readonly #option: DeviceOption;
  /** The device that computes host arrays. */
  readonly #device: Device;
  /** The number of selections from which `auto` may prefer another device for host arrays. */
  readonly #askFrom: number;
  #tensorDevice: StreamsDevice | undefined;
  #partition: Partition | undefined;
  /** The experts of the last order by expert, for which their ranks do not matter, if #partition does not have them. */
  #experts: Partition | undefined;
  #expertOrder: ExpertOrder | undefined;
  readonly #idleRequests: Record<ComputationKind, LayoutRequest | undefined> = {
    layout: undefined,
    byExpert: undefined,
    byRank: undefined,
  };

  /**
   * @throws {@link DispatchLayoutError} `NUM_RANKS`, `NUM_RANKS_PER_NODE`, `PLACEMENT`, `OPTION`, `ENVIRONMENT`
   * @throws {@link DeviceUnavailableError} if `device` names a device that cannot be used here.
   */
  constructor(options: ExpertGroupOptions) {
    const { numRanks, numRanksPerNode = 8, placement, device } = checkOptions(options, groupOptions);
    this.#group = checkRankGroup(numRanks, numRanksPerNode);
    this.#placement = placement === undefined ? undefined : readPlacement(placement, numRanks);
    this.#option = readDeviceOption(device);
    this.#device = chooseDevice(this.#option);
    this.#askFrom = IS_NODE && this.#option === 'auto' ? largeArraysFrom() : Number.POSITIVE_INFINITY;
  }

  /** @internal Whether the placement that the group was made with is equal to this one. */
  hasPlacement(placement: ExpertGroupOptions['placement']): boolean {
    return isSamePlacement(this.#placement, placement);
  }

  /** The number of ranks in the group. */
  get numRanks(): number {
    return this.#group.numRanks;
  }

  /** The number of ranks that share a node. */
  get numRanksPerNode(): number {
    return this.#group.numRanksPerNode;
  }

  /** The number of nodes; 1 within one node, where `numTokensPerRdmaRank` is `null`. */
  get numRdmaRanks(): number {
    return this.#group.numRdmaRanks;
  }

  /**
   * The device that computes the layouts of host arrays. With `auto`, the GPU may compute those of large arrays, and it
   * computes those of tensors.
   */
  get device(): DeviceName {
    return this.#device.name;
  }

  /**
   * Computes the layout of what this rank is about to dispatch: how many tokens go to each rank, to each RDMA rank and
   * to each expert, and which token goes to which rank. The semantics are those of DeepEP's
   * `Buffer.get_dispatch_layout`.
   *
   * For a `DeviceTensor`, the results are DeviceTensors; nothing is copied, and nothing is waited for. An invalid id is
   * then reported by the next synchronisation: the event's `wait()`, a copy of a result to the host, or the next call.
   *
   * @param topkIdx `[numTokens, numTopk]` integers: the expert of each slot of each token, -1 for none.
   * @param numExperts the number of experts over all ranks.
   * @throws {@link InvalidExpertError} for the first id that is neither empty nor an expert, unless such ids are
   *   ignored.
   * @throws {@link DispatchLayoutError} `TOPK_TYPE`, `TOPK_SHAPE`, `DETACHED_BUFFER`, `NUM_EXPERTS`, `UNEVEN_EXPERTS`,
   *   `PLACEMENT`, `OUT`, `OPTION`, `EVENT_FLAGS`, `TOO_LARGE`, `OUT_OF_MEMORY`, `CUDA_ERROR`, `DISPOSED`
   */
  getDispatchLayout<Mask extends MaskForm = 'bytes'>(
    topkIdx: DeviceTensor,
    numExperts: number,
    options?: DeviceLayoutOptions<Mask>,
  ): DeviceDispatchLayout<Mask>;
  getDispatchLayout<Mask extends MaskForm = 'bytes'>(
    topkIdx: TopkIdxInput,
    numExperts: number,
    options?: LayoutOptions<Mask>,
  ): DispatchLayout<Mask>;
  getDispatchLayout(
    topkIdx: TopkIdxInput | DeviceTensor,
    numExperts: number,
    options: LayoutOptions<MaskForm> | DeviceLayoutOptions<MaskForm> = {},
  ): DispatchLayout<MaskForm> | DeviceDispatchLayout<MaskForm> {
    checkOptions(options, layoutOptions);
    return this.compute('layout', topkIdx, numExperts, options) as DispatchLayout<MaskForm>;
  }

  /**
   * Orders selections by expert, as a grouped GEMM reads its rows: this rank's own selections, or those of the tokens
   * that it has received. The order is (expert, token, slot) on every device. The ranks and the placement of the group
   * do not matter. The contract is that of docs/permutations.md, which also says what others call these arrays.
   *
   * ```ts
   * import { ExpertGroup } from 'dispatch-layout';
   *
   * const group = new ExpertGroup({ numRanks: 4 });
   * const order = group.getExpertPermutation([[0, 5], [6, -1], [5, 0]], 8, { alignment: 2 });
   * console.log(order.numRows, order.selectionOfRow.subarray(0, order.numRows).join(' ')); // 6 0 5 1 4 2 -1
   * ```
   *
   * For a `DeviceTensor`, the results are DeviceTensors; nothing is copied, and nothing is waited for, not even for
   * `numRows`, which is then null.
   *
   * @param topkIdx `[numTokens, numTopk]` integers: the expert of each slot of each token, -1 for none.
   * @param numExperts the number of experts that ids may name.
   * @throws {@link InvalidExpertError} for the first id that is neither empty nor an expert, unless such ids are
   *   ignored.
   * @throws {@link DispatchLayoutError} `TOPK_TYPE`, `TOPK_SHAPE`, `DETACHED_BUFFER`, `NUM_EXPERTS`, `OUT`, `OPTION`,
   *   `EVENT_FLAGS`, `TOO_LARGE` if int32 cannot number all rows, `OUT_OF_MEMORY`, `CUDA_ERROR`, `DISPOSED`
   */
  getExpertPermutation(
    topkIdx: DeviceTensor,
    numExperts: number,
    options?: DeviceExpertPermutationOptions,
  ): DeviceExpertPermutation;
  getExpertPermutation(
    topkIdx: TopkIdxInput,
    numExperts: number,
    options?: ExpertPermutationOptions,
  ): ExpertPermutation;
  getExpertPermutation(
    topkIdx: TopkIdxInput | DeviceTensor,
    numExperts: number,
    options: ExpertPermutationOptions | DeviceExpertPermutationOptions = {},
  ): ExpertPermutation | DeviceExpertPermutation {
    checkOptions(options, expertPermutationOptions);
    return this.compute('byExpert', topkIdx, numExperts, options) as ExpertPermutation;
  }

  /**
   * Orders tokens by rank, as this rank sends them: (rank, token), a token once for each rank that it goes to. The order
   * is the same on every device. The contract is that of docs/permutations.md.
   *
   * ```ts
   * import { ExpertGroup } from 'dispatch-layout';
   *
   * const group = new ExpertGroup({ numRanks: 4 });
   * const order = group.getRankPermutation([[0, 5], [6, -1], [1, 0]], 8);
   * console.log(order.tokenOfRow.subarray(0, order.numRows).join(' ')); // 0 2 0 1
   * console.log(order.rowOfSelection.join(' ')); // 0 2 3 -1 1 -1
   * ```
   *
   * For a `DeviceTensor`, the results are DeviceTensors, and `numRows` is null.
   *
   * @param topkIdx `[numTokens, numTopk]` integers: the expert of each slot of each token, -1 for none.
   * @param numExperts the number of experts over all ranks.
   * @throws {@link InvalidExpertError} for the first id that is neither empty nor an expert, unless such ids are
   *   ignored.
   * @throws {@link DispatchLayoutError} `TOPK_TYPE`, `TOPK_SHAPE`, `DETACHED_BUFFER`, `NUM_EXPERTS`, `UNEVEN_EXPERTS`,
   *   `PLACEMENT`, `OUT`, `OPTION`, `EVENT_FLAGS`, `TOO_LARGE`, `OUT_OF_MEMORY`, `CUDA_ERROR`, `DISPOSED`
   */
  getRankPermutation(
    topkIdx: DeviceTensor,
    numExperts: number,
    options?: DeviceRankPermutationOptions,
  ): DeviceRankPermutation;
  getRankPermutation(topkIdx: TopkIdxInput, numExperts: number, options?: RankPermutationOptions): RankPermutation;
  getRankPermutation(
    topkIdx: TopkIdxInput | DeviceTensor,
    numExperts: number,
    options: RankPermutationOptions | DeviceRankPermutationOptions = {},
  ): RankPermutation | DeviceRankPermutation {
    checkOptions(options, rankPermutationOptions);
    return this.compute('byRank', topkIdx, numExperts, options) as RankPermutation;
  }

  /** @internal Computes what the functions return, for options whose names were checked before. */
  compute(
    kind: ComputationKind,
    topkIdx: TopkIdxInput | DeviceTensor,
    numExperts: number,
    options: AnyOptions,
  ): unknown {
    if (IS_NODE && isGpuTensor(topkIdx)) {
      const device = tensorDevice(this.#tensorDevice, this.#option, topkIdx);
      this.#tensorDevice = device;
      const isStrict = readStrictness(options.invalidExperts);
      const partition = this.#partitionFor(numExperts, isStrict, kind);
      const request = requestOf(topkIdx, options, isStrict, partition, this.#read(kind, numExperts, options));
      readOrder(options, request);
      this.#awaitPrevious(device, request);
      return device.streams.submit(request);
    }
    // Getters of the caller may call this method again. The inner call then finds no idle request and makes a new one
    const request = this.#idleRequests[kind] ?? new LayoutRequest(kind);
    this.#idleRequests[kind] = undefined;
    try {
      return this.#computeArrays(request, topkIdx as TopkIdxInput, numExperts, options);
    } finally {
      // With asyncFinish the event may read the request later, so it is not used again
      if (!request.asyncFinish) {
        request.clear();
        this.#idleRequests[kind] = request;
      }
    }
  }

  /**
   * Makes a workspace: arrays in which this group computes layouts without copies and without allocations.
   *
   * With a `DeviceTensor` as `topkIdx`, it is a workspace of tensors, on the GPU where `topkIdx` is.
   *
   * @throws {@link DispatchLayoutError} `NUM_EXPERTS`, `UNEVEN_EXPERTS`, `PLACEMENT`, `OPTION`, `TOO_LARGE`,
   *   `OUT_OF_MEMORY`; for tensors also `TOPK_SHAPE`, `OUT`, `DISPOSED`
   */
  createWorkspace<Mask extends MaskForm = 'bytes'>(options: DeviceWorkspaceOptions<Mask>): DeviceWorkspace<Mask>;
  createWorkspace<Type extends IdType = 'int64', Mask extends MaskForm = 'bytes'>(
    options: WorkspaceOptions<Type, Mask>,
  ): Workspace<Type, Mask>;
  createWorkspace<Type extends IdType, Mask extends MaskForm>(
    options: WorkspaceOptions<Type, Mask> | DeviceWorkspaceOptions<Mask>,
  ): Workspace<Type, Mask> | DeviceWorkspace<Mask> {
    if (IS_NODE && isOfTensors(options)) {
      checkOptions(options, tensorWorkspaceOptions);
      const { topkIdx, numExperts, expertPermutation, rankPermutation } = options;
      const { streams } = tensorDevice(this.#tensorDevice, this.#option, topkIdx);
      const isStrict = readStrictness(options.invalidExperts);
      const partition = this.#partitionFor(numExperts, isStrict, 'layout');
      const layout = layoutComputations[readMask(options.mask)];
      const request = requestOf(topkIdx, options, isStrict, partition, layout);
      const { byExpert, byRank } = readWorkspaceOrders({ expertPermutation, rankPermutation }, numExperts);
      const orders = [byExpert, byRank].filter((order) => order !== null);
      return streams.createWorkspace(request, orders) as DeviceWorkspace<Mask>;
    }
    const ofArrays = options as WorkspaceOptions<Type, Mask>;
    const { numExperts, invalidExperts } = checkOptions(ofArrays, workspaceOptions);
    const isStrict = readStrictness(invalidExperts);
    return new Workspace(this.#device, this.#partitionFor(numExperts, isStrict, 'layout'), isStrict, ofArrays);
  }

  /**
   * Records an event on the current stream, to pass as `previousEvent`: the counterpart of DeepEP's `Buffer.capture`.
   */
  capture(): EventOverlap {
    // The current stream belongs to the process. It may hold work before this group has computed anything
    const streams = IS_NODE ? streamsInUse(this.#option) : undefined;
    return new EventOverlap(streams?.capture(this.#option === 'auto') ?? finishedHandle);
  }

  /**
   * The stream on which the layouts of this group run: the counterpart of DeepEP's `get_comm_stream`. Its priority is
   * high. With `device: 'auto'`, it is that of the first GPU.
   *
   * @throws {@link DeviceUnavailableError} if there is no GPU here.
   * @throws {@link DispatchLayoutError} `OPTION` if the group's device is a CPU; `CUDA_ERROR`
   */
  get communicationStream(): Stream {
    // Where there is no device with streams, asking for one throws the error that says why
    const device = IS_NODE ? chooseStreamsDevice(this.#option) : chooseDevice('cuda');
    return device.streams?.communicationStream(this.#group) as Stream;
  }

  #computeArrays(request: LayoutRequest, topkIdx: TopkIdxInput, numExperts: number, options: AnyOptions): Computed {
    const out = this.#readCall(request, topkIdx, numExperts, options);
    let device = this.#deviceFor(request);
    if (out === undefined) allocateOut(request);
    else checkOut(out, request);
    let handle: EventHandle;
    try {
      handle = this.#submit(device, request, out);
    } catch (error) {
      if (IS_NODE && device !== this.#device && isDeviceFailure(error)) {
        // `auto` chose this device only for its speed. The group's own device computes the same
        device = this.#device;
        handle = this.#submit(device, request, out);
      } else {
        throw error;
      }
    }
    const event = request.asyncFinish ? new EventOverlap(handle) : notRecorded;
    return out instanceof Computed && isResult(out, request, event, device.name)
      ? out
      : resultOf(request, event, device.name);
  }

  /**
   * Reads everything that the caller has given into the request, each property once.
   *
   * @returns the caller's object of arrays, if there is one.
   */
  #readCall(
    request: LayoutRequest,
    topkIdx: TopkIdxInput,
    numExperts: number,
    options: AnyOptions,
  ): AnyArrays | undefined {
    const { kind } = request.out;
    const { invalidExperts, emptyId } = options;
    const out = options.out as AnyArrays | undefined;
    request.isStrict = readStrictness(invalidExperts);
    readOrder(options, request);
    request.isOutGiven = out !== undefined;
    if (out !== undefined) readOut(out, request.out);
    const partition = this.#partitionFor(numExperts, request.isStrict, kind);
    const computation = this.#read(kind, numExperts, options);
    // No ids may be read before the previous event. Reading nested arrays copies them, so the wait comes first
    if (Array.isArray(topkIdx)) this.#awaitPrevious(this.#device, request);
    readTopkIdx(topkIdx, request.topkIdx, emptyId);
    checkRows(request.topkIdx.numTokens * request.topkIdx.numTopk, computation);
    request.setShape(partition, computation);
    return out;
  }

  /** Reads what to compute. A call that asks for the same as the one before gets the same object. */
  #read(kind: ComputationKind, numExperts: number, options: AnyOptions): Computation {
    if (kind === 'layout') return layoutComputations[readMask(options.mask)];
    if (kind === 'byRank') return readRankOrder(options);
    this.#expertOrder = readExpertOrder(options, numExperts, this.#expertOrder);
    return this.#expertOrder;
  }

  #deviceFor(request: LayoutRequest): Device {
    // Only of layouts it was measured from which size on another device is faster
    if (IS_NODE && request.out.kind === 'layout' && request.numTokens * request.numTopk >= this.#askFrom) {
      return deviceForLargeArrays(request) ?? this.#device;
    }
    return this.#device;
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
      if (!(IS_NODE && this.#option === 'auto' && isDeviceFailure(error))) throw error;
    }
    return true;
  }

  #partitionFor(numExperts: number, isStrict: boolean, kind: ComputationKind): Partition {
    if (kind === 'byExpert') {
      if (this.#partition?.numExperts === numExperts) return this.#partition;
      if (this.#experts?.numExperts !== numExperts) this.#experts = expertsOnOneRank(numExperts, this.#group);
      return this.#experts;
    }
    if (this.#partition?.numExperts === numExperts) {
      const isEven = this.#placement !== undefined || numExperts % this.#group.numRanks === 0;
      if (isEven || !isStrict) return this.#partition;
    }
    this.#partition = partitionExperts(this.#group, numExperts, this.#placement, isStrict);
    return this.#partition;
  }
}

const tensorWorkspaceOptions: Readonly<Record<keyof DeviceWorkspaceOptions, true>> = {
  topkIdx: true,
  numExperts: true,
  out: true,
  invalidExperts: true,
  emptyId: true,
  mask: true,
  expertPermutation: true,
  rankPermutation: true,
};

function isOfTensors<Mask extends MaskForm>(options: object): options is DeviceWorkspaceOptions<Mask> {
  return isGpuTensor((options as Partial<DeviceWorkspaceOptions> | null)?.topkIdx);
}

// These are functions of the module, and not methods, so that bundles for browsers do not contain them

/** The device of a tensor, which may be that of the tensor before. */
function tensorDevice(last: StreamsDevice | undefined, option: DeviceOption, { device }: GpuTensor): StreamsDevice {
  return last?.name === device ? last : chooseTensorDevice(option, device);
}

/** Reads what a computation on a tensor works on. The order of the streams is not read. */
function requestOf(
  topkIdx: GpuTensor,
  { emptyId, out }: Pick<AnyOptions, 'emptyId' | 'out'>,
  isStrict: boolean,
  partition: Partition,
  computation: Computation,
): TensorRequest {
  return {
    topkIdx,
    emptyId: readEmptyId(emptyId, idTypes[topkIdx.dtype]),
    out: out as TensorArrays | undefined,
    isStrict,
    computation,
    partition,
    previous: null,
    asyncFinish: false,
    allocateOnCommStream: false,
  };
}

/** Whether `out` equals the result that the call would make. The call then returns `out` itself. */
function isResult(out: Computed, request: LayoutRequest, event: EventOverlap, device: DeviceName): boolean {
  return (
    out.event === event &&
    out.device === device &&
    haveSameArrays(request.out, out as unknown as AnyArrays) &&
    out.hasShape(request)
  );
}

function resultOf(request: LayoutRequest, event: EventOverlap, device: DeviceName): Computed {
  const { out } = request;
  if (out.kind === 'layout') return new ComputedLayout(out, request, event, device);
  if (out.kind === 'byExpert') return new ComputedExpertPermutation(out, request, event, device);
  return new ComputedRankPermutation(out, request, event, device);
}

/** The codes of errors that another device would not have. */
const deviceFailures: readonly ErrorCode[] = ['CUDA_ERROR', 'OUT_OF_MEMORY', 'CAPTURE'];

function isDeviceFailure(error: unknown): boolean {
  return error instanceof DispatchLayoutError && deviceFailures.includes(error.code);
}
