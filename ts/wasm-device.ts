/**
 * The `wasm` device: the SIMD kernel of `wasm/`, fed in chunks that stay in cache.
 *
 * @module
 */
import type { Device, PreparedThreads } from './device.ts';
import { DispatchLayoutError, InvalidExpertError } from './errors.ts';
import type { EventHandle } from './event-overlap.ts';
import type { LayoutArrays } from './layout.ts';
import { allValid, locateTokens } from './locate-tokens.ts';
import type { Partition } from './partition.ts';
import { CommunicationStream, type LocalDevice } from './threads/communication-stream.ts';
import { numCountsOf, numTokensPerChunk } from './threads/participant.ts';
import { maxCounts, maxThreads, workerPool } from './threads/pool.ts';
import { thresholds } from './threads/thresholds.ts';
import type { TopkIdx } from './topk-idx.ts';
import { bufferOf, byteOffsetOf, isShared, lengthOf, setElements } from './typed-array.ts';
import { WasmKernel } from './wasm-kernel.ts';

/** A request that needs more memory than this gets an instance of its own, which is collected with its group. */
const maxSharedBytes = 16 * 1024 * 1024;

/** The instance that groups share: changing between them rebuilds a table, about a microsecond for 256 experts. */
let shared: WasmKernel | undefined;

/**
 * Compiles the kernel on first use.
 *
 * @throws what `new WebAssembly.Module` throws where WebAssembly, its SIMD, or compiling is not available.
 */
export function loadWasmDevice(): Device {
  shared ??= new WasmKernel();
  return wasmDevice(1);
}

function wasmDevice(threads: number | 'auto'): Device {
  return {
    name: 'wasm',
    prepare: (partition, earlier) => {
      const stream = earlier instanceof PreparedWasm ? earlier.stream : new CommunicationStream();
      return new PreparedWasm(partition, threads, stream);
    },
    withThreads: wasmDevice,
  };
}

class PreparedWasm implements PreparedThreads, LocalDevice {
  readonly partition: Partition;
  readonly stream: CommunicationStream;
  readonly #threads: number | 'auto';
  #own: WasmKernel | undefined;
  #checkedTopk = -1;

  constructor(partition: Partition, threads: number | 'auto', stream: CommunicationStream) {
    this.partition = partition;
    this.stream = stream;
    this.#threads = threads;
  }

  sharesOutputs(topkIdx: TopkIdx, asyncFinish: boolean): boolean {
    return asyncFinish ? this.#fitsWorkers(topkIdx) : this.#threads !== 1 && this.#numThreadsFor(topkIdx) > 1;
  }

  computeLayout(topkIdx: TopkIdx, strict: boolean, out: LayoutArrays, keepOnError: boolean): void {
    if (!this.stream.isIdle) this.stream.drain();
    if (this.#threads !== 1 && this.#computeTogether(topkIdx, strict, out, keepOnError)) return;
    this.computeAlone(topkIdx, strict, out, keepOnError);
  }

  queueBehind(
    topkIdx: TopkIdx,
    strict: boolean,
    out: LayoutArrays,
    keepOnError: boolean,
    previous: EventHandle | null,
    isOver: (error: unknown) => boolean,
  ): EventHandle | undefined {
    if (!isShared(out.isTokenInRank) || !this.#fitsWorkers(topkIdx)) return undefined;
    const request = { topkIdx, strict, out, keepOnError, device: this, isOver };
    const numSelections = topkIdx.numTokens * topkIdx.numTopk;
    return this.stream.queue(request, previous, numSelections >= thresholds.background);
  }

  /** Returns false if it is not worth it, or an id is no expert: nothing was written then that must be kept. */
  #computeTogether(topkIdx: TopkIdx, strict: boolean, out: LayoutArrays, keepOnError: boolean): boolean {
    const numThreads = this.#numThreadsFor(topkIdx);
    if (numThreads === 1 || !isShared(out.isTokenInRank)) return false;
    const pool = workerPool();
    if (pool === undefined || !pool.hasIdle(numThreads - 1)) return false;
    const { numTokens, numTopk } = topkIdx;
    const rows = out.isTokenInRank;
    const job = {
      block: pool.block,
      partition: this.partition,
      topkIdx,
      isTokenInRank: new Uint8Array(bufferOf(rows), byteOffsetOf(rows), lengthOf(rows)),
      strict,
      checkFirst: strict && keepOnError,
      numTokensPerChunk: numTokensPerChunk(numTokens, numTopk, this.partition.numRanks, numThreads),
    };
    return pool.lead(job, numThreads - 1, this.kernelFor(numTopk), out, !keepOnError);
  }

  #numThreadsFor(topkIdx: TopkIdx): number {
    const least = this.#threads === 'auto' ? thresholds.auto : thresholds.split;
    if (topkIdx.numTokens * topkIdx.numTopk < least || !isShared(topkIdx.data) || !this.#fitsWorkers(topkIdx)) return 1;
    const numThreads = this.#threads === 'auto' ? (workerPool()?.parallelism ?? 1) : this.#threads;
    return Math.min(numThreads, maxThreads);
  }

  /** Whether there are workers, and their memory is enough. */
  #fitsWorkers({ numTopk }: TopkIdx): boolean {
    if (numCountsOf(this.partition) > maxCounts || workerPool() === undefined) return false;
    this.kernelFor(numTopk);
    return this.#own === undefined;
  }

  computeAlone(topkIdx: TopkIdx, strict: boolean, out: LayoutArrays, keepOnError: boolean): void {
    const { numTokens, numTopk } = topkIdx;
    const kernel = this.kernelFor(numTopk);
    kernel.use(this.partition, numTopk);
    const numTokensLocated = WasmKernel.numTokensLocated(numTopk);
    // Nothing may be written before all ids are known to be valid, so those that cannot be located at once are checked
    // in a pass of their own; unless nobody will ever see the arrays
    const checkFirst = strict && keepOnError && numTokens > numTokensLocated;
    if (checkFirst) {
      for (let token = 0; token < numTokens; token += numTokensLocated) {
        this.#locate(kernel, topkIdx, token, Math.min(token + numTokensLocated, numTokens), true);
      }
    }

    kernel.begin();
    for (let token = 0; token < numTokens; token += numTokensLocated) {
      const end = Math.min(token + numTokensLocated, numTokens);
      this.#locate(kernel, topkIdx, token, end, strict && !checkFirst);
      this.#add(kernel, numTopk, token, end, out.isTokenInRank);
    }
    const counts = kernel.finish();
    setElements(out.numTokensPerRank, counts.numTokensPerRank);
    if (out.numTokensPerRdmaRank !== null) setElements(out.numTokensPerRdmaRank, counts.numTokensPerRdmaRank);
    setElements(out.numTokensPerExpert, counts.numTokensPerExpert);
  }

  #locate(kernel: WasmKernel, topkIdx: TopkIdx, firstToken: number, end: number, strict: boolean): void {
    const position = locateTokens(kernel, topkIdx, firstToken, end, 0, strict);
    if (position === allValid) return;
    const token = Math.floor(position / topkIdx.numTopk);
    const slot = position % topkIdx.numTopk;
    throw new InvalidExpertError(topkIdx.valueAt(token, slot), token, slot, this.partition.numExperts);
  }

  #add(kernel: WasmKernel, numTopk: number, firstToken: number, end: number, isTokenInRank: Uint8Array): void {
    const { numRanks } = this.partition;
    const step = WasmKernel.numTokensOfRows(numRanks);
    for (let token = firstToken; token < end; token += step) {
      const count = Math.min(step, end - token);
      kernel.addTokens((token - firstToken) * numTopk, count, numTopk, token);
      copyRows(kernel.isTokenInRank, count * numRanks, isTokenInRank, token * numRanks);
    }
  }

  kernelFor(numTopk: number): WasmKernel {
    if (this.#own !== undefined) return this.#own;
    if (numTopk > this.#checkedTopk) {
      const footprint = WasmKernel.footprint(this.partition, numTopk);
      if (footprint > maxSharedBytes) {
        this.#own = instantiate(footprint);
        return this.#own;
      }
      this.#checkedTopk = numTopk;
    }
    shared ??= new WasmKernel();
    return shared;
  }
}

function instantiate(footprint: number): WasmKernel {
  try {
    return new WasmKernel();
  } catch (cause) {
    throw new DispatchLayoutError('OUT_OF_MEMORY', `no memory for a WASM instance with tables of ${footprint} bytes`, {
      value: footprint,
      remedy: "Drop groups that are no longer needed, or use device: 'js'.",
      cause,
    });
  }
}

function copyRows(rows: Uint8Array, length: number, target: Uint8Array, offset: number): void {
  setElements(target, rows.length === length ? rows : rows.subarray(0, length), offset);
}
