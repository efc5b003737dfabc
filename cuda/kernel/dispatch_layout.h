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
#include <optional>

namespace dispatch_layout {

// The element types of ids, in the order of `ts/values/id-types.ts` and of the WASM kernel
enum class IdType { kInt64, kUint64, kInt32, kUint32, kInt16, kUint16, kInt8, kUint8 };
constexpr int get_id_bytes(IdType type) { return 8 >> static_cast<int>(type) / 2; }
constexpr bool is_signed(IdType type) { return static_cast<int>(type) % 2 == 0; }

// The first selection, in row-major order, whose id is neither empty nor an expert
struct InvalidSelection {
  // 2 * number + 1 if there is one, else 2 * number. This is the only word that is then written. It is written
  // last, so that whoever reads the number of the layout there finds the rest written.
  uint64_t status;
  int64_t token_idx;
  int64_t slot;
  uint64_t id;  // The bits of its id, behind zeros

  static constexpr uint64_t number_in(uint64_t status) { return status / 2; }
  static constexpr bool is_found_in(uint64_t status) { return status % 2 != 0; }
};

// Where a layout reports its first invalid selection, and under which number
struct Report {
  InvalidSelection* place = nullptr;  // If this is null, invalid ids are not reported
  uint64_t number = 0;
};

// All pointers are device pointers. "Null" in the comments means the host's null pointer.
struct DispatchLayoutArguments {
  // [num_tokens, num_topk] expert ids. Token t starts `t * token_stride` elements after `topk_idx`; its ids
  // are contiguous. In a signed type, -1 selects nothing. Ids are never truncated: 2^32 + 5 is not expert 5.
  // `num_tokens`, times `num_topk` rounded up to a power of two, is less than 2^48.
  const void* topk_idx = nullptr;
  IdType topk_idx_type = IdType::kInt64;
  int64_t num_tokens = 0;
  int num_topk = 0;
  int64_t token_stride = 0;
  // An id that selects nothing either, even if it is the id of an expert. Of these bits, only as many of the
  // lowest count as an id has.
  std::optional<uint64_t> empty_id;

  int num_experts = 0;
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

  // Ids that are neither empty nor experts are skipped everywhere else
  Report report;

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
