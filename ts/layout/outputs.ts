/**
 * The one table of the outputs of all computations: the type of each, and its length. Allocation, the reading and
 * checking of `out`, workspaces, the places in WASM memory and on the GPU, and the names in files all follow from it. To
 * add an output, add it in this file (to the interface, to the table, and in the four places at the end), and then add
 * its computation to each device.
 *
 * @module
 */
import { type Computation, type ComputationKind, type MaskForm, rowsNeeded } from './computation.ts';

/** The shape of a request. The length of every output follows from it. */
export interface LayoutShape {
  /** The number of tokens of this rank. */
  readonly numTokens: number;
  /** The number of slots of each token. */
  readonly numTopk: number;
  /** The number of experts over all ranks. */
  readonly numExperts: number;
  /** The number of ranks of the group. */
  readonly numRanks: number;
  /** The number of nodes; `1` within one node, where `numTokensPerRdmaRank` is `null`. */
  readonly numRdmaRanks: number;
}

/**
 * The output arrays of a layout. To have arrays reused, pass an earlier result, or arrays of your own, as `out`. With
 * `mask: 'none'` there is no `isTokenInRank`.
 */
export interface LayoutArrays<Mask extends MaskForm = 'bytes'> {
  /** `[numRanks]`: tokens to send to each rank. */
  readonly numTokensPerRank: Int32Array;
  /** `[numRdmaRanks]`: tokens to send to each RDMA rank (node); `null` within one node. */
  readonly numTokensPerRdmaRank: Int32Array | null;
  /** `[numExperts]`: selections of each expert; an expert that a token selects twice counts twice. */
  readonly numTokensPerExpert: Int32Array;
  /**
   * `[numTokens, numRanks]`, row-major: 1 where the token goes to the rank, else 0. With `mask: 'bits'`, it is
   * `[numTokens, ceil(numRanks / 8)]`: rank r is bit `r % 8`, least significant first, of byte `r >> 3` of a row, and
   * bits behind the last rank are 0. With `mask: 'none'`, it is `null`.
   */
  readonly isTokenInRank: Mask extends 'none' ? null : Uint8Array;
}

/** The arrays of any layout. */
export type AnyLayoutArrays = LayoutArrays<MaskForm>;

/** The output arrays of `getExpertPermutation`. To have arrays reused, pass an earlier result, or arrays of your own. */
export interface ExpertPermutationArrays {
  /** `[numLocalExperts]`: the selections of each local expert that are kept. */
  readonly numTokensPerExpert: Int32Array;
  /**
   * `[numLocalExperts + 1]`: the first row of each local expert, a multiple of `alignment`; last, the number of rows,
   * with the padding.
   */
  readonly expertOffsets: Int32Array;
  /** `[maxRows]`: the selection of each row; -1 in padding and behind the last row. */
  readonly selectionOfRow: Int32Array;
  /** `[numTokens * numTopk]`: the row of each selection; -1 for a selection that is not kept. */
  readonly rowOfSelection: Int32Array;
}

/** The output arrays of `getRankPermutation`. To have arrays reused, pass an earlier result, or arrays of your own. */
export interface RankPermutationArrays {
  /** `[numRanks]`: tokens to send to each rank, as in the layout. */
  readonly numTokensPerRank: Int32Array;
  /** `[numRanks + 1]`: the first row of each rank; last, the number of rows. */
  readonly rankOffsets: Int32Array;
  /** `[numTokens * min(numTopk, numRanks)]`: the token of each row; -1 behind the last row. */
  readonly tokenOfRow: Int32Array;
  /**
   * `[numTokens * numTopk]`: the row, at one selection of each token for each of its ranks; -1 at all other selections.
   */
  readonly rowOfSelection: Int32Array;
}

/** The arrays of any computation. */
export type AnyArrays = AnyLayoutArrays | ExpertPermutationArrays | RankPermutationArrays;

/** The name of an output. */
export type OutputName = keyof LayoutArrays | keyof ExpertPermutationArrays | keyof RankPermutationArrays;

/** What is known about an output. */
export interface Output {
  readonly name: OutputName;
  /** The element type. */
  readonly type: 'int32' | 'uint8';
  /**
   * `count`: the length does not depend on the number of tokens. `rows`: it does; an array that the caller passes may be
   * longer than needed.
   */
  readonly kind: 'count' | 'rows';
  /** The number of elements; null if such a computation does not have the output. */
  readonly length: (shape: OutputShape) => number | null;
}

/** What the lengths of the outputs follow from. */
export interface OutputShape extends LayoutShape {
  readonly computation: Computation;
}

/** The table. */
export const outputs: Readonly<Record<OutputName, Output>> = {
  numTokensPerRank: {
    name: 'numTokensPerRank',
    type: 'int32',
    kind: 'count',
    length: ({ numRanks, computation }) => (computation.kind === 'byExpert' ? null : numRanks),
  },
  numTokensPerRdmaRank: {
    name: 'numTokensPerRdmaRank',
    type: 'int32',
    kind: 'count',
    length: ({ numRdmaRanks, computation }) =>
      computation.kind !== 'layout' || numRdmaRanks === 1 ? null : numRdmaRanks,
  },
  numTokensPerExpert: {
    name: 'numTokensPerExpert',
    type: 'int32',
    kind: 'count',
    length: ({ numExperts, computation }) =>
      computation.kind === 'layout' ? numExperts : numLocalExpertsOf(computation),
  },
  isTokenInRank: {
    name: 'isTokenInRank',
    type: 'uint8',
    kind: 'rows',
    length: ({ numTokens, numRanks, computation }) =>
      computation.kind !== 'layout' || computation.mask === 'none'
        ? null
        : numTokens * bytesOfMaskRow(numRanks, computation.mask),
  },
  expertOffsets: {
    name: 'expertOffsets',
    type: 'int32',
    kind: 'count',
    length: ({ computation }) => (computation.kind === 'byExpert' ? computation.numLocalExperts + 1 : null),
  },
  selectionOfRow: {
    name: 'selectionOfRow',
    type: 'int32',
    kind: 'rows',
    length: ({ numTokens, numTopk, computation }) =>
      computation.kind === 'byExpert' ? rowsNeeded(numTokens * numTopk, computation) : null,
  },
  rankOffsets: {
    name: 'rankOffsets',
    type: 'int32',
    kind: 'count',
    length: ({ numRanks, computation }) => (computation.kind === 'byRank' ? numRanks + 1 : null),
  },
  tokenOfRow: {
    name: 'tokenOfRow',
    type: 'int32',
    kind: 'rows',
    length: ({ numTokens, numTopk, numRanks, computation }) =>
      computation.kind === 'byRank' ? numTokens * Math.min(numTopk, numRanks) : null,
  },
  rowOfSelection: {
    name: 'rowOfSelection',
    type: 'int32',
    kind: 'rows',
    length: ({ numTokens, numTopk, computation }) => (computation.kind === 'layout' ? null : numTokens * numTopk),
  },
};

function numLocalExpertsOf(computation: Computation): number | null {
  return computation.kind === 'byExpert' ? computation.numLocalExperts : null;
}

/** The number of bytes of a row of `isTokenInRank`. */
export function bytesOfMaskRow(numRanks: number, mask: MaskForm): number {
  return mask === 'bits' ? Math.ceil(numRanks / 8) : numRanks;
}

/** The names of the outputs of each kind of computation, in the order of the table. */
export const outputNames: Readonly<Record<ComputationKind, readonly OutputName[]>> = {
  layout: ['numTokensPerRank', 'numTokensPerRdmaRank', 'numTokensPerExpert', 'isTokenInRank'],
  byExpert: ['numTokensPerExpert', 'expertOffsets', 'selectionOfRow', 'rowOfSelection'],
  byRank: ['numTokensPerRank', 'rankOffsets', 'tokenOfRow', 'rowOfSelection'],
};

/** The names of all outputs, in the order of the table. */
export const allOutputNames = Object.keys(outputs) as readonly OutputName[];

/** Makes an object of what `make` returns for each of these outputs, and null for every other one. */
export function perOutput<Value>(
  make: (name: OutputName) => Value,
  names: readonly OutputName[] = allOutputNames,
): Record<OutputName, Value> {
  const values = {} as Record<OutputName, Value>;
  for (const name of allOutputNames) values[name] = names.includes(name) ? make(name) : (null as Value);
  return values;
}

/** The dimensions of an output; null if such a computation does not have it. */
export function dimensionsOf(output: Output, shape: OutputShape): readonly number[] | null {
  const length = output.length(shape);
  if (length === null) return null;
  // Every other output has one dimension
  if (output.name !== 'isTokenInRank') return [length];
  return [shape.numTokens, output.length({ ...shape, numTokens: 1 }) as number];
}

/** The first parts of larger arrays, as the arrays of a computation of this shape. */
export function firstParts(arrays: OutArrays, shape: OutputShape): OutArrays {
  const parts = new OutArrays(shape.computation.kind);
  assignArrays(parts, arrays);
  const lengths = perOutput((name) => outputs[name].length(shape));
  replaceArrays(parts, lengths, (_, array, length) => {
    if (array === null || length === null) return null as typeof array;
    return array.length === length ? array : (array.subarray(0, length) as typeof array);
  });
  return parts;
}

/** The number of elements of each output. */
export type OutputLengths = Record<OutputName, number | null>;

/** The array of an output; null if a computation does not have the output. */
export type OutputArray = Int32Array | Uint8Array | null;

/*
 * What follows names every output once more instead of looping over the names, since every call comes through here. A
 * loop over property names costs a tenth of a microsecond in V8; properties that are named in the source cost almost
 * nothing.
 */

/** The arrays of one call. Those that its kind of computation does not have stay as they are here. */
export class OutArrays {
  readonly kind: ComputationKind;
  numTokensPerRank: Int32Array = noNumbers;
  numTokensPerRdmaRank: Int32Array | null = null;
  numTokensPerExpert: Int32Array = noNumbers;
  isTokenInRank: Uint8Array | null = null;
  expertOffsets: Int32Array = noNumbers;
  selectionOfRow: Int32Array = noNumbers;
  rankOffsets: Int32Array = noNumbers;
  tokenOfRow: Int32Array = noNumbers;
  rowOfSelection: Int32Array = noNumbers;

  constructor(kind: ComputationKind) {
    this.kind = kind;
  }
}

const noNumbers = new Int32Array(0);

/** Reads each array of `source` that the target's kind of computation has, once. */
export function assignArrays(target: OutArrays, source: AnyArrays): void {
  if (target.kind === 'layout') {
    const layout = source as AnyLayoutArrays;
    target.numTokensPerRank = layout.numTokensPerRank;
    target.numTokensPerRdmaRank = layout.numTokensPerRdmaRank;
    target.numTokensPerExpert = layout.numTokensPerExpert;
    target.isTokenInRank = layout.isTokenInRank;
  } else if (target.kind === 'byExpert') {
    const order = source as ExpertPermutationArrays;
    target.numTokensPerExpert = order.numTokensPerExpert;
    target.expertOffsets = order.expertOffsets;
    target.selectionOfRow = order.selectionOfRow;
    target.rowOfSelection = order.rowOfSelection;
  } else {
    const order = source as RankPermutationArrays;
    target.numTokensPerRank = order.numTokensPerRank;
    target.rankOffsets = order.rankOffsets;
    target.tokenOfRow = order.tokenOfRow;
    target.rowOfSelection = order.rowOfSelection;
  }
}

/** Whether two objects have the same arrays. */
export function haveSameArrays(a: OutArrays, other: AnyArrays): boolean {
  if (a.kind === 'layout') {
    const b = other as AnyLayoutArrays;
    return (
      a.numTokensPerRank === b.numTokensPerRank &&
      a.numTokensPerRdmaRank === b.numTokensPerRdmaRank &&
      a.numTokensPerExpert === b.numTokensPerExpert &&
      a.isTokenInRank === b.isTokenInRank
    );
  }
  if (a.kind === 'byExpert') {
    const b = other as ExpertPermutationArrays;
    return (
      a.numTokensPerExpert === b.numTokensPerExpert &&
      a.expertOffsets === b.expertOffsets &&
      a.selectionOfRow === b.selectionOfRow &&
      a.rowOfSelection === b.rowOfSelection
    );
  }
  const b = other as RankPermutationArrays;
  return (
    a.numTokensPerRank === b.numTokensPerRank &&
    a.rankOffsets === b.rankOffsets &&
    a.tokenOfRow === b.tokenOfRow &&
    a.rowOfSelection === b.rowOfSelection
  );
}

/** Replaces each array by what `by` returns for it. */
export function replaceArrays(
  arrays: OutArrays,
  lengths: OutputLengths,
  by: <Data extends OutputArray>(output: Output, array: Data, length: number | null) => Data,
): void {
  if (arrays.kind === 'layout') {
    const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank } = outputs;
    arrays.numTokensPerRank = by(numTokensPerRank, arrays.numTokensPerRank, lengths.numTokensPerRank);
    arrays.numTokensPerRdmaRank = by(numTokensPerRdmaRank, arrays.numTokensPerRdmaRank, lengths.numTokensPerRdmaRank);
    arrays.numTokensPerExpert = by(numTokensPerExpert, arrays.numTokensPerExpert, lengths.numTokensPerExpert);
    arrays.isTokenInRank = by(isTokenInRank, arrays.isTokenInRank, lengths.isTokenInRank);
    return;
  }
  const { rowOfSelection } = outputs;
  if (arrays.kind === 'byExpert') {
    const { numTokensPerExpert, expertOffsets, selectionOfRow } = outputs;
    arrays.numTokensPerExpert = by(numTokensPerExpert, arrays.numTokensPerExpert, lengths.numTokensPerExpert);
    arrays.expertOffsets = by(expertOffsets, arrays.expertOffsets, lengths.expertOffsets);
    arrays.selectionOfRow = by(selectionOfRow, arrays.selectionOfRow, lengths.selectionOfRow);
  } else {
    const { numTokensPerRank, rankOffsets, tokenOfRow } = outputs;
    arrays.numTokensPerRank = by(numTokensPerRank, arrays.numTokensPerRank, lengths.numTokensPerRank);
    arrays.rankOffsets = by(rankOffsets, arrays.rankOffsets, lengths.rankOffsets);
    arrays.tokenOfRow = by(tokenOfRow, arrays.tokenOfRow, lengths.tokenOfRow);
  }
  arrays.rowOfSelection = by(rowOfSelection, arrays.rowOfSelection, lengths.rowOfSelection);
}
