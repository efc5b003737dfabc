/**
 * The header of a safetensors file, checked as the reference reader checks it (`safetensors/src/tensor.rs` of
 * huggingface/safetensors 0.8): eight bytes of length, then JSON that places tensors which cover the rest of the file
 * without gaps or overlaps.
 *
 * @module
 */
import { sizeOf } from '../../../values/shape.ts';
import { type ByteSource, partOf, readExactly } from '../../byte-source.ts';
import { refuse } from '../../routing-error.ts';
import { isDigit, JsonReader, openArray, openObject, quote } from '../json/json-reader.ts';
import { TextFault } from '../text/text-fault.ts';

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
/** PyTorch and numpy have no tensors of more dimensions. The reference would read a shape of millions of them. */
const maxDimensions = 64;
/** The most tensors of a file. Each takes some hundred bytes of memory, and the largest models have fewer. */
const maxTensors = 2 ** 17;

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
  const entries = await readHeader(partOf(source, lengthBytes, length));
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);

  let covered = 0;
  for (const { name, dtype, shape, begin, end } of entries) {
    const where = quoted(name);
    if (begin !== covered || end < begin) {
      const problem = begin < covered ? 'overlap others' : begin > covered ? 'leave a gap' : 'end before they begin';
      damaged(file, `has data that ${problem}: bytes ${begin} to ${end}, after ${covered}`, where);
    }
    covered = end;
    const bytes = (sizeOf(shape) * (bitsOf.get(dtype) as number)) / 8;
    if (bytes !== end - begin) {
      damaged(file, `is ${dtype} ${shown(shape)}, ${bytes} bytes, but its data have ${end - begin}`, where);
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

interface PlacedEntry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** @throws {@link RoutingError} that names the byte of the file, for a fault of the text. */
async function readHeader(header: ByteSource): Promise<PlacedEntry[]> {
  try {
    return await readEntries(new JsonReader(header));
  } catch (error) {
    if (!(error instanceof TextFault)) throw error;
    const { code, position, path, problem, remedy } = error;
    const place = `byte ${lengthBytes + position}${path === '' ? '' : `, ${path}`}`;
    return refuse(code, problem, { file: header.name, place, remedy });
  }
}

/** Reads the JSON. As for the reference, the last one of several tensors of one name counts. */
async function readEntries(reader: JsonReader): Promise<PlacedEntry[]> {
  const entries = new Map<string, PlacedEntry>();
  await peek(reader);
  await readObject(reader, async (name) => {
    if (name === metadataName) await readMetadata(reader);
    else if (entries.size < maxTensors) entries.set(name, await readEntry(reader, name));
    else reader.fail('TOO_LARGE', `is one of more than ${maxTensors} tensors`, 'save fewer tensors in one file');
  });
  if ((await peek(reader)) !== 0) reader.failAtToken('its object has ended');
  return [...entries.values()];
}

function peek(reader: JsonReader): number | Promise<number> {
  return reader.peek() || reader.peekFurther();
}

/** Reads an object, and calls a function at the value of each key. */
async function readObject(reader: JsonReader, readValue: (key: string) => Promise<void>): Promise<void> {
  if (reader.bytes[reader.at] !== openObject) fail(reader, 'is not an object');
  reader.at++;
  for (let key = await reader.nextKey(true); key !== null; key = await reader.nextKey(false)) {
    reader.path.push(key);
    await peek(reader);
    await readValue(key);
    reader.path.pop();
  }
}

/** The metadata are texts under keys. Nothing of them is needed. */
async function readMetadata(reader: JsonReader): Promise<void> {
  if (reader.skipIfNext('null')) return;
  await readObject(reader, async () => {
    if (reader.bytes[reader.at] !== quote) fail(reader, 'is not a text');
    await reader.skipString();
  });
}

/** The description of a tensor. Other keys than those of the format are passed over. */
async function readEntry(reader: JsonReader, name: string): Promise<PlacedEntry> {
  let dtype: string | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  await readObject(reader, async (key) => {
    if (key === 'dtype') dtype = readDtype(reader);
    else if (key === 'shape') shape = await readCounts(reader);
    else if (key === 'data_offsets') offsets = await readCounts(reader);
    else await reader.skipValue();
  });
  if (dtype === undefined || shape === undefined || offsets === undefined) {
    return fail(reader, 'lacks its dtype, shape or data_offsets');
  }
  if (!Number.isSafeInteger(sizeOf(shape))) fail(reader, `has a shape that overflows: ${shown(shape)}`);
  if (offsets.length !== 2) fail(reader, `has ${offsets.length} data_offsets, and not a beginning and an end`);
  return { name, dtype, shape, begin: offsets[0], end: offsets[1] };
}

function readDtype(reader: JsonReader): string {
  const start = reader.at;
  const dtype = reader.bytes[start] === quote ? reader.readString() : '';
  if (bitsOf.has(dtype)) return dtype;
  reader.at = start;
  return fail(reader, `is ${reader.valueText()}, which is no type of the format`);
}

/** A list of integers, 0 or more, without fractions and exponents. */
async function readCounts(reader: JsonReader): Promise<number[]> {
  if (reader.bytes[reader.at] !== openArray) fail(reader, `is ${reader.valueText()}, and not a list of integers`);
  reader.at++;
  const counts: number[] = [];
  for (let more = await reader.nextElement(true); more; more = await reader.nextElement(false)) {
    await peek(reader);
    if (counts.length === maxDimensions) fail(reader, `has more than ${maxDimensions} integers`);
    counts.push(readCount(reader));
  }
  return counts;
}

function readCount(reader: JsonReader): number {
  const { bytes, at: start } = reader;
  const count = isDigit(bytes[start]) ? reader.readNumber() : Number.NaN;
  const isPlain = bytes.subarray(start, reader.at).every(isDigit);
  if (isPlain && Number.isSafeInteger(count)) return count;
  reader.at = start;
  const what = isPlain && count > 0 ? 'too large' : 'not an integer, 0 or more';
  return fail(reader, `has ${reader.valueText()}, which is ${what}`);
}

/** A shape, whose length a file can choose, in the words of a message. */
function shown(shape: readonly number[]): string {
  return shape.length > 8 ? `[${shape.slice(0, 8).join(', ')}, …]` : `[${shape.join(', ')}]`;
}

function fail(reader: JsonReader, problem: string): never {
  return reader.fail('DAMAGED', problem, saveAgain);
}
