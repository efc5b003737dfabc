// What the launchers of all kernels share: plans, the limits of the device, and the launch itself.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

namespace dispatch_layout {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kMaxThreads = 512;

// With DISPATCH_LAYOUT_OVERLAPS_LAUNCHES, which only a benchmark defines, the blocks of a kernel may start as soon
// as those of the kernel before it have ended. Then each thread waits here, before it accesses any memory that
// others can access, until that kernel is complete and its writes are visible. That kernel has waited likewise,
// so all kernels before it are complete, too.
__device__ inline void wait_for_previous_kernel() {
#if defined(DISPATCH_LAYOUT_OVERLAPS_LAUNCHES) && __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
#endif
}

struct LaunchPlan {
  bool fits_in_shared_memory;
  int num_blocks;
  int num_threads;
  size_t shared_bytes;
};

struct DeviceLimits {
  int num_sms = 0;
  int shared_bytes_per_block = 0;
};

inline cudaError_t get_device_limits(DeviceLimits* limits) {
  int device_idx = 0;
  cudaError_t error = cudaGetDevice(&device_idx);
  const auto get = [&](int* value, cudaDeviceAttr attribute) {
    if (error == cudaSuccess) error = cudaDeviceGetAttribute(value, attribute, device_idx);
  };
  get(&limits->num_sms, cudaDevAttrMultiProcessorCount);
  get(&limits->shared_bytes_per_block, cudaDevAttrMaxSharedMemoryPerBlockOptin);
  return error;
}

// Launches a kernel that keeps `plan.shared_bytes` bytes in dynamic shared memory, and none beside them
template <typename Parameters>
cudaError_t launch_kernel(void (*kernel)(Parameters), const Parameters& parameters, const LaunchPlan& plan,
                          cudaStream_t stream) {
  if (plan.shared_bytes > 48 * 1024) {
    // Raise the limit to the device's and not to what this plan needs, since another thread could then lower
    // it for its own plan
    DeviceLimits limits;
    cudaError_t error = get_device_limits(&limits);
    if (error == cudaSuccess)
      error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   limits.shared_bytes_per_block);
    if (error != cudaSuccess) return error;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(plan.num_blocks);
  config.blockDim = dim3(plan.num_threads);
  config.dynamicSmemBytes = plan.shared_bytes;
  config.stream = stream;
#ifdef DISPATCH_LAYOUT_OVERLAPS_LAUNCHES
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &overlap;
  config.numAttrs = 1;
#endif
  return cudaLaunchKernelEx(&config, kernel, parameters);
}

}  // namespace dispatch_layout
