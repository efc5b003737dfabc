/**
 * Workers in browsers.
 *
 * @module
 */
import type { WorkerHost } from './worker-host.ts';

/** Starts workers as browsers do it. */
export const browserWorkers: WorkerHost = {
  get parallelism() {
    return navigator.hardwareConcurrency;
  },
  start(onMessage, onEnd) {
    // In the form that bundlers look for
    const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'dispatch-layout' });
    worker.addEventListener('message', ({ data }) => onMessage(data));
    worker.addEventListener('error', (event) => {
      event.preventDefault();
      worker.terminate();
      onEnd();
    });
    return {
      post: (message) => worker.postMessage(message),
      keepAlive() {},
      terminate() {
        worker.terminate();
        onEnd();
      },
    };
  },
};
