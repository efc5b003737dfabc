/**
 * What a call computes: a layout, or one of the two orders of rows that come after it.
 *
 * @module
 */
import { DispatchLayoutError } from '../errors/errors.ts';

/**
 * The forms that `isTokenInRank` can have: a byte for each token and rank, or a bit, or none at all. In numpy,
 * `numpy.unpackbits(mask, axis=1, bitorder='little')[:, :numRanks]` turns rows of bits into rows of bytes.
 */
export type MaskForm = 'bytes' | 'bits' | 'none';

/** What `getDispatchLayout` computes. */
export interface LayoutComputation {
  readonly kind: 'layout';
  /** The form of `isTokenInRank`. */
  readonly mask: MaskForm;
}

/** What `getExpertPermutation` computes: the rows of a range of experts. */
export interface ExpertOrder {
  readonly kind: 'byExpert';
  readonly firstExpert: number;
  readonly numLocalExperts: number;
  readonly alignment: number;
}

/** What `getRankPermutation` computes. */
export interface RankOrder {
  readonly kind: 'byRank';
  /** Which selection of a token gets the row, if several go to the same rank. */
  readonly winner: 'first' | 'last';
}

/** What a call computes. Two calls with the same object compute the same. */
export type Computation = LayoutComputation | ExpertOrder | RankOrder;

/** A kind of computation, on which it depends which outputs there are. */
export type ComputationKind = Computation['kind'];

/** The three computations of layouts. */
export const layoutComputations: Readonly<Record<MaskForm, LayoutComputation>> = {
  bytes: { kind: 'layout', mask: 'bytes' },
  bits: { kind: 'layout', mask: 'bits' },
  none: { kind: 'layout', mask: 'none' },
};

/** The two orders by rank. */
export const rankOrders: Readonly<Record<RankOrder['winner'], RankOrder>> = {
  first: { kind: 'byRank', winner: 'first' },
  last: { kind: 'byRank', winner: 'last' },
};

/**
 * The largest number of rows that selections can take, padding included. At most as many experts as there are selections
 * have rows, and each of these has at most `alignment - 1` rows of padding. All offsets are multiples of the alignment.
 */
export function rowsNeeded(
  numSelections: number,
  { numLocalExperts, alignment }: Pick<ExpertOrder, 'numLocalExperts' | 'alignment'>,
): number {
  const largest = numSelections + Math.min(numSelections, numLocalExperts) * (alignment - 1);
  return largest - (largest % alignment);
}

const maxInt32 = 2 ** 31 - 1;

/**
 * Checks that int32 can number all rows. The selections themselves were checked before.
 *
 * @throws DispatchLayoutError `TOO_LARGE`
 */
export function checkRows(numSelections: number, computation: Computation): void {
  if (computation.kind !== 'byExpert') return;
  const rows = rowsNeeded(numSelections, computation);
  if (rows <= maxInt32) return;
  const { alignment } = computation;
  throw new DispatchLayoutError('TOO_LARGE', `${numSelections} selections need up to ${rows} rows`, {
    value: rows,
    remedy: `int32 numbers at most ${maxInt32} rows: split the tokens, or lower the alignment of ${alignment}.`,
  });
}
