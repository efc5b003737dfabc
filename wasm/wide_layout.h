// The path for everything the compact one cannot hold: more than 64 ranks, or more experts than 16-bit
// offsets reach.
//
// Rows are zeroed and written byte by byte. A token counts for a rank when it is the first to touch that byte
// of its row; for a node by a 64-bit mask, or, with more than 64 nodes, when it is the first of its
// selections to touch it.
#pragma once

#include <wasm_simd128.h>

#include "compact_layout.h"
#include "dispatch_layout.h"

struct alignas(16) Entry {
  uint64_t node;  // up to 64 nodes: planar mask, node n is bit n >> 3 of byte n & 7; beyond: the node itself
  uint32_t num_tokens;
  uint32_t rank;  // num_ranks for none: that byte of the row is behind it, and zeroed by the next row
};

enum class Nodes { kNone, kMask, kTouch };

inline Nodes nodes_of(const Plan& plan) {
  return plan.num_rdma_ranks == 1 ? Nodes::kNone : plan.num_rdma_ranks <= 64 ? Nodes::kMask : Nodes::kTouch;
}

inline Entry wide_entry(int32_t rank, const Plan& plan) {
  const bool touch = nodes_of(plan) == Nodes::kTouch;
  if (rank == kNoRank) return {touch ? plan.num_rdma_ranks : 0, 0, plan.num_ranks};
  const uint32_t node = static_cast<uint32_t>(rank) / plan.num_ranks_per_node;
  return {touch ? node : uint64_t{1} << (8 * (node & 7) + (node >> 3 & 7)), 0, static_cast<uint32_t>(rank)};
}

template <Nodes kNodes>
__attribute__((noinline)) uint8_t* add_wide_block(const uint32_t* addresses, uint32_t num_tokens,
                                                  uint32_t num_topk, const Plan& plan, uint32_t first_token,
                                                  uint8_t* row) {
  const uint32_t num_ranks = plan.num_ranks;
  uint32_t* const num_tokens_per_rank = plan.num_tokens_per_rank;
  const v128_t zero = wasm_i32x4_const_splat(0), one_token = wasm_i32x4_const(0, 0, 1, 0);
  const v128_t first_bits = wasm_i8x16_const_splat(1);
  v128_t node_sums[4] = {zero, zero, zero, zero};

  for (uint32_t token = 0; token < num_tokens; token++, addresses += num_topk, row += num_ranks) {
    for (uint32_t rank = 0; rank < num_ranks; rank += 16) wasm_v128_store(row + rank, zero);

    v128_t mask = zero;
    for (uint32_t slot = 0; slot < num_topk; slot++) {
      uint8_t* const entry = reinterpret_cast<uint8_t*>(addresses[slot]);
      const v128_t value = wasm_v128_load(entry);
      wasm_v128_store(entry, wasm_i32x4_add(value, one_token));
      const uint32_t rank = wasm_u32x4_extract_lane(value, 3);
      num_tokens_per_rank[rank] += 1 - row[rank];
      row[rank] = 1;
      if constexpr (kNodes == Nodes::kMask) mask = wasm_v128_or(mask, value);
      if constexpr (kNodes == Nodes::kTouch) {
        const uint32_t node = wasm_u32x4_extract_lane(value, 0);
        plan.num_tokens_per_rdma_rank[node] += plan.last_token_of_node[node] != first_token + token;
        plan.last_token_of_node[node] = first_token + token;
      }
    }

    if constexpr (kNodes == Nodes::kMask) {
      const v128_t both = wasm_i64x2_shuffle(mask, wasm_u64x2_shr(mask, 1), 0, 2);
#pragma unroll
      for (int chunk = 0; chunk < 4; chunk++) {
        node_sums[chunk] =
            wasm_i8x16_add(node_sums[chunk], wasm_v128_and(wasm_u64x2_shr(both, 2 * chunk), first_bits));
      }
    }
  }

  if constexpr (kNodes == Nodes::kMask) {
    for (uint32_t chunk = 0; chunk < (plan.num_rdma_ranks + 15) / 16; chunk++) {
      add_byte_counts(plan.num_tokens_per_rdma_rank + 16 * chunk, node_sums[chunk]);
    }
  }
  return row;
}
