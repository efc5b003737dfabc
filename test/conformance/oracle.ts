/**
 * The independent oracle of the conformance suite. It computes the dispatch layout literally by its definition, with BigInt
 * ids and sets, for clarity and not for speed. It shares no code with the library.
 *
 * @module
 */
import type { TopkStorage } from '../support/topk-storage.ts';

/** A request, with its ids as exact integers. */
export interface Question {
  /** The ids of every token, `numTopk` each. */
  readonly rows: readonly (readonly bigint[])[];
  readonly numExperts: number;
  readonly numRanks: number;
  readonly numRanksPerNode?: number | undefined;
  /** A table may hold -1, for an expert on no rank. */
  readonly placement?: ArrayLike<number> | 'linear' | 'round_robin' | undefined;
  /** The id that stands for an empty slot beside -1. */
  readonly emptyId?: number | bigint | undefined;
  readonly invalidExperts?: 'throw' | 'ignore' | undefined;
  /** The form of `isTokenInRank`. Default: bytes. */
  readonly mask?: 'bytes' | 'bits' | undefined;
}

/** The numbers from which the lengths of the outputs follow. */
export interface LayoutSize extends Pick<Question, 'numExperts' | 'numRanks' | 'numRanksPerNode' | 'mask'> {
  readonly numTokens: number;
}

/** The correct outputs. */
export interface ExpectedLayout {
  readonly numTokensPerRank: readonly number[];
  readonly numTokensPerRdmaRank: readonly number[] | null;
  readonly numTokensPerExpert: readonly number[];
  /**
   * `[numTokens, numRanks]`, row-major, 0 or 1. As bits it is `[numTokens, ceil(numRanks / 8)]`: the first eight ranks
   * of a row are the bits of its first byte, least significant first, and so on. What is left of the last byte is 0.
   */
  readonly isTokenInRank: Uint8Array;
}

export type OutputName = keyof ExpectedLayout;

/**
 * The array type of each output and its length, which is null where a layout does not have the output. They are in the
 * order in which they are passed on.
 */
export const outputs = {
  numTokensPerRank: { type: Int32Array, lengthOf: ({ numRanks }) => numRanks },
  numTokensPerRdmaRank: {
    type: Int32Array,
    lengthOf: ({ numRanks, numRanksPerNode = 8 }) =>
      numRanks > numRanksPerNode ? Math.ceil(numRanks / numRanksPerNode) : null,
  },
  numTokensPerExpert: { type: Int32Array, lengthOf: ({ numExperts }) => numExperts },
  isTokenInRank: {
    type: Uint8Array,
    lengthOf: ({ numTokens, numRanks, mask }) => numTokens * (mask === 'bits' ? Math.ceil(numRanks / 8) : numRanks),
  },
} satisfies Record<
  OutputName,
  {
    readonly type: Int32ArrayConstructor | Uint8ArrayConstructor;
    readonly lengthOf: (size: LayoutSize) => number | null;
  }
>;

export const outputNames = Object.keys(outputs) as readonly OutputName[];

/** Makes an object of what `make` returns for each output. */
export function forOutputs<Value>(make: (name: OutputName) => Value): Record<OutputName, Value> {
  return Object.fromEntries(outputNames.map((name) => [name, make(name)])) as Record<OutputName, Value>;
}

/** The correct error. */
export interface ExpectedError {
  readonly code: 'INVALID_EXPERT' | 'UNEVEN_EXPERTS' | 'NUM_RANKS_PER_NODE';
  /** The first invalid id in row-major order, and where it is. */
  readonly offender?: { readonly token: number; readonly slot: number; readonly value: bigint };
}

export type Answer = { readonly layout: ExpectedLayout } | { readonly error: ExpectedError };

/** Packs rows of 0 and 1 into bits. */
export function packRows(rows: ArrayLike<number>, numRanks: number): Uint8Array {
  const bytes: number[] = [];
  for (let begin = 0; begin < rows.length; begin += numRanks) {
    for (let rank = 0; rank < numRanks; rank += 8) {
      let byte = 0;
      for (let bit = 0; bit < 8 && rank + bit < numRanks; bit += 1) byte += rows[begin + rank + bit] * 2 ** bit;
      bytes.push(byte);
    }
  }
  return Uint8Array.from(bytes);
}

/** The logical rows of a strided view: element (token, slot) is at `offset + token * strides[0] + slot * strides[1]`. */
export function rowsOf(topkIdx: TopkStorage): bigint[][] {
  const [numTokens, numTopk] = topkIdx.shape;
  const [tokenStride, slotStride] = topkIdx.strides ?? (topkIdx.fortranOrder ? [1, numTokens] : [numTopk, 1]);
  const rows: bigint[][] = [];
  for (let token = 0; token < numTokens; token += 1) {
    const row: bigint[] = [];
    for (let slot = 0; slot < numTopk; slot += 1) {
      row.push(BigInt(topkIdx.data[(topkIdx.offset ?? 0) + token * tokenStride + slot * slotStride]));
    }
    rows.push(row);
  }
  return rows;
}

/**
 * The rank of each expert; `null` for experts on no rank, such as those after the last equal share of an uneven
 * distribution.
 */
export function ranksOfExperts({ numExperts, numRanks, placement }: Question): (number | null)[] {
  if (placement === 'round_robin') return Array.from({ length: numExperts }, (_, expert) => expert % numRanks);
  if (placement === 'linear') {
    const sizes = Array.from({ length: numRanks }, (_, rank) => Math.ceil((numExperts - rank) / numRanks));
    return sizes.flatMap((size, rank) => new Array<number>(Math.max(size, 0)).fill(rank));
  }
  if (placement !== undefined) return Array.from(placement, (rank) => (rank === -1 ? null : rank));
  const numExpertsPerRank = Math.floor(numExperts / numRanks);
  const rankOf = new Array<number | null>(numExperts).fill(null);
  for (let rank = 0; rank < numRanks; rank += 1) {
    for (let nth = 0; nth < numExpertsPerRank; nth += 1) rankOf[rank * numExpertsPerRank + nth] = rank;
  }
  return rankOf;
}

/** The correct answer to a request whose scalars are positive integers and whose placement, if any, is a table of ranks. */
export function answer(question: Question): Answer {
  const { rows, numExperts, numRanks } = question;
  const numRanksPerNode = question.numRanksPerNode ?? 8;
  const strict = question.invalidExperts !== 'ignore';

  const severalNodes = numRanks > numRanksPerNode;
  if (severalNodes && numRanks % numRanksPerNode !== 0) return { error: { code: 'NUM_RANKS_PER_NODE' } };
  if (strict && question.placement === undefined && numExperts % numRanks !== 0) {
    return { error: { code: 'UNEVEN_EXPERTS' } };
  }

  const rankOf = ranksOfExperts(question);
  const numTokensPerRank = new Array<number>(numRanks).fill(0);
  const numTokensPerRdmaRank = new Array<number>(severalNodes ? numRanks / numRanksPerNode : 0).fill(0);
  const numTokensPerExpert = new Array<number>(numExperts).fill(0);
  const isTokenInRank = new Uint8Array(rows.length * numRanks);

  for (const [token, row] of rows.entries()) {
    const ranks = new Set<number>();
    for (const [slot, id] of row.entries()) {
      if (question.emptyId !== undefined && id === BigInt(question.emptyId)) continue;
      if (id >= 0n && id < BigInt(numExperts)) {
        const expert = Number(id);
        numTokensPerExpert[expert] += 1;
        const rank = rankOf[expert];
        if (rank !== null) ranks.add(rank);
      } else if (id !== -1n && strict) {
        return { error: { code: 'INVALID_EXPERT', offender: { token, slot, value: id } } };
      }
    }
    for (const rank of ranks) {
      numTokensPerRank[rank] += 1;
      isTokenInRank[token * numRanks + rank] = 1;
    }
    if (severalNodes) {
      const nodes = new Set([...ranks].map((rank) => Math.floor(rank / numRanksPerNode)));
      for (const node of nodes) numTokensPerRdmaRank[node] += 1;
    }
  }
  return {
    layout: {
      numTokensPerRank,
      numTokensPerRdmaRank: severalNodes ? numTokensPerRdmaRank : null,
      numTokensPerExpert,
      isTokenInRank: question.mask === 'bits' ? packRows(isTokenInRank, numRanks) : isTokenInRank,
    },
  };
}
