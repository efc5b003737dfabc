/**
 * The workers of this thread: started when they are first needed, shared by all groups, and gone with the thread. They
 * never keep the process alive, but while someone waits for a layout that one of them computes.
 *
 * @module
 */
import type { LayoutArrays } from '../layout.ts';
import type { WasmKernel } from '../wasm-kernel.ts';
import { JobBlock } from './job-block.ts';
import { buffersOf, numJobNumbers, writeJob } from './job-numbers.ts';
import { maxThreads } from './limits.ts';
import { type Known, status, type ToWorker } from './messages.ts';
import { maxChunks, numChunksOf, Participant, type SharedJob } from './participant.ts';
import type { StartedWorker, WorkerHost } from './worker-host.ts';

/** Experts, ranks and RDMA ranks of the calls that are split: adding up more counts takes as long as counting. */
export const maxCounts = 16384;

/** How long a worker stays awake after a call, in milliseconds. */
const spinTime = 0.2;

/** How many partitions and buffers the workers know: what is used in turns, and no more memory than that is kept. */
const maxKnown = 16;

/** So many workers in turn end before they run, until no more are started. */
const maxFailures = 3;

/** A layout that the first worker computes. */
export interface BackgroundLayout {
  readonly job: SharedJob;
  /** Whether nobody has seen its outputs before. */
  readonly isNew: boolean;
  /** Called when the worker is through with it, or has gone. */
  onThrough(): void;
}

/** The workers of one thread. */
export class Pool {
  readonly #host: WorkerHost;
  /** Of the calls that are split. */
  readonly #block = new JobBlock(maxThreads, maxChunks, maxCounts);
  readonly #call = new Float64Array(new SharedArrayBuffer(8 * (3 + numJobNumbers)));
  readonly #workers: (StartedWorker | undefined)[] = [];
  /** How many workers ended before they ran since one last did. */
  #numFailures = 0;
  /** Those that were told to end, and have not yet. */
  readonly #terminated = new Set<number>();
  /** By which number workers know an object, or knew it last; the same record for as long as the object lives. */
  readonly #numbers = new WeakMap<Known, { number: number }>();
  /** Those that the workers know, in the order that they were last used. */
  readonly #numbersInUse = new Set<number>();
  #lastNumber = 0;
  readonly #collected = new FinalizationRegistry((known: { readonly number: number }) => this.#forget(known.number));
  readonly #layouts = new Map<number, BackgroundLayout>();
  #lastLayout = 0;
  #numWaiting = 0;
  #isForbidden = false;

  constructor(host: WorkerHost) {
    this.#host = host;
  }

  get parallelism(): number {
    return this.#host.parallelism;
  }

  /** Whether workers cannot be started here, or end before they run. */
  get isBroken(): boolean {
    return this.#isForbidden || this.#numFailures >= maxFailures;
  }

  /** The block for the next call that is split. */
  get block(): JobBlock {
    return this.#block;
  }

  /**
   * Whether a worker has nothing to do, and none has unread messages: memory that is on its way would pile up. Starts
   * those that are missing, for later calls.
   *
   * @param mayWake whether one that sleeps counts.
   */
  hasIdle(numWorkers: number, mayWake: boolean): boolean {
    let hasIdle = false;
    for (let worker = 1; worker <= numWorkers; worker++) {
      if (!this.#start(worker)) return false;
      const now = Atomics.load(this.#block.words, this.#block.statusOf(worker));
      if (now === status.woken || now === status.invited) return false;
      hasIdle ||= now === status.awake || (mayWake && now === status.asleep);
    }
    return hasIdle;
  }

  /**
   * Computes a layout together with the workers that have nothing else to do.
   *
   * @param isNew whether nobody has seen `out` before.
   * @param mayWake whether to wake those that sleep.
   * @returns false if an id is no expert; nothing was written then if the job checks first.
   */
  lead(
    job: SharedJob,
    numWorkers: number,
    kernel: WasmKernel,
    out: LayoutArrays,
    isNew: boolean,
    mayWake: boolean,
  ): boolean {
    const lastNumber = this.#lastNumber;
    const [ids, rows] = buffersOf(job);
    this.#call[0] = this.#numberOf(job.partition);
    this.#call[1] = this.#numberOf(ids);
    // To be weakly referred to makes an object old, too, and a new one is hardly used again
    this.#call[2] = isNew ? this.#introduce(rows) : this.#numberOf(rows);
    writeJob(job, this.#call.subarray(3));
    this.#block.reset(numChunksOf(job.topkIdx.numTokens, job.numTokensPerChunk));
    const hasNews = this.#lastNumber !== lastNumber;
    for (let worker = 1; worker <= numWorkers; worker++) this.#invite(worker, hasNews, mayWake);
    try {
      return new Participant(job, 0, kernel).lead(out);
    } finally {
      if (isNew) this.#tell({ type: 'forget', number: this.#call[2] });
    }
  }

  #invite(worker: number, hasNews: boolean, mayWake: boolean): void {
    const { words } = this.#block;
    const index = this.#block.statusOf(worker);
    const now = Atomics.load(words, index);
    // It writes no more only when it is not busy
    if (now === status.busy || (now === status.asleep && !mayWake)) return;
    this.#block.admit(worker);
    const invitation = hasNews ? status.woken : status.invited;
    const wasAwake = Atomics.compareExchange(words, index, status.awake, invitation) === status.awake;
    if (wasAwake && !hasNews) return;
    if (wasAwake || Atomics.compareExchange(words, index, status.asleep, status.woken) === status.asleep) {
      this.#workers[worker]?.post({ type: 'wake' });
    }
  }

  /** Has the first worker compute a layout, after those before. Returns its number, or undefined without workers. */
  post(layout: BackgroundLayout): number | undefined {
    if (!this.#start(1)) return undefined;
    const { block, partition } = layout.job;
    const { words } = this.#block;
    const [ids, rows] = buffersOf(layout.job);
    const numbers: number[] = [];
    writeJob(layout.job, numbers);
    const knownPartition = this.#numberOf(partition);
    const knownIds = this.#numberOf(ids);
    const knownRows = layout.isNew ? this.#introduce(rows) : this.#numberOf(rows);
    // A worker that is awake would not see the message
    Atomics.compareExchange(words, this.#block.statusOf(1), status.awake, status.asleep);
    const number = ++this.#lastLayout;
    this.#workers[1]?.post({
      type: 'layout',
      layout: number,
      block,
      numbers,
      partition: knownPartition,
      ids: knownIds,
      rows: knownRows,
    });
    if (layout.isNew) this.#tell({ type: 'forget', number: knownRows });
    this.#layouts.set(number, layout);
    return number;
  }

  /** Nobody needs to hear of this layout any more. */
  dismiss(layout: number): void {
    this.#layouts.delete(layout);
  }

  /** Keeps the process alive until as many waits are over. */
  beginWait(): void {
    if (++this.#numWaiting === 1) this.#workers[1]?.keepAlive(true);
  }

  endWait(): void {
    if (--this.#numWaiting === 0) this.#workers[1]?.keepAlive(false);
  }

  /** Ends all workers, as a shortage of memory may. New ones are started when they are needed. */
  terminate(): void {
    for (const [worker, started] of this.#workers.entries()) {
      if (started === undefined) continue;
      this.#terminated.add(worker);
      started.terminate();
    }
  }

  /** Returns false where workers cannot be started. */
  #start(worker: number): boolean {
    if (this.#workers[worker] !== undefined) return true;
    if (this.isBroken) return false;
    const { words, numParticipants, maxChunks, maxCounts } = this.#block;
    Atomics.store(words, this.#block.statusOf(worker), status.busy);
    let isReady = false;
    try {
      const started = this.#host.start(
        (message) => {
          isReady = true;
          this.#numFailures = 0;
          if (message.type === 'through') this.#layouts.get(message.layout)?.onThrough();
        },
        () => this.#end(worker, isReady),
      );
      started.post({
        type: 'start',
        worker,
        block: { words, numParticipants, maxChunks, maxCounts },
        call: this.#call,
        spinTime: this.#host.parallelism === 1 ? 0 : spinTime,
      });
      if (worker === 1 && this.#numWaiting > 0) started.keepAlive(true);
      this.#workers[worker] = started;
    } catch {
      // By a policy, for instance: layouts are computed on this thread
      this.#isForbidden = true;
      return false;
    }
    // It knows nothing yet: everything is told anew
    for (const number of this.#numbersInUse) this.#forget(number);
    return true;
  }

  #end(worker: number, wasReady: boolean): void {
    this.#workers[worker] = undefined;
    Atomics.store(this.#block.words, this.#block.statusOf(worker), status.busy);
    if (!this.#terminated.delete(worker) && !wasReady) this.#numFailures++;
    if (worker !== 1) return;
    for (const layout of [...this.#layouts.values()]) layout.onThrough();
  }

  /** The number by which workers know an object. */
  #numberOf(known: Known): number {
    const existing = this.#numbers.get(known);
    if (existing !== undefined && this.#numbersInUse.delete(existing.number)) {
      this.#numbersInUse.add(existing.number);
      return existing.number;
    }
    const number = this.#introduce(known);
    this.#numbersInUse.add(number);
    if (existing === undefined) {
      const record = { number };
      this.#numbers.set(known, record);
      this.#collected.register(known, record);
    } else {
      existing.number = number;
    }
    if (this.#numbersInUse.size > maxKnown) {
      const [oldest] = this.#numbersInUse;
      this.#forget(oldest);
    }
    return number;
  }

  #introduce(known: Known): number {
    const number = ++this.#lastNumber;
    this.#tell({ type: 'know', number, known });
    return number;
  }

  #forget(number: number): void {
    if (this.#numbersInUse.delete(number)) this.#tell({ type: 'forget', number });
  }

  #tell(message: ToWorker): void {
    for (const worker of this.#workers) worker?.post(message);
  }
}

let workers: WorkerHost | undefined;
let pool: Pool | undefined;

/** Says how workers are started here. */
export function useWorkers(host: WorkerHost): void {
  workers = host;
}

/** The workers of this thread, or undefined where there are none, as without SharedArrayBuffer. */
export function workerPool(): Pool | undefined {
  if (workers === undefined || typeof SharedArrayBuffer === 'undefined') return undefined;
  pool ??= new Pool(workers);
  return pool.isBroken ? undefined : pool;
}
