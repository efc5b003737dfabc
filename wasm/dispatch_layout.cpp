// The exports of the module. dispatch_layout.h states the contract.
#include "dispatch_layout.h"

#include "bit_columns.h"
#include "expert_table.h"
#include "long_rows.h"
#include "mask_rows.h"
#include "topk_ids.h"

namespace {

Plan the_plan;

bool has_mask_rows(const Plan& plan) { return plan.num_ranks <= kMaxMaskRanks; }

// Calls use(type) with the type as a compile-time constant.
template <class Use>
auto with_id_type(IdType type, Use use) {
  switch (type) {
    case IdType::kInt64: return use(Constant<IdType::kInt64>());
    case IdType::kUint64: return use(Constant<IdType::kUint64>());
    case IdType::kInt32: return use(Constant<IdType::kInt32>());
    case IdType::kUint32: return use(Constant<IdType::kUint32>());
    case IdType::kInt16: return use(Constant<IdType::kInt16>());
    case IdType::kUint16: return use(Constant<IdType::kUint16>());
    case IdType::kInt8: return use(Constant<IdType::kInt8>());
    default: return use(Constant<IdType::kUint8>());
  }
}

int64_t join(uint32_t low, uint32_t high) {
  return static_cast<int64_t>(static_cast<uint64_t>(high) << 32 | low);
}

void fill(uint32_t* values, uint32_t count, uint32_t value) {
  for (uint32_t i = 0; i < count; i++) values[i] = value;
}

void start_adding() {
  Plan& plan = the_plan;
  if (plan.state == State::kAdding) return;
  plan.state = State::kAdding;
  fill(plan.num_tokens_per_rank, plan.num_ranks, 0);
  fill(plan.num_tokens_per_rdma_rank, plan.num_rdma_ranks, 0);
  fill(plan.last_token_of_node, plan.num_rdma_ranks, kNoToken);
}

uint32_t num_tokens_per_block(const Plan& plan) {
  // Nothing overflows where only columns of bits are counted, and they take as many tokens as their vectors hold
  if (has_mask_rows(plan) && plan.has_bit_rows && num_counted_nodes(plan) == 0)
    return kMaxTokensPerBlock * num_rows_per_vector(plan);
  if (has_mask_rows(plan)) return kMaxTokensPerBlock;
  const uint32_t fit = kMaxBytesOfRows / row_bytes(plan);
  return fit > kMaxTokensPerBlock ? kMaxTokensPerBlock : fit == 0 ? 1 : fit;
}

}  // namespace

EXPORT Plan* plan() { return &the_plan; }

EXPORT void build_table() {
  Plan& plan = the_plan;
  plan.state = State::kIdle;
  if (is_row_a_vector(plan)) fill_bits_of_ranks();
  with_table(plan, [&](auto table) {
    const uint32_t num_entries = plan.num_experts + kNumEmptyEntries;
    for (uint32_t expert = 0; expert < num_entries; expert++) {
      const int32_t rank = expert < plan.num_experts ? plan.rank_of_expert[expert] : kNoRank;
      const Entry entry = has_mask_rows(plan) ? mask_entry(rank, plan) : long_entry(rank, plan);
      for (uint32_t copy = 0; copy < max_copies(plan); copy++)
        table.entries()[copy * num_entries + expert] = entry;
    }
  });
}

EXPORT void finish();

// num_ids is the number of ids in all. The table may have copies only if no order of rows is computed.
EXPORT void begin(uint32_t num_ids, bool has_copies) {
  Plan& plan = the_plan;
  // What was begun before may not have been finished, because an id was invalid, the stack overflowed, or a call in
  // a `vm` timed out. Its counts are discarded here
  if (plan.state == State::kAdding) finish();
  if (plan.state == State::kOrdering)
    with_table(plan, [&](auto table) { clear_counters(table, plan.num_experts); });
  // Adding up the copies of a table takes time, which is worth it only if there are many ids
  plan.num_copies = !has_copies || num_ids / kMinIdsPerCopiedExpert < plan.num_experts ? 1 : max_copies(plan);
  plan.num_ids = num_ids;
  plan.num_located = 0;
}

// Finds the entries of ids, and writes where they are to plan.positions from index first_id on. Returns whether
// all ids are experts, -1 or the empty id. Every id that is not an expert gets an empty entry. The empty id, if
// there is one, comes in two halves, and can be any id of the type; if it is that of an expert, the expert gets
// no selections.
EXPORT bool locate(const uint8_t* ids, IdType type, uint32_t num_ids, uint32_t first_id, bool has_empty_id,
                   uint32_t empty_low, uint32_t empty_high) {
  Plan& plan = the_plan;
  const int64_t empty_id = join(empty_low, empty_high);
  plan.num_located = first_id + num_ids;
  return with_id_type(type, [&](auto id_type) {
    return with_table(plan, [&](auto table) {
      auto* first = static_cast<typename decltype(table)::Position*>(plan.positions) + first_id;
      // Most calls have no empty id. The comparison with one would make them a tenth slower
      return has_empty_id
                 ? locate<id_type.value, true>(ids, num_ids, plan.num_experts, empty_id, table, first)
                 : locate<id_type.value, false>(ids, num_ids, plan.num_experts, empty_id, table, first);
    });
  });
}

// Returns the index of the first id that is neither an expert, nor -1, nor the empty id; num_ids if there is
// none. The empty id comes in two halves, and can be any id of the type. If it is the id of an expert, it
// changes nothing, and means that there is no empty id.
EXPORT uint32_t find_invalid(const uint8_t* ids, IdType type, uint32_t num_ids, uint32_t empty_low,
                             uint32_t empty_high) {
  const int64_t empty_id = join(empty_low, empty_high);
  uint32_t i = 0;
  for (; i < num_ids; i++) {
    const int64_t id = load_id(ids, type, i);
    const bool is_expert = static_cast<uint64_t>(id) < the_plan.num_experts;
    if (!is_expert && id != empty_id && !(id == -1 && is_signed(type))) break;
  }
  return i;
}

// Adds tokens whose positions begin at index first_id. Their rows are written to is_token_in_rank.
EXPORT void add_tokens(uint32_t first_id, uint32_t num_tokens, uint32_t num_topk, uint32_t first_token,
                       uint8_t* is_token_in_rank) {
  start_adding();
  const Plan& plan = the_plan;
  const uint32_t step = num_tokens_per_block(plan);
  with_table(plan, [&](auto table) {
    using Table = decltype(table);
    const auto* positions = static_cast<const typename Table::Position*>(plan.positions) + first_id;
    for (uint32_t token = 0; token < num_tokens; token += step, positions += step * num_topk) {
      const uint32_t left = num_tokens - token, count = left < step ? left : step;
      uint8_t* const rows = is_token_in_rank;
      is_token_in_rank =
          has_mask_rows(plan)
              ? add_mask_rows_of_plan<Table>(positions, count, num_topk, plan, is_token_in_rank)
              : add_long_rows_of_plan<Table>(positions, count, num_topk, plan, first_token + token,
                                             is_token_in_rank);
      if (plan.has_bit_rows) add_bit_columns(rows, count, plan);
    }
  });
}

EXPORT void finish() {
  start_adding();  // There may have been no tokens
  Plan& plan = the_plan;
  with_table(plan, [&](auto table) {
    if (has_few_ids(plan)) {
      const auto* positions = static_cast<const typename decltype(table)::Position*>(plan.positions);
      take_few_counts(table, plan.num_experts, positions, plan.num_located, plan.num_tokens_per_expert);
    } else {
      take_counts(table, plan.num_experts, plan.num_tokens_per_expert);
    }
  });
  if (num_counted_nodes(plan) == 0 && plan.num_rdma_ranks > 1) {  // There is one rank per node
    memcpy(plan.num_tokens_per_rdma_rank, plan.num_tokens_per_rank, plan.num_ranks * sizeof(uint32_t));
  }
  plan.state = State::kIdle;
}
