/**
 * The arrays that a layout is written to: the caller's, checked, or new ones.
 *
 * @module
 */
import { describe } from './describe.ts';
import { DispatchLayoutError } from './errors.ts';
import type { LayoutArrays, LayoutShape } from './layout.ts';
import type { TopkIdx } from './topk-idx.ts';
import { bufferOf, byteOffsetOf, isDetached, lengthOf, overlap, typedArrayName } from './typed-array.ts';

/** The arrays of one call. */
export class OutArrays implements LayoutArrays {
  numTokensPerRank: Int32Array = none.counts;
  numTokensPerRdmaRank: Int32Array | null = null;
  numTokensPerExpert: Int32Array = none.counts;
  isTokenInRank: Uint8Array = none.rows;

  clear(): void {
    this.numTokensPerRank = none.counts;
    this.numTokensPerRdmaRank = null;
    this.numTokensPerExpert = none.counts;
    this.isTokenInRank = none.rows;
  }
}

const none = { counts: new Int32Array(0), rows: new Uint8Array(0) };

/**
 * Allocates arrays for a layout of this shape.
 *
 * @throws DispatchLayoutError `OUT_OF_MEMORY`
 */
export function allocateOut(shape: LayoutShape, arrays: OutArrays): void {
  const { numTokens, numExperts, numRanks, numRdmaRanks } = shape;
  try {
    arrays.numTokensPerRank = new Int32Array(numRanks);
    arrays.numTokensPerRdmaRank = numRdmaRanks === 1 ? null : new Int32Array(numRdmaRanks);
    arrays.numTokensPerExpert = new Int32Array(numExperts);
    arrays.isTokenInRank = new Uint8Array(numTokens * numRanks);
  } catch (cause) {
    throw new DispatchLayoutError(
      'OUT_OF_MEMORY',
      `isTokenInRank of ${numTokens} tokens x ${numRanks} ranks does not fit in memory`,
      { value: numTokens * numRanks, remedy: 'Split the tokens and add up the counts.', cause },
    );
  }
}

/**
 * Reads each array of `out` once, before anything else of the caller's is read: no getter runs between the checks of
 * {@link checkOut} and the writing.
 *
 * @throws DispatchLayoutError `OUT`
 */
export function readOut(out: LayoutArrays, arrays: OutArrays): void {
  if (typeof out !== 'object' || out === null) {
    throw new DispatchLayoutError('OUT', `out is ${describe(out)}`, {
      value: out,
      remedy: 'Pass an earlier result, or an object with the four result arrays.',
    });
  }
  const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank } = out;
  arrays.numTokensPerRank = numTokensPerRank;
  arrays.numTokensPerRdmaRank = numTokensPerRdmaRank;
  arrays.numTokensPerExpert = numTokensPerExpert;
  arrays.isTokenInRank = isTokenInRank;
}

/**
 * Checks the caller's arrays against the shape. `isTokenInRank` may be longer than needed, so that one array serves
 * changing numbers of tokens: it becomes a view of its first part.
 *
 * @throws DispatchLayoutError `OUT`, `DETACHED_BUFFER`
 */
export function checkOut(arrays: OutArrays, shape: LayoutShape, topkIdx: TopkIdx): void {
  checkArray('numTokensPerRank', arrays.numTokensPerRank, 'Int32Array', shape.numRanks);
  checkArray('numTokensPerExpert', arrays.numTokensPerExpert, 'Int32Array', shape.numExperts);
  checkArray('isTokenInRank', arrays.isTokenInRank, 'Uint8Array', shape.numTokens * shape.numRanks);
  if (shape.numRdmaRanks > 1) {
    checkArray('numTokensPerRdmaRank', arrays.numTokensPerRdmaRank, 'Int32Array', shape.numRdmaRanks);
  } else if (arrays.numTokensPerRdmaRank !== null && arrays.numTokensPerRdmaRank !== undefined) {
    throw new DispatchLayoutError('OUT', `out.numTokensPerRdmaRank is ${describe(arrays.numTokensPerRdmaRank)}`, {
      value: arrays.numTokensPerRdmaRank,
      remedy: 'It must be null within one node.',
    });
  } else {
    arrays.numTokensPerRdmaRank = null;
  }
  arrays.isTokenInRank = firstElements(arrays.isTokenInRank, shape.numTokens * shape.numRanks);
  checkDisjoint(arrays, topkIdx);
}

function firstElements(array: Uint8Array, length: number): Uint8Array {
  return lengthOf(array) === length ? array : new Uint8Array(bufferOf(array), byteOffsetOf(array), length);
}

function checkArray(name: string, array: unknown, type: 'Int32Array' | 'Uint8Array', length: number): void {
  if (typedArrayName(array) !== type) {
    throw new DispatchLayoutError('OUT', `out.${name} is ${describe(array)}`, {
      value: array,
      remedy: `It must be a ${type} of length ${length}.`,
    });
  }
  const view = array as Int32Array | Uint8Array;
  checkArrayAttached(name, view);
  const actual = lengthOf(view);
  if (type === 'Uint8Array' ? actual < length : actual !== length) {
    throw new DispatchLayoutError('OUT', `out.${name} has ${actual} elements`, {
      value: actual,
      remedy: `It needs ${type === 'Uint8Array' ? 'at least ' : ''}${length}.`,
    });
  }
}

function checkArrayAttached(name: string, array: ArrayBufferView): void {
  if (!isDetached(array)) return;
  throw new DispatchLayoutError('DETACHED_BUFFER', `the buffer under out.${name} was detached`, {
    value: array,
    remedy: 'It was transferred, to a worker for instance: allocate a new one.',
  });
}

/**
 * Checks that arrays whose lengths are right are still there.
 *
 * @throws DispatchLayoutError `DETACHED_BUFFER`
 */
export function checkArraysAttached(arrays: LayoutArrays): void {
  for (const [name, array] of Object.entries(arrays)) if (ArrayBuffer.isView(array)) checkArrayAttached(name, array);
}

/** Results written over the input, or over each other, would be silently wrong. */
function checkDisjoint(out: LayoutArrays, topkIdx: TopkIdx): void {
  if (haveBuffersOfTheirOwn(out, topkIdx)) return;
  const others: [string, ArrayBufferView][] = [['topkIdx', topkIdx.data]];
  for (const [name, array] of Object.entries(out) as [string, ArrayBufferView | null][]) {
    if (array === null) continue;
    for (const [otherName, other] of others) {
      if (!overlap(array, other)) continue;
      throw new DispatchLayoutError('OUT', `out.${name} shares memory with ${otherName}`, {
        value: array,
        remedy: 'Give every result array memory of its own.',
      });
    }
    others.push([`out.${name}`, array]);
  }
}

/** The usual case, decided without an allocation. */
function haveBuffersOfTheirOwn(out: LayoutArrays, topkIdx: TopkIdx): boolean {
  const ids = bufferOf(topkIdx.data);
  const ranks = bufferOf(out.numTokensPerRank);
  const experts = bufferOf(out.numTokensPerExpert);
  const rows = bufferOf(out.isTokenInRank);
  const nodes = out.numTokensPerRdmaRank === null ? null : bufferOf(out.numTokensPerRdmaRank);
  return (
    ids !== ranks &&
    ids !== experts &&
    ids !== rows &&
    ids !== nodes &&
    ranks !== experts &&
    ranks !== rows &&
    ranks !== nodes &&
    experts !== rows &&
    experts !== nodes &&
    rows !== nodes
  );
}
