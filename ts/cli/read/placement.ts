/**
 * Placements that need no plan: names, and files of the rank of each expert.
 *
 * @module
 */
import type { RoutingSource } from '../../routing/index.ts';
import { readIntegers } from '../../routing/read-integers.ts';
import { fail } from '../fail.ts';
import type { PlacementName } from '../library.ts';

/** Which rank each expert is on. */
export interface ChosenPlacement {
  /** What the library takes. */
  readonly option: PlacementName | readonly number[] | undefined;
  /** In one word. */
  readonly name: 'contiguous' | 'table' | PlacementName;
  /** In the words of the report, behind the number of experts. */
  readonly inWords: string;
}

/**
 * The placement of a name.
 *
 * @param name undefined for that of the library: equal blocks.
 */
export function placementOfName(name: PlacementName | undefined): ChosenPlacement {
  if (name === undefined) return { option: undefined, name: 'contiguous', inWords: 'in equal blocks, rank by rank' };
  return { option: name, name, inWords: `placed ${name}` };
}

/**
 * Reads a file of one dimension, and checks it. The library would check it, too, but its messages would use the names
 * of its options, and large integers would already have become inexact numbers.
 *
 * @param name what the source is called in messages.
 */
export async function readTable(
  source: RoutingSource,
  name: string,
  numExperts: number,
  numRanks: number,
): Promise<ChosenPlacement> {
  const { data, shape } = await readIntegers(source, { name });
  if (shape.length !== 1)
    fail(`${name} has shape [${shape.join(', ')}]; a placement has shape [experts]: the rank of each expert`);
  if (data.length !== numExperts) {
    fail(`${name} has the ranks of ${data.length} experts, but --num-experts is ${numExperts}: give the rank of each`);
  }
  const option = Array.from(data as ArrayLike<number | bigint>, (rank, expert) => {
    if (rank < -1 || rank >= numRanks) {
      fail(`${name}, expert ${expert}: ${rank} is not a rank in [0, ${numRanks}), nor -1 for none`);
    }
    return Number(rank);
  });
  return { option, name: 'table', inWords: `placed by ${name}` };
}
