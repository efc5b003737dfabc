/**
 * Timing one function with `benchmark`.
 *
 * @module
 */
import Benchmark from 'benchmark';
import { median } from './statistics.ts';

/** Runs it for 30 ms, so that V8's optimising compilers are done with it before it is measured. */
export function warmUp(run: () => void): void {
  for (const start = performance.now(); performance.now() - start < 30; ) run();
}

/** Seconds that one call of `run` takes: the median of a few samples of at least a hundredth of a second. */
export function secondsPerRun(run: () => void): number {
  const benchmark = new Benchmark(run, { minTime: 0.01, maxTime: 0.03, minSamples: 3 });
  benchmark.run();
  // benchmark does not throw what the function throws
  const { error } = benchmark as unknown as { readonly error?: unknown };
  if (error !== undefined) throw error;
  return median(benchmark.stats.sample);
}
