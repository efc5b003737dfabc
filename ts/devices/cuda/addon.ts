/**
 * What the CUDA addon (`cuda/addon/addon.cpp`) exports. The objects that it takes have the fields of the structs in
 * `cuda/addon/layout.h`, under the same names. Handles are opaque. Each keeps the resource that it stands for until the
 * handle is released or collected. An *ordinal* is CUDA's number of a GPU. Every function throws an Error with `cuda:
 * CudaFailure` if a call of the CUDA runtime fails, and with `capture: string` if it must not be called while a graph is
 * captured.
 *
 * @module
 */
import type { Computation, OutArrays, OutputName } from '../../layout/outputs.ts';

declare const kind: unique symbol;
type Handle<Kind extends string> = { readonly [kind]: Kind };

export type StreamHandle = Handle<'stream'>;
export type NativeEvent = Handle<'event'>;
export type AllocationHandle = Handle<'allocation'>;
export type GroupHandle = Handle<'group'>;
export type PlanHandle = Handle<'plan'>;
export type LayoutHandle = Handle<'layout'>;
export type HostLayoutHandle = Handle<'hostLayout'>;
export type DownloadHandle = Handle<'download'>;

/** A call of the CUDA runtime that failed. */
export interface CudaFailure {
  /** CUDA's number of the error. */
  readonly cudaCode: number;
  /** CUDA's name of the error, such as `cudaErrorMemoryAllocation`. */
  readonly cudaName: string;
  /** CUDA's description of the error. */
  readonly cudaMessage: string;
  /** The function that was called. */
  readonly call: string;
  /** Whether every later call will fail too, because the process has lost its CUDA context. */
  readonly isSticky: boolean;
}

/** What the driver says about a GPU: its properties, or the error that it reports instead. */
export type CudaDeviceReport =
  | ({ readonly ordinal: number; readonly error?: undefined } & CudaDeviceProperties)
  | { readonly ordinal: number; readonly error: CudaFailure };

/** The properties of a GPU. */
export interface CudaDeviceProperties {
  readonly name: string;
  /** The major number of its compute capability. */
  readonly major: number;
  readonly minor: number;
  /** Its memory in bytes. */
  readonly totalMemory: number;
  readonly hasMemoryPools: boolean;
}

/** What the driver says. Versions are `1000 * major + 10 * minor`; 0 means that there is no driver. */
export interface DriverReport {
  readonly driverVersion: number;
  readonly runtimeVersion: number;
  readonly devices: readonly CudaDeviceReport[];
  readonly error: CudaFailure | null;
}

/** What `createPlan` makes the tables of a partition from. */
export interface NativePlan {
  /** The group whose layouts run one after the other. */
  readonly group: GroupHandle;
  readonly numExperts: number;
  readonly numRanks: number;
  /** The number of nodes; 1 within one node. */
  readonly numNodes: number;
  /** `[numExperts]`; null if the kernel can compute it, because each rank has an equal block of experts. */
  readonly rankOfExpert: Int32Array | null;
}

/** A place in the memory of the GPU. */
export interface NativePlace {
  readonly allocation: AllocationHandle;
  readonly byteOffset: number;
}

/** The ids of all tokens. Strides are in elements. */
interface NativeIds {
  /** An entry of the table of id types. */
  readonly type: { readonly code: number };
  readonly numTokens: number;
  readonly numTopk: number;
  readonly tokenStride: number;
  /** The 64 bits of an id that is skipped as -1 is; null if there is none. */
  readonly emptyId: bigint | null;
}

/** Ids on the GPU. The ids of one token are contiguous. */
export interface NativeDeviceIds extends NativeIds, NativePlace {}

/** Ids in a host array. */
export interface NativeHostIds extends NativeIds {
  readonly data: ArrayBufferView;
  /** The index in `data` of the first id. */
  readonly offset: number;
  readonly slotStride: number;
}

/** Which stream waits for which. */
export interface NativeStreamOrder {
  readonly currentStream: StreamHandle;
  /** The event that the layout waits for. If it is null, the layout waits for the current stream. */
  readonly previous: NativeEvent | null;
  readonly asyncFinish: boolean;
  readonly allocateOnCommStream: boolean;
}

/**
 * What `createLayout` makes a layout, or another computation, of ids on the GPU from, which can be queued again and
 * again.
 */
export interface NativeLayout {
  readonly plan: PlanHandle;
  readonly ids: NativeDeviceIds;
  /** The tensors to write to. If this is null, memory is allocated each time: a piece for the counts, and one for the rows. */
  readonly outputs: Readonly<Record<OutputName, NativePlace | null>> | null;
  /** What to compute. With the mask `none`, `isTokenInRank` takes no memory and is not written. */
  readonly computation: Computation;
  readonly isStrict: boolean;
}

/** A layout of ids on the GPU that was queued. */
export interface LaunchedLayout {
  /** The memory of the counts, if it was allocated here. `outputOffsets` says where in it each output lies. */
  readonly counts: AllocationHandle | null;
  /** The memory of the outputs that have a row for each token; null if there are none, too. */
  readonly rows: AllocationHandle | null;
  /** The event at the end of the layout, if `asyncFinish` was given. */
  readonly event: NativeEvent | null;
  /** The number of the layout among the strict ones of its group, from 1 on; 0 if it is not strict. */
  readonly number: number;
}

/** A layout of host arrays, to be queued. */
export interface HostLaunch {
  readonly plan: PlanHandle;
  readonly ids: NativeHostIds;
  /** What to compute. With the mask `none`, `isTokenInRank` takes no memory and is not written. */
  readonly computation: Computation;
  readonly isStrict: boolean;
  readonly order: NativeStreamOrder;
}

/** The first id of a layout that is neither empty nor an expert. */
export interface InvalidSelection {
  readonly token: number;
  readonly slot: number;
  /** Its bits, as an unsigned number. */
  readonly id: bigint;
}

/** Memory that was not allocated here. */
export interface FoundMemory {
  /** Null if it has fewer bytes than were asked for, or belongs to another GPU than it was opened for. */
  readonly allocation: AllocationHandle | null;
  /** The GPU that it belongs to. */
  readonly ordinal: number;
  /** The number of bytes that it has, up to those that were asked for; 0 if CUDA does not know the address. */
  readonly bytes: number;
}

/** The addon's functions. Offsets and lengths are in bytes. */
export interface CudaAddon {
  readonly interfaceVersion: number;
  probe(): DriverReport;

  createStream(ordinal: number): StreamHandle;
  wrapStream(ordinal: number, handle: bigint): StreamHandle;
  /** The first ordinal is that of any GPU that may be used for asking. */
  ordinalOfStream(ordinal: number, handle: bigint): number;
  streamHandle(stream: StreamHandle): bigint;
  synchronizeStream(stream: StreamHandle): void;
  recordEvent(stream: StreamHandle): NativeEvent;
  makeStreamWait(stream: StreamHandle, event: NativeEvent): void;
  synchronizeEvent(event: NativeEvent): void;
  /** Whether the event was recorded in a capture, and so is a point in a graph. */
  isCaptured(event: NativeEvent): boolean;
  isDone(handle: NativeEvent | DownloadHandle): boolean;
  /** Calls back once when the work is done. If the context is lost, it never calls back. */
  whenDone(handle: NativeEvent | DownloadHandle, callback: () => void): void;

  allocate(bytes: number, stream: StreamHandle, isShareable: boolean): AllocationHandle;
  /** The ordinal is that of any GPU that may be used for asking: where the memory is, the driver tells. */
  wrapPointer(ordinal: number, pointer: bigint, bytes: number): FoundMemory;
  openIpcHandle(ordinal: number, handle: Uint8Array, bytes: number): FoundMemory;
  /** Returns null for memory that cannot be shared. */
  ipcHandle(allocation: AllocationHandle): Uint8Array | null;
  pointerOf(allocation: AllocationHandle): bigint;
  recordStream(allocation: AllocationHandle, stream: StreamHandle): void;
  upload(allocation: AllocationHandle, byteOffset: number, source: ArrayBufferView, stream: StreamHandle): void;
  download(allocation: AllocationHandle, byteOffset: number, bytes: number, stream: StreamHandle): DownloadHandle;
  /** Waits for the download, and copies it into an array of its length. */
  finishDownload(download: DownloadHandle, target: ArrayBufferView): void;
  /** The event at the end of a layout of host arrays, which other streams can wait for. */
  eventOf(layout: HostLayoutHandle): NativeEvent;
  release(handle: AllocationHandle | HostLayoutHandle | DownloadHandle): void;

  createGroup(ordinal: number): GroupHandle;
  /** Returns the communication stream. */
  streamOfGroup(group: GroupHandle): StreamHandle;
  createPlan(plan: NativePlan): PlanHandle;
  createLayout(layout: NativeLayout): LayoutHandle;
  /**
   * Returns where each output of all tokens lies in the piece of memory that `launchLayout` allocates for its kind.
   */
  outputOffsets(layout: LayoutHandle): Readonly<Record<OutputName, number>>;
  /**
   * Queues the layout of the first tokens into the outputs that were given, for which the current stream waits. Returns
   * the layout's number, as in {@link LaunchedLayout}. If an earlier layout of the group has found something that nobody
   * has reported, queues nothing, and returns the negative number of that layout.
   */
  runLayout(layout: LayoutHandle, numTokens: number, currentStream: StreamHandle): number;
  launchLayout(layout: LayoutHandle, numTokens: number, order: NativeStreamOrder): LaunchedLayout;
  /** Whether the ids of a layout are checked, given its number. */
  isChecked(group: GroupHandle, number: number): boolean;
  /** Returns what was found in such a layout. It counts as reported from then on. */
  findInvalid(group: GroupHandle, number: number): InvalidSelection | null;
  /** Returns the number of the first layout in which something was found that nobody has reported, or 0. */
  firstUnreported(group: GroupHandle): number;
  launchOnHost(launch: HostLaunch): HostLayoutHandle;
  /** Waits for the layout. Returns what strict mode has found. */
  synchronizeHost(layout: HostLayoutHandle): InvalidSelection | null;
  /** Copies the results. Returns false, and copies nothing, if an array no longer has the length of its output. */
  copyHostOutputs(layout: HostLayoutHandle, outputs: OutArrays): boolean;
}
