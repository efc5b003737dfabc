/**
 * Numpy's `.npy` format, versions 1 to 3 as `numpy.lib.format` describes them: one array. The reader is strict, since
 * its files may come from strangers.
 *
 * @module
 */
import { type IdTypeFacts, idTypes } from '../../values/id-types.ts';
import { denseStrides, sizeOf } from '../../values/shape.ts';
import { type ByteSource, readExactly } from '../byte-source.ts';
import type { ArrayContents, StoredArray } from '../contents.ts';
import type { Format } from '../format.ts';
import { refuse } from '../routing-error.ts';

/** The first six bytes of every `.npy` file: the byte 0x93 and `NUMPY`. */
const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

/** The longest header that is read. Numpy itself refuses headers over 10,000 bytes unless it is told otherwise. */
const maxHeaderBytes = 65_536;
/** The most dimensions of an array of numpy 2. */
const maxDimensions = 64;
const resave = 'save it again with numpy.save';

/** The integer types under numpy's codes, such as `i8` for a signed type of eight bytes. */
const integerTypes: ReadonlyMap<string, IdTypeFacts> = new Map(
  Object.values(idTypes).map((type) => [`${type.isSigned ? 'i' : 'u'}${type.bytes}`, type]),
);

/** The format. */
export const npyFormat: Format = {
  name: 'npy',
  noun: 'an .npy file',
  recognises: (head) => head[0] === magic[0],
  async open(source): Promise<ArrayContents> {
    const array = await openNpy(source, '');
    return { kind: 'arrays', format: 'npy', ...nothingKnown, arrays: [array], others: [] };
  },
};

/** The facts of a file that holds arrays and nothing else. */
export const nothingKnown = { producer: null, numbering: null, rank: null, numExperts: null, notes: [] } as const;

/** The header of an `.npy` file. */
export interface NpyHeader {
  /** Numpy's description of the element type, such as `<i8`. */
  readonly descr: string;
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
  /** Where the data begin. */
  readonly dataOffset: number;
}

/**
 * Opens a source that is a whole `.npy` file of integers.
 *
 * @param name the name of the array in its container.
 * @throws {@link RoutingError} `DAMAGED` if the header is broken or the data are not as long as it says, `NOT_ROUTING` if
 *   the elements are not integers.
 */
export async function openNpy(source: ByteSource, name: string): Promise<StoredArray> {
  const header = await readNpyHeader(source);
  const integer = integerType(header.descr, source.name);
  checkLength(source, header, integer.type);
  return {
    name,
    type: integer.type.name,
    littleEndian: integer.littleEndian,
    shape: header.shape,
    strides: denseStrides(header.shape, header.fortranOrder),
    source,
    position: header.dataOffset,
  };
}

/** Whether the elements of a header are integers. */
export function isOfIntegers({ descr }: NpyHeader): boolean {
  return integerTypes.has(partsOf(descr).code);
}

/** What an array is, in the words of a message: `float32 [8, 4]`. */
export function describeNpy({ descr, shape }: NpyHeader): string {
  const { code } = partsOf(descr);
  const floating = /^f\d/.test(code) ? `float${8 * Number(code.slice(1))}` : undefined;
  const name = integerTypes.get(code)?.name ?? floating ?? (code.startsWith('[') ? 'structured' : `'${descr}'`);
  return `${name} [${shape.join(', ')}]`;
}

/**
 * Reads the header: the magic bytes, two bytes of version, the length of the header (two bytes in version 1, four later),
 * and the header itself. The data follow.
 */
export async function readNpyHeader(source: ByteSource): Promise<NpyHeader> {
  const { name: file } = source;
  const truncated = (): never =>
    refuse('DAMAGED', 'is truncated: the file ends inside the .npy header', { file, remedy: resave });
  const start = new Uint8Array(12);
  const startBytes = await source.read(0, start);
  if (magic.some((byte, at) => start[at] !== byte)) {
    refuse('DAMAGED', 'begins like an .npy file, but its magic bytes are damaged', { file, remedy: resave });
  }
  const major = start[6];
  if (startBytes > 6 && (major < 1 || major > 3)) {
    const problem = `has version ${major} of the .npy format; 1 to 3 are known`;
    refuse('UNSUPPORTED', problem, { file, remedy: resave });
  }
  const headerOffset = major === 1 ? 10 : 12;
  if (startBytes < headerOffset) truncated();
  const view = new DataView(start.buffer);
  const headerBytes = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (headerBytes > maxHeaderBytes) {
    const problem = `claims an .npy header of ${headerBytes} bytes; the limit is ${maxHeaderBytes}`;
    refuse('TOO_LARGE', problem, { file, remedy: resave });
  }
  const dataOffset = headerOffset + headerBytes;
  if (source.size < dataOffset) truncated();
  const bytes = await readExactly(source, headerOffset, headerBytes, 'the .npy header');
  return { ...parseHeader(new TextDecoder('latin1').decode(bytes), file), dataOffset };
}

/** Parses the header: a Python dict of exactly three keys, in any order, followed by spaces and a newline. */
function parseHeader(text: string, file: string): Omit<NpyHeader, 'dataOffset'> {
  const damaged = (what: string): never =>
    refuse('DAMAGED', `has a damaged .npy header: ${what}`, { file, remedy: resave });
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

  if (!/^['"[]/.test(descr)) damaged(`'descr' is ${descr}`);
  if (order !== 'True' && order !== 'False') damaged(`'fortran_order' is ${order}`);
  // Python 2 wrote an L after long integers.
  const shape = /^\(\s*((?:\d+L?\s*,\s*)*)(\d+L?\s*)?\)$/.test(shapeText)
    ? (shapeText.match(/\d+/g) ?? []).map(Number)
    : damaged(`'shape' is ${shapeText}`);
  if (shape.length > maxDimensions)
    damaged(`'shape' has ${shape.length} dimensions, and numpy ${maxDimensions} at most`);
  const tooLong = shape.find((length) => !Number.isSafeInteger(length));
  if (tooLong !== undefined) damaged(`a length of 'shape' is ${tooLong}`);
  return { descr: descr.startsWith('[') ? descr : descr.slice(1, -1), fortranOrder: order === 'True', shape };
}

function partsOf(descr: string): { order: string; code: string } {
  const [, order = '', code = ''] = /^([<>=|]?)(.*)$/s.exec(descr) ?? [];
  return { order, code };
}

function integerType(descr: string, file: string): { type: IdTypeFacts; littleEndian: boolean } {
  const { order, code } = partsOf(descr);
  const type = integerTypes.get(code);
  // Every machine that this runs on is little-endian, so that `=` and `|` are.
  if (type !== undefined) return { type, littleEndian: order !== '>' };
  return refuse('NOT_ROUTING', `holds ${describeType(code)}`, { file, remedy: typeRemedy(code) });
}

function describeType(code: string): string {
  if (code.startsWith('[')) return 'a structured array, not integers';
  if (/^f\d/.test(code)) return `floating-point numbers (float${8 * Number(code.slice(1))}), not integers`;
  if (/^c\d/.test(code)) return 'complex numbers, not integers';
  if (/^b1|^\?/.test(code)) return 'booleans, not integers';
  if (/^O/.test(code)) return 'pickled Python objects, which are never read';
  if (/^[US]/.test(code)) return 'text, not integers';
  return `elements of type '${code}', not integers`;
}

function typeRemedy(code: string): string {
  if (/^f\d/.test(code)) {
    return 'save integers, of routing the ids that top-k returns and not the scores, or use .astype(numpy.int64)';
  }
  if (code.startsWith('[')) return 'save the one field that holds the integers';
  return 'save them with an integer dtype, such as numpy.int64';
}

function checkLength(source: ByteSource, { shape, dataOffset }: NpyHeader, type: IdTypeFacts): void {
  const dataBytes = source.size - dataOffset;
  const neededBytes = sizeOf(shape) * type.bytes;
  if (dataBytes === neededBytes) return;
  const promise = `${type.name} [${shape.join(', ')}], ${neededBytes} bytes`;
  const complaint = dataBytes < neededBytes ? 'truncated' : 'too long';
  const problem = `is ${complaint}: the header promises ${promise}, and ${dataBytes} follow`;
  refuse('DAMAGED', problem, { file: source.name, remedy: resave });
}
