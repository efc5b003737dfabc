/**
 * The dispatch of a whole group, computed in one process: what each rank sends and receives.
 *
 * @module
 */
import { ComputingGroup } from './computing-group.ts';
import { allocateInt32 } from './errors/allocate.ts';
import { checkOptions, wrongValue } from './errors/checks.ts';
import { DispatchLayoutError } from './errors/errors.ts';
import { expertsByRank, type Partition } from './input/partition.ts';
import { readTopkIdx, type TopkIdxInput } from './input/read-topk-idx.ts';
import { TopkIdx } from './input/topk-idx.ts';
import type { DispatchLayout } from './layout/layout.ts';
import type { RankOrderOptions, RankPermutation } from './layout/rank-permutation.ts';
import { isGpuTensor } from './layout/tensors.ts';
import { type CallOptions, type ExpertGroupOptions, groupOptions } from './options.ts';
import { rankOrderOptions } from './order-options.ts';
import { rankTask } from './order-tasks.ts';
import { type LocatedIds, locateIds } from './receive/located-ids.ts';
import { receiveLayoutOf } from './receive/receive-layout.ts';
import { type ReceivedTokens, receivedTokens, type SourceRank } from './receive/received-tokens.ts';
import { arrivalsAt } from './receive/sent.ts';
import { type ReceiveOptions, readReceiveOptions, receiveOptions } from './receive-options.ts';
import { layoutTask } from './task.ts';

/** Options of {@link simulateDispatch}: those of the group, of its calls, and of what ranks receive. */
export interface SimulationOptions
  extends Omit<ExpertGroupOptions, 'numRanks'>,
    Pick<CallOptions, 'emptyId'>,
    ReceiveOptions,
    RankOrderOptions {
  /** The number of ranks. If it is given, it must be the length of `topkIdxOfRanks`, which is the default. */
  readonly numRanks?: number | undefined;
}

const simulationOptions: Readonly<Record<keyof SimulationOptions, true>> = {
  ...groupOptions,
  emptyId: true,
  ...receiveOptions,
  ...rankOrderOptions,
};

/** One rank of a simulated dispatch. */
export interface SimulatedRank {
  /** What it is about to send, as its own `getDispatchLayout` says. */
  readonly layout: DispatchLayout;
  /** The order in which it sends, as its own `getRankPermutation` says. */
  readonly rankPermutation: RankPermutation;
  /** What it receives. */
  readonly received: ReceivedTokens;
}

/** The dispatch of a whole group. */
export interface SimulatedDispatch {
  /**
   * `[numRanks]`: each rank. An element is computed whenever it is read, and not kept, so that the ranks of a large group
   * are not in memory at once: keep what you read.
   */
  readonly ranks: readonly SimulatedRank[];
  /** `[numRanks, numRanks]` int32, row-major: the tokens that each source rank (row) sends to each rank. */
  readonly numTokensBetweenRanks: Int32Array;
  /**
   * `[numRdmaRanks, numRdmaRanks]` int32, row-major: the tokens that the ranks of each node (row) send to each node. A
   * token counts once for each node that it goes to, its own included.
   */
  readonly numTokensBetweenNodes: Int32Array;
}

/**
 * Computes the dispatch of a whole group in one process: an oracle for what a cluster does. The order of what a rank
 * receives is (source rank, token), and the order by expert of it (expert, source rank, token, slot), as in DeepEP V2
 * (deterministic), hybrid-ep, NCCL EP and Megatron.
 *
 * ```ts
 * import { getExpertPermutation, simulateDispatch } from 'dispatch-layout';
 *
 * const { ranks, numTokensBetweenRanks } = simulateDispatch([[[0, 3], [1, 0]], [[2, 0]]], 4);
 * console.log(numTokensBetweenRanks.join(' ')); // 2 1 1 1
 *
 * const { received } = ranks[0];
 * console.log(received.sourceRankOfRow.join(' ')); // 0 0 1
 * console.log(received.topkIdx.data.join(' ')); // 0 -1 1 0 -1 0
 * const order = getExpertPermutation(received.topkIdx, received.numLocalExperts);
 * console.log(order.expertOffsets.join(' ')); // 0 3 4
 * ```
 *
 * The ids are copied, 4 bytes for each, so the arrays may be used for something else afterwards.
 *
 * @param topkIdxOfRanks `[numRanks]`: the `topkIdx` of each rank, in any form on the host. Ranks may have different
 *   numbers of tokens, 0 too, but the same number of slots.
 * @param numExperts the number of experts over all ranks.
 * @throws {@link InvalidExpertError} for the first id that is neither empty nor an expert, unless such ids are ignored.
 * @throws {@link DispatchLayoutError} `TOPK_TYPE`, `TOPK_SHAPE`, `DETACHED_BUFFER`, `NUM_EXPERTS`, `NUM_RANKS`,
 *   `NUM_RANKS_PER_NODE`, `UNEVEN_EXPERTS`, `PLACEMENT`, `OPTION`, `ENVIRONMENT`, `TOO_LARGE`, `OUT_OF_MEMORY`; those of
 *   an id or a shape say of which rank it is
 * @throws {@link DeviceUnavailableError} if `device` names a device that cannot be used here.
 */
export function simulateDispatch(
  topkIdxOfRanks: readonly TopkIdxInput[],
  numExperts: number,
  options: SimulationOptions = {},
): SimulatedDispatch {
  checkOptions(options, simulationOptions);
  const { numRanksPerNode, placement, device, emptyId, winner } = options;
  const { alignment, isStrict } = readReceiveOptions(options);
  const numRanks = readNumRanks(topkIdxOfRanks, options.numRanks);
  const computing = new ComputingGroup({ numRanks, numRanksPerNode, placement, device });
  const partition = computing.partitionFor(numExperts, isStrict, true);
  // The copies of the ids have no invalid ones. This lets experts be on no rank, if that was allowed
  const callOptions = { invalidExperts: isStrict ? 'throw' : 'ignore' } as const;
  const layoutOf = (ids: LocatedIds, mask: 'bytes' | 'none') =>
    computing.compute(layoutTask, ids, numExperts, { ...callOptions, mask }) as DispatchLayout;
  const orderOptions = { ...callOptions, winner };
  const rankPermutationOf = (ids: LocatedIds) =>
    computing.compute(rankTask, ids, numExperts, orderOptions) as RankPermutation;

  const sources: SourceRank[] = [];
  const numTokensPerRank = allocateInt32(numRanks ** 2, `the counts between ${numRanks} ranks`, remedy);
  const numTokensPerExpert = allocateInt32(numRanks * numExperts, `the counts of ${numRanks} ranks`, remedy);
  for (let rank = 0; rank < numRanks; rank++) {
    namingRank(rank, () => {
      const ids = readIds(topkIdxOfRanks[rank], numExperts, emptyId, isStrict);
      const order = rankPermutationOf(ids);
      numTokensPerRank.set(order.numTokensPerRank, rank * numRanks);
      numTokensPerExpert.set(layoutOf(ids, 'none').numTokensPerExpert, rank * numExperts);
      sources.push({ ids, rankOffsets: order.rankOffsets, tokenOfRow: order.tokenOfRow.slice(0, order.numRows) });
    });
  }
  const numTopk = checkNumTopk(sources);

  const rankAt = (rank: number): SimulatedRank => {
    const { ids } = sources[rank];
    const arrivals = arrivalsAt(rank, { numTokensPerRank, numTokensPerExpert }, partition, alignment);
    return {
      layout: layoutOf(ids, 'bytes'),
      rankPermutation: rankPermutationOf(ids),
      received: receivedTokens(receiveLayoutOf(arrivals), sources, numTopk, localExpertsOf(rank, partition)),
    };
  };
  return {
    ranks: computedWhenRead(numRanks, rankAt),
    // A copy, so that what callers write to it changes nothing here
    numTokensBetweenRanks: numTokensPerRank.slice(),
    numTokensBetweenNodes: tokensBetweenNodes(sources, partition),
  };
}

const remedy = 'Simulate fewer ranks.';

/** @throws DispatchLayoutError `OPTION` */
function readNumRanks(topkIdxOfRanks: readonly TopkIdxInput[], numRanks: number | undefined): number {
  if (!Array.isArray(topkIdxOfRanks)) {
    throw wrongValue('OPTION', 'topkIdxOfRanks', topkIdxOfRanks, 'Pass an array with the topkIdx of each rank.');
  }
  const { length } = topkIdxOfRanks;
  if (numRanks === undefined || numRanks === length) return length;
  const rule = `It must be the length of topkIdxOfRanks, ${length}. For a rank without tokens, pass an empty array.`;
  throw wrongValue('OPTION', 'numRanks', numRanks, rule);
}

function readIds(
  input: TopkIdxInput,
  numExperts: number,
  emptyId: CallOptions['emptyId'],
  isStrict: boolean,
): LocatedIds {
  if (isGpuTensor(input)) {
    throw wrongValue('TOPK_TYPE', 'topkIdx', input, 'It is on a GPU: copy it to the host, by toTypedArray().');
  }
  const topkIdx = new TopkIdx();
  readTopkIdx(input, topkIdx, emptyId);
  return locateIds(topkIdx, numExperts, isStrict);
}

/** Runs what is done for one rank. An error of it says which rank it was. */
function namingRank(rank: number, run: () => void): void {
  try {
    run();
  } catch (error) {
    if (error instanceof DispatchLayoutError) error.message = `rank ${rank}: ${error.message}`;
    throw error;
  }
}

/**
 * Checks that all ranks have the same number of slots, and returns it. A rank without tokens may have none.
 *
 * @throws DispatchLayoutError `TOPK_SHAPE`
 */
function checkNumTopk(sources: readonly SourceRank[]): number {
  const first = sources.findIndex(({ ids }) => ids.shape[1] > 0);
  if (first === -1) return 0;
  const numTopk = sources[first].ids.shape[1];
  for (const [rank, { ids }] of sources.entries()) {
    const { shape } = ids;
    if (shape[1] === numTopk || (shape[0] === 0 && shape[1] === 0)) continue;
    const problem = `the topkIdx of rank ${rank} is [${shape.join(', ')}], and that of rank ${first} has ${numTopk} slots`;
    throw new DispatchLayoutError('TOPK_SHAPE', problem, {
      value: shape[1],
      remedy: 'Give the tokens of all ranks the same number of slots; fill empty ones with -1.',
    });
  }
  return numTopk;
}

/** For each expert its number among those of a rank, -1 for the experts of other ranks. */
function localExpertsOf(rank: number, partition: Partition): Int32Array {
  const { offsets, experts } = expertsByRank(partition);
  const localExpertOf = new Int32Array(partition.numExperts).fill(-1);
  for (const [local, expert] of experts.subarray(offsets[rank], offsets[rank + 1]).entries()) {
    localExpertOf[expert] = local;
  }
  return localExpertOf;
}

/** Counts each token of each node once for every node that it goes to. */
function tokensBetweenNodes(sources: readonly SourceRank[], { numRanksPerNode, numRdmaRanks }: Partition): Int32Array {
  const counts = allocateInt32(numRdmaRanks ** 2, `the counts between ${numRdmaRanks} nodes`, remedy);
  for (const [source, { ids, rankOffsets, tokenOfRow }] of sources.entries()) {
    const firstCount = Math.floor(source / numRanksPerNode) * numRdmaRanks;
    const lastNodeOfToken = new Int32Array(ids.shape[0]).fill(-1);
    // The rows are in the order of ranks, and so those of a node lie one after the other
    for (let rank = 0; rank < sources.length; rank++) {
      const node = Math.floor(rank / numRanksPerNode);
      for (let row = rankOffsets[rank]; row < rankOffsets[rank + 1]; row++) {
        const token = tokenOfRow[row];
        if (lastNodeOfToken[token] === node) continue;
        lastNodeOfToken[token] = node;
        counts[firstCount + node]++;
      }
    }
  }
  return counts;
}

/** An array of which each element is computed whenever it is read. */
function computedWhenRead<Element>(length: number, compute: (index: number) => Element): readonly Element[] {
  const elements: Element[] = [];
  for (let index = 0; index < length; index++) {
    Object.defineProperty(elements, index, { enumerable: true, get: () => compute(index) });
  }
  return Object.freeze(elements);
}
