// How the blocks of a launch merge their results in the scratch memory, without a fence and without waiting for each
// other.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace dispatch_layout {

// The blocks merge their results in words of 64 bits. The lower 48 bits of a word are the result, and the upper
// 16 bits are the number of blocks that have contributed to it. So the block that contributes last learns from
// that very operation that no other will change the word again. It writes the result to the outputs, and leaves
// 0 in the word. This takes no fence, since all that a block learns from another is in one word: the changes of
// a location have an order, in which those of a thread, and those before and after a barrier, keep theirs.
constexpr int kResultBits = 48;
constexpr unsigned long long kContribution = 1ull << kResultBits, kMaxResult = kContribution - 1;
constexpr int kMaxBlocks = 0xffff;

// The beginning of the scratch memory
struct Scratch {
  // The number of the first invalid selection, by `IdParameters::number_invalid`; 0 if there is none. It is zero
  // before and after each launch.
  unsigned long long invalid;

  // What lies behind it. Each kernel says what it keeps there.
  template <typename T>
  __device__ T* get_rest() {
    return reinterpret_cast<T*>(this + 1);
  }
};

// Adds the last part of this block to a word of the scratch memory. If no other block has yet to add to it,
// calls `write` with the result, and leaves 0 in the word.
template <typename Write>
__device__ void contribute(unsigned long long* word, unsigned long long part, const Write& write) {
  const unsigned long long own = kContribution | part;
  const unsigned long long merged = atomicAdd(word, own) + own;
  if (merged >> kResultBits != gridDim.x) return;
  write(merged & kMaxResult);
  atomicExch(word, 0ull);
}

// Raises the number of the first invalid selection to `invalid`, unless it is at least as large already. Each
// thread changes the word at most twice, here and in `contribute`, so the loop ends. It ends soon even if many
// threads come at once, since every exchange lets go those whose numbers are smaller.
__device__ inline void raise_invalid(unsigned long long* word, unsigned long long invalid) {
  unsigned long long known = 0;
  while ((known & kMaxResult) < invalid) {
    const unsigned long long expected = known;
    known = atomicCAS(word, expected, (expected & ~kMaxResult) | invalid);
    if (known == expected) return;
  }
}

}  // namespace dispatch_layout
