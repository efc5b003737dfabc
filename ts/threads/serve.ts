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
        const objects = [message.partition, message.ids, message.rows];
        takePart(1, kernel, block, () => knownJob(known, objects, message.numbers, block));
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
      if (!takePart(this.#me, this.#kernel, this.#block, () => this.#readCall())) {
        // Too late, or messages that are on their way say what the memory is
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
    return knownJob(this.#known, [...numbers.subarray(0, 3)], numbers.subarray(3), this.#block);
  }
}

/** A job over objects that are known by number: its partition, ids and rows. Undefined where one of them is not known. */
function knownJob(
  known: ReadonlyMap<number, Known>,
  objects: readonly number[],
  numbers: ArrayLike<number>,
  block: JobBlock,
): SharedJob | undefined {
  const [partition, ids, rows] = objects.map((number) => known.get(number));
  if (partition === undefined || ids === undefined || rows === undefined) return undefined;
  return readJob(numbers, block, partition as Partition, ids as SharedArrayBuffer, rows as SharedArrayBuffer);
}

/** Returns whether the worker has done its part. Whatever fails here, the leader does. */
function takePart(me: number, kernel: WasmKernel, block: JobBlock, read: () => SharedJob | undefined): boolean {
  if (!block.join(me)) return false;
  const index = block.stateOf(me);
  try {
    const job = read();
    return job !== undefined && new Participant(job, me, kernel).work();
  } catch {
    return false;
  } finally {
    if (Atomics.load(block.words, index) !== state.published) Atomics.store(block.words, index, state.revoked);
  }
}

function blockOf({ numParticipants, maxChunks, maxCounts, words }: BlockMessage): JobBlock {
  return new JobBlock(numParticipants, maxChunks, maxCounts, words);
}
