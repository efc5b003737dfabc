// What ThreadSanitizer has to know about CUDA threads, so that it finds the races that a GPU would have. In a build
// without ThreadSanitizer, everything here is empty.
//
// To ThreadSanitizer, each CUDA thread is a fiber. Blocks still run one after the other, and so do the threads of a
// block. That does not hide races: ThreadSanitizer reports two accesses that nothing orders, even if one of them
// happened long before the other. Only these order the accesses of CUDA threads:
//   - __syncthreads, within a block, and __syncwarp, within a warp. A shuffle or a match orders nothing.
//   - A fence, then an atomic operation; and on the other side an atomic operation on the same location that comes
//     later, then a fence. Without the fences, atomic operations order nothing, since those of CUDA are relaxed.
//     A barrier between the fence and the atomic operation is allowed: the thread that does the atomic operation then
//     acts for all threads of the barrier. PTX permits this, since __threadfence is sequentially consistent.
//   - The start and the end of a launch.
//
// Atomic operations never race with each other. So a kernel could fetch the sums of all blocks by atomicExch before
// all blocks have added to them, and ThreadSanitizer would be silent. Additions to a location can come in any order,
// and so can maxima and ORs, but an exchange has a place among them, on which the result depends. If nothing decides
// this place, it is reported as a race, too: additions count as reads of an additional variable that belongs to the
// location, and an exchange counts as a write to it.
#pragma once

#ifdef __SANITIZE_THREAD__

#include <sanitizer/tsan_interface.h>

#include <deque>
#include <latch>
#include <semaphore>
#include <set>
#include <thread>
#include <unordered_map>
#include <vector>

extern "C" {
void __tsan_ignore_thread_begin();
void __tsan_ignore_thread_end();

// A program stops at its first race. TSAN_OPTIONS can change this
inline __attribute__((used)) const char* __tsan_default_options() { return "halt_on_error=1"; }
}

// Marks functions of the shim itself, whose accesses are not those of the kernel.
#define CUDA_SHIM_INTERNAL __attribute__((no_sanitize("thread"), noinline))

namespace cuda_shim {

// By the address of a token, ThreadSanitizer orders accesses: what a thread does before it releases a token comes before
// what another thread does after it acquires the token.
using Token = uint64_t;
inline Token launch_token;

// Functions of the shim that use containers need this, since the functions of containers are watched even if their
// caller is not.
struct UnwatchedScope {
  UnwatchedScope() { __tsan_ignore_thread_begin(); }
  ~UnwatchedScope() { __tsan_ignore_thread_end(); }
};

// The tokens of fences. An atomic operation makes those of `released` known to all threads that use its location later.
// It adds those that it gets to know itself to `seen`, and the next fence acquires them.
struct Fences {
  std::set<Token*> released, seen;

  bool is_empty() const { return released.empty() && seen.empty(); }
  void merge(Fences& other) {
    released.merge(other.released);
    seen.merge(other.seen);
  }
};

// A memory location of atomic operations
struct Location {
  std::set<Token*> fences;
  const void* last_thread = nullptr;
  std::deque<uint64_t> places{0};  // The last one is the variable that additions read and exchanges write
};
inline std::unordered_map<const void*, Location> locations;  // Those of the current launch

struct WatchedWarp {
  Token barriers[2] = {};

  CUDA_SHIM_INTERNAL void arrive(unsigned generation) { __tsan_release(&barriers[generation % 2]); }
  CUDA_SHIM_INTERNAL void leave(unsigned generation) { __tsan_acquire(&barriers[generation % 2]); }
};

struct WatchedBlock {
  void* scheduler = __tsan_get_current_fiber();
  Token barriers[2] = {};
  std::deque<Token> fence_tokens{Token{}};  // The last one is for fences since the last barrier
  Fences before_barrier, since_barrier;

  // There are two tokens in turn, since a thread may arrive at a barrier before another has left the last one.
  CUDA_SHIM_INTERNAL void arrive(unsigned generation) { __tsan_release(&barriers[generation % 2]); }
  CUDA_SHIM_INTERNAL void leave(unsigned generation) { __tsan_acquire(&barriers[generation % 2]); }
  // The last thread has arrived
  CUDA_SHIM_INTERNAL void complete_barrier() {
    if (since_barrier.is_empty()) return;
    const UnwatchedScope scope;
    before_barrier.merge(since_barrier);
    since_barrier = {};
    fence_tokens.emplace_back();
  }
};

struct WatchedThread {
  void* fiber = nullptr;
  std::deque<Token> fence_tokens;  // One for each fence of this thread
  Fences own;

  CUDA_SHIM_INTERNAL void create() { fiber = __tsan_create_fiber(0); }
  CUDA_SHIM_INTERNAL void destroy() { __tsan_destroy_fiber(fiber); }
  CUDA_SHIM_INTERNAL static void switch_to(void* next) {
    __tsan_switch_to_fiber(next, __tsan_switch_to_fiber_no_sync);
  }
  CUDA_SHIM_INTERNAL void finish() { __tsan_release(&launch_token); }

  CUDA_SHIM_INTERNAL void fence(WatchedBlock& block) {
    const UnwatchedScope scope;
    for (const Fences* fences : {&own, &block.before_barrier})
      for (Token* token : fences->seen) __tsan_acquire(token);
    __tsan_release(&fence_tokens.emplace_back());
    __tsan_release(&block.fence_tokens.back());
    own.released = {&fence_tokens.back()};  // What came before the earlier fences came before this one, too
    block.since_barrier.released.insert(&block.fence_tokens.back());
  }

  // Returns the variable that belongs to the location
  CUDA_SHIM_INTERNAL volatile uint64_t* change(const void* address, bool any_place, WatchedBlock& block) {
    const UnwatchedScope scope;
    Location& location = locations[address];
    own.seen.insert(location.fences.begin(), location.fences.end());
    block.since_barrier.seen.insert(location.fences.begin(), location.fences.end());
    for (const Fences* fences : {&own, &block.before_barrier})
      location.fences.insert(fences->released.begin(), fences->released.end());
    // If this thread made the last change, its exchange comes after all changes so far, for the changes of one location
    // have an order.
    if (!any_place && location.last_thread == this) location.places.emplace_back();
    location.last_thread = this;
    return &location.places.back();
  }
};

// Calls `run_block(block_idx, wait)` for each block, one after the other, in OS threads of their own, since what is
// shared memory in CUDA is thread-local on the CPU. When a block is done, it calls `wait()`, which returns after all
// blocks are done. Until then no memory may be freed, because later blocks would get it, and their accesses would look
// like races.
template <typename RunBlock>
void run_blocks(const std::vector<unsigned>& block_indices, RunBlock run_block) {
  std::binary_semaphore is_block_done{0};
  std::latch is_launch_done{1};
  std::vector<std::thread> threads;
  for (unsigned block_idx : block_indices) {
    threads.emplace_back([&, block_idx] {
      run_block(block_idx, [&] {
        is_block_done.release();
        is_launch_done.wait();
      });
    });
    is_block_done.acquire();
  }
  __tsan_acquire(&launch_token);
  locations.clear();
  is_launch_done.count_down();
  for (std::thread& thread : threads) thread.join();
}

}  // namespace cuda_shim

#else

#define CUDA_SHIM_INTERNAL

namespace cuda_shim {

struct WatchedWarp {
  void arrive(unsigned) {}
  void leave(unsigned) {}
};
struct WatchedBlock {
  void* scheduler = nullptr;
  void arrive(unsigned) {}
  void leave(unsigned) {}
  void complete_barrier() {}
};
struct WatchedThread {
  void* fiber = nullptr;
  void create() {}
  void destroy() {}
  static void switch_to(void*) {}
  void finish() {}
};
template <typename RunBlock>
void run_blocks(const std::vector<unsigned>& block_indices, RunBlock run_block) {
  for (unsigned block_idx : block_indices) run_block(block_idx, [] {});
}

}  // namespace cuda_shim

#endif
