/**
 * The arrays that a layout is written to: the caller's, checked, or new ones.
 *
 * @module
 */
import { describe } from './describe.ts';
import { DispatchLayoutError } from './errors.ts';
import type { LayoutArrays, LayoutShape } from './layout.ts';
import { allocateShared } from './shared-memory.ts';
import type { TopkIdx } from './topk-idx.ts';
import { bufferOf, byteOffsetOf, isDetached, lengthOf, overlap, typedArrayName } from './typed-array.ts';

/**
 * Allocates arrays for a layout of this shape.
 *
 * @param inSharedMemory whether other threads are to write them: each is then over a SharedArrayBuffer.
 * @throws DispatchLayoutError `OUT_OF_MEMORY`
 */
export function allocateOut(shape: LayoutShape, inSharedMemory: boolean): LayoutArrays {
  const { numTokens, numExperts, numRanks, numRdmaRanks } = shape;
  const counts = (length: number) =>
    inSharedMemory ? new Int32Array(allocateShared(4 * length)) : new Int32Array(length);
  const flags = (length: number) => (inSharedMemory ? new Uint8Array(allocateShared(length)) : new Uint8Array(length));
  try {
    return {
      numTokensPerRank: counts(numRanks),
      numTokensPerRdmaRank: numRdmaRanks === 1 ? null : counts(numRdmaRanks),
      numTokensPerExpert: counts(numExperts),
      isTokenInRank: flags(numTokens * numRanks),
    };
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
export function readOut(out: LayoutArrays): LayoutArrays {
  if (typeof out !== 'object' || out === null) {
    throw new DispatchLayoutError('OUT', `out is ${describe(out)}`, {
      value: out,
      remedy: 'Pass an earlier result, or an object with the four result arrays.',
    });
  }
  const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank } = out;
  return { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank };
}

/**
 * Checks the caller's arrays against the shape. `isTokenInRank` may be longer than needed, so that one array serves
 * changing numbers of tokens.
 *
 * @throws DispatchLayoutError `OUT`, `DETACHED_BUFFER`
 */
export function checkOut(out: LayoutArrays, shape: LayoutShape, topkIdx: TopkIdx): LayoutArrays {
  const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank } = out;
  checkArray('numTokensPerRank', numTokensPerRank, 'Int32Array', shape.numRanks);
  checkArray('numTokensPerExpert', numTokensPerExpert, 'Int32Array', shape.numExperts);
  checkArray('isTokenInRank', isTokenInRank, 'Uint8Array', shape.numTokens * shape.numRanks);
  if (shape.numRdmaRanks > 1) {
    checkArray('numTokensPerRdmaRank', numTokensPerRdmaRank, 'Int32Array', shape.numRdmaRanks);
  } else if (numTokensPerRdmaRank !== null && numTokensPerRdmaRank !== undefined) {
    throw new DispatchLayoutError('OUT', `out.numTokensPerRdmaRank is ${describe(numTokensPerRdmaRank)}`, {
      value: numTokensPerRdmaRank,
      remedy: 'It must be null within one node.',
    });
  }
  const arrays = {
    numTokensPerRank,
    numTokensPerRdmaRank: shape.numRdmaRanks === 1 ? null : numTokensPerRdmaRank,
    numTokensPerExpert,
    isTokenInRank: firstElements(isTokenInRank, shape.numTokens * shape.numRanks),
  };
  checkDisjoint(arrays, topkIdx);
  return arrays;
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
  if (isDetached(view)) {
    throw new DispatchLayoutError('DETACHED_BUFFER', `the buffer under out.${name} was detached`, {
      value: array,
      remedy: 'It was transferred, to a worker for instance: allocate a new one.',
    });
  }
  const actual = lengthOf(view);
  if (type === 'Uint8Array' ? actual < length : actual !== length) {
    throw new DispatchLayoutError('OUT', `out.${name} has ${actual} elements`, {
      value: actual,
      remedy: `It needs ${type === 'Uint8Array' ? 'at least ' : ''}${length}.`,
    });
  }
}

/** Results written over the input, or over each other, would be silently wrong. */
function checkDisjoint(out: LayoutArrays, topkIdx: TopkIdx): void {
  const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank } = out;
  const buffers = [topkIdx.data, numTokensPerRank, numTokensPerExpert, isTokenInRank].map(bufferOf);
  if (numTokensPerRdmaRank !== null) buffers.push(bufferOf(numTokensPerRdmaRank));
  let isShared = false;
  for (let i = 1; i < buffers.length; i++) {
    for (let j = 0; j < i; j++) isShared ||= buffers[i] === buffers[j];
  }
  if (!isShared) return;

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
