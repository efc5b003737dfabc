/**
 * The WASM module that maps ids, and its memory: the counterpart of `wasm/map_ids.cpp`.
 *
 * @module
 */
import { decodeModule } from '../devices/wasm/decode-module.ts';
import { moduleText } from '../generated/placement.ts';
import type { IntegerArray } from '../values/id-types.ts';
import type { ReplicaTable } from './replica-table.ts';

type Choose = (
  table: number,
  ids: number,
  numTokens: number,
  numTopk: number,
  firstToken: number,
  multiplier: number,
) => void;

interface Exports {
  readonly memory: WebAssembly.Memory;
  readonly __heap_base: WebAssembly.Global;
  locate_ids(
    ids: number,
    has64Bits: number,
    numIds: number,
    numExperts: number,
    emptyId: number,
    located: number,
  ): number;
  choose_replicas: Choose;
  fill_rows(table: number): void;
  choose_in_rows: Choose;
}

let instance: Exports | null | undefined;

/** Returns the one instance, or null where WebAssembly with SIMD cannot be compiled. */
function sharedInstance(): Exports | null {
  if (instance === undefined) {
    try {
      // It has little more than 1 KiB, which every browser compiles synchronously
      const module = new WebAssembly.Module(decodeModule(moduleText));
      instance = new WebAssembly.Instance(module).exports as unknown as Exports;
    } catch {
      instance = null; // The plain loop gives the same bits
    }
  }
  return instance;
}

/** The ids that are in the memory at a time. They fit in the caches of a core. */
export const idsPerWindow = 32 * 1024;
/** The SIMD loop reads and writes so many ids beyond the end. */
const slack = 3;
const pageBytes = 65536;
/** Tables that need more memory are left to the plain loop. */
const maxBytes = 2 ** 28;
/** More rows than this do not fit in the caches of a core. */
const maxRowElements = 2 ** 18;
/** The fields of the kernel's `Table`. */
const numTableFields = 8;

/** A table of replicas in the memory of the module. Only the one that was placed last is valid. */
export class MapKernel {
  readonly #exports: Exports;
  readonly #table: ReplicaTable;
  readonly #numTopk: number;
  /** The address of the kernel's `Table`. */
  readonly #address: number;
  readonly #ids: number;
  readonly #mapped: number;
  readonly #choose: Choose;

  /**
   * Places a table, for so many ids. Returns null where WebAssembly cannot be used, or where there is not enough memory.
   */
  static place(table: ReplicaTable, numIds: number, numTopk: number): MapKernel | null {
    const exports = sharedInstance();
    if (exports === null || numTopk > idsPerWindow) return null;
    const { memory } = exports;
    const { choices, counts, replicas } = table;
    const numChoices = choices.length / 2;
    const period = counts.reduce(leastCommonMultiple);
    // A row costs as much as mapping about so many ids one by one saves
    const hasRows = period * numChoices <= maxRowElements && period * numChoices <= numIds;
    let end = Math.ceil((exports.__heap_base.value as number) / 16) * 16;
    const room = (bytes: number): number => {
      const address = end;
      end += Math.ceil(bytes / 16) * 16;
      return address;
    };
    const address = room(4 * numTableFields);
    const places = [choices, counts, counts, replicas].map(({ byteLength }) => room(byteLength));
    const rows = room(hasRows ? 4 * period * numChoices : 0);
    const ids = room(8 * (idsPerWindow + slack));
    const mapped = room(4 * (idsPerWindow + slack));
    if (end > maxBytes) return null;
    try {
      if (end > memory.buffer.byteLength) memory.grow(Math.ceil((end - memory.buffer.byteLength) / pageBytes));
    } catch {
      return null;
    }
    const { buffer } = memory;
    new Uint32Array(buffer, places[0]).set(choices);
    new Uint32Array(buffer, places[1]).set(counts);
    new Int32Array(buffer, places[3]).set(replicas);
    const fields = [places[0], numChoices, places[1], counts.length, places[2], places[3], rows, period];
    new Uint32Array(buffer, address).set(fields);
    if (hasRows) exports.fill_rows(address);
    const choose = hasRows ? exports.choose_in_rows : exports.choose_replicas;
    return new MapKernel(exports, table, numTopk, address, ids, mapped, choose);
  }

  private constructor(
    exports: Exports,
    table: ReplicaTable,
    numTopk: number,
    address: number,
    ids: number,
    mapped: number,
    choose: Choose,
  ) {
    this.#exports = exports;
    this.#table = table;
    this.#numTopk = numTopk;
    this.#address = address;
    this.#ids = ids;
    this.#mapped = mapped;
    this.#choose = choose;
  }

  /**
   * Copies a window of ids into the memory, and locates them.
   *
   * @param ids at most {@link idsPerWindow}, of at most 32 bits with a sign, or of 64 bits. They may be of another realm.
   * @returns whether all of them are -1, `emptyId` or experts.
   */
  locate(ids: IntegerArray, has64Bits: boolean, emptyId: number): boolean {
    const { buffer } = this.#exports.memory;
    if (has64Bits) new BigInt64Array(buffer, this.#ids, ids.length).set(ids as BigInt64Array);
    else new Int32Array(buffer, this.#ids, ids.length).set(ids as Int32Array);
    const { numExperts } = this.#table;
    return this.#exports.locate_ids(this.#ids, +has64Bits, ids.length, numExperts, emptyId, this.#mapped) !== 0;
  }

  /** The replicas of the ids that were located. The array is valid until the next call. */
  choose(numTokens: number, firstToken: number): Int32Array {
    this.#choose(this.#address, this.#mapped, numTokens, this.#numTopk, firstToken, this.#table.multiplier);
    return new Int32Array(this.#exports.memory.buffer, this.#mapped, numTokens * this.#numTopk);
  }
}

function leastCommonMultiple(left: number, right: number): number {
  let [divisor, rest] = [left, right];
  while (rest > 0) [divisor, rest] = [rest, divisor % rest];
  return (left / divisor) * right;
}
