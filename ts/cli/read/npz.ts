/**
 * Numpy's `.npz` format, a zip archive of `.npy` files: takes one array out of it.
 *
 * @module
 */
import { crc32, inflateRawSync } from 'node:zlib';
import { fail, UsageError, withMemory } from '../fail.ts';
import type { Content } from './content.ts';
import { splitRemedy } from './read-bytes.ts';
import { listZipEntries, packedBytesOf, type ZipEntry } from './zip-directory.ts';

/** The first two bytes of every zip archive. */
export const zipMagic = 'PK';

/** The most bytes to which one array may unpack. Without a limit, an archive of a few megabytes could fill any memory. */
const maxUnpackedBytes = 2 ** 30;

/**
 * Unpacks the `.npy` file of one array.
 *
 * @param arrayName the array to take; it may be undefined if the archive holds only one.
 * @param content what the archive is read for.
 * @param name what to call the archive in errors.
 */
export function unpackNpz(
  bytes: Uint8Array<ArrayBuffer>,
  arrayName: string | undefined,
  content: Content,
  name: string,
): Uint8Array<ArrayBuffer> {
  const files = orDamaged(`${name}, a zip archive,`, () => listZipEntries(bytes));
  const entries = files.filter((entry) => entry.name.endsWith('.npy'));
  if (entries.length === 0) failWithoutArrays(files, content, name);
  const names = entries.map((entry) => entry.name.slice(0, -'.npy'.length));
  const listed = shorten(names);
  if (arrayName === undefined && names.length > 1) {
    fail(`${name} holds ${names.length} arrays (${listed}); ${content.choiceRemedy}`);
  }
  const index = arrayName === undefined ? 0 : names.indexOf(arrayName);
  if (index < 0) fail(`${name} holds no array '${arrayName}'; it has ${listed}`);

  if (names.indexOf(names[index], index + 1) >= 0) fail(`${name} is damaged: it holds array '${names[index]}' twice`);
  return unpack(bytes, entries[index], `array '${names[index]}' of ${name}`);
}

function failWithoutArrays(files: readonly ZipEntry[], { variable }: Content, name: string): never {
  if (files.length === 0) fail(`${name} is an .npz without arrays; save one with numpy.savez(path, ${variable})`);
  // The files that torch.save writes are zip archives, too.
  if (files.some((file) => /(^|\/)data\.pkl$/.test(file.name))) {
    fail(`${name} is a PyTorch file, without an .npy array; save with numpy.save(path, ${variable}.cpu().numpy())`);
  }
  const listed = shorten(files.map((file) => file.name));
  fail(`${name} is a zip archive without an .npy array (${listed}); save one with numpy.savez(path, ${variable})`);
}

function shorten(names: readonly string[]): string {
  return names.length > 12 ? `${names.slice(0, 12).join(', ')}, …` : names.join(', ');
}

function unpack(bytes: Uint8Array<ArrayBuffer>, entry: ZipEntry, what: string): Uint8Array<ArrayBuffer> {
  const { method, unpackedBytes } = entry;
  if (unpackedBytes > maxUnpackedBytes) {
    fail(`${what} unpacks to ${unpackedBytes} bytes; the limit is ${maxUnpackedBytes}: save it as .npy instead`);
  }
  if (method !== 'stored' && method !== 'deflated') {
    fail(`${what} is packed by method ${method}, which is not read; save it with numpy.savez`);
  }
  const packed = orDamaged(what, () => packedBytesOf(bytes, entry));
  const unpacked = method === 'stored' ? packed : inflate(packed, unpackedBytes, what);
  if (unpacked.length !== unpackedBytes) {
    fail(`${what} is damaged: its data are ${unpacked.length} bytes instead of the promised ${unpackedBytes}`);
  }
  if (crc32(unpacked) !== entry.checksum) fail(`${what} is damaged: its checksum is not that of its data`);
  return unpacked;
}

/** Inflates `packed`. It is an error if the data are longer than `unpackedBytes`; they are not inflated further then. */
function inflate(packed: Uint8Array, unpackedBytes: number, what: string): Uint8Array<ArrayBuffer> {
  // Node.js refuses a limit of 0, so an entry that promises no bytes gets a limit of 1. The chunk is one byte larger
  // than the data, by which zlib knows that it has all of them; so they are in one piece and need not be copied
  // together.
  const options = { maxOutputLength: Math.max(unpackedBytes, 1), chunkSize: Math.max(unpackedBytes + 1, 64) };
  const run = () => {
    try {
      const { buffer, byteOffset, length } = inflateRawSync(packed, options);
      return new Uint8Array(buffer as ArrayBuffer, byteOffset, length);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') throw error;
      throw new Error(`its data go on after the promised ${unpackedBytes} bytes`);
    }
  };
  return orDamaged(what, () => withMemory(`the ${unpackedBytes} bytes of ${what}`, splitRemedy, run));
}

/** Calls `read`, which reads from the archive, and reports whatever it throws as damage of `what`. */
function orDamaged<Result>(what: string, read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    if (error instanceof UsageError) throw error;
    // The archive is all that `read` depends on, so any error, such as a RangeError or an error of zlib, is due to the
    // archive.
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`${what} is damaged or truncated (${reason})`, { cause: error });
  }
}
