/**
 * Reads nested JSON arrays of integers, up to three deep.
 *
 * @module
 */
import { fail, UsageError } from '../fail.ts';
import { denseStrides } from '../library.ts';
import type { Content } from './content.ts';
import type { IntegerNdarray } from './integer-ndarray.ts';

/**
 * The length of the longest text that is read. The arrays into which it is parsed can take forty times as much memory,
 * and a process that runs out of memory is killed without a message.
 */
const maxJsonBytes = 2 ** 24;
const maxDepth = 3;

/**
 * Refuses a file that is too long, before it is read to its end.
 *
 * @param length the length of the file, or of the part that has been read.
 */
export function checkJsonLength(length: number, name: string): void {
  if (length > maxJsonBytes) fail(`${name} is JSON of more than ${maxJsonBytes} bytes, the limit; save it as .npy`);
}

/**
 * @param content what the file is read for.
 * @param name what to call the file in errors.
 */
export function parseJson(bytes: Uint8Array, content: Content, name: string): IntegerNdarray {
  const { text, root } = parseText(bytes, name);
  const { shape, numbers } = flatten(root, text, content, name);
  const narrow = numbers.every((number) => number === (number | 0));
  return {
    data: narrow ? Int32Array.from(numbers) : BigInt64Array.from(numbers, BigInt),
    shape,
    strides: denseStrides(shape),
    dtype: narrow ? 'int32' : 'int64',
  };
}

function parseText(bytes: Uint8Array, name: string): { text: string; root: unknown } {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return { text, root: JSON.parse(text) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`${name} is not valid JSON: ${reason}`, { cause: error });
  }
}

/**
 * Collects the numbers of nested arrays in C order. The first array at each depth determines the length of that dimension.
 *
 * @param text what the arrays were parsed from.
 */
function flatten(root: unknown, text: string, content: Content, name: string): { shape: number[]; numbers: number[] } {
  const shape: number[] = [];
  const numbers: number[] = [];
  // The indices that lead to the current value. One array serves all values, since there is one value for each id.
  const position: number[] = [];

  const collect = (value: unknown, depth: number): void => {
    const element = (): string => {
      const indices = position.slice(0, depth).map((index) => `[${index}]`);
      return `${name}: element ${indices.join('')}`;
    };
    if (!Array.isArray(value)) {
      const found = (): string => (typeof value === 'number' ? String(value) : JSON.stringify(value).slice(0, 40));
      if (depth === 0) fail(`${name} is JSON, but not a nested array: ${found()}`);
      if (depth !== shape.length) fail(`${element()} is ${found()} where others are arrays`);
      if (typeof value === 'number' && Math.abs(value) > Number.MAX_SAFE_INTEGER) {
        const problem = `${element()} is ${numberInText(text, numbers.length)}, too large to be read exactly from JSON`;
        fail(`${problem}; correct it, or save the ${content.numbers} as .npy`);
      }
      if (!Number.isSafeInteger(value)) fail(`${element()} is ${found()}, not an integer`);
      numbers.push(Number(value));
      return;
    }
    if (depth === maxDepth) fail(`${name}: JSON arrays are nested deeper than ${content.dimensions}`);
    if (depth === shape.length) {
      if (numbers.length > 0) fail(`${element()} is an array where others are numbers`);
      shape.push(value.length);
    }
    if (value.length !== shape[depth]) {
      const which = depth === 0 ? name : element();
      fail(`${which} has ${value.length} elements, but the first array at this depth has ${shape[depth]}`);
    }
    for (let index = 0; index < value.length; index++) {
      position[depth] = index;
      collect(value[index], depth + 1);
    }
  };

  collect(root, 0);
  return { shape, numbers };
}

/**
 * The digits of a number in the file. JavaScript has only an approximation of the number.
 *
 * @param text JSON in which nothing but arrays and numbers comes before the number.
 * @param index how many numbers come before it.
 */
function numberInText(text: string, index: number): string {
  let numSeen = 0;
  for (const [number] of text.matchAll(/[-\d][-+.\deE]*/g)) {
    if (numSeen++ === index) return number.length > 40 ? `${number.slice(0, 40)}…` : number;
  }
  throw new Error(`there is no number ${index}`);
}
