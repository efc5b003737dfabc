/**
 * What one call for a layout works on, read and checked: from the caller's input to the kernel, everything is in here.
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
  OutArrays,
  type OutputLengths,
  outputNames,
  outputs,
  perOutput,
} from './outputs.ts';
import type { GpuTensor, TensorArrays } from './tensors.ts';

/** The stream options of a call, as in DeepEP: which work waits for which. */
export interface StreamOrder {
  /** An event to wait for; without one, the communication stream waits for the current stream. */
  previous: EventHandle | null;
  /** Whether the current stream goes on without waiting for the layout. */
  asyncFinish: boolean;
  /** Whether new outputs belong to the communication stream. */
  allocateOnCommStream: boolean;
}

/** One call for host arrays. The group keeps it for its next call. A call with a reused `out` then allocates nothing. */
export class LayoutRequest implements LayoutShape, StreamOrder {
  readonly topkIdx: TopkIdx = new TopkIdx();
  /** The arrays to write: the caller's, or new ones. */
  readonly out: OutArrays = new OutArrays();
  /** Whether they are the caller's, and so must be untouched by a call that fails. */
  isOutGiven = false;
  /** Whether an id outside `[0, numExperts)` other than -1 is an error; else it is skipped. */
  isStrict = true;
  /** Whether `isTokenInRank` is wanted; else it is null, and nothing is done for it. */
  hasMask = true;
  /** Which expert is where. Set before anything reads it. */
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
   * Takes the shape of the ids that were read, of the partition and of the mask. Nothing is computed that is as in the call
   * before.
   */
  setShape(partition: Partition, hasMask: boolean): void {
    const { numTokens, numTopk } = this.topkIdx;
    const isSamePartition = partition === this.partition;
    this.numTopk = numTopk;
    if (isSamePartition && numTokens === this.numTokens && hasMask === this.hasMask) return;
    this.hasMask = hasMask;
    this.partition = partition;
    this.numTokens = numTokens;
    this.numExperts = partition.numExperts;
    this.numRanks = partition.numRanks;
    this.numRdmaRanks = partition.numRdmaRanks;
    for (const name of isSamePartition ? rowNames : outputNames) {
      this.lengths[name] = lengthOfOutput(outputs[name], this);
    }
  }

  /** Lets go of all that is the caller's. */
  clear(): void {
    this.topkIdx.clear();
    assignArrays(this.out, noArrays);
    this.previous = null;
  }
}

const noArrays = new OutArrays();

/** The outputs whose lengths depend on the number of tokens. */
const rowNames = outputNames.filter((name) => outputs[name].kind === 'rows');

/** One call for ids that are on a device. Nothing of them is copied or waited for. */
export interface TensorRequest extends StreamOrder {
  readonly topkIdx: GpuTensor;
  readonly emptyId: EmptyId;
  /** The caller's tensors; undefined where the device is to make new ones. */
  readonly out: TensorArrays | undefined;
  readonly isStrict: boolean;
  readonly hasMask: boolean;
  readonly partition: Partition;
}
