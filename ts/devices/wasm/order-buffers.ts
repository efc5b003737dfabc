/**
 * The places of the buffers of orders of rows, behind those of layouts.
 *
 * @module
 */
import type { Partition } from '../../input/partition.ts';
import type { WasmKernel } from './kernel.ts';
import { type MoreBuffers, type Views, WindowView } from './memory.ts';
import { OrderKernel, type OrderModule } from './order-kernel.ts';

/** How much of an order of rows is in the memory of an instance at a time. */
export interface OrderWindow {
  readonly rows: number;
  readonly selections: number;
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
  readonly #windows: readonly OrderWindow[];
  readonly #module: OrderModule;
  /** The orders in an instance, by the views of its other buffers, which are made anew when the buffers move. */
  readonly #kernels = new WeakMap<Views, readonly OrderKernel[]>();

  constructor(windows: readonly OrderWindow[], module: OrderModule) {
    this.#windows = windows;
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

  /** The kernel with the buffers of each order, in an instance that holds the tables of a partition. */
  kernelsIn(kernel: WasmKernel, partition: Partition): readonly OrderKernel[] {
    const known = this.#kernels.get(kernel.views);
    if (known !== undefined) return known;
    const { buffer } = kernel.views.isTokenInRank;
    const { numTopk, more } = kernel;
    const places = this.#place(partition, numTopk);
    const numKeys = numKeysOf(partition);
    const view = (place: number, length: number) => new Int32Array(buffer, more + place, length);
    const kernels = places.orders.map(({ orderRows, numRowsOfKey, firstRowOfKey, ofRow, rowOfSelection }, i) => {
      const { rows, selections } = this.#windows[i];
      return new OrderKernel(kernel, this.#module, {
        numRowsOfKey: new WindowView(view(numRowsOfKey, numKeys)),
        firstRowOfKey: new WindowView(view(firstRowOfKey, numKeys + 1)),
        ofRow: new WindowView(view(ofRow, Math.max(rows, numTopk))),
        rowOfSelection: new WindowView(view(rowOfSelection, Math.max(selections, numTopk))),
        shiftOfKey: view(places.shiftOfKey, numKeys),
        orderRows: more + orderRows,
      });
    });
    this.#kernels.set(kernel.views, kernels);
    return kernels;
  }

  #place(partition: Partition, numTopk: number): Places {
    const { numRanks } = partition;
    const numKeys = numKeysOf(partition);
    let end = 0;
    const take = (bytes: number) => {
      const place = Math.ceil(end / 64) * 64;
      end = place + bytes;
      return place;
    };
    // The cells of the ranks come first, with one in front of them
    take(8 * (numRanks + 1));
    const shiftOfKey = take(4 * numKeys);
    const orders = this.#windows.map(({ rows, selections }) => ({
      orderRows: take(16),
      numRowsOfKey: take(4 * numKeys),
      firstRowOfKey: take(4 * (numKeys + 1)),
      // What is written to row -1 is in front
      ofRow: take(64 + 4 * Math.max(rows, numTopk)) + 64,
      rowOfSelection: take(4 * Math.max(selections, numTopk)),
    }));
    return { shiftOfKey, orders, end };
  }
}

function numKeysOf({ numExperts, numRanks }: Partition): number {
  return Math.max(numExperts, numRanks);
}
