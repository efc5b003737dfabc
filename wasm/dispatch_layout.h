// The contract of the WASM kernel: what JavaScript places in memory, and what the exports do with it.
//
// The module has no imports and no allocator. JavaScript owns the memory above `__heap_base`, decides where the
// buffers below lie, writes their addresses into the one `Plan` (see `plan()`), and grows the memory where needed.
//
//   plan()             returns the address of the Plan, whose fields all have 32 bits
//   build_table()      rebuilds the expert table from rank_of_expert; must be called whenever the partition changes
//   begin(...)         must be called before ids are located; leaves the counts of a finished layout alone
//   locate(...)        checks a window of ids, and writes where their table entries are
//   find_invalid(...)  returns the index of the first id that is neither empty nor an expert, or the number of ids
//   add_tokens(...)    adds located tokens to the counts, and writes their rows of is_token_in_rank
//   finish()           writes num_tokens_per_expert and zeroes the table's counters; must be called once per layout. If
//                      it was not, the next begin() calls it
//
// After locate(...), the exports of a module of its own, row_order.cpp, compute an order of rows instead, of ids that are
// all located at once. It has no memory of its own: it imports that of this module, and takes the Plan as an argument.
//   count_rows(...)    counts the rows of each expert or rank
//   begin_rows(...)    writes the counts and the first row of each expert or rank, and returns the number of rows
//   place_rows(...)    gives each selection its row
//   shift_rows(...)    turns the rows of a piece of the ids into those of the whole
//   finish_rows()      zeroes the table's counters, as finish() does
//
// A call may be cut off anywhere, since nothing is on the stack, whose pointer would then not be restored.
//
// The rows of is_token_in_rank have a byte for each rank, which is 0 or 1. With has_bit_rows, they have a bit for each
// rank, least significant first, and zeros up to the next byte.
//
// The table has one entry per expert. For at most 4088 experts it is at a constant address, and positions are 16-bit
// offsets; for more experts it is where JavaScript puts it, and positions are 32-bit addresses (expert_table.h). The
// rows of tokens are bit masks in a register for up to 64 ranks (mask_rows.h), and are written to memory rank by rank
// for more ranks (long_rows.h).
#pragma once

#include <cstdint>

#define EXPORT extern "C" __attribute__((visibility("default"), used))

enum class IdType : uint32_t { kInt64, kUint64, kInt32, kUint32, kInt16, kUint16, kInt8, kUint8 };
constexpr uint32_t id_bytes(IdType type) { return 8u >> (static_cast<uint32_t>(type) / 2); }
constexpr bool is_signed(IdType type) { return static_cast<uint32_t>(type) % 2 == 0; }

struct Entry;
struct RankCell;

// Whether the table's counters are zero, count the tokens that were added, or are used for an order of rows.
enum class State : uint32_t { kIdle, kAdding, kOrdering };

struct Plan {
  uint32_t num_experts;
  uint32_t num_ranks;
  uint32_t num_ranks_per_node;
  uint32_t num_rdma_ranks;             // 1 within one node, where nothing is counted per RDMA rank
  uint32_t has_bit_rows;               // 1 if rows are of bits, 0 if they are of bytes
  const int32_t* rank_of_expert;       // [num_experts], -1 for none, and kNumEmptyEntries times -1 behind
  Entry* large_table;                  // [num_experts + kNumEmptyEntries], only beyond kMaxSmallTableExperts
  uint32_t* num_tokens_per_rank;       // [num_ranks rounded up to 64]
  uint32_t* num_tokens_per_rdma_rank;  // [num_rdma_ranks + 63]
  uint32_t* num_tokens_per_expert;     // [num_experts + kNumEmptyEntries]
  uint32_t* last_token_of_node;        // [num_rdma_ranks + 1]
  void* positions;                     // [number of ids located at a time + 8], of 16 or 32 bits
  RankCell* rank_cells;                // Only for orders of rows: [num_ranks], and one in front of them
  // The state of what begin() began:
  uint32_t num_copies;   // Copies of the table that are counted in
  uint32_t num_ids;      // Ids in all
  uint32_t num_located;  // Ids located so far
  State state;
};

// What an order of rows writes. A key is an expert or a rank.
struct OrderRows {
  uint32_t* num_rows_of_key;   // [keys]
  uint32_t* first_row_of_key;  // [keys + 1], the last one is the number of rows
  uint32_t* of_row;            // [rows], their selections or tokens, and one number in front of them
  uint32_t* row_of_selection;  // [ids that are ordered at a time]
};

// The orders of rows, by expert or by rank. By rank, the first or the last selection of a token for a rank has the row.
enum class Order : uint32_t { kByExpert, kByRankFirst, kByRankLast };

// So many tokens can be added up in 8-bit lanes without overflow.
constexpr uint32_t kMaxTokensPerBlock = 255;

// The number of bytes that must exist behind the ids and behind the rows. Up to 7 ids more are read, and
// behind the rows up to 63 bytes are written (mask_rows.h) or read (long_rows.h).
constexpr uint32_t kSlackBytes = 64;

// An empty slot (-1) is counted in one of several unused entries behind the experts, which its lane chooses.
// If there were only one, every increment would wait for the store of the one before.
constexpr uint32_t kNumEmptyEntries = 8;

constexpr int32_t kNoRank = -1;
constexpr uint32_t kNoToken = 0xffffffff;
constexpr uint32_t kNoRow = 0xffffffff;

inline uint32_t row_bytes(const Plan& plan) {
  return plan.has_bit_rows ? (plan.num_ranks + 7) / 8 : plan.num_ranks;
}

// The number of nodes that are counted: none within one node, and none with one rank per node, where the
// counts are those of the ranks.
inline uint32_t num_counted_nodes(const Plan& plan) {
  return plan.num_ranks_per_node == 1 || plan.num_rdma_ranks == 1 ? 0 : plan.num_rdma_ranks;
}
