/**
 * Waiting for the GPU without blocking the thread.
 *
 * CUDA can call back when a stream gets somewhere, but it does not call when the context has failed, and a promise would
 * hang for ever. Asking costs less than a microsecond and reports failures.
 *
 * @module
 */

/** So many turns of the event loop are spent asking at once (a millisecond or two) before timers space the questions. */
const numEagerPolls = 500;

/** Resolves when `isDone` says so; rejects with what it throws. */
export async function untilDone(isDone: () => boolean): Promise<void> {
  for (let polls = 0; !isDone(); polls++) await pause(polls);
}

function pause(polls: number): Promise<void> {
  return new Promise((resolve) => {
    if (polls < numEagerPolls) setImmediate(resolve);
    else setTimeout(resolve, polls < 2 * numEagerPolls ? 1 : 5);
  });
}
