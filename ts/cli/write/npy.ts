/**
 * The header of numpy's `.npy` format.
 *
 * @module
 */
import { dump } from 'npyjs';

/** The element types that are written, under numpy's codes. */
export const npyTypes = {
  b1: { bytes: 1 },
  u1: { bytes: 1 },
  i1: { bytes: 1 },
  u2: { bytes: 2 },
  i2: { bytes: 2 },
  u4: { bytes: 4 },
  i4: { bytes: 4 },
  u8: { bytes: 8 },
  i8: { bytes: 8 },
} as const;

/** Numpy's code of an element type. Elements of `b1`, numpy's bool, are bytes that are 0 or 1. */
export type NpyType = keyof typeof npyTypes;

/** What comes before the elements in an `.npy` file of version 1, in C order. */
export function formatNpyHeader(dtype: NpyType, shape: readonly number[]): Uint8Array {
  return new Uint8Array(dump(new Uint8Array(0), [...shape], { dtype }));
}
