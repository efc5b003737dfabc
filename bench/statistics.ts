/**
 * Medians and spread.
 *
 * @module
 */

/** The middle value; the mean of the two in the middle of an even number. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('the median of no values');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The median of `baseline / values`, divided value by value: each pair comes from one process. */
export function medianRatio(baseline: readonly number[], values: readonly number[]): number {
  if (baseline.length !== values.length) throw new RangeError('ratios of different numbers of processes');
  return median(baseline.map((value, process) => value / values[process]));
}

/** Half the range of the values, in proportion to their median. */
export function spread(values: readonly number[]): number {
  return (Math.max(...values) - Math.min(...values)) / 2 / median(values);
}
