/**
 * The one table of the outputs of a layout: the type of each, and its length. Allocation, the reading and checking of
 * `out`, workspaces, the places in WASM memory and on the GPU, and the names in files all follow from it. To add an
 * output, add it in this file (to the interface, to the table, and in the four places at the end), and then add its
 * computation to each device.
 *
 * @module
 */

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
 * The forms that `isTokenInRank` can have: a byte for each token and rank, or a bit, or none at all. In numpy,
 * `numpy.unpackbits(mask, axis=1, bitorder='little')[:, :numRanks]` turns rows of bits into rows of bytes.
 */
export type MaskForm = 'bytes' | 'bits' | 'none';

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
export type AnyArrays = LayoutArrays<MaskForm>;

/** The name of an output. */
export type OutputName = keyof LayoutArrays;

/** What is known about an output. */
export interface Output {
  readonly name: OutputName;
  /** The element type. */
  readonly type: 'int32' | 'uint8';
  /**
   * `count`: `[width]` numbers, which add up over pieces of the tokens. `rows`: `[numTokens, width]`, one row for each
   * token; an array that the caller passes may have more rows than there are tokens.
   */
  readonly kind: 'count' | 'rows';
  /** The length of a `count`, or of each row; null if such a layout does not have the output. */
  readonly width: (shape: WidthShape) => number | null;
}

/** The numbers that determine the widths of the outputs. */
interface WidthShape extends Pick<LayoutShape, 'numExperts' | 'numRanks' | 'numRdmaRanks'> {
  /** The form of `isTokenInRank`. Default `bytes`. */
  readonly mask?: MaskForm;
}

/** The table. */
export const outputs: Readonly<Record<OutputName, Output>> = {
  numTokensPerRank: { name: 'numTokensPerRank', type: 'int32', kind: 'count', width: ({ numRanks }) => numRanks },
  numTokensPerRdmaRank: {
    name: 'numTokensPerRdmaRank',
    type: 'int32',
    kind: 'count',
    width: ({ numRdmaRanks }) => (numRdmaRanks === 1 ? null : numRdmaRanks),
  },
  numTokensPerExpert: {
    name: 'numTokensPerExpert',
    type: 'int32',
    kind: 'count',
    width: ({ numExperts }) => numExperts,
  },
  isTokenInRank: {
    name: 'isTokenInRank',
    type: 'uint8',
    kind: 'rows',
    width: ({ numRanks, mask }) => (mask === 'none' ? null : mask === 'bits' ? Math.ceil(numRanks / 8) : numRanks),
  },
};

/** The names of all outputs, in the order of the table. */
export const outputNames = Object.keys(outputs) as readonly OutputName[];

/** Makes an object of what `make` returns for each output. */
export function perOutput<Value>(make: (name: OutputName) => Value): Record<OutputName, Value> {
  const values = {} as Record<OutputName, Value>;
  for (const name of outputNames) values[name] = make(name);
  return values;
}

/** The dimensions of an output; null if a layout of this shape does not have it. */
export function dimensionsOf({ kind, width }: Output, shape: LayoutShape & WidthShape): readonly number[] | null {
  const columns = width(shape);
  if (columns === null) return null;
  return kind === 'rows' ? [shape.numTokens, columns] : [columns];
}

/** The number of elements of an output; null if a layout of this shape does not have it. */
export function lengthOfOutput({ kind, width }: Output, shape: LayoutShape & WidthShape): number | null {
  const columns = width(shape);
  return columns !== null && kind === 'rows' ? shape.numTokens * columns : columns;
}

/** The first parts of larger arrays, as the arrays of a layout of this shape. */
export function firstParts(arrays: AnyArrays, shape: LayoutShape & WidthShape): AnyArrays {
  const parts: unknown = perOutput((name) => {
    const array = arrays[name];
    const length = lengthOfOutput(outputs[name], shape);
    if (array === null || length === null) return null;
    return array.length === length ? array : array.subarray(0, length);
  });
  return parts as AnyArrays;
}

/** The number of elements of each output. */
export type OutputLengths = Record<OutputName, number | null>;

/** The array of an output; null if a layout does not have the output. */
export type OutputArray = Int32Array | Uint8Array | null;

/*
 * What follows names every output once more instead of looping over the names, since every call comes through here. A
 * loop over property names costs a tenth of a microsecond in V8; properties that are named in the source cost almost
 * nothing.
 */

/** The arrays of one call. */
export class OutArrays implements AnyArrays {
  numTokensPerRank: Int32Array = noCounts;
  numTokensPerRdmaRank: Int32Array | null = null;
  numTokensPerExpert: Int32Array = noCounts;
  isTokenInRank: Uint8Array | null = null;
}

const noCounts = new Int32Array(0);

/** Reads each array of `source` once. */
export function assignArrays(target: OutArrays, source: AnyArrays): void {
  target.numTokensPerRank = source.numTokensPerRank;
  target.numTokensPerRdmaRank = source.numTokensPerRdmaRank;
  target.numTokensPerExpert = source.numTokensPerExpert;
  target.isTokenInRank = source.isTokenInRank;
}

/** Whether two objects have the same arrays. */
export function haveSameArrays(a: AnyArrays, b: AnyArrays): boolean {
  return (
    a.numTokensPerRank === b.numTokensPerRank &&
    a.numTokensPerRdmaRank === b.numTokensPerRdmaRank &&
    a.numTokensPerExpert === b.numTokensPerExpert &&
    a.isTokenInRank === b.isTokenInRank
  );
}

/** Replaces each array by what `by` returns for it. */
export function replaceArrays(
  arrays: OutArrays,
  lengths: OutputLengths,
  by: <Data extends OutputArray>(output: Output, array: Data, length: number | null) => Data,
): void {
  const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank } = outputs;
  arrays.numTokensPerRank = by(numTokensPerRank, arrays.numTokensPerRank, lengths.numTokensPerRank);
  arrays.numTokensPerRdmaRank = by(numTokensPerRdmaRank, arrays.numTokensPerRdmaRank, lengths.numTokensPerRdmaRank);
  arrays.numTokensPerExpert = by(numTokensPerExpert, arrays.numTokensPerExpert, lengths.numTokensPerExpert);
  arrays.isTokenInRank = by(isTokenInRank, arrays.isTokenInRank, lengths.isTokenInRank);
}
