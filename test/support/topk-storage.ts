/**
 * The form of `topkIdx` that the tests use: a typed array with a shape and, optionally, strides and an offset in elements.
 *
 * @module
 */

/** The id types, under their numpy names. */
export const idTypes = {
  int64: BigInt64Array,
  uint64: BigUint64Array,
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint32: Uint32Array,
  uint16: Uint16Array,
  uint8: Uint8Array,
} as const;

export type IdType = keyof typeof idTypes;
export const idTypeNames = Object.keys(idTypes) as IdType[];

export type IdArray =
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint32Array
  | Uint16Array
  | Uint8Array;

export interface TopkStorage {
  readonly data: IdArray;
  readonly shape: readonly [number, number];
  readonly strides?: readonly [number, number];
  readonly offset?: number;
  readonly fortranOrder?: boolean;
}

/** The smallest and the largest id of each type. */
export const idRange: Record<IdType, readonly [bigint, bigint]> = {
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  int16: [-(2n ** 15n), 2n ** 15n - 1n],
  int8: [-(2n ** 7n), 2n ** 7n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  uint16: [0n, 2n ** 16n - 1n],
  uint8: [0n, 2n ** 8n - 1n],
};

/** A typed array of the given ids, each of which must fit its type. */
export function idArray(type: IdType, ids: ArrayLike<number | bigint>): IdArray {
  const array = new idTypes[type](ids.length);
  const isWide = array instanceof BigInt64Array || array instanceof BigUint64Array;
  for (let index = 0; index < ids.length; index += 1) {
    array[index] = isWide ? BigInt(ids[index]) : Number(ids[index]);
    // biome-ignore lint/suspicious/noDoubleEquals: the comparison must treat numbers and bigints alike
    if (array[index] != ids[index]) throw new RangeError(`the test's id ${ids[index]} does not fit ${type}`);
  }
  return array;
}

/** Rows of ids as contiguous storage. */
export function storageOf(
  type: IdType,
  rows: readonly (readonly (number | bigint)[])[],
  numTopk?: number,
): TopkStorage {
  return { data: idArray(type, rows.flat()), shape: [rows.length, numTopk ?? rows[0]?.length ?? 0] };
}
