/**
 * Nested JSON arrays of integers, up to three deep.
 *
 * @module
 */
import { fail, UsageError } from '../fail.ts';
import { denseStrides, type IntegerNdarray } from './integer-ndarray.ts';

/** Arrays of arrays take up to forty times the space of their text, and a process that runs out of it is killed. */
const maxJsonBytes = 2 ** 24;
const maxDepth = 3;

/** @param name what to call the file in errors. */
export function parseJson(bytes: Uint8Array, name: string): IntegerNdarray {
  if (bytes.length > maxJsonBytes) {
    fail(`${name} is JSON of ${bytes.length} bytes; the limit is ${maxJsonBytes}: save large routing as .npy`);
  }
  const shape: number[] = [];
  const numbers: number[] = [];
  collect(parseText(bytes, name), 0, [], shape, numbers, name);
  const narrow = numbers.every((number) => number === (number | 0));
  return {
    data: narrow ? Int32Array.from(numbers) : BigInt64Array.from(numbers, BigInt),
    shape,
    strides: denseStrides(shape, false),
    dtype: narrow ? 'int32' : 'int64',
  };
}

function parseText(bytes: Uint8Array, name: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`${name} is not valid JSON: ${reason}`, { cause: error });
  }
}

/**
 * Depth first, in C order. The first array met at a depth fixes the length of that dimension.
 *
 * @param position the indices that lead to `value`, up to `depth`; shared by all calls, since this runs once an element.
 */
function collect(
  value: unknown,
  depth: number,
  position: number[],
  shape: number[],
  numbers: number[],
  name: string,
): void {
  const element = (): string =>
    `${name}: element ${position
      .slice(0, depth)
      .map((index) => `[${index}]`)
      .join('')}`;
  if (!Array.isArray(value)) {
    const found = (): string => (typeof value === 'number' ? String(value) : JSON.stringify(value).slice(0, 40));
    if (depth === 0) fail(`${name} is JSON, but no nested array: ${found()}`);
    if (depth !== shape.length) fail(`${element()} is ${found()} where others are arrays`);
    if (!Number.isSafeInteger(value)) fail(`${element()} is ${found()}, not an integer`);
    numbers.push(Number(value));
    return;
  }
  if (depth === maxDepth) fail(`${name}: JSON arrays are nested deeper than [layers, tokens, topk]`);
  if (depth === shape.length) {
    if (numbers.length > 0) fail(`${element()} is an array where others are numbers`);
    shape.push(value.length);
  }
  if (value.length !== shape[depth]) {
    fail(`${depth === 0 ? name : element()} has ${value.length} elements, the first of its kind ${shape[depth]}`);
  }
  for (let index = 0; index < value.length; index++) {
    position[depth] = index;
    collect(value[index], depth + 1, position, shape, numbers, name);
  }
}
