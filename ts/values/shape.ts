/**
 * Shapes and strides of arrays. All of them count elements.
 *
 * @module
 */

/** The number of elements of an array of this shape. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, length) => size * length, 1);
}

/**
 * The strides of an array whose elements lie one after the other: for each dimension, how many elements apart
 * neighbours are. The order is row-major, as in C, or column-major, as in Fortran.
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

/**
 * The positions of the elements that lie first and last in memory, relative to the element at index 0. No length in the
 * shape may be 0.
 */
export function reachOf(shape: readonly number[], strides: readonly number[]): readonly [number, number] {
  const reaches = shape.map((length, i) => (length - 1) * strides[i]);
  const sum = (clamp: (reach: number) => number) => reaches.reduce((total, reach) => total + clamp(reach), 0);
  return [sum((reach) => Math.min(reach, 0)), sum((reach) => Math.max(reach, 0))];
}
