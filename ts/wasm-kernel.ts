/**
 * One instance of the WASM kernel and its memory: where its buffers lie, and typed views of them. The contract of the
 * exports is in `wasm/dispatch_layout.h`.
 *
 * @module
 */
import { instantiateSync } from '@assemblyscript/loader';
import { DispatchLayoutError } from './errors.ts';
import { kernelBase64 } from './generated/kernel.ts';
import type { Partition } from './partition.ts';
import type { IdType, IntegerArray } from './topk-idx.ts';

/** `kNoPosition`, as JavaScript sees it. */
export const noPosition = -1;

/** `IdType` of the kernel, by name. */
const idTypeCodes: Readonly<Record<IdType, number>> = {
  int64: 0,
  uint64: 1,
  int32: 2,
  uint32: 3,
  int16: 4,
  uint16: 5,
  int8: 6,
  uint8: 7,
};

const viewOf = {
  int64: BigInt64Array,
  uint64: BigUint64Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
} as const;

/**
 * Ids and rows pass through windows of this many bytes: both, and the table, stay in a core's L2 cache. Measured: at
 * half the size calls cost more than the cache gains, at four times the copies slow down.
 */
const windowBytes = 256 * 1024;

/** Bounds of the kernel's own scratch and slack: `kNumIdsPerBlock`, `kNumEmptyEntries`, `kSlackBytes`. */
const numIdsPerBlock = 8192;
const numEmptyEntries = 8;
const slackBytes = 64;

const pageBytes = 65536;

interface Exports {
  plan(): number;
  build_table(): void;
  begin(): void;
  add_tokens(
    ids: number,
    idType: number,
    numTokens: number,
    numTopk: number,
    firstToken: number,
    strict: number,
    isTokenInRank: number,
  ): number;
  find_invalid(ids: number, idType: number, numTokens: number, numTopk: number): number;
  finish(): void;
}

/** Where the buffers of one partition lie. */
interface Places {
  readonly rankOfExpert: number;
  readonly wideTable: number;
  readonly numTokensPerRank: number;
  readonly numTokensPerRdmaRank: number;
  readonly numTokensPerExpert: number;
  readonly lastTokenOfNode: number;
  readonly scratch: number;
  readonly ids: number;
  readonly isTokenInRank: number;
  readonly end: number;
}

/** Views of the memory, made anew when it grows. */
interface Views {
  readonly numTokensPerRank: Int32Array;
  readonly numTokensPerRdmaRank: Int32Array;
  readonly numTokensPerExpert: Int32Array;
  readonly ids: Readonly<Record<IdType, IntegerArray>>;
  readonly isTokenInRank: Uint8Array;
}

let compiled: WebAssembly.Module | undefined;

/** Compiles the kernel, once in a thread. */
function compile(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(Uint8Array.from(atob(kernelBase64), (character) => character.charCodeAt(0)));
  return compiled;
}

/** One instance of the kernel. It holds the tables of one partition at a time. */
export class WasmKernel {
  readonly #memory: WebAssembly.Memory;
  readonly #exports: Exports;
  readonly #heapBase: number;
  #partition: Partition | undefined;
  #numTopk = 0;
  #places!: Places;
  #views!: Views;

  constructor() {
    const { exports } = instantiateSync(compile(), {});
    const raw = exports as unknown as Record<string, unknown>;
    this.#memory = raw.memory as WebAssembly.Memory;
    this.#heapBase = (raw.__heap_base as WebAssembly.Global<'i32'>).value;
    this.#exports = Object.fromEntries(
      ['plan', 'build_table', 'begin', 'add_tokens', 'find_invalid', 'finish'].map((name) => [name, original(raw[name])]),
    ) as unknown as Exports;
    original(raw._initialize)();
  }

  /** Bytes of memory that layouts of this partition and width need. */
  static footprint(partition: Partition, numTopk: number): number {
    return place(0, partition, numTopk).end;
  }

  /** How many tokens fit the windows at a time; at least one. */
  static tokensPerChunk(partition: Partition, numTopk: number, idBytes: number): number {
    return Math.max(1, Math.floor(Math.min(windowBytes / (numTopk * idBytes), windowBytes / partition.numRanks)));
  }

  /**
   * Makes the tables of this partition the current ones. Costs nothing when they are already.
   *
   * @throws DispatchLayoutError `OUT_OF_MEMORY`
   */
  use(partition: Partition, numTopk: number): void {
    if (this.#partition === partition && numTopk <= this.#numTopk) return;
    this.#partition = undefined;
    const width = Math.max(numTopk, numIdsPerBlock);
    const places = place(this.#heapBase, partition, width);
    this.#grow(places.end);
    const { buffer } = this.#memory;
    new Int32Array(buffer, places.rankOfExpert, partition.numExperts).set(partition.rankOfExpert);
    new Uint32Array(buffer, this.#exports.plan(), 11).set([
      partition.numExperts,
      partition.numRanks,
      partition.numRanksPerNode,
      partition.numRdmaRanks,
      places.rankOfExpert,
      places.wideTable,
      places.numTokensPerRank,
      places.numTokensPerRdmaRank,
      places.numTokensPerExpert,
      places.lastTokenOfNode,
      places.scratch,
    ]);
    this.#exports.build_table();
    this.#places = places;
    this.#views = view(buffer, places, partition);
    this.#partition = partition;
    this.#numTopk = width;
  }

  /** The window that ids are written to before a call. */
  ids(idType: IdType): IntegerArray {
    return this.#views.ids[idType];
  }

  /** The rows of the last chunk: the first `numTokens * numRanks` bytes of this window. */
  get isTokenInRank(): Uint8Array {
    return this.#views.isTokenInRank;
  }

  /** Starts a layout. */
  begin(): void {
    this.#exports.begin();
  }

  /** Adds the tokens in the ids window. Returns the position of the first invalid id where `strict`, else `noPosition`. */
  addTokens(idType: IdType, numTokens: number, numTopk: number, firstToken: number, strict: boolean): number {
    const { ids, isTokenInRank } = this.#places;
    const code = idTypeCodes[idType];
    return this.#exports.add_tokens(ids, code, numTokens, numTopk, firstToken, strict ? 1 : 0, isTokenInRank);
  }

  /** The position of the first invalid id in the ids window, or `noPosition`. */
  findInvalid(idType: IdType, numTokens: number, numTopk: number): number {
    return this.#exports.find_invalid(this.#places.ids, idTypeCodes[idType], numTokens, numTopk);
  }

  /** Ends a layout, also one that met an invalid id: the counts are ready, the counters zero. */
  finish(): Pick<Views, 'numTokensPerRank' | 'numTokensPerRdmaRank' | 'numTokensPerExpert'> {
    this.#exports.finish();
    return this.#views;
  }

  #grow(bytes: number): void {
    const missing = bytes - this.#memory.buffer.byteLength;
    if (missing <= 0) return;
    try {
      this.#memory.grow(Math.ceil(missing / pageBytes));
    } catch (cause) {
      throw new DispatchLayoutError('OUT_OF_MEMORY', `the tables of this request need ${bytes} bytes of WASM memory`, {
        value: bytes,
        remedy: "Correct numExperts, numRanks or the width of topkIdx, or use device: 'js'.",
        cause,
      });
    }
  }
}

function place(start: number, partition: Partition, numTopk: number): Places {
  let end = start;
  const take = (bytes: number) => {
    const address = Math.ceil(end / 64) * 64;
    end = address + bytes;
    return address;
  };
  const { numExperts, numRanks, numRdmaRanks } = partition;
  const places = {
    rankOfExpert: take(4 * numExperts),
    wideTable: take(16 * (numExperts + numEmptyEntries)),
    numTokensPerRank: take(4 * (numRanks + 32)),
    numTokensPerRdmaRank: take(4 * (numRdmaRanks + 32)),
    numTokensPerExpert: take(4 * (numExperts + 3)),
    lastTokenOfNode: take(4 * (numRdmaRanks + 1)),
    scratch: take(4 * (Math.max(numTopk, numIdsPerBlock) + 8)),
    ids: take(Math.max(windowBytes, 8 * numTopk) + slackBytes),
    isTokenInRank: take(Math.max(windowBytes, numRanks) + slackBytes),
  };
  return { ...places, end };
}

function view(buffer: ArrayBuffer, places: Places, partition: Partition): Views {
  const ids = Object.fromEntries(
    Object.entries(viewOf).map(([idType, View]) => [
      idType,
      new View(buffer, places.ids, Math.floor((places.isTokenInRank - places.ids - slackBytes) / View.BYTES_PER_ELEMENT)),
    ]),
  ) as Record<IdType, IntegerArray>;
  return {
    numTokensPerRank: new Int32Array(buffer, places.numTokensPerRank, partition.numRanks),
    numTokensPerRdmaRank: new Int32Array(buffer, places.numTokensPerRdmaRank, partition.numRdmaRanks),
    numTokensPerExpert: new Int32Array(buffer, places.numTokensPerExpert, partition.numExperts),
    ids,
    isTokenInRank: new Uint8Array(buffer, places.isTokenInRank, places.end - places.isTokenInRank - slackBytes),
  };
}

/** The export itself, without the closure that the loader wraps it in. */
function original(wrapped: unknown): (...values: number[]) => number {
  return (wrapped as { readonly original: (...values: number[]) => number }).original;
}
