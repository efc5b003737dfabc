/**
 * Waiting for the GPU without blocking the thread.
 *
 * CUDA can call back when a stream has reached a point, but it does not do so when the context has failed: a promise would
 * then never be settled. Asking costs less than a microsecond, and reports failures.
 *
 * @module
 */

/** How many turns of the event loop, a millisecond or two, ask at once before timers space the questions out. */
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
