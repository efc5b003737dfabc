/**
 * Waits for the GPU without blocking the thread.
 *
 * CUDA can call back when a stream has reached a point, but it does not do so if the context has failed. A promise
 * would then never be settled. Polling costs less than a microsecond each time, and reports failures.
 *
 * @module
 */

/**
 * The number of turns of the event loop, a millisecond or two, in each of which the GPU is polled. After that, timers
 * space the polls out.
 */
const numEagerPolls = 500;

/** Resolves when `isDone` returns true; rejects with what it throws. */
export async function untilDone(isDone: () => boolean): Promise<void> {
  for (let polls = 0; !isDone(); polls++) await pause(polls);
}

function pause(polls: number): Promise<void> {
  return new Promise((resolve) => {
    if (polls < numEagerPolls) setImmediate(resolve);
    else setTimeout(resolve, polls < 2 * numEagerPolls ? 1 : 5);
  });
}
