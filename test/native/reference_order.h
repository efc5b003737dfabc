// Computes the orders of rows literally by their definition: the selections that have rows are sorted by their keys.
#pragma once

#include <algorithm>

#include "reference_layout.h"

// Which order of a problem's ids is computed.
struct OrderRequest {
  Order order = Order::kByExpert;
  // For orders by expert; the local experts are among those of the problem
  uint32_t first_expert = 0, num_local_experts = 0, alignment = 1;

  bool is_by_expert() const { return order == Order::kByExpert; }
  uint32_t num_keys(const Problem& problem) const {
    return is_by_expert() ? num_local_experts : problem.partition.num_ranks;
  }
  // The largest number of rows, padding included, that ids of the problem's shape can have
  uint32_t max_rows(const Problem& problem) const {
    const uint32_t num_ids = problem.num_tokens * problem.num_topk;
    if (!is_by_expert()) return problem.num_tokens * std::min(problem.num_topk, problem.partition.num_ranks);
    return (num_ids + std::min(num_ids, num_local_experts) * (alignment - 1)) / alignment * alignment;
  }
};

struct RowOrder {
  std::vector<uint32_t> num_rows_of_key, first_row_of_key, of_row, row_of_selection;
};

inline RowOrder reference_order(const Problem& problem, const OrderRequest& request) {
  struct Row {
    uint32_t key, selection;
  };
  std::vector<Row> rows;
  for (uint32_t token = 0; token < problem.num_tokens; token++) {
    std::set<int32_t> ranks;
    for (uint32_t i = 0; i < problem.num_topk; i++) {
      const uint32_t slot = request.order == Order::kByRankLast ? problem.num_topk - 1 - i : i;
      const uint32_t selection = token * problem.num_topk + slot;
      const int64_t expert = expert_of_selection(problem, selection);
      if (expert < 0) continue;
      if (request.is_by_expert()) {
        const int64_t local_expert = expert - request.first_expert;
        if (local_expert < 0 || local_expert >= request.num_local_experts) continue;
        rows.push_back({static_cast<uint32_t>(local_expert), selection});
      } else {
        const int32_t rank = problem.partition.rank_of_expert[static_cast<size_t>(expert)];
        if (rank == kNoRank || !ranks.insert(rank).second) continue;
        rows.push_back({static_cast<uint32_t>(rank), selection});
      }
    }
  }
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.key < b.key; });

  const uint32_t num_keys = request.num_keys(problem);
  RowOrder order;
  order.num_rows_of_key.resize(num_keys);
  order.of_row.resize(request.max_rows(problem), kNoRow);
  order.row_of_selection.resize(size_t{problem.num_tokens} * problem.num_topk, kNoRow);
  uint32_t row = 0;
  auto next = rows.begin();
  for (uint32_t key = 0; key < num_keys; key++) {
    order.first_row_of_key.push_back(row);
    for (; next != rows.end() && next->key == key; next++, row++) {
      order.num_rows_of_key[key]++;
      order.of_row.at(row) = request.is_by_expert() ? next->selection : next->selection / problem.num_topk;
      order.row_of_selection.at(next->selection) = row;
    }
    while (request.is_by_expert() && row % request.alignment != 0) row++;
  }
  order.first_row_of_key.push_back(row);
  return order;
}
