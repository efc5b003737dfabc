/**
 * One thread's part in a layout that several threads compute.
 *
 * The tokens are split into chunks, which participants claim one after the other, so that a slow or absent one costs
 * little. Participant 0, the leader, is the thread that hands the results out, and depends on no other: what a worker has
 * claimed and does not deliver in time, the leader takes away and does again.
 *
 * Workers therefore write to shared memory in sections only. A worker enters one by changing its state from `working` to
 * `writing`, which fails once the leader has revoked it, and the leader does not revoke a worker that is in a section. So
 * nothing is written behind the leader's back. A section is straight-line code that calls nothing but built-ins: a thread
 * is not terminated there, and the leader can wait for its end.
 *
 * @module
 */
import type { LayoutArrays } from '../layout.ts';
import { allValid, locateTokens } from '../locate-tokens.ts';
import type { Partition } from '../partition.ts';
import type { TopkIdx } from '../topk-idx.ts';
import { setElements } from '../typed-array.ts';
import { manyIds, maxLocatedIds, WasmKernel } from '../wasm-kernel.ts';
import { checked, free, type JobBlock, state } from './job-block.ts';
import { thresholds } from './thresholds.ts';

/** A layout to compute, as all its participants see it. */
export interface SharedJob {
  readonly block: JobBlock;
  readonly partition: Partition;
  /** Over shared memory. */
  readonly topkIdx: TopkIdx;
  /** `[numTokens, numRanks]`, over shared memory. */
  readonly isTokenInRank: Uint8Array;
  readonly strict: boolean;
  /** Whether all ids are checked before anything is written. */
  readonly checkFirst: boolean;
  readonly numTokensPerChunk: number;
}

/** The ids of a chunk are located at once: 2^31 ids of whole tokens are at most twice 2^31 / 2^19 chunks. */
export const maxChunks = 8192;

/** In the end each thread waits for half a chunk of another on average. */
const numChunksPerThread = 16;

/**
 * How long the leader waits for a worker that is late, in milliseconds: about as long as it takes to do its work again,
 * so that a worker that is gone costs no more than twice what it was to save.
 */
const minPatience = 0.05;
const timePerId = 2e-6;

/** Into how large parts the tokens are split. */
export function numTokensPerChunk(numTokens: number, numTopk: number, numRanks: number, numThreads: number): number {
  const fewest = Math.ceil(Math.max(thresholds.chunk / Math.max(1, numTopk), numTokens / maxChunks));
  const wanted = Math.ceil(numTokens / (numThreads * numChunksPerThread));
  const most = Math.max(1, Math.floor(maxLocatedIds / numTopk));
  return Math.min(most, Math.max(fewest, Math.min(wanted, WasmKernel.numTokensOfRows(numRanks))));
}

/** How many chunks a job has. */
export function numChunksOf(numTokens: number, numTokensPerChunk: number): number {
  return Math.ceil(numTokens / numTokensPerChunk);
}

/** How many counts each worker delivers. */
export function numCountsOf({ numRanks, numRdmaRanks, numExperts }: Partition): number {
  return numRanks + numRdmaRanks + numExperts;
}

/** One thread's part in a job. */
export class Participant {
  readonly #job: SharedJob;
  readonly #id: number;
  readonly #kernel: WasmKernel;
  readonly #words: Int32Array;
  readonly #state: number;
  readonly #numChunks: number;
  /** The chunks whose ids are located in the kernel's memory already, in the order of their places there. */
  readonly #located: number[] = [];
  /** The place of chunks that are located and added at once, behind those that are kept. */
  readonly #lastPlace: number;

  constructor(job: SharedJob, id: number, kernel: WasmKernel) {
    const { block, topkIdx, numTokensPerChunk } = job;
    this.#job = job;
    this.#id = id;
    this.#kernel = kernel;
    this.#words = block.words;
    this.#state = block.stateOf(id);
    this.#numChunks = numChunksOf(topkIdx.numTokens, numTokensPerChunk);
    this.#lastPlace = Math.max(0, Math.floor(kernel.numTokensLocated(topkIdx.numTopk) / numTokensPerChunk) - 1);
  }

  /** The part of a worker that has joined. Returns whether its counts are there. */
  work(): boolean {
    this.#useKernel();
    if (this.#job.checkFirst) {
      this.#checkChunks();
      if (!this.#waitForChecks()) return false;
    }
    return this.#addChunks() && this.#publish();
  }

  /**
   * The part of the leader: its own, what workers do not deliver, and the counts. `out.isTokenInRank` is the job's.
   *
   * @returns false if an id is no expert; nothing was written then if the job checks first.
   */
  lead(out: LayoutArrays): boolean {
    const { block, checkFirst } = this.#job;
    let isDone = false;
    const published: number[] = [];
    try {
      this.#useKernel();
      if (checkFirst) {
        this.#checkChunks();
        this.#checkForWorkers();
        if (this.#someIsInvalid()) return false;
      }
      this.#addChunks();
      this.#waitForWorkers();
      isDone = !this.#someIsInvalid();
    } finally {
      for (let worker = 1; worker < block.numParticipants; worker++) {
        if (block.revoke(worker)) published.push(worker);
      }
    }
    if (!isDone || !this.#addForWorkers(published)) return false;
    this.#writeCounts(out, published);
    return true;
  }

  #useKernel(): void {
    this.#kernel.use(this.#job.partition, this.#job.topkIdx.numTopk);
    this.#kernel.begin(manyIds);
  }

  #checkChunks(): void {
    const { block } = this.#job;
    for (let chunk = 0; chunk < this.#numChunks && !this.#someIsInvalid(); chunk++) {
      if (!this.#claim(block.checkOf(chunk))) continue;
      const isKept = this.#located.length < this.#lastPlace;
      if (!this.#locate(chunk, isKept ? this.#located.length : this.#lastPlace, true)) return;
      if (isKept) this.#located.push(chunk);
      this.#markChecked(block.checkOf(chunk));
    }
  }

  /** A worker's wait, until the leader goes on. Returns whether all ids are valid. */
  #waitForChecks(): boolean {
    const { block } = this.#job;
    for (let chunk = 0; chunk < this.#numChunks; chunk++) {
      while (Atomics.load(this.#words, block.checkOf(chunk)) !== checked) {
        if (this.#someIsInvalid() || Atomics.load(this.#words, this.#state) !== state.working) return false;
      }
    }
    return true;
  }

  /** The leader's wait: it checks again what takes too long. */
  #checkForWorkers(): void {
    const { block } = this.#job;
    const isOver = this.#patience(1);
    for (let chunk = 0; chunk < this.#numChunks; chunk++) {
      while (Atomics.load(this.#words, block.checkOf(chunk)) !== checked) {
        if (this.#someIsInvalid()) return;
        if (isOver() && this.#locate(chunk, this.#lastPlace, true)) this.#markChecked(block.checkOf(chunk));
      }
    }
  }

  /** Returns false if there is no point in going on. */
  #addChunks(): boolean {
    const { block, checkFirst, strict } = this.#job;
    for (let place = 0; place < this.#located.length; place++) {
      const chunk = this.#located[place];
      if (this.#claim(block.addOf(chunk)) && !this.#add(chunk, place)) return false;
    }
    for (let chunk = 0; chunk < this.#numChunks; chunk++) {
      if (this.#someIsInvalid()) return false;
      if (!this.#claim(block.addOf(chunk))) continue;
      if (!this.#locate(chunk, this.#lastPlace, strict && !checkFirst)) return false;
      if (!this.#add(chunk, this.#lastPlace)) return false;
    }
    return true;
  }

  #waitForWorkers(): void {
    const { block } = this.#job;
    const isOver = this.#patience(this.#numChunks);
    for (let worker = 1; worker < block.numParticipants; worker++) {
      const index = block.stateOf(worker);
      for (;;) {
        const now = Atomics.load(this.#words, index);
        if ((now !== state.working && now !== state.writing) || this.#someIsInvalid() || isOver()) break;
      }
    }
  }

  /** Adds what workers have claimed, but not published. */
  #addForWorkers(published: readonly number[]): boolean {
    const { block, checkFirst, strict } = this.#job;
    for (let chunk = 0; chunk < this.#numChunks; chunk++) {
      const claimant = this.#words[block.addOf(chunk)] - 1;
      if (claimant === this.#id || published.includes(claimant)) continue;
      if (!this.#locate(chunk, this.#lastPlace, strict && !checkFirst)) return false;
      this.#add(chunk, this.#lastPlace);
    }
    return true;
  }

  #writeCounts(out: LayoutArrays, published: readonly number[]): void {
    const { block, partition } = this.#job;
    this.#kernel.finish();
    const { counts } = this.#kernel;
    for (const worker of published) {
      let index = block.counts(worker);
      for (const sums of [counts.numTokensPerRank, counts.numTokensPerRdmaRank, counts.numTokensPerExpert]) {
        for (let i = 0; i < sums.length; i++) sums[i] += this.#words[index++];
      }
    }
    setElements(out.numTokensPerRank, counts.numTokensPerRank);
    if (partition.numRdmaRanks > 1 && out.numTokensPerRdmaRank !== null) {
      setElements(out.numTokensPerRdmaRank, counts.numTokensPerRdmaRank);
    }
    setElements(out.numTokensPerExpert, counts.numTokensPerExpert);
  }

  /** Locates the ids of a chunk. In strict mode, returns false at an id that is no expert, and lets everyone know. */
  #locate(chunk: number, place: number, strict: boolean): boolean {
    const { topkIdx, numTokensPerChunk } = this.#job;
    const first = chunk * numTokensPerChunk;
    const end = Math.min(first + numTokensPerChunk, topkIdx.numTokens);
    const position = locateTokens(this.#kernel, topkIdx, first, end, this.#firstId(place), strict);
    if (position === allValid) return true;
    this.#markInvalid();
    return false;
  }

  /** Adds a chunk that is located. Returns false where this participant may not write any more. */
  #add(chunk: number, place: number): boolean {
    const { topkIdx, partition, numTokensPerChunk } = this.#job;
    const { numTokens, numTopk } = topkIdx;
    const { numRanks } = partition;
    const first = chunk * numTokensPerChunk;
    const end = Math.min(first + numTokensPerChunk, numTokens);
    const step = WasmKernel.numTokensOfRows(numRanks);
    for (let token = first; token < end; token += step) {
      const count = Math.min(step, end - token);
      this.#kernel.addTokens(this.#firstId(place) + (token - first) * numTopk, count, numTopk, token);
      if (!this.#writeRows(this.#kernel.rows(count), token * numRanks)) return false;
    }
    return true;
  }

  #firstId(place: number): number {
    return place * this.#job.numTokensPerChunk * this.#job.topkIdx.numTopk;
  }

  #someIsInvalid(): boolean {
    return Atomics.load(this.#words, this.#job.block.foundInvalid) !== 0;
  }

  /** Says when it would have been faster to do so many chunks again than to wait any longer. */
  #patience(numChunks: number): () => boolean {
    const { topkIdx, numTokensPerChunk } = this.#job;
    const numTokens = Math.min(numChunks * numTokensPerChunk, topkIdx.numTokens);
    const end = performance.now() + minPatience + numTokens * topkIdx.numTopk * timePerId;
    return () => performance.now() > end;
  }

  // The sections

  #claim(index: number): boolean {
    if (Atomics.load(this.#words, index) !== free) return false;
    if (Atomics.compareExchange(this.#words, this.#state, state.working, state.writing) !== state.working) return false;
    const before = Atomics.compareExchange(this.#words, index, free, 1 + this.#id);
    Atomics.store(this.#words, this.#state, state.working);
    return before === free;
  }

  #markChecked(index: number): void {
    if (Atomics.compareExchange(this.#words, this.#state, state.working, state.writing) !== state.working) return;
    Atomics.store(this.#words, index, checked);
    Atomics.store(this.#words, this.#state, state.working);
  }

  #markInvalid(): void {
    const index = this.#job.block.foundInvalid;
    if (Atomics.compareExchange(this.#words, this.#state, state.working, state.writing) !== state.working) return;
    Atomics.store(this.#words, index, 1);
    Atomics.store(this.#words, this.#state, state.working);
  }

  #writeRows(rows: Uint8Array, offset: number): boolean {
    const { isTokenInRank } = this.#job;
    if (Atomics.compareExchange(this.#words, this.#state, state.working, state.writing) !== state.working) return false;
    isTokenInRank.set(rows, offset);
    Atomics.store(this.#words, this.#state, state.working);
    return true;
  }

  #publish(): boolean {
    const { block, partition } = this.#job;
    this.#kernel.finish();
    const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert } = this.#kernel.counts;
    const start = block.counts(this.#id);
    const words = this.#words;
    if (Atomics.compareExchange(words, this.#state, state.working, state.writing) !== state.working) return false;
    words.set(numTokensPerRank, start);
    words.set(numTokensPerRdmaRank, start + partition.numRanks);
    words.set(numTokensPerExpert, start + partition.numRanks + partition.numRdmaRanks);
    Atomics.store(words, this.#state, state.published);
    return true;
  }
}
