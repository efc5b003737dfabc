/**
 * Which rank every expert is on, and which node every rank is in.
 *
 * @module
 */
import { DispatchLayoutError } from '../errors/errors.ts';
import { describe } from '../values/describe.ts';

/** How ranks are grouped into nodes. */
export interface RankGroup {
  readonly numRanks: number;
  readonly numRanksPerNode: number;
  /** Number of nodes; 1 within one node. */
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
 * The entry of an expert that is on no rank. As in DeepEP, these are the experts that are left over when each rank has
 * `floor(numExperts / numRanks)`.
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
  if (!isCount(numRanks)) {
    throw new DispatchLayoutError('NUM_RANKS', `numRanks is ${describe(numRanks)}`, {
      value: numRanks,
      remedy: `It must be an integer from 1 to ${maxCount}: the number of ranks in the expert-parallel group.`,
    });
  }
  if (!isCount(numRanksPerNode)) {
    throw new DispatchLayoutError('NUM_RANKS_PER_NODE', `numRanksPerNode is ${describe(numRanksPerNode)}`, {
      value: numRanksPerNode,
      remedy: `It must be an integer from 1 to ${maxCount}: the number of ranks that share one node (default 8).`,
    });
  }
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

/**
 * Checks a placement table, and returns a copy of it.
 *
 * @throws DispatchLayoutError `PLACEMENT`
 */
export function checkPlacement(placement: ArrayLike<number>, numRanks: number): Int32Array {
  const { length } = Object(placement) as Partial<ArrayLike<number>>;
  if (typeof placement !== 'object' || !isCount(length)) {
    throw new DispatchLayoutError('PLACEMENT', `placement is ${describe(placement)}`, {
      value: placement,
      remedy: 'It must be an array of numExperts ranks: the rank that each expert is on.',
    });
  }
  const rankOfExpert = new Int32Array(length);
  for (let expert = 0; expert < length; expert++) {
    const rank: unknown = placement[expert];
    if (!Number.isInteger(rank) || (rank as number) < 0 || (rank as number) >= numRanks) {
      throw new DispatchLayoutError(
        'PLACEMENT',
        `placement[${expert}] is ${describe(rank)}, not a rank in [0, ${numRanks})`,
        {
          value: rank,
          remedy: 'placement must be a table from expert to rank.',
        },
      );
    }
    rankOfExpert[expert] = rank as number;
  }
  return rankOfExpert;
}

/** Whether a placement is equal to a table that was read before. */
export function haveSameRanks(table: Int32Array | undefined, placement: ArrayLike<number> | undefined): boolean {
  if (table === undefined || placement === undefined) return table === placement;
  return table.length === placement?.length && table.every((rank, expert) => rank === placement[expert]);
}

/**
 * Places `numExperts` experts on the ranks of `group`: by the table if there is one, else in contiguous blocks of
 * `floor(numExperts / numRanks)`, as in DeepEP.
 *
 * @param isStrict whether it is an error if experts are left over. If it is not, they are on no rank, as in DeepEP.
 * @throws DispatchLayoutError `NUM_EXPERTS`, `PLACEMENT`, `UNEVEN_EXPERTS`, `OUT_OF_MEMORY`
 */
export function partitionExperts(
  group: RankGroup,
  numExperts: number,
  placement: Int32Array | undefined,
  isStrict: boolean,
): Partition {
  if (!isCount(numExperts)) {
    throw new DispatchLayoutError('NUM_EXPERTS', `numExperts is ${describe(numExperts)}`, {
      value: numExperts,
      remedy: `It must be an integer from 1 to ${maxCount}: the number of experts over all ranks.`,
    });
  }
  const { numRanks, numRanksPerNode, numRdmaRanks } = group;
  if (placement !== undefined) {
    if (placement.length !== numExperts) {
      throw new DispatchLayoutError(
        'PLACEMENT',
        `placement has ${placement.length} entries for ${numExperts} experts`,
        {
          value: placement.length,
          remedy: 'It needs one rank for each expert.',
        },
      );
    }
    return { group, numRanks, numRanksPerNode, numRdmaRanks, numExperts, rankOfExpert: placement };
  }
  if (isStrict && numExperts % numRanks !== 0) {
    throw new DispatchLayoutError(
      'UNEVEN_EXPERTS',
      `${numExperts} experts do not divide evenly among ${numRanks} ranks`,
      {
        value: numExperts,
        remedy: "Pass a placement table, or invalidExperts: 'ignore' to leave the last experts without a rank.",
      },
    );
  }
  const numExpertsPerRank = Math.floor(numExperts / numRanks);
  const rankOfExpert = allocate(numExperts).fill(noRank);
  for (let rank = 0; rank < numRanks && numExpertsPerRank > 0; rank++) {
    rankOfExpert.fill(rank, rank * numExpertsPerRank, (rank + 1) * numExpertsPerRank);
  }
  return { group, numRanks, numRanksPerNode, numRdmaRanks, numExperts, rankOfExpert };
}

function allocate(numExperts: number): Int32Array {
  try {
    return new Int32Array(numExperts);
  } catch (cause) {
    throw new DispatchLayoutError('OUT_OF_MEMORY', `a table of ${numExperts} experts does not fit in memory`, {
      value: numExperts,
      remedy: 'Correct numExperts.',
      cause,
    });
  }
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) > 0 && (value as number) <= maxCount;
}
