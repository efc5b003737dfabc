/**
 * Writes numpy's `.npz` format, a zip archive of `.npy` files, uncompressed as `numpy.savez` stores them. The arrays are
 * written piece by piece at any place, so that none has to be in memory. Packages that write zip archives write one entry
 * behind the other. Archives and arrays over 4 GiB are zip64, which numpy reads.
 *
 * @module
 */
import { readSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { type IntegerArray, sizeOf } from '../library.ts';
import { formatNpyHeader, type NpyType, npyTypes } from './npy.ts';
import { WholeFile } from './whole-file.ts';

/** An array of the archive. */
export interface ArrayInFile {
  readonly name: string;
  readonly dtype: NpyType;
  readonly shape: readonly number[];
}

/** An array with its place in the file. */
interface Entry {
  readonly fileName: Uint8Array;
  /** Where its local header begins. */
  readonly offset: number;
  readonly isWide: boolean;
  readonly npyHeader: Uint8Array;
  /** Where its data begin, behind the header of the `.npy` file. */
  readonly dataOffset: number;
  readonly dataBytes: number;
  /** The checksum of its first bytes, as far as they were written in their order: those need not be read again. */
  readonly summed: { bytes: number; sum: number };
}

const localBytes = 30;
/** The extra field of zip64 with two sizes, and the offset of the entry in the directory. */
const extraBytes = 4 + 16;
const extraInDirectoryBytes = 4 + 24;
/** Sizes and offsets from this on need zip64. */
const wideFrom = 0xffff_ffff;
/** The earliest date that the format knows, so that the same arrays give the same bytes: 1 January 1980. */
const date = 0x0021;
const chunkBytes = 2 ** 20;

/** An archive that is being written. It gets its name when it is finished. */
export class NpzFile {
  readonly #file: WholeFile;
  readonly #entries: ReadonlyMap<string, Entry>;
  readonly #end: number;

  private constructor(file: WholeFile, entries: ReadonlyMap<string, Entry>, end: number) {
    this.#file = file;
    this.#entries = entries;
    this.#end = end;
  }

  /**
   * Creates an archive of arrays of zeros.
   *
   * @param arrays the arrays, in the order of the file.
   */
  static create(path: string, arrays: readonly ArrayInFile[]): NpzFile {
    const entries = new Map<string, Entry>();
    let offset = 0;
    for (const { name, dtype, shape } of arrays) {
      const fileName = new TextEncoder().encode(`${name}.npy`);
      const npyHeader = formatNpyHeader(dtype, shape);
      const dataBytes = sizeOf(shape) * npyTypes[dtype].bytes;
      const isWide = npyHeader.length + dataBytes >= wideFrom;
      const dataOffset = offset + localBytes + fileName.length + (isWide ? extraBytes : 0) + npyHeader.length;
      const summed = { bytes: 0, sum: crc32(npyHeader) };
      entries.set(name, { fileName, offset, isWide, npyHeader, dataOffset, dataBytes, summed });
      offset = dataOffset + dataBytes;
    }
    const file = WholeFile.create(path);
    try {
      file.truncate(offset);
      for (const { npyHeader, dataOffset } of entries.values()) file.write(dataOffset - npyHeader.length, npyHeader);
    } catch (error) {
      file.discard();
      throw error;
    }
    return new NpzFile(file, entries, offset);
  }

  /** Writes elements of an array, from a byte of its data on. None is written twice. */
  write(name: string, at: number, elements: IntegerArray): void {
    const { dataOffset, summed } = this.#entries.get(name) as Entry;
    const bytes = new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength);
    this.#file.write(dataOffset + at, bytes);
    if (at !== summed.bytes) return;
    summed.bytes += bytes.length;
    summed.sum = crc32(bytes, summed.sum);
  }

  /** Sets every byte of an array to that of a small number, before anything of it is written. */
  fill(name: string, value: number): void {
    const { dataOffset, dataBytes } = this.#entries.get(name) as Entry;
    const chunk = new Uint8Array(Math.min(chunkBytes, dataBytes)).fill(value);
    for (let at = 0; at < dataBytes; at += chunk.length) {
      this.#file.write(dataOffset + at, chunk.subarray(0, Math.min(chunk.length, dataBytes - at)));
    }
  }

  /** Completes the archive, and gives it its name. */
  finish(): void {
    const directory: Uint8Array[] = [];
    for (const entry of this.#entries.values()) {
      const header = this.#headerOf(entry, this.#checksumOf(entry));
      this.#file.write(entry.offset, header.local);
      directory.push(header.inDirectory);
    }
    let at = this.#end;
    for (const part of [...directory, endOf(directory, this.#end)]) {
      this.#file.write(at, part);
      at += part.length;
    }
    this.#file.finish();
  }

  /** Removes the archive unless it is finished. */
  discard(): void {
    this.#file.discard();
  }

  /** The checksum of an array. What was not written in the order of the file is read again for this. */
  #checksumOf({ dataOffset, dataBytes, summed }: Entry): number {
    const chunk = new Uint8Array(chunkBytes);
    let { sum } = summed;
    for (let at = summed.bytes; at < dataBytes; ) {
      const length = readSync(this.#file.descriptor, chunk, 0, Math.min(chunkBytes, dataBytes - at), dataOffset + at);
      if (length === 0) throw new Error('a file that is being written has become shorter');
      sum = crc32(chunk.subarray(0, length), sum);
      at += length;
    }
    return sum;
  }

  #headerOf(entry: Entry, checksum: number): { local: Uint8Array; inDirectory: Uint8Array } {
    const { fileName, offset, isWide, npyHeader, dataBytes } = entry;
    const size = npyHeader.length + dataBytes;
    const isFar = isWide || offset >= wideFrom;
    const common = (version: number, extra: number): Uint8Array => {
      const bytes = new Uint8Array(26);
      const view = new DataView(bytes.buffer);
      view.setUint16(0, version, true);
      view.setUint16(8, date, true);
      view.setUint32(10, checksum, true);
      view.setUint32(14, extra > 0 ? wideFrom : size, true);
      view.setUint32(18, extra > 0 ? wideFrom : size, true);
      view.setUint16(22, fileName.length, true);
      view.setUint16(24, extra, true);
      return bytes;
    };
    const local = joined([signature(0x04034b50), common(isWide ? 45 : 20, isWide ? extraBytes : 0), fileName]);
    const rest = new Uint8Array(14);
    new DataView(rest.buffer).setUint32(10, isFar ? wideFrom : offset, true);
    return {
      local: isWide ? joined([local, extra64([size, size])]) : local,
      inDirectory: joined([
        signature(0x02014b50),
        Uint8Array.of(isFar ? 45 : 20, 0),
        common(isFar ? 45 : 20, isFar ? extraInDirectoryBytes : 0),
        rest,
        fileName,
        ...(isFar ? [extra64([size, size, offset])] : []),
      ]),
    };
  }
}

function extra64(values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 + 8 * values.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 1, true);
  view.setUint16(2, 8 * values.length, true);
  for (const [index, value] of values.entries()) view.setBigUint64(4 + 8 * index, BigInt(value), true);
  return bytes;
}

/** The records behind the directory: that of zip64 and its locator where it is needed, and the end. */
function endOf(directory: readonly Uint8Array[], offset: number): Uint8Array {
  const size = directory.reduce((sum, entry) => sum + entry.length, 0);
  const isWide = offset >= wideFrom;
  const end = new Uint8Array(22);
  const view = new DataView(end.buffer);
  view.setUint32(0, 0x06054b50, true);
  view.setUint16(8, directory.length, true);
  view.setUint16(10, directory.length, true);
  view.setUint32(12, size, true);
  view.setUint32(16, isWide ? wideFrom : offset, true);
  if (!isWide) return end;
  const wide = new Uint8Array(56 + 20);
  const view64 = new DataView(wide.buffer);
  view64.setUint32(0, 0x06064b50, true);
  view64.setBigUint64(4, 44n, true);
  view64.setUint16(12, 45, true);
  view64.setUint16(14, 45, true);
  view64.setBigUint64(24, BigInt(directory.length), true);
  view64.setBigUint64(32, BigInt(directory.length), true);
  view64.setBigUint64(40, BigInt(size), true);
  view64.setBigUint64(48, BigInt(offset), true);
  view64.setUint32(56, 0x07064b50, true);
  view64.setBigUint64(64, BigInt(offset + size), true);
  view64.setUint32(72, 1, true);
  return joined([wide, end]);
}

function signature(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
