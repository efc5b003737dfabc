/**
 * The result of `getRankPermutation`.
 *
 * @module
 */
import type { DeviceName } from '../errors/availability.ts';
import { Computed } from './computed.ts';
import type { EventOverlap } from './event-overlap.ts';
import type { OutArrays, Output, OutputShape, RankOrder, RankPermutationArrays, ResultForm } from './outputs.ts';

/** The options of an order by rank alone. */
export interface RankOrderOptions {
  /**
   * Which selection of a token has the row in `rowOfSelection`, if several go to the same rank: the `first` (default, as
   * in TensorRT-LLM, FlashInfer and Mori) or the `last` (as in DeepEP V2).
   */
  readonly winner?: 'first' | 'last' | undefined;
}

/** What is known of an order by rank beside its arrays. */
export interface RankPermutationShape {
  /** The number of tokens. */
  readonly numTokens: number;
  /** The number of slots of each token. */
  readonly numTopk: number;
  /** The number of experts over all ranks. */
  readonly numExperts: number;
  /** The number of ranks of the group. */
  readonly numRanks: number;
  /** Which selection of a token has the row, if several go to the same rank. */
  readonly winner: 'first' | 'last';
}

/**
 * What `getRankPermutation` returns: the tokens in the order (rank, token), in which a rank sends them. A token has one
 * row for each rank that it goes to.
 */
export interface RankPermutation extends RankPermutationArrays, RankPermutationShape {
  /** The number of rows: the last of `rankOffsets`. */
  readonly numRows: number;
  /** The done-event, which is recorded only with `asyncFinish`. */
  readonly event: EventOverlap;
  /** The device that computed this order. */
  readonly device: DeviceName;
}

/** An order by rank that a group has computed. */
export class ComputedRankPermutation extends Computed implements RankPermutation {
  readonly numTokensPerRank: Int32Array;
  readonly rankOffsets: Int32Array;
  readonly tokenOfRow: Int32Array;
  readonly rowOfSelection: Int32Array;
  readonly numTokens: number;
  readonly numTopk: number;
  readonly numExperts: number;
  readonly numRanks: number;
  readonly winner: 'first' | 'last';
  readonly event: EventOverlap;
  readonly device: DeviceName;

  constructor(arrays: OutArrays, shape: OutputShape, event: EventOverlap, device: DeviceName) {
    super();
    this.numTokensPerRank = arrays.numTokensPerRank;
    this.rankOffsets = arrays.rankOffsets;
    this.tokenOfRow = arrays.tokenOfRow;
    this.rowOfSelection = arrays.rowOfSelection;
    this.numTokens = shape.numTokens;
    this.numTopk = shape.numTopk;
    this.numExperts = shape.numExperts;
    this.numRanks = shape.numRanks;
    this.winner = (shape.computation as RankOrder).winner;
    this.event = event;
    this.device = device;
  }

  get numRows(): number {
    return this.rankOffsets[this.numRanks];
  }

  hasShape({ numTokens, numTopk, numExperts, numRanks, computation }: OutputShape): boolean {
    return (
      this.numTokens === numTokens &&
      this.numTopk === numTopk &&
      this.numExperts === numExperts &&
      this.numRanks === numRanks &&
      this.winner === (computation as RankOrder).winner
    );
  }
}

const numTokensPerRank: Output = {
  name: 'numTokensPerRank',
  type: 'int32',
  kind: 'count',
  length: ({ numRanks }) => numRanks,
};

const rankOffsets: Output = {
  name: 'rankOffsets',
  type: 'int32',
  kind: 'count',
  length: ({ numRanks }) => numRanks + 1,
};

const tokenOfRow: Output = {
  name: 'tokenOfRow',
  type: 'int32',
  kind: 'rows',
  length: ({ numTokens, numTopk, numRanks }) => numTokens * Math.min(numTopk, numRanks),
};

const rowOfSelection: Output = {
  name: 'rowOfSelection',
  type: 'int32',
  kind: 'rows',
  length: ({ numTokens, numTopk }) => numTokens * numTopk,
};

/** The form of orders by rank. */
export const rankOrderForm: ResultForm = {
  kind: 'byRank',
  outputs: [numTokensPerRank, rankOffsets, tokenOfRow, rowOfSelection],
  assign(target, source) {
    const arrays = source as RankPermutationArrays;
    target.numTokensPerRank = arrays.numTokensPerRank;
    target.rankOffsets = arrays.rankOffsets;
    target.tokenOfRow = arrays.tokenOfRow;
    target.rowOfSelection = arrays.rowOfSelection;
  },
  haveSame(left, right) {
    const [a, b] = [left as RankPermutationArrays, right as RankPermutationArrays];
    return (
      a.numTokensPerRank === b.numTokensPerRank &&
      a.rankOffsets === b.rankOffsets &&
      a.tokenOfRow === b.tokenOfRow &&
      a.rowOfSelection === b.rowOfSelection
    );
  },
  replace(arrays, lengths, by) {
    arrays.numTokensPerRank = by(numTokensPerRank, arrays.numTokensPerRank, lengths.numTokensPerRank);
    arrays.rankOffsets = by(rankOffsets, arrays.rankOffsets, lengths.rankOffsets);
    arrays.tokenOfRow = by(tokenOfRow, arrays.tokenOfRow, lengths.tokenOfRow);
    arrays.rowOfSelection = by(rowOfSelection, arrays.rowOfSelection, lengths.rowOfSelection);
  },
  resultOf: (arrays, shape, event, device) => new ComputedRankPermutation(arrays, shape, event, device),
};

/** The two orders by rank. */
export const rankOrders: Readonly<Record<RankOrder['winner'], RankOrder>> = {
  first: { kind: 'byRank', form: rankOrderForm, winner: 'first' },
  last: { kind: 'byRank', form: rankOrderForm, winner: 'last' },
};
