// The orders of rows: by expert, in which a grouped GEMM reads them, and by rank, in which tokens are sent. Each takes
// two passes over located ids. The first counts the rows of each key, which is an expert or a rank. From the counts
// follows the first row of each key. The second pass goes through the ids in the same order, and gives each selection
// the next row of its key.
//
// A selection without a row has row -1 from the same code: its key has -1 as next row, which never advances, and
// memory in front of row 0 takes what is written to row -1.
#pragma once

#include <cstring>
#include <type_traits>

#include "dispatch_layout.h"
#include "expert_table.h"

// Most experts have no padding, and V8 takes 20 ns even to fill nothing.
inline void fill_rows(uint32_t* of_row, uint32_t begin, uint32_t end) {
  if (begin < end) memset(of_row + begin, 0xff, (end - begin) * sizeof(uint32_t));
}

// --- By expert. The table's counters are first the counts, then the next rows ---

template <class Table>
inline uint32_t& counter(typename Table::Position position) {
  return reinterpret_cast<Entry*>(Table::at(position))->num_tokens;
}

// Only the loops over the small table, which is the usual one, are unrolled. All of them together would make the module
// larger than the 4096 bytes that Chromium before 115 compiles synchronously on a page's main thread.
template <class Table>
constexpr int kUnrollCount = std::is_same_v<Table, SmallTable> ? 4 : 1;

template <class Table>
__attribute__((noinline)) void count_experts(const typename Table::Position* positions, uint32_t num_ids) {
#pragma clang loop unroll_count(kUnrollCount <Table>)
  for (uint32_t i = 0; i < num_ids; i++) counter<Table>(positions[i])++;
}

// Returns the number of rows. It fills the padding behind the rows of each expert. Most orders have none, and the code
// for them needs no division, which would take as long as all the rest.
template <class Table, bool kIsPadded>
__attribute__((noinline)) uint32_t begin_expert_rows(Table table, uint32_t num_experts, const OrderRows& rows,
                                                     uint32_t first_expert, uint32_t num_local_experts,
                                                     uint32_t alignment) {
  // The addresses are in variables, since LLVM would otherwise load them again after every store
  uint32_t *const counts = rows.num_rows_of_key, *const offsets = rows.first_row_of_key,
                  *const of_row = rows.of_row;
  Entry* entry = table.entries();
  Entry *const first = entry + first_expert, *const end_of_local = first + num_local_experts;
  Entry* const end_of_table = entry + num_experts + kNumEmptyEntries;
  for (; entry < first; entry++) entry->num_tokens = kNoRow;
  uint32_t row = 0;
  for (uint32_t i = 0; entry < end_of_local; entry++, i++) {
    const uint32_t count = entry->num_tokens, end = row + count;
    counts[i] = count;
    offsets[i] = row;
    entry->num_tokens = row;
    row = kIsPadded ? (end + alignment - 1) / alignment * alignment : end;
    if constexpr (kIsPadded) fill_rows(of_row, end, row);
  }
  offsets[num_local_experts] = row;
  for (; entry < end_of_table; entry++) entry->num_tokens = kNoRow;
  return row;
}

template <class Table>
__attribute__((noinline)) void place_by_expert(const typename Table::Position* positions, uint32_t num_ids,
                                               uint32_t selection, const OrderRows& rows) {
  uint32_t *const selection_of_row = rows.of_row, *const row_of_selection = rows.row_of_selection;
#pragma clang loop unroll_count(kUnrollCount <Table>)
  for (uint32_t i = 0; i < num_ids; i++) {
    uint32_t& next_row = counter<Table>(positions[i]);
    const uint32_t row = next_row;
    next_row = row + (static_cast<int32_t>(row) >= 0);
    selection_of_row[static_cast<int32_t>(row)] = selection + i;
    row_of_selection[i] = row;
  }
}

// --- By rank ---

// What is kept for a rank. The cell in front of those of the ranks is that of all selections without one.
struct RankCell {
  uint32_t last_token;  // Which has its row already
  uint32_t next_row;    // In the first pass, the number of rows
};

// Counts the rows of tokens or, if kPlaces, places the tokens.
template <class Table, bool kPlaces>
__attribute__((noinline)) void visit_ranks(Table table, const typename Table::Position* positions,
                                           uint32_t num_tokens, uint32_t num_topk, uint32_t first_token,
                                           bool does_last_win, const Plan& plan, const OrderRows* rows) {
  // The addresses are in variables, since LLVM would otherwise load them again after every store
  uint32_t* row_of_selection = kPlaces ? rows->row_of_selection : nullptr;
  uint32_t* const token_of_row = kPlaces ? rows->of_row : nullptr;
  RankCell* const cells = plan.rank_cells;
  const int32_t* const rank_of_expert = plan.rank_of_expert;
  const uint32_t first_slot = does_last_win ? num_topk - 1 : 0;
  const int32_t step = does_last_win ? -1 : 1;
  for (uint32_t token = first_token; token < first_token + num_tokens; token++, positions += num_topk) {
    cells[kNoRank].last_token = token;
    uint32_t slot = first_slot;
    for (uint32_t i = 0; i < num_topk; i++, slot += step) {
      const auto* entry = reinterpret_cast<const Entry*>(Table::at(positions[slot]));
      RankCell& cell = cells[rank_of_expert[entry - table.entries()]];
      const bool is_first = cell.last_token != token;
      const uint32_t row = cell.next_row;
      cell = {token, row + is_first};
      if constexpr (kPlaces) {
        const uint32_t own_row = is_first ? row : kNoRow;
        token_of_row[static_cast<int32_t>(own_row)] = token;
        row_of_selection[slot] = own_row;
      }
    }
    if constexpr (kPlaces) row_of_selection += num_topk;
  }
}

inline void clear_rank_cells(const Plan& plan) {
  for (uint32_t rank = 0; rank < plan.num_ranks; rank++) plan.rank_cells[rank] = {kNoToken, 0};
}

// Returns the number of rows.
inline uint32_t begin_rank_rows(const Plan& plan, const OrderRows& rows) {
  uint32_t row = 0;
  for (uint32_t rank = 0; rank < plan.num_ranks; rank++) {
    RankCell& cell = plan.rank_cells[rank];
    const uint32_t count = cell.next_row;
    rows.num_rows_of_key[rank] = count;
    rows.first_row_of_key[rank] = row;
    cell = {kNoToken, row};
    row += count;
  }
  rows.first_row_of_key[plan.num_ranks] = row;
  return row;
}

// --- Orders of more ids than are located at a time ---

// Adds to each row what shift_of_key has for its key. Each piece of the ids is ordered by itself, and this turns its rows
// into those of the whole.
template <class Table>
__attribute__((noinline)) void shift_rows(Table table, const Plan& plan, Order order, uint32_t num_ids,
                                          uint32_t first_expert, const uint32_t* shift_of_key,
                                          uint32_t* row_of_selection) {
  const auto* positions = static_cast<const typename Table::Position*>(plan.positions);
  for (uint32_t i = 0; i < num_ids; i++) {
    uint32_t& row = row_of_selection[i];
    if (row == kNoRow) continue;
    const auto* entry = reinterpret_cast<const Entry*>(Table::at(positions[i]));
    const auto expert = static_cast<uint32_t>(entry - table.entries());
    row += shift_of_key[order == Order::kByExpert ? expert - first_expert
                                                  : static_cast<uint32_t>(plan.rank_of_expert[expert])];
  }
}
