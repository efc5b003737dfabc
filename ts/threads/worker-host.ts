/**
 * How workers are started here: as browsers do it, unless the entry that was imported knows better.
 *
 * @module
 */
import type { FromWorker, ToWorker } from './messages.ts';

/** A worker that was started. It may not run yet. */
export interface StartedWorker {
  post(message: ToWorker): void;
  /** Whether it keeps the process alive; it does not at first. */
  keepAlive(isNeeded: boolean): void;
  terminate(): void;
}

/** What starts workers. */
export interface WorkerHost {
  /** Number of threads that run at the same time here. */
  readonly parallelism: number;
  /** @throws what starting a worker throws where it is not allowed. */
  start(onMessage: (message: FromWorker) => void, onEnd: () => void): StartedWorker;
}

const browserHost: WorkerHost = {
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

let provided: WorkerHost | undefined;

/** Adds another way to start workers. */
export function provideWorkers(host: WorkerHost): void {
  provided = host;
}

/** How to start workers that share memory; undefined where there is no such thing. */
export function workerHost(): WorkerHost | undefined {
  if (typeof SharedArrayBuffer === 'undefined') return undefined;
  return provided ?? (typeof Worker === 'undefined' ? undefined : browserHost);
}
