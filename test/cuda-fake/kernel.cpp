// The launch of the kernel, in place of that in `cuda/kernel/dispatch_layout.cuh`. The kernel itself runs in
// `kernel_on_cpu.cpp`.
#include <cstdlib>
#include <mutex>

#include "../../cuda/kernel/dispatch_layout.h"
#include "memory.h"
#include "streams.h"

extern "C" int fake_launch_kernel(const void* arguments);

namespace dispatch_layout {

__attribute__((visibility("default"))) cudaError_t launch_dispatch_layout(
    const DispatchLayoutArguments& arguments, cudaStream_t handle) {
  using namespace fake_cuda;
  return call_on_stream(fault("cudaLaunchKernelExC"), handle, [&](CUstream_st& stream, int device) {
    if (stream.device != device) return cudaErrorInvalidResourceHandle;
    for (const void* pointer :
         {arguments.topk_idx, static_cast<const void*>(arguments.rank_of_expert),
          static_cast<const void*>(arguments.num_tokens_per_rank),
          static_cast<const void*>(arguments.num_tokens_per_rdma_rank),
          static_cast<const void*>(arguments.num_tokens_per_expert),
          static_cast<const void*>(arguments.is_token_in_rank),
          static_cast<const void*>(arguments.report.place), static_cast<const void*>(arguments.scratch)})
      check_touch(pointer, device);
    use_scratch(stream, arguments.scratch);
    return submit(stream, [arguments] {
      // Kernels of several streams take turns, since the shim runs one at a time
      static std::mutex mutex;
      const std::lock_guard<std::mutex> lock(mutex);
      sleep("FAKE_CUDA_SLOW");
      // With the real runtime, the call returns the error of the launcher. Here the call has returned already, so the
      // process stops.
      if (fake_launch_kernel(&arguments) != 0) std::abort();
      if (number("FAKE_CUDA_WRONG", 0) != 0) ++arguments.num_tokens_per_rank[0];
    });
  });
}

}  // namespace dispatch_layout
