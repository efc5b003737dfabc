/**
 * The memory of one instance of the kernel: the places of a partition's buffers, and typed views of them. The sizes are
 * those that `wasm/dispatch_layout.h` requires.
 *
 * @module
 */
import type { Partition } from '../../input/partition.ts';
import { type LayoutArrays, type Output, type OutputName, outputs, perOutput } from '../../layout/outputs.ts';
import { arrayOver, type IntegerArray, idTypeNames, idTypes } from '../../values/id-types.ts';

/** A partition, and the form of the rows that the kernel writes: bytes, unless they are of bits. */
export interface KernelPartition extends Partition {
  readonly mask?: 'bits';
}

/** How much of a layout is in the memory of an instance at a time. */
export interface Windows {
  /** Bytes of ids. */
  readonly idsBytes: number;
  /** Bytes of rows, for each output that has one row for each token. */
  readonly rowsBytes: number;
  /** The number of rows that fit, whatever `rowsBytes` says. */
  readonly minRows: number;
  /** How many ids can be located before the first of them is counted. The position of each takes 2 or 4 bytes. */
  readonly locatedIds: number;
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
  readonly outputs: Readonly<Record<OutputName, number>>;
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
  const { numExperts, numRdmaRanks } = partition;
  const isLarge = numExperts > maxSmallTableExperts;
  const places = {
    rankOfExpert: take(4 * numExperts),
    largeTable: take(isLarge ? 16 * (numExperts + numEmptyEntries) : 0),
    lastTokenOfNode: take(4 * (numRdmaRanks + 1)),
    positions: take((isLarge ? 4 : 2) * (Math.max(windows.locatedIds, numTopk) + 8)),
    ids: take(idBytes(numTopk, windows) + slackBytes),
    outputs: perOutput((name) => {
      const slack = outputs[name].kind === 'count' ? countSlackBytes : slackBytes;
      return take(outputBytes(outputs[name], partition, windows) + slack);
    }),
  };
  return { ...places, end };
}

/** Views of the memory. They are made anew when the memory grows. */
export interface Views {
  /** Views of the window of ids, indexed by the codes of the id types. */
  readonly ids: readonly IntegerArray[];
  /**
   * The buffers of the outputs: all counts, and the windows of rows. Even an output that a layout does not have has a
   * buffer.
   */
  readonly outputs: { readonly [Name in OutputName]: NonNullable<LayoutArrays[Name]> };
}

export function viewBuffers(
  buffer: ArrayBuffer,
  places: Places,
  partition: KernelPartition,
  numTopk: number,
  windows: Windows,
): Views {
  const ids = idTypeNames.map((type) => {
    const length = Math.floor(idBytes(numTopk, windows) / idTypes[type].bytes);
    return arrayOver(type, buffer, places.ids, length);
  });
  const views: unknown = perOutput((name) => {
    const { type } = outputs[name];
    const length = outputBytes(outputs[name], partition, windows) / idTypes[type].bytes;
    return arrayOver(type, buffer, places.outputs[name], length);
  });
  return { ids, outputs: views as Views['outputs'] };
}

function idBytes(numTopk: number, windows: Windows): number {
  return Math.max(windows.idsBytes, 8 * numTopk);
}

function outputBytes(output: Output, partition: KernelPartition, windows: Windows): number {
  // The kernel writes every output. An output that a layout does not have needs room for one number
  const rowBytes = idTypes[output.type].bytes * (output.width(partition) ?? 1);
  return output.kind === 'count' ? rowBytes : Math.max(windows.rowsBytes, windows.minRows * rowBytes);
}
