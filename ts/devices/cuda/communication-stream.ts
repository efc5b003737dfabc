/**
 * The communication stream of each group, and what is kept for the layouts on it.
 *
 * @module
 */
import { noRank, type Partition, type RankGroup } from '../../input/partition.ts';
import type { ComputationKind } from '../../layout/outputs.ts';
import type { GroupHandle, PlanHandle } from './addon.ts';
import { type CheckedIds, IdCheck } from './id-check.ts';
import { addonInUse, cudaAddon, type Gpu, useGpu } from './runtime.ts';
import { Stream } from './stream.ts';

const streams = new WeakMap<RankGroup, CommunicationStream[]>();

/**
 * The communication stream of a group on a GPU. It is created for the group's first layout there, and collected together
 * with the group.
 */
export function communicationStreamOf(group: RankGroup, gpu: Gpu): CommunicationStream {
  let ofGroup = streams.get(group);
  if (ofGroup === undefined) {
    ofGroup = [];
    streams.set(group, ofGroup);
  }
  ofGroup[gpu.ordinal] ??= new CommunicationStream(gpu);
  return ofGroup[gpu.ordinal];
}

/** The largest number of plans that are kept for a group. When it is reached, all of them are dropped. */
const maxPlans = 8;

/** The number of checks that are kept: twice as many as the addon lets be under way. */
const maxChecks = 512;

/** The stream of a group on a GPU, and the order of its layouts, which run one after the other. */
export class CommunicationStream {
  readonly native: GroupHandle;
  readonly #gpu: Gpu;
  #stream: Stream | undefined;
  /**
   * The checks of the last layouts of tensors, each at the remainder of its number. They are kept here because it may be
   * that nobody ever waits for such a layout.
   */
  readonly #checks: IdCheck[] = [];
  /**
   * The plans by number of experts: the partitions of one group differ in nothing else. Those of orders by expert, for
   * which ranks do not matter, are by its negative.
   */
  readonly #plans = new Map<number, PlanHandle>();

  constructor(gpu: Gpu) {
    this.native = cudaAddon().createGroup(gpu.ordinal);
    this.#gpu = gpu;
    useGpu(gpu);
  }

  /** The stream, as users see it. */
  get stream(): Stream {
    this.#stream ??= new Stream({}, { native: addonInUse().streamOfGroup(this.native), gpu: this.#gpu });
    return this.#stream;
  }

  /**
   * Returns the plan of a partition, which holds its tables on the GPU. A few plans are kept, since a model may have
   * layers with different numbers of experts, which take turns.
   */
  planFor(partition: Partition, kind: ComputationKind): PlanHandle {
    const { numExperts, numRanks, numRdmaRanks, rankOfExpert } = partition;
    const key = kind === 'byExpert' ? -numExperts : numExperts;
    const existing = this.#plans.get(key);
    if (existing !== undefined) return existing;
    const plan = cudaAddon().createPlan({
      group: this.native,
      numExperts,
      numRanks,
      numNodes: numRdmaRanks,
      rankOfExpert: isContiguous(partition) ? null : rankOfExpert,
    });
    if (this.#plans.size === maxPlans) this.#plans.clear();
    this.#plans.set(key, plan);
    return plan;
  }

  /**
   * Keeps the check of a layout that was queued, for a later layout to report what it has found, if nobody has asked by
   * then.
   *
   * @param number the number that the addon has given the layout.
   * @returns the check; undefined if the number is 0, which means that the ids are not checked.
   */
  remember(number: number, ids: CheckedIds): IdCheck | undefined {
    if (number === 0) return undefined;
    const check = new IdCheck(this.native, number, ids);
    this.#checks[number % maxChecks] = check;
    return check;
  }

  /**
   * Reports what earlier layouts of tensors have found, as far as they are done and have not been reported.
   *
   * @throws InvalidExpertError
   */
  reportEarlier(): void {
    if (this.#checks.length > 0) this.report(addonInUse().firstUnreported(this.native));
  }

  /**
   * Reports what the layout with this number has found.
   *
   * @throws InvalidExpertError
   */
  report(number: number): void {
    if (number > 0) this.#checks[number % maxChecks].assertValid(true);
  }
}

/**
 * Whether the kernel can compute the table by itself: each rank has a block of `floor(numExperts / numRanks)` experts,
 * and the rest are on no rank.
 */
function isContiguous({ numExperts, numRanks, rankOfExpert }: Partition): boolean {
  const numExpertsPerRank = Math.floor(numExperts / numRanks);
  return rankOfExpert.every((rank, expert) => {
    const expected = numExpertsPerRank === 0 ? numRanks : Math.floor(expert / numExpertsPerRank);
    return rank === (expected < numRanks ? expected : noRank);
  });
}
