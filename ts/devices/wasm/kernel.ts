/**
 * One instance of the WASM kernel. `wasm/dispatch_layout.h` states the contract of the exports.
 *
 * @module
 */
import { DispatchLayoutError } from '../../errors/errors.ts';
import type { EmptyId } from '../../input/topk-idx.ts';
import { bytesOfMaskRow } from '../../layout/outputs.ts';
import type { IdTypeFacts, IntegerArray } from '../../values/id-types.ts';
import { instantiateKernel, original } from './instance.ts';
import {
  type KernelPartition,
  type Places,
  passing,
  placeBuffers,
  type Views,
  viewBuffers,
  type Windows,
  WindowView,
  writeRanks,
} from './memory.ts';

/** The exports of the kernel. */
export interface Exports {
  plan(): number;
  build_table(): void;
  begin(numIds: number, hasCopies: boolean): void;
  locate(
    ids: number,
    idType: number,
    numIds: number,
    firstId: number,
    hasEmptyId: boolean,
    emptyLow: number,
    emptyHigh: number,
  ): number;
  find_invalid(ids: number, idType: number, numIds: number, emptyLow: number, emptyHigh: number): number;
  add_tokens(firstId: number, numTokens: number, numTopk: number, firstToken: number, isTokenInRank: number): void;
  finish(): void;
}

const exportNames: readonly (keyof Exports)[] = [
  'plan',
  'build_table',
  'begin',
  'locate',
  'find_invalid',
  'add_tokens',
  'finish',
];

/**
 * The fields of the kernel's `Plan` that JavaScript writes, under the names and in the order of the C++ struct: 32-bit
 * numbers and addresses.
 */
export function planOf(partition: KernelPartition, places: Places): Readonly<Record<string, number>> {
  return {
    num_experts: partition.numExperts,
    num_ranks: partition.numRanks,
    num_ranks_per_node: partition.numRanksPerNode,
    num_rdma_ranks: partition.numRdmaRanks,
    has_bit_rows: partition.mask === 'bits' ? 1 : 0,
    rank_of_expert: places.rankOfExpert,
    large_table: places.largeTable,
    num_tokens_per_rank: places.numTokensPerRank,
    num_tokens_per_rdma_rank: places.numTokensPerRdmaRank,
    num_tokens_per_expert: places.numTokensPerExpert,
    last_token_of_node: places.lastTokenOfNode,
    positions: places.positions,
    // There is a cell in front of those of the ranks
    rank_cells: places.more + 8,
  };
}

const pageBytes = 65536;

/** The places of the buffers for a partition and a `numTopk`, and what follows from these places. */
interface Placed {
  readonly numTopk: number;
  readonly places: Places;
  /** The contents of the kernel's `Plan`. */
  readonly plan: readonly number[];
  readonly views: Views;
  readonly rowBytes: number;
  /** All rows of a full window. */
  readonly rows: WindowView<Uint8Array>;
}

/** One instance of the kernel. It holds the tables of one partition at a time. */
export class WasmKernel {
  readonly memory: WebAssembly.Memory;
  /** For what is computed beside layouts. */
  readonly exports: Exports;
  readonly #heapBase: number;
  #windows: Windows;
  #partition: KernelPartition | undefined;
  #placed!: Placed;
  /** The places for partitions that were used before, so that groups that take turns find their buffers again. */
  #known = new WeakMap<KernelPartition, Placed>();

  constructor(windows: Windows = passing) {
    this.#windows = windows;
    const exports = instantiateKernel();
    this.memory = exports.memory as WebAssembly.Memory;
    this.#heapBase = (exports.__heap_base as WebAssembly.Global<'i32'>).value;
    const originals: unknown = Object.fromEntries(exportNames.map((name) => [name, original(exports[name])]));
    this.exports = originals as Exports;
    original(exports._initialize)();
  }

  /** How much fits in the memory at a time. */
  get windows(): Windows {
    return this.#windows;
  }

  /** Changes the windows. Buffers are then placed anew for every partition. */
  set windows(windows: Windows) {
    this.#windows = windows;
    this.#partition = undefined;
    this.#known = new WeakMap();
  }

  /** Whether buffers for this partition, with room for this `numTopk`, were placed before. */
  knows(partition: KernelPartition, numTopk: number): boolean {
    return this.#find(partition, numTopk) !== undefined;
  }

  /** Whether the tables of this partition are the current ones, and there is room for this `numTopk`. */
  holds(partition: KernelPartition, numTopk: number): boolean {
    return this.#partition === partition && numTopk <= this.#placed.numTopk;
  }

  /**
   * Makes the tables of this partition the current ones. This costs nothing if they are current already.
   *
   * @throws DispatchLayoutError `OUT_OF_MEMORY`
   */
  use(partition: KernelPartition, numTopk: number): void {
    if (this.holds(partition, numTopk)) return;
    this.#partition = undefined;
    const { places, plan } = this.#place(partition, numTopk);
    const { buffer } = this.memory;
    writeRanks(buffer, places, partition);
    this.windows.more?.write(buffer, places.more, partition, this.#placed.numTopk);
    new Uint32Array(buffer, this.exports.plan(), plan.length).set(plan);
    this.exports.build_table();
    this.#partition = partition;
  }

  /** The size in bytes of the window of rows. It consists of whole rows, and of at least one. */
  get rowsBytes(): number {
    return this.#placed.rows.whole.length;
  }

  /** The size in bytes of a row. */
  get rowBytes(): number {
    return this.#placed.rowBytes;
  }

  /** The window that ids are written to before a call. */
  ids(type: IdTypeFacts): IntegerArray {
    return this.#placed.views.ids[type.code];
  }

  /** Starts a layout of `numIds` ids in all, before they are located. */
  begin(numIds: number): void {
    this.exports.begin(numIds, true);
  }

  /** Locates the ids in the window, numbered from `firstId`. Returns whether all of them are experts or empty. */
  locate(type: IdTypeFacts, emptyId: EmptyId, numIds: number, firstId: number): boolean {
    const { ids } = this.#placed.places;
    const id = emptyId ?? 0;
    return this.exports.locate(ids, type.code, numIds, firstId, emptyId !== null, lowHalf(id), highHalf(id)) !== 0;
  }

  /** The index of the first id in the window that is neither an expert nor empty, if there is one. */
  findInvalid(type: IdTypeFacts, emptyId: EmptyId, numIds: number): number {
    // The id of an expert, such as 0, says that there is no empty id
    const id = emptyId ?? 0;
    return this.exports.find_invalid(this.#placed.places.ids, type.code, numIds, lowHalf(id), highHalf(id));
  }

  /** Counts tokens whose ids were located with numbers from `firstId`, and writes their rows to the window. */
  addTokens(firstId: number, numTokens: number, numTopk: number, firstToken: number): void {
    const { isTokenInRank } = this.#placed.places;
    this.exports.add_tokens(firstId, numTokens, numTopk, firstToken, isTokenInRank);
  }

  /** The first `length` bytes of the window of rows. */
  rows(length: number): Uint8Array {
    return this.#placed.rows.first(length);
  }

  /** Ends a layout. The counts are then ready, and the counters are zero for the next layout. */
  finish(): void {
    this.exports.finish();
  }

  /** The memory of the results: the counts of the layout that finished last, and the windows of rows. */
  get views(): Views {
    return this.#placed.views;
  }

  /** The address of the kernel's `Plan`. */
  get plan(): number {
    return this.exports.plan();
  }

  /** The address of the buffers beside those of layouts. */
  get more(): number {
    return this.#placed.places.more;
  }

  /** The number of slots that the buffers have room for. */
  get numTopk(): number {
    return this.#placed.numTopk;
  }

  /** The places that were found before for this partition, if there is room for this `numTopk`. */
  #find(partition: KernelPartition, numTopk: number): Placed | undefined {
    const known = this.#known.get(partition);
    return known !== undefined && numTopk <= known.numTopk ? known : undefined;
  }

  #place(partition: KernelPartition, numTopk: number): Placed {
    const known = this.#find(partition, numTopk);
    if (known?.views.isTokenInRank.buffer === this.memory.buffer) {
      this.#placed = known;
      return known;
    }
    const places = placeBuffers(this.#heapBase, partition, numTopk, this.windows);
    this.#grow(places.end);
    const views = viewBuffers(this.memory.buffer, places, partition, numTopk, this.windows);
    const window = views.isTokenInRank;
    const rowBytes = bytesOfMaskRow(partition.numRanks, partition.mask ?? 'bytes');
    const rows = new WindowView(window.subarray(0, Math.floor(window.length / rowBytes) * rowBytes));
    const plan = Object.values(planOf(partition, places));
    this.#placed = { numTopk, places, plan, views, rowBytes, rows };
    this.#known.set(partition, this.#placed);
    return this.#placed;
  }

  #grow(bytes: number): void {
    const missing = bytes - this.memory.buffer.byteLength;
    if (missing <= 0) return;
    try {
      this.memory.grow(Math.ceil(missing / pageBytes));
    } catch (cause) {
      throw new DispatchLayoutError('OUT_OF_MEMORY', `this request needs ${bytes} bytes of WASM memory`, {
        value: bytes,
        remedy: "Correct numExperts, numRanks or the width of topkIdx, or use device: 'js'.",
        cause,
      });
    }
  }
}

/** The low 32 bits of an id. */
function lowHalf(id: number | bigint): number {
  return typeof id === 'bigint' ? Number(BigInt.asIntN(32, id)) : id | 0;
}

/** The bits of an id above the low 32, with its sign. */
function highHalf(id: number | bigint): number {
  return typeof id === 'bigint' ? Number(id >> 32n) : Math.floor(id / 2 ** 32);
}
