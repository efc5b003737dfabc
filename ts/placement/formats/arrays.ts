/**
 * Reads the arrays of parsed files: nested arrays, or typed arrays with a shape.
 *
 * @module
 */
import { describe } from '../../values/describe.ts';
import { wrongPlan } from '../plan.ts';

/** An array with a shape, row-major, as readers of `.npy` and `.pt` return it. */
export interface ShapedArray {
  /** The elements, row-major. */
  readonly data: ArrayLike<number | bigint>;
  /** The length of each axis. */
  readonly shape: readonly number[];
}

/** Whether a value is an object with properties, and no array. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

/** The number of axes of an array: how deep it is nested. 0 for what is no array. */
export function depthOf(value: unknown): number {
  if (isShaped(value)) return value.shape.length;
  if (ArrayBuffer.isView(value)) return 1;
  return Array.isArray(value) ? 1 + (value.length === 0 ? 0 : depthOf(value[0])) : 0;
}

/** A list, whose elements are not checked. @throws DispatchLayoutError `PLACEMENT` */
export function listAt(name: string, value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw wrongPlan(`${name} is ${describe(value)}`, value, 'It must be a list.');
}

/** `[n]` numbers. Elements are not checked. @throws DispatchLayoutError `PLACEMENT` */
export function numbersAt(name: string, value: unknown): ArrayLike<number> {
  if (isShaped(value) && value.shape.length === 1) return Array.from(elementsOf(name, value), Number);
  if (Array.isArray(value)) return value;
  if (ArrayBuffer.isView(value) && 'length' in value) return Array.from(value as unknown as ArrayLike<number>, Number);
  throw wrongPlan(`${name} is ${describe(value)}`, value, 'It must be a list of numbers.');
}

/** `[n, m]` numbers, row by row. Elements are not checked. @throws DispatchLayoutError `PLACEMENT` */
export function rowsAt(name: string, value: unknown): ArrayLike<number>[] {
  if (isShaped(value) && value.shape.length === 2) {
    const [, width] = value.shape;
    const elements = Array.from(elementsOf(name, value), Number);
    return Array.from({ length: value.shape[0] }, (_, row) => elements.slice(row * width, (row + 1) * width));
  }
  return listAt(name, value).map((row, index) => numbersAt(`${name}[${index}]`, row));
}

/** `[n, m, k]` numbers. Elements are not checked. @throws DispatchLayoutError `PLACEMENT` */
export function tablesAt(name: string, value: unknown): ArrayLike<number>[][] {
  if (isShaped(value) && value.shape.length === 3) {
    const [length, height, width] = value.shape;
    const rows = rowsAt(name, { data: value.data, shape: [length * height, width] });
    return Array.from({ length }, (_, index) => rows.slice(index * height, (index + 1) * height));
  }
  return listAt(name, value).map((table, index) => rowsAt(`${name}[${index}]`, table));
}

function isShaped(value: unknown): value is ShapedArray {
  return isRecord(value) && 'data' in value && Array.isArray(value.shape);
}

function elementsOf(name: string, { data, shape }: ShapedArray): ArrayLike<number | bigint> {
  const length = shape.reduce((product, axis) => product * axis, 1);
  if (Object(data).length === length) return data;
  const problem = `${name} of shape [${shape.join(', ')}] has ${describe(Object(data).length)} elements`;
  throw wrongPlan(problem, data, `It needs ${length}.`);
}
