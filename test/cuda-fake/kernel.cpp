// The launches of the kernels, in place of those in `cuda/kernel/`. The kernels themselves run in `kernel_on_cpu.cpp`.
#include <cstdlib>
#include <initializer_list>
#include <mutex>

#include "../../cuda/kernel/dispatch_layout.h"
#include "../../cuda/kernel/permutation.h"
#include "memory.h"
#include "streams.h"

extern "C" int fake_launch_layout(const void* arguments);
extern "C" int fake_launch_expert_permutation(const void* arguments);
extern "C" int fake_launch_rank_permutation(const void* arguments);

namespace dispatch_layout {
namespace {

// Queues the kernels of a launch, which access the memory of these pointers, and scratch memory.
template <class Arguments>
cudaError_t launch(const Arguments& arguments, std::initializer_list<const void*> pointers,
                   int (*run)(const void*), cudaStream_t handle, void (*spoil)(const Arguments&)) {
  using namespace fake_cuda;
  return call_on_stream(fault("cudaLaunchKernelExC"), handle, [&](CUstream_st& stream, int device) {
    if (stream.device != device) return cudaErrorInvalidResourceHandle;
    for (const void* pointer : pointers) check_touch(pointer, device);
    for (const void* pointer :
         std::initializer_list<const void*>{arguments.topk_idx, arguments.report.place, arguments.scratch})
      check_touch(pointer, device);
    use_scratch(stream, arguments.scratch);
    return submit(stream, [arguments, run, spoil] {
      // Kernels of several streams take turns, since the shim runs one at a time
      static std::mutex mutex;
      const std::lock_guard<std::mutex> lock(mutex);
      sleep("FAKE_CUDA_SLOW");
      // With the real runtime, the call returns the error of the launcher. Here the call has returned already, so the
      // process stops.
      if (run(&arguments) != 0) std::abort();
      if (number("FAKE_CUDA_WRONG", 0) != 0) spoil(arguments);
    });
  });
}

}  // namespace

__attribute__((visibility("default"))) cudaError_t launch_dispatch_layout(
    const DispatchLayoutArguments& arguments, cudaStream_t handle) {
  return launch<DispatchLayoutArguments>(
      arguments,
      {arguments.rank_of_expert, arguments.num_tokens_per_rank, arguments.num_tokens_per_rdma_rank,
       arguments.num_tokens_per_expert, arguments.is_token_in_rank},
      fake_launch_layout, handle,
      [](const DispatchLayoutArguments& launched) { ++launched.num_tokens_per_rank[0]; });
}

__attribute__((visibility("default"))) cudaError_t launch_permutation(
    const ExpertPermutationArguments& arguments, cudaStream_t handle) {
  return launch<ExpertPermutationArguments>(
      arguments,
      {arguments.num_tokens_per_expert, arguments.expert_offsets, arguments.selection_of_row,
       arguments.row_of_selection},
      fake_launch_expert_permutation, handle,
      [](const ExpertPermutationArguments& launched) { ++launched.expert_offsets[0]; });
}

__attribute__((visibility("default"))) cudaError_t launch_permutation(
    const RankPermutationArguments& arguments, cudaStream_t handle) {
  return launch<RankPermutationArguments>(
      arguments,
      {arguments.rank_of_expert, arguments.num_tokens_per_rank, arguments.rank_offsets,
       arguments.token_of_row, arguments.row_of_selection},
      fake_launch_rank_permutation, handle,
      [](const RankPermutationArguments& launched) { ++launched.rank_offsets[0]; });
}

}  // namespace dispatch_layout
