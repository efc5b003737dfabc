/**
 * Workspaces of tensors: layouts of the same tensors that are computed again and again.
 *
 * @module
 */
import type { DeviceName } from '../../errors/availability.ts';
import { wrongValue } from '../../errors/checks.ts';
import { notRecorded } from '../../layout/event-overlap.ts';
import type { TensorOperands } from '../../layout/layout-request.ts';
import { dimensionsOf, type MaskForm, outputNames, outputs, perOutput } from '../../layout/outputs.ts';
import { communicationStreamOf } from './communication-stream.ts';
import { ComputedDeviceLayout, type DeviceDispatchLayout, type DeviceLayoutArrays } from './device-layout.ts';
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
  readonly #prepared: PreparedLayout;
  readonly #whole: ComputedDeviceLayout;
  /** The result objects of the runs of fewer tokens, by their number. */
  readonly #parts = new Map<number, ComputedDeviceLayout>();

  /** @internal Use `group.createWorkspace`. */
  constructor(operands: TensorOperands) {
    const topkIdx = operands?.topkIdx;
    if (!(topkIdx instanceof DeviceTensor)) {
      throw wrongValue('OPTION', 'topkIdx of the workspace', topkIdx, 'Use group.createWorkspace({ topkIdx, ... }).');
    }
    const { gpu } = topkIdx.allocation;
    const comm = communicationStreamOf(operands.partition.group, gpu);
    if (operands.out === undefined) {
      const { shape } = new PreparedLayout(comm, operands);
      const tensors = perOutput((name) => {
        const dimensions = dimensionsOf(outputs[name], shape);
        return dimensions && DeviceTensor.empty(dimensions, outputs[name].type, { device: gpu.name });
      });
      this.#whole = new ComputedDeviceLayout(tensors, shape, notRecorded, gpu.name, true);
      this.#prepared = new PreparedLayout(comm, { ...operands, out: tensors });
    } else {
      this.#prepared = new PreparedLayout(comm, operands);
      this.#whole = this.#prepared.given as ComputedDeviceLayout;
    }
    this.topkIdx = topkIdx;
    this.maxTokens = this.#whole.numTokens;
    this.numTopk = this.#whole.numTopk;
    this.device = gpu.name;
  }

  /**
   * Queues the layout of the first `numTokens` tokens of `topkIdx`. Nothing is copied, and nothing is waited for. There
   * is one result object for each number of tokens, which later runs with as many tokens return again.
   *
   * @param numTokens 0 to `maxTokens`. Default `maxTokens`.
   * @throws InvalidExpertError for ids of an earlier run or layout of the group, as `getDispatchLayout` does.
   * @throws DispatchLayoutError `OPTION` if `numTokens` is outside this range; `DISPOSED`, `CAPTURE`
   * @throws {@link CudaError}
   */
  run(numTokens: number = this.maxTokens): DeviceDispatchLayout<Mask> {
    const layout = numTokens === this.maxTokens ? this.#whole : this.#part(numTokens);
    try {
      this.#prepared.runInto(layout);
    } catch (error) {
      // If a tensor was disposed of, this throws a clearer error
      for (const tensor of [this.topkIdx, ...outputNames.map((name) => this.#whole[name])]) tensor?.allocation;
      throw error;
    }
    return layout as unknown as DeviceDispatchLayout<Mask>;
  }

  /** Disposes of the results, unless they are in tensors of the caller. `topkIdx` stays. */
  [Symbol.dispose](): void {
    this.#whole[Symbol.dispose]();
  }

  #part(numTokens: number): ComputedDeviceLayout {
    let part = this.#parts.get(numTokens);
    if (part === undefined) {
      if (!Number.isInteger(numTokens) || numTokens < 0 || numTokens > this.maxTokens) {
        const remedy = `The workspace has room for 0 to ${this.maxTokens} tokens.`;
        throw wrongValue('OPTION', 'numTokens', numTokens, remedy);
      }
      const shape = { ...this.#prepared.shape, numTokens };
      const tensors = perOutput((name) => {
        const { kind } = outputs[name];
        const whole = this.#whole[name];
        return kind === 'rows' && whole ? whole.firstElements(dimensionsOf(outputs[name], shape) ?? []) : whole;
      });
      part = new ComputedDeviceLayout(tensors, shape, notRecorded, this.device, false);
      if (this.#parts.size === maxParts) this.#parts.clear();
      this.#parts.set(numTokens, part);
    }
    return part;
  }
}

/** The largest number of result objects that are kept. No decoder uses so many different numbers of tokens. */
const maxParts = 1024;
