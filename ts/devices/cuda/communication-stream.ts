/**
 * The communication stream of each group, and what is kept for the layouts on it.
 *
 * @module
 */
import type { Partition, RankGroup } from '../../input/partition.ts';
import type { PlanHandle, StreamHandle } from './addon.ts';
import type { IdCheck } from './id-check.ts';
import { cudaAddon } from './runtime.ts';

const streams = new WeakMap<RankGroup, CommunicationStream>();

/** The stream of a group, created with its first layout and gone with the group. */
export function communicationStreamOf(group: RankGroup): CommunicationStream {
  let stream = streams.get(group);
  if (stream === undefined) {
    stream = new CommunicationStream();
    streams.set(group, stream);
  }
  return stream;
}

const maxPlans = 8;

/** The stream that all layouts of a group run on, one after the other. */
export class CommunicationStream {
  readonly native: StreamHandle = cudaAddon().createStream();
  /** Checks of layouts of tensors that nobody may ever wait for, in the order of the stream. */
  readonly #checks: IdCheck[] = [];
  /** By number of experts, on which alone the partitions of one group depend. */
  readonly #plans = new Map<number, PlanHandle>();

  /** Memory of the GPU for a partition, kept for a few: models whose layers differ take turns. */
  planFor(partition: Partition): PlanHandle {
    const { numExperts, numRanks, numRdmaRanks, rankOfExpert } = partition;
    const existing = this.#plans.get(numExperts);
    if (existing !== undefined) return existing;
    const plan = cudaAddon().createPlan({
      commStream: this.native,
      numExperts,
      numRanks,
      numNodes: numRdmaRanks,
      rankOfExpert: isContiguous(partition) ? null : rankOfExpert,
    });
    if (this.#plans.size === maxPlans) this.#plans.clear();
    this.#plans.set(numExperts, plan);
    return plan;
  }

  /** Keeps the check of a layout that was queued, to be reported if nobody else asks. */
  remember(check: IdCheck): void {
    this.#checks.push(check);
  }

  /** Throws what an earlier layout of tensors found, if it is done by now and nobody has been told. */
  reportEarlier(): void {
    while (this.#checks.length > 0 && this.#checks[0].isDone) this.#checks.shift()?.reportOnce();
  }
}

/** Whether the kernel can compute the table: blocks of `floor(numExperts / numRanks)` experts, the rest on no rank. */
function isContiguous({ numExperts, numRanks, rankOfExpert }: Partition): boolean {
  const numExpertsPerRank = Math.floor(numExperts / numRanks);
  return rankOfExpert.every((rank, expert) => {
    const expected = numExpertsPerRank === 0 ? numRanks : Math.floor(expert / numExpertsPerRank);
    return rank === (expected < numRanks ? expected : -1);
  });
}
