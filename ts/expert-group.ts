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
import type { DeviceDispatchLayout } from './devices/cuda/device-layout.ts';
import type { DeviceTensor } from './devices/cuda/device-tensor.ts';
import type { DeviceWorkspace, DeviceWorkspaceOptions } from './devices/cuda/device-workspace.ts';
import type { Stream } from './devices/cuda/stream.ts';
import type { Device } from './devices/device.ts';
import type { DeviceName, DeviceOption } from './errors/availability.ts';
import { checkOptions } from './errors/checks.ts';
import { DispatchLayoutError, type ErrorCode } from './errors/errors.ts';
import {
  checkRankGroup,
  isSamePlacement,
  type Partition,
  type Placement,
  partitionExperts,
  type RankGroup,
  readPlacement,
} from './input/partition.ts';
import { checkExtent, readEmptyId, readTopkIdx, type TopkIdxInput } from './input/read-topk-idx.ts';
import { type EventHandle, EventOverlap, finishedHandle, notRecorded, waitHere } from './layout/event-overlap.ts';
import { ComputedLayout, type DispatchLayout, isResult } from './layout/layout.ts';
import { LayoutRequest, type StreamOrder, type TensorRequest } from './layout/layout-request.ts';
import { allocateOut, checkOut, readOut } from './layout/out-arrays.ts';
import type { AnyArrays, MaskForm } from './layout/outputs.ts';
import { type GpuTensor, isGpuTensor, type TensorArrays } from './layout/tensors.ts';
import {
  callOptions,
  type DeviceLayoutOptions,
  type ExpertGroupOptions,
  groupOptions,
  type LayoutOptions,
  readMask,
  readOrder,
  readStrictness,
} from './options.ts';
import { type IdType, idTypes } from './values/id-types.ts';
import { Workspace, type WorkspaceOptions, workspaceOptions } from './workspace.ts';

type AnyOptions = LayoutOptions<MaskForm> | DeviceLayoutOptions<MaskForm>;

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
  #idleRequest: LayoutRequest | undefined;

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
    options: AnyOptions = {},
  ): DispatchLayout<MaskForm> | DeviceDispatchLayout<MaskForm> {
    checkOptions(options, callOptions);
    return this.layoutOf(topkIdx, numExperts, options);
  }

  /** @internal Does the same, for options whose names were checked before. */
  layoutOf(
    topkIdx: TopkIdxInput | DeviceTensor,
    numExperts: number,
    options: AnyOptions,
  ): DispatchLayout<MaskForm> | DeviceDispatchLayout<MaskForm> {
    if (IS_NODE && isGpuTensor(topkIdx)) {
      const device = tensorDevice(this.#tensorDevice, this.#option, topkIdx);
      this.#tensorDevice = device;
      const isStrict = readStrictness(options.invalidExperts);
      const request = requestOf(topkIdx, options, isStrict, this.#partitionFor(numExperts, isStrict));
      readOrder(options, request);
      this.#awaitPrevious(device, request);
      const layout: unknown = device.streams.submit(request);
      return layout as DeviceDispatchLayout<MaskForm>;
    }
    // Getters of the caller may call this method again. The inner call then finds no idle request and makes a new one
    const request = this.#idleRequest ?? new LayoutRequest();
    this.#idleRequest = undefined;
    try {
      return this.#layoutOfArrays(request, topkIdx as TopkIdxInput, numExperts, options as LayoutOptions<MaskForm>);
    } finally {
      // With asyncFinish the event may read the request later, so it is not used again
      if (!request.asyncFinish) {
        request.clear();
        this.#idleRequest = request;
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
      const { topkIdx, numExperts } = options;
      const { streams } = tensorDevice(this.#tensorDevice, this.#option, topkIdx);
      const isStrict = readStrictness(options.invalidExperts);
      const request = requestOf(topkIdx, options, isStrict, this.#partitionFor(numExperts, isStrict));
      return streams.createWorkspace(request) as DeviceWorkspace<Mask>;
    }
    const ofArrays = options as WorkspaceOptions<Type, Mask>;
    const { numExperts, invalidExperts } = checkOptions(ofArrays, workspaceOptions);
    const isStrict = readStrictness(invalidExperts);
    return new Workspace(this.#device, this.#partitionFor(numExperts, isStrict), isStrict, ofArrays);
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

  #layoutOfArrays(
    request: LayoutRequest,
    topkIdx: TopkIdxInput,
    numExperts: number,
    options: LayoutOptions<MaskForm>,
  ): DispatchLayout<MaskForm> {
    const out = this.#read(request, topkIdx, numExperts, options);
    let device = this.#deviceFor(request);
    if (out === undefined) allocateOut(request);
    else checkOut(out, request);
    let handle: EventHandle;
    try {
      handle = this.#submit(device, request, out);
    } catch (error) {
      if (IS_NODE && device !== this.#device && isDeviceFailure(error)) {
        // `auto` chose this device only for its speed. The group's own device computes the same layout
        device = this.#device;
        handle = this.#submit(device, request, out);
      } else {
        throw error;
      }
    }
    const event = request.asyncFinish ? new EventOverlap(handle) : notRecorded;
    if (isResult(out, request.out, request, event, device.name)) return out;
    return new ComputedLayout(request.out, request, event, device.name);
  }

  /**
   * Reads everything that the caller has given into the request, each property once.
   *
   * @returns the caller's object of arrays, if there is one.
   */
  #read(
    request: LayoutRequest,
    topkIdx: TopkIdxInput,
    numExperts: number,
    options: LayoutOptions<MaskForm>,
  ): AnyArrays | undefined {
    const { invalidExperts, emptyId, out } = options;
    const mask = readMask(options.mask);
    request.isStrict = readStrictness(invalidExperts);
    readOrder(options, request);
    request.isOutGiven = out !== undefined;
    if (out !== undefined) readOut(out, request.out);
    const partition = this.#partitionFor(numExperts, request.isStrict);
    // No ids may be read before the previous event. Reading nested arrays copies them, so the wait comes first
    if (Array.isArray(topkIdx)) this.#awaitPrevious(this.#device, request);
    readTopkIdx(topkIdx, request.topkIdx, emptyId);
    request.setShape(partition, mask);
    return out;
  }

  #deviceFor(request: LayoutRequest): Device {
    if (IS_NODE && request.numTokens * request.numTopk >= this.#askFrom) {
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

  #partitionFor(numExperts: number, isStrict: boolean): Partition {
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
};

function isOfTensors<Mask extends MaskForm>(options: object): options is DeviceWorkspaceOptions<Mask> {
  return isGpuTensor((options as Partial<DeviceWorkspaceOptions> | null)?.topkIdx);
}

// These are functions of the module, and not methods, so that bundles for browsers do not contain them

/** The device of a tensor, which may be that of the tensor before. */
function tensorDevice(last: StreamsDevice | undefined, option: DeviceOption, { device }: GpuTensor): StreamsDevice {
  return last?.name === device ? last : chooseTensorDevice(option, device);
}

/** Reads what a layout of a tensor works on. The order of the streams is not read. */
function requestOf(
  topkIdx: GpuTensor,
  { emptyId, mask, out }: Pick<AnyOptions, 'emptyId' | 'mask' | 'out'>,
  isStrict: boolean,
  partition: Partition,
): TensorRequest {
  return {
    topkIdx,
    emptyId: readEmptyId(emptyId, idTypes[topkIdx.dtype]),
    out: out as TensorArrays | undefined,
    isStrict,
    mask: readMask(mask),
    partition,
    previous: null,
    asyncFinish: false,
    allocateOnCommStream: false,
  };
}

/** The codes of errors that another device would not have. */
const deviceFailures: readonly ErrorCode[] = ['CUDA_ERROR', 'OUT_OF_MEMORY', 'CAPTURE'];

function isDeviceFailure(error: unknown): boolean {
  return error instanceof DispatchLayoutError && deviceFailures.includes(error.code);
}
