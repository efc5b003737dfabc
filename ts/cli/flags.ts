/**
 * Strict parsers of flag values: `8x`, `1e3`, `0x10`, an empty string and numbers out of range are errors, not guesses.
 *
 * @module
 */
import { InvalidArgumentError } from 'commander';

/** Bounds far above any machine of today, so that a slip of the finger is a clear error instead of an exhausted memory. */
export const limits = { experts: 2 ** 20, ranks: 2 ** 16, layers: 10_000 } as const;

/** A parser of whole numbers from `least` to `most`. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most) {
      throw new InvalidArgumentError(`Give a whole number from ${least} to ${most}.`);
    }
    return value;
  };
}

/** A parser of decimal numbers from `least` to `most`. */
export function decimalNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+(\.\d+)?$/.test(text) || value < least || value > most) {
      throw new InvalidArgumentError(`Give a number from ${least} to ${most}.`);
    }
    return value;
  };
}

/** The layer to read: its index, or `all`. */
export function layerChoice(text: string): number | 'all' {
  if (text === 'all') return text;
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError("Give the index of a layer, from 0, or 'all'.");
  }
  return value;
}
