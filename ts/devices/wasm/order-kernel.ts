/**
 * The part of the kernel that orders rows: the counterpart of `wasm/row_order.cpp`.
 *
 * @module
 */
import type { ExpertOrder, RankOrder } from '../../layout/outputs.ts';
import type { WasmKernel } from './kernel.ts';
import type { WindowView } from './memory.ts';

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

function exportsIn(kernel: WasmKernel, module: OrderModule): Exports {
  const known = instances.get(kernel);
  if (known !== undefined) return known;
  const { memory } = kernel;
  const exports = new WebAssembly.Instance(module(), { env: { memory } }).exports as unknown as Exports;
  instances.set(kernel, exports);
  return exports;
}

/** The buffers of one order of rows in the memory of an instance. A key is a local expert or a rank. */
export interface OrderViews {
  readonly numRowsOfKey: WindowView<Int32Array>;
  readonly firstRowOfKey: WindowView<Int32Array>;
  readonly ofRow: WindowView<Int32Array>;
  readonly rowOfSelection: WindowView<Int32Array>;
  /** What {@link OrderKernel.shift} adds to the rows of each key. All orders in an instance share it. */
  readonly shiftOfKey: Int32Array;
  /** The address of the kernel's `OrderRows`, which has the addresses of the first four. */
  readonly orderRows: number;
}

/** The kernel, with the buffers of one order of rows. */
export class OrderKernel {
  readonly views: OrderViews;
  readonly #exports: Exports;
  /** The address of the kernel's `Plan`. */
  readonly #plan: number;

  constructor(kernel: WasmKernel, module: OrderModule, views: OrderViews) {
    this.views = views;
    this.#exports = exportsIn(kernel, module);
    this.#plan = kernel.plan;
  }

  /**
   * Orders the ids that were located, which are those of tokens from `firstToken` on.
   *
   * @param maxRows how many rows are written.
   */
  order(order: ExpertOrder | RankOrder, firstToken: number, numTokens: number, numTopk: number, maxRows: number): void {
    this.#begin(order, firstToken, numTokens, numTopk, maxRows);
    this.#exports.place_rows(this.#plan, codeOf(order), this.views.orderRows, numTokens, numTopk, firstToken);
    this.#exports.finish_rows(this.#plan);
  }

  /** Only counts the rows of the keys of these tokens. Rows, of which there is none yet, are not written. */
  count(order: ExpertOrder | RankOrder, firstToken: number, numTokens: number, numTopk: number): void {
    this.#begin(order, firstToken, numTokens, numTopk, 0);
    this.#exports.finish_rows(this.#plan);
  }

  /** Adds what `shiftOfKey` has for their keys to the rows of `numIds` ids, whose order was computed last. */
  shift(order: ExpertOrder | RankOrder, numIds: number): void {
    const { shiftOfKey, rowOfSelection } = this.views;
    const firstExpert = order.kind === 'byExpert' ? order.firstExpert : 0;
    // The memory begins at address 0
    const [shifts, rows] = [shiftOfKey.byteOffset, rowOfSelection.whole.byteOffset];
    this.#exports.shift_rows(this.#plan, codeOf(order), numIds, firstExpert, shifts, rows);
  }

  /** Counts the rows, and writes the counts and the first rows. */
  #begin(
    order: ExpertOrder | RankOrder,
    firstToken: number,
    numTokens: number,
    numTopk: number,
    maxRows: number,
  ): void {
    const { orderRows } = this.views;
    const exports = this.#exports;
    const plan = this.#plan;
    const code = codeOf(order);
    exports.count_rows(plan, code, numTokens, numTopk, firstToken);
    if (order.kind === 'byRank') exports.begin_rows(plan, code, orderRows, maxRows, 0, 0, 1);
    else exports.begin_rows(plan, code, orderRows, maxRows, order.firstExpert, order.numLocalExperts, order.alignment);
  }
}

/** The kernel's number of an order of rows. */
function codeOf(order: ExpertOrder | RankOrder): number {
  return order.kind === 'byExpert' ? 0 : order.winner === 'first' ? 1 : 2;
}
