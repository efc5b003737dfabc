// Rows for more than 64 ranks. They are zeroed, written rank by rank, and added up column by column when a block
// of them is complete and still in the L1 cache. A row of bits of at most 128 ranks is a vector in a register
// instead. Up to 64 nodes are a mask of 64 bits in a register; if there are more, a node is counted when a token
// first touches it.
#pragma once

#include <wasm_simd128.h>

#include <cstring>
#include <type_traits>

#include "dispatch_layout.h"
#include "expert_table.h"

// A block of rows takes at most this much of the L1 cache, unless one row alone is longer.
constexpr uint32_t kMaxBytesOfRows = 16 * 1024;
constexpr uint32_t kMaxLongRowNodes = 64;

// Vector r has bit r alone. The last one has none.
constexpr uint32_t kMaxVectorRanks = 128;
inline v128_t bits_of_ranks[kMaxVectorRanks + 1];

// Whether a row is a vector in a register. With a large table it is not, since that would need code of its own.
inline bool is_row_a_vector(const Plan& plan) {
  return plan.has_bit_rows && plan.num_ranks <= kMaxVectorRanks && plan.num_experts <= kMaxSmallTableExperts;
}

inline void fill_bits_of_ranks() {
#pragma clang loop unroll(disable) vectorize(disable)
  for (uint32_t rank = 0; rank < kMaxVectorRanks; rank++)
    reinterpret_cast<uint8_t*>(bits_of_ranks + rank)[rank / 8] = 1 << rank % 8;
}

// Fields of an entry: `low` is the planar mask of the node if there are at most 64 nodes, else the number of
// the node. `high` is the rank. An expert without a rank has a rank there whose place is the first byte of the next
// row. If a row is a vector, `high` is where the vector of the rank is in bits_of_ranks.
inline Entry long_entry(int32_t rank, const Plan& plan) {
  const uint32_t num_nodes = num_counted_nodes(plan);
  const bool is_vector = is_row_a_vector(plan);
  const uint32_t scale = is_vector ? sizeof(v128_t) : 1;
  if (rank == kNoRank) {
    const uint32_t next_row = plan.has_bit_rows ? 8 * row_bytes(plan) : plan.num_ranks;
    return {num_nodes > kMaxLongRowNodes ? num_nodes : 0, 0,
            scale * (is_vector ? kMaxVectorRanks : next_row)};
  }
  const uint32_t node = static_cast<uint32_t>(rank) / plan.num_ranks_per_node;
  const uint64_t low = num_nodes == 0 ? 0 : num_nodes > kMaxLongRowNodes ? node : planar_bit(node);
  return {low, 0, scale * static_cast<uint32_t>(rank)};
}

// Adds the columns of at most kMaxTokensPerBlock rows, 64 columns at a time. It reads up to 63 bytes behind
// the rows, and adds them to the counts behind those of the ranks.
__attribute__((noinline)) inline void add_columns(const uint8_t* rows, uint32_t num_tokens,
                                                  uint32_t num_ranks, uint32_t* num_tokens_per_rank) {
  const v128_t zero = wasm_i32x4_const_splat(0);
  for (uint32_t rank = 0; rank < num_ranks; rank += 64) {
    v128_t sums[4] = {zero, zero, zero, zero};
    const uint8_t* row = rows + rank;
    uint32_t token = 0;
    for (; token + 2 <= num_tokens; token += 2, row += 2 * num_ranks) {
      for (int i = 0; i < 4; i++) {
        const uint8_t* const bytes = row + 16 * i;
        const v128_t pair = wasm_i8x16_add(wasm_v128_load(bytes), wasm_v128_load(bytes + num_ranks));
        sums[i] = wasm_i8x16_add(sums[i], pair);
      }
    }
    if (token < num_tokens) {
      for (int i = 0; i < 4; i++) sums[i] = wasm_i8x16_add(sums[i], wasm_v128_load(row + 16 * i));
    }
    for (int i = 0; i < 4; i++) add_byte_counts(num_tokens_per_rank + rank + 16 * i, sums[i]);
  }
}

// How a row is written.
enum class LongRow { kBytes, kBits, kVector };

// Adds at most kMaxTokensPerBlock tokens. kNumNodeChunks is the number of 16-bit chunks of the node mask, or
// kTouchNodes if there is no mask. Returns the end of the rows. One byte behind them is written. If rows are of bits,
// the ranks are not counted here.
constexpr int kTouchNodes = -1;
template <class Table, LongRow kRow, int kNumNodeChunks, uint32_t kNumTopk>
__attribute__((noinline)) uint8_t* add_long_rows(const typename Table::Position* positions,
                                                 uint32_t num_tokens, uint32_t num_topk, const Plan& plan,
                                                 uint32_t first_token, uint8_t* rows) {
  const uint32_t num_row_bytes = row_bytes(plan);
  const v128_t zero = wasm_i32x4_const_splat(0);
  v128_t node_sums[4] = {zero, zero, zero, zero};
  if constexpr (kRow != LongRow::kVector) memset(rows, 0, num_tokens * num_row_bytes);

  uint8_t* row = rows;
  for (uint32_t token = first_token; token < first_token + num_tokens; token++, positions += num_topk) {
    v128_t mask = zero, bits = zero;
    for_each_slot<kNumTopk>(
        num_topk, [&](uint32_t slot) __attribute__((always_inline)) {
          // This is loaded before the entry is stored; otherwise the load would have to wait for the store
          const uint32_t rank = reinterpret_cast<const Entry*>(Table::at(positions[slot]))->high;
          const v128_t entry = count_selection<Table>(positions[slot]);
          if constexpr (kRow == LongRow::kVector) {
            const auto* const vectors = reinterpret_cast<const uint8_t*>(bits_of_ranks);
            bits = wasm_v128_or(bits, wasm_v128_load(vectors + static_cast<uint16_t>(rank)));
          } else if constexpr (kRow == LongRow::kBits) {
            row[rank / 8] |= 1 << rank % 8;
          } else {
            row[rank] = 1;
          }
          if constexpr (kNumNodeChunks > 0) mask = wasm_v128_or(mask, entry);
          if constexpr (kNumNodeChunks == kTouchNodes) {
            const uint32_t node = wasm_u32x4_extract_lane(entry, 0);
            plan.num_tokens_per_rdma_rank[node] += plan.last_token_of_node[node] != token;
            plan.last_token_of_node[node] = token;
          }
        });
    if constexpr (kRow == LongRow::kVector) wasm_v128_store(row, bits);
    row += num_row_bytes;
    if constexpr (kRow != LongRow::kVector) *row = 0;  // Selections without a rank have written it

    if constexpr (kNumNodeChunks > 0) {
      const v128_t spread = spread_planar_mask(mask);
#pragma unroll
      for (int chunk = 0; chunk < kNumNodeChunks; chunk++) {
        node_sums[chunk] = wasm_i8x16_add(node_sums[chunk], chunk_of_mask(spread, chunk));
      }
    }
  }

  if constexpr (kRow == LongRow::kBytes)
    add_columns(rows, num_tokens, plan.num_ranks, plan.num_tokens_per_rank);
  for (int chunk = 0; chunk < kNumNodeChunks; chunk++) {
    add_byte_counts(plan.num_tokens_per_rdma_rank + 16 * chunk, node_sums[chunk]);
  }
  return row;
}

// There is code of its own for 8 slots, except for rows of bits in memory. Any other number of slots uses code that
// takes num_topk at run time. Rows of bits have the same code for no counted nodes as for up to 64, whose masks are
// then 0, and whose counts of 0 fit behind that of the only node.
template <class Table>
uint8_t* add_long_rows_of_plan(const typename Table::Position* positions, uint32_t num_tokens,
                               uint32_t num_topk, const Plan& plan, uint32_t first_token, uint8_t* rows) {
  const auto add = [&](auto row, auto node_chunks, auto topk) __attribute__((always_inline)) {
    return add_long_rows<Table, row.value, node_chunks.value, topk.value>(positions, num_tokens, num_topk,
                                                                          plan, first_token, rows);
  };
  const auto add_usual = [&](auto row, auto node_chunks) __attribute__((always_inline)) {
    const auto add_topk = [&](auto topk) __attribute__((always_inline)) {
      return add(row, node_chunks, topk);
    };
    if constexpr (std::is_same_v<Table, SmallTable>) return with_topk<8>(num_topk, add_topk);
    return add_topk(Constant<0u>());
  };
  const uint32_t num_nodes = num_counted_nodes(plan);
  if constexpr (std::is_same_v<Table, SmallTable>) {
    if (is_row_a_vector(plan)) return add_usual(Constant<LongRow::kVector>(), Constant<4>());
  }
  if (plan.has_bit_rows)
    return num_nodes <= kMaxLongRowNodes
               ? add(Constant<LongRow::kBits>(), Constant<4>(), Constant<0u>())
               : add(Constant<LongRow::kBits>(), Constant<kTouchNodes>(), Constant<0u>());
  if (num_nodes == 0) return add_usual(Constant<LongRow::kBytes>(), Constant<0>());
  return num_nodes <= kMaxLongRowNodes ? add_usual(Constant<LongRow::kBytes>(), Constant<4>())
                                       : add_usual(Constant<LongRow::kBytes>(), Constant<kTouchNodes>());
}
