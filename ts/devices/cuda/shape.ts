/**
 * Shapes and strides of tensors, in elements.
 *
 * @module
 */

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
