// What the unchanged kernels need to run on the CPU, with the shim in `include/`: the array that they declare as dynamic
// shared memory. Include the kernels themselves, too.
#pragma once

#include <cuda_runtime.h>

namespace dispatch_layout {
__thread uint4 shared_memory[cuda_shim::kSharedVectors];
}

namespace cuda_shim {
uint4* shared_memory() { return dispatch_layout::shared_memory; }
}  // namespace cuda_shim
