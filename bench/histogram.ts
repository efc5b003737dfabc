/**
 * The histogram of experts alone, by libraries that have one: tfjs and numpy.
 *
 * @module
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import type { Configuration } from './configurations.ts';
import { secondsPerRun } from './time.ts';
import type { Problem } from './variants/variant.ts';

/** A way to count experts. */
export interface Histogram {
  counts(): Promise<ArrayLike<number>>;
  /** Seconds per histogram. */
  sample(): Promise<number>;
  close(): void;
}

/** `tf.bincount` on the backend that works in every Node, over int32 ids in a tensor, counts copied out. */
export async function tfjsHistogram({ configuration, int32 }: Problem): Promise<Histogram> {
  await tf.setBackend('cpu');
  const ids = tf.tensor1d(int32, 'int32');
  const noWeights = tf.tensor1d([], 'int32');
  const count = () => tf.tidy(() => tf.bincount(ids, noWeights, configuration.numExperts).dataSync());
  return {
    counts: async () => count(),
    sample: async () => secondsPerRun(() => void count()),
    close: () => tf.dispose([ids, noWeights]),
  };
}

/** `numpy.bincount` over int64 ids in a Python process, or undefined where there is no numpy. */
export async function numpyHistogram({ configuration, int64 }: Problem): Promise<Histogram | undefined> {
  const child = spawn('python3', [fileURLToPath(new URL('numpy_bincount.py', import.meta.url)), ...sizes(configuration)], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const isRunning = new Promise<boolean>((resolve) => {
    child.once('spawn', () => resolve(true)).once('error', () => resolve(false));
  });
  if (!(await isRunning)) return undefined;
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  child.stdin.on('error', () => {});
  child.stdin.write(new Uint8Array(int64.buffer, int64.byteOffset, int64.byteLength));
  const first = await lines.next();
  if (first.done) return undefined;
  return {
    counts: async () => JSON.parse(first.value) as number[],
    async sample() {
      child.stdin.write('\n');
      return Number((await lines.next()).value);
    },
    close: () => child.stdin.end(),
  };
}
