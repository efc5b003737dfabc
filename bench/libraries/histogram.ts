/**
 * The histogram of experts alone, by libraries that have one: tfjs and numpy.
 *
 * @module
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import { secondsPerRun } from '../time.ts';
import type { Problem } from '../variants/variant.ts';

/** A way to count experts. */
export interface Histogram {
  readonly counts: ArrayLike<number>;
  /** Seconds per histogram. */
  sample(): Promise<number>;
  close(): void;
}

/** `tf.bincount` on the backend that works in every Node, over int32 ids in a tensor, with the counts copied out. */
export async function tfjsHistogram({ configuration, int32 }: Problem): Promise<Histogram> {
  await tf.setBackend('cpu');
  const ids = tf.tensor1d(int32, 'int32');
  const noWeights = tf.tensor1d([], 'int32');
  const count = () => tf.tidy(() => tf.bincount(ids, noWeights, configuration.numExperts).dataSync());
  return {
    counts: count(),
    sample: async () => secondsPerRun(() => void count()),
    close: () => tf.dispose([ids, noWeights]),
  };
}

/** `numpy.bincount` over int64 ids in a Python process; undefined where there is no numpy. */
export async function numpyHistogram({ configuration, int64 }: Problem): Promise<Histogram | undefined> {
  const { numTokens, numTopk, numExperts } = configuration;
  const script = fileURLToPath(new URL('numpy_bincount.py', import.meta.url));
  const child = spawn('python3', [script, ...[numTokens, numTopk, numExperts].map(String)], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  // Where python3 or numpy is missing, the process ends and its output with it
  child.on('error', () => {});
  child.stdin.on('error', () => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  child.stdin.write(new Uint8Array(int64.buffer, int64.byteOffset, int64.byteLength));
  const first = await lines.next();
  if (first.done) return undefined;
  return {
    counts: JSON.parse(first.value) as number[],
    async sample() {
      child.stdin.write('\n');
      return Number((await lines.next()).value);
    },
    close: () => child.stdin.end(),
  };
}
