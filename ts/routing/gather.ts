/**
 * Reads parts of stored arrays of any strides into arrays in memory.
 *
 * @module
 */
import { type IdType, type IntegerArray, idTypes } from '../values/id-types.ts';
import { reachOf, sizeOf } from '../values/shape.ts';
import type { ByteSource } from './byte-source.ts';
import type { StoredArray } from './contents.ts';
import { refuse } from './routing-error.ts';

/** A dimension of a part of an array. */
export interface Dimension {
  readonly length: number;
  /** How many elements apart neighbours are in the file. */
  readonly from: number;
  /** How many elements apart they are in memory. */
  readonly into: number;
}

/** The most bytes that are read at once, unless they go straight where they belong. */
export const scratchBytes = 2 ** 22;
/** How many bytes that nobody asked for are as cheap to read as another call of the operating system. */
const bytesPerCall = 2 ** 16;

/** The place of an array in its file, for errors. The entry of an archive has it in the name of its source. */
export function placeOf({ name, source }: StoredArray): string | undefined {
  return name === '' || source.name.startsWith(`array '${name}'`) ? undefined : `array '${name}'`;
}

/** Reads parts of one array. It keeps the memory through which elements pass that cannot go straight to their places. */
export class Gatherer {
  readonly #source: ByteSource;
  readonly #position: number;
  readonly #type: IdType;
  readonly #bytes: number;
  readonly #isSwapped: boolean;
  readonly #place: string | undefined;
  #scratch: IntegerArray | null = null;

  constructor(array: StoredArray) {
    const { source, position, type, littleEndian } = array;
    this.#source = source;
    this.#position = position;
    this.#type = type;
    this.#bytes = idTypes[type].bytes;
    this.#isSwapped = !littleEndian && this.#bytes > 1;
    this.#place = placeOf(array);
  }

  /**
   * Reads the elements of a part.
   *
   * @param start the element at which the part begins, counted from the element of index 0.
   * @param into an array of the type of the stored one.
   * @param at where in `into` the first element goes.
   */
  async gather(start: number, part: readonly Dimension[], into: IntegerArray, at: number): Promise<void> {
    const dimensions = part.filter(({ length }) => length !== 1);
    const count = sizeOf(dimensions.map(({ length }) => length));
    if (count === 0) return;
    if (isDense(dimensions)) {
      await this.#read(start, into.subarray(at, at + count));
      return;
    }
    const [first, last] = reachOf(
      dimensions.map(({ length }) => length),
      dimensions.map(({ from }) => from),
    );
    const span = last - first + 1;
    const outer = dimensions.reduce((best, { from }, index) => {
      return best < 0 || Math.abs(from) > Math.abs(dimensions[best].from) ? index : best;
    }, -1);
    const needlessBytes = (span - count) * this.#bytes;
    const isOneRead =
      span * this.#bytes <= scratchBytes && (outer < 0 || needlessBytes <= bytesPerCall * dimensions[outer].length);
    if (isOneRead) {
      const scratch = this.#scratchOf(span);
      await this.#read(start + first, scratch);
      copyPart(scratch, -first, dimensions, into, at);
      return;
    }
    const rest = dimensions.filter((_, index) => index !== outer);
    for (let index = 0; index < dimensions[outer].length; index++) {
      await this.gather(start + index * dimensions[outer].from, rest, into, at + index * dimensions[outer].into);
    }
  }

  #scratchOf(length: number): IntegerArray {
    // A file can have many arrays that are much smaller than the scratch memory may be
    if (this.#scratch === null || this.#scratch.length < length) {
      const most = scratchBytes / this.#bytes;
      this.#scratch = new idTypes[this.#type].array(Math.min(2 * length, most));
    }
    return this.#scratch.subarray(0, length);
  }

  /** Reads neighbouring elements. */
  async #read(start: number, into: IntegerArray): Promise<void> {
    const bytes = new Uint8Array(into.buffer, into.byteOffset, into.byteLength);
    const position = this.#position + start * this.#bytes;
    const read = await this.#source.read(position, bytes);
    if (read !== bytes.length) {
      refuse('DAMAGED', `ends at byte ${position + read}, before the last element of its array`, {
        file: this.#source.name,
        place: this.#place,
        remedy: 'copy or save the file again',
      });
    }
    if (this.#isSwapped) swapBytes(bytes, this.#bytes);
  }
}

/** Whether a part is row-major and without gaps, in the file and in memory. */
function isDense(dimensions: readonly Dimension[]): boolean {
  let size = 1;
  for (let i = dimensions.length - 1; i >= 0; i--) {
    const { length, from, into } = dimensions[i];
    if (from !== size || into !== size) return false;
    size *= length;
  }
  return true;
}

/** Elements, or the halves of elements of 64 bits, which are copied several times as fast. */
type Words = Exclude<IntegerArray, BigInt64Array | BigUint64Array>;

/** Copies the elements of a part. Both arrays are of the same type. */
function copyPart(
  source: IntegerArray,
  start: number,
  dimensions: readonly Dimension[],
  into: IntegerArray,
  at: number,
): void {
  const halves = source.BYTES_PER_ELEMENT === 8 ? 2 : 1;
  const inHalves = dimensions.map(({ length, from, into: step }) => ({
    length,
    from: halves * from,
    into: halves * step,
  }));
  const whole = merged([...inHalves, { length: halves, from: 1, into: 1 }]);
  const outer = whole.length > 2 ? whole.slice(0, -2) : [];
  const [rows, slots] = whole.length > 1 ? whole.slice(-2) : [{ length: 1, from: 0, into: 0 }, whole[0]];
  const from = wordsOf(source);
  const to = wordsOf(into);
  const copy = (depth: number, first: number, place: number): void => {
    if (depth === outer.length) {
      copyRows(from, first, rows, slots, to, place);
      return;
    }
    const { length, from: stride, into: step } = outer[depth];
    for (let index = 0; index < length; index++) copy(depth + 1, first + index * stride, place + index * step);
  };
  copy(0, halves * start, halves * at);
}

/** The same dimensions, of which neighbours are one where one goes on where the other ends. */
function merged(dimensions: readonly Dimension[]): Dimension[] {
  const result: Dimension[] = [];
  for (const inner of dimensions) {
    const outer = result.at(-1);
    if (inner.length === 1 && result.length > 0) continue;
    const goesOn = outer?.from === inner.from * inner.length && outer.into === inner.into * inner.length;
    if (outer !== undefined && (goesOn || outer.length === 1)) {
      result[result.length - 1] = { ...inner, length: outer.length * inner.length };
    } else {
      result.push(inner);
    }
  }
  return result;
}

function wordsOf(array: IntegerArray): Words {
  if (!(array instanceof BigInt64Array || array instanceof BigUint64Array)) return array;
  return new Int32Array(array.buffer, array.byteOffset, 2 * array.length);
}

/**
 * Copies rows of elements. It is a function of its own, and its numbers are integers of 32 bits, so that engines compile
 * it well. All of them are below the length of the scratch memory.
 */
function copyRows(source: Words, start: number, rows: Dimension, slots: Dimension, into: Words, at: number): void {
  const numRows = rows.length | 0;
  const rowFrom = rows.from | 0;
  const rowInto = rows.into | 0;
  const length = slots.length | 0;
  const from = slots.from | 0;
  const step = slots.into | 0;
  let first = start | 0;
  let place = at | 0;
  for (let row = 0; row < numRows; row++) {
    for (let i = 0; i < length; i++) into[(place + i * step) | 0] = source[(first + i * from) | 0];
    first = (first + rowFrom) | 0;
    place = (place + rowInto) | 0;
  }
}

function swapBytes(data: Uint8Array, bytesPerElement: number): void {
  const last = bytesPerElement - 1;
  for (let at = 0; at < data.length; at += bytesPerElement) {
    for (let i = 0; i < bytesPerElement >> 1; i++) {
      const byte = data[at + i];
      data[at + i] = data[at + last - i];
      data[at + last - i] = byte;
    }
  }
}
