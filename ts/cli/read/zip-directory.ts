/**
 * Reads the directory at the end of a zip archive, and finds the packed bytes that it points to. Section 4.3 of PKWARE's
 * APPNOTE.TXT describes the format.
 *
 * `write/npz.ts` writes archives with the package fflate, but that package would inflate data to their end even if they
 * go on for gigabytes beyond the size that the directory promises. Archives over 4 GiB (zip64) are not read.
 *
 * @module
 */

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

const endSignature = 0x06054b50;
const entrySignature = 0x02014b50;
const localSignature = 0x04034b50;
const endBytes = 22;
const entryBytes = 46;
const localBytes = 30;

/** @throws Error, or RangeError, if there is no directory or it is not wholly inside the archive. */
export function listZipEntries(bytes: Uint8Array<ArrayBuffer>): ZipEntry[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = findEnd(view);
  const count = view.getUint16(end + 10, true);
  const entries: ZipEntry[] = [];
  let at = view.getUint32(end + 16, true);
  for (let i = 0; i < count; i++) {
    if (view.getUint32(at, true) !== entrySignature) throw new Error('its directory is broken');
    const nameBytes = view.getUint16(at + 28, true);
    const name = bytes.subarray(at + entryBytes, at + entryBytes + nameBytes);
    entries.push({
      name: Buffer.from(name).toString('utf8'),
      method: methodOf(view.getUint16(at + 10, true)),
      checksum: view.getUint32(at + 16, true),
      packedBytes: view.getUint32(at + 20, true),
      unpackedBytes: view.getUint32(at + 24, true),
      offset: view.getUint32(at + 42, true),
    });
    at += entryBytes + nameBytes + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return entries;
}

/**
 * The packed bytes of a file.
 *
 * @throws Error, or RangeError, if they are not wholly inside the archive.
 */
export function packedBytesOf(bytes: Uint8Array<ArrayBuffer>, entry: ZipEntry): Uint8Array<ArrayBuffer> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(entry.offset, true) !== localSignature) throw new Error('its data are not where they should be');
  const extra = view.getUint16(entry.offset + 26, true) + view.getUint16(entry.offset + 28, true);
  const start = entry.offset + localBytes + extra;
  const packed = bytes.subarray(start, start + entry.packedBytes);
  if (packed.length !== entry.packedBytes) throw new Error('its data end early');
  return packed;
}

/** Finds the record that ends the directory. Only a comment of at most 64 KiB may follow it. */
function findEnd(view: DataView): number {
  for (let at = view.byteLength - endBytes; at >= 0 && at > view.byteLength - endBytes - 2 ** 16; at--) {
    if (view.getUint32(at, true) === endSignature) return at;
  }
  throw new Error('it has no directory');
}

function methodOf(number: number): ZipEntry['method'] {
  return number === 0 ? 'stored' : number === 8 ? 'deflated' : number;
}
