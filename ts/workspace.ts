/**
 * Arrays that a group computes in, without copies and without allocations.
 *
 * @module
 */
import { describe } from './describe.ts';
import type { DeviceName, PreparedDevice, WorkspaceMemory } from './device.ts';
import { DispatchLayoutError } from './errors.ts';
import { notRecorded } from './event-overlap.ts';
import { ComputedLayout, type DispatchLayout, type LayoutArrays, type LayoutShape } from './layout.ts';
import { allocateOut, checkArraysAttached, OutArrays } from './out-arrays.ts';
import type { RankGroup } from './partition.ts';
import {
  arrayClasses,
  checkExtent,
  checkSelections,
  type IdType,
  stridedTopkIdx,
  type TopkIdx,
  type TypedArrayOf,
} from './topk-idx.ts';

/** What a {@link Workspace} has room for. */
export interface WorkspaceOptions<Type extends IdType = 'int64'> {
  /** Experts over all ranks. */
  readonly numExperts: number;
  /** The most tokens of a layout. */
  readonly maxTokens: number;
  /** Slots of each token. */
  readonly numTopk: number;
  /** Element type of the ids. Default `int64`, what an ONNX TopK gives. */
  readonly idType?: Type | undefined;
  /** What to do with ids that are no experts, as in `getDispatchLayout`. Default `throw`. */
  readonly invalidExperts?: 'throw' | 'ignore' | undefined;
}

/**
 * Input and output arrays in fixed memory of the device, made by `group.createWorkspace`: ids that are written to
 * `topkIdx` need no copy, and a layout of as many tokens as an earlier one allocates nothing.
 *
 * ```ts
 * import { ExpertGroup } from 'dispatch-layout';
 *
 * const workspace = new ExpertGroup({ numRanks: 4 }).createWorkspace({ numExperts: 8, maxTokens: 128, numTopk: 2 });
 * workspace.topkIdx.set([0n, 5n, 6n, -1n]); // or have the router write there
 * console.log(workspace.run(2).numTokensPerRank.join(' ')); // 1 0 1 1
 * ```
 *
 * All layouts of a workspace are in the same arrays: each run overwrites the results of the run before, so copy
 * (`slice()`) what must last. The arrays stay valid as long as anybody holds them, whatever becomes of the workspace and
 * its group; on `wasm` their memory never moves, and cannot be transferred to another thread. A workspace may be large: its memory
 * is `numTopk` ids, as many positions of 2 bytes (4 beyond 4088 experts) and `numRanks` bytes per token.
 */
export class Workspace<Type extends IdType = IdType> {
  /** `[maxTokens, numTopk]`, row-major: the experts of each token, -1 for none. A run leaves them as they are. */
  readonly topkIdx: TypedArrayOf[Type];
  /** The most tokens of a run. */
  readonly maxTokens: number;
  /** Slots of each token. */
  readonly numTopk: number;
  /** The device that computes. */
  readonly device: DeviceName;
  readonly #memory: WorkspaceMemory;
  readonly #shape: Omit<LayoutShape, 'numTokens'>;
  readonly #strict: boolean;
  /** The results by number of tokens, as far as they were asked for. */
  readonly #layouts = new Map<number, DispatchLayout>();

  /** @internal Use `group.createWorkspace`. */
  constructor(
    group: RankGroup,
    options: Required<Pick<WorkspaceOptions<Type>, 'numExperts' | 'maxTokens' | 'numTopk'>> & { readonly idType: Type },
    strict: boolean,
    device: DeviceName,
    prepared: PreparedDevice,
  ) {
    const { numExperts, maxTokens, numTopk, idType } = options;
    checkCount('maxTokens', maxTokens);
    checkCount('numTopk', numTopk);
    checkSelections(maxTokens, numTopk);
    if (!Object.hasOwn(arrayClasses, idType)) {
      throw new DispatchLayoutError('OPTION', `idType is ${describe(idType)}`, {
        value: idType,
        remedy: `It must be one of ${Object.keys(arrayClasses).join(', ')}.`,
      });
    }
    this.maxTokens = maxTokens;
    this.numTopk = numTopk;
    this.device = device;
    this.#strict = strict;
    this.#shape = { numTopk, numExperts, numRanks: group.numRanks, numRdmaRanks: group.numRdmaRanks };
    this.#memory =
      prepared.createWorkspace?.({ maxTokens, numTopk, idType }) ??
      new PlainWorkspace(prepared, { ...this.#shape, numTokens: maxTokens }, idType);
    this.topkIdx = this.#memory.topkIdx as TypedArrayOf[Type];
  }

  /**
   * The layout of the first `numTokens` tokens of `topkIdx`; every number of tokens has a result object of its own, which
   * later runs of as many tokens return again (of the last 1024 numbers, at most).
   *
   * @param numTokens 0 to `maxTokens`. Default `maxTokens`.
   * @throws {@link InvalidExpertError} for the first id that is neither -1 nor an expert, unless they are ignored; the
   *   results of the run before are untouched then.
   * @throws {@link DispatchLayoutError} `OPTION` if `numTokens` is no such number.
   */
  run(numTokens: number = this.maxTokens): DispatchLayout {
    let layout = this.#layouts.get(numTokens);
    if (layout === undefined) {
      layout = this.#layoutOf(numTokens);
      if (this.#layouts.size === maxLayouts) this.#layouts.clear();
      this.#layouts.set(numTokens, layout);
    }
    this.#memory.compute(numTokens, this.#strict, layout);
    return layout;
  }

  #layoutOf(numTokens: number): DispatchLayout {
    if (!Number.isInteger(numTokens) || numTokens < 0 || numTokens > this.maxTokens) {
      throw new DispatchLayoutError('OPTION', `numTokens is ${describe(numTokens)}`, {
        value: numTokens,
        remedy: `The workspace has room for 0 to ${this.maxTokens} tokens.`,
      });
    }
    const { out } = this.#memory;
    checkArraysAttached(out);
    const isTokenInRank = out.isTokenInRank.subarray(0, numTokens * this.#shape.numRanks);
    return new ComputedLayout({ ...out, isTokenInRank }, { ...this.#shape, numTokens }, notRecorded, this.device);
  }
}

/** So many small objects at most: more numbers of tokens than a decoder has. */
const maxLayouts = 1024;

/** The arrays of a workspace on a device that takes them from anywhere. */
class PlainWorkspace implements WorkspaceMemory {
  readonly topkIdx: TypedArrayOf[IdType];
  readonly out = new OutArrays();
  readonly #prepared: PreparedDevice;
  readonly #ids: TopkIdx;

  constructor(prepared: PreparedDevice, shape: LayoutShape, idType: IdType) {
    const { numTokens, numTopk } = shape;
    allocateOut(shape, this.out);
    try {
      this.topkIdx = new arrayClasses[idType](numTokens * numTopk);
    } catch (cause) {
      throw new DispatchLayoutError('OUT_OF_MEMORY', `topkIdx of ${numTokens} x ${numTopk} does not fit in memory`, {
        value: numTokens * numTopk,
        remedy: 'Lower maxTokens, and add up the counts.',
        cause,
      });
    }
    this.#prepared = prepared;
    this.#ids = stridedTopkIdx(this.topkIdx, idType, numTokens, numTopk, 0, numTopk, 1);
  }

  compute(numTokens: number, strict: boolean, layout: LayoutArrays): void {
    this.#ids.numTokens = numTokens;
    checkExtent(this.#ids, false);
    checkArraysAttached(layout);
    this.#prepared.computeLayout(this.#ids, strict, layout, true);
  }
}

function checkCount(name: string, count: number): void {
  if (Number.isInteger(count) && count >= 0) return;
  throw new DispatchLayoutError('OPTION', `${name} is ${describe(count)}`, {
    value: count,
    remedy: 'It must be an integer, 0 or more.',
  });
}
