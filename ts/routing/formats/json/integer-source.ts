/**
 * Nested arrays of integers in a text, as an array of binary integers that are read from the text where they are needed.
 *
 * @module
 */
import { denseStrides, sizeOf } from '../../../values/shape.ts';
import type { ByteSource } from '../../byte-source.ts';
import type { StoredArray } from '../../contents.ts';
import { namingLines } from '../text/text-fault.ts';
import { JsonReader } from './json-reader.ts';
import { type IntegerBuffer, NestedIntegers } from './nested-integers.ts';

/** How many integers are read from the text at once. The place in the text of each such chunk is remembered. */
const chunkLength = 2 ** 13;
/** As much as is read of an array at first: many files have very many small arrays. */
const firstLength = 2 ** 8;
/** How many chunks of a file are kept after the first reading, so that they need not be read again: 32 MiB. */
const maxKept = 2 ** 10;

/** A reader of a text, which all arrays in it share. Whoever reads takes it, so that two never use it at once. */
export class SharedReader {
  readonly text: ByteSource;
  #reader: JsonReader | null = null;

  constructor(text: ByteSource) {
    this.text = text;
  }

  /** @returns a reader, at any place of the text. */
  take(): JsonReader {
    const reader = this.#reader ?? new JsonReader(this.text);
    this.#reader = null;
    return reader;
  }

  giveBack(reader: JsonReader): void {
    this.#reader = reader;
  }
}

/** What the first reading of a text has found. */
interface TextIndex {
  readonly shared: SharedReader;
  /** The keys that lead to the integers. */
  readonly path: readonly (string | number)[];
  readonly shape: readonly number[];
  readonly isWide: boolean;
  readonly isLines: boolean;
  /** The position in the text at which each chunk begins. */
  readonly positions: readonly number[];
  /** The first chunks, if they have been kept. */
  readonly kept: readonly Int32Array<ArrayBuffer>[];
}

/** How {@link scanIntegers} reads. */
export interface ScanOptions {
  /** Whether the values up to the end of the file are the elements of one array. */
  readonly isLines?: boolean;
  /** Whether integers are kept in memory, up to a limit, so that the text of most files is read once. */
  readonly keeps?: boolean;
}

/**
 * Reads nested arrays once from the reader's position on, and checks all of them.
 *
 * @returns an array of any number of axes. Its elements are read from the text again, unless they have been kept.
 */
export async function scanIntegers(
  reader: JsonReader,
  shared: SharedReader,
  { isLines = false, keeps = false }: ScanOptions = {},
): Promise<StoredArray> {
  const integers = new NestedIntegers(isLines);
  const path = [...reader.path];
  const positions = [reader.position];
  const kept: Int32Array<ArrayBuffer>[] = [];
  let scratch = new Int32Array(firstLength);
  while (!integers.isFinished) {
    let count = await readChunk(integers, reader, scratch, 0);
    if (!integers.isFinished && count < chunkLength) {
      const first = scratch;
      scratch = new Int32Array(chunkLength);
      scratch.set(first);
      count = await readChunk(integers, reader, scratch, count);
    }
    if (keeps && kept.length < maxKept) kept.push(scratch.slice(0, count));
    positions.push(reader.position);
  }
  const { isWide } = integers;
  // Copies take no more memory than they need. A file can have very many arrays
  const shape = integers.shape.slice();
  const index = { shared, path, shape, isWide, isLines, positions: positions.slice(), kept: isWide ? [] : kept };
  return {
    name: '',
    type: isWide ? 'int64' : 'int32',
    littleEndian: isLittleEndian,
    shape,
    strides: denseStrides(shape),
    source: new IntegerSource(index),
    position: 0,
  };
}

/** Reads integers until the buffer is full or the value is finished, and returns how many are in the buffer. */
async function readChunk(
  integers: NestedIntegers,
  reader: JsonReader,
  into: IntegerBuffer,
  before: number,
): Promise<number> {
  let count = before;
  for (;;) {
    count = integers.read(reader, into, count);
    if (integers.isFinished || count === into.length) return count;
    if ((reader.peek() || (await reader.peekFurther())) === 0) integers.endAtFileEnd(reader);
  }
}

/** The bytes of the integers, in the order of the text. */
class IntegerSource implements ByteSource {
  readonly name: string;
  readonly size: number;
  readonly #index: TextIndex;
  readonly #chunkBytes: number;

  constructor(index: TextIndex) {
    const bytes = index.isWide ? 8 : 4;
    this.name = index.shared.text.name;
    this.size = sizeOf(index.shape) * bytes;
    this.#index = index;
    this.#chunkBytes = chunkLength * bytes;
  }

  async read(position: number, into: Uint8Array): Promise<number> {
    const end = Math.min(position + into.length, this.size);
    const chunkBytes = this.#chunkBytes;
    for (let at = position; at < end; ) {
      const chunk = Math.floor(at / chunkBytes);
      const bytes = await this.#chunk(chunk, Math.min(chunkBytes, end - chunk * chunkBytes));
      const part = bytes.subarray(at - chunk * chunkBytes, end - chunk * chunkBytes);
      into.set(part, at - position);
      at += part.length;
    }
    return Math.max(0, end - position);
  }

  /** The first bytes of a chunk. */
  async #chunk(chunk: number, numBytes: number): Promise<Uint8Array> {
    const { shared, path, shape, isWide, isLines, positions, kept } = this.#index;
    if (chunk < kept.length) return new Uint8Array(kept[chunk].buffer);
    const start = chunk * chunkLength;
    const integers = new (isWide ? Float64Array : Int32Array)(Math.ceil(numBytes / (isWide ? 8 : 4)));
    const reader = shared.take();
    reader.seek(positions[chunk]);
    reader.path.splice(0, reader.path.length, ...path);
    const nested = start === 0 ? new NestedIntegers(isLines) : NestedIntegers.after(start, shape, isLines);
    await namingLines(shared.text, () => readChunk(nested, reader, integers, 0));
    shared.giveBack(reader);
    return new Uint8Array((isWide ? BigInt64Array.from(integers, BigInt) : integers).buffer as ArrayBuffer);
  }
}

const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
