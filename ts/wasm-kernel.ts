/**
 * One instance of the WASM kernel and its memory: where its buffers lie, and typed views of them. The contract of the
 * exports is in `wasm/dispatch_layout.h`.
 *
 * @module
 */
import { DispatchLayoutError } from './errors.ts';
import { instantiateKernel } from './kernel-instance.ts';
import type { Partition } from './partition.ts';
import { arrayClasses, type IdType, type IntegerArray } from './topk-idx.ts';

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

/** How much of a layout is in the memory of an instance at a time. */
export interface Windows {
  readonly idsBytes: number;
  readonly rowsBytes: number;
  /** How many ids can be located before the first of them is counted; they are 2 to 4 bytes of positions each. */
  readonly locatedIds: number;
}

/** How many ids every instance can locate before the first of them is counted. */
export const maxLocatedIds: number = 512 * 1024;

/** Ids and rows pass through windows that stay in cache. */
const passing: Windows = { idsBytes: 64 * 1024, rowsBytes: 64 * 1024, locatedIds: maxLocatedIds };

/** The same with 16 to 32 MiB of positions. */
export const locatingMany: Windows = { ...passing, locatedIds: 8 * 1024 * 1024 };

/** The kernel's own bounds: `kMaxSmallTableExperts`, `kNumEmptyEntries`, `kSlackBytes`. */
const maxSmallTableExperts = 4088;
const numEmptyEntries = 8;
const slackBytes = 64;

const pageBytes = 65536;

/** So many ids are not few, whatever the partition. */
export const manyIds: number = 2 ** 31 - 1;

interface Exports {
  plan(): number;
  build_table(): void;
  begin(numIds: number): void;
  locate(ids: number, idType: number, numIds: number, firstId: number): number;
  find_invalid(ids: number, idType: number, numIds: number): number;
  add_tokens(firstId: number, numTokens: number, numTopk: number, firstToken: number, isTokenInRank: number): void;
  finish(): void;
}

/** Where the buffers of one partition lie. */
interface Places {
  readonly rankOfExpert: number;
  readonly largeTable: number;
  readonly numTokensPerRank: number;
  readonly numTokensPerRdmaRank: number;
  readonly numTokensPerExpert: number;
  readonly lastTokenOfNode: number;
  readonly positions: number;
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
  someRows: Uint8Array;
  otherRows: Uint8Array;
}

/** What depends on the partition and the width of its requests. */
interface Prepared {
  readonly numTopk: number;
  readonly places: Places;
  readonly views: Views;
}

/** One instance of the kernel. It holds the tables of one partition at a time. */
export class WasmKernel {
  readonly #memory: WebAssembly.Memory;
  readonly #exports: Exports;
  readonly #heapBase: number;
  #partition: Partition | undefined;
  #prepared!: Prepared;
  /** Where partitions that were used before have their buffers: groups that take turns find theirs again. */
  readonly #known = new WeakMap<Partition, Prepared>();
  readonly #windows: Windows;

  /** @param windows at least one token fits in each, whatever they say. */
  constructor(windows: Windows = passing) {
    this.#windows = windows;
    const raw = instantiateKernel();
    this.#memory = raw.memory as WebAssembly.Memory;
    this.#heapBase = (raw.__heap_base as WebAssembly.Global<'i32'>).value;
    this.#exports = Object.fromEntries(
      ['plan', 'build_table', 'begin', 'locate', 'find_invalid', 'add_tokens', 'finish'].map((name) => [
        name,
        original(raw[name]),
      ]),
    ) as unknown as Exports;
    original(raw._initialize)();
  }

  /** Bytes of memory that layouts of this partition and width need. */
  static footprint(partition: Partition, numTopk: number): number {
    return place(0, partition, numTopk, passing).end;
  }

  /** How many tokens the ids window holds; at least one. */
  static numTokensOfIds(numTopk: number, idBytes: number): number {
    return atLeastOne(passing.idsBytes / (numTopk * idBytes));
  }

  /** How many tokens the window of rows holds; at least one. */
  static numTokensOfRows(numRanks: number): number {
    return atLeastOne(passing.rowsBytes / numRanks);
  }

  /**
   * Makes the tables of this partition the current ones. Costs nothing when they are already.
   *
   * @throws DispatchLayoutError `OUT_OF_MEMORY`
   */
  use(partition: Partition, numTopk: number): void {
    if (this.#partition === partition && numTopk <= this.#prepared.numTopk) return;
    this.#partition = undefined;
    const { places } = this.#prepare(partition, numTopk);
    const { buffer } = this.#memory;
    new Int32Array(buffer, places.rankOfExpert, partition.numExperts).set(partition.rankOfExpert);
    new Uint32Array(buffer, this.#exports.plan(), 11).set([
      partition.numExperts,
      partition.numRanks,
      partition.numRanksPerNode,
      partition.numRdmaRanks,
      places.rankOfExpert,
      places.largeTable,
      places.numTokensPerRank,
      places.numTokensPerRdmaRank,
      places.numTokensPerExpert,
      places.lastTokenOfNode,
      places.positions,
    ]);
    this.#exports.build_table();
    this.#partition = partition;
  }

  /** How many tokens can be located before the first of them is added; at least one. */
  numTokensLocated(numTopk: number): number {
    return atLeastOne(this.#windows.locatedIds / numTopk);
  }

  /** The window that ids are written to before a call. */
  ids(idType: IdType): IntegerArray {
    return this.#prepared.views.ids[idType];
  }

  /** The first rows of their window, `numTokens * numRanks` bytes. */
  rows(numTokens: number): Uint8Array {
    const { views } = this.#prepared;
    const length = numTokens * views.numTokensPerRank.length;
    // Calls of one shape need at most two lengths, that of full windows and that of the last
    if (views.someRows.length === length) return views.someRows;
    [views.someRows, views.otherRows] = [views.otherRows, views.someRows];
    if (views.someRows.length !== length) views.someRows = views.isTokenInRank.subarray(0, length);
    return views.someRows;
  }

  /** Starts a layout of so many ids, before they are located: few must be located all, as number 0 on, or {@link manyIds}. */
  begin(numIds: number): void {
    this.#exports.begin(numIds);
  }

  /** Locates the ids in the window as number `firstId` on. Returns whether all of them are experts or -1. */
  locate(idType: IdType, numIds: number, firstId: number): boolean {
    return this.#exports.locate(this.#prepared.places.ids, idTypeCodes[idType], numIds, firstId) !== 0;
  }

  /** The position of the first id in the window that is neither an expert nor -1, or `numIds`. */
  findInvalid(idType: IdType, numIds: number): number {
    return this.#exports.find_invalid(this.#prepared.places.ids, idTypeCodes[idType], numIds);
  }

  /** Counts tokens whose ids were located as number `firstId` on, and writes their rows to the window. */
  addTokens(firstId: number, numTokens: number, numTopk: number, firstToken: number): void {
    this.#exports.add_tokens(firstId, numTokens, numTopk, firstToken, this.#prepared.places.isTokenInRank);
  }

  /** Ends a layout: the counts are ready, and the counters zero for the next one. */
  finish(): void {
    this.#exports.finish();
  }

  /** The counts of the layout that finished last. */
  get counts(): Pick<Views, 'numTokensPerRank' | 'numTokensPerRdmaRank' | 'numTokensPerExpert'> {
    return this.#prepared.views;
  }

  #prepare(partition: Partition, numTopk: number): Prepared {
    const known = this.#known.get(partition);
    if (known !== undefined && numTopk <= known.numTopk && known.views.isTokenInRank.buffer === this.#memory.buffer) {
      this.#prepared = known;
      return known;
    }
    const places = place(this.#heapBase, partition, numTopk, this.#windows);
    this.#grow(places.end);
    this.#prepared = { numTopk, places, views: view(this.#memory.buffer, places, partition) };
    this.#known.set(partition, this.#prepared);
    return this.#prepared;
  }

  #grow(bytes: number): void {
    const missing = bytes - this.#memory.buffer.byteLength;
    if (missing <= 0) return;
    try {
      this.#memory.grow(Math.ceil(missing / pageBytes));
    } catch (cause) {
      throw new DispatchLayoutError('OUT_OF_MEMORY', `this request needs ${bytes} bytes of WASM memory`, {
        value: bytes,
        remedy: "Correct numExperts, numRanks or the width of topkIdx, or use device: 'js'.",
        cause,
      });
    }
  }
}

function place(start: number, partition: Partition, numTopk: number, windows: Windows): Places {
  let end = start;
  const take = (bytes: number) => {
    const address = Math.ceil(end / 64) * 64;
    end = address + bytes;
    return address;
  };
  const { numExperts, numRanks, numRdmaRanks } = partition;
  const places = {
    rankOfExpert: take(4 * numExperts),
    largeTable: take(numExperts > maxSmallTableExperts ? 16 * (numExperts + numEmptyEntries) : 0),
    numTokensPerRank: take(4 * (numRanks + 63)),
    numTokensPerRdmaRank: take(4 * (numRdmaRanks + 63)),
    numTokensPerExpert: take(4 * (numExperts + numEmptyEntries)),
    lastTokenOfNode: take(4 * (numRdmaRanks + 1)),
    positions: take((numExperts > maxSmallTableExperts ? 4 : 2) * (Math.max(windows.locatedIds, numTopk) + 8)),
    ids: take(Math.max(windows.idsBytes, 8 * numTopk) + slackBytes),
    isTokenInRank: take(Math.max(windows.rowsBytes, numRanks) + slackBytes),
  };
  return { ...places, end };
}

function view(buffer: ArrayBuffer, places: Places, partition: Partition): Views {
  const ids = Object.fromEntries(
    Object.entries(arrayClasses).map(([idType, View]) => [
      idType,
      new View(
        buffer,
        places.ids,
        Math.floor((places.isTokenInRank - places.ids - slackBytes) / View.BYTES_PER_ELEMENT),
      ),
    ]),
  ) as Record<IdType, IntegerArray>;
  const isTokenInRank = new Uint8Array(buffer, places.isTokenInRank, places.end - places.isTokenInRank - slackBytes);
  return {
    numTokensPerRank: new Int32Array(buffer, places.numTokensPerRank, partition.numRanks),
    numTokensPerRdmaRank: new Int32Array(buffer, places.numTokensPerRdmaRank, partition.numRdmaRanks),
    numTokensPerExpert: new Int32Array(buffer, places.numTokensPerExpert, partition.numExperts),
    ids,
    isTokenInRank,
    someRows: isTokenInRank,
    otherRows: isTokenInRank,
  };
}

/** The export itself, without the closure that the loader wraps it in. */
function original(wrapped: unknown): (...values: number[]) => number {
  return (wrapped as { readonly original: (...values: number[]) => number }).original;
}

function atLeastOne(count: number): number {
  return Math.max(1, Math.floor(Math.min(count, 2 ** 31 - 1)));
}
