// The expert ids that a kernel reads, and the report of the first that is invalid. This is common to all kernels.
#pragma once

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

// The ids of a launch. All pointers are device pointers. "Null" in the comments means the host's null pointer.
struct ExpertIds {
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

  // Ids that are neither empty nor experts are skipped everywhere else
  Report report;
};

}  // namespace dispatch_layout
