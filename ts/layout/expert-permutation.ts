/**
 * The result of `getExpertPermutation`.
 *
 * @module
 */
import type { DeviceName } from '../errors/availability.ts';
import { wrongValue } from '../errors/checks.ts';
import { DispatchLayoutError } from '../errors/errors.ts';
import { Computed } from './computed.ts';
import type { EventOverlap } from './event-overlap.ts';
import type { ExpertOrder, ExpertPermutationArrays, OutArrays, Output, OutputShape, ResultForm } from './outputs.ts';

/** The options of an order by expert alone. */
export interface ExpertOrderOptions {
  /** The first of the local experts. The selections of other experts are not kept. Default 0. */
  readonly firstExpert?: number | undefined;
  /** The number of local experts. Default: all from `firstExpert` on. */
  readonly numLocalExperts?: number | undefined;
  /**
   * The rows of each expert are padded behind to a multiple of this, as the tiles of a grouped GEMM need. An expert
   * without selections has no rows. Default 1.
   */
  readonly alignment?: number | undefined;
}

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

/** The largest alignment, and more than any tile has rows. */
const maxAlignment = 2 ** 31 - 1;

/** Whether a value can be an alignment of rows. */
export function isAlignment(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= maxAlignment;
}

/** @throws DispatchLayoutError `OPTION` */
export function checkAlignment(alignment: unknown): void {
  if (isAlignment(alignment)) return;
  throw wrongValue('OPTION', 'alignment', alignment, `It must be an integer from 1 to ${maxAlignment}.`);
}

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
export function checkRows(numSelections: number, order: Pick<ExpertOrder, 'numLocalExperts' | 'alignment'>): void {
  const rows = rowsNeeded(numSelections, order);
  if (rows <= maxInt32) return;
  const { alignment } = order;
  throw new DispatchLayoutError('TOO_LARGE', `${numSelections} selections need up to ${rows} rows`, {
    value: rows,
    remedy: `int32 numbers at most ${maxInt32} rows: split the tokens, or lower the alignment of ${alignment}.`,
  });
}

const numTokensPerExpert: Output = {
  name: 'numTokensPerExpert',
  type: 'int32',
  kind: 'count',
  length: ({ computation }) => (computation as ExpertOrder).numLocalExperts,
};

const expertOffsets: Output = {
  name: 'expertOffsets',
  type: 'int32',
  kind: 'count',
  length: ({ computation }) => (computation as ExpertOrder).numLocalExperts + 1,
};

const selectionOfRow: Output = {
  name: 'selectionOfRow',
  type: 'int32',
  kind: 'rows',
  length: ({ numTokens, numTopk, computation }) => rowsNeeded(numTokens * numTopk, computation as ExpertOrder),
};

const rowOfSelection: Output = {
  name: 'rowOfSelection',
  type: 'int32',
  kind: 'rows',
  length: ({ numTokens, numTopk }) => numTokens * numTopk,
};

/** The form of orders by expert. */
export const expertOrderForm: ResultForm = {
  kind: 'byExpert',
  outputs: [numTokensPerExpert, expertOffsets, selectionOfRow, rowOfSelection],
  assign(target, source) {
    const arrays = source as ExpertPermutationArrays;
    target.numTokensPerExpert = arrays.numTokensPerExpert;
    target.expertOffsets = arrays.expertOffsets;
    target.selectionOfRow = arrays.selectionOfRow;
    target.rowOfSelection = arrays.rowOfSelection;
  },
  haveSame(left, right) {
    const [a, b] = [left as ExpertPermutationArrays, right as ExpertPermutationArrays];
    return (
      a.numTokensPerExpert === b.numTokensPerExpert &&
      a.expertOffsets === b.expertOffsets &&
      a.selectionOfRow === b.selectionOfRow &&
      a.rowOfSelection === b.rowOfSelection
    );
  },
  replace(arrays, lengths, by) {
    arrays.numTokensPerExpert = by(numTokensPerExpert, arrays.numTokensPerExpert, lengths.numTokensPerExpert);
    arrays.expertOffsets = by(expertOffsets, arrays.expertOffsets, lengths.expertOffsets);
    arrays.selectionOfRow = by(selectionOfRow, arrays.selectionOfRow, lengths.selectionOfRow);
    arrays.rowOfSelection = by(rowOfSelection, arrays.rowOfSelection, lengths.rowOfSelection);
  },
  resultOf: (arrays, shape, event, device) => new ComputedExpertPermutation(arrays, shape, event, device),
};
