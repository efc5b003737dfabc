// The permutation kernels and their launchers. `permutation.h` states the contract. Include this file in exactly one
// CUDA translation unit.
//
// Each selection that has a row has a *key*, which is its local expert or its rank, and the rows are ordered by (key,
// selection). Of the selections of a token that are on the same rank, only the one that gets the row has a key. So one
// kernel orders both kinds of rows, and it does not know ids, types or placements:
//   - `find_keys` reads each id once, writes the key of each selection where its row is written later, and counts the
//     keys of each block. It also reports the first invalid id.
//   - `place_rows` has the same grid. Each block adds up the counts of all blocks, and of those before it, and each
//     warp those of the warps before it. Then a warp takes its selections in order, 32 at a time, one per lane, and
//     finds the lanes with the same key by `match`. This is stable by construction, so that the result does not depend
//     on the grid.
// A single block does both in one launch. Where rows begin is known only when everything has been counted, since the
// rows of each key are padded. So the blocks of one launch cannot pass their sums on to the blocks behind them while
// they place.
//
// If the tables do not fit in shared memory (above about 14 000 keys on an H100, 4 000 on sm_75), they are in the
// scratch memory, where few blocks of one warp each have room. That is slow.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstring>

#include "id_parameters.cuh"
#include "launch.cuh"
#include "merge.cuh"
#include "permutation.h"

namespace dispatch_layout {

constexpr int kLanes = 32;
constexpr int kMaxWarps = kMaxThreads / kLanes;
// A warp loads the ids or keys of so many groups of lanes at once, to have enough loads in flight
constexpr int kGroupsPerBatch = 4;

// The scratch memory consists of lists of one count per key. With tables in shared memory, each block of a larger grid
// has one list, for its counts. Otherwise each block has its tables there, too.
constexpr int kMaxListsInScratch = 256, kListsPerBlockInScratch = 5;
constexpr size_t kMaxScratchBytes = 4 << 20;

struct PermutationParameters : IdParameters {
  int num_keys;
  bool is_by_rank;     // Whether keys are ranks, and not local experts
  bool does_last_win;  // Which selection of a token gets the row of a rank
  int first_expert;
  int alignment;
  int num_tokens_per_block;
  int64_t max_rows;
  int32_t *counts, *offsets;  // [num_keys], [num_keys + 1]
  int32_t* item_of_row;       // [max_rows], selections by expert, or tokens by rank
  int32_t* row_of_selection;  // [num_tokens * num_topk], the keys until the rows are known

  // Returns the key of the selections of an expert, or -1
  __device__ int find_key(int expert_idx) const {
    if (is_by_rank) return find_rank(expert_idx);
    const int local_idx = expert_idx - first_expert;
    return expert_idx != empty_expert && local_idx >= 0 && local_idx < num_keys ? local_idx : -1;
  }

  __device__ int32_t* get_scratch_list(int list_idx) const {
    return scratch->get_rest<int32_t>() + static_cast<int64_t>(list_idx) * num_keys;
  }
  __device__ int32_t* get_block_counts(int block_idx) const { return get_scratch_list(block_idx); }

  __device__ int64_t get_first_token(int block_idx) const {
    return min(static_cast<int64_t>(block_idx) * num_tokens_per_block, num_tokens);
  }

  // The rows of a key, given the number of its selections. This does not overflow, since max_rows is at least as large.
  __device__ int32_t add_padding(int32_t count) const {
    return (count + alignment - 1) / alignment * alignment;
  }
};

// What a block keeps for each key, in shared memory or in the scratch memory
struct KeyTables {
  int32_t* totals;   // The selections of each key
  int32_t* cursors;  // [num_warps + 1] lists, see `place_rows_of_block`
  int32_t* offsets;  // The first row of each key

  __host__ __device__ static constexpr int num_lists(int num_warps) { return num_warps + 3; }
};
static_assert(KeyTables::num_lists(1) + 1 == kListsPerBlockInScratch);

// Returns the tables of the block. In shared memory, the sums of the warps come first.
template <bool kAreInShared>
__device__ KeyTables get_tables(const PermutationParameters& p, int32_t* shared) {
  const int num_warps = blockDim.x / kLanes, num_table_lists = KeyTables::num_lists(num_warps);
  int32_t* begin = shared + kMaxWarps;
  if constexpr (!kAreInShared) begin = p.get_scratch_list(gridDim.x + blockIdx.x * num_table_lists);
  const int64_t num_keys = p.num_keys;
  return {begin, begin + num_keys, begin + (num_warps + 2) * num_keys};
}

// Returns the lanes of the warp whose key is that of this lane
__device__ inline unsigned match_lanes(int32_t key) { return __match_any_sync(kAllLanes, key); }

// Writes the key of each selection of the block, or -1, and counts them in `counts`, unless that is null.
//
// The lanes of a group are neighbouring selections of whole tokens. If a token has more slots than a warp has lanes,
// a group is a part of one token.
template <typename Id>
__device__ void find_keys_of_block(const PermutationParameters& p, int32_t* counts) {
  const int lane_idx = threadIdx.x % kLanes, warp_idx = threadIdx.x / kLanes, num_warps = blockDim.x / kLanes;
  const bool is_token_in_group = p.num_topk <= kLanes;
  const int num_tokens_per_group = is_token_in_group ? kLanes / max(p.num_topk, 1) : 1;
  const int num_groups_per_token = is_token_in_group ? 1 : (p.num_topk - 1) / kLanes + 1;
  const int own_token = is_token_in_group ? lane_idx / max(p.num_topk, 1) : 0;
  const int own_slot = lane_idx - own_token * (is_token_in_group ? p.num_topk : 0);
  const bool has_token = own_token < num_tokens_per_group;
  // The lanes of the same token that come before this one if the first selection wins, or behind it if the last does
  const unsigned lanes_of_token =
      is_token_in_group ? ((1ull << p.num_topk) - 1) << own_token * p.num_topk : kAllLanes;
  const unsigned lower_lanes = (1u << lane_idx) - 1, higher_lanes = ~lower_lanes << 1;
  const unsigned preferred_lanes = lanes_of_token & (p.does_last_win ? higher_lanes : lower_lanes);

  unsigned long long own_invalid = 0;
  const int64_t begin = p.get_first_token(blockIdx.x), end = p.get_first_token(blockIdx.x + 1);
  const int64_t num_tokens_per_batch = num_tokens_per_group * kGroupsPerBatch;
#pragma unroll 1
  for (int64_t batch_token = begin + warp_idx * num_tokens_per_batch; batch_token < end;
       batch_token += num_warps * num_tokens_per_batch) {
#pragma unroll 1
    for (int group_idx = 0; group_idx < num_groups_per_token; ++group_idx) {
      // Those groups of a token come first whose selections win
      const int begin_slot = (p.does_last_win ? num_groups_per_token - 1 - group_idx : group_idx) * kLanes;
      const int slot = begin_slot + own_slot;
      Id ids[kGroupsPerBatch];
      bool has_id[kGroupsPerBatch];
#pragma unroll
      for (int i = 0; i < kGroupsPerBatch; ++i) {
        const int64_t token_idx = batch_token + i * num_tokens_per_group + own_token;
        has_id[i] = has_token && token_idx < end && slot < p.num_topk;
        ids[i] = 0;
        if (has_id[i])
          ids[i] =
              __ldg(reinterpret_cast<const Id*>(p.topk_idx + token_idx * p.token_stride_in_bytes) + slot);
      }
#pragma unroll
      for (int i = 0; i < kGroupsPerBatch; ++i) {
        const int64_t token_idx = batch_token + i * num_tokens_per_group + own_token;
        const bool is_expert = has_id[i] && p.is_expert(ids[i]);
        int32_t key = is_expert ? p.find_key(static_cast<int>(ids[i])) : -1;
        if (has_id[i] && !is_expert && p.template is_invalid<false>(ids[i]))
          own_invalid = max(own_invalid, p.number_invalid(token_idx, slot));
        if (p.is_by_rank) {
          if ((match_lanes(key) & preferred_lanes) != 0) key = -1;
          // The winners of the earlier groups have been written
          const int earlier_begin = p.does_last_win ? begin_slot + kLanes : 0;
          const int earlier_end = p.does_last_win ? p.num_topk : begin_slot;
          if (!is_token_in_group && has_id[i])
            for (int earlier = earlier_begin; earlier < earlier_end; ++earlier)
              if (p.row_of_selection[token_idx * p.num_topk + earlier] == key) key = -1;
        }
        if (has_id[i]) p.row_of_selection[token_idx * p.num_topk + slot] = key;
        if (key >= 0 && counts != nullptr) atomicAdd(&counts[key], 1);
      }
      // The next group of these tokens reads the keys that other lanes have written
      __syncwarp();
    }
  }
  if (p.report.place != nullptr && own_invalid != 0) raise_invalid(&p.scratch->invalid, own_invalid);
}

// Writes the first row of each key to `tables.offsets`, and returns the number of all rows. `warp_sums` has room for a
// sum per warp.
__device__ inline int32_t sum_totals(const PermutationParameters& p, const KeyTables& tables,
                                     int32_t* warp_sums) {
  const int lane_idx = threadIdx.x % kLanes, warp_idx = threadIdx.x / kLanes, num_warps = blockDim.x / kLanes;
  // Each thread has neighbouring keys
  const int num_keys_per_thread = (p.num_keys + blockDim.x - 1) / blockDim.x;
  const int begin = min(static_cast<int>(threadIdx.x) * num_keys_per_thread, p.num_keys);
  const int end = min(begin + num_keys_per_thread, p.num_keys);
  int32_t own_sum = 0;
  for (int key = begin; key < end; ++key) own_sum += p.add_padding(tables.totals[key]);
  int32_t sum = own_sum;  // That of the lanes up to this one
#pragma unroll
  for (int distance = 1; distance < kLanes; distance *= 2) {
    const int32_t other = __shfl_up_sync(kAllLanes, sum, distance);
    if (lane_idx >= distance) sum += other;
  }
  if (lane_idx == kLanes - 1) warp_sums[warp_idx] = sum;
  __syncthreads();
  int32_t offset = sum - own_sum, num_rows = 0;
  for (int i = 0; i < num_warps; ++i) {
    if (i < warp_idx) offset += warp_sums[i];
    num_rows += warp_sums[i];
  }
  for (int key = begin; key < end; ++key) {
    tables.offsets[key] = offset;
    offset += p.add_padding(tables.totals[key]);
  }
  __syncthreads();
  return num_rows;
}

// Writes counts and offsets, and -1 to the rows that no selection has. The blocks share this work.
__device__ inline void write_other_outputs(const PermutationParameters& p, const KeyTables& tables,
                                           int32_t num_rows) {
  if (blockIdx.x == 0) {
    for (int key = threadIdx.x; key < p.num_keys; key += blockDim.x) {
      p.counts[key] = tables.totals[key];
      p.offsets[key] = tables.offsets[key];
    }
    if (threadIdx.x == 0) p.offsets[p.num_keys] = num_rows;
  }
  const int64_t thread_idx = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t num_threads = static_cast<int64_t>(gridDim.x) * blockDim.x;
  if (p.alignment > 1)
    for (int64_t key = thread_idx / kLanes; key < p.num_keys; key += num_threads / kLanes) {
      const int32_t count = tables.totals[key], num_padded = p.add_padding(count);
      for (int64_t i = count + thread_idx % kLanes; i < num_padded; i += kLanes)
        p.item_of_row[tables.offsets[key] + i] = -1;
    }
  for (int64_t row = num_rows + thread_idx; row < p.max_rows; row += num_threads) p.item_of_row[row] = -1;
}

// Gives each selection of the block its row, when all keys have been found. If there are several blocks, their counts
// are in the scratch memory.
//
// List w + 1 of the cursors first holds what warp w has of each key, and list 0 what the blocks before this one have.
// With the lists before it added to it, list w is what comes before warp w, and the last one is what comes before the
// next block.
__device__ inline void place_rows_of_block(const PermutationParameters& p, const KeyTables& tables,
                                           int32_t* warp_sums) {
  const int lane_idx = threadIdx.x % kLanes, warp_idx = threadIdx.x / kLanes, num_warps = blockDim.x / kLanes;
  const int num_blocks = gridDim.x;
  const int64_t num_keys = p.num_keys;
  for (int64_t i = threadIdx.x; i < num_keys; i += blockDim.x) tables.totals[i] = 0;
  for (int64_t i = threadIdx.x; i < (num_warps + 1) * num_keys; i += blockDim.x) tables.cursors[i] = 0;
  __syncthreads();

  if (num_blocks > 1) {
    // If there are more threads than keys, several threads share the blocks of a key
    const int num_parts = max(static_cast<int>(blockDim.x) / max(p.num_keys, 1), 1);
    for (int i = threadIdx.x; i < num_parts * p.num_keys; i += blockDim.x) {
      const int part = i / p.num_keys, key = i - part * p.num_keys;
      int32_t total = 0, before = 0;
#pragma unroll 8
      for (int block_idx = part; block_idx < num_blocks; block_idx += num_parts) {
        const int32_t count = p.get_block_counts(block_idx)[key];
        total += count;
        if (block_idx < static_cast<int>(blockIdx.x)) before += count;
      }
      atomicAdd(&tables.totals[key], total);
      atomicAdd(&tables.cursors[key], before);
    }
  }

  // A warp has neighbouring selections, in whole groups of lanes
  const int64_t block_begin = p.get_first_token(blockIdx.x) * p.num_topk;
  const int64_t block_end = p.get_first_token(blockIdx.x + 1) * p.num_topk;
  const int64_t num_groups = (block_end - block_begin + kLanes - 1) / kLanes;
  const int64_t num_per_warp = (num_groups + num_warps - 1) / num_warps * kLanes;
  const int64_t begin = min(block_begin + warp_idx * num_per_warp, block_end);
  const int64_t end = min(begin + num_per_warp, block_end);
  const auto load_keys = [&](int64_t batch, int32_t(&keys)[kGroupsPerBatch]) {
#pragma unroll
    for (int i = 0; i < kGroupsPerBatch; ++i) {
      const int64_t selection = batch + i * kLanes + lane_idx;
      keys[i] = selection < end ? p.row_of_selection[selection] : -1;
    }
  };
  int32_t* const counts = tables.cursors + (warp_idx + 1) * num_keys;
#pragma unroll 1
  for (int64_t batch = begin; batch < end; batch += kGroupsPerBatch * kLanes) {
    int32_t keys[kGroupsPerBatch];
    load_keys(batch, keys);
#pragma unroll
    for (int i = 0; i < kGroupsPerBatch; ++i)
      if (keys[i] >= 0) atomicAdd(&counts[keys[i]], 1);
  }
  __syncthreads();

  for (int64_t key = threadIdx.x; key < num_keys; key += blockDim.x) {
    int32_t sum = 0;
    for (int i = 0; i <= num_warps; ++i) {
      sum += tables.cursors[i * num_keys + key];
      tables.cursors[i * num_keys + key] = sum;
    }
    if (num_blocks == 1) tables.totals[key] = sum;
  }
  __syncthreads();
  const int32_t num_rows = sum_totals(p, tables, warp_sums);
  write_other_outputs(p, tables, num_rows);

  int32_t* const cursors = tables.cursors + warp_idx * num_keys;
  const unsigned lower_lanes = (1u << lane_idx) - 1, higher_lanes = ~lower_lanes << 1;
#pragma unroll 1
  for (int64_t batch = begin; batch < end; batch += kGroupsPerBatch * kLanes) {
    int32_t keys[kGroupsPerBatch];
    load_keys(batch, keys);
#pragma unroll
    for (int i = 0; i < kGroupsPerBatch; ++i) {
      const int64_t selection = batch + i * kLanes + lane_idx;
      const int32_t key = keys[i];
      const unsigned lanes = match_lanes(key);
      int32_t row = -1;
      if (key >= 0) {
        row = tables.offsets[key] + cursors[key] + __popc(lanes & lower_lanes);
        const auto item = static_cast<uint32_t>(selection);
        p.item_of_row[row] = static_cast<int32_t>(p.is_by_rank ? item / p.num_topk : item);
      }
      if (selection < end) p.row_of_selection[selection] = row;
      // The last lane of each key moves its cursor on, when all lanes have read it
      __syncwarp();
      if (key >= 0 && (lanes & higher_lanes) == 0) cursors[key] += __popc(lanes);
      __syncwarp();
    }
  }
}

// `Id` is the unsigned type of the ids' width. A single block also places the rows.
template <typename Id, bool kAreTablesInShared>
__global__ void __launch_bounds__(kMaxThreads, 1) find_keys(const PermutationParameters p) {
  wait_for_previous_kernel();
  extern __shared__ uint4 shared_memory[];
  auto* shared = reinterpret_cast<int32_t*>(shared_memory);
  const bool is_lone = gridDim.x == 1;
  // The counts of the block. Those in shared memory are where the totals are later.
  int32_t* const block_counts = p.get_block_counts(blockIdx.x);
  int32_t* counts = shared + kMaxWarps;
  if constexpr (!kAreTablesInShared) counts = block_counts;
  if (!is_lone)
    for (int key = threadIdx.x; key < p.num_keys; key += blockDim.x) counts[key] = 0;
  __syncthreads();
  find_keys_of_block<Id>(p, is_lone ? nullptr : counts);
  __syncthreads();
  if (is_lone) {
    place_rows_of_block(p, get_tables<kAreTablesInShared>(p, shared), shared);
  } else if constexpr (kAreTablesInShared) {
    for (int key = threadIdx.x; key < p.num_keys; key += blockDim.x) block_counts[key] = counts[key];
  }
  // The last thread has the fewest selections
  if (p.report.place != nullptr && threadIdx.x == blockDim.x - 1) p.template merge_invalid<Id>();
}

// Places the rows of all blocks, after a launch of `find_keys` with the same grid
template <bool kAreTablesInShared>
__global__ void __launch_bounds__(kMaxThreads, 1) place_rows(const PermutationParameters p) {
  wait_for_previous_kernel();
  extern __shared__ uint4 shared_memory[];
  auto* shared = reinterpret_cast<int32_t*>(shared_memory);
  place_rows_of_block(p, get_tables<kAreTablesInShared>(p, shared), shared);
}

// Returns how many lists of counts the scratch memory has
inline size_t num_lists_in_scratch(int num_keys) {
  const size_t list_bytes = sizeof(int32_t) * static_cast<size_t>(std::max(num_keys, 1));
  return std::max<size_t>(kListsPerBlockInScratch,
                          std::min<size_t>(kMaxListsInScratch, kMaxScratchBytes / list_bytes));
}

size_t permutation_scratch_bytes(int num_keys) {
  return sizeof(Scratch) + sizeof(int32_t) * num_lists_in_scratch(num_keys) * std::max(num_keys, 1);
}

// Returns how many lists of counts a block has in the scratch memory
inline size_t num_lists_of_block(bool fits_in_shared_memory, int num_threads) {
  return 1 + (fits_in_shared_memory ? 0 : KeyTables::num_lists(num_threads / kLanes));
}

// Returns the bytes of what a block keeps in shared memory
inline size_t get_shared_bytes(const PermutationParameters& p, bool fits_in_shared_memory, int num_threads) {
  const size_t num_lists = fits_in_shared_memory ? KeyTables::num_lists(num_threads / kLanes) : 0;
  return sizeof(int32_t) * (kMaxWarps + num_lists * p.num_keys);
}

// The constants have not been measured yet
inline LaunchPlan plan_launch(const PermutationParameters& p, const DeviceLimits& limits) {
  constexpr int kMaxSelectionsOfLoneBlock = 4096, kSelectionsPerBlock = 1024;
  LaunchPlan plan{true, 1, kMaxThreads, get_shared_bytes(p, true, kMaxThreads)};
  const auto fits = [&] { return plan.shared_bytes <= static_cast<size_t>(limits.shared_bytes_per_block); };
  while (!fits() && plan.num_threads > kLanes)
    plan.shared_bytes = get_shared_bytes(p, true, plan.num_threads /= 2);
  if (!fits()) plan = {false, 1, kLanes, get_shared_bytes(p, false, kLanes)};
  const int64_t num_selections = p.num_tokens * p.num_topk;
  if (num_selections > kMaxSelectionsOfLoneBlock)
    plan.num_blocks = static_cast<int>(std::min<int64_t>(
        {(num_selections + kSelectionsPerBlock - 1) / kSelectionsPerBlock, limits.num_sms,
         static_cast<int64_t>(num_lists_in_scratch(p.num_keys) /
                              num_lists_of_block(plan.fits_in_shared_memory, plan.num_threads))}));
  return plan;
}

using PermutationKernel = void (*)(PermutationParameters);

template <bool kAreTablesInShared>
PermutationKernel select_find_keys(int id_bytes) {
  switch (id_bytes) {
    case 1: return find_keys<uint8_t, kAreTablesInShared>;
    case 2: return find_keys<uint16_t, kAreTablesInShared>;
    case 4: return find_keys<uint32_t, kAreTablesInShared>;
    default: return find_keys<unsigned long long, kAreTablesInShared>;
  }
}

// Sets what both orders share. Arrays without elements may be null.
template <typename Arguments>
cudaError_t set_rows(const Arguments& a, int num_keys, int64_t min_rows, PermutationParameters* p) {
  if (a.num_topk > 0 && a.num_tokens > INT32_MAX / a.num_topk) return cudaErrorInvalidValue;
  const bool has_ids = a.num_tokens > 0 && a.num_topk > 0;
  if (num_keys > INT32_MAX - kMaxThreads || min_rows > a.max_rows || a.max_rows > INT32_MAX ||
      (num_keys > 0 && p->counts == nullptr) || p->offsets == nullptr ||
      (a.max_rows > 0 && p->item_of_row == nullptr) || (has_ids && a.row_of_selection == nullptr))
    return cudaErrorInvalidValue;
  // Without slots, nothing has to be done for the tokens
  if (!has_ids) p->num_tokens = 0;
  p->num_keys = num_keys;
  p->max_rows = a.max_rows;
  p->row_of_selection = a.row_of_selection;
  return cudaSuccess;
}

inline cudaError_t make_parameters(const ExpertPermutationArguments& a, PermutationParameters* p) {
  const cudaError_t error = set_ids(a, a.scratch, p);
  if (error != cudaSuccess) return error;
  if (a.first_expert < 0 || a.num_local_experts < 0 || a.num_local_experts > a.num_experts - a.first_expert ||
      a.alignment <= 0)
    return cudaErrorInvalidValue;
  p->first_expert = a.first_expert;
  p->alignment = a.alignment;
  p->counts = a.num_tokens_per_expert;
  p->offsets = a.expert_offsets;
  p->item_of_row = a.selection_of_row;
  // If all selections have rows, and as many experts as possible have selections
  const int64_t num_selections = a.num_tokens * a.num_topk;
  const int64_t max_offset =
      num_selections + std::min<int64_t>(num_selections, a.num_local_experts) * (a.alignment - 1);
  return set_rows(a, a.num_local_experts, max_offset / a.alignment * a.alignment, p);
}

inline cudaError_t make_parameters(const RankPermutationArguments& a, PermutationParameters* p) {
  cudaError_t error = set_ids(a, a.scratch, p);
  if (error == cudaSuccess) error = set_ranks(a.num_ranks, a.rank_of_expert, p);
  if (error != cudaSuccess) return error;
  p->is_by_rank = true;
  p->does_last_win = a.does_last_win;
  p->alignment = 1;
  p->counts = a.num_tokens_per_rank;
  p->offsets = a.rank_offsets;
  p->item_of_row = a.token_of_row;
  return set_rows(a, a.num_ranks, a.num_tokens * std::min(a.num_topk, a.num_ranks), p);
}

// Launches with the given plan. Only benchmarks and tests make plans of their own.
template <typename Arguments>
cudaError_t launch_permutation(const Arguments& arguments, const LaunchPlan& plan, cudaStream_t stream) {
  PermutationParameters parameters{};
  cudaError_t error = make_parameters(arguments, &parameters);
  if (error != cudaSuccess) return error;
  const size_t num_lists = plan.num_blocks * num_lists_of_block(plan.fits_in_shared_memory, plan.num_threads);
  if (plan.num_blocks <= 0 || num_lists > num_lists_in_scratch(parameters.num_keys))
    return cudaErrorInvalidConfiguration;
  parameters.num_tokens_per_block =
      static_cast<int>((parameters.num_tokens + plan.num_blocks - 1) / plan.num_blocks);
  const int id_bytes = get_id_bytes(arguments.topk_idx_type);
  error = launch_kernel(
      plan.fits_in_shared_memory ? select_find_keys<true>(id_bytes) : select_find_keys<false>(id_bytes),
      parameters, plan, stream);
  if (error != cudaSuccess || plan.num_blocks == 1) return error;
  return launch_kernel(plan.fits_in_shared_memory ? place_rows<true> : place_rows<false>, parameters, plan,
                       stream);
}

template <typename Arguments>
cudaError_t plan_and_launch_permutation(const Arguments& arguments, cudaStream_t stream) {
  PermutationParameters parameters{};
  cudaError_t error = make_parameters(arguments, &parameters);
  if (error != cudaSuccess) return error;
  DeviceLimits limits;
  error = get_device_limits(&limits);
  if (error != cudaSuccess) return error;
  return launch_permutation(arguments, plan_launch(parameters, limits), stream);
}

cudaError_t launch_permutation(const ExpertPermutationArguments& arguments, cudaStream_t stream) {
  return plan_and_launch_permutation(arguments, stream);
}

cudaError_t launch_permutation(const RankPermutationArguments& arguments, cudaStream_t stream) {
  return plan_and_launch_permutation(arguments, stream);
}

}  // namespace dispatch_layout
