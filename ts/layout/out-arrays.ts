/**
 * The arrays that results are written to. They are the caller's, which are checked here, or new ones.
 *
 * @module
 */
import { checkAttached, wrongValue } from '../errors/checks.ts';
import { DispatchLayoutError } from '../errors/errors.ts';
import { withArticle } from '../values/describe.ts';
import { arrayOver } from '../values/id-types.ts';
import { bufferOf, byteOffsetOf, isArrayOf, lengthOf, overlap, typedArrayName } from '../values/typed-array.ts';
import { Computed } from './computed.ts';
import type { LayoutRequest } from './layout-request.ts';
import { type AnyArrays, OutArrays, type Output, type OutputArray } from './outputs.ts';

/**
 * Allocates the arrays of a request.
 *
 * @throws DispatchLayoutError `OUT_OF_MEMORY`
 */
export function allocateOut(request: LayoutRequest): void {
  const { out, lengths } = request;
  out.form.replace(out, lengths, ({ name, type }, array, length) => {
    try {
      // Both classes are named here, since taking them from the table makes a small call a tenth slower
      return (
        length === null ? null : type === 'int32' ? new Int32Array(length) : new Uint8Array(length)
      ) as typeof array;
    } catch (cause) {
      const { numTokens, numTopk, numRanks } = request;
      const width = out.form.kind === 'layout' ? `${numRanks} ranks` : `${numTopk} slots`;
      const size = `${numTokens} tokens x ${width}`;
      throw new DispatchLayoutError('OUT_OF_MEMORY', `${name} of ${size} does not fit in memory`, {
        value: length,
        remedy: `Split the tokens${out.form.kind === 'layout' ? ' and add up the counts' : ''}.`,
        cause,
      });
    }
  });
}

/**
 * Reads each array of `out` once. No getter of the caller can then run between the checks of {@link checkOut} and the
 * writing.
 *
 * @throws DispatchLayoutError `OUT`
 */
export function readOut(out: AnyArrays, arrays: OutArrays): void {
  if (typeof out !== 'object' || out === null) {
    throw wrongValue('OUT', 'out', out, 'Pass an earlier result, or an object with the result arrays.');
  }
  arrays.form.assign(arrays, out);
}

/**
 * Checks the caller's arrays against the shape of the request. An array of rows may be longer than needed, so that it
 * can serve changing numbers of tokens; a view of its first part then takes its place.
 *
 * @param out the object that the arrays were read from.
 * @throws DispatchLayoutError `OUT`, `DETACHED_BUFFER`
 */
export function checkOut(out: AnyArrays, request: LayoutRequest): void {
  const arrays = request.out;
  const known = out instanceof Computed ? out.known : undefined;
  const { form } = arrays;
  const isKnown = known !== undefined && known.arrays.form === form && form.haveSame(known.arrays, arrays);
  // This copy is made before a view of its first part takes the place of an array of rows
  const given = out instanceof Computed && !isKnown ? copyOf(arrays) : undefined;
  form.replace(arrays, request.lengths, checkArray);
  const { data } = request.topkIdx;
  const buffers = isKnown ? known.buffers : differentBuffers(arrays);
  if (buffers === undefined || buffers.includes(bufferOf(data))) checkDisjoint(arrays, data);
  else if (given !== undefined) (out as unknown as Computed).known = { arrays: given, buffers };
}

function copyOf(arrays: OutArrays): OutArrays {
  const copy = new OutArrays(arrays.form);
  arrays.form.assign(copy, arrays);
  return copy;
}

/** The buffers of the arrays; undefined if two arrays share a buffer. */
function differentBuffers(arrays: OutArrays): readonly ArrayBufferLike[] | undefined {
  const buffers: ArrayBufferLike[] = [];
  for (const { name } of arrays.form.outputs) {
    const array = arrays[name];
    if (array === null) continue;
    const buffer = bufferOf(array);
    if (buffers.includes(buffer)) return undefined;
    buffers.push(buffer);
  }
  return buffers;
}

function checkArray<Data extends OutputArray>(output: Output, array: Data, length: number | null): Data {
  const className = output.type === 'int32' ? 'Int32Array' : 'Uint8Array';
  if (length === null ? array === null : length > 0 && isArrayOf(array, className, length)) return array;
  return checkOtherArray(output, array, className, length) as Data;
}

/** Checks an array that may be longer or shorter than needed, empty, of another type, or not wanted. */
function checkOtherArray(
  { name, type, kind }: Output,
  array: unknown,
  className: string,
  length: number | null,
): OutputArray {
  if (length === null && array === undefined) return null;
  if (length === null || typedArrayName(array) !== className) {
    const remedy =
      length === null
        ? `It must be null ${kind === 'rows' ? "with mask: 'none'" : 'within one node'}.`
        : `It must be ${withArticle(className)} of length ${length}.`;
    throw wrongValue('OUT', `out.${name}`, array, remedy);
  }
  const view = array as Int32Array | Uint8Array;
  checkAttached(view, name, 'out.');
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

/**
 * Checks that arrays whose lengths are known to be right were not detached.
 *
 * @throws DispatchLayoutError `DETACHED_BUFFER`
 */
export function checkArraysAttached(arrays: OutArrays): void {
  for (const { name } of arrays.form.outputs) {
    const array = arrays[name];
    if (array !== null) checkAttached(array, name, 'out.');
  }
}

/** Checks that no arrays overlap: results written over the input, or over each other, would be silently wrong. */
function checkDisjoint(arrays: OutArrays, ids: ArrayBufferView): void {
  const others: [string, ArrayBufferView][] = [['topkIdx', ids]];
  for (const { name } of arrays.form.outputs) {
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
