/**
 * The WASM module that maps ids, and its memory: the counterpart of `wasm/map_ids.cpp`.
 *
 * @module
 */
import { decodeModule } from '../devices/wasm/decode-module.ts';
import { moduleText } from '../generated/placement.ts';
import type { IntegerArray } from '../values/id-types.ts';
import type { ReplicaTable } from './replica-table.ts';

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
  choose_replicas(
    ids: number,
    numTokens: number,
    numTopk: number,
    choices: number,
    counts: number,
    numCounts: number,
    phases: number,
    replicas: number,
    firstToken: number,
    multiplier: number,
  ): void;
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
/** The SIMD loops read and write so many ids beyond the end. */
const slack = 3;
const pageBytes = 65536;
/** Tables that need more memory are left to the plain loop. */
const maxBytes = 2 ** 28;

/** A table of replicas in the memory of the module. Only the table that was placed last is valid. */
export class MapKernel {
  readonly #exports: Exports;
  readonly #table: ReplicaTable;
  readonly #numTopk: number;
  readonly #choices: number;
  readonly #counts: number;
  readonly #phases: number;
  readonly #replicas: number;
  readonly #ids: number;
  readonly #mapped: number;

  /** Places a table. Returns null where WebAssembly cannot be used. */
  static place(table: ReplicaTable, numTopk: number): MapKernel | null {
    const exports = sharedInstance();
    return exports === null || numTopk > idsPerWindow ? null : MapKernel.#placeIn(exports, table, numTopk);
  }

  static #placeIn(exports: Exports, table: ReplicaTable, numTopk: number): MapKernel | null {
    const kernel = new MapKernel(exports, table, numTopk);
    const end = kernel.#mapped + 4 * (idsPerWindow + slack);
    const { memory } = exports;
    if (end > maxBytes) return null;
    try {
      if (end > memory.buffer.byteLength) memory.grow(Math.ceil((end - memory.buffer.byteLength) / pageBytes));
    } catch {
      return null;
    }
    new Uint32Array(memory.buffer, kernel.#choices).set(table.choices);
    new Uint32Array(memory.buffer, kernel.#counts).set(table.counts);
    new Int32Array(memory.buffer, kernel.#replicas).set(table.replicas);
    return kernel;
  }

  private constructor(exports: Exports, table: ReplicaTable, numTopk: number) {
    this.#exports = exports;
    this.#table = table;
    this.#numTopk = numTopk;
    let next = Math.ceil((exports.__heap_base.value as number) / 16) * 16;
    const room = (bytes: number): number => {
      const address = next;
      next += Math.ceil(bytes / 16) * 16;
      return address;
    };
    this.#choices = room(table.choices.byteLength);
    this.#counts = room(table.counts.byteLength);
    this.#phases = room(table.counts.byteLength);
    this.#replicas = room(table.replicas.byteLength);
    this.#ids = room(8 * (idsPerWindow + slack));
    this.#mapped = room(0);
  }

  /**
   * Copies a window of ids into the memory, and locates them.
   *
   * @param ids at most {@link idsPerWindow}, of at most 32 bits with a sign, or of 64 bits.
   * @returns whether all of them are -1, `emptyId` or experts.
   */
  locate(ids: IntegerArray, emptyId: number): boolean {
    const { buffer } = this.#exports.memory;
    const has64Bits = ids instanceof BigInt64Array;
    if (has64Bits) new BigInt64Array(buffer, this.#ids, ids.length).set(ids);
    else new Int32Array(buffer, this.#ids, ids.length).set(ids as Int32Array);
    const { numExperts } = this.#table;
    return this.#exports.locate_ids(this.#ids, +has64Bits, ids.length, numExperts, emptyId, this.#mapped) !== 0;
  }

  /** The replicas of the ids that were located. The array is valid until the next call. */
  choose(numTokens: number, firstToken: number): Int32Array {
    const { counts, multiplier } = this.#table;
    this.#exports.choose_replicas(
      this.#mapped,
      numTokens,
      this.#numTopk,
      this.#choices,
      this.#counts,
      counts.length,
      this.#phases,
      this.#replicas,
      firstToken,
      multiplier,
    );
    return new Int32Array(this.#exports.memory.buffer, this.#mapped, numTokens * this.#numTopk);
  }
}
