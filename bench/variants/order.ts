/**
 * What an order of rows is to the benchmark: four arrays, in the order in which docs/permutations.md describes them.
 *
 * @module
 */
import type { Configuration } from '../configurations.ts';

/** The two orders. */
export type OrderKind = 'byExpert' | 'byRank';

/** The arrays, named by `orderNames`. */
export type OrderArrays = readonly Int32Array[];

/** The names of the arrays in the results of the library. */
export const orderNames = {
  byExpert: ['numTokensPerExpert', 'expertOffsets', 'selectionOfRow', 'rowOfSelection'],
  byRank: ['numTokensPerRank', 'rankOffsets', 'tokenOfRow', 'rowOfSelection'],
} as const;

/** The lengths of the arrays, without padding. */
export function orderLengths(
  kind: OrderKind,
  { numTokens, numTopk, numExperts, numRanks }: Configuration,
): readonly number[] {
  const numKeys = kind === 'byExpert' ? numExperts : numRanks;
  const numRows = numTokens * (kind === 'byExpert' ? numTopk : Math.min(numTopk, numRanks));
  return [numKeys, numKeys + 1, numRows, numTokens * numTopk];
}

/** New result arrays of an order. */
export function newOrder(kind: OrderKind, configuration: Configuration): OrderArrays {
  return orderLengths(kind, configuration).map((length) => new Int32Array(length));
}

/** The arrays of an object that has them by name. */
export function arraysOf<Data>(kind: OrderKind, order: object): readonly Data[] {
  const arrays = order as Readonly<Record<string, Data>>;
  return orderNames[kind].map((name) => arrays[name]);
}
