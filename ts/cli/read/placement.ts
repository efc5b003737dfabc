/**
 * Reads the placement of `--placement`: the rank of each expert.
 *
 * @module
 */
import { fail } from '../fail.ts';
import { placementContent } from './content.ts';
import { readArray } from './read-array.ts';
import { displayName } from './read-bytes.ts';

/**
 * Reads a file of one dimension, and checks it. The library would check it, too, but its messages would use the names
 * of its options, and large integers would already have become inexact numbers.
 *
 * @param path a file, or `-` for standard input.
 */
export async function readPlacement(path: string, numExperts: number, numRanks: number): Promise<number[]> {
  const name = displayName(path);
  const { data, shape } = await readArray(path, placementContent);
  if (shape.length !== 1)
    fail(`${name} has shape [${shape.join(', ')}]; a placement has shape [experts]: the rank of each expert`);
  if (data.length !== numExperts) {
    fail(`${name} has the ranks of ${data.length} experts, but --num-experts is ${numExperts}: give the rank of each`);
  }
  return Array.from(data as ArrayLike<number | bigint>, (rank, expert) => {
    if (rank < -1 || rank >= numRanks) {
      fail(`${name}, expert ${expert}: ${rank} is not a rank in [0, ${numRanks}), nor -1 for none`);
    }
    return Number(rank);
  });
}
