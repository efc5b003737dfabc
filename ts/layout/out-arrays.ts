/**
 * The arrays that a layout is written to: the caller's, checked, or new ones.
 *
 * @module
 */
import { DispatchLayoutError } from '../errors/errors.ts';
import type { TopkIdx } from '../input/topk-idx.ts';
import { describe } from '../values/describe.ts';
import { arrayOver } from '../values/id-types.ts';
import { bufferOf, byteOffsetOf, isDetached, lengthOf, overlap, typedArrayName } from '../values/typed-array.ts';
import { ComputedLayout } from './layout.ts';
import {
  assignArrays,
  haveSameArrays,
  type LayoutArrays,
  type LayoutShape,
  lengthOfOutput,
  OutArrays,
  type Output,
  type OutputArray,
  type OutputName,
  outputNames,
  replaceArrays,
} from './outputs.ts';

const emptyArrays = new OutArrays();

/** Lets go of the arrays. */
export function clearArrays(arrays: OutArrays): void {
  assignArrays(arrays, emptyArrays);
}

/**
 * Allocates arrays for a layout of this shape.
 *
 * @throws DispatchLayoutError `OUT_OF_MEMORY`
 */
export function allocateOut(shape: LayoutShape, arrays: OutArrays): void {
  replaceArrays(arrays, shape, newArray);
}

function newArray<Data extends OutputArray>(name: OutputName, output: Output, _: Data, shape: LayoutShape): Data {
  const length = lengthOfOutput(output, shape);
  if (length === null) return null as Data;
  try {
    return (output.type === 'int32' ? new Int32Array(length) : new Uint8Array(length)) as Data;
  } catch (cause) {
    const size = `${shape.numTokens} tokens x ${shape.numRanks} ranks`;
    throw new DispatchLayoutError('OUT_OF_MEMORY', `${name} of ${size} does not fit in memory`, {
      value: length,
      remedy: 'Split the tokens and add up the counts.',
      cause,
    });
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
      remedy: 'Pass an earlier result, or an object with the result arrays.',
    });
  }
  assignArrays(arrays, out);
}

/**
 * Checks the caller's arrays against the shape. One of rows may be longer than needed, so that it serves changing numbers
 * of tokens: it becomes a view of its first part.
 *
 * @param out the object that the arrays were read from.
 * @throws DispatchLayoutError `OUT`, `DETACHED_BUFFER`
 */
export function checkOut(out: LayoutArrays, arrays: OutArrays, shape: LayoutShape, topkIdx: TopkIdx): void {
  replaceArrays(arrays, shape, checkArray);
  const buffers = differentBuffers(out, arrays);
  if (buffers === undefined || buffers.includes(bufferOf(topkIdx.data))) checkDisjoint(arrays, topkIdx);
}

function checkArray<Data extends OutputArray>(name: OutputName, output: Output, array: Data, shape: LayoutShape): Data {
  const length = lengthOfOutput(output, shape);
  if (length === null) return checkAbsent(name, array) as Data;
  const { type, kind } = output;
  const arrayName = type === 'int32' ? 'Int32Array' : 'Uint8Array';
  if (typedArrayName(array) !== arrayName) {
    throw new DispatchLayoutError('OUT', `out.${name} is ${describe(array)}`, {
      value: array,
      remedy: `It must be a ${arrayName} of length ${length}.`,
    });
  }
  const view = array as Int32Array | Uint8Array;
  checkArrayAttached(name, view);
  const actual = lengthOf(view);
  if (actual === length) return array;
  if (kind === 'rows' && actual > length) return arrayOver(type, bufferOf(view), byteOffsetOf(view), length) as Data;
  throw new DispatchLayoutError('OUT', `out.${name} has ${actual} elements`, {
    value: actual,
    remedy: `It needs ${kind === 'rows' ? 'at least ' : ''}${length}.`,
  });
}

function checkAbsent(name: OutputName, array: unknown): null {
  if (array === null || array === undefined) return null;
  throw new DispatchLayoutError('OUT', `out.${name} is ${describe(array)}`, {
    value: array,
    remedy: 'It must be null within one node.',
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

/**
 * The buffers under the arrays, where they are different ones: this is the usual case. An earlier result keeps the answer,
 * since V8 takes a while to tell the buffer of an array.
 */
function differentBuffers(out: LayoutArrays, arrays: OutArrays): readonly ArrayBufferLike[] | undefined {
  if (!(out instanceof ComputedLayout)) return findDifferentBuffers(arrays);
  if (out.known !== undefined && haveSameArrays(out.known, arrays)) return out.known.buffers;
  const buffers = findDifferentBuffers(arrays);
  out.known = buffers && Object.assign(new OutArrays(), arrays, { buffers });
  return buffers;
}

function findDifferentBuffers(arrays: OutArrays): readonly ArrayBufferLike[] | undefined {
  const buffers = outputNames.flatMap((name) => (arrays[name] === null ? [] : bufferOf(arrays[name])));
  return new Set(buffers).size === buffers.length ? buffers : undefined;
}

/** Results written over the input, or over each other, would be silently wrong. */
function checkDisjoint(arrays: OutArrays, topkIdx: TopkIdx): void {
  const others: [string, ArrayBufferView][] = [['topkIdx', topkIdx.data]];
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
