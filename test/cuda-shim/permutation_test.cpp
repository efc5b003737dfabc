// Compares the permutation kernels with a naive reference on random ids: permutation_test [seed] [cases], or
// permutation_test large
// With g++ and the shim, it runs on the CPU; nvcc builds the same file for a GPU.
#include <cinttypes>
#include <cstdio>
#include <string>

#include "../../cuda/kernel/permutation.cuh"
#include "kernel_tests.h"
#include "reference_permutation.h"

using namespace dispatch_layout;

namespace {

// Returns the plan of the launcher, and one or two other plans, so that the results of different grids are compared
std::vector<LaunchPlan> make_plans(const PermutationParameters& p, const DeviceLimits& limits) {
  std::vector<LaunchPlan> plans{plan_launch(p, limits)};
  for (int64_t i = uniform(1, 2); i > 0; --i) {
    LaunchPlan plan;
    plan.num_threads = static_cast<int>(32 * pick({1, 2, 3, 8, 16}));
    plan.shared_bytes = get_shared_bytes(p, true, plan.num_threads);
    plan.fits_in_shared_memory =
        plan.shared_bytes <= static_cast<size_t>(limits.shared_bytes_per_block) && uniform(0, 3) > 0;
    const auto get_max_blocks = [&] {
      return static_cast<int64_t>(num_lists_in_scratch(p.num_keys) /
                                  num_lists_of_block(plan.fits_in_shared_memory, plan.num_threads));
    };
    if (!plan.fits_in_shared_memory) {
      // The launcher makes blocks of one warp here, so there is always room for such a block
      if (get_max_blocks() == 0) plan.num_threads = 32;
      plan.shared_bytes = get_shared_bytes(p, false, plan.num_threads);
    }
    plan.num_blocks =
        static_cast<int>(std::min(pick({1, 2, 2, 3, 3, 5, 5, 16, INT32_MAX}), get_max_blocks()));
    plans.push_back(plan);
  }
#ifdef __SANITIZE_THREAD__
  // ThreadSanitizer takes long to make a thread, so there are two plans, with small grids and mostly small blocks.
  plans.resize(2);
  const int max_threads = uniform(0, 15) > 0 ? 64 : kMaxThreads;
  for (LaunchPlan& plan : plans) {
    plan.num_blocks = std::min(plan.num_blocks, 3);
    plan.num_threads = std::min(plan.num_threads, max_threads);
    plan.shared_bytes = get_shared_bytes(p, plan.fits_in_shared_memory, plan.num_threads);
  }
#endif
  return plans;
}

// The arguments of either permutation for the same arrays
struct Arrays {
  DeviceArray<int32_t> counts, offsets, item_of_row, row_of_selection;

  explicit Arrays(const Permutation& expected)
      : counts(expected.counts.size()),
        offsets(expected.offsets.size()),
        item_of_row(expected.item_of_row.size()),
        row_of_selection(expected.row_of_selection.size()) {}

  void set(ExpertPermutationArguments* a) const {
    a->num_tokens_per_expert = counts.data, a->expert_offsets = offsets.data;
    a->selection_of_row = item_of_row.data, a->row_of_selection = row_of_selection.data;
  }
  void set(RankPermutationArguments* a) const {
    a->num_tokens_per_rank = counts.data, a->rank_offsets = offsets.data;
    a->token_of_row = item_of_row.data, a->row_of_selection = row_of_selection.data;
  }
};

// Launches every plan, and returns what is wrong, or null.
template <typename Arguments>
const char* check_plans(const PermutationProblem& q, const Permutation& expected, const DeviceLimits& limits,
                        int offset, Arguments a) {
  DeviceArray<char> ids(q.ids.size() + offset);
  ids.copy_from(q.ids, offset);
  Arrays arrays(expected);
  DeviceArray<InvalidSelection> invalid(1);
  DeviceArray<char> scratch(permutation_scratch_bytes(q.num_keys()));
  scratch.copy_from(std::vector<char>(sizeof(uint64_t)));

  a.topk_idx = ids.data + offset + q.first_id * get_id_bytes(q.type);
  a.topk_idx_type = q.type;
  a.num_tokens = q.num_tokens, a.num_topk = q.num_topk, a.token_stride = q.token_stride;
  a.empty_id = q.empty_id;
  a.num_experts = q.num_experts;
  a.max_rows = q.max_rows;
  const uint64_t number = uniform(0, 1000);
  if (q.is_strict) a.report = {invalid.data, number};
  a.scratch = scratch.data;
  arrays.set(&a);
  PermutationParameters parameters{};
  require(make_parameters(a, &parameters));

  // Launches that follow each other share the scratch memory
  for (const LaunchPlan& plan : make_plans(parameters, limits)) {
    for (DeviceArray<int32_t>* array :
         {&arrays.counts, &arrays.offsets, &arrays.item_of_row, &arrays.row_of_selection})
      array->set_bytes(0xee);
    invalid.set_bytes(0xee);
    require(launch_permutation(a, plan, nullptr));
    require(cudaDeviceSynchronize());
    if (arrays.counts.to_host() != expected.counts) return "counts";
    if (arrays.offsets.to_host() != expected.offsets) return "offsets";
    if (arrays.item_of_row.to_host() != expected.item_of_row) return "item_of_row";
    if (arrays.row_of_selection.to_host() != expected.row_of_selection) return "row_of_selection";
    if (q.is_strict) {
      const InvalidSelection found = invalid.to_host()[0];
      const InvalidSelection& right = expected.first_invalid;
      if (found.status != 2 * number + right.status) return "first_invalid.status";
      const bool is_found = right.status != 0;
      if (is_found && found.token_idx != right.token_idx) return "first_invalid.token_idx";
      if (is_found && found.slot != right.slot) return "first_invalid.slot";
      if (is_found && found.id != right.id) return "first_invalid.id";
    }
    const std::vector<char> bytes = scratch.to_host();
    if (std::any_of(bytes.begin(), bytes.begin() + sizeof(uint64_t), [](char byte) { return byte != 0; }))
      return "scratch not restored";
  }
  return nullptr;
}

const char* check(const PermutationProblem& q, const DeviceLimits& limits, int offset) {
  const Permutation expected = get_reference_permutation(q);
  if (!q.is_by_rank) {
    ExpertPermutationArguments a;
    a.first_expert = q.first_expert, a.num_local_experts = q.num_local_experts, a.alignment = q.alignment;
    return check_plans(q, expected, limits, offset, a);
  }
  DeviceArray<int32_t> table(q.rank_of_expert.size());
  table.copy_from(q.rank_of_expert);
  RankPermutationArguments a;
  a.num_ranks = q.num_ranks;
  a.rank_of_expert = q.rank_of_expert.empty() ? nullptr : table.data;
  a.does_last_win = q.does_last_win;
  return check_plans(q, expected, limits, offset, a);
}

// The rows that the contract asks for
int64_t get_max_rows(const PermutationProblem& q) {
  if (q.is_by_rank) return q.num_tokens * std::min(q.num_topk, q.num_ranks);
  const int64_t num_selections = q.num_tokens * q.num_topk;
  const int64_t num_rows =
      num_selections + std::min<int64_t>(num_selections, q.num_local_experts) * (q.alignment - 1);
  return num_rows - num_rows % q.alignment;
}

PermutationProblem make_problem(size_t limits_idx) {
  PermutationProblem q;
  q.type = static_cast<IdType>(uniform(0, 7));
  q.num_tokens = pick({0, 1, 2, 31, 32, 33, 64, 127, 128, 500, 513, 1000, 2049, uniform(0, 300)});
  q.num_topk = static_cast<int>(
      pick({0, 1, 2, 3, 4, 6, 7, 8, 8, 8, 9, 10, 16, 17, 31, 32, 33, 65, uniform(33, 100), uniform(0, 100)}));
  // Selections take longer here than on a GPU
  const int64_t max_selections = limits_idx == 2 ? 3000 : uniform(0, 9) == 0 ? 40'000 : 9000;
  if (q.num_topk > 0) q.num_tokens = std::min(q.num_tokens, max_selections / q.num_topk);
  q.num_ranks =
      static_cast<int>(pick({1, 2, 3, 4, 8, 8, 16, 20, 31, 32, 33, 40, 63, 64, 64, 65, 72, 96, 128, 320}));
  q.num_experts = static_cast<int>(
      pick({1, 7, 8, 60, 64, 127, 128, 255, 256, 256, 257, 288, 512, 1024, 5000, uniform(1, 3000)}));
  if (uniform(0, 3) > 0) q.num_experts = std::max(q.num_experts / q.num_ranks, 1) * q.num_ranks;
  q.is_strict = uniform(0, 1) == 0;

  q.is_by_rank = uniform(0, 1) == 0;
  if (q.is_by_rank) {
    if (uniform(0, 2) == 0)
      for (int i = 0; i < q.num_experts; ++i) q.rank_of_expert.push_back(uniform(-1, q.num_ranks));
    q.does_last_win = uniform(0, 1) == 0;
  } else {
    q.num_local_experts = q.num_experts;
    if (uniform(0, 1) == 0) {
      q.first_expert = static_cast<int>(uniform(0, q.num_experts));
      q.num_local_experts = static_cast<int>(uniform(0, q.num_experts - q.first_expert));
    }
    q.alignment = static_cast<int>(pick({1, 1, 2, 3, 4, 8, 16, 64, 100, 128}));
  }
  q.max_rows = get_max_rows(q) + pick({0, 0, 1, 1000});

  q.token_stride = q.num_topk + pick({0, 0, 0, 1, 2, 8, 100});
  if (uniform(0, 9) == 0) q.token_stride = -q.token_stride;
  const int64_t num_ids = std::max<int64_t>(q.num_tokens - 1, 0) * std::abs(q.token_stride) + q.num_topk;
  if (q.token_stride < 0) q.first_id = std::max<int64_t>(q.num_tokens - 1, 0) * -q.token_stride;
  q.ids = make_ids(q.type, num_ids, q.num_experts);
  if (uniform(0, 1) == 0) q.empty_id = plant_empty_id(q.type, q.num_experts, &q.ids);
  // If a token has more slots than a warp has lanes, a lane should find several that are invalid. Most of these are negative or too large.
  if (q.num_topk > 32 && uniform(0, 1) == 0) std::fill(q.ids.begin(), q.ids.end(), '\xfe');
  return q;
}

template <typename Arguments>
const char* check_rejections(Arguments good) {
  DeviceArray<int32_t> output(8);
  DeviceArray<uint64_t> scratch(permutation_scratch_bytes(2) / sizeof(uint64_t) + 1, 0);
  good.num_experts = 2, good.scratch = scratch.data, good.row_of_selection = output.data;
  const auto is_rejected = [&](auto change) {
    Arguments bad = good;
    change(bad);
    return launch_permutation(bad, nullptr) == cudaErrorInvalidValue;
  };
  require(launch_permutation(good, nullptr));
  if (!is_rejected([](auto& a) { a.num_tokens = -1; })) return "num_tokens";
  if (!is_rejected([](auto& a) { a.num_topk = -1; })) return "num_topk";
  if (!is_rejected([](auto& a) { a.num_experts = 0; })) return "num_experts";
  if (!is_rejected([](auto& a) { a.max_rows = -1; })) return "max_rows";
  if (!is_rejected([](auto& a) { a.max_rows = int64_t{1} << 31; })) return "2^31 rows";
  if (!is_rejected([](auto& a) { a.num_tokens = a.num_topk = a.max_rows = 1; })) return "topk_idx";
  if (!is_rejected([&](auto& a) {
        a.num_tokens = a.num_topk = a.max_rows = 1, a.topk_idx = scratch.data, a.row_of_selection = nullptr;
      }))
    return "row_of_selection";
  if (!is_rejected([&](auto& a) { a.num_tokens = a.num_topk = 1, a.topk_idx = scratch.data; }))
    return "too few rows";
  if (!is_rejected([&](auto& a) {
        a.num_topk = 2, a.num_tokens = 1 << 30, a.topk_idx = scratch.data, a.max_rows = INT32_MAX;
      }))
    return "2^31 selections";
  if (!is_rejected([](auto& a) { a.scratch = nullptr; })) return "scratch";
  if (!is_rejected([&](auto& a) { a.scratch = reinterpret_cast<char*>(scratch.data) + 4; }))
    return "scratch + 4";
  LaunchPlan plan{true, kMaxListsInScratch + 1, 32, 1024};
  if (launch_permutation(good, plan, nullptr) != cudaErrorInvalidConfiguration) return "num_blocks";
  plan = {false, kMaxListsInScratch / kListsPerBlockInScratch + 1, 32, 1024};
  if (launch_permutation(good, plan, nullptr) != cudaErrorInvalidConfiguration)
    return "num_blocks in scratch";
  return nullptr;
}

const char* check_rejections() {
  DeviceArray<int32_t> counts(2), offsets(3), items(1);
  ExpertPermutationArguments by_expert;
  by_expert.num_local_experts = 2;
  by_expert.num_tokens_per_expert = counts.data, by_expert.expert_offsets = offsets.data;
  by_expert.selection_of_row = items.data;
  if (const char* failure = check_rejections(by_expert)) return failure;
  RankPermutationArguments by_rank;
  by_rank.num_ranks = 2;
  by_rank.num_tokens_per_rank = counts.data, by_rank.rank_offsets = offsets.data;
  by_rank.token_of_row = items.data;
  if (const char* failure = check_rejections(by_rank)) return failure;

  DeviceArray<uint64_t> scratch(permutation_scratch_bytes(2) / sizeof(uint64_t) + 1, 0);
  by_expert.num_experts = by_rank.num_experts = 2;
  by_expert.scratch = by_rank.scratch = scratch.data;
  const auto is_rejected = [](auto bad, auto change) {
    change(bad);
    return launch_permutation(bad, nullptr) == cudaErrorInvalidValue;
  };
  if (!is_rejected(by_expert, [](auto& a) { a.first_expert = -1; })) return "first_expert";
  if (!is_rejected(by_expert, [](auto& a) { a.first_expert = 1; })) return "first_expert 1";
  if (!is_rejected(by_expert, [](auto& a) { a.num_local_experts = -1; })) return "num_local_experts";
  if (!is_rejected(by_expert, [](auto& a) { a.alignment = 0; })) return "alignment";
  if (!is_rejected(by_expert, [](auto& a) { a.num_tokens_per_expert = nullptr; })) return "counts";
  if (!is_rejected(by_expert, [](auto& a) { a.expert_offsets = nullptr; })) return "offsets";
  if (!is_rejected(by_expert, [](auto& a) { a.max_rows = 1, a.selection_of_row = nullptr; })) return "items";
  if (!is_rejected(by_rank, [](auto& a) { a.num_ranks = 0; })) return "num_ranks";
  return nullptr;
}

// Checks 2^24 experts and ranks, with the plan of the launcher
const char* check_large() {
  PermutationProblem q;
  q.type = IdType::kInt32, q.num_tokens = 900, q.num_topk = 5, q.token_stride = 5;
  q.num_experts = q.num_local_experts = q.num_ranks = 1 << 24, q.alignment = 4;
  for (const bool is_by_rank : {false, true}) {
    q.is_by_rank = is_by_rank;
    q.max_rows = get_max_rows(q);
    q.ids = make_ids(q.type, q.num_tokens * q.num_topk, q.num_experts);
    const Permutation expected = get_reference_permutation(q);
    Arrays arrays(expected);
    DeviceArray<char> ids(q.ids.size()), scratch(permutation_scratch_bytes(q.num_keys()), 0);
    ids.copy_from(q.ids);
    const auto launch = [&](auto a) {
      a.topk_idx = ids.data, a.topk_idx_type = q.type, a.num_experts = q.num_experts;
      a.num_tokens = q.num_tokens, a.num_topk = q.num_topk, a.token_stride = q.token_stride;
      a.max_rows = q.max_rows, a.scratch = scratch.data;
      arrays.set(&a);
      require(launch_permutation(a, nullptr));
    };
    if (is_by_rank) {
      RankPermutationArguments a;
      a.num_ranks = q.num_ranks;
      launch(a);
    } else {
      ExpertPermutationArguments a;
      a.num_local_experts = q.num_local_experts, a.alignment = q.alignment;
      launch(a);
    }
    require(cudaDeviceSynchronize());
    if (arrays.counts.to_host() != expected.counts) return "large counts";
    if (arrays.offsets.to_host() != expected.offsets) return "large offsets";
    if (arrays.item_of_row.to_host() != expected.item_of_row) return "large item_of_row";
    if (arrays.row_of_selection.to_host() != expected.row_of_selection) return "large row_of_selection";
  }
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "large") {
    if (const char* failure = check_large()) return std::printf("FAILED %s\n", failure), 1;
    std::printf("permutations of 2^24 experts and ranks equal the reference\n");
    return 0;
  }
  if (const char* failure = check_rejections()) return std::printf("FAILED rejection: %s\n", failure), 1;
  return for_each_case(argc, argv, "permutations", make_problem, check, [](const PermutationProblem& q) {
    std::printf(" rows %" PRId64, q.max_rows);
    if (q.is_by_rank)
      std::printf(" last %d", q.does_last_win);
    else
      std::printf(" local %d+%d alignment %d", q.first_expert, q.num_local_experts, q.alignment);
  });
}
