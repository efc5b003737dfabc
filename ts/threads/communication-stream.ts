/**
 * The communication stream of a group on a CPU: layouts that a worker computes one after the other, while this thread goes
 * on.
 *
 * @module
 */
import { copyIds } from '../copy-ids.ts';
import { DispatchLayoutError } from '../errors.ts';
import { type EventHandle, finishedHandle } from '../event-overlap.ts';
import type { LayoutArrays } from '../layout.ts';
import type { Partition } from '../partition.ts';
import { arrayClasses, checkExtent, idsOver, stridedTopkIdx, type TopkIdx } from '../topk-idx.ts';
import { bufferOf, byteOffsetOf, isShared, lengthOf, overlap } from '../typed-array.ts';
import type { WasmKernel } from '../wasm-kernel.ts';
import { JobBlock, state } from './job-block.ts';
import { numChunksOf, numCountsOf, numTokensPerChunk, Participant, type SharedJob } from './participant.ts';
import { type BackgroundLayout, type Pool, workerPool } from './pool.ts';
import { StagingMemory } from './staging-memory.ts';

/** What the calling thread computes with, where it has to. */
export interface LocalDevice {
  readonly partition: Partition;
  kernelFor(numTopk: number): WasmKernel;
  /** Whether that is the instance that groups share: workers have one like it. */
  usesSharedKernel(numTopk: number): boolean;
  computeAlone(topkIdx: TopkIdx, strict: boolean, out: LayoutArrays, keepOnError: boolean): void;
}

/** What a layout is computed from, and into what. */
export interface LayoutRequest {
  readonly topkIdx: TopkIdx;
  readonly strict: boolean;
  /** Over shared memory. */
  readonly out: LayoutArrays;
  readonly keepOnError: boolean;
  readonly device: LocalDevice;
  /** Whether an event that failed so is over all the same. */
  isOver(error: unknown): boolean;
}

/** So many layouts may be under way before another one waits for the first. */
const maxQueued = 64;

const staging = new StagingMemory();

/** The layouts of one group that are under way, in order. */
export class CommunicationStream {
  readonly #queue: QueuedLayout[] = [];
  /** How many of them the worker has been told of. */
  #numPosted = 0;
  #isFinishing = false;

  /** Whether nothing is under way. */
  get isIdle(): boolean {
    return this.#queue.length === 0;
  }

  /**
   * Queues a layout behind those before it and, unless it is null, behind `previous`.
   *
   * @param isLarge whether the worker is worth the message. If not, it is computed at once where nothing is under way.
   */
  queue(request: LayoutRequest, previous: EventHandle | null, isLarge: boolean): EventHandle {
    this.collect();
    while (this.#queue.length >= maxQueued && !this.#queue[0].isBlocked && !this.#isFinishing) this.#finishFirst();
    const layout = new QueuedLayout(this, request, previous, isLarge);
    this.#queue.push(layout);
    this.proceed();
    return layout;
  }

  /** Finishes what is under way, on this thread where the worker has not. */
  drain(): void {
    // While a layout waits for an event, what the event runs comes before that layout
    while (this.#queue.length > 0 && !this.#isFinishing) this.#finishFirst();
  }

  /** Finishes a layout, and those before it. */
  finish(layout: QueuedLayout): void {
    while (!layout.isFinished) {
      if (this.#isFinishing) {
        throw new DispatchLayoutError('EVENT_FLAGS', 'a layout waits for an event that waits for the layout', {
          remedy: 'Let previousEvent not depend on the layouts that wait for it.',
        });
      }
      this.#finishFirst();
    }
    this.proceed();
  }

  /** Finishes those that need no waiting. */
  collect(): void {
    while (!this.#isFinishing && this.#queue[0]?.isReady) this.#finishFirst();
  }

  /** Hands the worker what it can do, and finishes what needs no waiting. */
  proceed(): void {
    this.#post();
    this.collect();
  }

  /** Someone waits for a layout, and so for those before it. */
  awaitUpTo(layout: QueuedLayout): void {
    for (const each of this.#queue.slice(0, this.#queue.indexOf(layout) + 1)) each.markAwaited();
  }

  /**
   * Hands the worker what waits for no event any more. Not while an earlier layout has the same rows: what the worker does
   * not deliver of that one, this thread writes later than the worker would write these.
   */
  #post(): void {
    for (; this.#numPosted < this.#queue.length; this.#numPosted++) {
      const layout = this.#queue[this.#numPosted];
      const earlier = this.#queue.slice(0, this.#numPosted);
      if (layout.isBlocked || earlier.some((each) => each.sharesRows(layout))) break;
      layout.post(this.#numPosted === 0);
    }
  }

  #finishFirst(): void {
    this.#isFinishing = true;
    try {
      this.#queue[0].complete();
    } finally {
      this.#isFinishing = false;
      this.#queue.shift();
      this.#numPosted = Math.max(0, this.#numPosted - 1);
    }
    this.#post();
  }
}

/** A layout under way. Whatever waits for it first has its counts written, or throws instead. */
class QueuedLayout implements EventHandle, BackgroundLayout {
  readonly #stream: CommunicationStream;
  readonly #request: LayoutRequest;
  readonly #isLarge: boolean;
  /** The ids to compute with: in shared memory, as soon as the layout waits for no event. */
  #topkIdx: TopkIdx;
  #staged: SharedArrayBuffer | undefined;
  /** What it waits for, until that is over. */
  #previous: EventHandle | null;
  #job: SharedJob | undefined;
  #posted: { readonly pool: Pool; readonly number: number } | undefined;
  /** Whether this thread is to compute it. */
  #isLocal = false;
  #error: { readonly reason: unknown } | undefined;
  #isFinished = false;
  /** Resolved when it is finished. */
  readonly #listeners: (() => void)[] = [];
  /** Whether the caller waits for it, and whether that keeps the process alive. */
  #isAwaited = false;
  #keepsAlive = false;

  /** @throws DispatchLayoutError `OUT_OF_MEMORY` */
  constructor(stream: CommunicationStream, request: LayoutRequest, previous: EventHandle | null, isLarge: boolean) {
    this.#stream = stream;
    this.#isLarge = isLarge;
    this.#request = request;
    this.#topkIdx = request.topkIdx;
    // Layouts of the same stream are in order anyway
    const isOrdered = previous instanceof QueuedLayout && (previous.#stream === stream || previous.#isFinished);
    this.#previous = isOrdered || previous === finishedHandle ? null : previous;
    if (this.#previous === null) this.#share();
    else void this.#awaitPrevious(this.#previous);
  }

  get job(): SharedJob {
    return this.#job as SharedJob;
  }

  get isNew(): boolean {
    return !this.#request.keepOnError;
  }

  get isFinished(): boolean {
    return this.#isFinished;
  }

  sharesRows(other: QueuedLayout): boolean {
    return overlap(this.#request.out.isTokenInRank, other.#request.out.isTokenInRank);
  }

  /** Whether it still waits for its event. */
  get isBlocked(): boolean {
    return this.#previous !== null;
  }

  /** Whether it needs no waiting: the worker has computed it, or it has failed, or this thread is to compute it. */
  get isReady(): boolean {
    if (this.#isLocal || this.#error !== undefined) return true;
    if (this.#posted === undefined) return false;
    const { block } = this.job;
    return Atomics.load(block.words, block.stateOf(1)) === state.published;
  }

  get done(): boolean {
    if (this.#previous instanceof QueuedLayout && this.#previous.done) this.#unblock(this.#previous);
    this.#stream.proceed();
    return this.#isFinished;
  }

  /** The arrays are the host's, so that the calling thread waits; it helps, where the worker has not finished. */
  currentStreamWait(): void {
    this.synchronize();
  }

  synchronize(): void {
    this.#stream.finish(this);
    if (this.#error !== undefined) throw this.#error.reason;
  }

  settle(): void {
    this.#stream.finish(this);
  }

  async wait(): Promise<void> {
    this.#stream.proceed();
    if (!this.#isFinished) {
      this.#stream.awaitUpTo(this);
      await this.#whenFinished();
    }
    if (this.#error !== undefined) throw this.#error.reason;
  }

  /** The worker is through with it, or has gone. */
  onThrough(): void {
    this.#stream.finish(this);
  }

  /** Hands it to the worker. Without one, and if it is small and nothing comes before it, it is to be computed here. */
  post(isFirst: boolean): void {
    if (this.#error !== undefined) return;
    const pool = this.#isLarge || !isFirst ? workerPool() : undefined;
    if (pool === undefined) {
      this.#isLocal = true;
      return;
    }
    try {
      this.#job = this.#makeJob();
    } catch {
      // Without memory for other threads, this one computes
      this.#isLocal = true;
      return;
    }
    const number = pool.post(this);
    if (number === undefined) {
      this.#isLocal = true;
    } else {
      this.#posted = { pool, number };
      this.#keepAlive();
    }
  }

  #makeJob(): SharedJob {
    const { strict, out, keepOnError, device } = this.#request;
    const { partition } = device;
    const { numTokens, numTopk } = this.#topkIdx;
    const length = numTokensPerChunk(numTokens, numTopk, partition.numRanks, 2);
    const block = new JobBlock(2, numChunksOf(numTokens, length), numCountsOf(partition));
    block.reset(0);
    const rows = out.isTokenInRank;
    return {
      block,
      partition,
      topkIdx: this.#topkIdx,
      isTokenInRank: new Uint8Array(bufferOf(rows), byteOffsetOf(rows), lengthOf(rows)),
      strict,
      checkFirst: strict && keepOnError,
      numTokensPerChunk: length,
    };
  }

  /** Does what the worker has not done, and writes the counts. */
  complete(): void {
    try {
      if (this.#previous !== null) this.#waitHere(this.#previous);
      if (this.#error === undefined) this.#compute();
    } catch (reason) {
      this.#error = { reason };
    }
    this.#isFinished = true;
    if (this.#posted !== undefined) this.#posted.pool.dismiss(this.#posted.number);
    if (this.#keepsAlive) this.#posted?.pool.endWait();
    if (this.#staged !== undefined) staging.give(this.#staged);
    for (const listener of this.#listeners) listener();
  }

  #compute(): void {
    const { strict, out, keepOnError, device } = this.#request;
    if (this.#posted !== undefined) {
      const kernel = device.kernelFor(this.#topkIdx.numTopk);
      if (new Participant(this.job, 0, kernel).lead(out)) return;
    }
    // The error that names the id, or where there is no worker, the layout
    checkExtent(this.#topkIdx, false);
    device.computeAlone(this.#topkIdx, strict, out, keepOnError);
  }

  /** Copies ids that the caller may change. */
  #share(): void {
    const { topkIdx } = this.#request;
    const { idType, numTokens, numTopk } = topkIdx;
    checkExtent(topkIdx, false);
    if (isShared(topkIdx.data)) return;
    const length = numTokens * numTopk;
    this.#staged = staging.take(length * arrayClasses[idType].BYTES_PER_ELEMENT);
    const data = idsOver(idType, this.#staged, 0, length);
    copyIds(topkIdx, 0, numTokens, data);
    const copy = stridedTopkIdx(data, idType, numTokens, numTopk, 0, numTopk, 1);
    const { numExperts } = this.#request.device.partition;
    copy.valueAt = (token: number, slot: number) => {
      // The caller's own value, which may be wider than what was computed with, unless it changed in the meantime
      const own = topkIdx.valueAt(token, slot);
      const isInvalid = own !== undefined && (own < -1 || own >= numExperts);
      return isInvalid ? own : (data[token * numTopk + slot] as number | bigint);
    };
    this.#topkIdx = copy;
  }

  async #awaitPrevious(previous: EventHandle): Promise<void> {
    try {
      // A layout's error is its own event's to report: here it is only over
      await (previous instanceof QueuedLayout ? previous.#whenFinished() : previous.wait());
      this.#unblock(previous);
    } catch (reason) {
      this.#unblock(previous, { reason });
    }
    this.#stream.proceed();
  }

  #waitHere(previous: EventHandle): void {
    try {
      if (previous instanceof QueuedLayout) previous.#stream.finish(previous);
      else if (previous.synchronize !== undefined) previous.synchronize();
      else previous.currentStreamWait();
      this.#unblock(previous);
    } catch (reason) {
      this.#unblock(previous, { reason });
    }
  }

  #unblock(previous: EventHandle, error?: { readonly reason: unknown }): void {
    if (this.#previous !== previous) return;
    this.#previous = null;
    if (error !== undefined && !this.#request.isOver(error.reason)) {
      this.#error = error;
      return;
    }
    try {
      this.#share();
    } catch (reason) {
      this.#error = { reason };
    }
  }

  #whenFinished(): Promise<void> {
    if (this.#isFinished) return Promise.resolve();
    return new Promise((resolve) => {
      this.#listeners.push(resolve);
    });
  }

  /** Someone waits for it, and so for what it waits for. */
  markAwaited(): void {
    if (this.#isAwaited) return;
    this.#isAwaited = true;
    this.#keepAlive();
    if (this.#previous instanceof QueuedLayout) this.#previous.#stream.awaitUpTo(this.#previous);
  }

  /** While someone waits for the worker, the process lives. */
  #keepAlive(): void {
    if (this.#keepsAlive || this.#posted === undefined || !this.#isAwaited) return;
    this.#keepsAlive = true;
    this.#posted.pool.beginWait();
  }
}
