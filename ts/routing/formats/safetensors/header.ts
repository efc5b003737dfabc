/**
 * The header of a safetensors file, checked as the reference reader checks it (`safetensors/src/tensor.rs` of
 * huggingface/safetensors 0.8): eight bytes of length, then JSON that places tensors which cover the rest of the file
 * without gaps or overlaps.
 *
 * @module
 */
import { type ByteSource, readExactly } from '../../byte-source.ts';
import { refuse } from '../../routing-error.ts';

/** A tensor, as the header describes it. */
export interface SafetensorsEntry {
  readonly name: string;
  /** The type in the words of the format: `I32`, `BF16`. */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** The byte of the file at which its data begin. */
  readonly position: number;
}

/** The longest header that the reference reads. */
const maxHeaderBytes = 100_000_000;
const lengthBytes = 8;
/** How deep the reference lets JSON be nested. */
const maxDepth = 128;
/**
 * The most values that a header may have, ten for each of 800,000 tensors. The reference has no such limit, but
 * `JSON.parse` would make gigabytes of objects of a header of 100 MB that consists of brackets.
 */
const maxValues = 2 ** 23;

/** How many bits an element of each type has. */
const bitsOf: ReadonlyMap<string, number> = new Map([
  ...['F4'].map((dtype) => [dtype, 4] as const),
  ...['F6_E2M3', 'F6_E3M2'].map((dtype) => [dtype, 6] as const),
  ...['BOOL', 'U8', 'I8', 'F8_E5M2', 'F8_E4M3', 'F8_E8M0', 'F8_E4M3FNUZ', 'F8_E5M2FNUZ'].map(
    (dtype) => [dtype, 8] as const,
  ),
  ...['I16', 'U16', 'F16', 'BF16'].map((dtype) => [dtype, 16] as const),
  ...['I32', 'U32', 'F32'].map((dtype) => [dtype, 32] as const),
  ...['I64', 'U64', 'F64', 'C64'].map((dtype) => [dtype, 64] as const),
]);

/**
 * Whether bytes may be the beginning of a safetensors file: a length that the format allows, and JSON that begins with
 * an object.
 */
export function looksLikeSafetensors(head: Uint8Array): boolean {
  if (head.length <= lengthBytes || headerLength(head) > maxHeaderBytes) return false;
  const isSpace = (byte: number): boolean => byte === 32 || byte === 9 || byte === 10 || byte === 13;
  const first = head.subarray(lengthBytes).find((byte) => !isSpace(byte));
  return first === '{'.charCodeAt(0);
}

function headerLength(bytes: Uint8Array): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset, lengthBytes).getBigUint64(0, true);
}

/**
 * Reads the header. The entries are in the order of their data.
 *
 * @throws {@link RoutingError} `DAMAGED` where the reference reader refuses the file, too; `TOO_LARGE` for a header that
 *   is too long for it.
 */
export async function readSafetensorsHeader(source: ByteSource): Promise<SafetensorsEntry[]> {
  const { name: file, size } = source;
  if (size < lengthBytes) damaged(file, `is truncated: it has ${size} bytes, and the length of the header takes 8`);
  const claimed = headerLength(await readExactly(source, 0, lengthBytes, 'the length of the header'));
  if (claimed > maxHeaderBytes) {
    refuse('TOO_LARGE', `claims a header of ${claimed} bytes, and the limit of the format is ${maxHeaderBytes}`, {
      file,
      place: 'byte 0',
      remedy: saveAgain,
    });
  }
  const length = Number(claimed);
  const dataStart = lengthBytes + length;
  if (dataStart > size) damaged(file, `is truncated: it claims a header of ${length} bytes, and has ${size} bytes`);
  const header = parseHeader(await readExactly(source, lengthBytes, length, 'the header'), file);
  const entries = Object.entries(header)
    .filter(([name]) => name !== metadataName)
    .map(([name, value]) => describedEntry(name, value, file))
    .sort((a, b) => a.begin - b.begin || a.end - b.end);

  let covered = 0;
  for (const { name, dtype, shape, begin, end } of entries) {
    const where = quoted(name);
    if (begin !== covered || end < begin) {
      const problem = begin < covered ? 'overlap others' : begin > covered ? 'leave a gap' : 'end before they begin';
      damaged(file, `has data that ${problem}: bytes ${begin} to ${end}, after ${covered}`, where);
    }
    covered = end;
    const bytes = (shape.reduce((product, dimension) => product * dimension, 1) * (bitsOf.get(dtype) ?? 0)) / 8;
    if (bytes !== end - begin) {
      damaged(file, `is ${dtype} [${shape.join(', ')}], ${bytes} bytes, but its data have ${end - begin}`, where);
    }
  }
  if (dataStart + covered !== size) {
    const problem = dataStart + covered > size ? 'is truncated' : 'is too long';
    damaged(file, `${problem}: its header places ${covered} bytes of data, and ${size - dataStart} follow`);
  }
  return entries.map(({ name, dtype, shape, begin }) => ({ name, dtype, shape, position: dataStart + begin }));
}

const metadataName = '__metadata__';
const saveAgain = 'copy the file again, or save it with safetensors.torch.save_file';

function damaged(file: string, problem: string, place?: string): never {
  refuse('DAMAGED', problem, { file, place, remedy: saveAgain });
}

/** How an error names a tensor. */
function quoted(name: string): string {
  return `tensor '${name.length > 100 ? `${name.slice(0, 100)}…` : name}'`;
}

function parseHeader(bytes: Uint8Array, file: string): object {
  let header: unknown;
  try {
    const inexact = inexactNumbers(bytes);
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    header = JSON.parse(text);
    if (inexact.length > 0) header = JSON.parse(quoteAt(bytes, inexact));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    refuse('DAMAGED', `has a header that is not JSON: ${reason}`, {
      file,
      place: `bytes ${lengthBytes} to ${lengthBytes + bytes.length}`,
      remedy: saveAgain,
      cause: error,
    });
  }
  if (!isRecord(header)) damaged(file, 'has a header that is JSON, but no object', `byte ${lengthBytes}`);
  const metadata = Reflect.get(header, metadataName);
  const isText = (value: unknown): boolean => typeof value === 'string';
  if (Object.hasOwn(header, metadataName) && metadata !== null) {
    if (!isRecord(metadata) || !Object.values(metadata).every(isText)) {
      damaged(file, 'is not an object of texts', `'${metadataName}'`);
    }
  }
  return header;
}

/**
 * Finds the numbers that are not plain digits, such as `2.0` and `-0`, which the reference refuses as dimensions while
 * `JSON.parse` makes integers of them.
 *
 * @returns where each begins and ends.
 * @throws Error if arrays and objects are nested too deep, or there are too many values.
 */
function inexactNumbers(bytes: Uint8Array): [begin: number, end: number][] {
  const numbers: [number, number][] = [];
  let depth = 0;
  let values = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === 0x2c || byte === 0x5b || byte === 0x7b) {
      if (++values > maxValues) throw new Error(`it has more than ${maxValues} values`);
    }
    if (byte === 0x22) {
      for (at++; at < bytes.length && bytes[at] !== 0x22; at++) if (bytes[at] === 0x5c) at++;
    } else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > maxDepth) throw new Error(`it is nested deeper than ${maxDepth} at byte ${lengthBytes + at}`);
    } else if (byte === 0x5d || byte === 0x7d) {
      depth--;
    } else if (byte === 0x2d || isDigit(byte)) {
      const begin = at;
      while (isDigit(bytes[at + 1]) || isNumberSign(bytes[at + 1])) at++;
      if (!bytes.subarray(begin, at + 1).every(isDigit)) numbers.push([begin, at + 1]);
    }
  }
  return numbers;
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

/** Whether a byte is one of `+-.eE`. */
function isNumberSign(byte: number): boolean {
  return byte === 0x2b || byte === 0x2d || byte === 0x2e || byte === 0x45 || byte === 0x65;
}

/** The text in which these numbers are strings. */
function quoteAt(bytes: Uint8Array, numbers: readonly [number, number][]): string {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let text = '';
  let done = 0;
  for (const [begin, end] of numbers) {
    text += `${decoder.decode(bytes.subarray(done, begin))}"${decoder.decode(bytes.subarray(begin, end))}"`;
    done = end;
  }
  return text + decoder.decode(bytes.subarray(done));
}

interface PlacedEntry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

function describedEntry(name: string, value: unknown, file: string): PlacedEntry {
  const where = quoted(name);
  if (!isRecord(value)) damaged(file, 'is not described by an object', where);
  const take = (key: string): unknown =>
    Object.hasOwn(value, key) ? Reflect.get(value, key) : damaged(file, `has no ${key}`, where);
  const dtype = take('dtype');
  if (typeof dtype !== 'string' || !bitsOf.has(dtype)) {
    damaged(file, `has the unknown dtype ${shown(dtype)}`, where);
  }
  const shape = take('shape');
  if (!isCounts(shape)) damaged(file, `has the shape ${shown(shape)}, which is not a list of integers`, where);
  if (!Number.isSafeInteger(shape.reduce((product, dimension) => product * dimension, 1))) {
    damaged(file, `has the shape ${shown(shape)}, which overflows`, where);
  }
  const offsets = take('data_offsets');
  if (!isCounts(offsets) || offsets.length !== 2) {
    damaged(file, `has the data_offsets ${shown(offsets)}, which are not two integers`, where);
  }
  return { name, dtype, shape, begin: offsets[0], end: offsets[1] };
}

function isRecord(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((count) => Number.isSafeInteger(count) && count >= 0);
}

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
