/**
 * A device computes requests that were checked before. What comes before it (inputs, options, defaults) and after it
 * (results, events) is common to all devices.
 *
 * @module
 */
import type { Availability, DeviceName, GpuDescription } from '../errors/availability.ts';
import type { RankGroup } from '../input/partition.ts';
import type { EmptyId } from '../input/topk-idx.ts';
import type { EventHandle } from '../layout/event-overlap.ts';
import type { LayoutRequest, TensorOperands, TensorRequest } from '../layout/layout-request.ts';
import type { Computation, ExpertOrder, LayoutComputation, OutArrays, RankOrder } from '../layout/outputs.ts';
import type { TensorResult } from '../layout/tensors.ts';
import type { IdType, IntegerArray } from '../values/id-types.ts';

/**
 * A device. The devices are in a list, in order of preference, and the code that chooses among them knows no more about
 * them than this.
 */
export interface Device {
  readonly name: DeviceName;
  /**
   * Whether the device can be used here. This is found out once, unless it may change. If it cannot be used, nothing
   * else here is called.
   */
  probe(): Availability;
  /**
   * The number of selections (`numTokens * numTopk`) from which `auto` asks whether this device {@link suits}. It is 0
   * for a device that takes every request, and `Infinity` for one that `auto` never takes for host arrays.
   *
   * @throws DispatchLayoutError `ENVIRONMENT`
   */
  readonly fromSelections: number;
  /**
   * Whether `auto` prefers this device to those behind it in the list, for a request of at least that many selections.
   * Without this method, it does.
   */
  suits?(request: LayoutRequest): boolean;
  /**
   * Computes what a request asks for into `request.out`. Returns `finishedHandle` if the work is done on return.
   *
   * @throws InvalidExpertError with the first id, in row-major order, that is neither empty nor an expert, if the
   *   request is strict. If `request.out` was given, it is then untouched. If the work is not done on return, the event
   *   throws the error instead.
   */
  submit(request: LayoutRequest): EventHandle;
  /**
   * Returns the device of one of several GPUs, whether it exists or not; undefined if the name is none of a GPU. A device
   * without this has no others beside it.
   */
  named?(name: DeviceName): Device | undefined;
  /** Describes every GPU that the driver finds, whether it can be used or not. */
  describeGpus?(): readonly GpuDescription[];
  /** What only a device with streams can do. */
  readonly streams?: DeviceStreams;
  /**
   * Prepares the device without blocking, so that {@link probe} and the first request need not block either. The
   * promise does not reject.
   */
  prepareAhead?(): Promise<void>;
}

/** The streams of a device: work is queued on them, and ordered by events. */
export interface DeviceStreams {
  /** Whether something was made on the device, such as a tensor, a stream or a layout, and the device still works. */
  readonly areInUse: boolean;
  /** Queues a computation on a tensor. Nothing is copied, and nothing is waited for. */
  submit(request: TensorRequest): TensorResult;
  /** Makes a workspace of tensors. Its type is that of `dispatch-layout/cuda`. */
  createWorkspace(operands: TensorOperands, orders: readonly (ExpertOrder | RankOrder)[]): unknown;
  /** Records an event on the current stream of this device, or of all devices of its kind on which something was made. */
  capture(isOfAll: boolean): EventHandle;
  /** The stream on which layouts of a group run. Its type is that of `dispatch-layout/cuda`. */
  communicationStream(group: RankGroup): unknown;
  /** Whether the streams can wait for an event. The calling thread must wait for any other event. */
  canWaitFor(event: EventHandle): boolean;
}

/** What a workspace has room for. */
export interface WorkspaceShape {
  readonly maxTokens: number;
  readonly numTopk: number;
  readonly idType: IdType;
  readonly emptyId: EmptyId;
  readonly layout: LayoutComputation;
  /** The orders of rows that can be computed, too. */
  readonly byExpert: ExpertOrder | null;
  readonly byRank: RankOrder | null;
}

/** Arrays that a device computes in, without copies. */
export interface WorkspaceMemory {
  /** `[maxTokens, numTopk]` */
  readonly topkIdx: IntegerArray;
  /** The results of `maxTokens` tokens, for a computation of the workspace. */
  outOf(computation: Computation): OutArrays;
  /**
   * Computes on the first `numTokens` tokens. The results are in `arrays`, the parts for these tokens of those that
   * {@link outOf} returns.
   *
   * @throws InvalidExpertError if `isStrict`. The results are then untouched.
   */
  compute(computation: Computation, numTokens: number, isStrict: boolean, arrays: OutArrays): void;
}
