/**
 * Strides of arrays whose elements lie one after the other.
 *
 * @module
 */

/** How many elements apart neighbours are in each dimension: row-major, as C has it, or column-major, as Fortran has it. */
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
