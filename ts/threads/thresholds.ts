/**
 * From which sizes on other threads are worth it, in selections (`numTokens * numTopk`). The figures are in docs/threads.md.
 *
 * @module
 */

/** Mutable, so that the tests can have small layouts split. */
export const thresholds = {
  /** A call is split, if a worker is awake. */
  split: 131_072,
  /** A call wakes sleeping workers, which takes 100 µs and more; a smaller one does that in a row of calls only. */
  wake: 2 ** 20,
  /** With `asyncFinish`, a worker computes it. A smaller one is computed at once: telling the worker takes as long. */
  background: 65_536,
  /** A chunk is not smaller: about 6 µs of work for the 0.3 µs that it costs. */
  chunk: 8192,
};

/** Calls with less time between them, in milliseconds, are a row: a worker that is woken late is awake for the next. */
export const rowGap = 1;
