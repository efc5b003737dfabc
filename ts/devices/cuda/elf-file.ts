/**
 * Checks that the file of an addon is whole. Linux maps a file that was cut short (by a full disk, or a broken
 * download) without complaint, and kills the process at the first access behind the end of the file.
 *
 * @module
 */

/** The first bytes of a little-endian 64-bit ELF file. */
const magic = [0x7f, 0x45, 0x4c, 0x46, 2, 1];
const headerBytes = 64;

/**
 * Checks an addon on Linux: its section headers must be there, since linkers put them at the end of the file. A file
 * that cannot be read passes, since the attempt to load it says why.
 *
 * @throws Error if the file is not an addon, or not a whole one.
 */
export function checkWhole(path: string): void {
  if (process.platform !== 'linux' || !path.endsWith('.node')) return;
  const file = readHeader(path);
  if (file === undefined) return;
  const { header, length } = file;
  if (header.byteLength < headerBytes || magic.some((byte, i) => header.getUint8(i) !== byte)) {
    throw new Error(`it is not an addon for Linux (its ${length} bytes do not begin as an addon does)`);
  }
  const sectionsOffset = header.getBigUint64(0x28, true);
  const sectionsBytes = header.getUint16(0x3a, true) * header.getUint16(0x3c, true);
  if (sectionsOffset + BigInt(sectionsBytes) > BigInt(length)) {
    throw new Error(`it is cut short, to ${length} bytes of ${sectionsOffset + BigInt(sectionsBytes)}`);
  }
}

function readHeader(path: string): { readonly header: DataView; readonly length: number } | undefined {
  const { closeSync, fstatSync, openSync, readSync } = process.getBuiltinModule('node:fs');
  try {
    const file = openSync(path, 'r');
    try {
      const bytes = new Uint8Array(headerBytes);
      const numRead = readSync(file, bytes, 0, headerBytes, 0);
      return { header: new DataView(bytes.buffer, 0, numRead), length: fstatSync(file).size };
    } finally {
      closeSync(file);
    }
  } catch {
    return undefined;
  }
}
