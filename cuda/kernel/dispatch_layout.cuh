// The dispatch-layout kernel and its launcher. `dispatch_layout.h` states the contract. Include this file in
// exactly one CUDA translation unit.
//
// Every id is read once. A warp takes tiles of 32 tokens, one token per lane. It counts experts with atomics
// in shared memory, collects each token's ranks as a bit mask, transposes masks across the warp to count
// columns by `popc`, and expands them into the 32 contiguous rows of `is_token_in_rank` with 16-byte stores. Rows
// of bits are stored as they are.
// If there is only one block, it then writes its counts. Otherwise the blocks add their counts into the
// scratch memory, and whoever adds to a count last writes the sum to the outputs. No output needs to be
// cleared beforehand, so one launch is enough.
//
// If the counts and tables do not fit in shared memory (above about 28 000 experts on an H100, 8 000 on
// sm_75), a second, slower kernel counts in the scratch memory.
//
// If the empty id is itself the id of an expert, that expert is counted like any other, but its entry in the table
// leads to no rank, and its count is written as 0.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstring>

#include "dispatch_layout.h"
#include "id_parameters.cuh"
#include "launch.cuh"
#include "merge.cuh"

namespace dispatch_layout {

constexpr int kTokensPerTile = 32;
constexpr int kIdsPerBatch = 8;
constexpr int kMaxRanksInRegisters = 64, kMaxNodesInRegisters = 32;

// The table entry of an expert on no rank. Neither a rank nor a node is 16 bits of ones
constexpr uint32_t kNowhere = 0xffffffff;

struct LayoutParameters : IdParameters {
  int32_t *num_tokens_per_rank, *num_tokens_per_rdma_rank, *num_tokens_per_expert;
  uint8_t* is_token_in_rank;

  __host__ __device__ int num_counts() const { return num_experts + num_ranks + num_counted_nodes; }

  __host__ __device__ bool has_mask() const { return is_token_in_rank != nullptr; }

  // Whether the layout has a mask of bytes, and no empty id to compare ids with. Most layouts are plain. They
  // have kernels of their own, since the conditions that the others need would make them up to a third slower.
  bool is_plain() const { return has_mask() && !has_bit_rows && empty_id == 0; }

  // The number of bits from one row of ranks to the next in the bit string of a tile. Rows of bits begin with a
  // byte, so that the bit string is what is stored.
  template <bool kIsPlain>
  __host__ __device__ int num_row_bits() const {
    return !kIsPlain && has_bit_rows ? (num_ranks + 7) / 8 * 8 : num_ranks;
  }

  // The number of words of shared memory in which each warp keeps the ranks and nodes of its tile. If the warp
  // collects them in registers, it needs shared memory only for the ranks, to write the mask from there.
  template <bool kIsPlain>
  __host__ __device__ int num_mask_words(bool are_in_registers, bool with_mask) const {
    if (are_in_registers) return with_mask ? num_row_bits<kIsPlain>() : 0;
    return num_row_bits<kIsPlain>() + num_counted_nodes;
  }

  __device__ void write_count(int index, int32_t count) const {
    const int expert_idx = index - num_ranks - num_counted_nodes;
    if (index < num_ranks)
      num_tokens_per_rank[index] = count;
    else if (expert_idx < 0)
      num_tokens_per_rdma_rank[index - num_ranks] = count;
    else
      num_tokens_per_expert[expert_idx] = expert_idx == empty_expert ? 0 : count;
  }
};

// Transposes 32 x 32 bit matrices. Lane i brings row i and gets column i, whose bit j is bit i of lane j's
// row. Each round swaps the off-diagonal quarters of all blocks of 2 * width rows and columns. Several
// matrices at once hide each other's latency.
template <int kNumMatrices>
__device__ void transpose_bits(uint32_t (&rows)[kNumMatrices], int lane_idx) {
#pragma unroll
  for (int width = 16; width > 0; width /= 2) {
    const uint32_t low_columns = 0xffffffffu / ((1u << width) + 1);
    const bool is_low_row = (lane_idx & width) == 0;
    const uint32_t kept_columns = is_low_row ? low_columns : ~low_columns;
#pragma unroll
    for (int i = 0; i < kNumMatrices; ++i) {
      const uint32_t other = __shfl_xor_sync(kAllLanes, rows[i], width);
      rows[i] = (rows[i] & kept_columns) | ((is_low_row ? other << width : other >> width) & ~kept_columns);
    }
  }
}

// Adds the columns of the tile to their counts. Each lane adds one column
__device__ inline void add_column(int32_t* counts, uint32_t column, int num_columns, int lane_idx) {
  if (lane_idx < num_columns && column != 0) atomicAdd(&counts[lane_idx], __popc(column));
}

// Returns bits [begin, begin + count) of a bit string, for count <= 32. It reads no word that holds none of
// these bits.
__device__ inline uint32_t read_bits(const uint32_t* bits, int begin, int count) {
  const int shift = begin % 32;
  const uint32_t low = bits[begin / 32], high = shift + count > 32 ? bits[begin / 32 + 1] : 0;
  return __funnelshift_r(low, high, shift) & (0xffffffffu >> (32 - count));
}

// Returns bits 0 to 3 as four bytes of 0 or 1. The factor puts bit i, among other places, at bit 8 * i. No
// two of its shifted copies (by 0, 7, 14 and 21) overlap within four bits, so nothing carries.
__device__ inline uint32_t expand_bits(uint32_t bits) { return (bits & 0xf) * 0x00204081u & 0x01010101u; }

// Returns 1 << index, or 0 if that is beyond 32 bits
__device__ inline uint32_t make_bit(uint32_t index) { return __funnelshift_lc(0, 1, index); }

// The masks of a lane's token in registers, for at most 64 ranks and 32 nodes
struct RegisterMasks {
  uint32_t words[3] = {};  // Ranks 0 to 31, ranks 32 to 63, nodes

  __device__ void add(uint32_t target) {
    const uint32_t rank_idx = target & 0xffff;
    words[0] |= make_bit(rank_idx);
    words[1] |= make_bit(rank_idx - 32);
    words[2] |= make_bit(target >> 16);
  }

  // Puts the row of R <= 64 bits into the bit string of the tile, of which it touches three words at most
  __device__ void store(uint32_t* tile_bits, int row_bits, int lane_idx) const {
    const int begin_bit = lane_idx * row_bits, shift = begin_bit % 32;
    const uint32_t shifted[3] = {words[0] << shift, __funnelshift_l(words[0], words[1], shift),
                                 __funnelshift_l(words[1], 0, shift)};
#pragma unroll
    for (int i = 0; i < 3; ++i)
      if (shifted[i] != 0) atomicOr(&tile_bits[begin_bit / 32 + i], shifted[i]);
  }

  __device__ void count(int32_t* counts, int num_ranks, int num_counted_nodes, int lane_idx) {
    if (num_ranks <= 32 && num_counted_nodes == 0) {
      uint32_t columns[1] = {words[0]};
      transpose_bits(columns, lane_idx);
      add_column(counts, columns[0], num_ranks, lane_idx);
    } else {
      transpose_bits(words, lane_idx);
      add_column(counts, words[0], num_ranks, lane_idx);
      add_column(counts + 32, words[1], num_ranks - 32, lane_idx);
      add_column(counts + num_ranks, words[2], num_counted_nodes, lane_idx);
    }
  }
};

// The masks of any number of ranks and nodes, as bit strings of the tile in shared memory: 32 rows of ranks,
// then 32 rows of nodes
struct SharedMasks {
  uint32_t *rank_bits, *node_bits;
  int begin_rank_bit, begin_node_bit;

  __device__ static void set(uint32_t* bits, int index) { atomicOr(&bits[index / 32], 1u << (index % 32)); }

  __device__ void add(uint32_t target, int num_counted_nodes) const {
    if (target == kNowhere) return;
    set(rank_bits, begin_rank_bit + static_cast<int>(target & 0xffff));
    if (num_counted_nodes > 0) set(node_bits, begin_node_bit + static_cast<int>(target >> 16));
  }

  __device__ static void count(int32_t* counts, const uint32_t* bits, int begin_bit, int num_columns,
                               int lane_idx) {
#pragma unroll 1
    for (int i = 0; i < num_columns; i += 32) {
      uint32_t columns[1] = {read_bits(bits, begin_bit + i, min(num_columns - i, 32))};
      transpose_bits(columns, lane_idx);
      add_column(counts + i, columns[0], num_columns - i, lane_idx);
    }
  }
};

// Merges what the block has counted, and its first invalid selection, with those of the other blocks. `counts` is
// null if the block has counted in the scratch memory, before a barrier. No count carries into the upper bits of
// its word:
//   - In `counts` it has 32 bits, and there are fewer than 2^16 blocks.
//   - In the scratch memory each selection has added at most 1, and there are at most kMaxResult selections.
template <typename Id>
__device__ void merge_blocks(const LayoutParameters& p, const int32_t* counts, unsigned long long invalid) {
#pragma unroll 1
  for (int i = threadIdx.x; i < p.num_counts(); i += blockDim.x)
    contribute(&p.scratch->template get_rest<unsigned long long>()[i],
               counts == nullptr ? 0 : static_cast<uint32_t>(counts[i]),
               [&](unsigned long long sum) { p.write_count(i, static_cast<int32_t>(sum)); });
  // The last thread has the fewest counts
  if (p.report.place == nullptr || threadIdx.x != blockDim.x - 1) return;
  raise_invalid(&p.scratch->invalid, invalid);
  p.template merge_invalid<Id>();
}

// `Id` is the unsigned type of the ids' width, and `Piece` is the type of one load, which brings one or more
// ids
template <typename Id, typename Piece, bool kMasksInRegisters, bool kIsPlain>
__global__ void __launch_bounds__(kMaxThreads, 1) get_dispatch_layout(const LayoutParameters p) {
  constexpr int kIdsPerPiece = sizeof(Piece) / sizeof(Id);
  constexpr int kPiecesPerBatch = kIdsPerBatch / kIdsPerPiece;

  wait_for_previous_kernel();
  extern __shared__ uint4 shared_memory[];
  const int lane_idx = threadIdx.x % 32, warp_idx = threadIdx.x / 32, num_warps = blockDim.x / 32;
  const bool has_mask = kIsPlain || p.has_mask();
  const int num_mask_words = p.template num_mask_words<kIsPlain>(kMasksInRegisters, has_mask);
  // Behind the counts of experts there is one more, for ids that are not experts
  auto* invalid = reinterpret_cast<unsigned long long*>(shared_memory);
  auto* counts = reinterpret_cast<int32_t*>(shared_memory + 1);
  int32_t* expert_counts = counts + p.num_ranks + p.num_counted_nodes;
  auto* targets = reinterpret_cast<uint32_t*>(expert_counts + p.num_experts + 1);
  uint32_t* rank_bits = targets + p.num_experts + 1 + warp_idx * num_mask_words;
  uint32_t* node_bits = rank_bits + p.template num_row_bits<kIsPlain>();

  // Load ids one batch ahead, and the first batch before shared memory is ready
  Piece pieces[kPiecesPerBatch] = {};
  const auto load_batch = [&](int64_t token_idx, int begin_slot) {
    const unsigned char* ids =
        p.topk_idx + token_idx * p.token_stride_in_bytes + begin_slot * static_cast<int64_t>(sizeof(Id));
#pragma unroll
    for (int i = 0; i < kPiecesPerBatch; ++i)
      if (token_idx < p.num_tokens && begin_slot + i * kIdsPerPiece < p.num_topk)
        pieces[i] = __ldg(reinterpret_cast<const Piece*>(ids) + i);
  };
  const int64_t token_step = static_cast<int64_t>(gridDim.x) * num_warps * kTokensPerTile;
  int64_t tile_token = (static_cast<int64_t>(warp_idx) * gridDim.x + blockIdx.x) * kTokensPerTile;
  load_batch(tile_token + lane_idx, 0);

  // Clear the counts, and tabulate each expert's rank and node as rank | node << 16
#pragma unroll 1
  for (int i = threadIdx.x; i <= p.num_counts(); i += blockDim.x) counts[i] = 0;
#pragma unroll 1
  for (int i = threadIdx.x; i <= p.num_experts; i += blockDim.x) {
    const int rank_idx = i < p.num_experts ? p.find_rank(i) : -1;
    const int node_idx = p.num_counted_nodes > 0 ? rank_idx / p.num_ranks_per_node : 0;
    targets[i] =
        rank_idx < 0 ? kNowhere : static_cast<uint32_t>(rank_idx) | static_cast<uint32_t>(node_idx) << 16;
  }
  if (threadIdx.x == 0) *invalid = 0;
  __syncthreads();

  unsigned long long own_invalid = 0;
#pragma unroll 1
  for (; tile_token < p.num_tokens; tile_token += token_step) {
    const int64_t token_idx = tile_token + lane_idx;
    const bool has_token = token_idx < p.num_tokens;
#pragma unroll 1
    for (int i = lane_idx; i < num_mask_words; i += 32) rank_bits[i] = 0;
    __syncwarp();

    // Count experts, and collect ranks and nodes. An id that is not an expert counts as one more expert,
    // which is on no rank.
    RegisterMasks register_masks;
    const SharedMasks shared_masks{rank_bits, node_bits, lane_idx * p.template num_row_bits<kIsPlain>(),
                                   lane_idx * p.num_counted_nodes};
#pragma unroll 1
    for (int begin_slot = 0; begin_slot < p.num_topk; begin_slot += kIdsPerBatch) {
      Id ids[kIdsPerBatch];
      memcpy(ids, pieces, sizeof(ids));
      uint32_t experts[kIdsPerBatch];
      int first_invalid = kIdsPerBatch;
#pragma unroll
      for (int i = kIdsPerBatch - 1; i >= 0; --i) {
        const bool has_id = has_token && begin_slot + i < p.num_topk;
        const bool is_expert = has_id && p.is_expert(ids[i]);
        experts[i] = is_expert ? static_cast<uint32_t>(ids[i]) : p.num_experts;
        if (has_id && !is_expert && p.template is_invalid<kIsPlain>(ids[i])) first_invalid = i;
      }
      const bool is_row_done = p.num_topk - begin_slot <= kIdsPerBatch;
      load_batch(is_row_done ? token_idx + token_step : token_idx,
                 is_row_done ? 0 : begin_slot + kIdsPerBatch);
#pragma unroll
      for (int i = 0; i < kIdsPerBatch; ++i) {
        if (begin_slot + i >= p.num_topk) break;
        atomicAdd(&expert_counts[experts[i]], 1);
        if constexpr (kMasksInRegisters)
          register_masks.add(targets[experts[i]]);
        else
          shared_masks.add(targets[experts[i]], p.num_counted_nodes);
      }
      // The selections of a lane ascend, so the first invalid one is the smallest
      if (first_invalid < kIdsPerBatch && own_invalid == 0)
        own_invalid = p.number_invalid(token_idx, begin_slot + first_invalid);
    }
    if constexpr (kMasksInRegisters)
      if (has_mask) register_masks.store(rank_bits, p.template num_row_bits<kIsPlain>(), lane_idx);
    __syncwarp();

    // Count tokens per rank and node
    if constexpr (kMasksInRegisters) {
      register_masks.count(counts, p.num_ranks, p.num_counted_nodes, lane_idx);
    } else {
      const SharedMasks& m = shared_masks;
      SharedMasks::count(counts, rank_bits, m.begin_rank_bit, p.num_ranks, lane_idx);
      SharedMasks::count(counts + p.num_ranks, node_bits, m.begin_node_bit, p.num_counted_nodes, lane_idx);
    }

    // Write the rows of the tile: byte i is bit i of the bit string, or byte i if rows are of bits
    if (!kIsPlain && p.has_bit_rows) {
      const int row_bytes = p.template num_row_bits<false>() / 8;
      uint8_t* rows = p.is_token_in_rank + tile_token * row_bytes;
      const int num_rows =
          static_cast<int>(min(p.num_tokens - tile_token, static_cast<int64_t>(kTokensPerTile)));
      const int num_bytes = num_rows * row_bytes;
      const int num_vectors = reinterpret_cast<uintptr_t>(rows) % sizeof(uint4) == 0 ? num_bytes / 16 : 0;
#pragma unroll 1
      for (int i = lane_idx; i < num_vectors; i += 32)
        reinterpret_cast<uint4*>(rows)[i] =
            make_uint4(rank_bits[4 * i], rank_bits[4 * i + 1], rank_bits[4 * i + 2], rank_bits[4 * i + 3]);
#pragma unroll 1
      for (int i = num_vectors * 16 + lane_idx; i < num_bytes; i += 32)
        rows[i] = static_cast<uint8_t>(rank_bits[i / 4] >> (i % 4 * 8));
    } else if (has_mask) {
      uint8_t* rows = p.is_token_in_rank + tile_token * p.num_ranks;
      const int num_rows =
          static_cast<int>(min(p.num_tokens - tile_token, static_cast<int64_t>(kTokensPerTile)));
      const int num_bytes = num_rows * p.num_ranks;
      const int num_vectors = reinterpret_cast<uintptr_t>(rows) % sizeof(uint4) == 0 ? num_bytes / 16 : 0;
#pragma unroll 1
      for (int i = lane_idx; i < num_vectors; i += 32) {
        const uint32_t bits = rank_bits[i / 2] >> (i % 2 * 16);
        reinterpret_cast<uint4*>(rows)[i] = make_uint4(expand_bits(bits), expand_bits(bits >> 4),
                                                       expand_bits(bits >> 8), expand_bits(bits >> 12));
      }
#pragma unroll 1
      for (int i = num_vectors * 16 + lane_idx; i < num_bytes; i += 32)
        rows[i] = rank_bits[i / 32] >> (i % 32) & 1;
    }
    __syncwarp();
  }

  if (own_invalid != 0) atomicMax(invalid, own_invalid);

  // Merge the results of all blocks
  __syncthreads();
  if (gridDim.x == 1) {
#pragma unroll 1
    for (int i = threadIdx.x; i < p.num_counts(); i += blockDim.x) p.write_count(i, counts[i]);
    if (threadIdx.x == 0) p.template write_invalid<Id>(*invalid);
  } else {
    merge_blocks<Id>(p, counts, *invalid);
  }
}

// The slower kernel, for any number of experts and ranks. It has a thread per token, and counts in the
// scratch memory
template <typename Id>
__global__ void __launch_bounds__(kMaxThreads, 1) get_dispatch_layout_in_scratch(const LayoutParameters p) {
  wait_for_previous_kernel();
  unsigned long long *rank_counts = p.scratch->template get_rest<unsigned long long>(),
                     *node_counts = rank_counts + p.num_ranks;
  unsigned long long* expert_counts = node_counts + p.num_counted_nodes;
  unsigned long long own_invalid = 0;
  const int64_t num_threads = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t token_idx = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       token_idx < p.num_tokens; token_idx += num_threads) {
    const Id* ids = reinterpret_cast<const Id*>(p.topk_idx + token_idx * p.token_stride_in_bytes);
    const int row_bytes = p.has_bit_rows ? p.num_row_bits<false>() / 8 : p.num_ranks;
    uint8_t* row = p.has_mask() ? p.is_token_in_rank + token_idx * row_bytes : nullptr;
    if (p.has_mask())
      for (int i = 0; i < row_bytes; ++i) row[i] = 0;
    const auto is_set = [&](int i) {
      return p.has_bit_rows ? (row[i / 8] >> (i % 8) & 1) != 0 : row[i] != 0;
    };
    for (int slot = 0; slot < p.num_topk; ++slot) {
      const Id id = ids[slot];
      if (!p.is_expert(id)) {
        // The selections of a thread ascend, so the first invalid one is the smallest
        if (own_invalid == 0 && p.template is_invalid<false>(id))
          own_invalid = p.number_invalid(token_idx, slot);
        continue;
      }
      atomicAdd(&expert_counts[id], 1ull);
      const int rank_idx = p.find_rank(static_cast<int>(id));
      if (rank_idx < 0) continue;

      // Has an earlier slot of this token led to this rank, or to this node? The row of the mask says so. If
      // there is no mask, the earlier slots are looked up again.
      const int node_idx = p.num_counted_nodes > 0 ? rank_idx / p.num_ranks_per_node : 0;
      const int begin_rank = node_idx * p.num_ranks_per_node;
      bool is_in_node = false;
      if (p.has_mask()) {
        if (is_set(rank_idx)) continue;
        if (p.num_counted_nodes > 0)
          for (int i = 0; i < p.num_ranks_per_node; ++i) is_in_node |= is_set(begin_rank + i);
        if (p.has_bit_rows)
          row[rank_idx / 8] |= 1 << rank_idx % 8;
        else
          row[rank_idx] = 1;
      } else {
        bool is_in_rank = false;
        for (int i = 0; i < slot && !is_in_rank; ++i) {
          const int earlier = p.is_expert(ids[i]) ? p.find_rank(static_cast<int>(ids[i])) : -1;
          is_in_rank = earlier == rank_idx;
          is_in_node |= earlier >= begin_rank && earlier < begin_rank + p.num_ranks_per_node;
        }
        if (is_in_rank) continue;
      }
      atomicAdd(&rank_counts[rank_idx], 1ull);
      if (p.num_counted_nodes > 0 && !is_in_node) atomicAdd(&node_counts[node_idx], 1ull);
    }
  }
  if (p.report.place != nullptr) raise_invalid(&p.scratch->invalid, own_invalid);
  __syncthreads();
  merge_blocks<Id>(p, nullptr, 0);
}

inline bool has_masks_in_registers(const LayoutParameters& p) {
  return p.num_ranks <= kMaxRanksInRegisters && p.num_counted_nodes <= kMaxNodesInRegisters;
}

// Returns the bytes of what a block of the kernel keeps in shared memory
inline size_t get_shared_bytes(const LayoutParameters& p, int num_threads) {
  const size_t num_mask_words =
      static_cast<size_t>(p.num_mask_words<false>(has_masks_in_registers(p), p.has_mask()));
  const size_t num_block_words = p.num_counts() + 2 + static_cast<size_t>(p.num_experts);
  return sizeof(uint4) + sizeof(uint32_t) * (num_block_words + num_threads / 32 * num_mask_words);
}

// The constants were measured: see docs/notes/cuda-kernel.md
inline LaunchPlan plan_launch(const LayoutParameters& p, const DeviceLimits& limits) {
  constexpr int kMinThreads = 64, kMaxTilesOfLoneBlock = 16, kTilesPerBlock = 8;
  LaunchPlan plan{true, 1, kMaxThreads, get_shared_bytes(p, kMaxThreads)};
  while (plan.shared_bytes > static_cast<size_t>(limits.shared_bytes_per_block) &&
         plan.num_threads > kMinThreads)
    plan.shared_bytes = get_shared_bytes(p, plan.num_threads /= 2);
  // A table entry has 16 bits for a rank
  if (plan.shared_bytes > static_cast<size_t>(limits.shared_bytes_per_block) || p.num_ranks > 0xffff)
    plan = {false, 1, kMaxThreads, 0};
  const int64_t num_tiles = (p.num_tokens + kTokensPerTile - 1) / kTokensPerTile;
  if (num_tiles > kMaxTilesOfLoneBlock)
    plan.num_blocks = static_cast<int>(
        std::min<int64_t>((num_tiles + kTilesPerBlock - 1) / kTilesPerBlock, limits.num_sms));
  return plan;
}

using LayoutKernel = void (*)(LayoutParameters);

template <typename Id>
LayoutKernel select_kernel(const LayoutParameters& p, bool fits_in_shared_memory) {
  if (!fits_in_shared_memory) return get_dispatch_layout_in_scratch<Id>;
  // The size of a piece must divide the address, the stride and the length of the rows
  const auto select = [&](auto piece) -> LayoutKernel {
    using Piece = decltype(piece);
    if (p.is_plain())
      return has_masks_in_registers(p) ? get_dispatch_layout<Id, Piece, true, true>
                                       : get_dispatch_layout<Id, Piece, false, true>;
    return has_masks_in_registers(p) ? get_dispatch_layout<Id, Piece, true, false>
                                     : get_dispatch_layout<Id, Piece, false, false>;
  };
  const uintptr_t row_bits = reinterpret_cast<uintptr_t>(p.topk_idx) |
                             static_cast<uintptr_t>(p.token_stride_in_bytes) | p.num_topk * sizeof(Id);
  if constexpr (sizeof(Id) * kIdsPerBatch >= sizeof(uint4))
    if (row_bits % sizeof(uint4) == 0) return select(uint4{});
  if constexpr (sizeof(Id) < sizeof(uint2))
    if (row_bits % sizeof(uint2) == 0) return select(uint2{});
  return select(Id{});
}

inline LayoutKernel select_kernel(const LayoutParameters& p, int id_bytes, bool fits_in_shared_memory) {
  switch (id_bytes) {
    case 1: return select_kernel<uint8_t>(p, fits_in_shared_memory);
    case 2: return select_kernel<uint16_t>(p, fits_in_shared_memory);
    case 4: return select_kernel<uint32_t>(p, fits_in_shared_memory);
    default: return select_kernel<unsigned long long>(p, fits_in_shared_memory);
  }
}

inline cudaError_t make_parameters(const DispatchLayoutArguments& a, LayoutParameters* p) {
  cudaError_t error = set_ids(a, a.scratch, p);
  if (error == cudaSuccess) error = set_ranks(a.num_ranks, a.rank_of_expert, p);
  if (error != cudaSuccess) return error;
  const bool has_nodes = a.num_nodes > 1;
  if (a.num_experts > INT32_MAX - kMaxThreads - 2 * static_cast<int64_t>(a.num_ranks) || a.num_nodes <= 0 ||
      a.num_ranks % a.num_nodes != 0 || a.num_tokens_per_rank == nullptr ||
      a.num_tokens_per_expert == nullptr || (has_nodes && a.num_tokens_per_rdma_rank == nullptr))
    return cudaErrorInvalidValue;
  p->num_counted_nodes = has_nodes ? a.num_nodes : 0;
  p->num_ranks_per_node = a.num_ranks / a.num_nodes;
  p->num_tokens_per_rank = a.num_tokens_per_rank;
  p->num_tokens_per_rdma_rank = a.num_tokens_per_rdma_rank;
  p->num_tokens_per_expert = a.num_tokens_per_expert;
  p->is_token_in_rank = a.is_token_in_rank;
  p->has_bit_rows = a.is_token_in_rank != nullptr && a.has_bit_rows;
  return cudaSuccess;
}

// Launches with the given plan. Only benchmarks and tests make plans of their own.
inline cudaError_t launch_dispatch_layout(const DispatchLayoutArguments& arguments, const LaunchPlan& plan,
                                          cudaStream_t stream) {
  LayoutParameters parameters{};
  cudaError_t error = make_parameters(arguments, &parameters);
  if (error == cudaSuccess && plan.num_blocks > kMaxBlocks) error = cudaErrorInvalidConfiguration;
  if (error != cudaSuccess) return error;
  const LayoutKernel kernel =
      select_kernel(parameters, get_id_bytes(arguments.topk_idx_type), plan.fits_in_shared_memory);
  return launch_kernel(kernel, parameters, plan, stream);
}

cudaError_t launch_dispatch_layout(const DispatchLayoutArguments& arguments, cudaStream_t stream) {
  LayoutParameters parameters{};
  cudaError_t error = make_parameters(arguments, &parameters);
  if (error != cudaSuccess) return error;
  DeviceLimits limits;
  error = get_device_limits(&limits);
  if (error != cudaSuccess) return error;
  return launch_dispatch_layout(arguments, plan_launch(parameters, limits), stream);
}

}  // namespace dispatch_layout
