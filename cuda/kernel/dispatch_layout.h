// The host interface of the dispatch-layout kernel. It is plain C++, without device code and without a
// framework.
//
// For tokens whose router selected `num_topk` experts each, the layout says how many tokens go to every rank,
// every RDMA rank (node) and every expert, and which token goes to which rank. The semantics are those of
// DeepEP's `Buffer.get_dispatch_layout`. All results are integers, and so are the same on every device and in
// every run.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "expert_ids.h"

namespace dispatch_layout {

struct DispatchLayoutArguments : ExpertIds {
  int num_ranks = 0;
  // This divides `num_ranks`: node n consists of the num_ranks / num_nodes ranks from n * (num_ranks /
  // num_nodes) on. 1 means within one node, where nothing is counted per node.
  int num_nodes = 1;

  // [num_experts], the rank that each expert is on; a value outside [0, num_ranks) means none. If this is
  // null, rank r has the num_experts / num_ranks experts from r * (num_experts / num_ranks) on, and the rest
  // are on no rank.
  const int32_t* rank_of_expert = nullptr;

  // The outputs, each of which is fully written. A count wraps beyond 2^31 - 1.
  int32_t* num_tokens_per_rank = nullptr;  // [num_ranks]
  // [num_nodes]; within one node it is not written, and may be null
  int32_t* num_tokens_per_rdma_rank = nullptr;
  int32_t* num_tokens_per_expert = nullptr;  // [num_experts]
  // [num_tokens, num_ranks], 0 or 1. If it is null, nothing is done for it.
  uint8_t* is_token_in_rank = nullptr;
  // Whether `is_token_in_rank` is [num_tokens, ceil(num_ranks / 8)] instead: rank r is bit r % 8, least
  // significant first, of byte r / 8 of a row. Bits behind the last rank are 0.
  bool has_bit_rows = false;

  // `dispatch_layout_scratch_bytes` bytes, aligned to 8 bytes, which must be zero before the first launch.
  // Every launch leaves them zero, so launches that are ordered (in one stream, or in one graph) may share
  // them. Concurrent launches may not.
  void* scratch = nullptr;
};

inline size_t dispatch_layout_scratch_bytes(int num_experts, int num_ranks) {
  return sizeof(uint64_t) * (1 + static_cast<size_t>(num_experts) + 2 * static_cast<size_t>(num_ranks));
}

// Enqueues one kernel on `stream`. It does not allocate, copy or synchronise, so it can be captured into a
// graph. Returns cudaErrorInvalidValue for arguments that break the rules above, else what the launch
// returned.
cudaError_t launch_dispatch_layout(const DispatchLayoutArguments& arguments, cudaStream_t stream);

}  // namespace dispatch_layout
