// Computes the layout literally by its definition.
#pragma once

#include <cstring>
#include <set>
#include <vector>

#include "../../wasm/dispatch_layout.h"

struct Partition {
  uint32_t num_ranks, num_ranks_per_node;
  std::vector<int32_t> rank_of_expert;

  uint32_t num_experts() const { return static_cast<uint32_t>(rank_of_expert.size()); }
  uint32_t num_rdma_ranks() const {
    return num_ranks > num_ranks_per_node ? num_ranks / num_ranks_per_node : 1;
  }
};

struct Problem {
  Partition partition;
  IdType id_type;
  uint32_t num_tokens, num_topk;
  bool has_bit_rows = false;  // whether is_token_in_rank has a bit for each rank instead of a byte
  std::vector<uint8_t> ids;   // [num_tokens, num_topk], little-endian
  // What stands for an empty slot beside -1, as the type holds it; unused if there is none
  bool has_empty_id = false;
  __int128 empty_id = 0;

  uint32_t row_bytes() const { return has_bit_rows ? (partition.num_ranks + 7) / 8 : partition.num_ranks; }
};

struct Layout {
  std::vector<uint32_t> num_tokens_per_rank, num_tokens_per_rdma_rank, num_tokens_per_expert;
  std::vector<uint8_t> is_token_in_rank;
  uint64_t first_invalid_id = UINT64_MAX;  // the position of the id
};

// The value of an id. All types together need 65 bits.
inline __int128 read_id(IdType type, const void* bytes) {
  const auto read = [&](auto id) -> __int128 {
    std::memcpy(&id, bytes, sizeof id);
    return id;
  };
  switch (type) {
    case IdType::kInt64: return read(int64_t{});
    case IdType::kUint64: return read(uint64_t{});
    case IdType::kInt32: return read(int32_t{});
    case IdType::kUint32: return read(uint32_t{});
    case IdType::kInt16: return read(int16_t{});
    case IdType::kUint16: return read(uint16_t{});
    case IdType::kInt8: return read(int8_t{});
    default: return read(uint8_t{});
  }
}

// Returns the expert of a selection, kEmptySlot or kInvalidId.
constexpr int64_t kEmptySlot = -1, kInvalidId = -2;
inline int64_t expert_of_selection(const Problem& problem, size_t selection) {
  const __int128 id = read_id(problem.id_type, problem.ids.data() + selection * id_bytes(problem.id_type));
  if (id == -1 || (problem.has_empty_id && id == problem.empty_id)) return kEmptySlot;
  return id < 0 || id >= problem.partition.num_experts() ? kInvalidId : static_cast<int64_t>(id);
}

inline Layout reference_layout(const Problem& problem) {
  const Partition& partition = problem.partition;
  Layout layout;
  layout.num_tokens_per_rank.resize(partition.num_ranks);
  // Within one node nothing is counted
  layout.num_tokens_per_rdma_rank.resize(partition.num_rdma_ranks() > 1 ? partition.num_rdma_ranks() : 0);
  layout.num_tokens_per_expert.resize(partition.num_experts());
  layout.is_token_in_rank.resize(size_t{problem.num_tokens} * problem.row_bytes());
  size_t position = 0;
  for (uint32_t token = 0; token < problem.num_tokens; token++) {
    std::set<uint32_t> ranks, nodes;
    for (uint32_t slot = 0; slot < problem.num_topk; slot++, position++) {
      const int64_t expert = expert_of_selection(problem, position);
      if (expert == kInvalidId && layout.first_invalid_id == UINT64_MAX) layout.first_invalid_id = position;
      if (expert < 0) continue;
      layout.num_tokens_per_expert[static_cast<size_t>(expert)]++;
      const int32_t rank = partition.rank_of_expert[static_cast<size_t>(expert)];
      if (rank == kNoRank) continue;
      ranks.insert(static_cast<uint32_t>(rank));
      nodes.insert(static_cast<uint32_t>(rank) / partition.num_ranks_per_node);
    }
    for (uint32_t rank : ranks) {
      layout.num_tokens_per_rank[rank]++;
      uint8_t* const row = &layout.is_token_in_rank[size_t{token} * problem.row_bytes()];
      if (problem.has_bit_rows)
        row[rank >> 3] |= 1 << (rank & 7);
      else
        row[rank] = 1;
    }
    if (partition.num_rdma_ranks() > 1)
      for (uint32_t node : nodes) layout.num_tokens_per_rdma_rank[node]++;
  }
  return layout;
}
