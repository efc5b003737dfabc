/**
 * Computes all chosen layers, and measures how long that takes.
 *
 * @module
 */
import { startProgress } from '../progress.ts';

/** The time of one pass over all chosen layers, without reading the file and without reporting. */
export interface Timing {
  readonly seconds: number;
  /** How many passes `seconds` is the median of. The first pass is one of them only if it is the only one. */
  readonly numPasses: number;
  /** Whether there was a pass before those that were measured. */
  readonly warm: boolean;
}

/** For how long passes are repeated: long enough for a steady median, and too short for the user to notice. */
const timingBudgetMs = 150;
const maxPasses = 101;

/**
 * Computes all layers, and measures how long that takes. The first pass also warms up; if it was short, more passes follow,
 * and the time is their median.
 */
export function timePasses(computeLayer: (index: number) => void, numLayers: number): Timing {
  const progress = startProgress('computing layers', numLayers);
  const firstStart = performance.now();
  try {
    for (let layer = 0; layer < numLayers; layer++) {
      computeLayer(layer);
      progress.update(layer + 1);
    }
  } finally {
    progress.stop();
  }
  const firstMs = performance.now() - firstStart;
  if (firstMs > timingBudgetMs) return { seconds: firstMs / 1000, numPasses: 1, warm: false };

  const times: number[] = [];
  const repeatUntil = performance.now() + timingBudgetMs;
  do {
    const start = performance.now();
    for (let layer = 0; layer < numLayers; layer++) computeLayer(layer);
    times.push(performance.now() - start);
  } while (times.length < maxPasses && performance.now() < repeatUntil);
  times.sort((left, right) => left - right);
  return { seconds: times[times.length >> 1] / 1000, numPasses: times.length, warm: true };
}
