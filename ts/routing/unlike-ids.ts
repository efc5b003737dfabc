/**
 * Tells arrays that are no ids, where only their numbers say so: counts of experts, placements, and tables of flags. A
 * token selects different experts, so that the rows of ids do not hold an id twice. Counts do, as soon as there are many
 * experts. And the counts of all layers of a model add up to the same number, since every token passes through each of
 * them.
 *
 * @module
 */
import { idTypes } from '../values/id-types.ts';
import { denseStrides, sizeOf } from '../values/shape.ts';
import type { StoredArray } from './contents.ts';
import { Gatherer } from './gather.ts';

/** What an array seems to be instead of ids. */
export type UnlikeIds =
  | {
      readonly kind: 'counts';
      /** Its axes, as the option `axes` names them. */
      readonly axes: string;
      /** The rest of a sentence. */
      readonly because: string;
    }
  /** Something else: the rest of the sentence `it is …`. */
  | { readonly kind: 'other'; readonly what: string };

/** How many rows are looked at. */
const maxRows = 64;
/** Longer rows are not looked at: no model has so many experts. */
const maxColumns = 2 ** 13;
/** Fewer columns can be the slots of a token, of which a made-up file may hold some twice. */
const minColumnsOfTwice = 16;
/** With fewer rows or columns, equal sums can be an accident. */
const minRowsOfSums = 4;
const minColumnsOfSums = 8;
/** More layers than any model has. */
const maxLayers = 256;

/**
 * Looks at the first rows of an array.
 *
 * @returns what the array seems to be, or null if it can be ids.
 */
export async function findUnlikeIds(array: StoredArray): Promise<UnlikeIds | null> {
  const { shape } = array;
  const numColumns = shape[shape.length - 1];
  if (shape.length > 3 || sizeOf(shape) === 0 || numColumns > maxColumns) return null;
  const groups = (await firstRows(array)).map((group) => group.filter(hasSeveral));
  const rows = groups.flat();
  const largest = rows.reduce((most, row) => row.reduce((max, value) => Math.max(max, value), most), -1);
  const isTooLong = (row: readonly number[]): boolean => row.filter((value) => value >= 0).length > largest + 1;
  const isTable = largest >= 1 && 2 * rows.filter(isTooLong).length > rows.length;
  const isPlacement = isTable && rows.every((row) => new Set(row).size === largest + 1 && !row.includes(-1));
  if (isPlacement && numColumns >= minColumnsOfTwice) {
    const what = `a placement of experts: each row of ${numColumns} has all numbers from 0 to ${largest}`;
    return { kind: 'other', what };
  }
  const because = whyCounts(groups, largest);
  if (because !== null) {
    const isOfLayers = shape[shape.length - 2] <= maxLayers;
    const axes = [...(shape.length === 3 ? ['steps'] : []), isOfLayers ? 'layers' : 'steps', 'experts'].join(',');
    return { kind: 'counts', axes, because };
  }
  return isTable ? { kind: 'other', what: `a table of values up to ${largest} in rows of ${numColumns}` } : null;
}

/** Whether a row holds different numbers. Rows of one number can be padding or of dense layers. */
function hasSeveral(row: readonly number[]): boolean {
  return new Set(row).size > 1;
}

/** Why rows are counts, or null if they need not be. */
function whyCounts(groups: readonly (readonly number[][])[], largest: number): string | null {
  const rows = groups.flat();
  if (rows.some((row) => row.some((value) => value < 0))) return null;
  const numColumns = rows[0]?.length ?? 0;
  // Zero and the largest number may stand for empty slots
  const holdsTwice = (row: readonly number[]): boolean => {
    const values = row.filter((value) => value > 0 && value < largest);
    return new Set(values).size < values.length;
  };
  const numTwice = rows.filter(holdsTwice).length;
  if (numColumns >= minColumnsOfTwice && rows.length > 1 && 2 * numTwice >= rows.length) {
    return `${numTwice} of ${rows.length} rows hold a number twice, and a token selects different experts`;
  }
  // A sum that is alone in its group is equal to no other
  const numEqual = rows.length - groups.filter((group) => group.length > 0).length + 1;
  if (numEqual < minRowsOfSums || numColumns < minColumnsOfSums || largest < 2 * numColumns) return null;
  // Tokens that select all of the same experts have equal sums, too
  const areSorted = new Set(rows.map((row) => [...row].sort((left, right) => left - right).join()));
  const sumsOf = (group: readonly number[][]): Set<number> =>
    new Set(group.map((row) => row.reduce((sum, value) => sum + value, 0)));
  const areEqual = groups.every((group) => sumsOf(group).size <= 1);
  return areEqual && areSorted.size === rows.length
    ? `all ${numColumns} numbers of a row add up to the same, in each of ${rows.length} rows`
    : null;
}

/** The first rows, in groups that have the same first index. Of an array of two dimensions all are one group. */
async function firstRows(array: StoredArray): Promise<number[][][]> {
  const { shape, strides, type } = array;
  const perAxis = shape.length === 2 ? maxRows : Math.sqrt(maxRows);
  const lengths = shape.map((length, axis) => (axis === shape.length - 1 ? length : Math.min(length, perAxis)));
  const into = denseStrides(lengths);
  const sample = new idTypes[type].array(sizeOf(lengths));
  const dimensions = lengths.map((length, axis) => ({ length, from: strides[axis], into: into[axis] }));
  await new Gatherer(array).gather(0, dimensions, sample, 0);
  const numColumns = lengths[lengths.length - 1];
  const numRows = lengths[lengths.length - 2];
  const values = Array.from(sample as ArrayLike<number | bigint>, Number);
  const rowAt = (index: number): number[] => values.slice(index * numColumns, (index + 1) * numColumns);
  return Array.from({ length: sample.length / numColumns / numRows }, (_, group) =>
    Array.from({ length: numRows }, (__, row) => rowAt(group * numRows + row)),
  );
}
