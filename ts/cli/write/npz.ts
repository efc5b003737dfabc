/**
 * The writer of numpy's `.npz` format, a zip archive of `.npy` files.
 *
 * @module
 */
import { type Zippable, zipSync } from 'fflate';
import { fail } from '../fail.ts';

/** The largest archive without zip64, which fflate does not write, less some room for names and headers. */
const maxArchiveBytes = 2 ** 32 - 2 ** 20;

/**
 * Packs named `.npy` files, uncompressed as `numpy.savez` stores them. The same arrays always give the same bytes.
 *
 * @param name what to call the archive in errors.
 */
export function packNpz(arrays: Readonly<Record<string, Uint8Array>>, name: string): Uint8Array<ArrayBuffer> {
  const total = Object.values(arrays).reduce((sum, array) => sum + array.length, 0);
  if (total > maxArchiveBytes)
    fail(`${name} would take ${total} bytes, more than an .npz can hold; take one --layer at a time`);
  const files: Zippable = {};
  for (const [key, array] of Object.entries(arrays)) files[`${key}.npy`] = array;
  return zipSync(files, { level: 0, mtime: new Date(1980, 0, 1) });
}
