/**
 * Numbers in the form in which people read them.
 *
 * @module
 */

import { counted, grouped } from '../library.ts';

export { counted, grouped };

/** How a number compares with the mean: `1.25x`. */
export function timesMean(ratio: number): string {
  return `${ratio.toFixed(2)}x`;
}

/** A time in the unit that suits it: `32.1 µs`. */
export function duration(seconds: number): string {
  if (seconds < 1e-3) return `${(seconds * 1e6).toFixed(1)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(2)} ms`;
  return `${seconds.toFixed(2)} s`;
}

/** A large number, abbreviated: `127.5 million`. */
export function abbreviated(value: number): string {
  if (value >= 1e9) return `${(value / 1e9).toFixed(2)} billion`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} million`;
  return grouped(value);
}
