// The kernel of the fake GPU: the unchanged source, which runs on the shim in `test/cuda-shim`. The interface between
// the shim and the fake runtime is plain C, because they define the types of CUDA differently.
#include "../cuda-shim/kernel_on_cpu.h"
#include "../../cuda/kernel/dispatch_layout.cuh"

extern "C" int fake_launch_kernel(const void* arguments) {
  // There are few multiprocessors, since blocks are slow on a CPU.
  cuda_shim::device.num_sms = 4;
  return dispatch_layout::launch_dispatch_layout(
      *static_cast<const dispatch_layout::DispatchLayoutArguments*>(arguments), nullptr);
}
