// The benchmark's baseline: a kernel of DeepEP's design, written for comparison from a description of it. Each
// block owns 4 experts or 8 ranks, and reads the whole of `topk_idx`, one row per thread. There are no atomics.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace deepep_design {

constexpr int kNumThreads = 256, kNumExpertsPerBlock = 4, kNumRanksPerBlock = 8;

template <int kNumColumns>
__device__ void sum_up(const int (*counts)[kNumColumns], int num_columns, int* totals) {
  __syncthreads();
  if (threadIdx.x >= num_columns) return;
  int total = 0;
  for (int i = 0; i < kNumThreads; ++i) total += counts[i][threadIdx.x];
  totals[threadIdx.x] = total;
}

// Requires nodes of 8 ranks, and num_experts % num_ranks == 0
__global__ void __launch_bounds__(kNumThreads)
    get_dispatch_layout(const int64_t* topk_idx, int* num_tokens_per_rank, int* num_tokens_per_rdma_rank,
                        int* num_tokens_per_expert, bool* is_token_in_rank, int num_tokens, int num_topk,
                        int num_ranks, int num_experts) {
  __shared__ int counts[kNumThreads][kNumRanksPerBlock], node_counts[kNumThreads][1];
  const int num_expert_blocks = (num_experts + kNumExpertsPerBlock - 1) / kNumExpertsPerBlock;
  int own_counts[kNumRanksPerBlock] = {}, own_node_count = 0;

  if (blockIdx.x < num_expert_blocks) {
    // Count this block's experts
    const int expert_begin = blockIdx.x * kNumExpertsPerBlock;
    const int num_own_experts = min(kNumExpertsPerBlock, num_experts - expert_begin);
    for (int i = threadIdx.x; i < num_tokens; i += kNumThreads) {
      for (int j = 0; j < num_topk; ++j) {
        const int expert_idx = static_cast<int>(topk_idx[i * num_topk + j]) - expert_begin;
#pragma unroll
        for (int k = 0; k < kNumExpertsPerBlock; ++k) own_counts[k] += expert_idx == k;
      }
    }
    for (int k = 0; k < kNumExpertsPerBlock; ++k) counts[threadIdx.x][k] = own_counts[k];
    sum_up(counts, num_own_experts, num_tokens_per_expert + expert_begin);
    return;
  }

  // Count this block's ranks, which are one node
  const int rank_begin = (blockIdx.x - num_expert_blocks) * kNumRanksPerBlock;
  const int num_own_ranks = min(kNumRanksPerBlock, num_ranks - rank_begin);
  const int num_experts_per_rank = num_experts / num_ranks;
  const int expert_begin = rank_begin * num_experts_per_rank;
  const int expert_end = expert_begin + num_own_ranks * num_experts_per_rank;
  for (int i = threadIdx.x; i < num_tokens; i += kNumThreads) {
    int is_in_rank[kNumRanksPerBlock] = {}, is_in_node = 0;
    for (int j = 0; j < num_topk; ++j) {
      const int expert_idx = static_cast<int>(topk_idx[i * num_topk + j]);
      if (expert_begin <= expert_idx && expert_idx < expert_end) {
        const int rank_idx = (expert_idx - expert_begin) / num_experts_per_rank;
#pragma unroll
        for (int k = 0; k < kNumRanksPerBlock; ++k) is_in_rank[k] |= rank_idx == k;
        is_in_node = 1;
      }
    }
#pragma unroll
    for (int k = 0; k < kNumRanksPerBlock; ++k) {
      if (k < num_own_ranks) is_token_in_rank[i * num_ranks + rank_begin + k] = is_in_rank[k];
      own_counts[k] += is_in_rank[k];
    }
    own_node_count += is_in_node;
  }
  for (int k = 0; k < kNumRanksPerBlock; ++k) counts[threadIdx.x][k] = own_counts[k];
  node_counts[threadIdx.x][0] = own_node_count;
  sum_up(counts, num_own_ranks, num_tokens_per_rank + rank_begin);
  if (num_tokens_per_rdma_rank != nullptr)
    sum_up(node_counts, 1, num_tokens_per_rdma_rank + rank_begin / kNumRanksPerBlock);
}

inline cudaError_t launch(const int64_t* topk_idx, int* num_tokens_per_rank, int* num_tokens_per_rdma_rank,
                          int* num_tokens_per_expert, bool* is_token_in_rank, int num_tokens, int num_topk,
                          int num_ranks, int num_experts, cudaStream_t stream) {
  const int num_blocks = (num_experts + kNumExpertsPerBlock - 1) / kNumExpertsPerBlock +
                         (num_ranks + kNumRanksPerBlock - 1) / kNumRanksPerBlock;
  get_dispatch_layout<<<num_blocks, kNumThreads, 0, stream>>>(
      topk_idx, num_tokens_per_rank, num_tokens_per_rdma_rank, num_tokens_per_expert, is_token_in_rank,
      num_tokens, num_topk, num_ranks, num_experts);
  return cudaGetLastError();
}

}  // namespace deepep_design
