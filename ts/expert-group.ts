/**
 * The group of ranks that experts are spread over: the counterpart of DeepEP's `Buffer`.
 *
 * @module
 */
import { chooseDevice, chooseStreamsDevice, streamsInUse } from './choose-device.ts';
import { ComputingGroup, tensorDevice } from './computing-group.ts';
import type {
  DeviceDispatchLayout,
  DeviceExpertPermutation,
  DeviceRankPermutation,
} from './devices/cuda/device-layout.ts';
import type { DeviceTensor } from './devices/cuda/device-tensor.ts';
import type { DeviceWorkspace, DeviceWorkspaceOptions } from './devices/cuda/device-workspace.ts';
import type { Stream } from './devices/cuda/stream.ts';
import type { DeviceName } from './errors/availability.ts';
import { checkOptions, readStrictness, wrongValue } from './errors/checks.ts';
import { type AllToAll, type ExchangedLayout, exchangeCounts } from './exchange.ts';
import type { TopkIdxInput } from './input/read-topk-idx.ts';
import { EventOverlap, finishedHandle } from './layout/event-overlap.ts';
import type { ExpertPermutation } from './layout/expert-permutation.ts';
import type { DispatchLayout } from './layout/layout.ts';
import type { MaskForm } from './layout/outputs.ts';
import type { RankPermutation } from './layout/rank-permutation.ts';
import { isGpuTensor } from './layout/tensors.ts';
import { type DeviceLayoutOptions, type ExpertGroupOptions, type LayoutOptions, layoutOptions } from './options.ts';
import {
  type DeviceExpertPermutationOptions,
  type DeviceRankPermutationOptions,
  type ExpertPermutationOptions,
  expertPermutationOptions,
  type RankPermutationOptions,
  rankPermutationOptions,
  readWorkspaceOrders,
} from './order-options.ts';
import { expertTask, rankTask } from './order-tasks.ts';
import { type ReceiveLayout, receiveLayoutOf } from './receive/receive-layout.ts';
import { arrivalsAt, type Sent } from './receive/sent.ts';
import { type ReceiveOptions, readReceiveOptions, receiveOptions } from './receive-options.ts';
import { layoutTask } from './task.ts';
import type { IdType } from './values/id-types.ts';
import { Workspace, type WorkspaceOptions, workspaceOptions } from './workspace.ts';

/**
 * Computes layouts for one group of ranks. It keeps the device, the communication stream and the tables, so that
 * repeated calls with the same `numExperts` prepare nothing anew.
 *
 * ```ts
 * import { ExpertGroup } from 'dispatch-layout';
 *
 * const group = new ExpertGroup({ numRanks: 16 });
 * const ids = new BigInt64Array(4096 * 8);
 * const layout = group.getDispatchLayout({ data: ids, shape: [4096, 8] }, 256);
 * console.log(layout.numTokensPerRdmaRank?.join(' ')); // 4096 0
 * ```
 */
export class ExpertGroup {
  readonly #computing: ComputingGroup;

  /**
   * @throws {@link DispatchLayoutError} `NUM_RANKS`, `NUM_RANKS_PER_NODE`, `PLACEMENT`, `OPTION`, `ENVIRONMENT`
   * @throws {@link DeviceUnavailableError} if `device` names a device that cannot be used here.
   */
  constructor(options: ExpertGroupOptions) {
    this.#computing = new ComputingGroup(options);
  }

  /** The number of ranks in the group. */
  get numRanks(): number {
    return this.#computing.group.numRanks;
  }

  /** The number of ranks that share a node. */
  get numRanksPerNode(): number {
    return this.#computing.group.numRanksPerNode;
  }

  /** The number of nodes; 1 within one node, where `numTokensPerRdmaRank` is `null`. */
  get numRdmaRanks(): number {
    return this.#computing.group.numRdmaRanks;
  }

  /**
   * The device that computes what is in host arrays. With `auto`, the GPU may compute the layouts of large arrays, and
   * it computes what is in tensors.
   */
  get device(): DeviceName {
    return this.#computing.device.name;
  }

  /**
   * Computes the layout of what this rank is about to dispatch: how many tokens go to each rank, to each RDMA rank and
   * to each expert, and which token goes to which rank. The semantics are those of DeepEP's
   * `Buffer.get_dispatch_layout`.
   *
   * For a `DeviceTensor`, the results are DeviceTensors; nothing is copied, and nothing is waited for. An invalid id is
   * then reported by the next synchronisation: the event's `wait()`, a copy of a result to the host, or the next call.
   *
   * @param topkIdx `[numTokens, numTopk]` integers: the expert of each slot of each token, -1 for none.
   * @param numExperts the number of experts over all ranks.
   * @throws {@link InvalidExpertError} for the first id that is neither empty nor an expert, unless such ids are
   *   ignored.
   * @throws {@link DispatchLayoutError} `TOPK_TYPE`, `TOPK_SHAPE`, `DETACHED_BUFFER`, `NUM_EXPERTS`, `UNEVEN_EXPERTS`,
   *   `PLACEMENT`, `OUT`, `OPTION`, `EVENT_FLAGS`, `TOO_LARGE`, `OUT_OF_MEMORY`, `CUDA_ERROR`, `DISPOSED`
   */
  getDispatchLayout<Mask extends MaskForm = 'bytes'>(
    topkIdx: DeviceTensor,
    numExperts: number,
    options?: DeviceLayoutOptions<Mask>,
  ): DeviceDispatchLayout<Mask>;
  getDispatchLayout<Mask extends MaskForm = 'bytes'>(
    topkIdx: TopkIdxInput,
    numExperts: number,
    options?: LayoutOptions<Mask>,
  ): DispatchLayout<Mask>;
  getDispatchLayout(
    topkIdx: TopkIdxInput | DeviceTensor,
    numExperts: number,
    options: LayoutOptions<MaskForm> | DeviceLayoutOptions<MaskForm> = {},
  ): DispatchLayout<MaskForm> | DeviceDispatchLayout<MaskForm> {
    checkOptions(options, layoutOptions);
    return this.#computing.compute(layoutTask, topkIdx, numExperts, options) as DispatchLayout<MaskForm>;
  }

  /**
   * Orders selections by expert, as a grouped GEMM reads its rows: this rank's own selections, or those of the tokens
   * that it has received. The order is (expert, token, slot) on every device. The ranks and the placement of the group
   * do not matter. The contract is that of docs/permutations.md, which also says what others call these arrays.
   *
   * ```ts
   * import { ExpertGroup } from 'dispatch-layout';
   *
   * const group = new ExpertGroup({ numRanks: 4 });
   * const order = group.getExpertPermutation([[0, 5], [6, -1], [5, 0]], 8, { alignment: 2 });
   * console.log(order.numRows, order.selectionOfRow.subarray(0, order.numRows).join(' ')); // 6 0 5 1 4 2 -1
   * ```
   *
   * For a `DeviceTensor`, the results are DeviceTensors; nothing is copied, and nothing is waited for, not even for
   * `numRows`, which is then null.
   *
   * @param topkIdx `[numTokens, numTopk]` integers: the expert of each slot of each token, -1 for none.
   * @param numExperts the number of experts that ids may name.
   * @throws {@link InvalidExpertError} for the first id that is neither empty nor an expert, unless such ids are
   *   ignored.
   * @throws {@link DispatchLayoutError} `TOPK_TYPE`, `TOPK_SHAPE`, `DETACHED_BUFFER`, `NUM_EXPERTS`, `OUT`, `OPTION`,
   *   `EVENT_FLAGS`, `TOO_LARGE` if int32 cannot number all rows, `OUT_OF_MEMORY`, `CUDA_ERROR`, `DISPOSED`
   */
  getExpertPermutation(
    topkIdx: DeviceTensor,
    numExperts: number,
    options?: DeviceExpertPermutationOptions,
  ): DeviceExpertPermutation;
  getExpertPermutation(
    topkIdx: TopkIdxInput,
    numExperts: number,
    options?: ExpertPermutationOptions,
  ): ExpertPermutation;
  getExpertPermutation(
    topkIdx: TopkIdxInput | DeviceTensor,
    numExperts: number,
    options: ExpertPermutationOptions | DeviceExpertPermutationOptions = {},
  ): ExpertPermutation | DeviceExpertPermutation {
    checkOptions(options, expertPermutationOptions);
    return this.#computing.compute(expertTask, topkIdx, numExperts, options) as ExpertPermutation;
  }

  /**
   * Orders tokens by rank, as this rank sends them: (rank, token), a token once for each rank that it goes to. The order
   * is the same on every device. The contract is that of docs/permutations.md.
   *
   * ```ts
   * import { ExpertGroup } from 'dispatch-layout';
   *
   * const group = new ExpertGroup({ numRanks: 4 });
   * const order = group.getRankPermutation([[0, 5], [6, -1], [1, 0]], 8);
   * console.log(order.tokenOfRow.subarray(0, order.numRows).join(' ')); // 0 2 0 1
   * console.log(order.rowOfSelection.join(' ')); // 0 2 3 -1 1 -1
   * ```
   *
   * For a `DeviceTensor`, the results are DeviceTensors, and `numRows` is null.
   *
   * @param topkIdx `[numTokens, numTopk]` integers: the expert of each slot of each token, -1 for none.
   * @param numExperts the number of experts over all ranks.
   * @throws {@link InvalidExpertError} for the first id that is neither empty nor an expert, unless such ids are
   *   ignored.
   * @throws {@link DispatchLayoutError} `TOPK_TYPE`, `TOPK_SHAPE`, `DETACHED_BUFFER`, `NUM_EXPERTS`, `UNEVEN_EXPERTS`,
   *   `PLACEMENT`, `OUT`, `OPTION`, `EVENT_FLAGS`, `TOO_LARGE`, `OUT_OF_MEMORY`, `CUDA_ERROR`, `DISPOSED`
   */
  getRankPermutation(
    topkIdx: DeviceTensor,
    numExperts: number,
    options?: DeviceRankPermutationOptions,
  ): DeviceRankPermutation;
  getRankPermutation(topkIdx: TopkIdxInput, numExperts: number, options?: RankPermutationOptions): RankPermutation;
  getRankPermutation(
    topkIdx: TopkIdxInput | DeviceTensor,
    numExperts: number,
    options: RankPermutationOptions | DeviceRankPermutationOptions = {},
  ): RankPermutation | DeviceRankPermutation {
    checkOptions(options, rankPermutationOptions);
    return this.#computing.compute(rankTask, topkIdx, numExperts, options) as RankPermutation;
  }

  /**
   * Computes what a rank receives, from what all ranks of the group send: how many tokens from each rank, and where the
   * rows of each local expert lie. DeepEP computes a part of it in `notify_dispatch`. It is a pure function, and needs no
   * device. Where each rank only knows its own layout, use {@link ExpertGroup.exchange}.
   *
   * ```ts
   * import { ExpertGroup } from 'dispatch-layout';
   *
   * const group = new ExpertGroup({ numRanks: 2 });
   * const sent = [[[0, 3], [1, 0]], [[2, 0]]].map((topkIdx) => group.getDispatchLayout(topkIdx, 4));
   * const received = group.getReceiveLayout(sent, 4, 0);
   * console.log(received.numTokensPerSourceRank.join(' ')); // 2 1
   * console.log(received.numTokensPerExpert.join(' ')); // 3 1
   * ```
   *
   * @param sent the layout of each source rank, in the order of ranks, or the counts of all of them, gathered in two
   *   arrays: `numTokensPerRank` `[numRanks, numRanks]` and `numTokensPerExpert` `[numRanks, numExperts]`, row-major by
   *   source rank. They must be on the host, and finished.
   * @param numExperts the number of experts over all ranks.
   * @param rank the rank that receives.
   * @throws {@link DispatchLayoutError} `SENT`, `DETACHED_BUFFER`, `NUM_EXPERTS`, `UNEVEN_EXPERTS`, `PLACEMENT`,
   *   `OPTION`, `TOO_LARGE` if int32 cannot number the received tokens or the rows, `OUT_OF_MEMORY`
   */
  getReceiveLayout(sent: Sent, numExperts: number, rank: number, options: ReceiveOptions = {}): ReceiveLayout {
    checkOptions(options, receiveOptions);
    const { alignment, isStrict } = readReceiveOptions(options);
    const partition = this.#computing.partitionFor(numExperts, isStrict, true);
    if (!Number.isInteger(rank) || rank < 0 || rank >= partition.numRanks) {
      throw wrongValue('OPTION', 'rank', rank, `It must be a rank in [0, ${partition.numRanks}).`);
    }
    return receiveLayoutOf(arrivalsAt(rank, sent, partition, alignment));
  }

  /**
   * Exchanges counts with the other ranks of the group, and computes what this rank receives. Every rank calls it with
   * its own layout. The program says how bytes move, by MPI for instance; see `examples/mpi-moe`. There is one round:
   * each rank sends a few bytes to every other one.
   *
   * If ranks disagree on `numExperts`, the alignment, or the options of their groups, it rejects on each of them, and
   * says which rank differs in what. If `allToAll` rejects, it rejects with the same error. The counts of a layout in
   * tensors are copied to the host first.
   *
   * ```ts
   * import { ExpertGroup } from 'dispatch-layout';
   *
   * const group = new ExpertGroup({ numRanks: 1 }); // alone, a rank sends to itself
   * const layout = group.getDispatchLayout([[0, 3], [1, 0]], 4);
   * const received = await group.exchange(layout, async (bytes) => bytes, { alignment: 4 });
   * console.log(received.expertOffsets.join(' ')); // 0 4 8 8 12
   * ```
   *
   * @param layout what this rank is about to send.
   * @param allToAll moves a piece of bytes from each rank to each rank.
   * @throws {@link DispatchLayoutError} (as a rejection) `EXCHANGE`, `SENT`, `DETACHED_BUFFER`, `NUM_EXPERTS`,
   *   `UNEVEN_EXPERTS`, `PLACEMENT`, `OPTION`, `TOO_LARGE`, `OUT_OF_MEMORY`; for tensors also `CUDA_ERROR`, `DISPOSED`
   * @throws {@link InvalidExpertError} (as a rejection) if the layout was one of tensors, and had such an id.
   */
  async exchange(layout: ExchangedLayout, allToAll: AllToAll, options: ReceiveOptions = {}): Promise<ReceiveLayout> {
    checkOptions(options, receiveOptions);
    return exchangeCounts(this.#computing, layout, allToAll, options);
  }

  /**
   * Makes a workspace: arrays in which this group computes layouts without copies and without allocations.
   *
   * With a `DeviceTensor` as `topkIdx`, it is a workspace of tensors, on the GPU where `topkIdx` is.
   *
   * @throws {@link DispatchLayoutError} `NUM_EXPERTS`, `UNEVEN_EXPERTS`, `PLACEMENT`, `OPTION`, `TOO_LARGE`,
   *   `OUT_OF_MEMORY`; for tensors also `TOPK_SHAPE`, `OUT`, `DISPOSED`
   */
  createWorkspace<Mask extends MaskForm = 'bytes'>(options: DeviceWorkspaceOptions<Mask>): DeviceWorkspace<Mask>;
  createWorkspace<Type extends IdType = 'int64', Mask extends MaskForm = 'bytes'>(
    options: WorkspaceOptions<Type, Mask>,
  ): Workspace<Type, Mask>;
  createWorkspace<Type extends IdType, Mask extends MaskForm>(
    options: WorkspaceOptions<Type, Mask> | DeviceWorkspaceOptions<Mask>,
  ): Workspace<Type, Mask> | DeviceWorkspace<Mask> {
    const computing = this.#computing;
    if (IS_NODE && isOfTensors(options)) {
      checkOptions(options, tensorWorkspaceOptions);
      const { topkIdx, numExperts } = options;
      const { streams } = tensorDevice(undefined, computing.option, topkIdx);
      const request = computing.tensorRequest(layoutTask, topkIdx, numExperts, options);
      const { byExpert, byRank } = readWorkspaceOrders(options, numExperts);
      const orders = [byExpert, byRank].filter((order) => order !== null);
      return streams.createWorkspace(request, orders) as DeviceWorkspace<Mask>;
    }
    const ofArrays = options as WorkspaceOptions<Type, Mask>;
    const { numExperts, invalidExperts } = checkOptions(ofArrays, workspaceOptions);
    const isStrict = readStrictness(invalidExperts);
    return new Workspace(computing.device, computing.partitionFor(numExperts, isStrict, true), isStrict, ofArrays);
  }

  /**
   * Records an event on the current stream, to pass as `previousEvent`: the counterpart of DeepEP's `Buffer.capture`.
   */
  capture(): EventOverlap {
    // The current stream belongs to the process. It may hold work before this group has computed anything
    const streams = IS_NODE ? streamsInUse(this.#computing.option) : undefined;
    return new EventOverlap(streams?.capture(this.#computing.option === 'auto') ?? finishedHandle);
  }

  /**
   * The stream on which the layouts of this group run: the counterpart of DeepEP's `get_comm_stream`. Its priority is
   * high. With `device: 'auto'`, it is that of the first GPU.
   *
   * @throws {@link DeviceUnavailableError} if there is no GPU here.
   * @throws {@link DispatchLayoutError} `OPTION` if the group's device is a CPU; `CUDA_ERROR`
   */
  get communicationStream(): Stream {
    // Where there is no device with streams, asking for one throws the error that says why
    const device = IS_NODE ? chooseStreamsDevice(this.#computing.option) : chooseDevice('cuda');
    return device.streams?.communicationStream(this.#computing.group) as Stream;
  }
}

const tensorWorkspaceOptions: Readonly<Record<keyof DeviceWorkspaceOptions, true>> = {
  topkIdx: true,
  numExperts: true,
  out: true,
  invalidExperts: true,
  emptyId: true,
  mask: true,
  expertPermutation: true,
  rankPermutation: true,
};

function isOfTensors<Mask extends MaskForm>(options: object): options is DeviceWorkspaceOptions<Mask> {
  return isGpuTensor((options as Partial<DeviceWorkspaceOptions> | null)?.topkIdx);
}
