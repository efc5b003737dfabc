/**
 * Reads files in a worker, which can be stopped at any time.
 *
 * @module
 */
import type { Capture } from '../../ts/capture/capture.ts';
import type { ReadJob } from './read-capture.ts';
import type { WorkerMessage } from './worker.ts';

/** What becomes of a reading. */
export interface ReadingListener {
  onProgress(share: number): void;
  onCapture(capture: Capture): void;
  /** @param message a full sentence. */
  onProblem(message: string): void;
}

/** A reading under way. */
export interface Reading {
  /** Stops it. Nothing more is heard of it. */
  stop(): void;
}

/**
 * Starts to read.
 *
 * @param script the code of the worker, which is that of the page.
 */
export function startReading(script: string, job: ReadJob, listener: ReadingListener): Reading {
  const url = URL.createObjectURL(new Blob([script], { type: 'text/javascript' }));
  const worker = new Worker(url);
  const stop = (): void => {
    worker.terminate();
    URL.revokeObjectURL(url);
  };
  worker.addEventListener('message', ({ data }: MessageEvent<WorkerMessage>) => {
    if (data.kind === 'progress') {
      listener.onProgress(data.share);
      return;
    }
    stop();
    if (data.kind === 'capture') listener.onCapture(data.capture);
    else listener.onProblem(data.message);
  });
  worker.addEventListener('error', ({ message }) => {
    stop();
    listener.onProblem(
      `The reader ended: ${message || 'there is too little memory, or this browser forbids workers'}.`,
    );
  });
  worker.postMessage(job);
  return { stop };
}
