/**
 * Which rank every expert is on, and which node every rank is in.
 *
 * @module
 */
import { allocateInt32 } from '../errors/allocate.ts';
import { wrongValue } from '../errors/checks.ts';
import { DispatchLayoutError, type ErrorCode } from '../errors/errors.ts';
import { describe } from '../values/describe.ts';

/** How ranks are grouped into nodes. */
export interface RankGroup {
  readonly numRanks: number;
  readonly numRanksPerNode: number;
  /** The number of nodes; 1 within one node. */
  readonly numRdmaRanks: number;
}

/** The experts of a layer, placed on the ranks of a group. */
export interface Partition extends RankGroup {
  /** The group itself. A device shares what it keeps for a group among all partitions of the group. */
  readonly group: RankGroup;
  readonly numExperts: number;
  /** `[numExperts]`: the rank of each expert, {@link noRank} for an expert on none. */
  readonly rankOfExpert: Int32Array;
}

/**
 * The entry of an expert that is on no rank: the placement table says so, or, as in DeepEP, the expert is left over
 * when each rank has `floor(numExperts / numRanks)`.
 */
export const noRank = -1;

/**
 * A larger number of experts or ranks must be a mistake, and would fill gigabytes with tables before anybody noticed.
 */
const maxCount = 2 ** 24;

/**
 * Groups `numRanks` ranks into nodes of `numRanksPerNode`.
 *
 * @throws DispatchLayoutError `NUM_RANKS`, `NUM_RANKS_PER_NODE`
 */
export function checkRankGroup(numRanks: number, numRanksPerNode: number): RankGroup {
  checkPositive('NUM_RANKS', 'numRanks', numRanks, 'the number of ranks in the expert-parallel group');
  const meaning = 'the number of ranks that share one node (default 8)';
  checkPositive('NUM_RANKS_PER_NODE', 'numRanksPerNode', numRanksPerNode, meaning);
  if (numRanks > numRanksPerNode && numRanks % numRanksPerNode !== 0) {
    throw new DispatchLayoutError(
      'NUM_RANKS_PER_NODE',
      `numRanks ${numRanks} is more than one node of ${numRanksPerNode} ranks, and no multiple of it`,
      {
        value: numRanksPerNode,
        remedy: `Pass a numRanksPerNode that divides ${numRanks}, or is at least ${numRanks}.`,
      },
    );
  }
  return { numRanks, numRanksPerNode, numRdmaRanks: Math.max(1, numRanks / numRanksPerNode) | 0 };
}

/** The placements that have a name. The names are those of vLLM. */
export type PlacementName = 'linear' | 'round_robin';

/** A placement that was read and checked: its name, or a table. */
export type Placement = PlacementName | Int32Array;

/**
 * Reads a placement. A table is checked and copied.
 *
 * @throws DispatchLayoutError `PLACEMENT`
 */
export function readPlacement(placement: PlacementName | ArrayLike<number>, numRanks: number): Placement {
  if (placement === 'linear' || placement === 'round_robin') return placement;
  const { length } = Object(placement) as Partial<ArrayLike<number>>;
  if (typeof placement !== 'object' || !isCount(length)) {
    const remedy =
      "It must be 'linear', 'round_robin', or an array of numExperts ranks: the rank that each expert is on.";
    throw wrongValue('PLACEMENT', 'placement', placement, remedy);
  }
  const rankOfExpert = new Int32Array(length);
  for (let expert = 0; expert < length; expert++) {
    const rank: unknown = placement[expert];
    if (!Number.isInteger(rank) || (rank as number) < noRank || (rank as number) >= numRanks) {
      throw new DispatchLayoutError(
        'PLACEMENT',
        `placement[${expert}] is ${describe(rank)}, not a rank in [0, ${numRanks})`,
        { value: rank, remedy: 'placement must be a table from expert to rank, with -1 for an expert on no rank.' },
      );
    }
    rankOfExpert[expert] = rank as number;
  }
  return rankOfExpert;
}

/** Whether a placement is equal to one that was read before. */
export function isSamePlacement(
  read: Placement | undefined,
  placement: PlacementName | ArrayLike<number> | undefined,
): boolean {
  if (typeof read !== 'object' || typeof placement !== 'object') return read === placement;
  return read.length === placement?.length && read.every((rank, expert) => rank === placement[expert]);
}

/**
 * Places `numExperts` experts on the ranks of `group`. Without a placement, every rank has a contiguous block of
 * `floor(numExperts / numRanks)` experts, as in DeepEP.
 *
 * @param isStrict whether it is an error if experts are left over. If it is not, they are on no rank, as in DeepEP.
 * @throws DispatchLayoutError `NUM_EXPERTS`, `PLACEMENT`, `UNEVEN_EXPERTS`, `OUT_OF_MEMORY`
 */
export function partitionExperts(
  group: RankGroup,
  numExperts: number,
  placement: Placement | undefined,
  isStrict: boolean,
): Partition {
  checkPositive('NUM_EXPERTS', 'numExperts', numExperts, 'the number of experts over all ranks');
  const { numRanks } = group;
  if (typeof placement === 'object') {
    if (placement.length !== numExperts) {
      throw new DispatchLayoutError(
        'PLACEMENT',
        `placement has ${placement.length} entries for ${numExperts} experts`,
        { value: placement.length, remedy: 'It needs one rank for each expert.' },
      );
    }
    return { ...group, group, numExperts, rankOfExpert: placement };
  }
  const numUneven = numExperts % numRanks;
  if (isStrict && placement === undefined && numUneven > 0) {
    throw new DispatchLayoutError(
      'UNEVEN_EXPERTS',
      `${numExperts} experts do not divide evenly among ${numRanks} ranks`,
      {
        value: numExperts,
        remedy:
          "Pass placement: 'linear' or 'round_robin', a placement table, or invalidExperts: 'ignore' to leave the last experts without a rank.",
      },
    );
  }
  const rankOfExpert = allocateInt32(numExperts, `a table of ${numExperts} experts`, 'Correct numExperts.').fill(
    noRank,
  );
  if (placement === 'round_robin') {
    for (let expert = 0; expert < numExperts; expert++) rankOfExpert[expert] = expert % numRanks;
    return { ...group, group, numExperts, rankOfExpert };
  }
  let expert = 0;
  for (let rank = 0; rank < numRanks; rank++) {
    const end = expert + Math.floor(numExperts / numRanks) + (placement === 'linear' && rank < numUneven ? 1 : 0);
    rankOfExpert.fill(rank, expert, end);
    expert = end;
  }
  return { ...group, group, numExperts, rankOfExpert };
}

/**
 * The experts of an order by expert, for which it does not matter on which rank they are.
 *
 * @throws DispatchLayoutError `NUM_EXPERTS`, `OUT_OF_MEMORY`
 */
export function expertsOnOneRank(numExperts: number, group: RankGroup): Partition {
  const alone: RankGroup = { numRanks: 1, numRanksPerNode: 1, numRdmaRanks: 1 };
  return { ...partitionExperts(alone, numExperts, undefined, true), group };
}

/** The experts of every rank, in ascending order. */
export interface ExpertsByRank {
  /** `[numRanks + 1]`: where the experts of each rank begin in `experts`. */
  readonly offsets: Int32Array;
  /** The experts that are on a rank, ordered by (rank, expert). */
  readonly experts: Int32Array;
}

/** Orders the experts by rank. The local experts of a rank count up in this order. */
export function expertsByRank({ numRanks, rankOfExpert }: Partition): ExpertsByRank {
  const offsets = new Int32Array(numRanks + 1);
  for (const rank of rankOfExpert) if (rank !== noRank) offsets[rank + 1]++;
  for (let rank = 0; rank < numRanks; rank++) offsets[rank + 1] += offsets[rank];
  const experts = new Int32Array(offsets[numRanks]);
  const next = offsets.slice();
  for (const [expert, rank] of rankOfExpert.entries()) if (rank !== noRank) experts[next[rank]++] = expert;
  return { offsets, experts };
}

/** @throws DispatchLayoutError of the given code */
function checkPositive(code: ErrorCode, name: string, count: unknown, meaning: string): void {
  if (!isCount(count)) throw wrongValue(code, name, count, `It must be an integer from 1 to ${maxCount}: ${meaning}.`);
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) > 0 && (value as number) <= maxCount;
}
