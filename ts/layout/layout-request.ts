/**
 * A request holds everything that one call for a layout works on, from the caller's input, read and checked, to the
 * kernel.
 *
 * @module
 */
import type { Partition } from '../input/partition.ts';
import { type EmptyId, TopkIdx } from '../input/topk-idx.ts';
import type { EventHandle } from './event-overlap.ts';
import {
  assignArrays,
  type LayoutShape,
  lengthOfOutput,
  type MaskForm,
  OutArrays,
  type OutputLengths,
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
 * A call for host arrays. The group keeps this object for its next call, so that a call with a reused `out` allocates
 * nothing.
 */
export class LayoutRequest implements LayoutShape, StreamOrder {
  readonly topkIdx: TopkIdx = new TopkIdx();
  /** The arrays to write: the caller's, or new ones. */
  readonly out: OutArrays = new OutArrays();
  /** Whether the arrays of `out` are the caller's. A call that fails must then leave them untouched. */
  isOutGiven = false;
  /** Whether an id that is neither empty nor in `[0, numExperts)` is an error. Otherwise, such an id is skipped. */
  isStrict = true;
  /** The form of `isTokenInRank`. */
  mask: MaskForm = 'bytes';
  /** Which rank each expert is on. `setShape` sets it before anything reads it. */
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

  /**
   * Takes over the shape of the ids that were read, the partition, and the form of the mask. What has not changed since
   * the call before is not computed again.
   */
  setShape(partition: Partition, mask: MaskForm): void {
    const { numTokens, numTopk } = this.topkIdx;
    const isSamePartition = partition === this.partition;
    this.numTopk = numTopk;
    if (isSamePartition && numTokens === this.numTokens && mask === this.mask) return;
    this.mask = mask;
    this.partition = partition;
    this.numTokens = numTokens;
    this.numExperts = partition.numExperts;
    this.numRanks = partition.numRanks;
    this.numRdmaRanks = partition.numRdmaRanks;
    for (const name of isSamePartition ? rowNames : outputNames) {
      this.lengths[name] = lengthOfOutput(outputs[name], this);
    }
  }

  /** Drops every reference to what is the caller's. */
  clear(): void {
    this.topkIdx.clear();
    assignArrays(this.out, noArrays);
    this.previous = null;
  }
}

const noArrays = new OutArrays();

/** The outputs whose lengths depend on the number of tokens, or on the form of the mask. */
const rowNames = outputNames.filter((name) => outputs[name].kind === 'rows');

/** What a layout of ids that are on a device works on. */
export interface TensorOperands {
  readonly topkIdx: GpuTensor;
  readonly emptyId: EmptyId;
  /** The caller's tensors; undefined where the device is to make new ones. */
  readonly out: TensorArrays | undefined;
  readonly isStrict: boolean;
  readonly mask: MaskForm;
  readonly partition: Partition;
}

/** A call for ids that are on a device. They are not copied, and nothing waits for them. */
export interface TensorRequest extends TensorOperands, StreamOrder {}
