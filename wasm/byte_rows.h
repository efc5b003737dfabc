// Rows for more than 64 ranks. They are zeroed, written byte by byte, and added up column by column when a
// block of them is complete and still in the L1 cache. Up to 64 nodes are a mask of 64 bits in a register; if
// there are more, a node is counted when a token first touches it.
#pragma once

#include <wasm_simd128.h>

#include <cstring>
#include <type_traits>

#include "dispatch_layout.h"
#include "expert_table.h"

// A block of rows takes at most this much of the L1 cache, unless one row alone is longer.
constexpr uint32_t kMaxBytesOfRows = 16 * 1024;
constexpr uint32_t kMaxByteRowNodes = 64;

// Fields of an entry: `low` is the planar mask of the node if there are at most 64 nodes, else the number of
// the node. `high` is the rank. An expert without a rank has num_ranks there, which stands for the first byte
// of the next row.
inline Entry byte_entry(int32_t rank, const Plan& plan) {
  const uint32_t num_nodes = num_counted_nodes(plan);
  if (rank == kNoRank) return {num_nodes > kMaxByteRowNodes ? num_nodes : 0, 0, plan.num_ranks};
  const uint32_t node = static_cast<uint32_t>(rank) / plan.num_ranks_per_node;
  const uint64_t low = num_nodes == 0 ? 0 : num_nodes > kMaxByteRowNodes ? node : planar_bit(node);
  return {low, 0, static_cast<uint32_t>(rank)};
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

// Adds at most kMaxTokensPerBlock tokens. kNumNodeChunks is the number of 16-bit chunks of the node mask, or
// kTouchNodes if there is no mask. Returns the end of the rows. One byte behind them is written.
constexpr int kTouchNodes = -1;
template <class Table, int kNumNodeChunks, uint32_t kNumTopk>
__attribute__((noinline)) uint8_t* add_byte_rows(const typename Table::Position* positions,
                                                 uint32_t num_tokens, uint32_t num_topk, const Plan& plan,
                                                 uint32_t first_token, uint8_t* rows) {
  const uint32_t num_ranks = plan.num_ranks;
  const v128_t zero = wasm_i32x4_const_splat(0);
  v128_t node_sums[4] = {zero, zero, zero, zero};
  memset(rows, 0, num_tokens * num_ranks);

  uint8_t* row = rows;
  for (uint32_t token = first_token; token < first_token + num_tokens; token++, positions += num_topk) {
    v128_t mask = zero;
    for_each_slot<kNumTopk>(
        num_topk, [&](uint32_t slot) __attribute__((always_inline)) {
          // This is loaded before the entry is stored; otherwise the load would have to wait for the store
          const uint32_t rank = reinterpret_cast<const Entry*>(Table::at(positions[slot]))->high;
          const v128_t entry = count_selection<Table>(positions[slot]);
          row[rank] = 1;
          if constexpr (kNumNodeChunks > 0) mask = wasm_v128_or(mask, entry);
          if constexpr (kNumNodeChunks == kTouchNodes) {
            const uint32_t node = wasm_u32x4_extract_lane(entry, 0);
            plan.num_tokens_per_rdma_rank[node] += plan.last_token_of_node[node] != token;
            plan.last_token_of_node[node] = token;
          }
        });
    row += num_ranks;
    *row = 0;  // Selections without a rank have written it

    if constexpr (kNumNodeChunks > 0) {
      const v128_t spread = spread_planar_mask(mask);
#pragma unroll
      for (int chunk = 0; chunk < kNumNodeChunks; chunk++) {
        node_sums[chunk] = wasm_i8x16_add(node_sums[chunk], chunk_of_mask(spread, chunk));
      }
    }
  }

  add_columns(rows, num_tokens, num_ranks, plan.num_tokens_per_rank);
  for (int chunk = 0; chunk < kNumNodeChunks; chunk++) {
    add_byte_counts(plan.num_tokens_per_rdma_rank + 16 * chunk, node_sums[chunk]);
  }
  return row;
}

// There is code of its own for 8 slots. Any other number of slots uses code that takes num_topk at run time.
template <class Table>
uint8_t* add_byte_rows_of_plan(const typename Table::Position* positions, uint32_t num_tokens,
                               uint32_t num_topk, const Plan& plan, uint32_t first_token, uint8_t* rows) {
  const auto add = [&](auto node_chunks) __attribute__((always_inline)) {
    const auto add_topk = [&](auto topk) __attribute__((always_inline)) {
      return add_byte_rows<Table, node_chunks.value, topk.value>(positions, num_tokens, num_topk, plan,
                                                                 first_token, rows);
    };
    if constexpr (std::is_same_v<Table, SmallTable>) return with_topk<8>(num_topk, add_topk);
    return add_topk(Constant<0u>());
  };
  const uint32_t num_nodes = num_counted_nodes(plan);
  if (num_nodes == 0) return add(Constant<0>());
  return num_nodes <= kMaxByteRowNodes ? add(Constant<4>()) : add(Constant<kTouchNodes>());
}
