/**
 * What a device is: something that computes checked requests. Everything before (inputs, options, defaults) and after
 * (results, events) is common to all devices.
 *
 * @module
 */
import type { DeviceTensor } from './cuda/device-tensor.ts';
import type { DeviceLayoutArrays } from './device-layout.ts';
import type { EventHandle } from './event-overlap.ts';
import type { LayoutArrays, LayoutShape } from './layout.ts';
import type { Partition } from './partition.ts';
import type { IdType, IntegerArray, TopkIdx } from './topk-idx.ts';

/** The devices behind `getDispatchLayout`. */
export type DeviceName = 'cuda' | 'wasm' | 'js';

/** All of them, in order of preference. */
export const deviceNames: readonly DeviceName[] = ['cuda', 'wasm', 'js'];

/** A device, ready for use. */
export interface Device {
  readonly name: DeviceName;
  /**
   * Builds the tables that every layout over this partition needs.
   *
   * @param earlier what was prepared before for the same group: a device with streams keeps the group's communication
   *   stream.
   */
  prepare(partition: Partition, earlier?: PreparedDevice): PreparedDevice;
}

/** A device that holds the tables of one partition. */
export interface PreparedDevice {
  /**
   * Computes one layout into `out`, whose lengths the caller has checked.
   *
   * @param strict whether an id outside `[0, numExperts)` other than -1 is an error (else it is skipped).
   * @param keepOnError whether `out` must be untouched when this throws: false for arrays that nobody else has seen.
   * @throws InvalidExpertError with the first such id in row-major order.
   */
  computeLayout(topkIdx: TopkIdx, strict: boolean, out: LayoutArrays, keepOnError: boolean): void;
  /**
   * The memory of a workspace, where a device has one in which nothing needs to be copied.
   *
   * @throws DispatchLayoutError `OUT_OF_MEMORY`
   */
  createWorkspace?(shape: WorkspaceShape): WorkspaceMemory;
}

/** What a workspace has room for. */
export interface WorkspaceShape {
  readonly maxTokens: number;
  readonly numTopk: number;
  readonly idType: IdType;
}

/** Arrays that a device computes in, without copies. */
export interface WorkspaceMemory {
  /** `[maxTokens, numTopk]` */
  readonly topkIdx: IntegerArray;
  /** The results of `maxTokens` tokens. */
  readonly out: LayoutArrays;
  /**
   * Computes the layout of the first `numTokens` tokens into `layout`, which is `out` as far as these tokens go.
   *
   * @throws InvalidExpertError if `strict`; the results are untouched then.
   */
  compute(numTokens: number, strict: boolean, layout: LayoutArrays): void;
}

/** Who waits for whom: DeepEP's options of a call. */
export interface StreamOrder {
  /** An event that the device can wait for; without one, the communication stream waits for the current stream. */
  readonly previous: EventHandle | null;
  /** Whether the current stream goes on without waiting for the layout. */
  readonly asyncFinish: boolean;
  /** Whether new outputs belong to the communication stream. */
  readonly allocateOnCommStream: boolean;
}

/** A queued layout of a tensor. */
export interface QueuedTensors extends LayoutShape {
  readonly arrays: DeviceLayoutArrays;
  /** Null without `asyncFinish`. */
  readonly handle: EventHandle | null;
}

/** A device with streams: work is queued there, and ordered by events. */
export interface StreamsDevice extends Device {
  prepare(partition: Partition, earlier?: PreparedDevice): PreparedStreamsDevice;
  /** An event on the current stream. */
  capture(): EventHandle;
  /** Whether its streams can wait for an event; the thread must wait for any other. */
  canWaitFor(event: EventHandle): boolean;
}

/** A device with streams that holds the tables of one partition. */
export interface PreparedStreamsDevice extends PreparedDevice {
  /**
   * Computes one layout of host arrays. With `asyncFinish`, `out` is written when the event is waited for; else at return.
   *
   * @throws InvalidExpertError, with `asyncFinish` when the event is waited for; `out` is untouched then.
   */
  queueLayout(topkIdx: TopkIdx, strict: boolean, out: LayoutArrays, order: StreamOrder): EventHandle;
  /** Computes one layout of a tensor, into `out` or new tensors. Nothing is copied or waited for. */
  queueTensors(
    topkIdx: DeviceTensor,
    strict: boolean,
    out: DeviceLayoutArrays | undefined,
    order: StreamOrder,
  ): QueuedTensors;
}

/** The stable identifiers of what keeps a device from being used. */
export type ObstacleCode =
  /** `DISPATCH_LAYOUT_DISABLE` names the device. */
  | 'DISABLED'
  /** `wasm`: the runtime has no WebAssembly. */
  | 'NO_WEBASSEMBLY'
  /** `wasm`: WebAssembly runs here, without SIMD. */
  | 'NO_SIMD'
  /** `wasm`: compiling is forbidden, such as by a content security policy. */
  | 'WEBASSEMBLY_FORBIDDEN'
  /** `wasm`: the browser compiles nothing of this size synchronously on a page's main thread. */
  | 'NEEDS_PREPARE'
  /** `wasm`: no memory for the kernel. */
  | 'NO_MEMORY'
  /** `cuda`: this is the build for browsers and edge runtimes. */
  | 'NO_CUDA'
  /** `cuda`: the runtime loads no Node-API addons, or is told not to. */
  | 'ADDONS_FORBIDDEN'
  /** `cuda`: there is no addon for this operating system and processor. */
  | 'UNSUPPORTED_PLATFORM'
  /** `cuda`: the addon is not where it should be. */
  | 'ADDON_MISSING'
  /** `cuda`: the addon is there and cannot be loaded, or is of another version. */
  | 'ADDON_BROKEN'
  /** `cuda`: there is no NVIDIA driver. */
  | 'NO_DRIVER'
  /** `cuda`: the driver is older than the addon's CUDA. */
  | 'OLD_DRIVER'
  /** `cuda`: the driver finds no GPU. */
  | 'NO_GPU'
  /** `cuda`: the GPU is too old, or lacks what is needed. */
  | 'UNSUPPORTED_GPU'
  /** `cuda`: the driver fails when it is asked. */
  | 'DRIVER_ERROR'
  /** `cuda`: a first layout fails on the GPU, or is wrong. */
  | 'SELF_CHECK_FAILED'
  /** `cuda`: an error has cost the process its CUDA context. */
  | 'CONTEXT_LOST';

/** Versions of what a device stands on, as far as they are known, such as `{ node: '22.1.0', v8: '12.4' }`. */
export type DeviceVersions = Readonly<Record<string, string>>;

/** Why a device cannot be used here. */
export interface Obstacle {
  /** What kind of obstacle it is. */
  readonly code: ObstacleCode;
  /** A clause, without full stop. */
  readonly reason: string;
  /** What to do about it, in sentences. */
  readonly remedy: string;
  /** The error behind it. */
  readonly cause?: unknown;
  /** Of what is there of it. */
  readonly versions?: DeviceVersions;
}

/** What one device can do here, and whether it would be chosen. */
export interface DeviceDescription {
  /** Its name. */
  readonly device: DeviceName;
  /** Whether it can be used here. */
  readonly available: boolean;
  /** Whether a group with the option that was asked about computes host arrays on it. */
  readonly chosen: boolean;
  /** `AVAILABLE`, or what keeps it from being used. */
  readonly code: 'AVAILABLE' | ObstacleCode;
  /** Why it is available or not, chosen or not: a clause, without full stop. */
  readonly reason: string;
  /** The error that keeps it from being used, where there is one. */
  readonly cause?: unknown;
  /** Of what it stands on; empty where nothing is known. */
  readonly versions: DeviceVersions;
  /** What to do to make it available, where it is not. */
  readonly remedy?: string;
}

/** A device, or why it cannot be used here. */
export type DeviceAvailability<Kind extends Device = Device> =
  | { readonly device: Kind; readonly reason: string; readonly versions: DeviceVersions }
  | ({ readonly device: undefined } & Obstacle);
