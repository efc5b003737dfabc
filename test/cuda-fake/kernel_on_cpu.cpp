// The kernel for the fake device: the unchanged source behind the shim of `test/cuda-shim`, with plain C in between, since
// the shim's types of CUDA are others than the fake's.
#include "../cuda-shim/kernel_on_cpu.h"

extern "C" int fake_launch_kernel(const void* arguments) {
  // Few multiprocessors: on a CPU, blocks are slow
  cuda_shim::device.num_sms = 4;
  return dispatch_layout::launch_dispatch_layout(
      *static_cast<const dispatch_layout::DispatchLayoutArguments*>(arguments), nullptr);
}
