/**
 * Shapes and strides of tensors, in elements.
 *
 * @module
 */

/** The strides of a tensor whose elements lie one after the other in row-major order. */
export function rowMajor(shape: readonly number[]): readonly number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

/**
 * The elements that lie first and last in memory, counted from the one at index 0. No length may be 0.
 */
export function reachOf(shape: readonly number[], strides: readonly number[]): readonly [number, number] {
  const reaches = shape.map((length, i) => (length - 1) * strides[i]);
  const sum = (clamp: (reach: number) => number) => reaches.reduce((total, reach) => total + clamp(reach), 0);
  return [sum((reach) => Math.min(reach, 0)), sum((reach) => Math.max(reach, 0))];
}

/** The number of elements. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, length) => size * length, 1);
}
