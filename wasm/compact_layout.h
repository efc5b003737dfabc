// The fast path: num_experts <= kMaxCompactExperts and num_ranks <= 64.
//
// One 16-byte load per selected expert brings everything: OR it into the token's mask, add one to its
// counter, store it back. The lanes of the OR that hold counters are garbage, and unused.
#pragma once

#include <wasm_simd128.h>

#include "dispatch_layout.h"

struct alignas(16) CompactEntry {
  uint64_t rank_mask;  // planar: rank r is bit r >> 3 of byte r & 7
  uint32_t num_tokens;
  uint32_t node_mask;  // planar: node n is bit n >> 2 of byte n & 3
};

// Below the module's static data (see build.sh: --global-base), at a constant address: LLVM then folds it
// into the offset of every load and store, since a 16-bit number plus this cannot wrap.
constexpr uint32_t kCompactTable = 0x10000;

inline CompactEntry* compact_table() { return reinterpret_cast<CompactEntry*>(kCompactTable); }
inline uint8_t* compact_entry_at(uint16_t offset) {
  return reinterpret_cast<uint8_t*>(kCompactTable + offset);
}

inline CompactEntry compact_entry(int32_t rank, uint32_t num_ranks_per_node) {
  if (rank == kNoRank) return {0, 0, 0};
  const uint32_t node = static_cast<uint32_t>(rank) / num_ranks_per_node;
  return {uint64_t{1} << (8 * (rank & 7) + (rank >> 3)), 0,
          node < 32 ? 1u << (8 * (node & 3) + (node >> 2)) : 0};
}

// Adds 16 counters of 8 bits to 16 of 32 bits.
__attribute__((noinline)) inline void add_byte_counts(uint32_t* counts, v128_t bytes) {
  const v128_t low = wasm_u16x8_extend_low_u8x16(bytes), high = wasm_u16x8_extend_high_u8x16(bytes);
  const v128_t quarters[4] = {wasm_u32x4_extend_low_u16x8(low), wasm_u32x4_extend_high_u16x8(low),
                              wasm_u32x4_extend_low_u16x8(high), wasm_u32x4_extend_high_u16x8(high)};
  for (int i = 0; i < 4; i++) {
    wasm_v128_store(counts + 4 * i, wasm_i32x4_add(wasm_v128_load(counts + 4 * i), quarters[i]));
  }
}

// Adds at most kMaxTokensPerBlock tokens. kNumRankChunks: 16-byte chunks of a row, 0 for the 8-byte rows of up to
// 8 ranks. kNumTopk: 0 takes num_topk at run time. Returns the end of the rows, each stored with up to 15
// bytes of zeros behind it, which the next row overwrites.
template <int kNumRankChunks, int kNumNodeChunks, uint32_t kNumTopk>
__attribute__((noinline)) uint8_t* add_compact_block(const uint16_t* offsets, uint32_t num_tokens,
                                                     uint32_t num_topk_at_run_time, const Plan& plan,
                                                     uint8_t* row) {
  constexpr int kNumSums = kNumRankChunks == 0 ? 1 : kNumRankChunks;
  const uint32_t num_topk = kNumTopk == 0 ? num_topk_at_run_time : kNumTopk;
  const uint32_t num_ranks = plan.num_ranks;
  const v128_t one_token = wasm_i32x4_const(0, 0, 1, 0);
  const v128_t first_bits = wasm_i8x16_const_splat(1);
  const v128_t bits_of_nodes[2] = {
      wasm_i32x4_const(0x01010101, 0x02020202, 0x04040404, 0x08080808),
      wasm_i32x4_const(0x10101010, 0x20202020, 0x40404040, static_cast<int32_t>(0x80808080))};
  v128_t sums[kNumSums], node_sums[2];
  for (v128_t& sum : sums) sum = wasm_i32x4_const_splat(0);
  for (v128_t& sum : node_sums) sum = wasm_i32x4_const_splat(0);

  for (uint32_t token = 0; token < num_tokens; token++, offsets += num_topk, row += num_ranks) {
    // Count the experts, gather the mask
    v128_t mask = wasm_i32x4_const_splat(0);
    auto select = [&mask, one_token](uint16_t offset) {
      uint8_t* entry = compact_entry_at(offset);
      const v128_t value = wasm_v128_load(entry);
      mask = wasm_v128_or(mask, value);
      wasm_v128_store(entry, wasm_i32x4_add(value, one_token));
    };
    if constexpr (kNumTopk != 0) {
#pragma unroll
      for (uint32_t slot = 0; slot < kNumTopk; slot++) select(offsets[slot]);
    } else {
      for (uint32_t slot = 0; slot < num_topk; slot++) select(offsets[slot]);
    }

    // Spread the mask over the row, count the ranks
    if constexpr (kNumRankChunks == 0) {
      wasm_v128_store64_lane(row, mask, 0);
      sums[0] = wasm_i8x16_add(sums[0], mask);
    } else {
      const v128_t both = wasm_i64x2_shuffle(mask, wasm_u64x2_shr(mask, 1), 0, 2);
#pragma unroll
      for (int chunk = 0; chunk < kNumRankChunks; chunk++) {
        const v128_t bytes = wasm_v128_and(wasm_u64x2_shr(both, 2 * chunk), first_bits);
        wasm_v128_store(row + 16 * chunk, bytes);
        sums[chunk] = wasm_i8x16_add(sums[chunk], bytes);
      }
    }

    // Count the nodes: a comparison that holds is -1
    if constexpr (kNumNodeChunks > 0) {
      const v128_t nodes = wasm_i32x4_shuffle(mask, mask, 3, 3, 3, 3);
      for (int chunk = 0; chunk < kNumNodeChunks; chunk++) {
        const v128_t bits = bits_of_nodes[chunk];
        node_sums[chunk] = wasm_i8x16_sub(node_sums[chunk], wasm_i8x16_eq(wasm_v128_and(nodes, bits), bits));
      }
    }
  }

  if constexpr (kNumRankChunks == 0) {
    sums[0] = wasm_i64x2_replace_lane(sums[0], 1, 0);  // counters of entries, not of ranks
  }
  for (int chunk = 0; chunk < kNumSums; chunk++) {
    add_byte_counts(plan.num_tokens_per_rank + 16 * chunk, sums[chunk]);
  }
  if constexpr (kNumNodeChunks > 0) {
    for (int chunk = 0; chunk < kNumNodeChunks; chunk++) {
      add_byte_counts(plan.num_tokens_per_rdma_rank + 16 * chunk, node_sums[chunk]);
    }
  }
  return row;
}

template <int kNumRankChunks, int kNumNodeChunks>
uint8_t* add_compact_block_of_topk(const uint16_t* offsets, uint32_t num_tokens, uint32_t num_topk,
                                   const Plan& plan, uint8_t* row) {
  // More than 16 nodes are too rare for code of their own
  if constexpr (kNumNodeChunks > 1) {
    return add_compact_block<kNumRankChunks, kNumNodeChunks, 0>(offsets, num_tokens, num_topk, plan, row);
  }
  switch (num_topk) {
    case 1:
      return add_compact_block<kNumRankChunks, kNumNodeChunks, 1>(offsets, num_tokens, num_topk, plan, row);
    case 2:
      return add_compact_block<kNumRankChunks, kNumNodeChunks, 2>(offsets, num_tokens, num_topk, plan, row);
    case 4:
      return add_compact_block<kNumRankChunks, kNumNodeChunks, 4>(offsets, num_tokens, num_topk, plan, row);
    case 6:
      return add_compact_block<kNumRankChunks, kNumNodeChunks, 6>(offsets, num_tokens, num_topk, plan, row);
    case 8:
      return add_compact_block<kNumRankChunks, kNumNodeChunks, 8>(offsets, num_tokens, num_topk, plan, row);
    default:
      return add_compact_block<kNumRankChunks, kNumNodeChunks, 0>(offsets, num_tokens, num_topk, plan, row);
  }
}

template <int kNumNodeChunks>
uint8_t* add_compact_block_of_ranks(const uint16_t* offsets, uint32_t num_tokens, uint32_t num_topk,
                                    const Plan& plan, uint8_t* row) {
  if (plan.num_ranks <= 8) {
    return add_compact_block_of_topk<0, kNumNodeChunks>(offsets, num_tokens, num_topk, plan, row);
  }
  switch ((plan.num_ranks + 15) / 16) {
    case 1:
      return add_compact_block_of_topk<1, kNumNodeChunks>(offsets, num_tokens, num_topk, plan, row);
    case 2:
      return add_compact_block_of_topk<2, kNumNodeChunks>(offsets, num_tokens, num_topk, plan, row);
    case 3:
      return add_compact_block_of_topk<3, kNumNodeChunks>(offsets, num_tokens, num_topk, plan, row);
    default:
      return add_compact_block_of_topk<4, kNumNodeChunks>(offsets, num_tokens, num_topk, plan, row);
  }
}
