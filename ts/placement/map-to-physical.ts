/**
 * Maps the experts that tokens selected to the replicas that they go to.
 *
 * @module
 */
import { allocateInt32 } from '../errors/allocate.ts';
import { checkAttached, checkOptions, readStrictness, wrongValue } from '../errors/checks.ts';
import { checkExperts, expertOf } from '../input/expert-of.ts';
import { readTopkIdx, type TopkIdxInput } from '../input/read-topk-idx.ts';
import { TopkIdx } from '../input/topk-idx.ts';
import { lengthOf, overlap, typedArrayName } from '../values/typed-array.ts';
import { idsPerWindow, MapKernel } from './map-kernel.ts';
import { checkLayer, type PlacementPlan } from './plan.ts';
import { type ReplicaRule, type ReplicaTable, replicaTable, type TokenSource } from './replica-table.ts';

/** Options of {@link mapToPhysical}. */
export interface MappingOptions extends TokenSource {
  /**
   * The index of the first token, where the tokens are a piece of more: pieces then give what the whole gives. Default 0.
   */
  readonly firstToken?: number | undefined;
  /** An id that stands for an empty slot, beside -1, as in `getDispatchLayout`. */
  readonly emptyId?: number | bigint | undefined;
  /** What to do with an id that is neither an expert nor empty: report it (`throw`, default), or map it to -1. */
  readonly invalidExperts?: 'throw' | 'ignore' | undefined;
  /**
   * Where to write the ids: an `Int32Array` with room for them, such as `topkIdx` of a workspace. It must share no
   * memory with the ids that are read. If the call throws, it is untouched. Default: a new array.
   */
  readonly out?: Int32Array | undefined;
}

const mappingOptions: Readonly<Record<keyof MappingOptions, true>> = {
  sourceRank: true,
  numRanksPerNode: true,
  firstToken: true,
  emptyId: true,
  invalidExperts: true,
  out: true,
};

/** The ids of physical experts, in a form that `getDispatchLayout` takes. */
export interface PhysicalIds {
  /** `[numTokens, numTopk]`, row-major: the slot to which each selection goes, -1 for none. */
  readonly data: Int32Array;
  /** `[numTokens, numTopk]` */
  readonly shape: readonly [number, number];
}

/**
 * Maps the experts that tokens selected to physical experts: to one replica each, by a rule. Slots without a selection,
 * and selections of an expert that has no replica, become -1.
 *
 * The result can be passed to everything that takes `topkIdx`, with `plan.numPhysicalExperts` experts. No `placement` is
 * needed: physical experts are in equal, contiguous blocks.
 *
 * ```ts
 * import { getDispatchLayout } from 'dispatch-layout';
 * import { createPlan, mapToPhysical } from 'dispatch-layout/placement';
 *
 * const plan = createPlan([[0, 1, 2, 0]], { numRanks: 2 }); // expert 0 is on both ranks
 * const physical = mapToPhysical([[0, 1], [0, 2]], plan, 0, 'round_robin');
 * console.log(physical.data.join(' ')); // 0 1 3 2
 * console.log(getDispatchLayout(physical, 4, { numRanks: 2 }).numTokensPerRank.join(' ')); // 1 1
 * ```
 *
 * @param topkIdx the experts of each token, in any form on the host.
 * @param layer the index of the layer in the plan.
 * @throws InvalidExpertError for the first id that is neither empty nor an expert, unless such ids are ignored.
 * @throws DispatchLayoutError `TOPK_TYPE`, `TOPK_SHAPE`, `DETACHED_BUFFER`, `TOO_LARGE`, `OUT_OF_MEMORY`; `OUT`
 *   if `out` is no `Int32Array` with room for the ids, or shares memory with them; `OPTION` if there is no such layer,
 *   rule or option, or if `nearest` is not told the source rank; `NUM_RANKS_PER_NODE`
 */
export function mapToPhysical(
  topkIdx: TopkIdxInput,
  plan: PlacementPlan,
  layer: number,
  rule: ReplicaRule,
  options: MappingOptions = {},
): PhysicalIds {
  checkOptions(options, mappingOptions);
  checkLayer(plan, layer);
  const isStrict = readStrictness(options.invalidExperts);
  const table = replicaTable(plan, layer, rule, options);
  const ids = new TopkIdx();
  readTopkIdx(topkIdx, ids, options.emptyId);
  const { numTokens, numTopk } = ids;
  const firstToken = readFirstToken(options.firstToken, numTokens);
  const data = readOut(options.out, ids);
  const kernel = isForKernel(ids) ? MapKernel.place(table, numTokens * numTopk, numTopk) : null;
  if (kernel !== null) mapByKernel(kernel, ids, table, isStrict, firstToken, data, options.out !== undefined);
  else mapPlainly(ids, table, isStrict, firstToken, data);
  return { data, shape: [numTokens, numTopk] };
}

/** Whether the ids lie one after the other, in a type that the kernel reads, or that fits in what it reads. */
function isForKernel({ type, numTopk, tokenStride, slotStride, emptyId }: TopkIdx): boolean {
  if (type.name === 'uint64' || type.name === 'uint32' || numTopk === 0) return false;
  return tokenStride === numTopk && slotStride === 1 && (emptyId === null || emptyId === (Number(emptyId) | 0));
}

/**
 * Maps the ids window by window.
 *
 * @param isOutGiven whether `data` is the caller's. Then all ids are checked before anything is written to it.
 */
function mapByKernel(
  kernel: MapKernel,
  ids: TopkIdx,
  table: ReplicaTable,
  isStrict: boolean,
  firstToken: number,
  data: Int32Array,
  isOutGiven: boolean,
): void {
  const { data: all, type, numTokens, numTopk, offset } = ids;
  const emptyId = Number(ids.emptyId ?? -1);
  const tokensPerWindow = Math.floor(idsPerWindow / numTopk);
  const isChecking = isStrict && isOutGiven && numTokens > tokensPerWindow;
  for (const write of isChecking ? [false, true] : [true]) {
    for (let token = 0; token < numTokens; token += tokensPerWindow) {
      const count = Math.min(tokensPerWindow, numTokens - token);
      const first = offset + token * numTopk;
      const window = all.subarray(first, first + count * numTopk);
      const isValid = kernel.locate(window, type.name === 'int64', emptyId);
      if (isStrict && !isValid) checkExperts(ids, table.numExperts);
      if (write) data.set(kernel.choose(count, firstToken + token), token * numTopk);
    }
  }
}

/** The reference: what the kernel computes, for every form of ids, and where there is no WebAssembly. */
function mapPlainly(ids: TopkIdx, table: ReplicaTable, isStrict: boolean, firstToken: number, data: Int32Array): void {
  const { numTokens, numTopk, offset, tokenStride, slotStride, emptyId } = ids;
  const { numExperts, choices, counts, replicas, multiplier } = table;
  if (isStrict) checkExperts(ids, numExperts);
  for (let token = 0; token < numTokens; token++) {
    const number = Math.imul(firstToken + token, multiplier) >>> 0;
    for (let slot = 0; slot < numTopk; slot++) {
      const id = ids.data[offset + token * tokenStride + slot * slotStride];
      const choice = 2 * (expertOf(id, numExperts, emptyId) + 1);
      data[token * numTopk + slot] = replicas[choices[choice] + (number % counts[choices[choice + 1]])];
    }
  }
}

/** @throws DispatchLayoutError `OPTION` */
function readFirstToken(firstToken: number | undefined, numTokens: number): number {
  if (firstToken === undefined) return 0;
  if (Number.isInteger(firstToken) && firstToken >= 0 && firstToken + numTokens <= 2 ** 32) return firstToken;
  throw wrongValue('OPTION', 'firstToken', firstToken, 'Tokens are numbered from 0 to 2^32 - 1.');
}

/** @throws DispatchLayoutError `OUT`, `DETACHED_BUFFER`, `OUT_OF_MEMORY` */
function readOut(out: Int32Array | undefined, { data, numTokens, numTopk }: TopkIdx): Int32Array {
  const length = numTokens * numTopk;
  if (out === undefined) return allocateInt32(length, `a table of ${length} ids`, 'Map the tokens piece by piece.');
  if (typedArrayName(out) !== 'Int32Array') throw wrongValue('OUT', 'out', out, 'It must be an Int32Array.');
  checkAttached(out, 'out');
  if (lengthOf(out) < length) {
    throw wrongValue('OUT', 'the length of out', lengthOf(out), `There are ${length} ids to write.`);
  }
  if (overlap(out, data)) throw wrongValue('OUT', 'out', out, 'It must share no memory with topkIdx.');
  return lengthOf(out) === length ? out : out.subarray(0, length);
}
