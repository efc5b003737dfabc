/**
 * The options of the two orders of rows, and the checks of them.
 *
 * @module
 */
import type { DeviceExpertPermutationArrays, DeviceRankPermutationArrays } from './devices/cuda/device-layout.ts';
import { checkCount, checkOptions, wrongValue } from './errors/checks.ts';
import { checkAlignment, type ExpertOrderOptions, expertOrderForm } from './layout/expert-permutation.ts';
import type { ExpertOrder, ExpertPermutationArrays, RankOrder, RankPermutationArrays } from './layout/outputs.ts';
import { type RankOrderOptions, rankOrders } from './layout/rank-permutation.ts';
import { type CallOptions, callOptions } from './options.ts';

/** The options of `getExpertPermutation` that can differ from one call to the next. */
export interface ExpertPermutationOptions extends CallOptions, ExpertOrderOptions {
  /**
   * Arrays to write to, such as an earlier result. If an earlier result has the shape of this one, it is returned
   * itself, so that nothing is allocated. If the call throws, the arrays are untouched. If `selectionOfRow` or `rowOfSelection` is
   * longer than needed, the result has a view of its first part; to use all of it again, pass the same object again.
   * Default: new arrays.
   */
  readonly out?: ExpertPermutationArrays | undefined;
}

/** Options of `getExpertPermutation` for ids on the GPU. */
export interface DeviceExpertPermutationOptions extends CallOptions, ExpertOrderOptions {
  /**
   * Tensors to write to, such as an earlier result. The kernel finds an invalid id only while it writes to them, so
   * they have changed when that error is thrown. If `selectionOfRow` or `rowOfSelection` is longer than needed, the result has a view
   * of its first part. Default: new tensors.
   */
  readonly out?: DeviceExpertPermutationArrays | undefined;
}

/** The options of `getRankPermutation` that can differ from one call to the next. */
export interface RankPermutationOptions extends CallOptions, RankOrderOptions {
  /**
   * Arrays to write to, such as an earlier result. If an earlier result has the shape of this one, it is returned
   * itself, so that nothing is allocated. If the call throws, the arrays are untouched. If `tokenOfRow` or `rowOfSelection` is
   * longer than needed, the result has a view of its first part; to use all of it again, pass the same object again.
   * Default: new arrays.
   */
  readonly out?: RankPermutationArrays | undefined;
}

/** Options of `getRankPermutation` for ids on the GPU. */
export interface DeviceRankPermutationOptions extends CallOptions, RankOrderOptions {
  /**
   * Tensors to write to, such as an earlier result. The kernel finds an invalid id only while it writes to them, so
   * they have changed when that error is thrown. If `tokenOfRow` or `rowOfSelection` is longer than needed, the result has a view
   * of its first part. Default: new tensors.
   */
  readonly out?: DeviceRankPermutationArrays | undefined;
}

export const expertOrderOptions: Readonly<Record<keyof ExpertOrderOptions, true>> = {
  firstExpert: true,
  numLocalExperts: true,
  alignment: true,
};

export const rankOrderOptions: Readonly<Record<keyof RankOrderOptions, true>> = { winner: true };

export const expertPermutationOptions: Readonly<Record<keyof ExpertPermutationOptions, true>> = {
  ...callOptions,
  ...expertOrderOptions,
};

export const rankPermutationOptions: Readonly<Record<keyof RankPermutationOptions, true>> = {
  ...callOptions,
  ...rankOrderOptions,
};

/**
 * The order by expert that these options ask for.
 *
 * @param last the order of an earlier call, which is returned if it is the same.
 * @throws DispatchLayoutError `OPTION`
 */
export function readExpertOrder(options: ExpertOrderOptions, numExperts: number, last?: ExpertOrder): ExpertOrder {
  const { firstExpert = 0, alignment = 1, numLocalExperts = allFrom(firstExpert, numExperts) } = options;
  if (
    last?.firstExpert === firstExpert &&
    last.numLocalExperts === numLocalExperts &&
    last.alignment === alignment &&
    firstExpert + numLocalExperts <= numExperts
  ) {
    return last;
  }
  checkCount('firstExpert', firstExpert);
  if (firstExpert > numExperts) {
    throw wrongValue('OPTION', 'firstExpert', firstExpert, `It must be at most numExperts, ${numExperts}.`);
  }
  checkCount('numLocalExperts', numLocalExperts);
  if (firstExpert + numLocalExperts > numExperts) {
    const remedy = `From expert ${firstExpert} on there are ${numExperts - firstExpert}: it must be at most that.`;
    throw wrongValue('OPTION', 'numLocalExperts', numLocalExperts, remedy);
  }
  checkAlignment(alignment);
  return { kind: 'byExpert', form: expertOrderForm, firstExpert, numLocalExperts, alignment };
}

/** The number of experts from one on. That `firstExpert` is a number at all is checked later. */
function allFrom(firstExpert: unknown, numExperts: number): number {
  return typeof firstExpert === 'number' ? numExperts - firstExpert : numExperts;
}

/**
 * The order by rank that these options ask for.
 *
 * @throws DispatchLayoutError `OPTION`
 */
export function readRankOrder({ winner = 'first' }: RankOrderOptions): RankOrder {
  if (winner === 'first' || winner === 'last') return rankOrders[winner];
  throw wrongValue('OPTION', 'winner', winner, "It must be 'first' or 'last'.");
}

/** Which orders of rows a workspace can compute, beside the layout. */
export interface WorkspaceOrders {
  /** Options of `runExpertPermutation`, or `true` for the default ones. Without this, there is no room for it. */
  readonly expertPermutation?: true | ExpertOrderOptions | undefined;
  /** Options of `runRankPermutation`, or `true` for the default ones. Without this, there is no room for it. */
  readonly rankPermutation?: true | RankOrderOptions | undefined;
}

/**
 * Reads which orders of rows a workspace is to compute.
 *
 * @throws DispatchLayoutError `OPTION`
 */
export function readWorkspaceOrders(
  { expertPermutation, rankPermutation }: WorkspaceOrders,
  numExperts: number,
): { readonly byExpert: ExpertOrder | null; readonly byRank: RankOrder | null } {
  return {
    byExpert:
      expertPermutation === undefined
        ? null
        : readExpertOrder(orderOptions('expertPermutation', expertPermutation, expertOrderOptions), numExperts),
    byRank:
      rankPermutation === undefined
        ? null
        : readRankOrder(orderOptions('rankPermutation', rankPermutation, rankOrderOptions)),
  };
}

function orderOptions<Options extends object>(
  name: string,
  given: true | Options,
  names: Readonly<Record<keyof Options, true>>,
): Options {
  if (given === true) return {} as Options;
  if (typeof given !== 'object' || given === null) {
    throw wrongValue('OPTION', name, given, 'It must be true, or an object with the options of that order.');
  }
  return checkOptions(given, names);
}
