// The contract of the WASM kernel: what JavaScript places in memory, and what the exports do with it.
//
// The module has no imports and no allocator. JavaScript owns the memory above `__heap_base`, decides where the
// buffers below lie, writes their addresses into the one `Plan` (see `plan()`), and grows the memory where needed.
//
//   plan()             address of the Plan, all fields 32-bit, in the order below
//   build_table()      rebuilds the expert table from rank_of_expert; whenever the partition changes
//   begin(...)         before the ids of a layout are located; does not touch the counts of one that has finished
//   locate(...)        checks a window of ids, and writes where their table entries are
//   find_invalid(...)  the index of the first id that is neither empty nor an expert
//   add_tokens(...)    adds located tokens to the counts, and writes their rows of is_token_in_rank
//   finish()           writes num_tokens_per_expert and zeroes the table's counters; once per layout, else by the next begin()
//
// Nothing is on the stack, so that a call may be cut off anywhere.
//
// The table has one entry per expert, at a constant address and reached by 16-bit offsets where there are at most 4088
// experts, else where JavaScript puts it and reached by 32-bit addresses (expert_table.h). The rows of tokens are bit
// masks in a register up to 64 ranks (mask_rows.h), beyond that written byte by byte (byte_rows.h).
#pragma once

#include <cstdint>

enum class IdType : uint32_t { kInt64, kUint64, kInt32, kUint32, kInt16, kUint16, kInt8, kUint8 };
constexpr uint32_t id_bytes(IdType type) { return 8u >> (static_cast<uint32_t>(type) / 2); }
constexpr bool is_signed(IdType type) { return static_cast<uint32_t>(type) % 2 == 0; }

struct Entry;

struct Plan {
  uint32_t num_experts;
  uint32_t num_ranks;
  uint32_t num_ranks_per_node;
  uint32_t num_rdma_ranks;             // 1: within one node, nothing is counted per RDMA rank
  const int32_t* rank_of_expert;       // [num_experts], -1: the expert belongs to no rank
  Entry* large_table;                  // [num_experts + kNumEmptyEntries], beyond kMaxSmallTableExperts only
  uint32_t* num_tokens_per_rank;       // [num_ranks rounded up to 64]
  uint32_t* num_tokens_per_rdma_rank;  // [num_rdma_ranks + 63]
  uint32_t* num_tokens_per_expert;     // [num_experts + kNumEmptyEntries]
  uint32_t* last_token_of_node;        // [num_rdma_ranks + 1]
  void* positions;                     // [ids located at a time, plus 8], 16-bit or 32-bit
  // Of the layout that begin() began:
  uint32_t num_copies;   // of the table that it counts in
  uint32_t num_ids;      // all of them
  uint32_t num_located;  // so far
  uint32_t is_adding;    // 1 from its first token to its end: the counts are its own
};

// So many can be added up in 8-bit lanes without overflow.
constexpr uint32_t kMaxTokensPerBlock = 255;

// Bytes that ids and rows must have behind their end. Of ids up to 7 more are read; behind rows up to 63 bytes are stored
// (mask_rows.h) or read (byte_rows.h).
constexpr uint32_t kSlackBytes = 64;

// An empty slot (-1) counts into one of several unused entries behind the experts, by its lane: into a single one,
// every increment would wait for the store of the one before.
constexpr uint32_t kNumEmptyEntries = 8;

constexpr int32_t kNoRank = -1;
constexpr uint32_t kNoToken = 0xffffffff;

// How many nodes are counted: none within one node, and none with one rank per node, where the counts are those of ranks.
inline uint32_t num_counted_nodes(const Plan& plan) {
  return plan.num_ranks_per_node == 1 || plan.num_rdma_ranks == 1 ? 0 : plan.num_rdma_ranks;
}
