// What the tests of all kernels share: random numbers and ids, memory of the device, and the loop over random problems.
// With g++ and the shim, the kernels run on the CPU; nvcc builds the same tests for a GPU.
#pragma once

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <random>
#include <vector>

#include "../../cuda/kernel/expert_ids.h"
#include "../../cuda/kernel/launch.cuh"
#ifndef __CUDACC__
#include "kernel_on_cpu.h"
#endif

namespace dispatch_layout {

inline std::mt19937_64 random_bits;

inline int64_t pick(std::initializer_list<int64_t> choices) {
  return choices.begin()[random_bits() % choices.size()];
}
inline int64_t uniform(int64_t low, int64_t high) {
  return low + static_cast<int64_t>(random_bits() % (static_cast<uint64_t>(high) - low + 1));
}

inline void require(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::printf("FAILED CUDA error %d\n", static_cast<int>(error));
  std::exit(1);
}

// Device memory of exactly the requested size, so that a sanitizer sees every access outside. It is full of garbage, so
// that elements which are not written are noticed.
template <typename T>
struct DeviceArray {
  T* data = nullptr;
  size_t size;

  explicit DeviceArray(size_t size, int fill = 0xee) : size(size) {
    require(cudaMalloc(&data, std::max<size_t>(size, 1) * sizeof(T)));
    set_bytes(fill);
  }
  DeviceArray(const DeviceArray&) = delete;
  ~DeviceArray() { cudaFree(data); }
  void set_bytes(int fill) { require(cudaMemset(data, fill, size * sizeof(T))); }
  void copy_from(const std::vector<T>& host, size_t offset = 0) {
    require(cudaMemcpy(data + offset, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  std::vector<T> to_host() const {
    std::vector<T> host(size);
    require(cudaMemcpy(host.data(), data, size * sizeof(T), cudaMemcpyDeviceToHost));
    return host;
  }
};

// Devices with whose limits the launcher chooses every kernel: a large one; a small one, on which the grid strides and
// a warp takes several tiles; and one without shared memory.
constexpr DeviceLimits kLimits[] = {{132, 227 * 1024}, {2, 24 * 1024}, {3, 0}};

// Returns random ids: of experts alone, with some that are -1, or with some that are invalid.
inline std::vector<char> make_ids(IdType type, int64_t num_ids, int num_experts) {
  const int id_bytes = get_id_bytes(type);
  const int kind = static_cast<int>(uniform(0, 5)), invalid_rate = static_cast<int>(pick({0, 0, 1, 50}));
  std::vector<char> ids(num_ids * id_bytes);
  for (int64_t i = 0; i < num_ids; ++i) {
    int64_t id = uniform(0, num_experts - 1);
    if (kind == 1 && uniform(0, 1) == 0) id = -1;
    if (kind == 2) id = std::min<int64_t>(id, 2);
    if (kind == 3) id = num_experts - 1;
    // These ids would pass a truncation, a signed comparison or an off-by-one error.
    if (kind >= 4 && uniform(0, 999) < invalid_rate)
      id = pick({num_experts, -2, INT64_MIN, INT64_MAX, (int64_t{1} << 32) + 5, 0xffffffff, 0xffff, 0xff,
                 0x80, 0x7f, -(int64_t{1} << 32), int64_t{1} << 31, -(int64_t{1} << 31), -1,
                 uniform(INT64_MIN / 2, INT64_MAX / 2)});
    std::memcpy(&ids[i * id_bytes], &id, id_bytes);
  }
  return ids;
}

// Returns an empty id, which some of the ids then are.
inline uint64_t plant_empty_id(IdType type, int num_experts, std::vector<char>* ids) {
  const int id_bytes = get_id_bytes(type);
  // Ids of experts and others, -1, and ids that most types cannot hold
  int64_t empty_id = pick({0, 1, uniform(0, num_experts - 1), num_experts - 1, num_experts, -1, -2});
  if (uniform(0, 1) == 0)
    empty_id = pick({0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, INT32_MAX, 0x80000000, INT32_MIN, 0xffffffff,
                     (int64_t{1} << 32) + 5, INT64_MAX, INT64_MIN});
  const int64_t rate = pick({0, 10, 500, 1000});
  for (size_t i = 0; i < ids->size(); i += id_bytes)
    if (uniform(0, 999) < rate) std::memcpy(&(*ids)[i], &empty_id, id_bytes);
  return empty_id;
}

// Checks random problems, as many as the arguments [seed] [cases] of a test say, and returns its exit status.
// `make_problem(limits_idx)` makes a problem for a device with these limits. `check(problem, limits, offset)` returns
// what is wrong, or null; the ids begin that many bytes behind the start of their memory. `print_rest(problem)` prints
// what problems of the other kernels do not have.
template <typename MakeProblem, typename Check, typename PrintRest>
int for_each_case(int argc, char** argv, const char* results, MakeProblem make_problem, Check check,
                  PrintRest print_rest) {
  const unsigned seed = argc > 1 ? std::atoi(argv[1]) : 1, num_cases = argc > 2 ? std::atoi(argv[2]) : 400;
  DeviceLimits device_limits = kLimits[0];
#ifdef __CUDACC__
  require(get_device_limits(&device_limits));
#endif
  for (unsigned i = 0; i < num_cases; ++i) {
    random_bits.seed(seed * 1000003ull + i);
    const size_t limits_idx = i % std::size(kLimits);
    DeviceLimits limits = kLimits[limits_idx];
    limits.shared_bytes_per_block =
        std::min(limits.shared_bytes_per_block, device_limits.shared_bytes_per_block);
#ifndef __CUDACC__
    cuda_shim::seed = seed + i;
#endif
    const auto q = make_problem(limits_idx);
    const int offset = uniform(0, 4) == 0 ? get_id_bytes(q.type) : 0;
    if (const char* failure = check(q, limits, offset)) {
      std::printf("FAILED %s: seed %u case %u type %d T %" PRId64 " K %d stride %" PRId64
                  " E %d R %d table %d strict %d offset %d empty %d %" PRId64,
                  failure, seed, i, static_cast<int>(q.type), q.num_tokens, q.num_topk, q.token_stride,
                  q.num_experts, q.num_ranks, !q.rank_of_expert.empty(), q.is_strict, offset,
                  q.empty_id.has_value(), static_cast<int64_t>(q.empty_id.value_or(0)));
      print_rest(q);
      std::printf("\n");
      return 1;
    }
  }
  std::printf("%u %s equal the reference (seed %u)\n", num_cases, results, seed);
  return 0;
}

}  // namespace dispatch_layout
