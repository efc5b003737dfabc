/**
 * Workspaces of tensors: layouts of the same tensors that are computed again and again.
 *
 * @module
 */
import type { DeviceName } from '../../errors/availability.ts';
import { refuseOrder, wrongValue } from '../../errors/checks.ts';
import { notRecorded } from '../../layout/event-overlap.ts';
import type { ExpertOrderOptions } from '../../layout/expert-permutation.ts';
import type { TensorOperands } from '../../layout/layout-request.ts';
import {
  type ComputationKind,
  dimensionsOf,
  type ExpertOrder,
  type MaskForm,
  perOutput,
  type RankOrder,
} from '../../layout/outputs.ts';
import type { RankOrderOptions } from '../../layout/rank-permutation.ts';
import { communicationStreamOf } from './communication-stream.ts';
import {
  type ComputedOnDevice,
  type DeviceDispatchLayout,
  type DeviceExpertPermutation,
  type DeviceLayoutArrays,
  type DeviceRankPermutation,
  resultIn,
} from './device-layout.ts';
import { DeviceTensor } from './device-tensor.ts';
import { PreparedLayout } from './prepared-layout.ts';

/** Options of a {@link DeviceWorkspace}. */
export interface DeviceWorkspaceOptions<Mask extends MaskForm = 'bytes'> {
  /** `[maxTokens, numTopk]`: the experts of each token, -1 for none. */
  readonly topkIdx: DeviceTensor;
  /** The number of experts over all ranks. */
  readonly numExperts: number;
  /** The tensors to write to, for instance those of an earlier layout. Default: new ones, which the workspace owns. */
  readonly out?: DeviceLayoutArrays<Mask> | undefined;
  /** What to do with invalid ids, as in `getDispatchLayout`. Default `throw`. */
  readonly invalidExperts?: 'throw' | 'ignore' | undefined;
  /** An id that stands for an empty slot, beside -1, as in `getDispatchLayout`. */
  readonly emptyId?: number | bigint | undefined;
  /** The form of `isTokenInRank`, as in `getDispatchLayout`. Default `bytes`. */
  readonly mask?: Mask | undefined;
  /**
   * Options of `runExpertPermutation`, or `true` for the default ones. Its results are in new tensors, which the
   * workspace owns. Without this, it cannot be run.
   */
  readonly expertPermutation?: true | ExpertOrderOptions | undefined;
  /** Options of `runRankPermutation`, or `true` for the default ones, likewise. */
  readonly rankPermutation?: true | RankOrderOptions | undefined;
}

/**
 * A layout of tensors that is computed again and again, made by `group.createWorkspace`. Everything is checked when the
 * workspace is made, so a run takes about a microsecond of the calling thread.
 *
 * ```ts
 * import { ExpertGroup } from 'dispatch-layout';
 * import { DeviceTensor } from 'dispatch-layout/cuda';
 *
 * using topkIdx = DeviceTensor.from(Int32Array.of(0, 5, 6, -1), [2, 2]);
 * using workspace = new ExpertGroup({ numRanks: 4 }).createWorkspace({ topkIdx, numExperts: 8 });
 * const layout = workspace.run(); // again after each step of the router, which writes to topkIdx
 * console.log(layout.numTokensPerRank.toTypedArray().join(' ')); // 1 0 1 1
 * ```
 *
 * All layouts of a workspace are in the same tensors, and each run overwrites the results of the run before. A run is
 * ordered as a call of `getDispatchLayout` without `previousEvent` and without `asyncFinish`: after everything that is
 * queued on the current stream, and before everything that is queued there later.
 */
export class DeviceWorkspace<Mask extends MaskForm = MaskForm> implements Disposable {
  /** `[maxTokens, numTopk]`: the experts of each token, -1 for none. A run leaves them as they are. */
  readonly topkIdx: DeviceTensor;
  /** The largest number of tokens of a run. */
  readonly maxTokens: number;
  /** The number of slots of each token. */
  readonly numTopk: number;
  /** The GPU that computes. */
  readonly device: DeviceName;
  readonly #runs: Pick<Record<ComputationKind, PreparedRuns>, 'layout'> &
    Partial<Record<ComputationKind, PreparedRuns>>;

  /** @internal Use `group.createWorkspace`. */
  constructor(operands: TensorOperands, orders: readonly (ExpertOrder | RankOrder)[]) {
    const topkIdx = operands?.topkIdx;
    if (!(topkIdx instanceof DeviceTensor)) {
      throw wrongValue('OPTION', 'topkIdx of the workspace', topkIdx, 'Use group.createWorkspace({ topkIdx, ... }).');
    }
    const layout = new PreparedRuns(operands);
    this.#runs = { layout };
    try {
      for (const computation of orders) {
        this.#runs[computation.kind] = new PreparedRuns({ ...operands, computation, out: undefined });
      }
    } catch (error) {
      // Nobody else can dispose of what was made by then
      this[Symbol.dispose]();
      throw error;
    }
    this.topkIdx = topkIdx;
    this.maxTokens = layout.shape.numTokens;
    this.numTopk = layout.shape.numTopk;
    this.device = topkIdx.allocation.gpu.name;
  }

  /**
   * Queues the layout of the first `numTokens` tokens of `topkIdx`. There is one result object for each number of
   * tokens, which later runs with as many tokens return again. At most 1024 of these objects are kept.
   *
   * @param numTokens 0 to `maxTokens`. Default `maxTokens`.
   * @throws InvalidExpertError for ids of an earlier run or layout of the group, as `getDispatchLayout` does.
   * @throws DispatchLayoutError `OPTION` if `numTokens` is outside this range; `DISPOSED`, `CAPTURE`
   * @throws {@link CudaError}
   */
  run(numTokens: number = this.maxTokens): DeviceDispatchLayout<Mask> {
    return this.#runs.layout.run(numTokens) as DeviceDispatchLayout<Mask>;
  }

  /**
   * Queues the order by expert of the first `numTokens` tokens, as {@link run} does for the layout.
   *
   * @param numTokens 0 to `maxTokens`. Default `maxTokens`.
   * @throws InvalidExpertError as {@link run} does.
   * @throws DispatchLayoutError `OPTION` if the workspace was made without `expertPermutation`, or if `numTokens` is
   *   outside this range; `DISPOSED`, `CAPTURE`
   * @throws {@link CudaError}
   */
  runExpertPermutation(numTokens: number = this.maxTokens): DeviceExpertPermutation {
    const { byExpert } = this.#runs;
    return (byExpert ?? refuseOrder('expertPermutation')).run(numTokens) as DeviceExpertPermutation;
  }

  /**
   * Queues the order by rank of the first `numTokens` tokens, as {@link run} does for the layout.
   *
   * @param numTokens 0 to `maxTokens`. Default `maxTokens`.
   * @throws InvalidExpertError as {@link run} does.
   * @throws DispatchLayoutError `OPTION` if the workspace was made without `rankPermutation`, or if `numTokens` is
   *   outside this range; `DISPOSED`, `CAPTURE`
   * @throws {@link CudaError}
   */
  runRankPermutation(numTokens: number = this.maxTokens): DeviceRankPermutation {
    const { byRank } = this.#runs;
    return (byRank ?? refuseOrder('rankPermutation')).run(numTokens) as DeviceRankPermutation;
  }

  /** Disposes of the results, unless they are in tensors of the caller. `topkIdx` stays. */
  [Symbol.dispose](): void {
    for (const runs of Object.values(this.#runs)) runs[Symbol.dispose]();
  }
}

/** The runs of one computation, whose results are in the same tensors. */
class PreparedRuns implements Disposable {
  readonly #prepared: PreparedLayout;
  readonly #whole: ComputedOnDevice;
  /** The result objects of the runs of fewer tokens, by their number. */
  readonly #parts = new Map<number, ComputedOnDevice>();

  constructor(operands: TensorOperands) {
    const { gpu } = (operands.topkIdx as DeviceTensor).allocation;
    const comm = communicationStreamOf(operands.partition.group, gpu);
    if (operands.out === undefined) {
      const { shape } = new PreparedLayout(comm, operands);
      const tensors = perOutput(shape.computation.form, (output) => {
        const dimensions = dimensionsOf(output, shape);
        return dimensions && DeviceTensor.empty(dimensions, output.type, { device: gpu.name });
      });
      this.#whole = resultIn(tensors, shape, notRecorded, gpu.name, true);
      this.#prepared = new PreparedLayout(comm, { ...operands, out: tensors });
    } else {
      this.#prepared = new PreparedLayout(comm, operands);
      this.#whole = this.#prepared.given as ComputedOnDevice;
    }
  }

  /** The shape of the results of all tokens. */
  get shape(): PreparedLayout['shape'] {
    return this.#prepared.shape;
  }

  /** Queues the computation of the first `numTokens` tokens. The type of the result follows from the computation. */
  run(numTokens: number): unknown {
    const result = numTokens === this.shape.numTokens ? this.#whole : this.#part(numTokens);
    try {
      this.#prepared.runInto(result);
    } catch (error) {
      // If a tensor was disposed of, this throws a clearer error
      for (const tensor of [this.#prepared.topkIdx, ...Object.values(this.#whole.tensors)]) tensor?.allocation;
      throw error;
    }
    return result;
  }

  [Symbol.dispose](): void {
    this.#whole[Symbol.dispose]();
  }

  #part(numTokens: number): ComputedOnDevice {
    let part = this.#parts.get(numTokens);
    if (part === undefined) {
      const { shape } = this;
      if (!Number.isInteger(numTokens) || numTokens < 0 || numTokens > shape.numTokens) {
        const remedy = `The workspace has room for 0 to ${shape.numTokens} tokens.`;
        throw wrongValue('OPTION', 'numTokens', numTokens, remedy);
      }
      const shapeOfPart = { ...shape, numTokens };
      const tensors = perOutput(shape.computation.form, (output) => {
        const whole = this.#whole.tensors[output.name];
        return output.kind === 'rows' && whole ? whole.firstElements(dimensionsOf(output, shapeOfPart) ?? []) : whole;
      });
      part = resultIn(tensors, shapeOfPart, notRecorded, (this.#prepared.topkIdx as DeviceTensor).device, false);
      if (this.#parts.size === maxParts) this.#parts.clear();
      this.#parts.set(numTokens, part);
    }
    return part;
  }
}

/** The largest number of result objects that are kept. No decoder uses so many different numbers of tokens. */
const maxParts = 1024;
