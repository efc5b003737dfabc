/**
 * A small group, and what the documented rules of each project make of it. The numbers were worked out by hand.
 *
 * @module
 */

/** The ids of two ranks with two experts each. Both experts of token 1 of rank 0 are on rank 0. */
export const topkIdxOfRanks: readonly (readonly (readonly number[])[])[] = [
  [
    [0, 3],
    [1, 0],
  ],
  [[2, 0]],
];

export const numExperts = 4;
export const alignment = 4;

/** What the names stand for on each of the two ranks. */
export interface ReceivedVector {
  readonly peer: string;
  readonly rule: string;
  readonly expected: Readonly<Record<string, readonly [readonly number[] | number, readonly number[] | number]>>;
}

export const receivedVectors: readonly ReceivedVector[] = [
  {
    peer: 'DeepEP V1',
    rule: 'sums over the source ranks, and counts that are rounded up to expert_alignment: notify_dispatch',
    expected: {
      moe_recv_counter: [3, 2],
      'rank_prefix_matrix[:, rank]': [
        [2, 3],
        [1, 2],
      ],
      num_recv_tokens_per_expert_list: [
        [4, 4],
        [4, 4],
      ],
      recv_topk_idx: [
        [0, -1, 1, 0, -1, 0],
        [-1, 1, 0, -1],
      ],
      recv_src_idx: [
        [0, 1, 0],
        [0, 0],
      ],
    },
  },
  {
    peer: 'DeepEP V2',
    rule: 'inclusive sums, without do_expand: the doc comment of EPHandle; the tokens by source rank and token: refs.py',
    expected: {
      psum_num_recv_tokens_per_scaleup_rank: [
        [2, 3],
        [1, 2],
      ],
      psum_num_recv_tokens_per_expert: [
        [4, 8],
        [4, 8],
      ],
      num_unaligned_recv_tokens_per_expert: [
        [3, 1],
        [1, 1],
      ],
      num_recv_tokens_per_rank: [
        [2, 1],
        [1, 1],
      ],
      recv_topk_idx: [
        [0, -1, 1, 0, -1, 0],
        [-1, 1, 0, -1],
      ],
    },
  },
  {
    peer: 'NCCL EP',
    rule: 'zones of experts, padded to the alignment: test_output_layout.cu',
    expected: {
      expert_counters: [
        [4, 4],
        [4, 4],
      ],
      expert_offsets: [
        [0, 4],
        [0, 4],
      ],
      recv_total: [8, 8],
    },
  },
  {
    peer: 'Megatron',
    rule: 'the counts of the local experts of all ranks of the group: MoEAlltoAllTokenDispatcher.preprocess',
    expected: {
      num_global_tokens_per_local_expert: [
        [2, 1, 1, 0],
        [0, 1, 1, 0],
      ],
      tokens_per_expert: [
        [3, 1],
        [1, 1],
      ],
    },
  },
  {
    peer: 'Mori',
    rule: 'the counts of the local experts over the first total_recv tokens: local_expert_count',
    expected: {
      local_expert_count: [
        [3, 1],
        [1, 1],
      ],
      total_recv: [3, 2],
    },
  },
];
