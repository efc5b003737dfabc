/**
 * Numpy's `.npz` format, a zip archive of `.npy` files: picks one array, and writes several.
 *
 * @module
 */
import { type UnzipFileInfo, type Unzipped, unzipSync, type Zippable, zipSync } from 'fflate';
import { fail, UsageError } from './fail.ts';

/** The first two bytes of every zip archive. */
export const zipMagic = 'PK';

/** The most that one array is unpacked to: an archive of a few MB could claim (and fill) any memory. */
const maxUnpackedBytes = 2 ** 30;
const maxEntries = 65_536;

/** The largest archive without zip64, which fflate does not write; the rest is room for names and headers. */
const maxArchiveBytes = 2 ** 32 - 2 ** 20;

/**
 * Unpacks the `.npy` file of one array.
 *
 * @param arrayName the array to take; may be left out when there is only one.
 */
export function unpackNpz(bytes: Uint8Array, arrayName: string | undefined, name: string): Uint8Array<ArrayBuffer> {
  const entries = listArrays(bytes, name);
  const names = entries.map((entry) => entry.name.slice(0, -'.npy'.length));
  if (names.length === 0) {
    fail(
      `${name} is a zip archive without an .npy array; from PyTorch, save with numpy.save(path, topk_idx.cpu().numpy())`,
    );
  }
  const listed = names.length > 12 ? `${names.slice(0, 12).join(', ')}, …` : names.join(', ');
  if (arrayName === undefined && names.length > 1) {
    fail(`${name} holds ${names.length} arrays (${listed}); choose one with --array NAME`);
  }
  const index = arrayName === undefined ? 0 : names.indexOf(arrayName);
  if (index < 0) fail(`${name} holds no array '${arrayName}'; it has ${listed}`);

  const chosen = entries[index];
  if (chosen.originalSize > maxUnpackedBytes) {
    const size = `${chosen.originalSize} bytes`;
    fail(
      `array '${names[index]}' of ${name} unpacks to ${size}; the limit is ${maxUnpackedBytes}: save it as .npy instead`,
    );
  }
  const unpacked = unzip(bytes, name, (entry) => entry.name === chosen.name)[chosen.name];
  if (unpacked?.length !== chosen.originalSize)
    fail(`array '${names[index]}' of ${name} is damaged: its data end early`);
  return unpacked;
}

/**
 * Packs named `.npy` files, stored as `numpy.savez` stores them. The same arrays always give the same bytes.
 *
 * @param name what to call the archive in errors.
 */
export function packNpz(arrays: Readonly<Record<string, Uint8Array>>, name: string): Uint8Array<ArrayBuffer> {
  const total = Object.values(arrays).reduce((sum, array) => sum + array.length, 0);
  if (total > maxArchiveBytes)
    fail(`${name} would take ${total} bytes, more than an .npz can hold; write one --layer at a time`);
  const files: Zippable = {};
  for (const [key, array] of Object.entries(arrays)) files[`${key}.npy`] = array;
  return zipSync(files, { level: 0, mtime: new Date(1980, 0, 1) });
}

function listArrays(bytes: Uint8Array, name: string): UnzipFileInfo[] {
  const entries: UnzipFileInfo[] = [];
  let seen = 0;
  unzip(bytes, name, (entry) => {
    if (++seen > maxEntries) fail(`${name} is a zip archive of more than ${maxEntries} files`);
    if (entry.name.endsWith('.npy')) entries.push(entry);
    return false;
  });
  return entries;
}

function unzip(bytes: Uint8Array, name: string, filter: (entry: UnzipFileInfo) => boolean): Unzipped {
  try {
    return unzipSync(bytes, { filter });
  } catch (error) {
    if (error instanceof UsageError) throw error;
    // Whatever fflate trips over (FlateError, RangeError) came from the archive: nothing else goes in.
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`${name} is a damaged or truncated zip archive (${reason})`, { cause: error });
  }
}
