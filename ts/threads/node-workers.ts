/**
 * Workers in Node.js, Bun and Deno.
 *
 * @module
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { WorkerHost } from './worker-host.ts';

/** Starts workers of `node:worker_threads`. */
export const nodeWorkers: WorkerHost = {
  get parallelism() {
    return availableParallelism();
  },
  start(onMessage, onEnd) {
    // What the process preloads is for the caller's threads
    const worker = new Worker(new URL('./node-worker.js', import.meta.url), { name: 'dispatch-layout', execArgv: [] });
    worker.on('message', onMessage);
    // An error ends the worker, and the pool goes on without it
    worker.on('error', () => {});
    worker.on('exit', onEnd);
    worker.unref();
    return {
      post: (message) => worker.postMessage(message),
      keepAlive: (isNeeded) => (isNeeded ? worker.ref() : worker.unref()),
      terminate: () => void worker.terminate(),
    };
  },
};
