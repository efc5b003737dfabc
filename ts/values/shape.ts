/**
 * Shapes and strides of arrays, in elements.
 *
 * @module
 */

/** The number of elements. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, length) => size * length, 1);
}

/**
 * How many elements apart neighbours are in each dimension, where all elements lie one after the other: row-major, as C has
 * it, or column-major, as Fortran has it.
 */
export function denseStrides(shape: readonly number[], isColumnMajor = false): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let step = 0; step < shape.length; step++) {
    const dimension = isColumnMajor ? step : shape.length - 1 - step;
    strides[dimension] = stride;
    stride *= shape[dimension];
  }
  return strides;
}

/** The elements that lie first and last in memory, counted from the one at index 0. No length may be 0. */
export function reachOf(shape: readonly number[], strides: readonly number[]): readonly [number, number] {
  const reaches = shape.map((length, i) => (length - 1) * strides[i]);
  const sum = (clamp: (reach: number) => number) => reaches.reduce((total, reach) => total + clamp(reach), 0);
  return [sum((reach) => Math.min(reach, 0)), sum((reach) => Math.max(reach, 0))];
}
