// The exports of the module: see dispatch_layout.h for the contract.
#include "dispatch_layout.h"

#include "compact_layout.h"
#include "topk_ids.h"
#include "wide_layout.h"

#define EXPORT extern "C" __attribute__((visibility("default"), used))

namespace {

Plan the_plan;

bool is_compact(const Plan& plan) {
  return plan.num_experts <= kMaxCompactExperts && plan.num_ranks <= kMaxCompactRanks;
}

// With one rank per node the counts of nodes are those of ranks.
bool counts_nodes(const Plan& plan) { return plan.num_rdma_ranks > 1 && plan.num_ranks_per_node > 1; }

template <template <IdType> class Function, class... Arguments>
auto for_id_type(IdType type, Arguments... arguments) {
  switch (type) {
    case IdType::kInt64:
      return Function<IdType::kInt64>::call(arguments...);
    case IdType::kUint64:
      return Function<IdType::kUint64>::call(arguments...);
    case IdType::kInt32:
      return Function<IdType::kInt32>::call(arguments...);
    case IdType::kUint32:
      return Function<IdType::kUint32>::call(arguments...);
    case IdType::kInt16:
      return Function<IdType::kInt16>::call(arguments...);
    case IdType::kUint16:
      return Function<IdType::kUint16>::call(arguments...);
    case IdType::kInt8:
      return Function<IdType::kInt8>::call(arguments...);
    case IdType::kUint8:
      return Function<IdType::kUint8>::call(arguments...);
  }
  __builtin_unreachable();
}

template <IdType kType>
struct Scan {
  static uint32_t call(const uint8_t* ids, uint32_t num_ids, uint32_t num_experts) {
    return scan_for_invalid<kType>(ids, num_ids, num_experts);
  }
};

template <IdType kType>
struct Locate {
  static bool call(uint8_t* ids, uint32_t num_ids, const Plan* plan, uint32_t first_id) {
    for (uint32_t i = 0; i < kSlackBytes; i += 16) {
      wasm_v128_store(ids + num_ids * kIdBytes<kType> + i, wasm_i32x4_const_splat(0));
    }
    if (is_compact(*plan))
      return to_table_offsets<kType>(ids, num_ids, plan->num_experts, plan->offsets + first_id);
    return to_table_addresses<kType>(ids, num_ids, plan->num_experts, plan->wide_table,
                                     plan->addresses + first_id);
  }
};

uint8_t* add_wide_tokens(const Plan& plan, uint32_t first_id, uint32_t num_tokens, uint32_t num_topk,
                         uint32_t first_token, uint8_t* row) {
  const uint32_t* addresses = plan.addresses + first_id;
  switch (counts_nodes(plan) ? nodes_of(plan) : Nodes::kNone) {
    case Nodes::kNone:
      return add_wide_block<Nodes::kNone>(addresses, num_tokens, num_topk, plan, first_token, row);
    case Nodes::kMask:
      return add_wide_block<Nodes::kMask>(addresses, num_tokens, num_topk, plan, first_token, row);
    case Nodes::kTouch:
      return add_wide_block<Nodes::kTouch>(addresses, num_tokens, num_topk, plan, first_token, row);
  }
}

uint8_t* add_compact_tokens(const Plan& plan, uint32_t first_id, uint32_t num_tokens, uint32_t num_topk,
                            uint8_t* row) {
  const uint16_t* offsets = plan.offsets + first_id;
  if (!counts_nodes(plan)) return add_compact_block_of_ranks<0>(offsets, num_tokens, num_topk, plan, row);
  return plan.num_rdma_ranks <= 16 ? add_compact_block_of_ranks<1>(offsets, num_tokens, num_topk, plan, row)
                                   : add_compact_block_of_ranks<2>(offsets, num_tokens, num_topk, plan, row);
}

void fill(uint32_t* values, uint32_t count, uint32_t value) {
  for (uint32_t i = 0; i < count; i++) values[i] = value;
}

}  // namespace

EXPORT Plan* plan() { return &the_plan; }

EXPORT void build_table() {
  const Plan& plan = the_plan;
  for (uint32_t expert = 0; expert < plan.num_experts + kNumEmptyEntries; expert++) {
    const int32_t rank = expert < plan.num_experts ? plan.rank_of_expert[expert] : kNoRank;
    if (is_compact(plan)) {
      compact_table()[expert] = compact_entry(rank, plan.num_ranks_per_node);
    } else {
      plan.wide_table[expert] = wide_entry(rank, plan);
    }
  }
}

EXPORT void begin() {
  fill(the_plan.num_tokens_per_rank, the_plan.num_ranks, 0);
  if (the_plan.num_rdma_ranks > 1) fill(the_plan.num_tokens_per_rdma_rank, the_plan.num_rdma_ranks, 0);
  if (!is_compact(the_plan) && nodes_of(the_plan) == Nodes::kTouch) {
    fill(the_plan.last_token_of_node, the_plan.num_rdma_ranks, kNoToken);
  }
}

// Ids to entries, written from position first_id of plan.offsets or plan.addresses on. Returns whether all of
// them are experts or -1; what is not goes to an empty entry. Overwrites kSlackBytes behind the ids.
EXPORT bool locate(uint8_t* ids, IdType type, uint32_t num_ids, uint32_t first_id) {
  return for_id_type<Locate>(type, ids, num_ids, static_cast<const Plan*>(&the_plan), first_id);
}

// The position of the first id that is neither an expert nor -1, or num_ids.
EXPORT uint32_t find_invalid(const uint8_t* ids, IdType type, uint32_t num_ids) {
  return for_id_type<Scan>(type, ids, num_ids, the_plan.num_experts);
}

// Adds tokens whose entries were written from position first_id on; their rows go to is_token_in_rank.
EXPORT void add_tokens(uint32_t first_id, uint32_t num_tokens, uint32_t num_topk, uint32_t first_token,
                       uint8_t* is_token_in_rank) {
  const Plan& plan = the_plan;
  for (uint32_t token = 0; token < num_tokens;
       token += kMaxTokensPerBlock, first_id += kMaxTokensPerBlock * num_topk) {
    const uint32_t left = num_tokens - token, count = left < kMaxTokensPerBlock ? left : kMaxTokensPerBlock;
    is_token_in_rank =
        is_compact(plan)
            ? add_compact_tokens(plan, first_id, count, num_topk, is_token_in_rank)
            : add_wide_tokens(plan, first_id, count, num_topk, first_token + token, is_token_in_rank);
  }
}

// Both tables have the counter of an entry in lane 2. In fours; behind the experts are empty entries, and
// room for their counts.
EXPORT void finish() {
  const Plan& plan = the_plan;
  uint8_t* entry = is_compact(plan) ? compact_entry_at(0) : reinterpret_cast<uint8_t*>(plan.wide_table);
  const v128_t all_but_counter = wasm_i32x4_const(-1, -1, 0, -1);
  for (uint32_t expert = 0; expert < plan.num_experts; expert += 4, entry += 64) {
    v128_t entries[4];
    for (int i = 0; i < 4; i++) {
      entries[i] = wasm_v128_load(entry + 16 * i);
      wasm_v128_store(entry + 16 * i, wasm_v128_and(entries[i], all_but_counter));
    }
    const v128_t low = wasm_i32x4_shuffle(entries[0], entries[1], 2, 6, 2, 6);
    const v128_t high = wasm_i32x4_shuffle(entries[2], entries[3], 2, 6, 2, 6);
    wasm_v128_store(plan.num_tokens_per_expert + expert, wasm_i64x2_shuffle(low, high, 0, 2));
  }
  if (plan.num_rdma_ranks > 1 && !counts_nodes(plan)) {
    for (uint32_t rank = 0; rank < plan.num_ranks; rank++) {
      plan.num_tokens_per_rdma_rank[rank] = plan.num_tokens_per_rank[rank];
    }
  }
}
