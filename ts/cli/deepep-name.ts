/**
 * The names that DeepEP has for the outputs of a layout.
 *
 * @module
 */
import type { OutputName } from './library.ts';

/** DeepEP's name of an output: `num_tokens_per_rank` for `numTokensPerRank`. */
export function deepepName(name: OutputName): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
