/**
 * Reads the directory at the end of a zip archive, and finds the data of its entries. Section 4.3 of PKWARE's
 * APPNOTE.TXT describes the format, zip64 included.
 *
 * The packages that read zip archives would inflate data to their end even if they go on for gigabytes beyond the size
 * that the directory promises, or need all of the archive in memory.
 *
 * @module
 */
import { type ByteSource, partOf, readExactly } from './byte-source.ts';
import { inflated, verified } from './packed-source.ts';
import { refuse } from './routing-error.ts';

/** A file in an archive, as the directory describes it. */
export interface ZipEntry {
  readonly name: string;
  /** The method by which it is packed: a name for those that can be read, and the number in the format for others. */
  readonly method: 'stored' | 'deflated' | number;
  /** CRC-32 of the unpacked bytes. */
  readonly checksum: number;
  readonly packedBytes: number;
  readonly unpackedBytes: number;
  /** Where in the archive its local header begins. */
  readonly offset: number;
}

/** The first two bytes of every zip archive. */
export const zipMagic = 'PK';

const endSignature = 0x06054b50;
const end64LocatorSignature = 0x07064b50;
const end64Signature = 0x06064b50;
const entrySignature = 0x02014b50;
const localSignature = 0x04034b50;
const endBytes = 22;
const end64LocatorBytes = 20;
const end64Bytes = 56;
const entryBytes = 46;
const localBytes = 30;
/** What a field of 32 or 16 bits holds if its value is in the field of 64 bits instead. */
const in64 = 0xffff_ffff;
const in64Count = 0xffff;
/** The id of the extra field with the values of 64 bits. */
const extra64 = 1;
/** The largest directory that is read: that of about 500,000 files. */
const maxDirectoryBytes = 2 ** 25;

const remedy = 'copy or save the file again';

function damaged(source: ByteSource, problem: string, place?: string): never {
  return refuse('DAMAGED', `is a damaged or truncated zip archive: ${problem}`, { file: source.name, place, remedy });
}

/**
 * Lists the files of an archive, in the order of its directory.
 *
 * @throws {@link RoutingError} `DAMAGED` if there is no directory, or if it is not wholly inside the archive.
 */
export async function listZipEntries(source: ByteSource): Promise<ZipEntry[]> {
  const { count, size, offset } = await findDirectory(source);
  if (offset + size > source.size) damaged(source, 'its directory goes on beyond its end');
  if (size > maxDirectoryBytes) {
    const problem = `has a directory of ${size} bytes, over the limit of ${maxDirectoryBytes}`;
    refuse('TOO_LARGE', problem, { file: source.name, remedy: 'save fewer arrays in one file' });
  }
  const bytes = await readExactly(source, offset, size, 'the directory of the archive');
  const view = new DataView(bytes.buffer);
  const entries: ZipEntry[] = [];
  let at = 0;
  while (entries.length < count) {
    const header = at + entryBytes;
    if (header > size || view.getUint32(at, true) !== entrySignature) damaged(source, 'its directory is broken');
    const nameEnd = header + view.getUint16(at + 28, true);
    const extraEnd = nameEnd + view.getUint16(at + 30, true);
    if (extraEnd > size) damaged(source, 'its directory is broken');
    const name = new TextDecoder().decode(bytes.subarray(header, nameEnd));
    const [unpackedBytes, packedBytes, entryOffset] = wide(
      [24, 20, 42].map((field) => view.getUint32(at + field, true)),
      new DataView(bytes.buffer, nameEnd, extraEnd - nameEnd),
    );
    entries.push({
      name,
      method: methodOf(view.getUint16(at + 10, true)),
      checksum: view.getUint32(at + 16, true),
      packedBytes,
      unpackedBytes,
      offset: entryOffset,
    });
    at = extraEnd + view.getUint16(at + 32, true);
  }
  return entries;
}

/** How the data of an entry are read. */
export interface DataOptions {
  /** Whether they are compared with the checksum of the entry once they have been read to their end. Default: true. */
  readonly isVerified?: boolean;
}

/**
 * The unpacked bytes of an entry. A deflated entry is inflated as it is read.
 *
 * @param name what to call the entry in errors.
 * @throws {@link RoutingError} `DAMAGED` if its bytes are not wholly inside the archive, `UNSUPPORTED` if they are packed
 *   by another method.
 */
export async function dataOf(
  source: ByteSource,
  entry: ZipEntry,
  name: string,
  { isVerified = true }: DataOptions = {},
): Promise<ByteSource> {
  const { method, offset, packedBytes, unpackedBytes, checksum } = entry;
  if (method !== 'stored' && method !== 'deflated') {
    const problem = `is packed by method ${method}, which is not read`;
    refuse('UNSUPPORTED', problem, { file: name, remedy: 'save it with numpy.savez' });
  }
  if (offset + localBytes > source.size)
    damaged(source, 'its data are not where they should be', `entry ${entry.name}`);
  const header = await readExactly(source, offset, localBytes, `the header of ${entry.name}`);
  const view = new DataView(header.buffer);
  if (view.getUint32(0, true) !== localSignature) {
    damaged(source, 'its data are not where they should be', `entry ${entry.name}`);
  }
  const start = offset + localBytes + view.getUint16(26, true) + view.getUint16(28, true);
  if (start + packedBytes > source.size) damaged(source, 'its data end early', `entry ${entry.name}`);
  if (method === 'stored' && packedBytes !== unpackedBytes) {
    const problem = `its data are ${packedBytes} bytes instead of the promised ${unpackedBytes}`;
    damaged(source, problem, `entry ${entry.name}`);
  }
  const packed = partOf(source, start, packedBytes, name);
  const data = method === 'stored' ? packed : inflated(packed, unpackedBytes);
  return isVerified ? verified(data, checksum) : data;
}

/** Finds the record that ends the directory, behind which only a comment of at most 64 KiB may follow. */
async function findDirectory(source: ByteSource): Promise<{ count: number; size: number; offset: number }> {
  const tailStart = Math.max(0, source.size - endBytes - 2 ** 16);
  const tail = await readExactly(source, tailStart, source.size - tailStart, 'the end of the archive');
  const view = new DataView(tail.buffer);
  let at = tail.length - endBytes;
  while (at >= 0 && view.getUint32(at, true) !== endSignature) at--;
  if (at < 0) damaged(source, 'it has no directory');
  const directory = {
    count: view.getUint16(at + 10, true),
    size: view.getUint32(at + 12, true),
    offset: view.getUint32(at + 16, true),
  };
  const isWide = directory.count === in64Count || directory.size === in64 || directory.offset === in64;
  const locator = at - end64LocatorBytes;
  if (!isWide || locator < 0 || view.getUint32(locator, true) !== end64LocatorSignature) return directory;
  const end64 = await readExactly(source, integer64(view, locator + 8), end64Bytes, 'the end of the archive');
  const view64 = new DataView(end64.buffer);
  if (view64.getUint32(0, true) !== end64Signature) damaged(source, 'its zip64 directory is not where it should be');
  return { count: integer64(view64, 32), size: integer64(view64, 40), offset: integer64(view64, 48) };
}

/** Replaces the values that do not fit 32 bits by those of the extra field, which has only these, in the same order. */
function wide(values: readonly number[], extra: DataView): number[] {
  let at = 0;
  while (at + 4 <= extra.byteLength && extra.getUint16(at, true) !== extra64) at += 4 + extra.getUint16(at + 2, true);
  at += 4;
  return values.map((value) => {
    if (value !== in64 || at + 8 > extra.byteLength) return value;
    at += 8;
    return integer64(extra, at - 8);
  });
}

function integer64(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}

function methodOf(number: number): ZipEntry['method'] {
  return number === 0 ? 'stored' : number === 8 ? 'deflated' : number;
}
