/**
 * What a worker of the pool does: parts of calls, and layouts of the communication stream. It sleeps in its event loop, and
 * after a call it stays awake for a moment: the next one then finds it within a microsecond.
 *
 * @module
 */
import type { Partition } from '../partition.ts';
import { pressCollector } from '../shared-memory.ts';
import { WasmKernel } from '../wasm-kernel.ts';
import { JobBlock, state } from './job-block.ts';
import { readJob } from './job-numbers.ts';
import { type BlockMessage, type FromWorker, type Known, status, type ToWorker } from './messages.ts';
import { Participant, type SharedJob } from './participant.ts';

/** Answers the messages of the thread that owns the pool. */
export function serve(post: (message: FromWorker) => void): (message: ToWorker) => void {
  const kernel = new WasmKernel();
  const known = new Map<number, Known>();
  let calls: Calls | undefined;
  return (message) => {
    switch (message.type) {
      case 'start':
        calls = new Calls(message, kernel, known);
        post({ type: 'ready' });
        break;
      case 'know':
        known.set(message.number, message.known);
        if ('byteLength' in message.known) pressCollector(message.known.byteLength);
        break;
      case 'forget':
        known.delete(message.number);
        break;
      case 'wake':
        calls?.wake();
        break;
      case 'layout': {
        const block = blockOf(message.block);
        const partition = known.get(message.partition) as Partition;
        takePart(1, kernel, block, () => readJob(message.numbers, block, partition, message.ids, message.rows));
        for (const { byteLength } of [message.ids, message.rows]) pressCollector(byteLength);
        post({ type: 'through', layout: message.layout });
        break;
      }
    }
  };
}

/** The calls that this worker is invited to. */
class Calls {
  readonly #me: number;
  readonly #block: JobBlock;
  readonly #status: number;
  readonly #call: Float64Array;
  readonly #spinTime: number;
  readonly #kernel: WasmKernel;
  readonly #known: ReadonlyMap<number, Known>;

  constructor(
    start: Extract<ToWorker, { readonly type: 'start' }>,
    kernel: WasmKernel,
    known: ReadonlyMap<number, Known>,
  ) {
    this.#me = start.worker;
    this.#block = blockOf(start.block);
    this.#status = this.#block.statusOf(start.worker);
    this.#call = start.call;
    this.#spinTime = start.spinTime;
    this.#kernel = kernel;
    this.#known = known;
    Atomics.store(this.#block.words, this.#status, status.asleep);
  }

  wake(): void {
    const { words } = this.#block;
    if (Atomics.compareExchange(words, this.#status, status.woken, status.busy) !== status.woken) return;
    do {
      const isKnown = takePart(this.#me, this.#kernel, this.#block, () => this.#readCall());
      if (!isKnown) {
        // Messages that are on their way say what it is
        Atomics.store(words, this.#status, status.asleep);
        return;
      }
      Atomics.store(words, this.#status, status.awake);
      const end = performance.now() + this.#spinTime;
      while (Atomics.load(words, this.#status) === status.awake) {
        if (performance.now() < end) continue;
        Atomics.compareExchange(words, this.#status, status.awake, status.asleep);
      }
    } while (Atomics.compareExchange(words, this.#status, status.invited, status.busy) === status.invited);
  }

  /** The call under way, unless this worker does not know its memory yet. */
  #readCall(): SharedJob | undefined {
    const numbers = this.#call.slice();
    // They may be those of the next call by now. If this worker still takes part in the call, they are not
    if (Atomics.load(this.#block.words, this.#block.stateOf(this.#me)) !== state.working) return undefined;
    const [partition, ids, rows] = [0, 1, 2].map((index) => this.#known.get(numbers[index]));
    if (partition === undefined || ids === undefined || rows === undefined) return undefined;
    return readJob(
      numbers.subarray(3),
      this.#block,
      partition as Partition,
      ids as SharedArrayBuffer,
      rows as SharedArrayBuffer,
    );
  }
}

/** Returns false if the worker cannot read the job. Whatever fails here, the leader does it. */
function takePart(me: number, kernel: WasmKernel, block: JobBlock, read: () => SharedJob | undefined): boolean {
  if (!block.join(me)) return true;
  try {
    const job = read();
    if (job !== undefined) new Participant(job, me, kernel).work();
    return job !== undefined;
  } catch {
    return true;
  } finally {
    const index = block.stateOf(me);
    if (Atomics.load(block.words, index) !== state.published) Atomics.store(block.words, index, state.revoked);
  }
}

function blockOf({ numParticipants, maxChunks, maxCounts, words }: BlockMessage): JobBlock {
  return new JobBlock(numParticipants, maxChunks, maxCounts, words);
}
