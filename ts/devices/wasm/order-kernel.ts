/**
 * The part of the kernel that orders rows, and its buffers: the counterpart of `wasm/row_order.h`.
 *
 * @module
 */
import type { Partition } from '../../input/partition.ts';
import type { ExpertOrder, RankOrder } from '../../layout/outputs.ts';
import type { WasmKernel } from './kernel.ts';
import { type MoreBuffers, type Views, WindowView } from './memory.ts';

interface Exports {
  count_rows(plan: number, order: number, numTokens: number, numTopk: number, firstToken: number): void;
  begin_rows(
    plan: number,
    order: number,
    rows: number,
    maxRows: number,
    firstExpert: number,
    numLocalExperts: number,
    alignment: number,
  ): number;
  place_rows(plan: number, order: number, rows: number, numTokens: number, numTopk: number, firstToken: number): void;
  shift_rows(
    plan: number,
    order: number,
    numIds: number,
    firstExpert: number,
    shiftOfKey: number,
    rowOfSelection: number,
  ): void;
  finish_rows(plan: number): void;
}

/** Returns the compiled module. */
export type OrderModule = () => WebAssembly.Module;

/** The exports of the module's instance in the memory of each instance of the kernel. */
const instances = new WeakMap<WasmKernel, Exports>();

function exportsIn({ memory }: WasmKernel, module: OrderModule): Exports {
  return new WebAssembly.Instance(module(), { env: { memory } }).exports as unknown as Exports;
}

/** How much of an order of rows is in the memory of an instance at a time. */
export interface OrderWindow {
  readonly rows: number;
  readonly selections: number;
}

/** Views of the buffers of an order of rows. A key is a local expert or a rank. */
export interface OrderViews {
  readonly numRowsOfKey: WindowView<Int32Array>;
  readonly firstRowOfKey: WindowView<Int32Array>;
  readonly ofRow: WindowView<Int32Array>;
  readonly rowOfSelection: WindowView<Int32Array>;
}

/** The addresses of the buffers, relative to their beginning. */
interface Places {
  readonly shiftOfKey: number;
  readonly orders: readonly {
    /** Where the kernel's `OrderRows` is, which has the four addresses below. */
    readonly orderRows: number;
    readonly numRowsOfKey: number;
    readonly firstRowOfKey: number;
    readonly ofRow: number;
    readonly rowOfSelection: number;
  }[];
  readonly end: number;
}

/** The buffers for one order or for several. Each has room of its own. */
export class OrderBuffers implements MoreBuffers {
  readonly windows: readonly OrderWindow[];
  /** The views in an instance, by those of its other buffers, which are made anew when the buffers move. */
  readonly #views = new WeakMap<Views, { readonly shiftOfKey: Int32Array; readonly orders: readonly OrderViews[] }>();

  readonly #module: OrderModule;

  constructor(windows: readonly OrderWindow[], module: OrderModule) {
    this.windows = windows;
    this.#module = module;
  }

  bytes(partition: Partition, numTopk: number): number {
    return this.#place(partition, numTopk).end;
  }

  write(buffer: ArrayBuffer, address: number, partition: Partition, numTopk: number): void {
    for (const order of this.#place(partition, numTopk).orders) {
      const { orderRows, numRowsOfKey, firstRowOfKey, ofRow, rowOfSelection } = order;
      const addresses = [numRowsOfKey, firstRowOfKey, ofRow, rowOfSelection].map((place) => address + place);
      new Int32Array(buffer, address + orderRows, addresses.length).set(addresses);
    }
  }

  /** The views of the buffers in an instance that holds the tables of a partition. */
  viewsIn(kernel: WasmKernel, partition: Partition): { shiftOfKey: Int32Array; orders: readonly OrderViews[] } {
    const known = this.#views.get(kernel.views);
    if (known !== undefined) return known;
    const { buffer } = kernel.views.isTokenInRank;
    const { numTopk, more } = kernel;
    const { shiftOfKey, orders } = this.#place(partition, numTopk);
    const numKeys = numKeysOf(partition);
    const view = (place: number, length: number) => new Int32Array(buffer, more + place, length);
    const views = {
      shiftOfKey: view(shiftOfKey, numKeys),
      orders: orders.map(({ numRowsOfKey, firstRowOfKey, ofRow, rowOfSelection }, i) => {
        const { rows, selections } = this.windows[i];
        return {
          numRowsOfKey: new WindowView(view(numRowsOfKey, numKeys)),
          firstRowOfKey: new WindowView(view(firstRowOfKey, numKeys + 1)),
          ofRow: new WindowView(view(ofRow, Math.max(rows, numTopk))),
          rowOfSelection: new WindowView(view(rowOfSelection, Math.max(selections, numTopk))),
        };
      }),
    };
    this.#views.set(kernel.views, views);
    return views;
  }

  /**
   * Orders the ids that were located, which are those of tokens from `firstToken` on.
   *
   * @param to the index of the buffers that the order is written to.
   * @param maxRows how many of their rows are written.
   */
  order(
    kernel: WasmKernel,
    order: ExpertOrder | RankOrder,
    partition: Partition,
    to: number,
    maxRows: number,
    numTokens: number,
    firstToken: number,
    numTopk: number,
  ): void {
    const { plan } = kernel;
    const exports = this.#exportsIn(kernel);
    const rows = this.#begin(kernel, order, partition, to, maxRows, numTokens, firstToken, numTopk);
    exports.place_rows(plan, codeOf(order), rows, numTokens, numTopk, firstToken);
    exports.finish_rows(plan);
  }

  /** Only counts the rows of the keys. Rows, of which there is none yet, are not written. */
  count(
    kernel: WasmKernel,
    order: ExpertOrder | RankOrder,
    partition: Partition,
    to: number,
    numTokens: number,
    firstToken: number,
    numTopk: number,
  ): void {
    this.#begin(kernel, order, partition, to, 0, numTokens, firstToken, numTopk);
    this.#exportsIn(kernel).finish_rows(kernel.plan);
  }

  /** Adds what `shiftOfKey` has for their keys to the rows of `numIds` ids, whose order was computed last. */
  shift(kernel: WasmKernel, order: ExpertOrder | RankOrder, partition: Partition, to: number, numIds: number): void {
    const { shiftOfKey, orders } = this.#place(partition, kernel.numTopk);
    const firstExpert = order.kind === 'byExpert' ? order.firstExpert : 0;
    const { more, plan } = kernel;
    const rows = more + orders[to].rowOfSelection;
    this.#exportsIn(kernel).shift_rows(plan, codeOf(order), numIds, firstExpert, more + shiftOfKey, rows);
  }

  /** Counts the rows, and writes the counts and the first rows. Returns the address of the `OrderRows`. */
  #begin(
    kernel: WasmKernel,
    order: ExpertOrder | RankOrder,
    partition: Partition,
    to: number,
    maxRows: number,
    numTokens: number,
    firstToken: number,
    numTopk: number,
  ): number {
    const { plan } = kernel;
    const exports = this.#exportsIn(kernel);
    const code = codeOf(order);
    const rows = kernel.more + this.#place(partition, kernel.numTopk).orders[to].orderRows;
    exports.count_rows(plan, code, numTokens, numTopk, firstToken);
    if (order.kind === 'byRank') exports.begin_rows(plan, code, rows, maxRows, 0, 0, 1);
    else exports.begin_rows(plan, code, rows, maxRows, order.firstExpert, order.numLocalExperts, order.alignment);
    return rows;
  }

  #exportsIn(kernel: WasmKernel): Exports {
    let exports = instances.get(kernel);
    if (exports === undefined) {
      exports = exportsIn(kernel, this.#module);
      instances.set(kernel, exports);
    }
    return exports;
  }

  /** The places that were computed last, since most calls need the same. */
  #last:
    | { readonly numKeys: number; readonly numRanks: number; readonly numTopk: number; readonly places: Places }
    | undefined;

  #place(partition: Partition, numTopk: number): Places {
    const { numRanks } = partition;
    const numKeys = numKeysOf(partition);
    const last = this.#last;
    if (last?.numKeys === numKeys && last.numRanks === numRanks && last.numTopk === numTopk) return last.places;
    let end = 0;
    const take = (bytes: number) => {
      const place = Math.ceil(end / 64) * 64;
      end = place + bytes;
      return place;
    };
    // The cells of the ranks come first, with one in front of them
    take(8 * (numRanks + 1));
    const shiftOfKey = take(4 * numKeys);
    const orders = this.windows.map(({ rows, selections }) => ({
      orderRows: take(16),
      numRowsOfKey: take(4 * numKeys),
      firstRowOfKey: take(4 * (numKeys + 1)),
      // What is written to row -1 is in front
      ofRow: take(64 + 4 * Math.max(rows, numTopk)) + 64,
      rowOfSelection: take(4 * Math.max(selections, numTopk)),
    }));
    const places = { shiftOfKey, orders, end };
    this.#last = { numKeys, numRanks, numTopk, places };
    return places;
  }
}

function numKeysOf({ numExperts, numRanks }: Partition): number {
  return Math.max(numExperts, numRanks);
}

/** The kernel's number of an order of rows. */
function codeOf(order: ExpertOrder | RankOrder): number {
  return order.kind === 'byExpert' ? 0 : order.winner === 'first' ? 1 : 2;
}
