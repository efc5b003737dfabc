/**
 * Reads the placement of `--placement`: the rank of each expert.
 *
 * @module
 */
import { fail } from '../fail.ts';
import { readArray } from './read-array.ts';
import { displayName } from './read-bytes.ts';

/**
 * Reads a file of one dimension. Whether its elements are ranks is for the library to check.
 *
 * @param path a file, or `-` for standard input.
 */
export async function readPlacement(path: string): Promise<number[]> {
  const { data, shape } = await readArray(path);
  if (shape.length !== 1) {
    fail(`${displayName(path)} is [${shape.join(', ')}]; a placement is [numExperts]: the rank of each expert`);
  }
  return Array.from(data, Number);
}
