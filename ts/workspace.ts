/**
 * Workspaces: arrays in which a group computes layouts without copies and without allocations.
 *
 * @module
 */
import { orderModule } from '#platform';
import type { Device, WorkspaceMemory, WorkspaceShape } from './devices/device.ts';
import { createWorkspace as createWasmWorkspace } from './devices/wasm/workspace.ts';
import type { DeviceName } from './errors/availability.ts';
import { checkCount, refuseOrder, wrongValue } from './errors/checks.ts';
import { DispatchLayoutError } from './errors/errors.ts';
import type { Partition } from './input/partition.ts';
import { checkExtent, checkSelections, readEmptyId, readTopkIdx } from './input/read-topk-idx.ts';
import { notRecorded } from './layout/event-overlap.ts';
import { checkRows, type ExpertPermutation } from './layout/expert-permutation.ts';
import { type DispatchLayout, layoutComputations } from './layout/layout.ts';
import { LayoutRequest } from './layout/layout-request.ts';
import { allocateOut, checkArraysAttached } from './layout/out-arrays.ts';
import {
  type Computation,
  type ComputationKind,
  firstParts,
  type MaskForm,
  type OutArrays,
  type OutputShape,
} from './layout/outputs.ts';
import type { RankPermutation } from './layout/rank-permutation.ts';
import { readMask } from './options.ts';
import { readWorkspaceOrders, type WorkspaceOrders } from './order-options.ts';
import { expertTask, rankTask } from './order-tasks.ts';
import { layoutTask } from './task.ts';
import { type IdType, idTypeNames, idTypes, isIdType, type TypedArrayOf } from './values/id-types.ts';

/** Options of a {@link Workspace}: what it has room for. */
export interface WorkspaceOptions<Type extends IdType = 'int64', Mask extends MaskForm = 'bytes'>
  extends WorkspaceOrders {
  /** The number of experts over all ranks. */
  readonly numExperts: number;
  /** The largest number of tokens of a layout. */
  readonly maxTokens: number;
  /** The number of slots of each token. */
  readonly numTopk: number;
  /** The element type of the ids. Default `int64`, the type that an ONNX TopK returns. */
  readonly idType?: Type | undefined;
  /** What to do with invalid ids, as in `getDispatchLayout`. Default `throw`. */
  readonly invalidExperts?: 'throw' | 'ignore' | undefined;
  /** An id that stands for an empty slot, beside -1, as in `getDispatchLayout`. */
  readonly emptyId?: number | bigint | undefined;
  /** The form of `isTokenInRank`, as in `getDispatchLayout`. Default `bytes`. */
  readonly mask?: Mask | undefined;
}

export const workspaceOptions: Readonly<Record<keyof WorkspaceOptions, true>> = {
  numExperts: true,
  maxTokens: true,
  numTopk: true,
  idType: true,
  invalidExperts: true,
  emptyId: true,
  mask: true,
  expertPermutation: true,
  rankPermutation: true,
};

/**
 * Input and output arrays in fixed memory of the device, made by `group.createWorkspace`. Ids that are written to
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
 * A workspace that was made for it also computes the two orders of rows, of the same ids:
 *
 * ```ts
 * import { ExpertGroup } from 'dispatch-layout';
 *
 * const shape = { numExperts: 8, maxTokens: 128, numTopk: 2 };
 * const workspace = new ExpertGroup({ numRanks: 4 }).createWorkspace({ ...shape, expertPermutation: { alignment: 2 } });
 * workspace.topkIdx.set([0n, 5n, 6n, -1n]);
 * console.log(workspace.runExpertPermutation(2).expertOffsets.join(' ')); // 0 2 2 2 2 2 4 6 6
 * ```
 *
 * All layouts of a workspace are in the same arrays, and each run overwrites the results of the run before. Copy what
 * must last with `slice()`. The arrays stay valid as long as anybody holds them, whatever becomes of the workspace and
 * its group. On `wasm`, their memory never moves, and it cannot be transferred to another thread. A workspace may be
 * large: for each token it takes `numTopk` ids, as many positions of 2 bytes (4 beyond 4088 experts), and a row of the
 * mask. The orders of rows take 8 to 12 bytes for each id.
 */
export class Workspace<Type extends IdType = IdType, Mask extends MaskForm = MaskForm> {
  /** `[maxTokens, numTopk]`, row-major: the experts of each token, -1 for none. A run leaves them as they are. */
  readonly topkIdx: TypedArrayOf[Type];
  /** The largest number of tokens of a run. */
  readonly maxTokens: number;
  /** The number of slots of each token. */
  readonly numTopk: number;
  /** The device that computes. */
  readonly device: DeviceName;
  readonly #memory: WorkspaceMemory;
  readonly #partition: Partition;
  readonly #isStrict: boolean;
  readonly #computations: WorkspaceShape;
  /** The results of the runs so far, by kind and number of tokens. */
  readonly #results: Readonly<Record<ComputationKind, Map<number, Result>>> = {
    layout: new Map(),
    byExpert: new Map(),
    byRank: new Map(),
  };

  /** @internal Use `group.createWorkspace`. */
  constructor(device: Device, partition: Partition, isStrict: boolean, options: WorkspaceOptions<Type, Mask>) {
    if (!device?.submit) {
      throw wrongValue('OPTION', 'the device of the workspace', device, 'Use group.createWorkspace(...).');
    }
    const { maxTokens, numTopk, idType = 'int64' as Type, emptyId } = options;
    checkCount('maxTokens', maxTokens);
    checkCount('numTopk', numTopk);
    checkSelections(maxTokens, numTopk);
    if (!isIdType(idType)) {
      throw wrongValue('OPTION', 'idType', idType, `It must be one of ${idTypeNames.join(', ')}.`);
    }
    this.maxTokens = maxTokens;
    this.numTopk = numTopk;
    this.device = device.name;
    this.#isStrict = isStrict;
    this.#partition = partition;
    const room: WorkspaceShape = {
      maxTokens,
      numTopk,
      idType,
      emptyId: readEmptyId(emptyId, idTypes[idType]),
      layout: layoutComputations[readMask(options.mask)],
      ...readWorkspaceOrders(options, partition.numExperts),
    };
    if (room.byExpert !== null) checkRows(maxTokens * numTopk, room.byExpert);
    this.#computations = room;
    try {
      // It is not a method of the device, so that a program without workspaces does not contain it
      const memory = device.name === 'wasm' ? createWasmWorkspace(partition, room, orderModule) : null;
      this.#memory = memory ?? new PlainWorkspace(device, partition, room);
    } catch (cause) {
      const what = `a workspace of ${maxTokens} tokens x ${numTopk} slots on device '${device.name}'`;
      throw new DispatchLayoutError('OUT_OF_MEMORY', `${what} does not fit in memory`, {
        value: maxTokens,
        remedy: 'Lower maxTokens, and add up the counts.',
        cause,
      });
    }
    this.topkIdx = this.#memory.topkIdx as TypedArrayOf[Type];
  }

  /**
   * Computes the layout of the first `numTokens` tokens of `topkIdx`. There is one result object for each number of
   * tokens, which later runs with as many tokens return again. At most 1024 of these objects are kept.
   *
   * @param numTokens 0 to `maxTokens`. Default `maxTokens`.
   * @throws {@link InvalidExpertError} for the first id that is neither empty nor an expert, unless such ids are
   *   ignored. The results of the run before are then untouched.
   * @throws {@link DispatchLayoutError} `OPTION` if `numTokens` is outside this range.
   */
  run(numTokens: number = this.maxTokens): DispatchLayout<Mask> {
    return this.#run(this.#computations.layout, numTokens) as DispatchLayout<Mask>;
  }

  /**
   * Computes the order by expert of the first `numTokens` tokens of `topkIdx`, as `getExpertPermutation` does. Its
   * results are in arrays of their own. Result objects are kept as those of {@link run} are.
   *
   * @param numTokens 0 to `maxTokens`. Default `maxTokens`.
   * @throws {@link InvalidExpertError} as {@link run} does.
   * @throws {@link DispatchLayoutError} `OPTION` if the workspace was made without `expertPermutation`, or if
   *   `numTokens` is outside this range.
   */
  runExpertPermutation(numTokens: number = this.maxTokens): ExpertPermutation {
    const { byExpert } = this.#computations;
    return this.#run(byExpert ?? refuseOrder('expertPermutation'), numTokens) as ExpertPermutation;
  }

  /**
   * Computes the order by rank of the first `numTokens` tokens of `topkIdx`, as `getRankPermutation` does. Its results
   * are in arrays of their own. Result objects are kept as those of {@link run} are.
   *
   * @param numTokens 0 to `maxTokens`. Default `maxTokens`.
   * @throws {@link InvalidExpertError} as {@link run} does.
   * @throws {@link DispatchLayoutError} `OPTION` if the workspace was made without `rankPermutation`, or if
   *   `numTokens` is outside this range.
   */
  runRankPermutation(numTokens: number = this.maxTokens): RankPermutation {
    const { byRank } = this.#computations;
    return this.#run(byRank ?? refuseOrder('rankPermutation'), numTokens) as RankPermutation;
  }

  #run(computation: Computation, numTokens: number): unknown {
    const results = this.#results[computation.kind];
    let result = results.get(numTokens);
    if (result === undefined) {
      result = this.#resultOf(computation, numTokens);
      if (results.size === maxResults) results.clear();
      results.set(numTokens, result);
    }
    this.#memory.compute(computation, numTokens, this.#isStrict, result.arrays);
    return result.object;
  }

  #resultOf(computation: Computation, numTokens: number): Result {
    if (!Number.isInteger(numTokens) || numTokens < 0 || numTokens > this.maxTokens) {
      const remedy = `The workspace has room for 0 to ${this.maxTokens} tokens.`;
      throw wrongValue('OPTION', 'numTokens', numTokens, remedy);
    }
    const out = this.#memory.outOf(computation);
    checkArraysAttached(out);
    const { numExperts, numRanks, numRdmaRanks } = this.#partition;
    const shape: OutputShape = { numTokens, numTopk: this.numTopk, numExperts, numRanks, numRdmaRanks, computation };
    const arrays = firstParts(out, shape);
    return { arrays, object: computation.form.resultOf(arrays, shape, notRecorded, this.device) };
  }
}

/** What a run writes to, and what it returns. */
interface Result {
  readonly arrays: OutArrays;
  readonly object: object;
}

/** The largest number of result objects that are kept. No decoder uses so many different numbers of tokens. */
const maxResults = 1024;

/** The arrays of a workspace on a device that can read and write any memory. */
class PlainWorkspace implements WorkspaceMemory {
  readonly topkIdx: TypedArrayOf[IdType];
  readonly #device: Device;
  readonly #requests = new Map<Computation, LayoutRequest>();
  /** The results of all tokens. */
  readonly #out = new Map<Computation, OutArrays>();

  constructor(device: Device, partition: Partition, shape: WorkspaceShape) {
    const { maxTokens, numTopk, idType, emptyId, layout, byExpert, byRank } = shape;
    this.#device = device;
    this.topkIdx = new idTypes[idType].array(maxTokens * numTopk);
    for (const [{ form, onCpu }, computation] of [
      [layoutTask, layout],
      [expertTask, byExpert],
      [rankTask, byRank],
    ] as const) {
      if (computation === null) continue;
      const request = new LayoutRequest(form, onCpu);
      request.isOutGiven = true;
      readTopkIdx({ data: this.topkIdx, shape: [maxTokens, numTopk] }, request.topkIdx);
      request.topkIdx.emptyId = emptyId;
      request.setShape(partition, computation);
      allocateOut(request);
      this.#requests.set(computation, request);
      this.#out.set(computation, firstParts(request.out, request));
    }
  }

  outOf(computation: Computation): OutArrays {
    return this.#out.get(computation) as OutArrays;
  }

  compute(computation: Computation, numTokens: number, isStrict: boolean, arrays: OutArrays): void {
    const request = this.#requests.get(computation) as LayoutRequest;
    request.topkIdx.numTokens = numTokens;
    request.setShape(request.partition, computation);
    request.isStrict = isStrict;
    checkExtent(request.topkIdx, false);
    checkArraysAttached(arrays);
    request.out.form.assign(request.out, arrays);
    this.#device.submit(request);
  }
}
