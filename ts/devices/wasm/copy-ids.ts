/**
 * Copies a range of tokens of `topkIdx` into a dense array, whatever its strides.
 *
 * @module
 */
import type { TopkIdx } from '../../input/topk-idx.ts';
import { arrayOver, type IdType, type IntegerArray, idTypes } from '../../values/id-types.ts';
import { bufferOf, byteLengthOf, byteOffsetOf, lengthOf, setElements } from '../../values/typed-array.ts';

/** Copies tokens `[firstToken, firstToken + numTokens)` to the start of `target`, which has the type of the data. */
export function copyIds(topkIdx: TopkIdx, firstToken: number, numTokens: number, target: IntegerArray): void {
  const { data, numTopk, tokenStride, slotStride } = topkIdx;
  const offset = topkIdx.offset + firstToken * tokenStride;
  const isDense = (slotStride === 1 || numTopk === 1) && (tokenStride === numTopk || numTokens === 1);
  if (isDense) {
    const length = numTokens * numTopk;
    const isWhole = offset === 0 && lengthOf(data) === length;
    setElements(target, isWhole ? data : viewOf(data, topkIdx.type.name, offset, length));
  } else if (target.BYTES_PER_ELEMENT === 8) {
    // The ids are copied as pairs of 32-bit words, since reading a 64-bit element would make a BigInt
    gatherPairs(words(data), offset, numTokens, numTopk, tokenStride, slotStride, words(target));
  } else {
    gather(data as Int32Array, offset, numTokens, numTopk, tokenStride, slotStride, target as Int32Array);
  }
}

/** Views of the arrays of callers, by offset: an array that is read again then needs no new ones. */
const knownViews = new WeakMap<IntegerArray, Map<number, IntegerArray>>();
/** The largest number of views that are kept for one array. It is enough for 64 MiB in windows of 64 KiB. */
const maxKnownViews = 1024;

function viewOf(data: IntegerArray, idType: IdType, offset: number, length: number): IntegerArray {
  let views = knownViews.get(data);
  if (views === undefined) {
    views = new Map();
    knownViews.set(data, views);
  }
  let view = views.get(offset);
  if (view === undefined || lengthOf(view) !== length) {
    view = arrayOver(idType, bufferOf(data), byteOffsetOf(data) + offset * idTypes[idType].bytes, length);
    if (views.size === maxKnownViews) views.clear();
    views.set(offset, view);
  }
  return view;
}

function words(array: IntegerArray): Int32Array {
  return new Int32Array(bufferOf(array), byteOffsetOf(array), byteLengthOf(array) / 4);
}

function gather(
  data: Int32Array,
  offset: number,
  numTokens: number,
  numTopk: number,
  tokenStride: number,
  slotStride: number,
  target: Int32Array,
): void {
  for (let token = 0, to = 0; token < numTokens; token++) {
    const row = offset + token * tokenStride;
    for (let slot = 0; slot < numTopk; slot++) target[to++] = data[row + slot * slotStride];
  }
}

function gatherPairs(
  data: Int32Array,
  offset: number,
  numTokens: number,
  numTopk: number,
  tokenStride: number,
  slotStride: number,
  target: Int32Array,
): void {
  for (let token = 0, to = 0; token < numTokens; token++) {
    const row = offset + token * tokenStride;
    for (let slot = 0; slot < numTopk; slot++) {
      const from = 2 * (row + slot * slotStride);
      target[to++] = data[from];
      target[to++] = data[from + 1];
    }
  }
}
