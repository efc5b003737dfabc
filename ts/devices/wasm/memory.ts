/**
 * The memory of one instance of the kernel: the places of a partition's buffers, and typed views of them. The sizes are
 * those that `wasm/dispatch_layout.h` requires.
 *
 * @module
 */
import { noRank, type Partition } from '../../input/partition.ts';
import { bytesOfMaskRow } from '../../layout/outputs.ts';
import { arrayOver, type IntegerArray, idTypeNames, idTypes } from '../../values/id-types.ts';

/** A partition, and the form of the rows that the kernel writes: bytes, unless they are of bits. */
export interface KernelPartition extends Partition {
  readonly mask?: 'bits';
}

/** How much of a layout is in the memory of an instance at a time. */
export interface Windows {
  /** Bytes of ids. */
  readonly idsBytes: number;
  /** Bytes of rows of the mask. */
  readonly rowsBytes: number;
  /** The number of rows that fit, whatever `rowsBytes` says. */
  readonly minRows: number;
  /** How many ids can be located before the first of them is counted. The position of each takes 2 or 4 bytes. */
  readonly locatedIds: number;
  /** What there is room for of orders of rows. Each has room of its own. */
  readonly orders: readonly OrderWindow[];
}

/** How much of an order of rows is in the memory of an instance at a time. */
export interface OrderWindow {
  readonly rows: number;
  readonly selections: number;
}

/** The usual windows: ids and rows pass through them, and they stay in cache. */
export const passing: Windows = {
  idsBytes: 64 * 1024,
  rowsBytes: 64 * 1024,
  minRows: 1,
  locatedIds: 512 * 1024,
  orders: [],
};

/**
 * The window of an instance that passes orders of rows on. All ids that are located fit, and so does the padding of 1024
 * experts' rows to multiples of 256, or of fewer to larger ones.
 */
export const orderWindow: OrderWindow = { rows: 768 * 1024, selections: passing.locatedIds };

/** The kernel's own constants: `kMaxSmallTableExperts`, `kNumEmptyEntries`, `kSlackBytes`. */
export const maxSmallTableExperts = 4088;
export const numEmptyEntries = 8;
export const slackBytes = 64;

/**
 * The largest number of bytes that the kernel writes behind counts: it adds them up 64 at a time, and so writes up to
 * 63 counts more.
 */
export const countSlackBytes = 4 * 63;

/** The addresses of one partition's buffers. */
export interface Places {
  readonly rankOfExpert: number;
  readonly largeTable: number;
  readonly lastTokenOfNode: number;
  readonly positions: number;
  readonly ids: number;
  readonly numTokensPerRank: number;
  readonly numTokensPerRdmaRank: number;
  readonly numTokensPerExpert: number;
  /** The window of rows of the mask. */
  readonly isTokenInRank: number;
  readonly rankCells: number;
  readonly shiftOfKey: number;
  readonly orders: readonly OrderPlaces[];
  readonly end: number;
}

/** The addresses of the buffers of an order of rows. */
export interface OrderPlaces {
  /** Where the kernel's `OrderRows` is, which has the four addresses below. */
  readonly orderRows: number;
  readonly numRowsOfKey: number;
  readonly firstRowOfKey: number;
  readonly ofRow: number;
  readonly rowOfSelection: number;
}

/** Places the buffers from address `start` on. The ids of at least one token fit, whatever the windows say. */
export function placeBuffers(start: number, partition: KernelPartition, numTopk: number, windows: Windows): Places {
  let end = start;
  const take = (bytes: number) => {
    const address = Math.ceil(end / 64) * 64;
    end = address + bytes;
    return address;
  };
  const { numExperts, numRanks, numRdmaRanks } = partition;
  const isLarge = numExperts > maxSmallTableExperts;
  const hasOrders = windows.orders.length > 0;
  const numKeys = Math.max(numExperts, numRanks);
  const places = {
    rankOfExpert: take(4 * (numExperts + numEmptyEntries)),
    largeTable: take(isLarge ? 16 * (numExperts + numEmptyEntries) : 0),
    lastTokenOfNode: take(4 * (numRdmaRanks + 1)),
    positions: take((isLarge ? 4 : 2) * (Math.max(windows.locatedIds, numTopk) + 8)),
    ids: take(idBytes(numTopk, windows) + slackBytes),
    numTokensPerRank: take(4 * numRanks + countSlackBytes),
    numTokensPerRdmaRank: take(4 * numRdmaRanks + countSlackBytes),
    numTokensPerExpert: take(4 * numExperts + countSlackBytes),
    isTokenInRank: take(rowsBytes(partition, windows) + slackBytes),
    // There is a cell in front of those of the ranks
    rankCells: take(hasOrders ? 8 * (numRanks + 1) : 0) + 8,
    shiftOfKey: take(hasOrders ? 4 * numKeys : 0),
    orders: windows.orders.map(({ rows, selections }) => ({
      orderRows: take(16),
      numRowsOfKey: take(4 * numKeys),
      firstRowOfKey: take(4 * (numKeys + 1)),
      // What is written to row -1 is in front
      ofRow: take(64 + 4 * Math.max(rows, numTopk)) + 64,
      rowOfSelection: take(4 * Math.max(selections, numTopk)),
    })),
  };
  return { ...places, end };
}

/** Views of the memory. They are made anew when the memory grows. */
export interface Views {
  /** Views of the window of ids, indexed by the codes of the id types. */
  readonly ids: readonly IntegerArray[];
  readonly numTokensPerRank: Int32Array;
  readonly numTokensPerRdmaRank: Int32Array;
  readonly numTokensPerExpert: Int32Array;
  /** The window of rows of the mask. */
  readonly isTokenInRank: Uint8Array;
  readonly shiftOfKey: Int32Array;
  readonly orders: readonly OrderViews[];
}

/** Views of the buffers of an order of rows. */
export interface OrderViews {
  readonly numRowsOfKey: WindowView<Int32Array>;
  readonly firstRowOfKey: WindowView<Int32Array>;
  readonly ofRow: WindowView<Int32Array>;
  readonly rowOfSelection: WindowView<Int32Array>;
}

/** A view of a buffer, and of its first part. While the shape of calls does not change, no other views are needed. */
export class WindowView<Data extends Int32Array | Uint8Array> {
  readonly whole: Data;
  #first: Data;

  constructor(whole: Data) {
    this.whole = whole;
    this.#first = whole;
  }

  /** The first `length` elements. */
  first(length: number): Data {
    if (this.whole.length === length) return this.whole;
    if (this.#first.length !== length) this.#first = this.whole.subarray(0, length) as Data;
    return this.#first;
  }
}

export function viewBuffers(
  buffer: ArrayBuffer,
  places: Places,
  partition: KernelPartition,
  numTopk: number,
  windows: Windows,
): Views {
  const { numExperts, numRanks, numRdmaRanks } = partition;
  const numKeys = Math.max(numExperts, numRanks);
  const ids = idTypeNames.map((type) => {
    const length = Math.floor(idBytes(numTopk, windows) / idTypes[type].bytes);
    return arrayOver(type, buffer, places.ids, length);
  });
  return {
    ids,
    numTokensPerRank: new Int32Array(buffer, places.numTokensPerRank, numRanks),
    numTokensPerRdmaRank: new Int32Array(buffer, places.numTokensPerRdmaRank, numRdmaRanks),
    numTokensPerExpert: new Int32Array(buffer, places.numTokensPerExpert, numExperts),
    isTokenInRank: new Uint8Array(buffer, places.isTokenInRank, rowsBytes(partition, windows)),
    shiftOfKey: new Int32Array(buffer, places.shiftOfKey, windows.orders.length > 0 ? numKeys : 0),
    orders: windows.orders.map(({ rows, selections }, i) => {
      const { numRowsOfKey, firstRowOfKey, ofRow, rowOfSelection } = places.orders[i];
      const view = (address: number, length: number) => new WindowView(new Int32Array(buffer, address, length));
      return {
        numRowsOfKey: view(numRowsOfKey, numKeys),
        firstRowOfKey: view(firstRowOfKey, numKeys + 1),
        ofRow: view(ofRow, Math.max(rows, numTopk)),
        rowOfSelection: view(rowOfSelection, Math.max(selections, numTopk)),
      };
    }),
  };
}

/** Writes what the kernel only reads: the ranks of the experts, and the addresses of the orders' buffers. */
export function writeTables(buffer: ArrayBuffer, places: Places, { numExperts, rankOfExpert }: Partition): void {
  const ranks = new Int32Array(buffer, places.rankOfExpert, numExperts + numEmptyEntries);
  ranks.set(rankOfExpert);
  ranks.fill(noRank, numExperts);
  for (const { orderRows, numRowsOfKey, firstRowOfKey, ofRow, rowOfSelection } of places.orders) {
    new Int32Array(buffer, orderRows, 4).set([numRowsOfKey, firstRowOfKey, ofRow, rowOfSelection]);
  }
}

function idBytes(numTopk: number, windows: Windows): number {
  return Math.max(windows.idsBytes, 8 * numTopk);
}

/** The size of the window of rows of the mask. If no mask is wanted, the kernel writes rows of bytes nevertheless. */
function rowsBytes({ numRanks, mask }: KernelPartition, windows: Windows): number {
  return Math.max(windows.rowsBytes, windows.minRows * bytesOfMaskRow(numRanks, mask ?? 'bytes'));
}
