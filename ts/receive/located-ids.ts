/**
 * A copy of `topkIdx` that has the expert of each selection, whatever the form of the ids was.
 *
 * @module
 */
import { allocateInt32 } from '../errors/allocate.ts';
import { checkExpert } from '../input/expert-of.ts';
import type { TopkIdx } from '../input/topk-idx.ts';
import { bufferOf, byteOffsetOf, lengthOf } from '../values/typed-array.ts';

/** Row-major int32 ids, with -1 for every selection of no expert. */
export interface LocatedIds {
  readonly data: Int32Array;
  /** `[numTokens, numTopk]` */
  readonly shape: readonly [number, number];
}

/**
 * Copies ids.
 *
 * @param isStrict whether an id that is neither an expert nor empty is an error.
 * @throws InvalidExpertError
 * @throws DispatchLayoutError `OUT_OF_MEMORY`
 */
export function locateIds(topkIdx: TopkIdx, numExperts: number, isStrict: boolean): LocatedIds {
  const { numTokens, numTopk, offset, tokenStride, slotStride, emptyId } = topkIdx;
  const what = `a copy of ${numTokens} tokens x ${numTopk} slots`;
  const located = allocateInt32(numTokens * numTopk, what, 'Split the tokens.');
  const { words, wordsPerId } = wordsOf(topkIdx);
  for (let token = 0, selection = 0; token < numTokens; token++) {
    for (let slot = 0; slot < numTopk; slot++, selection++) {
      const index = wordsPerId * (offset + token * tokenStride + slot * slotStride);
      const id = words[index];
      const isExpert = id >= 0 && id < numExperts && id !== emptyId && (wordsPerId === 1 || words[index + 1] === 0);
      located[selection] = isExpert ? id : -1;
      if (!isExpert && isStrict) checkExpert(topkIdx, token, slot, numExperts);
    }
  }
  return { data: located, shape: [numTokens, numTopk] };
}

/**
 * The ids as numbers. Those of 64 bits are read as two words, of which the first is the lower one: a bigint for each of
 * them would take ten times as long.
 */
function wordsOf({ data, type }: TopkIdx): { readonly words: ArrayLike<number>; readonly wordsPerId: 1 | 2 } {
  if (type.bytes < 8) return { words: data as ArrayLike<number>, wordsPerId: 1 };
  return { words: new Int32Array(bufferOf(data), byteOffsetOf(data), 2 * lengthOf(data)), wordsPerId: 2 };
}
