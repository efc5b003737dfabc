/**
 * The arrays that a layout is written to: the caller's, checked, or new ones.
 *
 * @module
 */
import { DispatchLayoutError } from '../errors/errors.ts';
import { describe } from '../values/describe.ts';
import { arrayOver } from '../values/id-types.ts';
import {
  bufferOf,
  byteOffsetOf,
  isArrayOf,
  isDetached,
  lengthOf,
  overlap,
  typedArrayName,
} from '../values/typed-array.ts';
import type { LayoutRequest } from './layout-request.ts';
import {
  assignArrays,
  haveSameArrays,
  type LayoutArrays,
  type OutArrays,
  type Output,
  type OutputArray,
  outputNames,
  replaceArrays,
} from './outputs.ts';

/**
 * Allocates the arrays of a request.
 *
 * @throws DispatchLayoutError `OUT_OF_MEMORY`
 */
export function allocateOut(request: LayoutRequest): void {
  replaceArrays(request.out, request.lengths, ({ name, type }, _, length) => {
    try {
      return (length === null ? null : type === 'int32' ? new Int32Array(length) : new Uint8Array(length)) as typeof _;
    } catch (cause) {
      const size = `${request.numTokens} tokens x ${request.numRanks} ranks`;
      throw new DispatchLayoutError('OUT_OF_MEMORY', `${name} of ${size} does not fit in memory`, {
        value: length,
        remedy: 'Split the tokens and add up the counts.',
        cause,
      });
    }
  });
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
      remedy: 'Pass an earlier result, or an object with the result arrays.',
    });
  }
  assignArrays(arrays, out);
}

/**
 * Checks the caller's arrays against the shape of the request. One of rows may be longer than needed, so that it serves
 * changing numbers of tokens: it becomes a view of its first part.
 *
 * @param out the object that the arrays were read from.
 * @throws DispatchLayoutError `OUT`, `DETACHED_BUFFER`
 */
export function checkOut(out: LayoutArrays, request: LayoutRequest): void {
  const arrays = request.out;
  replaceArrays(arrays, request.lengths, checkArray);
  const { data } = request.topkIdx;
  const buffers = differentBuffers(out, arrays);
  if (buffers === undefined || buffers.includes(bufferOf(data))) checkDisjoint(arrays, data);
}

function checkArray<Data extends OutputArray>(output: Output, array: Data, length: number | null): Data {
  const className = output.type === 'int32' ? 'Int32Array' : 'Uint8Array';
  if (length === null ? array === null : length > 0 && isArrayOf(array, className, length)) return array;
  return checkOtherArray(output, array, className, length) as Data;
}

/** One that is not simply as long as is needed, or is empty, or should not be there. */
function checkOtherArray(
  { name, type, kind }: Output,
  array: unknown,
  className: string,
  length: number | null,
): OutputArray {
  if (length === null && array === undefined) return null;
  if (length === null || typedArrayName(array) !== className) {
    throw new DispatchLayoutError('OUT', `out.${name} is ${describe(array)}`, {
      value: array,
      remedy: length === null ? 'It must be null within one node.' : `It must be a ${className} of length ${length}.`,
    });
  }
  const view = array as Int32Array | Uint8Array;
  checkArrayAttached(name, view);
  const actual = lengthOf(view);
  if (actual === length) return view;
  if (kind === 'rows' && actual > length) {
    return arrayOver(type, bufferOf(view), byteOffsetOf(view), length) as OutputArray;
  }
  throw new DispatchLayoutError('OUT', `out.${name} has ${actual} elements`, {
    value: actual,
    remedy: `It needs ${kind === 'rows' ? 'at least ' : ''}${length}.`,
  });
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
  for (const name of outputNames) {
    const array = arrays[name];
    if (array !== null) checkArrayAttached(name, array);
  }
}

/** Arrays that lie in different buffers, and these buffers. */
interface KnownArrays extends LayoutArrays {
  readonly buffers: readonly ArrayBufferLike[];
}

/** What was found out of objects that were passed as `out`: V8 takes a while to tell the buffer of an array. */
const knownArrays = new WeakMap<LayoutArrays, KnownArrays>();

/** The buffers under the arrays, where they are different ones, which is the usual case. */
function differentBuffers(out: LayoutArrays, arrays: OutArrays): readonly ArrayBufferLike[] | undefined {
  const known = knownArrays.get(out);
  if (known !== undefined && haveSameArrays(known, arrays)) return known.buffers;
  const buffers = buffersOf(arrays);
  if (new Set(buffers).size < buffers.length) return undefined;
  knownArrays.set(out, { ...arrays, buffers });
  return buffers;
}

function buffersOf(arrays: OutArrays): readonly ArrayBufferLike[] {
  return outputNames.flatMap((name) => (arrays[name] === null ? [] : bufferOf(arrays[name])));
}

/** Results written over the input, or over each other, would be silently wrong. */
function checkDisjoint(arrays: OutArrays, ids: ArrayBufferView): void {
  const others: [string, ArrayBufferView][] = [['topkIdx', ids]];
  for (const name of outputNames) {
    const array = arrays[name];
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
