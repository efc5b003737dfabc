// The dispatch-layout kernel and its launcher. `dispatch_layout.h` states the contract; include this file in
// exactly one CUDA translation unit.
//
// Every id is read once. A warp takes tiles of 32 tokens, one token per lane: it counts experts with atomics
// in shared memory, collects each token's ranks as a bit mask, transposes masks across the warp to count
// columns by `popc`, and expands them into the 32 contiguous rows of `is_token_in_rank` with 16-byte stores.
// Blocks then add up their counts in one of three ways: a lone block just writes them, the blocks of a lone
// cluster (sm_90 and later) read each other's shared memory, and a larger grid adds into the workspace, which
// the block that comes last empties into the outputs. No output needs to be cleared beforehand, so one launch
// is all there is.
//
// What does not fit in shared memory (about 28 000 experts on an H100, 8 000 on sm_75) is counted in the
// workspace by a second, slower kernel.
#pragma once

#include <cooperative_groups.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstring>

#include "dispatch_layout.h"

namespace dispatch_layout {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kTokensPerTile = 32;
constexpr int kIdsPerBatch = 8;
constexpr int kMaxThreads = 512;
constexpr int kMaxRanksInRegisters = 64;

// Not below any number of experts
constexpr uint32_t kPadding = 0xffffffff, kInvalid = 0xfffffffe;

// The table entry of an expert on no rank: no node has this number
constexpr uint32_t kNowhere = 0xffffffff;

struct Workspace {
  unsigned long long invalid;  // ~position of the first invalid id, 0 if there is none
  unsigned num_finished_blocks;
  unsigned unused;

  // [experts | ranks | nodes]
  __device__ int32_t* counts() { return reinterpret_cast<int32_t*>(this + 1); }
};

struct LayoutParameters {
  const unsigned char* topk_idx;
  int64_t token_stride_in_bytes;
  int64_t num_tokens;
  int num_topk;
  uint32_t id_end;  // An id is an expert if its bits, read as unsigned, are below this
  bool has_padding;
  int num_experts, num_ranks, num_nodes;
  int num_experts_per_rank, num_ranks_per_node;
  const int32_t* rank_of_expert;
  int32_t *num_tokens_per_rank, *num_tokens_per_rdma_rank, *num_tokens_per_expert;
  uint8_t* is_token_in_rank;
  uint64_t* first_invalid_position;
  Workspace* workspace;
  bool is_one_cluster;

  __host__ __device__ int num_counts() const { return num_experts + num_ranks + num_nodes; }

  // The rank that holds an expert, or -1
  __device__ int find_rank(int expert_idx) const {
    int rank_idx = -1;
    if (rank_of_expert != nullptr)
      rank_idx = rank_of_expert[expert_idx];
    else if (num_experts_per_rank > 0)
      rank_idx = expert_idx / num_experts_per_rank;
    return rank_idx >= 0 && rank_idx < num_ranks ? rank_idx : -1;
  }

  // The expert's index, or what the id is instead: kPadding or kInvalid
  template <typename Id>
  __device__ uint32_t classify(Id id) const {
    if (id < id_end) return static_cast<uint32_t>(id);
    return has_padding && id == static_cast<Id>(~Id{0}) ? kPadding : kInvalid;
  }

  __device__ void report_invalid(unsigned long long* invalid, int64_t token_idx, int slot) const {
    if (first_invalid_position != nullptr)
      atomicMax(invalid, ~static_cast<unsigned long long>(token_idx * num_topk + slot));
  }

  __device__ void write_count(int index, int32_t count) const {
    if (index < num_experts)
      num_tokens_per_expert[index] = count;
    else if (index < num_experts + num_ranks)
      num_tokens_per_rank[index - num_experts] = count;
    else
      num_tokens_per_rdma_rank[index - num_experts - num_ranks] = count;
  }

  __device__ void write_invalid(unsigned long long invalid) const {
    if (first_invalid_position != nullptr) *first_invalid_position = ~invalid;
  }
};

// Lane i brings row i of a 32 x 32 bit matrix and gets column i, its bit j being bit i of lane j's row.
// Each round swaps the off-diagonal quarters of all blocks of 2 * width rows and columns.
__device__ inline uint32_t transpose_bits(uint32_t row, int lane_idx) {
#pragma unroll
  for (int width = 16; width > 0; width /= 2) {
    const uint32_t low_columns = 0xffffffffu / ((1u << width) + 1);
    const uint32_t other = __shfl_xor_sync(kAllLanes, row, width);
    row = lane_idx & width ? (row & ~low_columns) | ((other & ~low_columns) >> width)
                           : (row & low_columns) | ((other & low_columns) << width);
  }
  return row;
}

// Adds the tokens of the tile to `counts`, one count per column. `row` is 32 columns of the lane's token.
__device__ inline void count_columns(uint32_t row, int num_columns, int32_t* counts, int lane_idx) {
  const int count = __popc(transpose_bits(row, lane_idx));
  if (lane_idx < num_columns && count > 0) atomicAdd(&counts[lane_idx], count);
}

// Bits [begin, begin + count) of a bit string, count <= 32. Reads no word that holds none of them.
__device__ inline uint32_t read_bits(const uint32_t* bits, int begin, int count) {
  const int shift = begin % 32;
  const uint32_t low = bits[begin / 32], high = shift + count > 32 ? bits[begin / 32 + 1] : 0;
  return __funnelshift_r(low, high, shift) & (0xffffffffu >> (32 - count));
}

// Bits 0 to 3 as four bytes of 0 or 1: the factor puts bit i, among others, at bit 8 * i, and no two of its
// shifted copies (by 0, 7, 14 and 21) overlap within four bits, so nothing carries.
__device__ inline uint32_t expand_bits(uint32_t bits) { return (bits & 0xf) * 0x00204081u & 0x01010101u; }

// A token's set of ranks or nodes, at most 64, in registers
struct RegisterMask {
  uint64_t bits = 0;

  __device__ void set(int index) { bits |= uint64_t{1} << index; }
  __device__ uint32_t read(int begin, int) const { return static_cast<uint32_t>(bits >> begin); }
};

// The same of any size, within the bit string of the tile in shared memory
struct SharedMask {
  uint32_t* tile_bits;
  int begin_bit;

  __device__ void set(int index) {
    atomicOr(&tile_bits[(begin_bit + index) / 32], 1u << ((begin_bit + index) % 32));
  }
  __device__ uint32_t read(int begin, int count) const {
    return read_bits(tile_bits, begin_bit + begin, count);
  }
};

// The block that finishes last empties the workspace into the outputs
__device__ inline void finish_grid(const LayoutParameters& p) {
  __threadfence();
  __syncthreads();
  const bool is_last =
      threadIdx.x == 0 && atomicInc(&p.workspace->num_finished_blocks, gridDim.x - 1) == gridDim.x - 1;
  if (!__syncthreads_or(is_last)) return;
  __threadfence();
  for (int i = threadIdx.x; i < p.num_counts(); i += blockDim.x)
    p.write_count(i, atomicExch(&p.workspace->counts()[i], 0));
  if (threadIdx.x == 0) p.write_invalid(atomicExch(&p.workspace->invalid, 0ull));
}

// `Id` is the unsigned type of the ids' width, `Piece` what one load brings: one or more ids
template <typename Id, typename Piece, bool kMasksInRegisters>
__global__ void __launch_bounds__(kMaxThreads, 2) get_dispatch_layout(const LayoutParameters p) {
  constexpr int kIdsPerPiece = sizeof(Piece) / sizeof(Id);
  constexpr int kPiecesPerBatch = kIdsPerBatch / kIdsPerPiece;

  extern __shared__ uint4 shared_memory[];
  const int lane_idx = threadIdx.x % 32, warp_idx = threadIdx.x / 32, num_warps = blockDim.x / 32;
  const int num_mask_words = p.num_ranks + (kMasksInRegisters ? 0 : p.num_nodes);
  auto* invalid = reinterpret_cast<unsigned long long*>(shared_memory);  // As in the workspace
  auto* counts = reinterpret_cast<int32_t*>(shared_memory + 1);          // [experts | ranks | nodes]
  auto* targets = reinterpret_cast<uint32_t*>(counts + p.num_counts());
  uint32_t* rank_bits = targets + p.num_experts + warp_idx * num_mask_words;
  uint32_t* node_bits = rank_bits + p.num_ranks;

  // Load ids one batch ahead, the first one before shared memory is ready
  Piece pieces[kPiecesPerBatch] = {};
  const auto load_batch = [&](int64_t token_idx, int begin_slot) {
#pragma unroll
    for (int i = 0; i < kPiecesPerBatch; ++i) {
      const int slot = begin_slot + i * kIdsPerPiece;
      if (token_idx < p.num_tokens && slot < p.num_topk)
        pieces[i] = __ldg(reinterpret_cast<const Piece*>(p.topk_idx + token_idx * p.token_stride_in_bytes +
                                                         slot * static_cast<int64_t>(sizeof(Id))));
    }
  };
  const int64_t token_step = static_cast<int64_t>(gridDim.x) * num_warps * kTokensPerTile;
  int64_t tile_token = (static_cast<int64_t>(warp_idx) * gridDim.x + blockIdx.x) * kTokensPerTile;
  load_batch(tile_token + lane_idx, 0);

  // Clear the counts, and tabulate each expert's rank and node as rank | node << 16, or kNowhere
  for (int i = threadIdx.x; i < p.num_counts(); i += blockDim.x) counts[i] = 0;
  for (int i = threadIdx.x; i < p.num_experts; i += blockDim.x) {
    const int rank_idx = p.find_rank(i);
    const int node_idx = p.num_nodes > 0 ? rank_idx / p.num_ranks_per_node : 0;
    targets[i] =
        rank_idx < 0 ? kNowhere : static_cast<uint32_t>(rank_idx) | static_cast<uint32_t>(node_idx) << 16;
  }
  if (threadIdx.x == 0) *invalid = 0;
  __syncthreads();

  for (; tile_token < p.num_tokens; tile_token += token_step) {
    const int64_t token_idx = tile_token + lane_idx;
    const bool has_token = token_idx < p.num_tokens;
    for (int i = lane_idx; i < num_mask_words; i += 32) rank_bits[i] = 0;
    __syncwarp();

    // Count experts, collect ranks and nodes
    const auto make_mask = [&](uint32_t* tile_bits, int num_columns) {
      if constexpr (kMasksInRegisters)
        return RegisterMask{};
      else
        return SharedMask{tile_bits, lane_idx * num_columns};
    };
    auto rank_mask = make_mask(rank_bits, p.num_ranks);
    auto node_mask = make_mask(node_bits, p.num_nodes);
    for (int begin_slot = 0; begin_slot < p.num_topk; begin_slot += kIdsPerBatch) {
      Id ids[kIdsPerBatch];
      memcpy(ids, pieces, sizeof(ids));
      uint32_t experts[kIdsPerBatch];
#pragma unroll
      for (int i = 0; i < kIdsPerBatch; ++i)
        experts[i] = has_token && begin_slot + i < p.num_topk ? p.classify(ids[i]) : kPadding;
      const bool is_row_done = p.num_topk - begin_slot <= kIdsPerBatch;
      load_batch(is_row_done ? token_idx + token_step : token_idx,
                 is_row_done ? 0 : begin_slot + kIdsPerBatch);
#pragma unroll
      for (int i = 0; i < kIdsPerBatch; ++i) {
        if (experts[i] < p.id_end) {
          atomicAdd(&counts[experts[i]], 1);
          const uint32_t target = targets[experts[i]];
          if (target != kNowhere) {
            rank_mask.set(target & 0xffff);
            if (p.num_nodes > 0) node_mask.set(target >> 16);
          }
        } else if (experts[i] == kInvalid) {
          p.report_invalid(invalid, token_idx, begin_slot + i);
        }
      }
    }
    if constexpr (kMasksInRegisters) {
      // The row of R <= 64 bits begins anywhere in a word, so it lies in at most three
      const int begin_bit = lane_idx * p.num_ranks, shift = begin_bit % 32;
      const uint64_t low = rank_mask.bits << shift, high = shift > 0 ? rank_mask.bits >> (64 - shift) : 0;
      uint32_t* words = rank_bits + begin_bit / 32;
      if (static_cast<uint32_t>(low) != 0) atomicOr(&words[0], static_cast<uint32_t>(low));
      if (low >> 32 != 0) atomicOr(&words[1], static_cast<uint32_t>(low >> 32));
      if (high != 0) atomicOr(&words[2], static_cast<uint32_t>(high));
    }
    __syncwarp();

    // Count tokens per rank and node
    for (int i = 0; i < p.num_ranks; i += 32) {
      const int num_columns = min(p.num_ranks - i, 32);
      count_columns(rank_mask.read(i, num_columns), num_columns, counts + p.num_experts + i, lane_idx);
    }
    for (int i = 0; i < p.num_nodes; i += 32) {
      const int num_columns = min(p.num_nodes - i, 32);
      count_columns(node_mask.read(i, num_columns), num_columns, counts + p.num_experts + p.num_ranks + i,
                    lane_idx);
    }

    // Write the tile's rows: byte i is bit i
    uint8_t* rows = p.is_token_in_rank + tile_token * p.num_ranks;
    const int num_rows =
        static_cast<int>(min(p.num_tokens - tile_token, static_cast<int64_t>(kTokensPerTile)));
    const int num_bytes = num_rows * p.num_ranks;
    const int num_vectors = reinterpret_cast<uintptr_t>(rows) % sizeof(uint4) == 0 ? num_bytes / 16 : 0;
    for (int i = lane_idx; i < num_vectors; i += 32) {
      const uint32_t bits = rank_bits[i / 2] >> (i % 2 * 16);
      reinterpret_cast<uint4*>(rows)[i] = make_uint4(expand_bits(bits), expand_bits(bits >> 4),
                                                     expand_bits(bits >> 8), expand_bits(bits >> 12));
    }
    for (int i = num_vectors * 16 + lane_idx; i < num_bytes; i += 32)
      rows[i] = rank_bits[i / 32] >> (i % 32) & 1;
    __syncwarp();
  }

  // Add up the blocks
  if (gridDim.x == 1) {
    __syncthreads();
    for (int i = threadIdx.x; i < p.num_counts(); i += blockDim.x) p.write_count(i, counts[i]);
    if (threadIdx.x == 0) p.write_invalid(*invalid);
    return;
  }
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  if (p.is_one_cluster) {
    auto cluster = cooperative_groups::this_cluster();
    cluster.sync();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < p.num_counts(); i += gridDim.x * blockDim.x) {
      int32_t count = 0;
#pragma unroll 8
      for (unsigned block_idx = 0; block_idx < gridDim.x; ++block_idx)
        count += cluster.map_shared_rank(counts, block_idx)[i];
      p.write_count(i, count);
    }
    if (blockIdx.x == 0 && threadIdx.x == 0) {
      unsigned long long cluster_invalid = 0;
      for (unsigned i = 0; i < gridDim.x; ++i)
        cluster_invalid = max(cluster_invalid, *cluster.map_shared_rank(invalid, i));
      p.write_invalid(cluster_invalid);
    }
    cluster.sync();  // Shared memory lives as long as its block
    return;
  }
#endif
  __syncthreads();
  for (int i = threadIdx.x; i < p.num_counts(); i += blockDim.x)
    if (counts[i] != 0) atomicAdd(&p.workspace->counts()[i], counts[i]);
  if (threadIdx.x == 0 && *invalid != 0) atomicMax(&p.workspace->invalid, *invalid);
  finish_grid(p);
}

// The slower way for any number of experts and ranks: a thread per token, counts in global memory
template <typename Id>
__global__ void __launch_bounds__(kMaxThreads) get_dispatch_layout_in_workspace(const LayoutParameters p) {
  int32_t* counts = p.workspace->counts();
  const int64_t num_threads = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t token_idx = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       token_idx < p.num_tokens; token_idx += num_threads) {
    uint8_t* is_in_rank = p.is_token_in_rank + token_idx * p.num_ranks;
    for (int i = 0; i < p.num_ranks; ++i) is_in_rank[i] = 0;
    for (int slot = 0; slot < p.num_topk; ++slot) {
      const Id id = reinterpret_cast<const Id*>(p.topk_idx + token_idx * p.token_stride_in_bytes)[slot];
      const uint32_t expert_idx = p.classify(id);
      if (expert_idx == kInvalid) p.report_invalid(&p.workspace->invalid, token_idx, slot);
      if (expert_idx >= p.id_end) continue;
      atomicAdd(&counts[expert_idx], 1);
      const int rank_idx = p.find_rank(static_cast<int>(expert_idx));
      if (rank_idx < 0 || is_in_rank[rank_idx]) continue;
      atomicAdd(&counts[p.num_experts + rank_idx], 1);
      if (p.num_nodes > 0) {
        const int node_idx = rank_idx / p.num_ranks_per_node;
        bool is_in_node = false;
        for (int i = 0; i < p.num_ranks_per_node; ++i)
          is_in_node |= is_in_rank[node_idx * p.num_ranks_per_node + i] != 0;
        if (!is_in_node) atomicAdd(&counts[p.num_experts + p.num_ranks + node_idx], 1);
      }
      is_in_rank[rank_idx] = 1;
    }
  }
  finish_grid(p);
}

// How a launch is shaped. `num_blocks` blocks form one cluster if `is_one_cluster`.
struct LaunchPlan {
  bool fits_in_shared_memory;
  bool is_one_cluster;
  int num_blocks;
  int num_threads;
  size_t shared_bytes;
};

struct DeviceLimits {
  int num_sms = 0;
  int shared_bytes_per_block = 0;
  int shared_bytes_per_sm = 0;
  bool has_clusters = false;
};

inline cudaError_t get_device_limits(DeviceLimits* limits) {
  int device_idx = 0;
  cudaError_t error = cudaGetDevice(&device_idx);
  const auto get = [&](int* value, cudaDeviceAttr attribute) {
    if (error == cudaSuccess) error = cudaDeviceGetAttribute(value, attribute, device_idx);
  };
  int has_clusters = 0;
  get(&limits->num_sms, cudaDevAttrMultiProcessorCount);
  get(&limits->shared_bytes_per_block, cudaDevAttrMaxSharedMemoryPerBlockOptin);
  get(&limits->shared_bytes_per_sm, cudaDevAttrMaxSharedMemoryPerMultiprocessor);
  get(&has_clusters, cudaDevAttrClusterLaunch);
  limits->has_clusters = has_clusters != 0;
  return error;
}

inline bool has_masks_in_registers(const LayoutParameters& p) { return p.num_ranks <= kMaxRanksInRegisters; }

inline LaunchPlan plan_launch(const LayoutParameters& p, const DeviceLimits& limits) {
  constexpr int kMinThreads = 64, kClusterSize = 8, kMaxBlocksPerSm = 2;
  const int64_t num_tiles = std::max<int64_t>((p.num_tokens + kTokensPerTile - 1) / kTokensPerTile, 1);
  LaunchPlan plan{};
  const size_t num_mask_words =
      static_cast<size_t>(p.num_ranks) + (has_masks_in_registers(p) ? 0 : static_cast<size_t>(p.num_nodes));
  const size_t num_block_words = 2 * static_cast<size_t>(p.num_experts) + p.num_ranks + p.num_nodes;
  for (plan.num_threads = kMaxThreads; plan.num_threads >= kMinThreads; plan.num_threads /= 2) {
    plan.shared_bytes =
        sizeof(uint4) + sizeof(uint32_t) * (num_block_words + plan.num_threads / 32 * num_mask_words);
    if (plan.shared_bytes <= static_cast<size_t>(limits.shared_bytes_per_block)) break;
  }
  // A rank and a node each take 16 bits of a table entry
  plan.fits_in_shared_memory = plan.num_threads >= kMinThreads && p.num_ranks <= 0xffff;
  if (!plan.fits_in_shared_memory) {
    plan.num_threads = kMaxThreads, plan.shared_bytes = 0;
    const int64_t num_blocks = (p.num_tokens + kMaxThreads - 1) / kMaxThreads;
    plan.num_blocks = static_cast<int>(std::clamp<int64_t>(num_blocks, 1, kMaxBlocksPerSm * limits.num_sms));
    return plan;
  }
  const int num_warps = plan.num_threads / 32;
  const int64_t num_blocks = (num_tiles + num_warps - 1) / num_warps;
  if (num_blocks > 1 && num_blocks <= kClusterSize && limits.has_clusters) {
    plan.num_blocks = kClusterSize, plan.is_one_cluster = true;
    return plan;
  }
  const int num_blocks_per_sm =
      std::clamp<int>(limits.shared_bytes_per_sm / (plan.shared_bytes + 1024), 1, kMaxBlocksPerSm);
  plan.num_blocks = static_cast<int>(std::min<int64_t>(num_blocks, num_blocks_per_sm * limits.num_sms));
  return plan;
}

using LayoutKernel = void (*)(LayoutParameters);

template <typename Id>
LayoutKernel select_kernel(const LayoutParameters& p, bool fits_in_shared_memory) {
  if (!fits_in_shared_memory) return get_dispatch_layout_in_workspace<Id>;
  // A piece must divide the rows' address, stride and length
  const auto select = [&](auto piece) -> LayoutKernel {
    using Piece = decltype(piece);
    return has_masks_in_registers(p) ? get_dispatch_layout<Id, Piece, true>
                                     : get_dispatch_layout<Id, Piece, false>;
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
    case 1:
      return select_kernel<uint8_t>(p, fits_in_shared_memory);
    case 2:
      return select_kernel<uint16_t>(p, fits_in_shared_memory);
    case 4:
      return select_kernel<uint32_t>(p, fits_in_shared_memory);
    default:
      return select_kernel<unsigned long long>(p, fits_in_shared_memory);
  }
}

inline int get_id_bytes(TopkIdxType type) { return 1 << static_cast<int>(type) / 2; }

inline bool is_signed(TopkIdxType type) { return static_cast<int>(type) % 2 == 0; }

inline cudaError_t make_parameters(const DispatchLayoutArguments& a, LayoutParameters* p) {
  const int id_bytes = get_id_bytes(a.topk_idx_type);
  const bool has_ids = a.num_tokens > 0 && a.num_topk > 0, has_nodes = a.num_tokens_per_rdma_rank != nullptr;
  if (a.num_tokens < 0 || a.num_topk < 0 || a.num_experts <= 0 || a.num_ranks <= 0 ||
      a.num_experts > INT32_MAX - 2 * static_cast<int64_t>(a.num_ranks) ||
      (has_nodes && (a.num_ranks_per_node <= 0 || a.num_ranks % a.num_ranks_per_node != 0)) ||
      (has_ids && (a.topk_idx == nullptr || reinterpret_cast<uintptr_t>(a.topk_idx) % id_bytes != 0)) ||
      a.num_tokens_per_rank == nullptr || a.num_tokens_per_expert == nullptr ||
      (a.num_tokens > 0 && a.is_token_in_rank == nullptr) || a.workspace == nullptr ||
      reinterpret_cast<uintptr_t>(a.workspace) % alignof(Workspace) != 0)
    return cudaErrorInvalidValue;
  p->topk_idx = static_cast<const unsigned char*>(a.topk_idx);
  p->token_stride_in_bytes = a.token_stride * id_bytes;
  p->num_tokens = a.num_tokens;
  p->num_topk = a.num_topk;
  p->has_padding = is_signed(a.topk_idx_type);
  // As unsigned, the negative ids of a signed type are the upper half of its range
  const int num_id_bits = 8 * id_bytes - (p->has_padding ? 1 : 0);
  p->id_end = num_id_bits < 31 ? std::min(a.num_experts, 1 << num_id_bits) : a.num_experts;
  p->num_experts = a.num_experts;
  p->num_ranks = a.num_ranks;
  p->num_nodes = has_nodes ? a.num_ranks / a.num_ranks_per_node : 0;
  p->num_experts_per_rank = a.num_experts / a.num_ranks;
  p->num_ranks_per_node = a.num_ranks_per_node;
  p->rank_of_expert = a.rank_of_expert;
  p->num_tokens_per_rank = a.num_tokens_per_rank;
  p->num_tokens_per_rdma_rank = a.num_tokens_per_rdma_rank;
  p->num_tokens_per_expert = a.num_tokens_per_expert;
  p->is_token_in_rank = a.is_token_in_rank;
  p->first_invalid_position = a.first_invalid_position;
  p->workspace = static_cast<Workspace*>(a.workspace);
  return cudaSuccess;
}

// Launches as told. Only benchmarks and tests plan for themselves.
inline cudaError_t launch_dispatch_layout(const DispatchLayoutArguments& arguments, const LaunchPlan& plan,
                                          cudaStream_t stream) {
  LayoutParameters parameters{};
  cudaError_t error = make_parameters(arguments, &parameters);
  if (error != cudaSuccess) return error;
  parameters.is_one_cluster = plan.is_one_cluster;
  const LayoutKernel kernel =
      select_kernel(parameters, get_id_bytes(arguments.topk_idx_type), plan.fits_in_shared_memory);
  if (plan.shared_bytes > 48 * 1024) {
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(plan.shared_bytes));
    if (error != cudaSuccess) return error;
  }
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = plan.num_blocks;
  attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(plan.num_blocks);
  config.blockDim = dim3(plan.num_threads);
  config.dynamicSmemBytes = plan.shared_bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = plan.is_one_cluster ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, parameters);
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
