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
  /** Buffers for what is computed beside layouts. */
  readonly more?: MoreBuffers;
}

/** Buffers behind those of layouts. They begin with the kernel's `rank_cells`. */
export interface MoreBuffers {
  bytes(partition: Partition, numTopk: number): number;
  /** Writes what the kernel only reads. */
  write(buffer: ArrayBuffer, address: number, partition: Partition, numTopk: number): void;
}

/** The usual windows: ids and rows pass through them, and they stay in cache. */
export const passing: Windows = {
  idsBytes: 64 * 1024,
  rowsBytes: 64 * 1024,
  minRows: 1,
  locatedIds: 512 * 1024,
};

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
  readonly more: number;
  readonly end: number;
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
    more: take(windows.more?.bytes(partition, numTopk) ?? 0),
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
  };
}

/** Writes the ranks of the experts, which the kernel only reads. */
export function writeRanks(buffer: ArrayBuffer, { rankOfExpert: address }: Places, partition: Partition): void {
  const { numExperts, rankOfExpert } = partition;
  const ranks = new Int32Array(buffer, address, numExperts + numEmptyEntries);
  ranks.set(rankOfExpert);
  ranks.fill(noRank, numExperts);
}

function idBytes(numTopk: number, windows: Windows): number {
  return Math.max(windows.idsBytes, 8 * numTopk);
}

/** The size of the window of rows of the mask. If no mask is wanted, the kernel writes rows of bytes nevertheless. */
function rowsBytes({ numRanks, mask }: KernelPartition, windows: Windows): number {
  return Math.max(windows.rowsBytes, windows.minRows * bytesOfMaskRow(numRanks, mask ?? 'bytes'));
}
