/**
 * What other projects call what a rank receives, each with the line of code that turns ours into theirs. The table of
 * docs/receive.md has the same lines, word for word; `peers.test.ts` compares them, and runs each line.
 *
 * @module
 */
import type { ReceivedTokens } from 'dispatch-layout';
import type { Names } from './peer-names.ts';

/** Names of what `simulateDispatch` says that a rank receives. All but those of single tokens are in a receive layout. */
export const receivedNames: Readonly<Record<string, Names<ReceivedTokens>>> = {
  'DeepEP V1': {
    moe_recv_counter: (received) => received.numTokens,
    'rank_prefix_matrix[:, rank]': (received) => received.sourceRankOffsets.subarray(1),
    num_recv_tokens_per_expert_list: (received) =>
      received.expertOffsets.subarray(1).map((end, expert) => end - received.expertOffsets[expert]),
    recv_topk_idx: (received) => received.topkIdx.data,
    recv_src_idx: (received) => received.sourceTokenOfRow,
  },
  'DeepEP V2': {
    psum_num_recv_tokens_per_scaleup_rank: (received) => received.sourceRankOffsets.subarray(1),
    psum_num_recv_tokens_per_expert: (received) => received.expertOffsets.subarray(1),
    num_unaligned_recv_tokens_per_expert: (received) => received.numTokensPerExpert,
    num_recv_tokens_per_rank: (received) => received.numTokensPerSourceRank,
    recv_topk_idx: (received) => received.topkIdx.data,
  },
  'NCCL EP': {
    expert_counters: (received) =>
      received.expertOffsets.subarray(1).map((end, expert) => end - received.expertOffsets[expert]),
    expert_offsets: (received) => received.expertOffsets.subarray(0, -1),
    recv_total: (received) => received.numRows,
  },
  Megatron: {
    num_global_tokens_per_local_expert: (received) => received.numTokensPerSourceRankAndExpert,
    tokens_per_expert: (received) => received.numTokensPerExpert,
  },
  Mori: {
    local_expert_count: (received) => received.numTokensPerExpert,
    total_recv: (received) => received.numTokens,
  },
};
