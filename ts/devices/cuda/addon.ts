/**
 * What the CUDA addon (`cuda/addon/addon.cpp`) exports. The objects that it takes have the fields of the structs in
 * `cuda/addon/layout.h`, under the same names. Handles are opaque; each keeps what it stands for until it is released or
 * collected. Every function throws an Error with `cuda: CudaFailure` if a call of the CUDA runtime fails.
 *
 * @module
 */
import type { LayoutArrays, OutputName } from '../../layout/outputs.ts';

declare const kind: unique symbol;
type Handle<Kind extends string> = { readonly [kind]: Kind };

export type StreamHandle = Handle<'stream'>;
export type NativeEvent = Handle<'event'>;
export type AllocationHandle = Handle<'allocation'>;
export type PlanHandle = Handle<'plan'>;
export type StatusHandle = Handle<'status'>;
export type HostLayoutHandle = Handle<'hostLayout'>;
export type DownloadHandle = Handle<'download'>;

/** A call of the CUDA runtime that failed. */
export interface CudaFailure {
  /** CUDA's number of the error. */
  readonly cudaCode: number;
  /** Such as `cudaErrorMemoryAllocation`. */
  readonly cudaName: string;
  /** CUDA's sentence about it. */
  readonly cudaMessage: string;
  /** The function that was called. */
  readonly call: string;
  /** Whether every later call will fail too: the process has lost its CUDA context. */
  readonly isSticky: boolean;
}

/** A GPU as the driver describes it. */
export interface CudaDeviceProperties {
  readonly name: string;
  /** Compute capability. */
  readonly major: number;
  readonly minor: number;
  /** Bytes. */
  readonly totalMemory: number;
  readonly hasMemoryPools: boolean;
}

/** What the driver says. Versions are `1000 * major + 10 * minor`, and 0 where there is none. */
export interface DriverReport {
  readonly driverVersion: number;
  readonly runtimeVersion: number;
  readonly devices: readonly CudaDeviceProperties[];
  readonly error: CudaFailure | null;
}

/** What `createPlan` makes the tables of a partition from. */
export interface NativePlan {
  /** The stream that all layouts of the plan run on. */
  readonly commStream: StreamHandle;
  readonly numExperts: number;
  readonly numRanks: number;
  /** 1 within one node. */
  readonly numNodes: number;
  /** `[numExperts]`; null where the kernel can compute it: equal blocks of experts, one for each rank. */
  readonly rankOfExpert: Int32Array | null;
}

/** A place in the memory of the GPU. */
export interface NativePlace {
  readonly allocation: AllocationHandle;
  readonly byteOffset: number;
}

/** The ids of all tokens. Strides are in elements. */
interface NativeIds {
  /** A line of the table of id types. */
  readonly type: { readonly code: number };
  readonly numTokens: number;
  readonly numTopk: number;
  readonly tokenStride: number;
  /** The 64 bits of an id that is skipped like -1; null if there is none. */
  readonly emptyId: bigint | null;
}

/** Ids on the GPU. Those of one token are contiguous. */
export interface NativeDeviceIds extends NativeIds, NativePlace {}

/** Ids in an array of the host. */
export interface NativeHostIds extends NativeIds {
  readonly data: ArrayBufferView;
  /** The element of `data` that is the first id. */
  readonly offset: number;
  readonly slotStride: number;
}

/** Which stream waits for which. */
export interface NativeStreamOrder {
  readonly currentStream: StreamHandle;
  /** Null: the communication stream waits for the current stream. */
  readonly previous: NativeEvent | null;
  readonly asyncFinish: boolean;
  readonly allocateOnCommStream: boolean;
}

/** A layout of ids on the GPU, to be queued. */
export interface DeviceLaunch {
  readonly plan: PlanHandle;
  readonly ids: NativeDeviceIds;
  /** Null: memory is allocated for all outputs, in one piece. */
  readonly outputs: Readonly<Record<OutputName, NativePlace | null>> | null;
  /** Whether `isTokenInRank` is wanted. If not, it takes no memory and is not written. */
  readonly hasMask: boolean;
  readonly isStrict: boolean;
  readonly order: NativeStreamOrder;
}

/** A layout of ids on the GPU that was queued. */
export interface LaunchedOnDevice {
  /** The memory of the outputs, if it was allocated. `outputOffsets` says where each of them lies. */
  readonly memory: AllocationHandle | null;
  /** The end of the layout, with `asyncFinish`. */
  readonly event: NativeEvent | null;
  /** What strict mode finds. */
  readonly status: StatusHandle | null;
}

/** A layout of host arrays, to be queued. */
export interface HostLaunch {
  readonly plan: PlanHandle;
  readonly ids: NativeHostIds;
  readonly hasMask: boolean;
  readonly isStrict: boolean;
  readonly order: NativeStreamOrder;
}

/**
 * The addon's functions. Offsets and lengths are in bytes. A *selection* is a slot of a token, numbered
 * `token * numTopk + slot`.
 */
export interface CudaAddon {
  readonly interfaceVersion: number;
  probe(): DriverReport;

  createStream(): StreamHandle;
  wrapStream(handle: bigint): StreamHandle;
  streamHandle(stream: StreamHandle): bigint;
  synchronizeStream(stream: StreamHandle): void;
  recordEvent(stream: StreamHandle): NativeEvent;
  makeStreamWait(stream: StreamHandle, event: NativeEvent): void;
  synchronizeEvent(event: NativeEvent): void;
  isDone(handle: NativeEvent | StatusHandle | DownloadHandle): boolean;

  allocate(bytes: number, stream: StreamHandle, isShareable: boolean): AllocationHandle;
  /** Returns null for an address that CUDA does not know. */
  wrapPointer(pointer: bigint, bytes: number): AllocationHandle | null;
  openIpcHandle(handle: Uint8Array, bytes: number): AllocationHandle;
  /** Returns null for memory that cannot be shared. */
  ipcHandle(allocation: AllocationHandle): Uint8Array | null;
  pointerOf(allocation: AllocationHandle): bigint;
  recordStream(allocation: AllocationHandle, stream: StreamHandle): void;
  upload(allocation: AllocationHandle, byteOffset: number, source: ArrayBufferView, stream: StreamHandle): void;
  download(allocation: AllocationHandle, byteOffset: number, bytes: number, stream: StreamHandle): DownloadHandle;
  /** Waits, and copies what was downloaded into an array of its length. */
  finishDownload(download: DownloadHandle, target: ArrayBufferView): void;
  /** What other streams can wait for, of a layout of host arrays. */
  eventOf(layout: HostLayoutHandle): NativeEvent;
  release(handle: AllocationHandle | StatusHandle | HostLayoutHandle | DownloadHandle): void;

  createPlan(plan: NativePlan): PlanHandle;
  /** Where each output lies in the memory that `launchOnDevice` allocates. */
  outputOffsets(plan: PlanHandle, numTokens: number, hasMask: boolean): Readonly<Record<OutputName, number>>;
  launchOnDevice(launch: DeviceLaunch): LaunchedOnDevice;
  launchOnHost(launch: HostLaunch): HostLayoutHandle;
  /** Waits for the layout. Returns the first invalid selection, or -1. */
  synchronizeHost(layout: HostLayoutHandle): number;
  /** Copies the results. Returns false, and copies nothing, if an array no longer has the length of its output. */
  copyHostOutputs(layout: HostLayoutHandle, outputs: LayoutArrays): boolean;
  /** The id of a selection, as it was when the layout was queued. */
  readHostId(layout: HostLayoutHandle, selection: number): bigint;
  /** The first invalid selection of a layout that is done, or -1. */
  firstInvalidSelection(status: StatusHandle): number;
  /** The id of a selection, as it is now; null if the memory of the ids was released. */
  readDeviceId(status: StatusHandle, selection: number): bigint | null;
}
