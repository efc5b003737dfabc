/**
 * Joins arrays whose tokens follow one another, so that a file of many small arrays is read like one large array.
 *
 * @module
 */
import { idTypes } from '../../../values/id-types.ts';
import { denseStrides, sizeOf } from '../../../values/shape.ts';
import type { ByteSource } from '../../byte-source.ts';
import type { StoredArray } from '../../contents.ts';

/**
 * Joins neighbours along their first axis.
 *
 * @param arrays arrays whose shapes differ in the first axis alone.
 * @returns one array for all neighbours that are row-major and of one type; their names are those of the first.
 */
export function joinedArrays(arrays: readonly StoredArray[]): StoredArray[] {
  const groups: StoredArray[][] = [];
  for (const array of arrays) {
    const group = groups.at(-1);
    if (group !== undefined && isRowMajor(array) && isRowMajor(group[0]) && isOfOneType(array, group[0])) {
      group.push(array);
    } else groups.push([array]);
  }
  return groups.map((group) => (group.length === 1 ? group[0] : joined(group)));
}

function isRowMajor({ shape, strides }: StoredArray): boolean {
  return denseStrides(shape).every((stride, axis) => stride === strides[axis]);
}

function isOfOneType(left: StoredArray, right: StoredArray): boolean {
  return left.type === right.type && left.littleEndian === right.littleEndian;
}

function joined(arrays: readonly StoredArray[]): StoredArray {
  const [first] = arrays;
  const numRows = arrays.reduce((sum, { shape }) => sum + shape[0], 0);
  const shape = [numRows, ...first.shape.slice(1)];
  const { bytes } = idTypes[first.type];
  // Where each array begins in the bytes of all of them, and where the last one ends
  const starts = new Float64Array(arrays.length + 1);
  for (const [index, array] of arrays.entries()) starts[index + 1] = starts[index] + sizeOf(array.shape) * bytes;
  const size = starts[arrays.length];
  // There can be very many arrays, of which nothing else is kept
  const sources = arrays.map((array) => array.source);
  const positions = Float64Array.from(arrays, (array) => array.position);
  const source: ByteSource = {
    name: first.source.name,
    size,
    async read(position, into) {
      const end = Math.min(position + into.length, size);
      let index = lastAtMost(starts, position);
      for (let at = position; at < end; index++) {
        const wanted = Math.min(end, starts[index + 1]) - at;
        const part = into.subarray(at - position, at - position + wanted);
        const read = await sources[index].read(positions[index] + at - starts[index], part);
        at += read;
        if (read < wanted) return at - position;
      }
      return Math.max(0, end - position);
    },
  };
  return { ...first, shape, strides: denseStrides(shape), source, position: 0 };
}

/** The index of the last of some ascending numbers that is at most `limit`. The first one is. */
function lastAtMost(numbers: Float64Array, limit: number): number {
  let low = 0;
  let high = numbers.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (numbers[middle] <= limit) low = middle;
    else high = middle - 1;
  }
  return low;
}
