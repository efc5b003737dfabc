/**
 * What a device is: something that computes checked requests. Everything before (inputs, options, defaults) and after
 * (results, events) is common to all devices.
 *
 * @module
 */
import type { Availability, DeviceName } from '../errors/availability.ts';
import type { Partition } from '../input/partition.ts';
import type { EmptyId } from '../input/topk-idx.ts';
import type { EventHandle } from '../layout/event-overlap.ts';
import type { LayoutRequest, TensorRequest } from '../layout/layout-request.ts';
import type { AnyArrays } from '../layout/outputs.ts';
import type { TensorLayout } from '../layout/tensors.ts';
import type { IdType, IntegerArray } from '../values/id-types.ts';

/** A device. Devices are in a list, in order of preference, and whatever chooses among them knows no more than this. */
export interface Device {
  readonly name: DeviceName;
  /** Whether it can be used here; found out once, unless it may change. Nothing else is called where it cannot. */
  probe(): Availability;
  /**
   * From how many selections (`numTokens * numTopk`) on `auto` asks whether this device {@link suits}: 0 for a device that
   * takes every request, `Infinity` for one that `auto` never takes for host arrays.
   *
   * @throws DispatchLayoutError `ENVIRONMENT`
   */
  readonly fromSelections: number;
  /** Whether `auto` prefers it for a request of so many selections to the devices behind it in the list. Default: it does. */
  suits?(request: LayoutRequest): boolean;
  /**
   * Computes the layout of a request into `request.out`. Returns `finishedHandle` if the work is done on return.
   *
   * @throws InvalidExpertError with the first id in row-major order that is no expert, where the request is strict;
   *   `request.out` is untouched then, if it was given. Where the work is not done yet, the event throws it.
   */
  submit(request: LayoutRequest): EventHandle;
  /** What a device with streams can do besides. */
  readonly streams?: DeviceStreams;
  /**
   * The memory of a workspace, where a device has one in which nothing needs to be copied; null where it can have no other.
   *
   * @throws DispatchLayoutError `OUT_OF_MEMORY`
   */
  createWorkspace?(partition: Partition, shape: WorkspaceShape): WorkspaceMemory | null;
  /** Gets ready without blocking, so that {@link probe} and the first request need not. Does not reject. */
  prepareAhead?(): Promise<void>;
}

/** A device with streams: work is queued there, and ordered by events. */
export interface DeviceStreams {
  /** Whether something was made on the device, such as a tensor, a stream or a layout, and the device still works. */
  readonly areInUse: boolean;
  /** Queues the layout of a tensor. Nothing is copied or waited for. */
  submit(request: TensorRequest): TensorLayout;
  /** An event on the current stream. */
  capture(): EventHandle;
  /** Whether the streams can wait for an event; the calling thread must wait for any other. */
  canWaitFor(event: EventHandle): boolean;
}

/** What a workspace has room for. */
export interface WorkspaceShape {
  readonly maxTokens: number;
  readonly numTopk: number;
  readonly idType: IdType;
  readonly emptyId: EmptyId;
  readonly hasMask: boolean;
}

/** Arrays that a device computes in, without copies. */
export interface WorkspaceMemory {
  /** `[maxTokens, numTopk]` */
  readonly topkIdx: IntegerArray;
  /** The results of `maxTokens` tokens. */
  readonly out: AnyArrays;
  /**
   * Computes the layout of the first `numTokens` tokens into `layout`, which is `out` as far as these tokens go.
   *
   * @throws InvalidExpertError if `isStrict`; the results are untouched then.
   */
  compute(numTokens: number, isStrict: boolean, layout: AnyArrays): void;
}
