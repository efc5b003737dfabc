/**
 * A writer of the zip archives of `torch.save`: as PyTorch writes them, with the sizes of each record only in the
 * directory, data padded to multiples of 64 bytes, and a directory of 64 bits besides that of 32 bits.
 *
 * @module
 */
import { crc32, deflateRawSync } from 'node:zlib';

/** How to write an archive. */
export interface ArchiveForm {
  readonly isDeflated?: boolean;
  /** Whether sizes and offsets are written as fields of 64 bits, as in archives over 4 GiB. */
  readonly isWide?: boolean;
  /** The checksum of all records, where it is not that of their data. PyTorch can leave checksums out. */
  readonly checksum?: number;
  readonly folder?: string;
}

/** An archive of records in a folder. */
export function writeArchive(records: Readonly<Record<string, Uint8Array>>, form: ArchiveForm = {}): Buffer {
  const { isDeflated = false, isWide = false, checksum, folder = 'archive' } = form;
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  const add = (...buffers: readonly Buffer[]): void => {
    for (const buffer of buffers) {
      parts.push(buffer);
      offset += buffer.length;
    }
  };
  for (const [record, data] of Object.entries(records)) {
    const name = Buffer.from(folder === '' ? record : `${folder}/${record}`);
    const packed = isDeflated ? deflateRawSync(data) : Buffer.from(data);
    const method = isDeflated ? 8 : 0;
    const start = offset;
    const end = offset + 30 + name.length + 4;
    const padding = Buffer.alloc(4 + ((64 - (end % 64)) % 64), 'Z');
    padding.write('FB', 'latin1');
    padding.writeUInt16LE(padding.length - 4, 2);
    const flags = 0x0808;
    add(fields([0x04034b50, 4], [20, 2], [flags, 2], [method, 2], [0, 16], [name.length, 2], [padding.length, 2]));
    add(name, padding, packed);
    const sum = checksum ?? crc32(data);
    add(fields([0x08074b50, 4], [sum, 4], [packed.length, 4], [data.length, 4]));
    const wide = isWide ? fields([1, 2], [24, 2], [data.length, 8], [packed.length, 8], [start, 8]) : Buffer.alloc(0);
    const sizes = isWide ? [2 ** 32 - 1, 2 ** 32 - 1] : [packed.length, data.length];
    directory.push(
      fields(
        [0x02014b50, 4],
        [20, 2],
        [20, 2],
        [flags, 2],
        [method, 2],
        [0, 4],
        [sum, 4],
        [sizes[0], 4],
        [sizes[1], 4],
      ),
      fields([name.length, 2], [wide.length, 2], [0, 2], [0, 8], [isWide ? 2 ** 32 - 1 : start, 4]),
      name,
      wide,
    );
  }
  const start = offset;
  add(...directory);
  const size = offset - start;
  const count = Object.keys(records).length;
  const end64 = offset;
  add(fields([0x06064b50, 4], [44, 8], [45, 2], [45, 2], [0, 8], [count, 8], [count, 8], [size, 8], [start, 8]));
  add(fields([0x07064b50, 4], [0, 4], [end64, 8], [1, 4]));
  const narrow = isWide ? [0xffff, 2 ** 32 - 1, 2 ** 32 - 1] : [count, size, start];
  add(fields([0x06054b50, 4], [0, 4], [narrow[0], 2], [narrow[0], 2], [narrow[1], 4], [narrow[2], 4], [0, 2]));
  return Buffer.concat(parts);
}

/** A file of `torch.save`. */
export function writeTorchFile(
  pickle: Uint8Array,
  storages: Readonly<Record<string, Uint8Array>> = {},
  form: ArchiveForm & { readonly byteOrder?: string; readonly version?: string } = {},
): Buffer {
  const data = Object.entries(storages).map(([key, bytes]) => [`data/${key}`, bytes] as const);
  const records = {
    'data.pkl': pickle,
    byteorder: Buffer.from(form.byteOrder ?? 'little'),
    ...Object.fromEntries(data),
    version: Buffer.from(form.version ?? '3\n'),
  };
  return writeArchive(records, form);
}

/** Little-endian fields, each with its number of bytes. */
function fields(...values: readonly (readonly [value: number, bytes: number])[]): Buffer {
  return Buffer.concat(
    values.map(([value, bytes]) => {
      const buffer = Buffer.alloc(bytes);
      for (let i = 0, rest = value; i < bytes && rest > 0; i++, rest = Math.floor(rest / 256)) buffer[i] = rest % 256;
      return buffer;
    }),
  );
}
