// Computes layouts with the kernel on the CPU, as a test device for other languages.
//
// Reads requests from stdin until it ends and answers each on stdout. All numbers are little-endian.
//   request   16 x int64: magic 0x444c5232, id type (the value of IdType: int64 0, uint64 1, int32 2, uint32 3,
//             int16 4, uint16 5, int8 6, uint8 7), num_tokens, num_topk, token_stride, num_experts, num_ranks,
//             num_nodes (1 within one node), has_table (0 or 1), is_strict (0 or 1), seed (order of fibers
//             and garbage in memory), device (0 an H100, 1 a small one, 2 one without shared memory),
//             num_ids (how many ids follow), first_id (the index of token 0's first id among them), 0, 0
//             num_ids ids; then, if has_table, num_experts x int32: the rank of each expert
//   answer    int64 cudaError_t; if it is 0:
//             uint64 first_invalid_selection (~0 if there is none, or not strict)
//             num_ranks x int32, then if num_nodes > 1 num_nodes x int32, then num_experts x int32
//             num_tokens * num_ranks bytes: is_token_in_rank
#include "kernel_on_cpu.h"

using namespace dispatch_layout;

namespace {

template <typename T>
std::vector<T> read(size_t count) {
  std::vector<T> values(count);
  if (std::fread(values.data(), sizeof(T), count, stdin) != count) cuda_shim::fail("request cut short");
  return values;
}

template <typename T>
void write(const std::vector<T>& values) {
  std::fwrite(values.data(), sizeof(T), values.size(), stdout);
}

const cuda_shim::Device kDevices[] = {{}, {2, 24 * 1024}, {3, 0}};

}  // namespace

int main() {
  int64_t header[16];
  while (std::fread(header, sizeof(header), 1, stdin) == 1) {
    const auto [magic, type, num_tokens, num_topk, token_stride, num_experts, num_ranks, num_nodes, has_table,
                is_strict, seed, device, num_ids, first_id, reserved, reserved_2] = header;
    if (magic != 0x444c5232 || type < 0 || type > 7 || device < 0 || device > 2 || reserved != 0 ||
        reserved_2 != 0)
      cuda_shim::fail("malformed request");
    cuda_shim::device = kDevices[device];
    cuda_shim::seed = static_cast<unsigned>(seed);
    const int id_bytes = get_id_bytes(static_cast<IdType>(type));
    const std::vector<char> ids = read<char>(num_ids * id_bytes);
    const std::vector<int32_t> table = read<int32_t>(has_table ? num_experts : 0);

    // Garbage in the outputs, so that what is not written shows
    std::vector<int32_t> per_rank(num_ranks, 0x7ead), per_expert(num_experts, 0x7ead);
    std::vector<int32_t> per_node(num_nodes > 1 ? num_nodes : 0, 0x7ead);
    std::vector<uint8_t> mask(num_tokens * num_ranks, 0xee);
    std::vector<uint64_t> scratch(dispatch_layout_scratch_bytes(num_experts, num_ranks) / 8 + 1);
    std::vector<uint64_t> first_invalid_selection{~uint64_t{0}};
    DispatchLayoutArguments a;
    a.topk_idx = ids.data() + first_id * id_bytes;
    a.topk_idx_type = static_cast<IdType>(type);
    a.num_tokens = num_tokens, a.num_topk = static_cast<int>(num_topk), a.token_stride = token_stride;
    a.num_experts = static_cast<int>(num_experts), a.num_ranks = static_cast<int>(num_ranks);
    a.num_nodes = static_cast<int>(num_nodes);
    a.rank_of_expert = has_table ? table.data() : nullptr;
    a.num_tokens_per_rank = per_rank.data(), a.num_tokens_per_expert = per_expert.data();
    a.num_tokens_per_rdma_rank = num_nodes > 1 ? per_node.data() : nullptr;
    a.is_token_in_rank = mask.data();
    a.first_invalid_selection = is_strict ? first_invalid_selection.data() : nullptr;
    a.scratch = scratch.data();
    const int64_t error = launch_dispatch_layout(a, nullptr);
    write(std::vector<int64_t>{error});
    if (error == cudaSuccess) {
      write(first_invalid_selection), write(per_rank), write(per_node), write(per_expert), write(mask);
      for (uint64_t word : scratch)
        if (word != 0) cuda_shim::fail("scratch not restored");
    }
    std::fflush(stdout);
  }
}
