/**
 * Small routing, and what the documented rules of each project make of it. The numbers were worked out by hand; where an
 * example is the project's own, it says so.
 *
 * @module
 */
import type { ExpertOrderOptions } from 'dispatch-layout';

interface Vector {
  /** The project, and where its rule is documented. */
  readonly peer: string;
  readonly rule: string;
  readonly topkIdx: readonly (readonly number[])[];
  readonly numExperts: number;
  /** What the names of the project stand for. */
  readonly expected: Readonly<Record<string, readonly number[] | number>>;
}

export interface ExpertOrderVector extends Vector {
  readonly options?: ExpertOrderOptions;
}

export interface RankOrderVector extends Vector {
  readonly numRanks: number;
  readonly winner?: 'first' | 'last';
}

/** Three tokens, of four experts. Expert 2 has no selections. */
const threeTokens = {
  topkIdx: [
    [1, 0],
    [3, 1],
    [1, 3],
  ],
  numExperts: 4,
};

export const expertOrderVectors: readonly ExpertOrderVector[] = [
  {
    peer: 'vLLM, SGLang',
    rule: "the example in vLLM's doc comment of moe_align_block_size, whose ids go to 4",
    topkIdx: [
      [2, 3, 4],
      [1, 2, 4],
      [1, 3, 4],
      [1, 2, 3],
    ],
    numExperts: 5,
    options: { alignment: 4 },
    expected: {
      // The last 8 are behind num_tokens_post_padded
      sorted_token_ids: [3, 6, 9, 12, 0, 4, 10, 12, 1, 7, 11, 12, 2, 5, 8, 12, 12, 12, 12, 12, 12, 12, 12, 12],
      expert_ids: [1, 2, 3, 4, -1, -1],
      num_tokens_post_padded: 16,
    },
  },
  {
    peer: 'FlashInfer, TensorRT-LLM',
    rule: 'the rows of each expert are padded to a multiple of the tile, here 2, and -1 is in padding',
    ...threeTokens,
    options: { alignment: 2 },
    expected: {
      permuted_idx_to_expanded_idx: [1, -1, 0, 3, 4, -1, 2, 5, -1, -1],
      expanded_idx_to_permuted_idx: [2, 0, 6, 3, 4, 7],
      permuted_idx_to_token_idx: [0, -1, 0, 1, 2, -1, 1, 2, -1, -1],
      total_num_padded_tokens: 8,
      cta_idx_xy_to_batch_idx: [0, 1, 1, 3, -1],
    },
  },
  {
    peer: 'SGLang',
    rule: 'a stable sort of the ids: run_moe_ep_preproess',
    ...threeTokens,
    expected: {
      reorder_topk_ids: [0, 1, 1, 1, 3, 3],
      src2dst: [1, 0, 4, 2, 3, 5],
      seg_indptr: [0, 1, 4, 4, 6],
    },
  },
  {
    peer: 'MegaBlocks',
    rule: 'a sort of the ids; bins are inclusive sums of the counts: indices_and_bins',
    ...threeTokens,
    expected: {
      indices: [1, 0, 3, 4, 2, 5],
      bin_ids: [0, 1, 1, 1, 3, 3],
      bins: [1, 4, 4, 6],
      tokens_per_expert: [1, 3, 0, 2],
    },
  },
  {
    peer: 'MegaBlocks',
    rule: 'padded_bins are inclusive sums of the counts, rounded up to 128: indices_and_padded_bins',
    ...threeTokens,
    options: { alignment: 128 },
    expected: { padded_bins: [128, 256, 256, 384] },
  },
  {
    peer: 'ScatterMoE',
    rule: 'a sort of the ids; expert_offsets are inclusive sums of the counts: flatten_and_sort, padded_block_indices',
    ...threeTokens,
    expected: {
      sorted_expert_idxs: [0, 1, 1, 1, 3, 3],
      sorted_scattered_idxs: [1, 0, 3, 4, 2, 5],
      expert_offsets: [1, 4, 4, 6],
    },
  },
  {
    peer: 'llama.cpp',
    rule: 'columns of src1, one for each token, and of dst, one for each selection: mm_ids_helper',
    ...threeTokens,
    expected: {
      ids_src1: [0, 0, 1, 2, 1, 2],
      ids_dst: [1, 0, 3, 4, 2, 5],
      expert_bounds: [0, 1, 4, 4, 6],
    },
  },
  {
    peer: 'Megatron',
    rule: 'the tokens of each expert in order: permute, not fused',
    ...threeTokens,
    expected: {
      sorted_indices: [0, 0, 1, 2, 1, 2],
      tokens_per_expert: [1, 3, 0, 2],
    },
  },
  {
    peer: 'DeepGEMM',
    rule: 'the group of each row, -1 in padding; psum is the end of the rows of a group without their padding',
    ...threeTokens,
    options: { alignment: 4 },
    expected: {
      m_indices: [0, -1, -1, -1, 1, 1, 1, -1, 3, 3, -1, -1],
      psum_layout: [1, 7, 8, 10],
      masked_m: [1, 3, 0, 2],
    },
  },
  {
    peer: 'Mori',
    rule: 'the counts of the experts of rank 1, which has experts 2 and 3',
    ...threeTokens,
    options: { firstExpert: 2, numLocalExperts: 2 },
    expected: { local_expert_count: [0, 2] },
  },
  {
    peer: 'DeepEP V2',
    rule: 'received tokens with local ids, expert_alignment 4, do_expand: the doc comment of EPHandle',
    topkIdx: [
      [0, -1],
      [1, 0],
      [-1, 1],
    ],
    numExperts: 2,
    options: { alignment: 4 },
    expected: {
      psum_num_recv_tokens_per_expert: [2, 6],
      num_unaligned_recv_tokens_per_expert: [2, 2],
    },
  },
];

/** Ranks 0, 2 and 3 receive tokens. Both experts of token 2 are on rank 0. */
const threeTokensToRanks = {
  topkIdx: [
    [0, 5],
    [6, 4],
    [1, 0],
  ],
  numExperts: 8,
  numRanks: 4,
};

export const rankOrderVectors: readonly RankOrderVector[] = [
  {
    peer: 'FlashInfer, TensorRT-LLM',
    rule: 'the first slot of each target rank has the place in its part of the send buffer: moeA2ADispatchKernel',
    ...threeTokensToRanks,
    expected: {
      send_counters: [2, 0, 2, 1],
      topk_target_ranks: [0, 2, 3, 2, 0, -1],
      topk_send_indices: [0, 0, 0, 1, 1, -1],
    },
  },
  {
    peer: 'DeepEP V2',
    rule: 'the last slot of each target rank has the slot in its part of the buffer, for source rank 0: dispatch.cuh',
    ...threeTokensToRanks,
    winner: 'last',
    expected: { dst_buffer_slot_idx: [0, 0, 0, 1, -1, 1] },
  },
];
