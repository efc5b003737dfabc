/**
 * What the CUDA addon (`cuda/addon/addon.cpp`) exports. Handles are opaque; each keeps what it stands for until it is
 * released or collected. Every function throws an Error with `cuda: CudaFailure` if a call of the CUDA runtime fails.
 *
 * @module
 */

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

/** `[id type, numTokens, numTopk, tokenStride, slotStride]`, the id type by its code. */
export type NativeTopkShape = readonly [number, number, number, number, number];

/** `[current stream, previous event, asyncFinish, allocateOnCommStream]`. */
export type NativeStreamOrder = readonly [StreamHandle, NativeEvent | null, boolean, boolean];

/** The addon's functions. Offsets and lengths are bytes, unless they are said to be elements. */
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
  isDone(pending: NativeEvent | StatusHandle | DownloadHandle | HostLayoutHandle): boolean;

  allocate(length: number, stream: StreamHandle, isShareable: boolean): AllocationHandle;
  /** Null for an address that CUDA does not know. */
  wrapPointer(pointer: bigint, length: number): AllocationHandle | null;
  openIpcHandle(handle: Uint8Array, length: number): AllocationHandle;
  /** Null for memory that cannot be shared. */
  ipcHandle(allocation: AllocationHandle): Uint8Array | null;
  pointerOf(allocation: AllocationHandle): bigint;
  recordStream(allocation: AllocationHandle, stream: StreamHandle): void;
  upload(allocation: AllocationHandle, offset: number, source: ArrayBufferView, stream: StreamHandle): void;
  download(allocation: AllocationHandle, offset: number, length: number, stream: StreamHandle): DownloadHandle;
  finishDownload(download: DownloadHandle, target: ArrayBufferView): void;
  /** What the GPU can wait for, of a layout of host arrays. */
  eventOf(layout: HostLayoutHandle): NativeEvent;
  release(handle: AllocationHandle | StatusHandle | HostLayoutHandle | DownloadHandle): void;

  createPlan(
    comm: StreamHandle,
    numExperts: number,
    numRanks: number,
    numRanksPerNode: number,
    numRdmaRanks: number,
    rankOfExpert: Int32Array | null,
  ): PlanHandle;
  /** Where the counts per rank, per RDMA rank, per expert and the mask lie in the memory that a launch allocates. */
  outputOffsets(plan: PlanHandle, numTokens: number): readonly [number, number, number, number];
  launchOnDevice(
    plan: PlanHandle,
    input: AllocationHandle,
    offset: number,
    shape: NativeTopkShape,
    /** Allocation and offset of each output in turn, or null to allocate them all in one piece. */
    outputs: readonly (AllocationHandle | number | null)[] | null,
    isStrict: boolean,
    order: NativeStreamOrder,
  ): readonly [AllocationHandle | null, NativeEvent | null, StatusHandle | null];
  launchOnHost(
    plan: PlanHandle,
    ids: ArrayBufferView,
    /** Elements. */
    offset: number,
    shape: NativeTopkShape,
    isStrict: boolean,
    order: NativeStreamOrder,
  ): HostLayoutHandle;
  /** Waits. The position of the first invalid id, or -1. */
  synchronizeHost(layout: HostLayoutHandle): number;
  /** Array, or null, and the length it must have, four times. False if one has another length; nothing is written then. */
  copyHostOutputs(layout: HostLayoutHandle, ...arrays: readonly (ArrayBufferView | number | null)[]): boolean;
  readHostId(layout: HostLayoutHandle, position: number): bigint;
  /** The position of the first invalid id of a finished launch, or -1. */
  statusPosition(status: StatusHandle): number;
  /** Null if the input was disposed of. */
  readDeviceId(status: StatusHandle, position: number): bigint | null;
}
