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

/** Reads parts of one array. It keeps the memory through which elements pass that cannot go straight to their places. */
export class Gatherer {
  readonly #source: ByteSource;
  readonly #position: number;
  readonly #idType: IdType;
  readonly #bytes: number;
  readonly #isSwapped: boolean;
  readonly #name: string;
  #scratch: IntegerArray | null = null;

  constructor({ source, position, idType, littleEndian, name }: StoredArray) {
    this.#source = source;
    this.#position = position;
    this.#idType = idType;
    this.#bytes = idTypes[idType].bytes;
    this.#isSwapped = !littleEndian && this.#bytes > 1;
    this.#name = name;
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
      this.#scratch = new idTypes[this.#idType].array(Math.min(2 * length, most));
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
        place: this.#name === '' ? undefined : `array '${this.#name}'`,
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

/** Copies the elements of a part. */
function copyPart(
  source: IntegerArray,
  start: number,
  dimensions: readonly Dimension[],
  into: IntegerArray,
  at: number,
): void {
  if (dimensions.length <= 1) {
    const [{ length, from, into: step }] = dimensions.length === 0 ? [{ length: 1, from: 0, into: 0 }] : dimensions;
    copyElements(source, start, from, into, at, step, length);
    return;
  }
  const [outer, ...inner] = dimensions;
  for (let index = 0; index < outer.length; index++) {
    copyPart(source, start + index * outer.from, inner, into, at + index * outer.into);
  }
}

/** Copies `length` elements that lie apart by equal steps. */
function copyElements(
  source: IntegerArray,
  start: number,
  from: number,
  into: IntegerArray,
  at: number,
  step: number,
  length: number,
): void {
  // Both arrays are of the same type, which the compiler does not know.
  const target = into as { [index: number]: number | bigint };
  for (let i = 0; i < length; i++) target[at + i * step] = source[start + i * from];
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
