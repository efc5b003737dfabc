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

/** The strides of a dense array in C order, or in Fortran order. */
export function denseStrides(shape: readonly number[], fortranOrder: boolean): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let step = 0; step < shape.length; step++) {
    const dimension = fortranOrder ? step : shape.length - 1 - step;
    strides[dimension] = stride;
    stride *= shape[dimension];
  }
  return strides;
}
