/**
 * The results of `getExpertPermutation` and `getRankPermutation`.
 *
 * @module
 */
import type { DeviceName } from '../errors/availability.ts';
import type { ExpertOrder, RankOrder } from './computation.ts';
import { Computed } from './computed.ts';
import type { EventOverlap } from './event-overlap.ts';
import type { ExpertPermutationArrays, OutArrays, OutputShape, RankPermutationArrays } from './outputs.ts';

/** What is known of an order by expert beside its arrays. */
export interface ExpertPermutationShape {
  /** The number of tokens. */
  readonly numTokens: number;
  /** The number of slots of each token. */
  readonly numTopk: number;
  /** The number of experts that ids may name. */
  readonly numExperts: number;
  /** The first of the local experts, whose selections are kept. */
  readonly firstExpert: number;
  /** The number of local experts. */
  readonly numLocalExperts: number;
  /** What the number of rows of each expert is padded to a multiple of. */
  readonly alignment: number;
}

/**
 * What `getExpertPermutation` returns: the kept selections in the order (expert, token, slot), as a grouped GEMM reads
 * them. A *selection* is a (token, slot) pair, with the number `token * numTopk + slot`. A *row* is a place in the
 * buffer that is ordered by expert.
 */
export interface ExpertPermutation extends ExpertPermutationArrays, ExpertPermutationShape {
  /** The number of rows, padding included: the last of `expertOffsets`. */
  readonly numRows: number;
  /** The done-event, which is recorded only with `asyncFinish`. */
  readonly event: EventOverlap;
  /** The device that computed this order. */
  readonly device: DeviceName;
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

/** An order by expert that a group has computed. */
export class ComputedExpertPermutation extends Computed implements ExpertPermutation {
  readonly numTokensPerExpert: Int32Array;
  readonly expertOffsets: Int32Array;
  readonly selectionOfRow: Int32Array;
  readonly rowOfSelection: Int32Array;
  readonly numTokens: number;
  readonly numTopk: number;
  readonly numExperts: number;
  readonly firstExpert: number;
  readonly numLocalExperts: number;
  readonly alignment: number;
  readonly event: EventOverlap;
  readonly device: DeviceName;

  constructor(arrays: OutArrays, shape: OutputShape, event: EventOverlap, device: DeviceName) {
    super();
    const order = shape.computation as ExpertOrder;
    this.numTokensPerExpert = arrays.numTokensPerExpert;
    this.expertOffsets = arrays.expertOffsets;
    this.selectionOfRow = arrays.selectionOfRow;
    this.rowOfSelection = arrays.rowOfSelection;
    this.numTokens = shape.numTokens;
    this.numTopk = shape.numTopk;
    this.numExperts = shape.numExperts;
    this.firstExpert = order.firstExpert;
    this.numLocalExperts = order.numLocalExperts;
    this.alignment = order.alignment;
    this.event = event;
    this.device = device;
  }

  // It is read from the arrays, since with asyncFinish they are written only later, and they may be written again
  get numRows(): number {
    return this.expertOffsets[this.numLocalExperts];
  }

  hasShape({ numTokens, numTopk, numExperts, computation }: OutputShape): boolean {
    const order = computation as ExpertOrder;
    return (
      this.numTokens === numTokens &&
      this.numTopk === numTopk &&
      this.numExperts === numExperts &&
      this.firstExpert === order.firstExpert &&
      this.numLocalExperts === order.numLocalExperts &&
      this.alignment === order.alignment
    );
  }
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
