/**
 * Workspaces: arrays in which a group computes layouts without copies and without allocations.
 *
 * @module
 */
import type { Device, WorkspaceMemory, WorkspaceShape } from './devices/device.ts';
import type { DeviceName } from './errors/availability.ts';
import { checkCount, wrongValue } from './errors/checks.ts';
import { DispatchLayoutError } from './errors/errors.ts';
import type { Partition } from './input/partition.ts';
import { checkExtent, checkSelections, readEmptyId, readTopkIdx } from './input/read-topk-idx.ts';
import { notRecorded } from './layout/event-overlap.ts';
import { ComputedLayout, type DispatchLayout } from './layout/layout.ts';
import { LayoutRequest } from './layout/layout-request.ts';
import { allocateOut, checkArraysAttached } from './layout/out-arrays.ts';
import { type AnyArrays, assignArrays, firstParts, type LayoutShape, type MaskForm } from './layout/outputs.ts';
import { readMask } from './options.ts';
import { type IdType, idTypeNames, idTypes, isIdType, type TypedArrayOf } from './values/id-types.ts';

/** Options of a {@link Workspace}: what it has room for. */
export interface WorkspaceOptions<Type extends IdType = 'int64', Mask extends MaskForm = 'bytes'> {
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
 * All layouts of a workspace are in the same arrays, and each run overwrites the results of the run before. Copy what
 * must last with `slice()`. The arrays stay valid as long as anybody holds them, whatever becomes of the workspace and
 * its group. On `wasm`, their memory never moves, and it cannot be transferred to another thread. A workspace may be
 * large: for each token it takes `numTopk` ids, as many positions of 2 bytes (4 beyond 4088 experts), and a row of the
 * mask.
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
  readonly #shape: Omit<LayoutShape, 'numTokens'> & { readonly mask: MaskForm };
  readonly #isStrict: boolean;
  /** The result objects of the runs so far, by number of tokens. */
  readonly #layouts = new Map<number, DispatchLayout<Mask>>();

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
    const mask = readMask(options.mask);
    this.#shape = { ...partition, numTopk, mask };
    const room: WorkspaceShape = {
      maxTokens,
      numTopk,
      idType,
      emptyId: readEmptyId(emptyId, idTypes[idType]),
      mask,
    };
    try {
      this.#memory = device.createWorkspace?.(partition, room) ?? new PlainWorkspace(device, partition, room);
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
    let layout = this.#layouts.get(numTokens);
    if (layout === undefined) {
      layout = this.#layoutOf(numTokens);
      if (this.#layouts.size === maxLayouts) this.#layouts.clear();
      this.#layouts.set(numTokens, layout);
    }
    this.#memory.compute(numTokens, this.#isStrict, layout);
    return layout;
  }

  #layoutOf(numTokens: number): DispatchLayout<Mask> {
    if (!Number.isInteger(numTokens) || numTokens < 0 || numTokens > this.maxTokens) {
      const remedy = `The workspace has room for 0 to ${this.maxTokens} tokens.`;
      throw wrongValue('OPTION', 'numTokens', numTokens, remedy);
    }
    const { out } = this.#memory;
    checkArraysAttached(out);
    const shape = { ...this.#shape, numTokens };
    const layout: unknown = new ComputedLayout(firstParts(out, shape), shape, notRecorded, this.device);
    return layout as DispatchLayout<Mask>;
  }
}

/** The largest number of result objects that are kept. No decoder uses so many different numbers of tokens. */
const maxLayouts = 1024;

/** The arrays of a workspace on a device that can read and write any memory. */
class PlainWorkspace implements WorkspaceMemory {
  readonly topkIdx: TypedArrayOf[IdType];
  readonly out: AnyArrays;
  readonly #device: Device;
  readonly #request = new LayoutRequest();

  constructor(device: Device, partition: Partition, shape: WorkspaceShape) {
    const { maxTokens, numTopk, idType, emptyId, mask } = shape;
    this.#device = device;
    this.topkIdx = new idTypes[idType].array(maxTokens * numTopk);
    const request = this.#request;
    request.isOutGiven = true;
    readTopkIdx({ data: this.topkIdx, shape: [maxTokens, numTopk] }, request.topkIdx);
    request.topkIdx.emptyId = emptyId;
    request.setShape(partition, mask);
    allocateOut(request);
    this.out = { ...request.out };
  }

  compute(numTokens: number, isStrict: boolean, layout: AnyArrays): void {
    const request = this.#request;
    request.topkIdx.numTokens = numTokens;
    request.setShape(request.partition, request.mask);
    request.isStrict = isStrict;
    checkExtent(request.topkIdx, false);
    checkArraysAttached(layout);
    assignArrays(request.out, layout);
    this.#device.submit(request);
  }
}
