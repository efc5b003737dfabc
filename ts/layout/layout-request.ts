/**
 * A request holds everything that one call works on, from the caller's input, read and checked, to the
 * kernel.
 *
 * @module
 */
import type { Partition } from '../input/partition.ts';
import { type EmptyId, TopkIdx } from '../input/topk-idx.ts';
import type { Computation, ComputationKind } from './computation.ts';
import type { EventHandle } from './event-overlap.ts';
import {
  assignArrays,
  OutArrays,
  type OutputLengths,
  type OutputShape,
  outputNames,
  outputs,
  perOutput,
} from './outputs.ts';
import type { GpuTensor, TensorArrays } from './tensors.ts';

/** The stream options of a call, as in DeepEP. They say which work waits for which. */
export interface StreamOrder {
  /** The event to wait for; without one, the layout comes after what is queued on the current stream. */
  previous: EventHandle | null;
  /** Whether the current stream goes on without waiting for the layout. */
  asyncFinish: boolean;
  /** Whether new outputs belong to the communication stream. */
  allocateOnCommStream: boolean;
}

/**
 * A call for host arrays. The group keeps this object for its next call of the same kind, so that a call with a reused
 * `out` allocates nothing.
 */
export class LayoutRequest implements OutputShape, StreamOrder {
  readonly topkIdx: TopkIdx = new TopkIdx();
  /** The arrays to write: the caller's, or new ones. */
  readonly out: OutArrays;
  /** Whether the arrays of `out` are the caller's. A call that fails must then leave them untouched. */
  isOutGiven = false;
  /** Whether an id that is neither empty nor in `[0, numExperts)` is an error. Otherwise, such an id is skipped. */
  isStrict = true;
  /** What to compute. `setShape` sets it, and the partition, before anything reads them. */
  computation!: Computation;
  /** Which rank each expert is on. */
  partition!: Partition;
  numTokens = 0;
  numTopk = 0;
  numExperts = 0;
  numRanks = 0;
  numRdmaRanks = 0;
  /** The lengths of the arrays to write. */
  readonly lengths: OutputLengths = perOutput(() => null);
  previous: EventHandle | null = null;
  asyncFinish = false;
  allocateOnCommStream = false;

  constructor(kind: ComputationKind) {
    this.out = new OutArrays(kind);
  }

  /**
   * Takes over the shape of the ids that were read, the partition, and what to compute. What has not changed since the
   * call before is not computed again.
   */
  setShape(partition: Partition, computation: Computation): void {
    const { numTokens, numTopk } = this.topkIdx;
    const { kind } = computation;
    const isSamePartition = partition === this.partition;
    const isSame = isSamePartition && computation === this.computation;
    // No output of a layout depends on the number of slots
    const isSameWidth = numTopk === this.numTopk || kind === 'layout';
    this.numTopk = numTopk;
    if (isSame && isSameWidth && numTokens === this.numTokens) return;
    this.computation = computation;
    this.partition = partition;
    this.numTokens = numTokens;
    this.numExperts = partition.numExperts;
    this.numRanks = partition.numRanks;
    this.numRdmaRanks = partition.numRdmaRanks;
    // The counts of a layout depend on the partition alone
    const names = isSamePartition && kind === 'layout' ? rowsOfLayouts : outputNames[kind];
    for (const name of names) this.lengths[name] = outputs[name].length(this);
  }

  /** Drops every reference to what is the caller's. */
  clear(): void {
    this.topkIdx.clear();
    assignArrays(this.out, noArrays);
    this.previous = null;
  }
}

const noArrays = new OutArrays('layout');

const rowsOfLayouts = outputNames.layout.filter((name) => outputs[name].kind === 'rows');

/** What a computation on ids that are on a device works on. */
export interface TensorOperands {
  readonly topkIdx: GpuTensor;
  readonly emptyId: EmptyId;
  /** The caller's tensors; undefined where the device is to make new ones. */
  readonly out: TensorArrays | undefined;
  readonly isStrict: boolean;
  readonly computation: Computation;
  readonly partition: Partition;
}

/** A call for ids that are on a device. They are not copied, and nothing waits for them. */
export interface TensorRequest extends TensorOperands, StreamOrder {}
