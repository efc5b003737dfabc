/**
 * What a computation writes: the arrays of each kind, what is known of each output, and the form of a result, from which
 * everything else follows: allocation, the reading and checking of `out`, workspaces, the places on the GPU, and the
 * names in files. To add an output, add it to its interface here and to the form of its kind, and then add its
 * computation to each device.
 *
 * @module
 */
import type { DeviceName } from '../errors/availability.ts';
import type { EventOverlap } from './event-overlap.ts';

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

/** What a call computes. Two calls with the same object compute the same. */
export type Computation = LayoutComputation | ExpertOrder | RankOrder;

/** A kind of computation, on which it depends which outputs there are. */
export type ComputationKind = Computation['kind'];

/** What `getDispatchLayout` computes. */
export interface LayoutComputation {
  readonly kind: 'layout';
  readonly form: ResultForm;
  /** The form of `isTokenInRank`. */
  readonly mask: MaskForm;
}

/** What `getExpertPermutation` computes: the rows of a range of experts. */
export interface ExpertOrder {
  readonly kind: 'byExpert';
  readonly form: ResultForm;
  readonly firstExpert: number;
  readonly numLocalExperts: number;
  readonly alignment: number;
}

/** What `getRankPermutation` computes. */
export interface RankOrder {
  readonly kind: 'byRank';
  readonly form: ResultForm;
  /** Which selection of a token gets the row, if several go to the same rank. */
  readonly winner: 'first' | 'last';
}

/**
 * The form of the results of one kind. Its functions name every output instead of looping over the names, since every
 * call comes through them. A loop over property names costs a tenth of a microsecond in V8; properties that are named in
 * the source cost almost nothing. Programs contain only the forms that they use.
 */
export interface ResultForm {
  readonly kind: ComputationKind;
  readonly outputs: readonly Output[];
  /** Reads each array of `source` once. */
  assign(target: OutArrays, source: AnyArrays): void;
  /** Whether two objects have the same arrays. */
  haveSame(a: AnyArrays, b: AnyArrays): boolean;
  /** Replaces each array by what `by` returns for it. */
  replace(arrays: OutArrays, lengths: OutputLengths, by: ReplaceArray): void;
  /** Makes the result that is in these arrays. */
  resultOf(arrays: OutArrays, shape: OutputShape, event: EventOverlap, device: DeviceName): object;
}

/** Returns what takes the place of an array. */
export type ReplaceArray = <Data extends OutputArray>(output: Output, array: Data, length: number | null) => Data;

/** The names of all outputs. */
export const outputNames: readonly OutputName[] = [
  'numTokensPerRank',
  'numTokensPerRdmaRank',
  'numTokensPerExpert',
  'isTokenInRank',
  'expertOffsets',
  'selectionOfRow',
  'rankOffsets',
  'tokenOfRow',
  'rowOfSelection',
];

/** Makes an object of what `make` returns for each output of a form, and null for every other one. */
export function perOutput<Value>(form: ResultForm, make: (output: Output) => Value): Record<OutputName, Value | null> {
  const values = {} as Record<OutputName, Value | null>;
  for (const name of outputNames) values[name] = null;
  for (const output of form.outputs) values[output.name] = make(output);
  return values;
}

/** The number of bytes of a row of `isTokenInRank`. */
export function bytesOfMaskRow(numRanks: number, mask: MaskForm): number {
  return mask === 'bits' ? Math.ceil(numRanks / 8) : numRanks;
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
  const { form } = shape.computation;
  const parts = new OutArrays(form);
  form.assign(parts, arrays);
  const lengths = perOutput(form, (output) => output.length(shape));
  form.replace(parts, lengths, (_, array, length) => {
    if (array === null || length === null) return null as typeof array;
    return array.length === length ? array : (array.subarray(0, length) as typeof array);
  });
  return parts;
}

/** The number of elements of each output. */
export type OutputLengths = Record<OutputName, number | null>;

/** The array of an output; null if a computation does not have the output. */
export type OutputArray = Int32Array | Uint8Array | null;

/** The arrays of one call. Those that its form does not have stay as they are here. */
export class OutArrays {
  readonly form: ResultForm;
  numTokensPerRank: Int32Array = noNumbers;
  numTokensPerRdmaRank: Int32Array | null = null;
  numTokensPerExpert: Int32Array = noNumbers;
  isTokenInRank: Uint8Array | null = null;
  expertOffsets: Int32Array = noNumbers;
  selectionOfRow: Int32Array = noNumbers;
  rankOffsets: Int32Array = noNumbers;
  tokenOfRow: Int32Array = noNumbers;
  rowOfSelection: Int32Array = noNumbers;

  constructor(form: ResultForm) {
    this.form = form;
  }
}

const noNumbers = new Int32Array(0);
