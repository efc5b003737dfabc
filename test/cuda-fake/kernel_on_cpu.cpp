// The kernels of the fake GPU: the unchanged source, which runs on the shim in `test/cuda-shim`. The interface between
// the shim and the fake runtime is plain C, because they define the types of CUDA differently.
#include "../cuda-shim/kernel_on_cpu.h"

namespace dispatch_layout {
// The addon calls this one directly
__attribute__((visibility("default"))) size_t permutation_scratch_bytes(int num_keys);
}  // namespace dispatch_layout

#include "../../cuda/kernel/dispatch_layout.cuh"
#include "../../cuda/kernel/permutation.cuh"

extern "C" {

int fake_launch_layout(const void* arguments) {
  // There are few multiprocessors, since blocks are slow on a CPU.
  cuda_shim::device.num_sms = 4;
  return dispatch_layout::launch_dispatch_layout(
      *static_cast<const dispatch_layout::DispatchLayoutArguments*>(arguments), nullptr);
}

int fake_launch_expert_permutation(const void* arguments) {
  cuda_shim::device.num_sms = 4;
  return dispatch_layout::launch_permutation(
      *static_cast<const dispatch_layout::ExpertPermutationArguments*>(arguments), nullptr);
}

int fake_launch_rank_permutation(const void* arguments) {
  cuda_shim::device.num_sms = 4;
  return dispatch_layout::launch_permutation(
      *static_cast<const dispatch_layout::RankPermutationArguments*>(arguments), nullptr);
}
}
