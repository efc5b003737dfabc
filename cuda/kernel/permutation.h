// The host interface of the permutation kernels: the order of rows by expert, which a grouped GEMM needs, and by
// rank, in which tokens are sent. Like the layout, they are integers, and the same on every device, in every run and
// for every grid.
//
// A *selection* is a (token, slot) pair, with the number token * num_topk + slot. A *row* is a place in a buffer that
// is ordered by expert or by rank. A selection has a row if its id is an expert, is not the empty id, and, where they
// matter, the expert is one of the local ones or is on a rank.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "expert_ids.h"

namespace dispatch_layout {

// Rows are ordered by (expert, token, slot). Every output is fully written. num_tokens * num_topk and max_rows are less
// than 2^31.
struct ExpertPermutationArguments : ExpertIds {
  // Only the selections of these experts have rows
  int first_expert = 0;
  int num_local_experts = 0;
  // The rows of each expert are padded behind to a multiple of this; an expert without selections has no rows
  int alignment = 1;
  int64_t max_rows = 0;  // At least as many as the offsets can reach

  int32_t* num_tokens_per_expert = nullptr;  // [num_local_experts], selections, without padding
  int32_t* expert_offsets = nullptr;    // [num_local_experts + 1], the first row of each; last, their number
  int32_t* selection_of_row = nullptr;  // [max_rows]; -1 in padding and behind the last row
  int32_t* row_of_selection = nullptr;  // [num_tokens * num_topk]; -1 for a selection without a row

  // `permutation_scratch_bytes(num_local_experts)` bytes, under the rules of the layout's
  void* scratch = nullptr;
};

// Rows are ordered by (rank, token); a token has one row for each rank that one of its experts is on. Every output is
// fully written. num_tokens * num_topk is less than 2^31.
struct RankPermutationArguments : ExpertIds {
  int num_ranks = 0;
  // As in the layout: [num_experts], a value outside [0, num_ranks) means none; null for contiguous blocks
  const int32_t* rank_of_expert = nullptr;
  // Which selection of a token gets the row, if several are on the same rank: the first or the last one
  bool does_last_win = false;
  int64_t max_rows = 0;  // num_tokens * min(num_topk, num_ranks)

  int32_t* num_tokens_per_rank = nullptr;  // [num_ranks]
  int32_t* rank_offsets = nullptr;         // [num_ranks + 1], the first row of each; last, their number
  int32_t* token_of_row = nullptr;         // [max_rows]; -1 behind the last row
  int32_t* row_of_selection = nullptr;     // [num_tokens * num_topk]; -1 for a selection without a row

  // `permutation_scratch_bytes(num_ranks)` bytes, under the rules of the layout's
  void* scratch = nullptr;
};

// The scratch memory for rows of so many experts or ranks. It is aligned to 8 bytes, and its first 8 bytes must be zero
// before the first launch. Every launch leaves these zero.
size_t permutation_scratch_bytes(int num_keys);

// Enqueues one kernel or two on `stream`, under the same conditions as `launch_dispatch_layout`, and with the same
// errors.
cudaError_t launch_permutation(const ExpertPermutationArguments& arguments, cudaStream_t stream);
cudaError_t launch_permutation(const RankPermutationArguments& arguments, cudaStream_t stream);

}  // namespace dispatch_layout
