/**
 * A request holds everything that one call works on, from the caller's input, read and checked, to the
 * kernel.
 *
 * @module
 */
import type { Partition } from '../input/partition.ts';
import { type EmptyId, TopkIdx } from '../input/topk-idx.ts';
import type { EventHandle } from './event-overlap.ts';
import {
  type Computation,
  OutArrays,
  type OutputLengths,
  type OutputShape,
  perOutput,
  type ResultForm,
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
 * How the devices on the CPU compute a request that is no layout. It comes with the request, so that a program which
 * computes only layouts does not contain it.
 */
export type CpuCode = Readonly<Record<'js' | 'wasm', (request: LayoutRequest) => void>>;

/**
 * A call for host arrays. The group keeps this object for its next call of the same kind, so that a call with a reused
 * `out` allocates nothing.
 */
export class LayoutRequest implements OutputShape, StreamOrder {
  readonly topkIdx: TopkIdx = new TopkIdx();
  /** The arrays to write: the caller's, or new ones. */
  readonly out: OutArrays;
  /** Undefined for layouts. */
  readonly onCpu: CpuCode | undefined;
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
  readonly lengths: OutputLengths;
  previous: EventHandle | null = null;
  asyncFinish = false;
  allocateOnCommStream = false;
  /** What takes the place of the caller's arrays. It is made once, so that a call with a reused `out` allocates nothing. */
  readonly #noArrays: OutArrays;

  constructor(form: ResultForm, onCpu?: CpuCode) {
    this.out = new OutArrays(form);
    this.#noArrays = new OutArrays(form);
    this.onCpu = onCpu;
    this.lengths = perOutput(form, () => null);
  }

  /**
   * Takes over the shape of the ids that were read, the partition, and what to compute. What has not changed since the
   * call before is not computed again.
   */
  setShape(partition: Partition, computation: Computation): void {
    const { numTokens, numTopk } = this.topkIdx;
    const { form } = computation;
    const isLayout = computation.kind === 'layout';
    const isSamePartition = partition === this.partition;
    const isSame = isSamePartition && computation === this.computation;
    // No output of a layout depends on the number of slots
    const isSameWidth = numTopk === this.numTopk || isLayout;
    this.numTopk = numTopk;
    if (isSame && isSameWidth && numTokens === this.numTokens) return;
    this.computation = computation;
    this.partition = partition;
    this.numTokens = numTokens;
    this.numExperts = partition.numExperts;
    this.numRanks = partition.numRanks;
    this.numRdmaRanks = partition.numRdmaRanks;
    for (const output of form.outputs) {
      // The counts of a layout depend on the partition alone
      if (output.kind === 'count' && isSamePartition && isLayout) continue;
      this.lengths[output.name] = output.length(this);
    }
  }

  /** Drops every reference to what is the caller's. */
  clear(): void {
    this.topkIdx.clear();
    this.out.form.assign(this.out, this.#noArrays);
    this.previous = null;
  }
}

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
