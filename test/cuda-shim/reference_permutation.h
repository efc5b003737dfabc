// Computes the permutations literally by their definition, for tests on the CPU and on a GPU.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <vector>

#include "../../cuda/kernel/permutation.h"
#include "reference_layout.h"

namespace dispatch_layout {

struct PermutationProblem {
  IdType type = IdType::kInt64;
  int64_t num_tokens = 0;
  int num_topk = 0;
  int64_t token_stride = 0, first_id = 0;  // In elements
  int num_experts = 1;
  std::optional<uint64_t> empty_id;
  bool is_strict = true;
  std::vector<char> ids;
  int64_t max_rows = 0;

  bool is_by_rank = false;
  int first_expert = 0, num_local_experts = 1, alignment = 1;  // By expert
  int num_ranks = 1;                                           // By rank
  std::vector<int32_t> rank_of_expert;
  bool does_last_win = false;

  int num_keys() const { return is_by_rank ? num_ranks : num_local_experts; }
};

struct Permutation {
  std::vector<int32_t> counts, offsets, item_of_row, row_of_selection;
  InvalidSelection first_invalid{};  // Of the launch number 0
};

// Returns the expert of a selection, or -1; `is_invalid` says whether its id is neither empty nor an expert.
inline int find_reference_expert(const PermutationProblem& q, int64_t index, bool* is_invalid) {
  const __int128 id = read_id(q.type, &q.ids[index * get_id_bytes(q.type)]);
  const bool is_empty = id == -1 || (q.empty_id.has_value() && id == read_id(q.type, &*q.empty_id));
  const bool is_expert = id >= 0 && id < q.num_experts;
  *is_invalid = !is_empty && !is_expert;
  return is_expert && !is_empty ? static_cast<int>(id) : -1;
}

inline Permutation get_reference_permutation(const PermutationProblem& q) {
  Permutation result;
  result.row_of_selection.assign(q.num_tokens * q.num_topk, -1);
  result.item_of_row.assign(q.max_rows, -1);

  // The selections that have rows, by key
  std::map<int, std::vector<int64_t>> selections;
  for (int64_t token_idx = 0; token_idx < q.num_tokens; ++token_idx) {
    std::map<int, int64_t> winners;
    for (int slot = 0; slot < q.num_topk; ++slot) {
      const int64_t index = q.first_id + token_idx * q.token_stride + slot;
      const int64_t selection = token_idx * q.num_topk + slot;
      bool is_invalid;
      const int expert_idx = find_reference_expert(q, index, &is_invalid);
      if (is_invalid && result.first_invalid.status == 0) {
        result.first_invalid = {1, token_idx, slot, 0};
        std::memcpy(&result.first_invalid.id, &q.ids[index * get_id_bytes(q.type)], get_id_bytes(q.type));
      }
      if (expert_idx < 0) continue;
      if (!q.is_by_rank) {
        const int local_idx = expert_idx - q.first_expert;
        if (local_idx >= 0 && local_idx < q.num_local_experts) selections[local_idx].push_back(selection);
        continue;
      }
      const int num_experts_per_rank = q.num_experts / q.num_ranks;
      const int rank_idx = !q.rank_of_expert.empty()  ? q.rank_of_expert[expert_idx]
                           : num_experts_per_rank > 0 ? expert_idx / num_experts_per_rank
                                                      : -1;
      if (rank_idx < 0 || rank_idx >= q.num_ranks) continue;
      if (q.does_last_win || winners.count(rank_idx) == 0) winners[rank_idx] = selection;
    }
    for (const auto& [rank_idx, selection] : winners) selections[rank_idx].push_back(selection);
  }

  int32_t num_rows = 0;
  for (int key = 0; key < q.num_keys(); ++key) {
    const auto found = selections.find(key);
    const int32_t count = found == selections.end() ? 0 : static_cast<int32_t>(found->second.size());
    result.counts.push_back(count);
    result.offsets.push_back(num_rows);
    for (int32_t i = 0; i < count; ++i) {
      const int64_t selection = found->second[i];
      result.item_of_row.at(num_rows + i) =
          static_cast<int32_t>(q.is_by_rank ? selection / q.num_topk : selection);
      result.row_of_selection.at(selection) = num_rows + i;
    }
    num_rows += count;
    if (!q.is_by_rank)
      while (num_rows % q.alignment != 0) ++num_rows;
  }
  result.offsets.push_back(num_rows);
  return result;
}

}  // namespace dispatch_layout
