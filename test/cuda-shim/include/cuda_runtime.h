// Runs an unchanged CUDA kernel on the CPU: each CUDA thread is a fiber, and blocks run one after the other. `seed`
// varies the order of blocks and fibers, and the garbage that is in shared memory when a block starts. The shim finds
// wrong indexing, missing initialisation, diverged collectives and deadlocks. With ThreadSanitizer it finds races, too:
// see `thread_sanitizer.h`.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "cuda_runtime_api.h"
#include "thread_sanitizer.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifndef __x86_64__
#include <ucontext.h>
#endif

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __shared__ __thread  // With thread_local, g++ 12 calls a missing initialiser of its `extern` arrays

struct uint3 {
  unsigned x, y, z;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
using std::max;
using std::min;

namespace cuda_shim {

constexpr size_t kSharedVectors = 256 * 1024 / sizeof(uint4);
uint4* shared_memory();  // `kernel_on_cpu.h` defines it
inline unsigned seed = 0;

[[noreturn]] inline void fail(const char* message) {
  std::fprintf(stderr, "cuda shim: %s\n", message);
  std::abort();
}

// --- Fibers: each has a stack, and a switch saves the registers that the calling convention preserves ---
constexpr size_t kStackBytes = 64 * 1024;

#ifdef __x86_64__
struct Context {
  void* stack_pointer;
};
asm(R"(
  .text
  .type cuda_shim_switch, @function
cuda_shim_switch:
  push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
  mov %rsp, (%rdi)
  mov (%rsi), %rsp
  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
  ret
  .size cuda_shim_switch, . - cuda_shim_switch
)");
extern "C" void cuda_shim_switch(Context* from, Context* to);
inline void make_context(Context* context, char* stack, void (*entry)()) {
  // The stack has six registers, the return address, and a word so that `entry` finds the stack as after a call.
  void** top = reinterpret_cast<void**>(stack + kStackBytes) - 8;
  top[6] = reinterpret_cast<void*>(entry);
  top[7] = nullptr;
  context->stack_pointer = top;
}
#else
using Context = ucontext_t;
inline void cuda_shim_switch(Context* from, Context* to) { swapcontext(from, to); }
inline void make_context(Context* context, char* stack, void (*entry)()) {
  getcontext(context);
  context->uc_stack.ss_sp = stack;
  context->uc_stack.ss_size = kStackBytes;
  makecontext(context, entry, 0);
}
#endif

struct Warp {
  unsigned num_arrived = 0, generation = 0;
  int collective = 0;
  uint32_t values[2][32];
  WatchedWarp watched;
};
struct Fiber {
  uint3 thread_idx;
  Context context;
  bool is_done = false;
  WatchedThread watched;
};
struct Block {
  uint3 block_idx;
  dim3 block_dim, grid_dim;
  std::function<void()> body;
  unsigned num_arrived = 0, generation = 0, num_done = 0;
  bool has_moved = false;
  std::vector<Warp> warps;
  std::vector<Fiber> fibers;
  Fiber* current = nullptr;
  Context scheduler;
  char* stacks;
  const void* scheduler_stack = nullptr;
  size_t scheduler_stack_bytes = 0;
  WatchedBlock watched;
};
inline thread_local Block* block = nullptr;

// Switches between fiber and scheduler, and tells the sanitizer, if there is one, what comes next.
CUDA_SHIM_INTERNAL inline void switch_stack(bool to_scheduler, Context* from, Context* to) {
  WatchedThread::switch_to(to_scheduler ? block->watched.scheduler : block->current->watched.fiber);
#ifdef __SANITIZE_ADDRESS__
  void* fake_stack = nullptr;
  const char* fiber_stack = block->stacks + (block->current - block->fibers.data()) * kStackBytes;
  const bool is_last = to_scheduler && block->current->is_done;
  __sanitizer_start_switch_fiber(is_last ? nullptr : &fake_stack,
                                 to_scheduler ? block->scheduler_stack : fiber_stack,
                                 to_scheduler ? block->scheduler_stack_bytes : kStackBytes);
  cuda_shim_switch(from, to);
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#else
  cuda_shim_switch(from, to);
#endif
}
CUDA_SHIM_INTERNAL inline void yield() { switch_stack(true, &block->current->context, &block->scheduler); }

CUDA_SHIM_INTERNAL inline void let_others_run() {
  block->has_moved = true;
  yield();
}

CUDA_SHIM_INTERNAL inline void run_fiber() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &block->scheduler_stack, &block->scheduler_stack_bytes);
#endif
  block->body();
  block->current->watched.finish();
  block->current->is_done = block->has_moved = true;
  ++block->num_done;
  yield();
}

CUDA_SHIM_INTERNAL inline void run_block(Block* new_block, unsigned block_seed, size_t shared_bytes) {
  std::minstd_rand random(block_seed);
  block = new_block;
  const unsigned num_threads = block->block_dim.x;

  // Poison shared memory: put garbage into it, and a guard after it.
  auto* shared = reinterpret_cast<unsigned char*>(shared_memory());
  constexpr size_t kGuardBytes = 4096;
  const size_t end = std::min(shared_bytes + kGuardBytes, kSharedVectors * sizeof(uint4));
  for (size_t i = 0; i < shared_bytes; ++i) shared[i] = static_cast<unsigned char>(random() >> 8);
  std::memset(shared + shared_bytes, 0xa5, end - shared_bytes);
#ifdef __SANITIZE_ADDRESS__
  __asan_poison_memory_region(shared + shared_bytes, end - shared_bytes);
#endif

  thread_local std::unique_ptr<char[]> stacks;
  thread_local size_t num_stacks = 0;
  if (num_stacks < num_threads) stacks.reset(new char[(num_stacks = num_threads) * kStackBytes]);
  block->stacks = stacks.get();
  block->warps.resize((num_threads + 31) / 32);
  block->fibers.resize(num_threads);
  for (unsigned i = 0; i < num_threads; ++i) {
    block->fibers[i].thread_idx = {i, 0, 0};
    block->fibers[i].watched.create();
    make_context(&block->fibers[i].context, block->stacks + i * kStackBytes, run_fiber);
  }

  // Each pass resumes most fibers once, in an order of its own. A step that is coprime to the number of threads visits
  // all of them.
  int num_idle_passes = 0;
  while (block->num_done < num_threads) {
    block->has_moved = false;
    const unsigned start = random() % num_threads;
    unsigned step = random() % num_threads | 1;
    while (std::gcd(step, num_threads) != 1) ++step;
    for (unsigned i = 0; i < num_threads; ++i) {
      Fiber& fiber = block->fibers[(start + static_cast<uint64_t>(i) * step) % num_threads];
      if (fiber.is_done || random() % 16 == 0) continue;
      block->current = &fiber;
      switch_stack(false, &block->scheduler, &fiber.context);
    }
    num_idle_passes = block->has_moved ? 0 : num_idle_passes + 1;
    if (num_idle_passes > 1000) fail("deadlock");
  }

#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(shared + shared_bytes, end - shared_bytes);
#endif
  for (size_t i = shared_bytes; i < end; ++i)
    if (shared[i] != 0xa5) fail("write after the end of shared memory");
  for (Fiber& fiber : block->fibers) fiber.watched.destroy();
  block = nullptr;
}

// --- Collectives ---
CUDA_SHIM_INTERNAL inline void wait_for(const unsigned* generation, unsigned old_generation) {
  while (*generation == old_generation) yield();
}

// Every lane of the warp passes a value and gets all 32. `collective` must be the same in all lanes.
CUDA_SHIM_INTERNAL inline const uint32_t* exchange_in_warp(unsigned mask, uint32_t value, int collective) {
  const unsigned thread_idx = block->current->thread_idx.x;
  Warp& warp = block->warps[thread_idx / 32];
  if (mask != 0xffffffffu) fail("only whole warps are supported");
  if (warp.num_arrived > 0 && warp.collective != collective) fail("diverged collective");
  warp.collective = collective;
  const unsigned generation = warp.generation;
  uint32_t* values = warp.values[generation % 2];  // There are two, since a lane may be one collective ahead
  values[thread_idx % 32] = value;
  if (++warp.num_arrived == 32) {
    warp.num_arrived = 0, ++warp.generation, block->has_moved = true;
  } else {
    wait_for(&warp.generation, generation);
  }
  return values;
}

CUDA_SHIM_INTERNAL inline void sync_warp(unsigned mask) {
  Warp& warp = block->warps[block->current->thread_idx.x / 32];
  const unsigned generation = warp.generation;
  warp.watched.arrive(generation);
  exchange_in_warp(mask, 0, 1);
  warp.watched.leave(generation);
}

CUDA_SHIM_INTERNAL inline void sync_block() {
  const unsigned generation = block->generation;
  block->watched.arrive(generation);
  if (++block->num_arrived == block->block_dim.x) {
    block->watched.complete_barrier();
    block->num_arrived = 0, ++block->generation, block->has_moved = true;
  } else {
    wait_for(&block->generation, generation);
  }
  block->watched.leave(generation);
}

inline void launch(const cudaLaunchConfig_t& config, const std::function<void()>& body) {
  static unsigned num_launches = 0;
  std::minstd_rand random(seed * 7919 + ++num_launches);
  std::vector<unsigned> order(config.gridDim.x);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  run_blocks(order, [&](unsigned block_idx, const auto& wait) {
    Block new_block{{block_idx, 0, 0}, config.blockDim, config.gridDim, body};
    run_block(&new_block, random(), config.dynamicSmemBytes);
    wait();
  });
}

// --- Atomic operations, all of them relaxed, and fences ---
#ifdef __SANITIZE_THREAD__
inline void fence() { block->current->watched.fence(block->watched); }
// For changes of which the order does not matter
inline void change_at_any_place(const void* address) {
  static_cast<void>(*block->current->watched.change(address, true, block->watched));
}
// For changes of which the order matters
inline void change_at_one_place(const void* address) {
  *block->current->watched.change(address, false, block->watched) = 0;
}
#else
inline void fence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void change_at_any_place(const void*) {}
inline void change_at_one_place(const void*) {}
#endif

}  // namespace cuda_shim

// These are objects rather than macros, since `gridDim` and `blockDim` are also members of the launch configuration.
template <unsigned (*read)()>
struct BuiltIn {
  struct {
    operator unsigned() const { return read(); }
  } x;
};
inline constexpr BuiltIn<[]() -> unsigned { return cuda_shim::block->current->thread_idx.x; }> threadIdx{};
inline constexpr BuiltIn<[]() -> unsigned { return cuda_shim::block->block_idx.x; }> blockIdx{};
inline constexpr BuiltIn<[]() -> unsigned { return cuda_shim::block->block_dim.x; }> blockDim{};
inline constexpr BuiltIn<[]() -> unsigned { return cuda_shim::block->grid_dim.x; }> gridDim{};

template <typename Parameters>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters),
                               Parameters parameters) {
  if (config->gridDim.x == 0 || config->blockDim.x == 0 || config->blockDim.x % 32 != 0 ||
      config->dynamicSmemBytes > static_cast<size_t>(cuda_shim::device.shared_bytes_per_block))
    return cudaErrorInvalidConfiguration;
  cuda_shim::launch(*config, [&] { kernel(parameters); });
  return cudaSuccess;
}

inline void __syncthreads() { cuda_shim::sync_block(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { cuda_shim::sync_warp(mask); }
inline uint32_t __shfl_xor_sync(unsigned mask, uint32_t value, int lane_mask) {
  const uint32_t* values = cuda_shim::exchange_in_warp(mask, value, 100 + lane_mask);
  return values[(threadIdx.x % 32) ^ lane_mask];
}
inline int32_t __shfl_up_sync(unsigned mask, int32_t value, int distance) {
  const uint32_t* values = cuda_shim::exchange_in_warp(mask, value, 200 + distance);
  const int lane_idx = threadIdx.x % 32;
  return values[lane_idx >= distance ? lane_idx - distance : lane_idx];
}
inline unsigned __match_any_sync(unsigned mask, int32_t value) {
  const uint32_t* values = cuda_shim::exchange_in_warp(mask, value, 2);
  unsigned lanes = 0;
  for (int i = 0; i < 32; ++i) lanes |= static_cast<unsigned>(values[i] == static_cast<uint32_t>(value)) << i;
  return lanes;
}
inline int __popc(uint32_t value) { return __builtin_popcount(value); }
inline uint32_t __funnelshift_l(uint32_t low, uint32_t high, int shift) {
  return static_cast<uint32_t>(((static_cast<uint64_t>(high) << 32 | low) << (shift % 32)) >> 32);
}
inline uint32_t __funnelshift_lc(uint32_t low, uint32_t high, uint32_t shift) {
  return static_cast<uint32_t>(((static_cast<uint64_t>(high) << 32 | low) << std::min(shift, 32u)) >> 32);
}
inline uint32_t __funnelshift_r(uint32_t low, uint32_t high, int shift) {
  return static_cast<uint32_t>(((static_cast<uint64_t>(high) << 32) | low) >> (shift % 32));
}
template <typename T>
T __ldg(const T* pointer) {
  if (reinterpret_cast<uintptr_t>(pointer) % sizeof(T) != 0) cuda_shim::fail("misaligned load");
  T value;
  std::memcpy(&value, pointer, sizeof(T));
  return value;
}
inline void __threadfence() { cuda_shim::fence(); }
inline void __threadfence_system() { cuda_shim::fence(); }
inline int32_t atomicAdd(int32_t* p, int32_t v) {
  cuda_shim::change_at_any_place(p);
  return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}
inline unsigned long long atomicAdd(unsigned long long* p, unsigned long long v) {
  cuda_shim::change_at_any_place(p);
  return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}
// What the location holds is known when it changes, so the place of the change does not matter. Other threads of the
// block run first, so that they may change it.
inline unsigned long long atomicCAS(unsigned long long* p, unsigned long long expected,
                                    unsigned long long v) {
  cuda_shim::let_others_run();
  cuda_shim::change_at_any_place(p);
  __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}
inline uint32_t atomicOr(uint32_t* p, uint32_t v) {
  cuda_shim::change_at_any_place(p);
  return __atomic_fetch_or(p, v, __ATOMIC_RELAXED);
}
template <typename T, typename U>
T atomicExch(T* p, U v) {
  cuda_shim::change_at_one_place(p);
  return __atomic_exchange_n(p, static_cast<T>(v), __ATOMIC_RELAXED);
}
inline unsigned long long atomicMax(unsigned long long* p, unsigned long long v) {
  cuda_shim::change_at_any_place(p);
  unsigned long long old = __atomic_load_n(p, __ATOMIC_RELAXED);
  while (old < v && !__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}
