/**
 * The form into which every file format is read: integers with a shape and strides.
 *
 * @module
 */
import type { IdType, IntegerArray } from '../library.ts';

/** An n-dimensional array of integers. */
export interface IntegerNdarray {
  readonly data: IntegerArray;
  readonly shape: readonly number[];
  /** For each dimension, how many elements apart neighbours are in `data`. */
  readonly strides: readonly number[];
  /** The element type, as numpy names it. */
  readonly dtype: IdType;
}
