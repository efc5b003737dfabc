// Device memory, which is host memory, and pinned memory. Freed memory is overwritten and handed out again as soon as a
// real pool could do so, so that a use without the right order shows in the results.
#pragma once

#include <cstddef>

namespace fake_cuda {

// How much memory each device has
size_t device_bytes();

struct MemoryRange {
  const void* base;
  size_t bytes;
  int device;
  bool is_pinned, is_of_malloc, is_in_pieces;
};

bool has_pools();
// Finds the allocation that an address is in. Memory of `cudaMalloc` may look like several pieces, see
// FAKE_CUDA_MEMORY_CHUNK
bool find_memory(const void* pointer, MemoryRange* range);
// Ends the process if the memory is that of another device
void check_touch(const void* pointer, int device);

}  // namespace fake_cuda
