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
import type { TopkIdx } from './topk-idx.ts';

/** The devices behind `getDispatchLayout`. */
export type DeviceName = 'cuda' | 'wasm' | 'js';

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
  /** The same device with so many threads, where it can have several. */
  withThreads?(threads: number | 'auto'): Device;
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
}

/** A device with several threads that holds the tables of one partition. */
export interface PreparedThreads extends PreparedDevice {
  /** Whether new outputs of this layout should be in shared memory. */
  sharesOutputs(topkIdx: TopkIdx, asyncFinish: boolean): boolean;
  /**
   * Has a worker compute one layout, behind earlier ones of the group and behind `previous`. With `keepOnError`, the ids
   * are checked before `out` is written.
   *
   * @param isOver whether an event that failed with this error is over all the same.
   * @returns undefined where there is no worker, or it cannot write to `out`.
   */
  queueBehind(
    topkIdx: TopkIdx,
    strict: boolean,
    out: LayoutArrays,
    keepOnError: boolean,
    previous: EventHandle | null,
    isOver: (error: unknown) => boolean,
  ): EventHandle | undefined;
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

/** A device, or why it cannot be used here. */
export type DeviceAvailability<Kind extends Device = Device> =
  | { readonly device: Kind; readonly reason: string }
  | { readonly device: undefined; readonly reason: string; readonly remedy: string; readonly cause?: unknown };
