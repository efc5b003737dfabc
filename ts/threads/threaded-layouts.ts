/**
 * The layouts of one partition that several threads compute, or another thread than the caller's.
 *
 * @module
 */
import type { EventHandle } from '../event-overlap.ts';
import type { LayoutArrays } from '../layout.ts';
import type { TopkIdx } from '../topk-idx.ts';
import { bufferOf, byteOffsetOf, isShared, lengthOf } from '../typed-array.ts';
import { CommunicationStream, type LocalDevice } from './communication-stream.ts';
import { maxThreads } from './limits.ts';
import { numCountsOf, numTokensPerChunk } from './participant.ts';
import { maxCounts, type Pool, workerPool } from './pool.ts';
import { rowGap, thresholds } from './thresholds.ts';

/** When the last call that is large enough to be split ended. */
let lastCall = Number.NEGATIVE_INFINITY;

/** The layouts of a device that has workers. */
export class ThreadedLayouts {
  readonly #device: LocalDevice;
  readonly #threads: number | 'auto';
  readonly #stream: CommunicationStream;

  /** @param earlier of the same group, whose communication stream goes on. */
  constructor(device: LocalDevice, threads: number | 'auto', earlier: ThreadedLayouts | undefined) {
    this.#device = device;
    this.#threads = threads;
    this.#stream = earlier === undefined ? new CommunicationStream() : earlier.#stream;
  }

  /** Finishes the layouts that are under way. Returns whether there were any. */
  drain(): boolean {
    if (this.#stream.isIdle) return false;
    this.#stream.drain();
    return true;
  }

  /** Whether new outputs of this layout should be in shared memory. */
  sharesOutputs(topkIdx: TopkIdx, asyncFinish: boolean): boolean {
    return asyncFinish ? this.#fitsWorkers(topkIdx) : this.#numThreadsFor(topkIdx) > 1;
  }

  /**
   * Has a worker compute one layout, behind earlier ones of the group and behind `previous`. With `keepOnError`, the ids
   * are checked before `out` is written.
   *
   * @param isOver whether an event that failed with this error is over all the same.
   * @returns undefined where there is no worker, or it cannot write to `out`.
   */
  queueBehind(
    topkIdx: TopkIdx,
    strict: boolean,
    out: LayoutArrays,
    keepOnError: boolean,
    previous: EventHandle | null,
    isOver: (error: unknown) => boolean,
  ): EventHandle | undefined {
    if (!isShared(out.isTokenInRank) || !this.#fitsWorkers(topkIdx)) return undefined;
    const request = { topkIdx, strict, out, keepOnError, device: this.#device, isOver };
    const numSelections = topkIdx.numTokens * topkIdx.numTopk;
    return this.#stream.queue(request, previous, numSelections >= thresholds.background);
  }

  /** Returns false if it is not worth it, or an id is no expert: nothing was written then that must be kept. */
  computeTogether(topkIdx: TopkIdx, strict: boolean, out: LayoutArrays, keepOnError: boolean): boolean {
    const numThreads = this.#numThreadsFor(topkIdx);
    if (numThreads === 1 || !isShared(out.isTokenInRank)) return false;
    const pool = workerPool();
    const isInRow = performance.now() - lastCall < rowGap;
    const mayWake = isInRow || topkIdx.numTokens * topkIdx.numTopk >= thresholds.wake;
    if (pool === undefined || !pool.hasIdle(numThreads - 1, mayWake)) return false;
    return this.#lead(pool, numThreads, mayWake, topkIdx, strict, out, keepOnError);
  }

  /** A call is over that may have been split. */
  endCall({ numTokens, numTopk }: TopkIdx): void {
    if (numTokens * numTopk >= thresholds.split) lastCall = performance.now();
  }

  #lead(
    pool: Pool,
    numThreads: number,
    mayWake: boolean,
    topkIdx: TopkIdx,
    strict: boolean,
    out: LayoutArrays,
    keepOnError: boolean,
  ): boolean {
    const { partition } = this.#device;
    const { numTokens, numTopk } = topkIdx;
    const rows = out.isTokenInRank;
    const job = {
      block: pool.block,
      partition,
      topkIdx,
      isTokenInRank: new Uint8Array(bufferOf(rows), byteOffsetOf(rows), lengthOf(rows)),
      strict,
      checkFirst: strict && keepOnError,
      numTokensPerChunk: numTokensPerChunk(numTokens, numTopk, partition.numRanks, numThreads),
    };
    return pool.lead(job, numThreads - 1, this.#device.kernelFor(numTopk), out, !keepOnError, mayWake);
  }

  #numThreadsFor(topkIdx: TopkIdx): number {
    if (this.#threads === 1) return 1;
    if (topkIdx.numTokens * topkIdx.numTopk < thresholds.split) return 1;
    if (!isShared(topkIdx.data) || !this.#fitsWorkers(topkIdx)) return 1;
    const numThreads = this.#threads === 'auto' ? (workerPool()?.parallelism ?? 1) : this.#threads;
    return Math.min(numThreads, maxThreads);
  }

  /** Whether there are workers, and their memory is enough. */
  #fitsWorkers({ numTopk }: TopkIdx): boolean {
    return (
      numCountsOf(this.#device.partition) <= maxCounts &&
      workerPool() !== undefined &&
      this.#device.usesSharedKernel(numTopk)
    );
  }
}
