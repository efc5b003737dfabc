/**
 * Numbers and names as the pictures show them.
 *
 * @module
 */
import type { Capture } from '../../ts/capture/capture.ts';
import { grouped } from '../../ts/values/grouped.ts';

export { grouped };

/** How a number compares with the mean: `1.25`. */
export function ratio(value: number | null | undefined): string {
  return value === null || value === undefined ? 'none' : value.toFixed(3);
}

/** A share of a whole: `12.5 %`. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** A sentence that says of how many tokens figures of ranks are; empty where it is all of them. */
export function ofKept({ keepEvery, numKept, numTokens }: Capture): string {
  return keepEvery === 1 ? '' : ` These are ${grouped(numKept)} of the ${grouped(numTokens)} tokens.`;
}

/** A number of bytes: `1.25 GB`. */
export function bytes(value: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB'];
  const unit = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(value) / 3));
  return unit === 0 ? `${grouped(value)} bytes` : `${(value / 1000 ** unit).toFixed(2)} ${units[unit]}`;
}
