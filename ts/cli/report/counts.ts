/**
 * Counts by rank, node or expert, and how even they are.
 *
 * @module
 */

/** Counts of tokens, by rank, RDMA rank or expert. */
export type Counts = ArrayLike<number>;

/** The sum of counts. */
export function sum(counts: Counts): number {
  let result = 0;
  for (let index = 0; index < counts.length; index++) result += counts[index];
  return result;
}

/** The indices of counts, the largest count first. Equal counts stay in the order of their indices. */
export function hottestFirst(counts: Counts): number[] {
  return Array.from(counts, (_, index) => index).sort((left, right) => counts[right] - counts[left] || left - right);
}

/** The index of the largest count, or the first such index. */
export function hottest(counts: Counts): number {
  let best = 0;
  for (let index = 1; index < counts.length; index++) if (counts[index] > counts[best]) best = index;
  return best;
}

/** The largest count divided by the mean count: 1 where all are equal, `null` where nothing was counted. */
export function imbalance(counts: Counts): number | null {
  const mean = sum(counts) / counts.length;
  return mean === 0 ? null : counts[hottest(counts)] / mean;
}

/** Adds up the counts of all layers, as doubles, since the sums of 32-bit counts may need more than 32 bits. */
export function sumOverLayers(layers: readonly Counts[]): Float64Array {
  const sums = new Float64Array(layers[0].length);
  for (const counts of layers) {
    for (let index = 0; index < counts.length; index++) sums[index] += counts[index];
  }
  return sums;
}
