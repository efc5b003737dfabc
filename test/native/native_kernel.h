// The unchanged source of the WASM kernel, compiled for this machine. Its tables are at the same addresses as in the
// module: the small one at its constant address, and the large one below 4 GiB, since positions are 32-bit addresses.
#pragma once

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../../wasm/dispatch_layout.cpp"
#include "../../wasm/row_order.cpp"
#include "reference_layout.h"

// Pages of memory at low addresses. AddressSanitizer sees every access after `size`.
class LowMemory {
 public:
  LowMemory(size_t size, uintptr_t address)
      : data_(static_cast<uint8_t*>(
            mmap(reinterpret_cast<void*>(address), size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | (address == 0 ? MAP_32BIT : MAP_FIXED_NOREPLACE), -1, 0))),
        mapped_(size) {
    if (data_ != MAP_FAILED) return;
    std::perror("no low memory for the expert table");
    std::abort();
  }
  LowMemory(const LowMemory&) = delete;
  ~LowMemory() {
    resize(mapped_);
    munmap(data_, mapped_);
  }

  uint8_t* data() const { return data_; }

  void resize(size_t size) {
    ASAN_UNPOISON_MEMORY_REGION(data_, size);
    ASAN_POISON_MEMORY_REGION(data_ + size, mapped_ - size);
  }

 private:
  uint8_t* data_;
  size_t mapped_;
};

constexpr uint32_t kGarbage = 0x7ead7ead;

// The plan of the kernel, with buffers of exactly the sizes that dispatch_layout.h promises, full of garbage. A program
// has only one plan, so there can be only one of these at a time.
class NativeKernel {
 public:
  std::vector<uint32_t> num_tokens_per_rank, num_tokens_per_rdma_rank, num_tokens_per_expert;

  NativeKernel(const Partition& partition, bool has_bit_rows, uint32_t max_located_ids)
      : num_tokens_per_rank(round_up(partition.num_ranks, 64), kGarbage),
        num_tokens_per_rdma_rank(partition.num_rdma_ranks() + 63, kGarbage),
        num_tokens_per_expert(partition.num_experts() + kNumEmptyEntries, kGarbage),
        table_bytes_(table_bytes(partition.num_experts())),
        rank_of_expert_(ranks_of_entries(partition)),
        last_token_of_node_(partition.num_rdma_ranks() + 1, kGarbage),
        rank_cells_(partition.num_ranks + 1, {kGarbage, kGarbage}),
        large_table_(is_small(partition) ? 1 : table_bytes_, 0) {
    small_table().resize(is_small(partition) ? table_bytes_ : 0);
    Plan& plan = *::plan();
    plan.num_experts = partition.num_experts();
    plan.num_ranks = partition.num_ranks;
    plan.num_ranks_per_node = partition.num_ranks_per_node;
    plan.num_rdma_ranks = partition.num_rdma_ranks();
    plan.has_bit_rows = has_bit_rows;
    plan.rank_of_expert = rank_of_expert_.data();
    plan.large_table = reinterpret_cast<Entry*>(large_table_.data());
    plan.num_tokens_per_rank = num_tokens_per_rank.data();
    plan.num_tokens_per_rdma_rank = num_tokens_per_rdma_rank.data();
    plan.num_tokens_per_expert = num_tokens_per_expert.data();
    plan.last_token_of_node = last_token_of_node_.data();
    plan.rank_cells = rank_cells_.data() + 1;
    make_room(max_located_ids);
    build_table();
  }
  NativeKernel(const NativeKernel&) = delete;

  // Places the positions anew, for so many ids located at a time. Nothing that was begun may still need the old ones.
  void make_room(uint32_t max_located_ids) {
    const bool is_small = ::plan()->num_experts <= kMaxSmallTableExperts;
    const size_t position_bytes = is_small ? sizeof(SmallTable::Position) : sizeof(LargeTable::Position);
    positions_ = std::vector<uint8_t>((size_t{max_located_ids} + 8) * position_bytes, 0xee);
    ::plan()->positions = positions_.data();
  }

  // The entries of the experts in all copies of the table. The empty entries are left out, since their counts do not
  // matter.
  std::vector<uint8_t> entries_of_experts() const {
    const uint32_t num_experts = ::plan()->num_experts;
    std::vector<uint8_t> entries;
    for (size_t begin = 0; begin < table_bytes_; begin += (num_experts + kNumEmptyEntries) * sizeof(Entry)) {
      const LowMemory& table = num_experts <= kMaxSmallTableExperts ? small_table() : large_table_;
      const uint8_t* const copy = table.data() + begin;
      entries.insert(entries.end(), copy, copy + num_experts * sizeof(Entry));
    }
    return entries;
  }

 private:
  static constexpr size_t kSmallTableBytes = 0x10000;

  static size_t round_up(size_t size, size_t multiple) { return (size + multiple - 1) / multiple * multiple; }
  static size_t table_bytes(uint32_t num_experts) {
    Plan plan{};
    plan.num_experts = num_experts;
    return max_copies(plan) * (num_experts + kNumEmptyEntries) * sizeof(Entry);
  }
  static bool is_small(const Partition& partition) {
    return partition.num_experts() <= kMaxSmallTableExperts;
  }
  static std::vector<int32_t> ranks_of_entries(const Partition& partition) {
    std::vector<int32_t> ranks = partition.rank_of_expert;
    ranks.insert(ranks.end(), kNumEmptyEntries, kNoRank);
    return ranks;
  }
  static LowMemory& small_table() {
    static LowMemory memory(kSmallTableBytes, SmallTable::kAddress);
    return memory;
  }

  size_t table_bytes_;
  std::vector<int32_t> rank_of_expert_;
  std::vector<uint32_t> last_token_of_node_;
  std::vector<RankCell> rank_cells_;
  std::vector<uint8_t> positions_;
  LowMemory large_table_;
};

// The buffers of an order of rows, of exactly the promised sizes, full of garbage.
class OrderBuffers {
  std::vector<uint32_t> num_rows_of_key_, first_row_of_key_, of_row_, row_of_selection_;

 public:
  OrderBuffers(uint32_t num_keys, uint32_t max_rows, uint32_t max_selections)
      : num_rows_of_key_(num_keys, kGarbage),
        first_row_of_key_(size_t{num_keys} + 1, kGarbage),
        of_row_(size_t{max_rows} + 1, kGarbage),
        row_of_selection_(max_selections, kGarbage) {}
  OrderBuffers(const OrderBuffers&) = delete;

  // What the kernel gets. In front of of_row there is one number.
  const OrderRows rows{num_rows_of_key_.data(), first_row_of_key_.data(), of_row_.data() + 1,
                       row_of_selection_.data()};
};
