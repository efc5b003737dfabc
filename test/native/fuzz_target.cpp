// A libFuzzer target. The bytes describe a layout, first its shape, then its ids, and an order of rows of the same ids.
// The kernel must give what the references give, and the sanitizers must find nothing. `./build.sh fuzz` searches;
// replay.cpp runs inputs that were found before.
#include <cstddef>
#include <iterator>

#include "layout_case.h"

namespace {

// Takes numbers from the front of the input, and zeros when it is used up.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  uint32_t number(uint32_t low, uint32_t high) {
    const uint32_t value = byte() | static_cast<uint32_t>(byte()) << 8;
    return low + value % (high - low + 1);
  }
  uint8_t byte() { return size_ == 0 ? 0 : (size_--, *data_++); }
  size_t size() const { return size_; }

 private:
  const uint8_t* data_;
  size_t size_;
};

Partition read_partition(Input& input) {
  Partition partition{};
  partition.num_ranks = input.number(1, 300);
  const uint32_t num_experts = input.number(1, 5000), rank_step = input.number(0, 300);
  // The result is a divisor of num_ranks, or is at least num_ranks.
  partition.num_ranks_per_node = input.number(1, 300);
  while (partition.num_ranks_per_node < partition.num_ranks &&
         partition.num_ranks % partition.num_ranks_per_node != 0) {
    partition.num_ranks_per_node--;
  }
  for (uint32_t expert = 0; expert < num_experts; expert++) {
    const uint32_t rank = rank_step == 0 ? expert * partition.num_ranks / num_experts
                                         : expert * rank_step % (partition.num_ranks + 1);
    partition.rank_of_expert.push_back(rank < partition.num_ranks ? static_cast<int32_t>(rank) : kNoRank);
  }
  return partition;
}

// The ids are either the bytes as they are, or an expert for each byte, with some empty slots and some ids out of range
// by one.
std::vector<uint8_t> read_ids(Input& input, IdType type, uint32_t num_experts) {
  const bool are_raw = input.byte() % 2 == 0;
  std::vector<uint8_t> ids;
  while (input.size() > 0) {
    const uint8_t byte = input.byte();
    if (are_raw) {
      ids.push_back(byte);
      continue;
    }
    const uint64_t id = byte == 255   ? ~uint64_t{0}
                        : byte == 254 ? num_experts
                        : byte == 253 ? num_experts - 1
                                      : byte * 2654435761u % num_experts;
    for (uint32_t i = 0; i < id_bytes(type); i++) ids.push_back(static_cast<uint8_t>(id >> (8 * i)));
  }
  return ids;
}

LayoutCase read_case(Input& input) {
  LayoutCase c;
  Problem& problem = c.problem;
  problem.partition = read_partition(input);
  problem.id_type = static_cast<IdType>(input.byte() % 8);
  problem.num_topk = input.number(0, 70);
  c.tokens_located = input.number(1, 600);
  c.tokens_of_ids = input.number(1, 600);
  c.tokens_of_rows = input.number(1, 600);
  c.ids_offset = input.byte() % 16;
  const uint8_t rows = input.byte();
  c.rows_offset = rows % 64;
  problem.has_bit_rows = rows >= 128;
  const uint32_t max_tokens = input.number(0, 600);
  if (input.byte() % 2 == 1) {
    uint64_t id = 0;
    for (int i = 0; i < 8; i++) id = id << 8 | input.byte();
    problem.empty_id = read_id(problem.id_type, &id);
    problem.has_empty_id = problem.empty_id != -1;
  }
  const std::vector<uint8_t> ids = read_ids(input, problem.id_type, problem.partition.num_experts());
  // The ids are repeated until there are as many tokens as were requested.
  problem.num_tokens = ids.empty() && problem.num_topk > 0 ? 0 : max_tokens;
  const size_t num_bytes = size_t{problem.num_tokens} * problem.num_topk * id_bytes(problem.id_type);
  for (size_t i = 0; i < num_bytes; i++) problem.ids.push_back(ids[i % ids.size()]);
  return c;
}

// The order is read from the last byte on, backwards, and these bytes are also read as ids. So each input that was found
// before there were orders still describes the same layout, and orders its ids in some way, too.
void read_order(const uint8_t* data, size_t size, LayoutCase& c) {
  const std::vector<uint8_t> backwards{std::make_reverse_iterator(data + size),
                                       std::make_reverse_iterator(data)};
  Input input(backwards.data(), size);
  OrderRequest& order = c.order;
  order.order = static_cast<Order>(input.byte() % 3);
  const uint8_t sequence = input.byte();
  c.is_order_first = sequence >= 128;
  c.exports_until_cut = sequence % 128;
  c.tokens_of_piece = input.number(0, 600);
  if (!order.is_by_expert()) return;
  const uint32_t num_experts = c.problem.partition.num_experts();
  order.first_expert = input.number(0, num_experts);
  order.num_local_experts = input.number(0, num_experts - order.first_expert);
  order.alignment = bounded_alignment(input.number(1, 1000), c.problem, order.num_local_experts);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  LayoutCase layout_case = read_case(input);
  read_order(data, size, layout_case);
  const char* const fault = find_fault(layout_case);
  if (fault == nullptr) return 0;
  std::fprintf(stderr, "FAILED %s: %s\n", fault, describe(layout_case).c_str());
  std::abort();
}
