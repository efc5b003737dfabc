/**
 * What threads post to each other. Calls over memory that both know need no message while the worker is awake.
 *
 * @module
 */
import type { Partition } from '../partition.ts';

/** Objects that a worker knows by number. */
export type Known = Partition | SharedArrayBuffer;

/** From the thread that owns the pool to a worker. */
export type ToWorker =
  /** The first message. */
  | {
      readonly type: 'start';
      /** Its number as a participant. */
      readonly worker: number;
      /** The block of the calls that several threads compute. */
      readonly block: BlockMessage;
      /** The call under way: the numbers of its partition, ids and rows, then those of `job-numbers.ts`. */
      readonly call: Float64Array;
      /** How long it stays awake after a call, in milliseconds. */
      readonly spinTime: number;
    }
  | { readonly type: 'know'; readonly number: number; readonly known: Known }
  | { readonly type: 'forget'; readonly number: number }
  /** Take part in the call under way. */
  | { readonly type: 'wake' }
  /** Compute a layout, as participant 1 of its own block. */
  | {
      readonly type: 'layout';
      readonly layout: number;
      readonly block: BlockMessage;
      readonly numbers: readonly number[];
      readonly partition: number;
      readonly ids: number;
      readonly rows: number;
    };

/** What a `JobBlock` is made of. */
export interface BlockMessage {
  readonly numParticipants: number;
  readonly maxChunks: number;
  readonly maxCounts: number;
  readonly words: Int32Array;
}

/** From a worker to the thread that owns the pool. */
export type FromWorker =
  | { readonly type: 'ready' }
  /** The worker is through with a layout: it has published it, or the leader must compute it. */
  | { readonly type: 'through'; readonly layout: number };

/** What a worker does, as the word of its status says. */
export const status = {
  /** Only a message wakes it. */
  asleep: 0,
  /** It looks at this word all the time. */
  awake: 1,
  /** It was awake, and is to take part in the call under way. */
  invited: 2,
  /** A message is on its way. */
  woken: 3,
  busy: 4,
} as const;
