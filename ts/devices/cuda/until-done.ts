/**
 * Waits for the GPU without blocking the thread, and without keeping the event loop busy.
 *
 * @module
 */
import type { DownloadHandle, NativeEvent } from './addon.ts';
import { addonInUse } from './runtime.ts';

/**
 * The milliseconds from one question to the next whether the work is done. The answer comes from the driver, which calls
 * back. But it does not do so if the context is lost, and the promise must be rejected then.
 */
const millisecondsBetweenQuestions = 100;

/** Resolves when the work is done; rejects if it has failed. */
export async function untilDone(work: NativeEvent | DownloadHandle): Promise<void> {
  const addon = addonInUse();
  if (addon.isDone(work)) return;
  await new Promise<void>((resolve, reject) => {
    const ask = () => {
      try {
        if (!addon.isDone(work)) return;
        resolve();
      } catch (error) {
        reject(error);
      }
      clearInterval(timer);
    };
    // The timer also keeps the process alive, which the callback does not
    const timer = setInterval(ask, millisecondsBetweenQuestions);
    try {
      addon.whenDone(work, ask);
    } catch {
      // Memory may be short, for instance. The timer asks all the same, and finds out if the context is lost
    }
  });
}
