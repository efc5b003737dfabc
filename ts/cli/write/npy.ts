/**
 * The writer of numpy's `.npy` format.
 *
 * @module
 */
import { type DType, dump } from 'npyjs';
import type { IntegerArray } from '../library.ts';

/**
 * The bytes of an `.npy` file of version 1, in C order.
 *
 * @param dtype numpy's code of the element type, if it is not that of the array, such as `b1` for numpy's bool, whose
 *   elements are bytes that are 0 or 1.
 */
export function formatNpy(data: IntegerArray, shape: readonly number[], dtype?: DType): Uint8Array<ArrayBuffer> {
  return new Uint8Array(dump(data, [...shape], dtype === undefined ? undefined : { dtype }));
}
