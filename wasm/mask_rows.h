// Rows for up to 64 ranks. The row of a token is a 64-bit mask in a register. It is gathered together with
// the counts in five instructions per selection. When it is complete, it is spread over the bytes of the row, or
// stored as it is if rows are of bits.
#pragma once

#include <wasm_simd128.h>

#include <type_traits>

#include "dispatch_layout.h"
#include "expert_table.h"

constexpr uint32_t kMaxMaskRanks = 64;
// Node masks have 32 bits: with two or more ranks per node, 64 ranks are on at most 32 nodes. With one rank
// per node, nodes are not counted here.
constexpr uint32_t kMaxMaskNodes = 32;

// Fields of an entry: `low` is the rank mask, which is planar if rows are of bytes. `high` is the node mask,
// with node n at bit n >> 2 of byte n & 3.
inline Entry mask_entry(int32_t rank, const Plan& plan) {
  if (rank == kNoRank) return {0, 0, 0};
  const auto index = static_cast<uint32_t>(rank);
  const uint32_t node = index / plan.num_ranks_per_node;
  const uint32_t node_mask = node < kMaxMaskNodes ? 1u << (8 * (node & 3) + (node >> 2)) : 0;
  return {plan.has_bit_rows ? uint64_t{1} << index : planar_bit(index), 0, node_mask};
}

// Returns the vector in such a way that LLVM knows nothing about it. Otherwise it would compile (value & bit)
// == bit to three more instructions, for which V8 has too few registers.
inline v128_t opaque(v128_t vector) {
#ifdef __wasm__
  asm("" : "+r"(vector));
#endif
  return vector;
}

// Adds at most kMaxTokensPerBlock tokens. kNumRankChunks is the number of 16-byte chunks of a row. It is 0 if the
// mask is stored as the row, which has at most 8 bytes: for up to 8 ranks, and for rows of bits, whose ranks are not
// counted here. kNumNodeChunks is the number of chunks of 16 counted nodes; if nothing is counted here, there may be
// more tokens. If kNumTopk is 0, num_topk is taken at run time. Returns the end of the rows. Each row is stored with
// up to 63 bytes of zeros behind it, which the next row overwrites.
template <class Table, int kNumRankChunks, int kNumNodeChunks, uint32_t kNumTopk>
__attribute__((noinline)) uint8_t* add_mask_rows(const typename Table::Position* positions,
                                                 uint32_t num_tokens, uint32_t num_topk_at_run_time,
                                                 const Plan& plan, uint8_t* row) {
  constexpr int kNumSums = kNumRankChunks == 0 ? 1 : kNumRankChunks;
  const uint32_t num_topk = kNumTopk == 0 ? num_topk_at_run_time : kNumTopk;
  const uint32_t num_row_bytes = row_bytes(plan);
  const v128_t zero = wasm_i32x4_const_splat(0);
  const v128_t bits_of_nodes[2] = {
      opaque(wasm_i32x4_const(0x01010101, 0x02020202, 0x04040404, 0x08080808)),
      opaque(wasm_i32x4_const(0x10101010, 0x20202020, 0x40404040, static_cast<int32_t>(0x80808080)))};
  v128_t sums[4] = {zero, zero, zero, zero}, node_sums[2] = {zero, zero};

  auto add_token = [&]() __attribute__((always_inline)) {
    // Count the experts, and gather the masks. The lane of the counters is garbage from here on
    v128_t mask = zero;
    for_each_slot<kNumTopk>(
        num_topk, [&](uint32_t slot) __attribute__((always_inline)) {
          mask = wasm_v128_or(mask, count_selection<Table>(positions[slot]));
        });

    // Spread the mask over the row, and count the ranks
    if constexpr (kNumRankChunks == 0) {
      wasm_v128_store64_lane(row, mask, 0);
      sums[0] = wasm_i8x16_add(sums[0], mask);
    } else {
      const v128_t spread = spread_planar_mask(mask);
#pragma unroll
      for (int chunk = 0; chunk < kNumRankChunks; chunk++) {
        const v128_t bytes = chunk_of_mask(spread, chunk);
        wasm_v128_store(row + 16 * chunk, bytes);
        sums[chunk] = wasm_i8x16_add(sums[chunk], bytes);
      }
    }

    // Count the nodes. A comparison that holds gives -1
    if constexpr (kNumNodeChunks > 0) {
      const v128_t nodes = wasm_i32x4_shuffle(mask, mask, 3, 3, 3, 3);
      for (int chunk = 0; chunk < kNumNodeChunks; chunk++) {
        const v128_t bits = bits_of_nodes[chunk];
        node_sums[chunk] =
            wasm_i8x16_sub(node_sums[chunk], opaque(wasm_i8x16_eq(wasm_v128_and(nodes, bits), bits)));
      }
    }
    positions += num_topk, row += num_row_bytes;
  };
  uint32_t token = 0;
  // Short rows of two slots take little longer than the iteration of a loop itself, so two of them share one
  if constexpr (kNumRankChunks == 0 && kNumTopk == 2) {
    for (; token + 2 <= num_tokens; token += 2) {
      add_token();
      add_token();
    }
  }
  for (; token < num_tokens; token++) add_token();

  // The upper half of the sum is not about ranks
  if constexpr (kNumRankChunks == 0) sums[0] = wasm_i64x2_replace_lane(sums[0], 1, 0);
  for (int chunk = 0; chunk < kNumSums && (kNumRankChunks > 0 || !plan.has_bit_rows); chunk++) {
    add_byte_counts(plan.num_tokens_per_rank + 16 * chunk, sums[chunk]);
  }
  for (int chunk = 0; chunk < kNumNodeChunks; chunk++) {
    add_byte_counts(plan.num_tokens_per_rdma_rank + 16 * chunk, node_sums[chunk]);
  }
  return row;
}

// There is code of its own for the common shapes. All others use code for the widest rows that takes num_topk
// at run time.
template <class Table>
uint8_t* add_mask_rows_of_plan(const typename Table::Position* positions, uint32_t num_tokens,
                               uint32_t num_topk, const Plan& plan, uint8_t* row) {
  const auto add = [&](auto rank_chunks, auto node_chunks, auto topk) __attribute__((always_inline)) {
    return add_mask_rows<Table, rank_chunks.value, node_chunks.value, topk.value>(positions, num_tokens,
                                                                                  num_topk, plan, row);
  };
  const auto add_usual = [&](auto rank_chunks, auto node_chunks) __attribute__((always_inline)) {
    return with_topk<1, 2, 4, 6, 8, 10>(
        num_topk, [&](auto topk)
                      __attribute__((always_inline)) { return add(rank_chunks, node_chunks, topk); });
  };
  const uint32_t num_ranks = plan.num_ranks, num_nodes = num_counted_nodes(plan);
  if constexpr (std::is_same_v<Table, SmallTable>) {
    if (num_nodes == 0)
      return num_ranks <= 8 || plan.has_bit_rows ? add_usual(Constant<0>(), Constant<0>())
                                                 : add_usual(Constant<4>(), Constant<0>());
    if (num_nodes <= 16)
      return plan.has_bit_rows ? add_usual(Constant<0>(), Constant<1>())
             : num_ranks <= 32 ? add_usual(Constant<2>(), Constant<1>())
                               : add_usual(Constant<4>(), Constant<1>());
  }
  if (plan.has_bit_rows)
    return num_nodes == 0 ? add(Constant<0>(), Constant<0>(), Constant<0u>())
                          : add(Constant<0>(), Constant<2>(), Constant<0u>());
  return num_nodes == 0 ? add(Constant<4>(), Constant<0>(), Constant<0u>())
                        : add(Constant<4>(), Constant<2>(), Constant<0u>());
}
