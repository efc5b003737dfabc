/**
 * The words in shared memory that the threads of one job have in common: who claims what, and who may still write.
 *
 * @module
 */

import { allocateShared } from '../shared-memory.ts';

/** The first word of a participant's line: what it may do. */
export const state = {
  /** A worker that has not come yet. */
  absent: 0,
  working: 1,
  /** In a section: see `participant.ts`. */
  writing: 2,
  /** Its counts are there, and it writes no more. */
  published: 3,
  /** It may not write any more, and what it has done does not count. */
  revoked: 4,
} as const;

/** The words of a chunk, one for checking its ids and one for adding its tokens: claimed by participant `word - 1`. */
export const free = 0;
/** Its ids are checked. */
export const checked = -1;

/** Words of a cache line: what different threads write is kept apart. */
const lineWords = 16;

/** The words of one job after the other. */
export class JobBlock {
  readonly words: Int32Array;
  readonly numParticipants: number;
  readonly maxChunks: number;
  readonly maxCounts: number;
  /** The index of the word that is 1 when anyone has found an id that is no expert. */
  readonly foundInvalid = 0;

  /**
   * @param maxCounts counts of ranks, RDMA ranks and experts together.
   * @param words those of a block of the same size, to see it from another thread. Default: new ones.
   */
  constructor(numParticipants: number, maxChunks: number, maxCounts: number, words?: Int32Array) {
    this.numParticipants = numParticipants;
    this.maxChunks = maxChunks;
    this.maxCounts = Math.ceil(maxCounts / lineWords) * lineWords;
    this.words = words ?? new Int32Array(allocateShared(4 * this.counts(numParticipants)));
  }

  /** The index of a participant's state. */
  stateOf(participant: number): number {
    return (1 + participant) * lineWords;
  }

  /** The index of the word that says what a worker does between jobs: see `worker-status.ts`. */
  statusOf(participant: number): number {
    return this.stateOf(participant) + 1;
  }

  /** The index of the word that says who checks a chunk. */
  checkOf(chunk: number): number {
    return (1 + this.numParticipants) * lineWords + 2 * chunk;
  }

  /** The index of the word that says who adds a chunk. */
  addOf(chunk: number): number {
    return this.checkOf(chunk) + 1;
  }

  /** The index of a worker's counts of ranks, RDMA ranks and experts, in this order. Participant 0 has none here. */
  counts(participant: number): number {
    const end = this.checkOf(this.maxChunks);
    return Math.ceil(end / lineWords) * lineWords + (participant - 1) * this.maxCounts;
  }

  /** Makes way for a new job. No worker may be in the middle of one that was not revoked. */
  reset(numChunks: number): void {
    this.words.fill(free, this.checkOf(0), this.checkOf(numChunks));
    Atomics.store(this.words, this.foundInvalid, 0);
    Atomics.store(this.words, this.stateOf(0), state.working);
  }

  /** Lets a worker take part. */
  admit(participant: number): void {
    Atomics.store(this.words, this.stateOf(participant), state.absent);
  }

  /** Takes part, if the job still lets this worker. */
  join(participant: number): boolean {
    const before = Atomics.compareExchange(this.words, this.stateOf(participant), state.absent, state.working);
    return before === state.absent;
  }

  /** Takes the right to write from a worker, and waits for the end of its section. Returns whether it has published. */
  revoke(participant: number): boolean {
    const index = this.stateOf(participant);
    for (;;) {
      const before = Atomics.load(this.words, index);
      if (before === state.writing) continue;
      if (Atomics.compareExchange(this.words, index, before, state.revoked) === before) {
        return before === state.published;
      }
    }
  }
}
