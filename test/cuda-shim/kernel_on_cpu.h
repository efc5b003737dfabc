// The unchanged kernel, compiled for the CPU with the shim in `include/`.
#pragma once

#include "../../cuda/kernel/dispatch_layout.cuh"

// The array that the kernel declares as dynamic shared memory.
namespace dispatch_layout {
__thread uint4 shared_memory[cuda_shim::kSharedVectors];
}

namespace cuda_shim {
uint4* shared_memory() { return dispatch_layout::shared_memory; }
}  // namespace cuda_shim
