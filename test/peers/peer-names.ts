/**
 * What other projects call the arrays of an order, each with the line of code that turns ours into theirs. The tables of
 * docs/permutations.md have the same lines, word for word; `peers.test.ts` compares them, and runs each line.
 *
 * @module
 */
import { type ExpertPermutation, expertEnds, expertOfBlock, expertOfRow, type RankPermutation } from 'dispatch-layout';

/** The names of one project, and the line of code for each. */
export type Names<Order> = Readonly<Record<string, (order: Order) => ArrayLike<number> | number>>;

/** Names of what `getExpertPermutation` computes. */
export const expertOrderNames: Readonly<Record<string, Names<ExpertPermutation>>> = {
  'vLLM, SGLang': {
    sorted_token_ids: (order) =>
      order.selectionOfRow.map((selection) => (selection < 0 ? order.rowOfSelection.length : selection)),
    expert_ids: (order) => expertOfBlock(order, order.alignment),
    num_tokens_post_padded: (order) => order.numRows,
  },
  'FlashInfer, TensorRT-LLM': {
    permuted_idx_to_expanded_idx: (order) => order.selectionOfRow,
    expanded_idx_to_permuted_idx: (order) => order.rowOfSelection,
    permuted_idx_to_token_idx: (order) =>
      order.selectionOfRow.map((selection) => Math.floor(selection / order.numTopk)),
    total_num_padded_tokens: (order) => order.numRows,
    cta_idx_xy_to_batch_idx: (order) => expertOfBlock(order, order.alignment),
  },
  SGLang: {
    reorder_topk_ids: (order) => expertOfRow(order),
    src2dst: (order) => order.rowOfSelection,
    seg_indptr: (order) => order.expertOffsets,
  },
  MegaBlocks: {
    indices: (order) => order.selectionOfRow,
    bin_ids: (order) => expertOfRow(order),
    bins: (order) => order.expertOffsets.subarray(1),
    padded_bins: (order) => order.expertOffsets.subarray(1),
    tokens_per_expert: (order) => order.numTokensPerExpert,
  },
  ScatterMoE: {
    sorted_expert_idxs: (order) => expertOfRow(order),
    sorted_scattered_idxs: (order) => order.selectionOfRow,
    expert_offsets: (order) => order.expertOffsets.subarray(1),
  },
  'llama.cpp': {
    ids_src1: (order) => order.selectionOfRow.map((selection) => Math.floor(selection / order.numTopk)),
    ids_dst: (order) => order.selectionOfRow,
    expert_bounds: (order) => order.expertOffsets,
  },
  Megatron: {
    sorted_indices: (order) => order.selectionOfRow.map((selection) => Math.floor(selection / order.numTopk)),
    tokens_per_expert: (order) => order.numTokensPerExpert,
  },
  DeepGEMM: {
    m_indices: (order) => expertOfRow(order).subarray(0, order.numRows),
    psum_layout: (order) => expertEnds(order),
    masked_m: (order) => order.numTokensPerExpert,
  },
  Mori: {
    local_expert_count: (order) => order.numTokensPerExpert,
  },
  'DeepEP V2': {
    psum_num_recv_tokens_per_expert: (order) => expertEnds(order),
    num_unaligned_recv_tokens_per_expert: (order) => order.numTokensPerExpert,
  },
};

/** Names of what `getRankPermutation` computes. */
export const rankOrderNames: Readonly<Record<string, Names<RankPermutation>>> = {
  'FlashInfer, TensorRT-LLM': {
    send_counters: (order) => order.numTokensPerRank,
    topk_target_ranks: (order) =>
      order.rowOfSelection.map((row) => order.rankOffsets.filter((first) => first <= row).length - 1),
    topk_send_indices: (order) =>
      order.rowOfSelection.map((row) => row - Math.max(0, ...order.rankOffsets.filter((first) => first <= row))),
  },
  'DeepEP V2': {
    dst_buffer_slot_idx: (order) =>
      order.rowOfSelection.map((row) => row - Math.max(0, ...order.rankOffsets.filter((first) => first <= row))),
  },
};
