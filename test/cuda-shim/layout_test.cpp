// Compares the kernel with a naive reference on random layouts: layout_test [seed] [cases], or layout_test large
// With g++ and the shim, it runs on the CPU; nvcc builds the same file for a GPU.
#include <cstdio>
#include <string>

#include "../../cuda/kernel/dispatch_layout.cuh"
#include "kernel_tests.h"
#include "reference_layout.h"

using namespace dispatch_layout;

namespace {

// Returns the plan of the launcher, and up to two other plans for the same layout, which may need the other kernel.
std::vector<LaunchPlan> make_plans(const LayoutParameters& p, const DeviceLimits& limits) {
  std::vector<LaunchPlan> plans{plan_launch(p, limits)};
  for (int64_t i = uniform(0, 2); i > 0; --i) {
    LaunchPlan plan;
    plan.num_blocks = static_cast<int>(pick({1, 2, 3, 5, 16}));
    plan.num_threads = static_cast<int>(32 * pick({1, 2, 3, 8, 16}));
    plan.shared_bytes = get_shared_bytes(p, plan.num_threads);
    plan.fits_in_shared_memory = plan.shared_bytes <= static_cast<size_t>(limits.shared_bytes_per_block) &&
                                 p.num_ranks <= 0xffff && uniform(0, 3) > 0;
    if (!plan.fits_in_shared_memory) plan.shared_bytes = 0;
    plans.push_back(plan);
  }
#ifdef __SANITIZE_THREAD__
  // ThreadSanitizer takes long to make a thread, so most layouts have smaller blocks, and at most two plans.
  plans.resize(std::min<size_t>(plans.size(), 2));
  if (uniform(0, 15) > 0)
    for (LaunchPlan& plan : plans) {
      plan.num_threads = std::min(plan.num_threads, 128);
      if (plan.fits_in_shared_memory) plan.shared_bytes = get_shared_bytes(p, plan.num_threads);
    }
#endif
  return plans;
}

const char* check(const LayoutProblem& q, const DeviceLimits& limits, int offset) {
  const Layout expected = get_reference_layout(q);
  DeviceArray<char> ids(q.ids.size() + offset);
  ids.copy_from(q.ids, offset);
  DeviceArray<int32_t> table(q.rank_of_expert.size());
  table.copy_from(q.rank_of_expert);
  DeviceArray<int32_t> per_rank(q.num_ranks), per_expert(q.num_experts);
  DeviceArray<int32_t> per_node(expected.num_tokens_per_rdma_rank.size());
  DeviceArray<uint8_t> mask(expected.is_token_in_rank.size() + offset);
  DeviceArray<InvalidSelection> invalid(1);
  DeviceArray<char> scratch(dispatch_layout_scratch_bytes(q.num_experts, q.num_ranks), 0);

  DispatchLayoutArguments a;
  a.topk_idx = ids.data + offset + q.first_id * get_id_bytes(q.type);
  a.topk_idx_type = q.type;
  a.num_tokens = q.num_tokens, a.num_topk = q.num_topk, a.token_stride = q.token_stride;
  a.empty_id = q.empty_id;
  a.num_experts = q.num_experts, a.num_ranks = q.num_ranks, a.num_nodes = q.num_nodes;
  a.rank_of_expert = q.rank_of_expert.empty() ? nullptr : table.data;
  a.num_tokens_per_rank = per_rank.data, a.num_tokens_per_expert = per_expert.data;
  a.num_tokens_per_rdma_rank = q.num_nodes > 1 ? per_node.data : nullptr;
  a.is_token_in_rank = q.has_mask ? mask.data + offset : nullptr;
  a.has_bit_rows = q.has_bit_rows;
  const uint64_t number = uniform(0, 1000);
  if (q.is_strict) a.report = {invalid.data, number};
  a.scratch = scratch.data;
  LayoutParameters parameters{};
  require(make_parameters(a, &parameters));
  std::vector<uint8_t> expected_mask(offset, 0xee);
  expected_mask.insert(expected_mask.end(), expected.is_token_in_rank.begin(),
                       expected.is_token_in_rank.end());

  // Launches that follow each other share the scratch memory
  for (const LaunchPlan& plan : make_plans(parameters, limits)) {
    for (DeviceArray<int32_t>* counts : {&per_rank, &per_expert, &per_node}) counts->set_bytes(0xee);
    mask.set_bytes(0xee);
    invalid.set_bytes(0xee);
    require(launch_dispatch_layout(a, plan, nullptr));
    require(cudaDeviceSynchronize());
    if (per_rank.to_host() != expected.num_tokens_per_rank) return "num_tokens_per_rank";
    if (per_expert.to_host() != expected.num_tokens_per_expert) return "num_tokens_per_expert";
    if (per_node.to_host() != expected.num_tokens_per_rdma_rank) return "num_tokens_per_rdma_rank";
    if (mask.to_host() != expected_mask) return "is_token_in_rank";
    if (q.is_strict) {
      const InvalidSelection found = invalid.to_host()[0];
      const InvalidSelection& right = expected.first_invalid;
      if (found.status != 2 * number + right.status) return "first_invalid.status";
      const bool is_found = right.status != 0;
      if (is_found && found.token_idx != right.token_idx) return "first_invalid.token_idx";
      if (is_found && found.slot != right.slot) return "first_invalid.slot";
      if (is_found && found.id != right.id) return "first_invalid.id";
    }
    for (char byte : scratch.to_host())
      if (byte != 0) return "scratch not restored";
  }
  return nullptr;
}

LayoutProblem make_problem(size_t limits_idx) {
  LayoutProblem q;
  q.type = static_cast<IdType>(uniform(0, 7));
  q.num_tokens = pick({0, 1, 2, 31, 32, 33, 64, 127, 128, 500, 513, 1000, 2049, uniform(0, 300)});
  if (limits_idx != 2 && uniform(0, 9) == 0) q.num_tokens = uniform(3000, 9000);
  q.num_topk = static_cast<int>(pick({0, 1, 2, 3, 4, 6, 7, 8, 8, 8, 9, 10, 16, 17, uniform(0, 40)}));
  q.num_ranks =
      static_cast<int>(pick({1, 2, 3, 4, 8, 8, 16, 20, 31, 32, 33, 40, 63, 64, 64, 65, 96, 128, 320, 512}));
  q.num_experts = static_cast<int>(
      pick({1, 7, 8, 60, 64, 127, 128, 255, 256, 256, 257, 288, 512, 1024, 8192, uniform(1, 3000)}));
  if (uniform(0, 3) > 0) q.num_experts = std::max(q.num_experts / q.num_ranks, 1) * q.num_ranks;
  std::vector<int> divisors;
  for (int i = 1; i <= q.num_ranks; ++i)
    if (q.num_ranks % i == 0) divisors.push_back(i);
  q.num_nodes = divisors[random_bits() % divisors.size()];
  if (q.num_ranks % 8 == 0 && uniform(0, 1) == 0) q.num_nodes = q.num_ranks / 8;
  if (uniform(0, 2) == 0) q.num_nodes = 1;
  q.is_strict = uniform(0, 1) == 0;
  if (uniform(0, 2) == 0)
    for (int i = 0; i < q.num_experts; ++i) q.rank_of_expert.push_back(uniform(-1, q.num_ranks - 1));
  q.token_stride = q.num_topk + pick({0, 0, 0, 1, 2, 8, 100});
  if (uniform(0, 9) == 0) q.token_stride = -q.token_stride;
  const int64_t num_ids = std::max<int64_t>(q.num_tokens - 1, 0) * std::abs(q.token_stride) + q.num_topk;
  if (q.token_stride < 0) q.first_id = std::max<int64_t>(q.num_tokens - 1, 0) * -q.token_stride;

  q.ids = make_ids(q.type, num_ids, q.num_experts);
  q.has_mask = uniform(0, 2) > 0;
  q.has_bit_rows = uniform(0, 1) == 0;
  if (uniform(0, 1) == 0) q.empty_id = plant_empty_id(q.type, q.num_experts, &q.ids);
  return q;
}

const char* check_rejections() {
  DeviceArray<int32_t> per_rank(2), per_expert(2), per_node(2);
  DeviceArray<uint64_t> scratch(8, 0);
  DispatchLayoutArguments good;
  good.num_experts = 2, good.num_ranks = 2, good.num_nodes = 2, good.scratch = scratch.data;
  good.num_tokens_per_rank = per_rank.data, good.num_tokens_per_expert = per_expert.data;
  good.num_tokens_per_rdma_rank = per_node.data;
  const auto is_rejected = [&](auto change) {
    DispatchLayoutArguments bad = good;
    change(bad);
    return launch_dispatch_layout(bad, nullptr) == cudaErrorInvalidValue;
  };
  require(launch_dispatch_layout(good, nullptr));
  if (!is_rejected([](auto& a) { a.num_tokens = -1; })) return "num_tokens";
  if (!is_rejected([](auto& a) { a.num_topk = -1; })) return "num_topk";
  if (!is_rejected([](auto& a) { a.num_experts = 0; })) return "num_experts";
  if (!is_rejected([](auto& a) { a.num_ranks = 0; })) return "num_ranks";
  if (!is_rejected([](auto& a) { a.num_nodes = 3; })) return "num_nodes";
  if (!is_rejected([](auto& a) { a.num_tokens = a.num_topk = 1; })) return "topk_idx";
  if (!is_rejected([](auto& a) { a.scratch = nullptr; })) return "scratch";
  if (!is_rejected([&](auto& a) { a.scratch = reinterpret_cast<char*>(scratch.data) + 4; }))
    return "scratch + 4";
  if (!is_rejected([](auto& a) { a.num_tokens_per_expert = nullptr; })) return "num_tokens_per_expert";
  if (!is_rejected([](auto& a) { a.num_tokens_per_rdma_rank = nullptr; })) return "num_tokens_per_rdma_rank";
  // 3 selections count as 4. These are not launched, since that would not end.
  for (const int64_t num_too_many : {0, 1}) {
    DispatchLayoutArguments large = good;
    large.topk_idx = scratch.data, large.num_topk = 3;
    large.num_tokens = (int64_t{1} << 46) - 1 + num_too_many;
    LayoutParameters parameters{};
    if (make_parameters(large, &parameters) != (num_too_many > 0 ? cudaErrorInvalidValue : cudaSuccess))
      return "num_tokens * num_topk";
  }
  const LaunchPlan plan{true, kMaxBlocks + 1, 32, 1024};
  if (launch_dispatch_layout(good, plan, nullptr) != cudaErrorInvalidConfiguration) return "num_blocks";
  return nullptr;
}

// Checks more than 2^31 ids and more than 2^31 bytes of mask. The input is one tile of tokens, repeated, and its very
// last id is not an expert. This needs a GPU with 8 GB.
const char* check_large(const DeviceLimits& limits) {
  LayoutProblem q;
  q.type = IdType::kUint8, q.num_topk = 80, q.token_stride = 80, q.num_tokens = 1024;
  q.num_experts = 144, q.num_ranks = 72, q.num_nodes = 9;
  q.ids.resize(q.num_tokens * q.num_topk);
  // The ids of a token are among 16 neighbours, so that no token goes to all ranks.
  for (int64_t i = 0; i < static_cast<int64_t>(q.ids.size()); ++i)
    q.ids[i] = static_cast<char>((i / q.num_topk * 7 + uniform(0, 15)) % q.num_experts);
  const Layout tile = get_reference_layout(q);
  const int64_t num_tiles = (int64_t{1} << 15) + 5, num_tokens = num_tiles * q.num_tokens;
  DeviceArray<char> ids(num_tiles * q.ids.size());
  for (int64_t i = 0; i < num_tiles; ++i) ids.copy_from(q.ids, i * q.ids.size());
  const int last_id = static_cast<unsigned char>(q.ids.back());
  ids.copy_from({static_cast<char>(200)}, ids.size - 1);
  DeviceArray<int32_t> per_rank(q.num_ranks), per_expert(q.num_experts), per_node(q.num_nodes);
  DeviceArray<uint8_t> mask(num_tokens * q.num_ranks);
  DeviceArray<InvalidSelection> invalid(1);
  DeviceArray<char> scratch(dispatch_layout_scratch_bytes(q.num_experts, q.num_ranks), 0);
  DispatchLayoutArguments a;
  a.topk_idx = ids.data, a.topk_idx_type = q.type;
  a.num_tokens = num_tokens, a.num_topk = q.num_topk, a.token_stride = q.token_stride;
  a.num_experts = q.num_experts, a.num_ranks = q.num_ranks, a.num_nodes = q.num_nodes;
  a.num_tokens_per_rank = per_rank.data, a.num_tokens_per_expert = per_expert.data;
  a.num_tokens_per_rdma_rank = per_node.data, a.is_token_in_rank = mask.data;
  a.report = {invalid.data, 5}, a.scratch = scratch.data;
  LayoutParameters parameters{};
  require(make_parameters(a, &parameters));
  require(launch_dispatch_layout(a, plan_launch(parameters, limits), nullptr));
  require(cudaDeviceSynchronize());

  // The last id of the last token is not an expert any more; the reference tells what that changes.
  q.ids.back() = static_cast<char>(200);
  const Layout last_tile = get_reference_layout(q);
  const auto total = [&](const std::vector<int32_t>& counts, const std::vector<int32_t>& last_counts) {
    std::vector<int32_t> totals(counts.size());
    for (size_t i = 0; i < counts.size(); ++i)
      totals[i] = static_cast<int32_t>(counts[i] * (num_tiles - 1) + last_counts[i]);
    return totals;
  };
  if (last_tile.num_tokens_per_expert[last_id] + 1 != tile.num_tokens_per_expert[last_id])
    return "test itself";
  if (per_rank.to_host() != total(tile.num_tokens_per_rank, last_tile.num_tokens_per_rank))
    return "large per rank";
  if (per_expert.to_host() != total(tile.num_tokens_per_expert, last_tile.num_tokens_per_expert))
    return "large per expert";
  if (per_node.to_host() != total(tile.num_tokens_per_rdma_rank, last_tile.num_tokens_per_rdma_rank))
    return "large per node";
  const InvalidSelection found = invalid.to_host()[0];
  if (found.status != 11 || found.token_idx != num_tokens - 1 || found.slot != q.num_topk - 1 ||
      found.id != 200)
    return "large first_invalid";
  const std::vector<uint8_t> rows = mask.to_host();
  for (int64_t i = 0; i < num_tiles; ++i) {
    const std::vector<uint8_t>& expected =
        i + 1 < num_tiles ? tile.is_token_in_rank : last_tile.is_token_in_rank;
    if (std::memcmp(&rows[i * expected.size()], expected.data(), expected.size()) != 0) return "large mask";
  }
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "large") {
    for (const DeviceLimits& limits : {kLimits[0], kLimits[2]})
      if (const char* failure = check_large(limits)) return std::printf("FAILED %s\n", failure), 1;
    std::printf("layouts of more than 2^31 ids and bytes equal the reference\n");
    return 0;
  }
  if (const char* failure = check_rejections()) return std::printf("FAILED rejection: %s\n", failure), 1;
  return for_each_case(argc, argv, "layouts", make_problem, check, [](const LayoutProblem& q) {
    std::printf(" nodes %d mask %d bits %d", q.num_nodes, q.has_mask, q.has_bit_rows);
  });
}
