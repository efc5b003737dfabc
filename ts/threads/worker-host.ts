/**
 * What starts workers: browsers and Node.js each have their way.
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
