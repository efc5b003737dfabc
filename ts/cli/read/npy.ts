/**
 * A strict reader of integer arrays in numpy's `.npy` format, versions 1 to 3 as `numpy.lib.format` describes them.
 *
 * `write/npy.ts` writes with the package npyjs, but that package is not strict enough to read files from strangers: it
 * ignores the byte order, accepts any shape, and checks neither the header nor the length of the data.
 *
 * @module
 */
import { endianness } from 'node:os';
import { fail, withMemory } from '../fail.ts';
import { denseStrides, type IdTypeFacts, idTypes, sizeOf } from '../library.ts';
import type { Content } from './content.ts';
import type { IntegerNdarray } from './integer-ndarray.ts';
import { splitRemedy } from './read-bytes.ts';

/** The first six bytes of every `.npy` file, the byte 0x93 and `NUMPY`, as a Latin-1 string. */
export const npyMagic = '\x93NUMPY';

/** The longest header that is read. Numpy itself refuses headers over 10,000 bytes unless it is told otherwise. */
const maxHeaderBytes = 65_536;

/** The integer types under numpy's codes, such as `i8` for a signed type of eight bytes. */
const integerTypes: ReadonlyMap<string, IdTypeFacts> = new Map(
  Object.values(idTypes).map((type) => [`${type.isSigned ? 'i' : 'u'}${type.bytes}`, type]),
);

interface Header {
  readonly descr: string;
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
}

/**
 * Reads an `.npy` file. The result may be a view of `bytes`, and data in the other byte order are swapped in place, so the
 * caller must not use `bytes` any more.
 *
 * @param content what the file is read for.
 * @param name what to call the file in errors.
 */
export function parseNpy(bytes: Uint8Array<ArrayBuffer>, content: Content, name: string): IntegerNdarray {
  const { text, dataOffset } = findHeader(bytes, name);
  const header = parseHeader(text, content, name);
  const { type, swapped } = integerType(header.descr, content, name);

  const dataBytes = bytes.length - dataOffset;
  const count = sizeOf(header.shape);
  const neededBytes = count * type.bytes;
  if (dataBytes !== neededBytes) {
    const promise = `${type.name} [${header.shape.join(', ')}], ${neededBytes} bytes`;
    const complaint = dataBytes < neededBytes ? 'truncated' : 'too long';
    fail(`${name} is ${complaint}: the header promises ${promise}, and ${dataBytes} follow`);
  }

  const data = bytes.subarray(dataOffset);
  if (swapped) swapBytes(data, type.bytes);
  // A typed array must start at a multiple of its element size. Numpy pads its headers so that the data do; other
  // writers may not.
  const isAligned = data.byteOffset % type.bytes === 0;
  const aligned = isAligned
    ? data
    : withMemory(`a copy of ${name}, ${dataBytes} bytes`, splitRemedy, () => data.slice());
  return {
    data: new type.array(aligned.buffer, aligned.byteOffset, count),
    shape: header.shape,
    strides: denseStrides(header.shape, header.fortranOrder),
    dtype: type.name,
  };
}

/**
 * Finds the header. A file begins with the magic bytes, two bytes of version, the length of the header (two bytes in
 * version 1, four later), and the header itself; the data follow.
 */
function findHeader(bytes: Uint8Array<ArrayBuffer>, name: string): { text: string; dataOffset: number } {
  const magic = String.fromCharCode(...bytes.subarray(0, npyMagic.length));
  if (magic !== npyMagic) fail(`${name} begins like an .npy file, but its magic bytes are damaged`);
  const major = bytes[6];
  if (major !== undefined && (major < 1 || major > 3)) {
    fail(`${name} has version ${major} of the .npy format; 1 to 3 are known`);
  }
  const headerOffset = major === 1 ? 10 : 12;
  if (bytes.length < headerOffset) fail(`${name} is truncated: the file ends inside the .npy header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerBytes = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (headerBytes > maxHeaderBytes) {
    fail(`${name} claims an .npy header of ${headerBytes} bytes; the limit is ${maxHeaderBytes}`);
  }
  const dataOffset = headerOffset + headerBytes;
  if (bytes.length < dataOffset) fail(`${name} is truncated: the file ends inside the .npy header`);
  return { text: Buffer.from(bytes.subarray(headerOffset, dataOffset)).toString('latin1'), dataOffset };
}

/** Parses the header: a Python dict of exactly three keys, in any order, followed by spaces and a newline. */
function parseHeader(text: string, { numbers }: Content, name: string): Header {
  const damaged = (what: string): never => fail(`${name} has a damaged .npy header: ${what}`);
  const body = /^\s*\{(.*)\}\s*$/s.exec(text)?.[1] ?? damaged('it is not a Python dict');
  const fields = new Map<string, string>();
  const field = /\s*(['"])(\w+)\1\s*:\s*('[^']*'|"[^"]*"|\[[^\]]*\]|\([^()]*\)|\w+)\s*(?:,\s*|$)/y;
  while (field.lastIndex < body.length) {
    const match = field.exec(body) ?? damaged('it is not a dict of descr, fortran_order and shape');
    if (fields.has(match[2])) damaged(`it has '${match[2]}' twice`);
    fields.set(match[2], match[3]);
  }
  const take = (key: string): string => fields.get(key) ?? damaged(`'${key}' is missing`);
  const descr = take('descr');
  const order = take('fortran_order');
  const shapeText = take('shape');
  if (fields.size !== 3) damaged('it has unknown keys');

  if (descr.startsWith('[')) {
    fail(`${name} holds a structured array, not integers; save the one field that holds the ${numbers}`);
  }
  if (!/^['"]/.test(descr)) damaged(`'descr' is ${descr}`);
  if (order !== 'True' && order !== 'False') damaged(`'fortran_order' is ${order}`);
  // Python 2 wrote an L after long integers.
  const shape = /^\(\s*((?:\d+L?\s*,\s*)*)(\d+L?\s*)?\)$/.test(shapeText)
    ? (shapeText.match(/\d+/g) ?? []).map(Number)
    : damaged(`'shape' is ${shapeText}`);
  const tooLong = shape.find((length) => !Number.isSafeInteger(length));
  if (tooLong !== undefined) damaged(`a length of 'shape' is ${tooLong}`);
  return { descr: descr.slice(1, -1), fortranOrder: order === 'True', shape };
}

function integerType(descr: string, content: Content, name: string): { type: IdTypeFacts; swapped: boolean } {
  const [, order, code] = /^([<>=|]?)(.*)$/s.exec(descr) ?? [];
  const type = integerTypes.get(code);
  if (type === undefined) fail(`${name} holds ${describeType(code, content)}; ${typeRemedy(code, content)}`);
  const fileOrder = order === '>' ? 'BE' : order === '<' ? 'LE' : endianness();
  return { type, swapped: type.bytes > 1 && fileOrder !== endianness() };
}

function describeType(code: string, { numbers }: Content): string {
  if (/^f\d/.test(code)) return `floating-point numbers (float${8 * Number(code.slice(1))}), not ${numbers}`;
  if (/^c\d/.test(code)) return `complex numbers, not ${numbers}`;
  if (/^b1|^\?/.test(code)) return `booleans, not ${numbers}`;
  if (/^O/.test(code)) return 'pickled Python objects, which are never read';
  if (/^[US]/.test(code)) return `text, not ${numbers}`;
  return `elements of type '${code}', not ${numbers}`;
}

function typeRemedy(code: string, { floatRemedy }: Content): string {
  if (/^f\d/.test(code)) return floatRemedy;
  return 'save them with an integer dtype, such as numpy.int64';
}

function swapBytes(data: Uint8Array<ArrayBuffer>, bytesPerElement: number): void {
  const buffer = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (bytesPerElement === 2) buffer.swap16();
  else if (bytesPerElement === 4) buffer.swap32();
  else buffer.swap64();
}
