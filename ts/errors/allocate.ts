/**
 * The allocation of arrays whose length the caller decides.
 *
 * @module
 */
import { DispatchLayoutError } from './errors.ts';

/**
 * Makes an array of zeros.
 *
 * @param what what messages call it: `a table of 5 experts`.
 * @throws DispatchLayoutError `OUT_OF_MEMORY`
 */
export function allocateInt32(length: number, what: string, remedy: string): Int32Array<ArrayBuffer> {
  try {
    return new Int32Array(length);
  } catch (cause) {
    throw new DispatchLayoutError('OUT_OF_MEMORY', `${what} does not fit in memory`, { value: length, remedy, cause });
  }
}
