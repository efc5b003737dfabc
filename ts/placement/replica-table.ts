/**
 * Which replicas a token may take, by the rules by which clusters choose among them.
 *
 * @module
 */
import { wrongValue } from '../errors/checks.ts';
import { checkRankGroup } from '../input/partition.ts';
import { type PlacementPlan, rankOfSlot } from './plan.ts';

/**
 * By which rule a token chooses one of the replicas of an expert. Each token has a number, and takes the replica at that
 * number modulo how many there are. Replicas are in the order of `logicalToPhysical`.
 */
export type ReplicaRule =
  /** The number of a token is its index. It is not that of its selection, which an even `numTopk` would keep even. */
  | 'round_robin'
  /** The number is `token * 2654435769`, modulo 2^32, as in vLLM. */
  | 'hash'
  /** As `round_robin`, but only among the replicas on the source rank, or else in its node, if there are any. */
  | 'nearest';

/** The rules, for messages and command lines. */
export const replicaRules: readonly ReplicaRule[] = ['round_robin', 'hash', 'nearest'];

/** Where tokens come from. The rule `nearest` needs it. */
export interface TokenSource {
  /** The rank that sends the tokens. */
  readonly sourceRank?: number | undefined;
  /** The number of ranks of a node. Default 8, as in groups. */
  readonly numRanksPerNode?: number | undefined;
}

/** The candidates of every expert of a layer, as the loop over the ids reads them. */
export interface ReplicaTable {
  readonly numExperts: number;
  /**
   * `[numExperts + 2, 2]`: of -1, of each expert, and of any other id, the index of its first candidate in `replicas`,
   * and the index of their number in `counts`.
   */
  readonly choices: Uint32Array;
  /** The different numbers of candidates. The first is 1. */
  readonly counts: Uint32Array;
  /** `[numPhysicalExperts + 1]`: -1, and then the candidates of all experts. */
  readonly replicas: Int32Array;
  /** What the index of a token is multiplied by, modulo 2^32, to get its number. */
  readonly multiplier: number;
}

/** 2^32 divided by the golden ratio: multiples of it are spread evenly. */
const hashMultiplier = 2654435769;

/**
 * Makes the table of a layer of a plan. An expert without a replica is treated as no selection.
 *
 * @throws DispatchLayoutError `OPTION`, `NUM_RANKS_PER_NODE`
 */
export function replicaTable(
  plan: PlacementPlan,
  layer: number,
  rule: ReplicaRule,
  source: TokenSource = {},
): ReplicaTable {
  if (!replicaRules.includes(rule)) {
    throw wrongValue('OPTION', 'rule', rule, `It must be one of ${replicaRules.join(', ')}.`);
  }
  const candidatesOf = rule === 'nearest' ? nearestTo(plan, source) : (replicas: Int32Array) => replicas;
  const { numExperts } = plan;
  const choices = new Uint32Array(2 * (numExperts + 2));
  const counts = [1];
  const replicas = new Int32Array(1 + plan.numPhysicalExperts);
  replicas[0] = -1;
  let numReplicas = 1;
  for (let expert = 0; expert < numExperts; expert++) {
    const candidates = candidatesOf(plan.logicalToPhysical[layer][expert]);
    const count = candidates.length;
    if (count === 0) continue;
    let countIndex = counts.indexOf(count);
    if (countIndex === -1) countIndex = counts.push(count) - 1;
    choices[2 * (expert + 1)] = numReplicas;
    choices[2 * (expert + 1) + 1] = countIndex;
    for (let index = 0; index < count; index++) replicas[numReplicas++] = candidates[index];
  }
  return {
    numExperts,
    choices,
    counts: Uint32Array.from(counts),
    replicas,
    multiplier: rule === 'hash' ? hashMultiplier : 1,
  };
}

/** A function that keeps the replicas on the source rank, or else those in its node, or else all. */
function nearestTo(
  plan: PlacementPlan,
  { sourceRank, numRanksPerNode = 8 }: TokenSource,
): (replicas: Int32Array) => Int32Array {
  const { numRanks } = plan;
  checkRankGroup(numRanks, numRanksPerNode);
  if (!Number.isInteger(sourceRank) || (sourceRank as number) < 0 || (sourceRank as number) >= numRanks) {
    const remedy = `The rule 'nearest' needs the rank that sends the tokens, in [0, ${numRanks}).`;
    throw wrongValue('OPTION', 'sourceRank', sourceRank, remedy);
  }
  const nodeOf = (rank: number) => Math.floor(rank / numRanksPerNode);
  const sourceNode = nodeOf(sourceRank as number);
  return (replicas) => {
    if (replicas.length < 2) return replicas;
    const onRank = replicas.filter((slot) => rankOfSlot(slot, plan) === sourceRank);
    if (onRank.length > 0) return onRank;
    const inNode = replicas.filter((slot) => nodeOf(rankOfSlot(slot, plan)) === sourceNode);
    return inNode.length > 0 ? inNode : replicas;
  };
}
