// Computes the layout literally by its definition, for tests on the CPU and on a GPU.
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <vector>

#include "../../cuda/kernel/dispatch_layout.h"

namespace dispatch_layout {

struct LayoutProblem {
  IdType type = IdType::kInt64;
  int64_t num_tokens = 0;
  int num_topk = 0;
  int64_t token_stride = 0, first_id = 0;  // In elements
  int num_experts = 1, num_ranks = 1, num_nodes = 1;
  std::optional<uint64_t> empty_id;
  bool is_strict = true, has_mask = true, has_bit_rows = false;
  std::vector<int32_t> rank_of_expert;
  std::vector<char> ids;
};

struct Layout {
  std::vector<int32_t> num_tokens_per_rank, num_tokens_per_rdma_rank, num_tokens_per_expert;
  std::vector<uint8_t> is_token_in_rank;
  InvalidSelection first_invalid{};  // Of the layout number 0
};

// The value of an id. All types together need 65 bits.
inline __int128 read_id(IdType type, const void* bytes) {
  const auto read = [&](auto id) -> __int128 {
    std::memcpy(&id, bytes, sizeof(id));
    return id;
  };
  switch (type) {
    case IdType::kInt64: return read(int64_t{});
    case IdType::kInt32: return read(int32_t{});
    case IdType::kUint32: return read(uint32_t{});
    case IdType::kInt16: return read(int16_t{});
    case IdType::kUint16: return read(uint16_t{});
    case IdType::kInt8: return read(int8_t{});
    case IdType::kUint8: return read(uint8_t{});
    default: return read(uint64_t{});
  }
}

inline Layout get_reference_layout(const LayoutProblem& q) {
  Layout layout;
  layout.num_tokens_per_rank.resize(q.num_ranks);
  layout.num_tokens_per_rdma_rank.resize(q.num_nodes > 1 ? q.num_nodes : 0);
  layout.num_tokens_per_expert.resize(q.num_experts);
  const int row_bytes = q.has_bit_rows ? (q.num_ranks + 7) / 8 : q.num_ranks;
  if (q.has_mask) layout.is_token_in_rank.resize(q.num_tokens * row_bytes);
  const int num_experts_per_rank = q.num_experts / q.num_ranks;
  const __int128 empty_id = q.empty_id.has_value() ? read_id(q.type, &*q.empty_id) : -1;
  for (int64_t token_idx = 0; token_idx < q.num_tokens; ++token_idx) {
    std::set<int> ranks, nodes;
    for (int slot = 0; slot < q.num_topk; ++slot) {
      const int64_t index = q.first_id + token_idx * q.token_stride + slot;
      const __int128 id = read_id(q.type, &q.ids[index * get_id_bytes(q.type)]);
      if (id == -1 || id == empty_id) continue;
      if (id < 0 || id >= q.num_experts) {
        if (layout.first_invalid.status == 0) {
          layout.first_invalid = {1, token_idx, slot, 0};
          std::memcpy(&layout.first_invalid.id, &q.ids[index * get_id_bytes(q.type)], get_id_bytes(q.type));
        }
        continue;
      }
      const int expert_idx = static_cast<int>(id);
      ++layout.num_tokens_per_expert[expert_idx];
      const int rank_idx = !q.rank_of_expert.empty()  ? q.rank_of_expert[expert_idx]
                           : num_experts_per_rank > 0 ? expert_idx / num_experts_per_rank
                                                      : -1;
      if (rank_idx < 0 || rank_idx >= q.num_ranks) continue;
      ranks.insert(rank_idx);
      nodes.insert(rank_idx / (q.num_ranks / q.num_nodes));
    }
    for (int rank_idx : ranks) {
      ++layout.num_tokens_per_rank[rank_idx];
      if (!q.has_mask) continue;
      if (q.has_bit_rows)
        layout.is_token_in_rank[token_idx * row_bytes + rank_idx / 8] |= 1 << rank_idx % 8;
      else
        layout.is_token_in_rank[token_idx * row_bytes + rank_idx] = 1;
    }
    if (q.num_nodes > 1)
      for (int node_idx : nodes) ++layout.num_tokens_per_rdma_rank[node_idx];
  }
  return layout;
}

}  // namespace dispatch_layout
