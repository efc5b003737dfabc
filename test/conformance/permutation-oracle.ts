/**
 * The independent oracle of the two orders of rows. It sorts lists of selections literally as the contract says, with
 * BigInt ids, for clarity and not for speed. It shares no code with the library.
 *
 * @module
 */
import { type ExpectedError, type Question, ranksOfExperts } from './oracle.ts';

/** A request for the order by expert. */
export interface ExpertQuestion extends Pick<Question, 'rows' | 'numExperts' | 'emptyId' | 'invalidExperts'> {
  readonly firstExpert?: number | undefined;
  readonly numLocalExperts?: number | undefined;
  readonly alignment?: number | undefined;
}

/** The correct order by expert. */
export interface ExpectedExpertOrder {
  readonly numTokensPerExpert: readonly number[];
  readonly expertOffsets: readonly number[];
  readonly selectionOfRow: readonly number[];
  readonly rowOfSelection: readonly number[];
  readonly numRows: number;
}

/** A request for the order by rank. */
export interface RankQuestion extends Question {
  readonly winner?: 'first' | 'last' | undefined;
}

/** The correct order by rank. */
export interface ExpectedRankOrder {
  readonly numTokensPerRank: readonly number[];
  readonly rankOffsets: readonly number[];
  readonly tokenOfRow: readonly number[];
  readonly rowOfSelection: readonly number[];
  readonly numRows: number;
}

export type OrderAnswer<Order> = { readonly order: Order } | { readonly error: ExpectedError };

/** A selection of an expert. */
interface Selection {
  readonly token: number;
  readonly slot: number;
  readonly expert: number;
}

/** All selections of experts, or the first invalid id. */
function selectionsOf({
  rows,
  numExperts,
  emptyId,
  invalidExperts,
}: Pick<Question, 'rows' | 'numExperts' | 'emptyId' | 'invalidExperts'>): Selection[] | ExpectedError {
  const selections: Selection[] = [];
  for (const [token, row] of rows.entries()) {
    for (const [slot, id] of row.entries()) {
      if (emptyId !== undefined && id === BigInt(emptyId)) continue;
      if (id >= 0n && id < BigInt(numExperts)) selections.push({ token, slot, expert: Number(id) });
      else if (id !== -1n && invalidExperts !== 'ignore') {
        return { code: 'INVALID_EXPERT', offender: { token, slot, value: id } };
      }
    }
  }
  return selections;
}

/** The selections by what `keyOf` returns. */
function groupedBy(
  selections: readonly Selection[],
  keyOf: (selection: Selection) => unknown,
): Map<unknown, Selection[]> {
  const groups = new Map<unknown, Selection[]>();
  for (const selection of selections) {
    const key = keyOf(selection);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [selection]);
    else group.push(selection);
  }
  return groups;
}

const numTopkOf = (rows: Question['rows']): number => rows[0]?.length ?? 0;
const minusOnes = (length: number): number[] => new Array<number>(length).fill(-1);

/** The correct order by expert, or the error. */
export function expertOrder(question: ExpertQuestion): OrderAnswer<ExpectedExpertOrder> {
  const { rows, numExperts, firstExpert = 0, alignment = 1 } = question;
  const { numLocalExperts = numExperts - firstExpert } = question;
  const all = selectionsOf(question);
  if (!Array.isArray(all)) return { error: all };
  const numTopk = numTopkOf(rows);
  const n = rows.length * numTopk;
  const numPadded = Math.min(n, numLocalExperts);
  const capacity = Math.floor((n + numPadded * (alignment - 1)) / alignment) * alignment;
  const numTokensPerExpert: number[] = [];
  const expertOffsets = [0];
  const selectionOfRow: number[] = [];
  const rowOfSelection = minusOnes(n);
  const selectionsOfExpert = groupedBy(all, ({ expert }) => expert);
  for (let expert = firstExpert; expert < firstExpert + numLocalExperts; expert += 1) {
    const own = selectionsOfExpert.get(expert) ?? [];
    own.sort((left, right) => left.token - right.token || left.slot - right.slot);
    for (const { token, slot } of own) {
      rowOfSelection[token * numTopk + slot] = selectionOfRow.length;
      selectionOfRow.push(token * numTopk + slot);
    }
    while (selectionOfRow.length % alignment > 0) selectionOfRow.push(-1);
    numTokensPerExpert.push(own.length);
    expertOffsets.push(selectionOfRow.length);
  }
  const numRows = selectionOfRow.length;
  while (selectionOfRow.length < capacity) selectionOfRow.push(-1);
  return { order: { numTokensPerExpert, expertOffsets, selectionOfRow, rowOfSelection, numRows } };
}

/** The correct order by rank, or the error. */
export function rankOrder(question: RankQuestion): OrderAnswer<ExpectedRankOrder> {
  const { rows, numExperts, numRanks, placement, invalidExperts, winner = 'first' } = question;
  if (invalidExperts !== 'ignore' && placement === undefined && numExperts % numRanks !== 0) {
    return { error: { code: 'UNEVEN_EXPERTS' } };
  }
  const all = selectionsOf(question);
  if (!Array.isArray(all)) return { error: all };
  const numTopk = numTopkOf(rows);
  const rankOf = ranksOfExperts(question);
  const numTokensPerRank: number[] = [];
  const rankOffsets = [0];
  const tokenOfRow: number[] = [];
  const rowOfSelection = minusOnes(rows.length * numTopk);
  const selectionsOfRank = groupedBy(all, ({ expert }) => rankOf[expert]);
  for (let rank = 0; rank < numRanks; rank += 1) {
    const selectionsOfToken = groupedBy(selectionsOfRank.get(rank) ?? [], ({ token }) => token);
    const tokens = [...selectionsOfToken.keys()].map(Number).sort((left, right) => left - right);
    for (const token of tokens) {
      const slots = (selectionsOfToken.get(token) ?? []).map(({ slot }) => slot);
      // The selections are in the order of slots
      const slot = (winner === 'first' ? slots[0] : slots.at(-1)) as number;
      rowOfSelection[token * numTopk + slot] = tokenOfRow.length;
      tokenOfRow.push(token);
    }
    numTokensPerRank.push(tokens.length);
    rankOffsets.push(tokenOfRow.length);
  }
  const numRows = tokenOfRow.length;
  while (tokenOfRow.length < rows.length * Math.min(numTopk, numRanks)) tokenOfRow.push(-1);
  return { order: { numTokensPerRank, rankOffsets, tokenOfRow, rowOfSelection, numRows } };
}
