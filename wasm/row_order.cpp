// The exports of the module that orders rows. dispatch_layout.h states the contract. It is a module of its own so that
// programs which compute only layouts do not contain it.
#include "row_order.h"

#include "dispatch_layout.h"
#include "expert_table.h"

// Counts the rows of all ids that were located, which are those of tokens from first_token on. All of them are counted
// before any is placed.
EXPORT void count_rows(Plan* address_of_plan, Order order, uint32_t num_tokens, uint32_t num_topk,
                       uint32_t first_token) {
  Plan& plan = *address_of_plan;
  with_table(plan, [&](auto table) {
    using Table = decltype(table);
    const auto* positions = static_cast<const typename Table::Position*>(plan.positions);
    if (order == Order::kByExpert) {
      plan.state = State::kOrdering;
      count_experts<Table>(positions, num_tokens * num_topk);
    } else {
      clear_rank_cells(plan);
      visit_ranks<Table, false>(table, positions, num_tokens, num_topk, first_token,
                                order == Order::kByRankLast, plan, nullptr);
    }
  });
}

// Writes the counts and the first rows of all keys, and what is in rows without a selection, of max_rows in all. The
// last three are for orders by expert. Returns the number of rows.
EXPORT uint32_t begin_rows(Plan* address_of_plan, Order order, const OrderRows* rows, uint32_t max_rows,
                           uint32_t first_expert, uint32_t num_local_experts, uint32_t alignment) {
  const Plan& plan = *address_of_plan;
  const auto begin_expert = [&](auto table) {
    using Table = decltype(table);
    if constexpr (std::is_same_v<Table, SmallTable>) {
      if (alignment == 1)
        return begin_expert_rows<Table, false>(table, plan.num_experts, *rows, first_expert,
                                               num_local_experts, alignment);
    }
    return begin_expert_rows<Table, true>(table, plan.num_experts, *rows, first_expert, num_local_experts,
                                          alignment);
  };
  const uint32_t num_rows =
      order == Order::kByExpert ? with_table(plan, begin_expert) : begin_rank_rows(plan, *rows);
  fill_rows(rows->of_row, num_rows, max_rows);
  return num_rows;
}

// Gives the selections that were counted their rows.
EXPORT void place_rows(Plan* address_of_plan, Order order, const OrderRows* rows, uint32_t num_tokens,
                       uint32_t num_topk, uint32_t first_token) {
  const Plan& plan = *address_of_plan;
  with_table(plan, [&](auto table) {
    using Table = decltype(table);
    const auto* positions = static_cast<const typename Table::Position*>(plan.positions);
    if (order == Order::kByExpert)
      place_by_expert<Table>(positions, num_tokens * num_topk, first_token * num_topk, *rows);
    else
      visit_ranks<Table, true>(table, positions, num_tokens, num_topk, first_token,
                               order == Order::kByRankLast, plan, rows);
  });
}

EXPORT void shift_rows(Plan* address_of_plan, Order order, uint32_t num_ids, uint32_t first_expert,
                       const uint32_t* shift_of_key, uint32_t* row_of_selection) {
  const Plan& plan = *address_of_plan;
  with_table(plan, [&](auto table) {
    shift_rows(table, plan, order, num_ids, first_expert, shift_of_key, row_of_selection);
  });
}

EXPORT void finish_rows(Plan* address_of_plan) {
  Plan& plan = *address_of_plan;
  if (plan.state != State::kOrdering) return;
  with_table(plan, [&](auto table) { clear_counters(table, plan.num_experts); });
  plan.state = State::kIdle;
}
