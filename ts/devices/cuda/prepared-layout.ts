/**
 * Computations on tensors that are ready to be queued again and again. What a call needs is checked, and given to the addon,
 * only once, as long as the same tensors come again.
 *
 * @module
 */
import { DispatchLayoutError } from '../../errors/errors.ts';
import type { Partition } from '../../input/partition.ts';
import { checkSelections, readShape, readStrides } from '../../input/read-topk-idx.ts';
import type { EmptyId, TopkIdx } from '../../input/topk-idx.ts';
import { EventOverlap, notRecorded } from '../../layout/event-overlap.ts';
import { checkRows } from '../../layout/expert-permutation.ts';
import type { StreamOrder, TensorOperands } from '../../layout/layout-request.ts';
import {
  type Computation,
  type ComputationKind,
  dimensionsOf,
  type OutputName,
  type OutputShape,
  perOutput,
} from '../../layout/outputs.ts';
import type { TensorArrays } from '../../layout/tensors.ts';
import { idTypes } from '../../values/id-types.ts';
import type { AllocationHandle, LaunchedLayout, LayoutHandle } from './addon.ts';
import { checkTensors } from './check-tensors.ts';
import type { CommunicationStream } from './communication-stream.ts';
import { currentStreamHandle } from './current-stream.ts';
import { type ComputedOnDevice, type OutputTensors, resultIn } from './device-layout.ts';
import { DeviceTensor } from './device-tensor.ts';
import { TensorLayoutEvent } from './events.ts';
import { type CheckedIds, emptyIdBits } from './id-check.ts';
import { addonInUse, type Gpu } from './runtime.ts';
import { SharedAllocation } from './shared-allocation.ts';
import { nativeOrder } from './stream-order.ts';

/** A computation on a tensor, and the caller's tensors for its results, if there are any. */
export class PreparedLayout {
  readonly topkIdx: DeviceTensor;
  /** The shape of the results of all tokens. */
  readonly shape: OutputShape;
  readonly #comm: CommunicationStream;
  readonly #gpu: Gpu;
  readonly #computation: Computation;
  readonly #native: LayoutHandle;
  readonly #ids: CheckedIds;
  readonly #partition: Partition;
  readonly #isStrict: boolean;
  readonly #emptyId: EmptyId;
  /** The tensors that the caller has passed; undefined where new ones are made each time. */
  readonly #out: TensorArrays | undefined;
  /** The result that is in them. */
  readonly given: ComputedOnDevice | undefined;
  /** Where the outputs are in new memory, once that was asked for. */
  #byteOffsets: Readonly<Record<OutputName, number>> | undefined;

  /** @throws DispatchLayoutError `TOPK_SHAPE`, `TOO_LARGE`, `OUT`, `DISPOSED`; {@link CudaError} */
  constructor(comm: CommunicationStream, { topkIdx, emptyId, out, isStrict, computation, partition }: TensorOperands) {
    this.topkIdx = topkIdx as DeviceTensor;
    this.#comm = comm;
    this.#partition = partition;
    this.#isStrict = isStrict;
    this.#emptyId = emptyId;
    const { handle: allocation, gpu } = this.topkIdx.allocation;
    this.#gpu = gpu;
    this.#computation = computation;
    const plan = comm.planFor(partition, computation.kind);
    const { numTokens, numTopk, tokenStride, leadingAxes } = readTensor(this.topkIdx);
    const { numExperts, numRanks, numRdmaRanks } = partition;
    this.shape = { numTokens, numTopk, numExperts, numRanks, numRdmaRanks, computation };
    this.#ids = { kind: computation.kind, idType: this.topkIdx.dtype, numTopk, leadingAxes, numExperts };
    checkLengths(this.shape);
    if (computation.kind !== 'layout') checkSelections(numTokens, numTopk);
    if (computation.kind === 'byExpert') checkRows(numTokens * numTopk, computation);
    if (out !== undefined) {
      this.given = resultIn(checkTensors(out, this.shape, this.topkIdx), this.shape, notRecorded, gpu.name, false);
      this.#out = perOutput(computation.form, ({ name }) => out[name] ?? null);
    }
    const given = this.given?.tensors;
    this.#native = addonInUse().createLayout({
      plan,
      ids: {
        allocation,
        byteOffset: this.topkIdx.byteOffset,
        type: idTypes[this.topkIdx.dtype],
        numTokens,
        numTopk,
        tokenStride,
        emptyId: emptyIdBits(emptyId),
      },
      outputs: given === undefined ? null : perOutput(computation.form, ({ name }) => given[name]?.place ?? null),
      computation,
      isStrict,
    });
  }

  /** Whether this is what a request asks for, and can still be queued. */
  isFor({ topkIdx, emptyId, out, isStrict, computation, partition }: TensorOperands): boolean {
    return (
      topkIdx === this.topkIdx &&
      partition === this.#partition &&
      isStrict === this.#isStrict &&
      computation === this.#computation &&
      emptyId === this.#emptyId &&
      (out === undefined
        ? this.#out === undefined
        : this.#out !== undefined && areUsable[computation.kind](out, this.#out))
    );
  }

  /** Queues the computation on all tokens. */
  launch(order: StreamOrder): ComputedOnDevice {
    if (this.given !== undefined && order.previous === null && !order.asyncFinish) {
      this.runInto(this.given);
      return this.given;
    }
    if (this.#isStrict) this.#comm.reportEarlier();
    const launched = addonInUse().launchLayout(this.#native, this.shape.numTokens, nativeOrder(order, this.#gpu));
    const check = this.#comm.remember(launched.number, this.#ids);
    const { event } = launched;
    const overlap = event === null ? notRecorded : new EventOverlap(new TensorLayoutEvent(event, this.#gpu, check));
    const tensors = this.given?.tensors ?? this.#newTensors(launched);
    const result = resultIn(tensors, this.shape, overlap, this.#gpu.name, this.given === undefined);
    result.writtenBy(check);
    return result;
  }

  /**
   * Queues the computation into tensors that were given, or into views of their first rows, and makes the current stream
   * wait.
   */
  runInto(result: ComputedOnDevice): void {
    const stream = currentStreamHandle(this.#gpu);
    let number = addonInUse().runLayout(this.#native, result.numTokens, stream);
    if (number < 0) {
      this.#comm.report(-number);
      number = addonInUse().runLayout(this.#native, result.numTokens, stream);
    }
    result.writtenBy(this.#comm.remember(number, this.#ids));
  }

  /** Makes new tensors for the outputs. The counts have memory of their own, so that they can be kept without the rows. */
  #newTensors({ counts, rows }: LaunchedLayout): OutputTensors {
    const memory = {
      counts: new SharedAllocation(counts as AllocationHandle, this.#gpu),
      rows: rows && new SharedAllocation(rows, this.#gpu),
    };
    this.#byteOffsets ??= addonInUse().outputOffsets(this.#native);
    const byteOffsets = this.#byteOffsets;
    return perOutput(this.#computation.form, (output) => {
      const { name, kind, type } = output;
      const dimensions = dimensionsOf(output, this.shape);
      const piece = kind === 'rows' ? memory.rows : memory.counts;
      return dimensions && piece && new DeviceTensor(piece, byteOffsets[name], dimensions, type);
    });
  }
}

/** Whether a value is the tensor that was checked before, and its memory is still there. */
function isUsable(value: unknown, tensor: unknown): boolean {
  return value === tensor && !(tensor instanceof DeviceTensor && tensor.isDisposed);
}

/**
 * Whether the tensors of two objects are the same, and still there. The names are in the source for speed: see
 * `ResultForm` in `layout/outputs.ts`.
 */
const areUsable: Readonly<Record<ComputationKind, (out: TensorArrays, own: TensorArrays) => boolean>> = {
  layout: (out, own) =>
    isUsable(out.numTokensPerRank, own.numTokensPerRank) &&
    isUsable(out.numTokensPerRdmaRank ?? null, own.numTokensPerRdmaRank) &&
    isUsable(out.numTokensPerExpert, own.numTokensPerExpert) &&
    isUsable(out.isTokenInRank ?? null, own.isTokenInRank),
  byExpert: (out, own) =>
    isUsable(out.numTokensPerExpert, own.numTokensPerExpert) &&
    isUsable(out.expertOffsets, own.expertOffsets) &&
    isUsable(out.selectionOfRow, own.selectionOfRow) &&
    isUsable(out.rowOfSelection, own.rowOfSelection),
  byRank: (out, own) =>
    isUsable(out.numTokensPerRank, own.numTokensPerRank) &&
    isUsable(out.rankOffsets, own.rankOffsets) &&
    isUsable(out.tokenOfRow, own.tokenOfRow) &&
    isUsable(out.rowOfSelection, own.rowOfSelection),
};

type TensorAxes = Pick<TopkIdx, 'numTokens' | 'numTopk' | 'leadingAxes' | 'tokenStride' | 'slotStride'>;

/** Returns the axes of the ids, after checking that the ids of each token are contiguous. */
function readTensor({ shape, strides }: DeviceTensor): TensorAxes {
  const ids: TensorAxes = { numTokens: 0, numTopk: 0, leadingAxes: null, tokenStride: 0, slotStride: 1 };
  readShape(shape, ids);
  readStrides(strides, ids);
  if (ids.numTopk > 1 && ids.numTokens > 0 && ids.slotStride !== 1) {
    throw new DispatchLayoutError('TOPK_SHAPE', `the slots of topkIdx are ${ids.slotStride} elements apart`, {
      value: strides,
      remedy: 'On the GPU the ids of each token must be contiguous; only tokens may be apart.',
    });
  }
  return ids;
}

/**
 * A bound on the elements of an output. No GPU has so many bytes, and 64-bit offsets are by far large enough for them.
 */
const maxElements = 2 ** 48;

/** @throws DispatchLayoutError `TOO_LARGE` */
function checkLengths(shape: OutputShape): void {
  for (const output of shape.computation.form.outputs) {
    const length = output.length(shape) ?? 0;
    if (length <= maxElements) continue;
    const dimensions = dimensionsOf(output, shape);
    throw new DispatchLayoutError('TOO_LARGE', `${output.name} would have ${dimensions?.join(' x ')} elements`, {
      value: length,
      remedy: 'Correct the shape of topkIdx, or split the tokens and add up the counts.',
    });
  }
}
