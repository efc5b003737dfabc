/**
 * The names that outputs have in files. Those of a layout are the names of DeepEP.
 *
 * @module
 */
import type { OutputName } from './library.ts';

/** The name of an output in Python's spelling: `num_tokens_per_rank` for `numTokensPerRank`. */
export function nameInFiles(name: OutputName): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
