// Compares random layouts and orders of rows, of every shape and id type, with the references: layout_test SEED CASES
#include <random>

#include "layout_case.h"

namespace {

std::mt19937_64 random_bits;

uint64_t uniform(uint64_t low, uint64_t high) { return low + random_bits() % (high - low + 1); }
bool one_in(uint64_t count) { return random_bits() % count == 0; }
template <typename T>
T pick(std::initializer_list<T> choices) {
  return choices.begin()[random_bits() % choices.size()];
}

Partition make_partition() {
  // These numbers are around the limits of the tables, of the rows, and of the chunks of both.
  const uint32_t num_experts = pick<uint32_t>(
      {1,   2,   7,   8,    60,   64,   128,  129,  256,  264,  265,
       288, 536, 537, 1024, 4087, 4088, 4089, 4096, 5000, 9000, static_cast<uint32_t>(uniform(1, 600))});
  const uint32_t num_ranks =
      pick<uint32_t>({1,   2,   7,   8,   8,   9,   15,  16,    17,
                      32,  33,  34,  63,  64,  64,  65,  66,    72,
                      127, 128, 130, 256, 257, 320, 513, 16385, static_cast<uint32_t>(uniform(1, 700))});
  std::vector<uint32_t> node_sizes{num_ranks + 1};
  for (uint32_t size = 1; size <= num_ranks; size++)
    if (num_ranks % size == 0) node_sizes.push_back(size);
  Partition partition{num_ranks, node_sizes[uniform(0, node_sizes.size() - 1)], {}};
  const bool placed = one_in(2);
  const uint32_t num_experts_per_rank = num_experts / num_ranks;
  for (uint32_t expert = 0; expert < num_experts; expert++) {
    const uint32_t block = num_experts_per_rank == 0 ? num_ranks : expert / num_experts_per_rank;
    partition.rank_of_expert.push_back(placed && !one_in(20) ? static_cast<int32_t>(uniform(0, num_ranks - 1))
                                       : block < num_ranks   ? static_cast<int32_t>(block)
                                                             : kNoRank);
  }
  return partition;
}

// Ids that would pass a truncation, a signed comparison, a saturation or an off-by-one error.
uint64_t hostile_id(uint64_t num_experts) {
  const uint64_t two_to_32 = uint64_t{1} << 32;
  return pick<uint64_t>({num_experts,
                         num_experts + 1,
                         num_experts + 7,
                         num_experts + 8,
                         ~uint64_t{1},
                         0x7f,
                         0x80,
                         0xff,
                         0x7fff,
                         0x8000,
                         0xfffe,
                         0xffff,
                         0x10000,
                         4088,
                         4095,
                         4096,
                         0x7fffffff,
                         0x80000000,
                         0xfffffffe,
                         0xffffffff,
                         two_to_32,
                         two_to_32 + 5,
                         two_to_32 + num_experts - 1,
                         0xffff0000ffffffff,
                         0xffffffff00000000,
                         0xffffffff00000005,
                         0xffffffff7fffffff,
                         0xfffffffeffffffff,
                         0x7fffffffffffffff,
                         0x8000000000000000,
                         0x8000000000000005,
                         random_bits()});
}

Problem make_problem() {
  Problem problem{make_partition(), static_cast<IdType>(uniform(0, 7)), 0, 0, one_in(2), {}};
  problem.num_topk = pick<uint32_t>(
      {0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 16, 17, 63, 64, 65, 70, static_cast<uint32_t>(uniform(0, 70))});
  problem.num_tokens =
      pick<uint32_t>({0, 1, 2, 3, 127, 128, 129, 255, 256, 257, 300, static_cast<uint32_t>(uniform(0, 200))});
  if (problem.partition.num_ranks <= 64 && one_in(8)) problem.num_tokens = uniform(1000, 5000);
  // If rows are long, there are few tokens, since the reference and the rows take long.
  if (problem.partition.num_ranks > 1000) problem.num_tokens %= 7;

  const uint64_t num_experts = problem.partition.num_experts();
  const uint64_t empty = pick<uint64_t>({0, 0, 2, 10, 1000}), hostile = pick<uint64_t>({0, 0, 2, 300});
  if (one_in(2)) {
    const uint64_t id =
        one_in(2) ? hostile_id(num_experts)
                  : pick<uint64_t>({num_experts, num_experts - 1, 0, 32766, 32767, 32768, ~uint64_t{1},
                                    -uint64_t{32766}, -uint64_t{32767}, -uint64_t{32768},
                                    uint64_t{INT32_MAX} - 1, INT32_MAX, -uint64_t{INT32_MAX}});
    problem.empty_id = read_id(problem.id_type, &id);
    problem.has_empty_id = problem.empty_id != -1;
  }
  const uint64_t num_popular = one_in(4) ? std::min<uint64_t>(num_experts, 3) : num_experts;
  const uint32_t bytes = id_bytes(problem.id_type);
  for (uint32_t i = 0; i < problem.num_tokens * problem.num_topk; i++) {
    const uint64_t id = problem.has_empty_id && one_in(4) ? static_cast<uint64_t>(problem.empty_id)
                        : hostile != 0 && one_in(hostile) ? hostile_id(num_experts)
                        : empty != 0 && one_in(empty)     ? ~uint64_t{0}
                                                          : uniform(0, num_popular - 1);
    for (uint32_t byte = 0; byte < bytes; byte++)
      problem.ids.push_back(static_cast<uint8_t>(id >> (8 * byte)));
  }
  return problem;
}

void choose_order(LayoutCase& layout_case) {
  const Problem& problem = layout_case.problem;
  const uint32_t num_experts = problem.partition.num_experts();
  OrderRequest& order = layout_case.order;
  order.order = pick({Order::kByExpert, Order::kByExpert, Order::kByRankFirst, Order::kByRankLast});
  if (order.is_by_expert()) {
    order.first_expert = one_in(2) ? 0 : static_cast<uint32_t>(uniform(0, num_experts));
    const uint32_t num_others = num_experts - order.first_expert;
    order.num_local_experts = one_in(2) ? num_others : static_cast<uint32_t>(uniform(0, num_others));
    const uint32_t alignment =
        pick<uint32_t>({1, 1, 2, 3, 7, 8, 64, 128, static_cast<uint32_t>(uniform(1, 1000))});
    order.alignment = bounded_alignment(alignment, problem, order.num_local_experts);
  }
  if (one_in(2)) {
    // Each piece looks at every expert, so there are few of them if there are many experts
    const uint32_t min_tokens = problem.num_tokens * num_experts / 1'000'000 + 1;
    layout_case.tokens_of_piece =
        std::max(min_tokens, pick<uint32_t>({1, 2, 3, 31, 127, 128, 129, 200, 1000, 6000}));
  }
  layout_case.is_order_first = one_in(2);
  layout_case.exports_until_cut = static_cast<uint32_t>(uniform(0, one_in(2) ? 7 : 40));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: layout_test SEED CASES\n"), 2;
  const uint64_t seed = std::strtoull(argv[1], nullptr, 10), num_cases = std::strtoull(argv[2], nullptr, 10);
  for (uint64_t i = 0; i < num_cases; i++) {
    random_bits.seed(seed * 1000003 + i);
    LayoutCase layout_case;
    layout_case.problem = make_problem();
    const auto window = [] {
      return pick<uint32_t>({1, 2, 3, 31, 127, 128, 129, 200, 255, 256, 1000, 4000});
    };
    layout_case.tokens_located = window();
    layout_case.tokens_of_ids = window();
    layout_case.tokens_of_rows = window();
    layout_case.ids_offset = static_cast<uint32_t>(uniform(0, 16));
    layout_case.rows_offset = static_cast<uint32_t>(uniform(0, 16));
    choose_order(layout_case);
    const char* const fault = find_fault(layout_case);
    if (fault == nullptr) continue;
    std::printf("FAILED %s: seed %llu case %llu, %s\n", fault, static_cast<unsigned long long>(seed),
                static_cast<unsigned long long>(i), describe(layout_case).c_str());
    return 1;
  }
  std::printf("%llu layouts and orders equal the references\n", static_cast<unsigned long long>(num_cases));
}
