// Computes layouts with the native kernel until stdin ends. Stdin has numbers, separated by white space: for each
// layout, 1 if rows are of bits, else 0; the id type (IdType), T, K, R, the ranks per node and E; the rank of each
// expert, or -1 for none; and the ids. For each layout, five lines go to stdout: the position of the first id that is
// neither -1 nor an expert, or -1; the counts per rank, per RDMA rank (none within one node) and per expert; and the
// rows.
#include <iostream>

#include "layout_case.h"

namespace {

// Reads a number of 64 bits, with or without a sign.
uint64_t read_number() {
  std::string text;
  if (!(std::cin >> text)) std::cerr << "request cut short\n", std::exit(1);
  return text[0] == '-' ? static_cast<uint64_t>(std::stoll(text)) : std::stoull(text);
}

uint32_t read_size() { return static_cast<uint32_t>(read_number()); }

LayoutCase read_case() {
  LayoutCase c;
  Problem& problem = c.problem;
  problem.has_bit_rows = read_number() != 0;
  problem.id_type = static_cast<IdType>(read_number());
  problem.num_tokens = read_size();
  problem.num_topk = read_size();
  problem.partition.num_ranks = read_size();
  problem.partition.num_ranks_per_node = read_size();
  problem.partition.rank_of_expert.resize(read_size());
  for (int32_t& rank : problem.partition.rank_of_expert) rank = static_cast<int32_t>(read_number());
  for (uint32_t i = 0; i < problem.num_tokens * problem.num_topk; i++) {
    const uint64_t id = read_number();
    for (uint32_t byte = 0; byte < id_bytes(problem.id_type); byte++) {
      problem.ids.push_back(static_cast<uint8_t>(id >> (8 * byte)));
    }
  }
  c.tokens_located = c.tokens_of_ids = c.tokens_of_rows = std::max(problem.num_tokens, 1u);
  return c;
}

template <typename T>
void print(const std::vector<T>& numbers) {
  for (T number : numbers) std::cout << +number << ' ';
  std::cout << '\n';
}

}  // namespace

int main() {
  while (std::cin >> std::ws, !std::cin.eof()) {
    const LayoutCase layout_case = read_case();
    KernelRun run(layout_case);
    run.abandon_layout();
    run.compute_layout();
    const Layout layout = run.layout();
    if (run.failure != nullptr) return std::cerr << run.failure << '\n', 1;
    std::cout << static_cast<int64_t>(layout.first_invalid_id) << '\n';
    print(layout.num_tokens_per_rank);
    print(layout.num_tokens_per_rdma_rank);
    print(layout.num_tokens_per_expert);
    print(layout.is_token_in_rank);
  }
}
