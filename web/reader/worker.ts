/**
 * The page's worker: it reads the files that it is sent, and answers with the capture.
 *
 * @module
 */
import type { Capture } from '../../ts/capture/capture.ts';
import { type ReadJob, readCapture } from './read-capture.ts';

/** What the worker says. */
export type WorkerMessage =
  | { readonly kind: 'progress'; readonly share: number }
  | { readonly kind: 'capture'; readonly capture: Capture }
  | { readonly kind: 'problem'; readonly message: string };

/** The part of the scope of a worker that is used. */
interface WorkerScope {
  addEventListener(type: 'message', listener: (event: MessageEvent<ReadJob>) => void): void;
  postMessage(message: WorkerMessage, transfer?: readonly Transferable[]): void;
}

/** How often progress is told. */
const progressMs = 50;

/** Waits for a job. */
export function serve(scope: WorkerScope): void {
  scope.addEventListener('message', async ({ data: job }) => {
    let last = 0;
    const onProgress = (share: number): void => {
      if (performance.now() - last < progressMs) return;
      last = performance.now();
      scope.postMessage({ kind: 'progress', share });
    };
    try {
      const capture = await readCapture(job, onProgress);
      const buffers = [...capture.counts, ...capture.ids].map(({ buffer }) => buffer as ArrayBuffer);
      scope.postMessage({ kind: 'capture', capture }, buffers);
    } catch (error) {
      scope.postMessage({ kind: 'problem', message: error instanceof Error ? error.message : String(error) });
    }
  });
}
