// What every kernel knows of the ids that it reads: which are experts, where an expert is, which ids are invalid, and
// how the first of these is reported.
//
// The empty id is compared only with ids that are not experts. If it is itself the id of an expert, that is
// `empty_expert`, which is on no rank.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>

#include "expert_ids.h"
#include "merge.cuh"

namespace dispatch_layout {

struct IdParameters {
  const unsigned char* topk_idx;
  int64_t token_stride_in_bytes;
  int64_t num_tokens;
  int num_topk;
  int num_slot_bits;   // The number of bits of the largest slot
  uint32_t id_end;     // An id is an expert if its bits, read as unsigned, are below this
  bool has_negatives;  // Whether the type is signed, so that all bits set are -1
  // Whether rows of the layout's mask are of bits. It is here because it takes no room: with more parameters, nvcc
  // makes other code of all kernels.
  bool has_bit_rows;
  uint64_t empty_id;  // Stands for an empty slot, beside -1. 0, which is always an expert, means none
  int empty_expert;   // The expert whose id is the empty id, or -1. It gets no tokens.
  int num_experts, num_ranks;
  int num_counted_nodes;  // 0 where nodes are not counted
  int num_experts_per_rank, num_ranks_per_node;
  const int32_t* rank_of_expert;
  Report report;
  Scratch* scratch;

  // Returns the rank that the tokens of an expert go to, or -1
  __device__ int find_rank(int expert_idx) const {
    if (expert_idx == empty_expert) return -1;
    int rank_idx = -1;
    if (rank_of_expert != nullptr)
      rank_idx = rank_of_expert[expert_idx];
    else if (num_experts_per_rank > 0)
      rank_idx = expert_idx / num_experts_per_rank;
    return rank_idx >= 0 && rank_idx < num_ranks ? rank_idx : -1;
  }

  template <typename Id>
  __device__ bool is_expert(Id id) const {
    return id < id_end;
  }
  // Whether an id that is not an expert is invalid
  template <bool kIsPlain, typename Id>
  __device__ bool is_invalid(Id id) const {
    if constexpr (kIsPlain) return !(has_negatives && id == static_cast<Id>(~Id{0}));
    // `&` compiles to fewer branches than `&&`
    return !(has_negatives & (id == static_cast<Id>(~Id{0}))) & (id != static_cast<Id>(empty_id));
  }

  // Returns a number for an invalid selection. The first selection has the largest number. The number is never 0
  // and has at most 48 bits, since num_tokens << num_slot_bits is at most kMaxResult: see `set_ids`.
  __device__ unsigned long long number_invalid(int64_t token_idx, int slot) const {
    return kMaxResult -
           (static_cast<unsigned long long>(token_idx) << num_slot_bits | static_cast<unsigned>(slot));
  }

  // Reports the first invalid selection, given its number
  template <typename Id>
  __device__ void write_invalid(unsigned long long invalid) const {
    InvalidSelection* const place = report.place;
    if (place == nullptr) return;
    if (invalid != 0) {
      const unsigned long long position = kMaxResult - invalid;
      const auto token_idx = static_cast<int64_t>(position >> num_slot_bits);
      const auto slot = static_cast<int64_t>(position & ((1ull << num_slot_bits) - 1));
      place->token_idx = token_idx;
      place->slot = slot;
      place->id = reinterpret_cast<const Id*>(topk_idx + token_idx * token_stride_in_bytes)[slot];
      // The host reads these words without waiting for the kernel
      __threadfence_system();
    }
    *static_cast<volatile uint64_t*>(&place->status) = 2 * report.number + (invalid != 0);
  }

  // Reports the first invalid selection of all blocks, when the last block gets here. One thread of each block calls
  // this, behind all calls of `raise_invalid` by its block.
  template <typename Id>
  __device__ void merge_invalid() const {
    contribute(&scratch->invalid, 0, [&](unsigned long long first) { write_invalid<Id>(first); });
  }
};

// Slots are counted in steps of up to this, and do not exceed 2^31 - 1
constexpr int kMaxSlotStep = 32;

// Sets what concerns ids, in parameters that are all zero. The ids of one launch have a rank only after `set_ranks`.
inline cudaError_t set_ids(const ExpertIds& a, void* scratch, IdParameters* p) {
  const int id_bytes = get_id_bytes(a.topk_idx_type);
  const bool has_ids = a.num_tokens > 0 && a.num_topk > 0;
  if (a.num_tokens < 0 || a.num_topk < 0 || a.num_topk > INT32_MAX - kMaxSlotStep || a.num_experts <= 0 ||
      (has_ids && (a.topk_idx == nullptr || reinterpret_cast<uintptr_t>(a.topk_idx) % id_bytes != 0)) ||
      scratch == nullptr || reinterpret_cast<uintptr_t>(scratch) % alignof(Scratch) != 0)
    return cudaErrorInvalidValue;
  p->topk_idx = static_cast<const unsigned char*>(a.topk_idx);
  p->token_stride_in_bytes = a.token_stride * id_bytes;
  p->num_tokens = a.num_tokens;
  p->num_topk = a.num_topk;
  while ((a.num_topk - 1) >> p->num_slot_bits > 0) ++p->num_slot_bits;
  if (static_cast<unsigned long long>(a.num_tokens) > kMaxResult >> p->num_slot_bits)
    return cudaErrorInvalidValue;
  // Read as unsigned, the negative ids of a signed type are the upper half of its range
  p->has_negatives = is_signed(a.topk_idx_type);
  const int num_id_bits = 8 * id_bytes - (p->has_negatives ? 1 : 0);
  p->id_end = num_id_bits < 31 ? std::min(a.num_experts, 1 << num_id_bits) : a.num_experts;
  p->empty_expert = -1;
  if (a.empty_id.has_value()) {
    const uint64_t empty_id = *a.empty_id & ~uint64_t{0} >> (64 - 8 * id_bytes);
    if (empty_id < p->id_end)
      p->empty_expert = static_cast<int>(empty_id);
    else
      p->empty_id = empty_id;
  }
  p->num_experts = a.num_experts;
  p->report = a.report;
  p->scratch = static_cast<Scratch*>(scratch);
  return cudaSuccess;
}

inline cudaError_t set_ranks(int num_ranks, const int32_t* rank_of_expert, IdParameters* p) {
  if (num_ranks <= 0) return cudaErrorInvalidValue;
  p->num_ranks = num_ranks;
  p->num_experts_per_rank = p->num_experts / num_ranks;
  p->rank_of_expert = rank_of_expert;
  return cudaSuccess;
}

}  // namespace dispatch_layout
