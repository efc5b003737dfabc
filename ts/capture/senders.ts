/**
 * Which rank sends the tokens of which file.
 *
 * @module
 */

/**
 * For each file, the rank that sends its tokens. Files say it themselves, or there is one for each rank, in the order of
 * ranks. Otherwise nobody knows, and the result is null.
 *
 * @param ranks for each file, the rank that it says its tokens are of; null where it says none.
 */
export function sendersOf(ranks: readonly (number | null)[], numRanks: number): readonly number[] | null {
  const named = ranks.filter((rank) => rank !== null);
  if (named.length === ranks.length) return named.every((rank) => rank < numRanks) ? named : null;
  return named.length === 0 && ranks.length === numRanks && numRanks > 1 ? ranks.map((_, index) => index) : null;
}
