/**
 * The done-event of a layout: the counterpart of DeepEP's `EventOverlap`.
 *
 * @module
 */
import { wrongValue } from '../errors/checks.ts';
import { DispatchLayoutError } from '../errors/errors.ts';

declare global {
  // A program whose TypeScript or `lib` does not know `using` lacks these names. In other programs these declarations
  // merge with the existing ones
  interface SymbolConstructor {
    readonly dispose: unique symbol;
  }
  interface Disposable {
    [Symbol.dispose](): void;
  }
}

/** The event that a device records behind the work that it has queued. */
export interface EventHandle {
  /** Whether the recorded work has finished. */
  readonly done: boolean;
  /** Makes the current stream wait for the recorded work; a CPU device makes the calling thread wait. */
  currentStreamWait(): void;
  /** Resolves when the recorded work has finished, without blocking the thread. */
  wait(): Promise<void>;
  /**
   * Blocks the calling thread until the recorded work has finished. If this is missing, `currentStreamWait` blocks the
   * thread.
   */
  synchronize?(): void;
}

/** The handle of work that had finished when the call returned, as it has on every CPU device. */
export const finishedHandle: EventHandle = {
  done: true,
  currentStreamWait() {},
  wait: () => Promise.resolve(),
};

/** Blocks the calling thread until the work of an event has finished. */
export function waitHere(event: EventHandle): void {
  if (event.synchronize === undefined) event.currentStreamWait();
  else event.synchronize();
}

/**
 * The event of one `getDispatchLayout` call. As in DeepEP, it is recorded only with `asyncFinish: true`. To wait for an
 * event that was not recorded is an error, since the outputs of that call are valid already.
 *
 * ```ts
 * import { getDispatchLayout } from 'dispatch-layout';
 *
 * const layout = getDispatchLayout([[0, 5]], 8, { numRanks: 4, asyncFinish: true });
 * {
 *   using event = layout.event;
 *   // ... other work overlaps here ...
 *   console.log(event.recorded); // true
 * } // leaving the block waits, as DeepEP's `with event:` does
 * console.log(layout.numTokensPerRank.join(' ')); // 1 0 1 0
 * ```
 */
export class EventOverlap {
  readonly #handle: EventHandle | null;

  /**
   * @param handle the recorded event of a device, or `null` for an event that was not recorded.
   * @throws {@link DispatchLayoutError} `OPTION` if it is neither.
   */
  constructor(handle: EventHandle | null) {
    const { wait, currentStreamWait } = Object(handle) as Partial<EventHandle>;
    if (handle !== null && !(wait && currentStreamWait)) {
      const remedy = 'Use the event of an earlier layout, or one from group.capture().';
      throw wrongValue('OPTION', 'the handle of the event', handle, remedy);
    }
    this.#handle = handle;
  }

  /** @internal `null` if the event was not recorded. */
  get handle(): EventHandle | null {
    return this.#handle;
  }

  /** Whether there is recorded work to wait for. It is true exactly for calls with `asyncFinish`. */
  get recorded(): boolean {
    return this.#handle !== null;
  }

  /** Whether the recorded work has finished. Waiting then takes no time, but throws if the work has failed. */
  get done(): boolean {
    return this.#handle?.done ?? true;
  }

  /**
   * Makes the current stream wait for the recorded work; on a CPU device, makes the calling thread wait.
   *
   * @throws {@link DispatchLayoutError} `EVENT_NOT_RECORDED` if the call was made without `asyncFinish`.
   */
  currentStreamWait(): void {
    this.#recordedHandle().currentStreamWait();
  }

  /**
   * Resolves when the recorded work has finished.
   *
   * @throws {@link DispatchLayoutError} (as a rejection) `EVENT_NOT_RECORDED` if the call was made without
   *   `asyncFinish`.
   */
  async wait(): Promise<void> {
    await this.#recordedHandle().wait();
  }

  /** Waits, if there is something to wait for. `using event = …` does so when the block is left. */
  [Symbol.dispose](): void {
    this.#handle?.currentStreamWait();
  }

  #recordedHandle(): EventHandle {
    if (this.#handle === null) {
      throw new DispatchLayoutError('EVENT_NOT_RECORDED', 'this event was never recorded', {
        remedy: 'Pass asyncFinish: true to get an event to wait for; without it the outputs are valid at return.',
      });
    }
    return this.#handle;
  }
}

/** The event of every synchronous call. All of them share it, since it holds nothing. */
export const notRecorded: EventOverlap = new EventOverlap(null);
