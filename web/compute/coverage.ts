/**
 * Which share of all selections the most popular experts have.
 *
 * @module
 */

/** `[numExperts + 1]`: the share of the n most popular experts; null where nothing was selected. */
export function coverageOf(counts: ArrayLike<number>): Float64Array | null {
  const sorted = Float64Array.from(counts).sort().reverse();
  const sum = sorted.reduce((all, count) => all + count, 0);
  if (sum === 0) return null;
  const shares = new Float64Array(sorted.length + 1);
  for (let index = 0; index < sorted.length; index++) shares[index + 1] = shares[index] + sorted[index] / sum;
  return shares;
}
