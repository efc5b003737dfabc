/**
 * From which sizes on other threads are worth it, in selections (`numTokens * numTopk`). The figures are in
 * docs/threads.md.
 *
 * @module
 */

/** Mutable, so that the tests can have small layouts split. */
export const thresholds = {
  /** A call with `threads: n` is split: into two chunks. */
  split: 16384,
  /** A call with `threads: 'auto'` is split. */
  auto: 131072,
  /** With `asyncFinish`, a worker computes it. A smaller one is computed at once: telling the worker takes as long. */
  background: 16384,
  /** A chunk is not smaller: about 6 µs of work for the 0.3 µs that it costs. */
  chunk: 8192,
};
