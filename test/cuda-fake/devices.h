// The devices, their primary contexts, and what the runtime keeps for each thread.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <vector>

#include "settings.h"

// There is one context for each device, the primary one
struct CUctx_st {
  int device = 0;
  bool is_used_by_runtime = false;
  int num_retained = 0;

  bool is_active() const { return is_used_by_runtime || num_retained > 0; }
};

namespace fake_cuda {

struct ThreadState {
  std::vector<CUcontext> contexts;  // The last one is current
  int selected_device = 0;          // The device whose context becomes current if none is
  cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;
  cudaError_t last_error = cudaSuccess;
};
ThreadState& this_thread();

// Returns why no device can be used, or cudaSuccess
cudaError_t driver_obstacle();
// Returns why this device cannot be used, or cudaSuccess
cudaError_t device_obstacle(int device);

// Finds the device of the current context. If none is current, the context of the selected device is made so, and
// created if needed, as the runtime does
cudaError_t enter_context(int* device);

// Runs a function of the runtime, and remembers the error that it returns
template <typename Body>
cudaError_t call(cudaError_t injected, const Body& body) {
  const cudaError_t error = injected != cudaSuccess ? injected : body();
  if (error != cudaSuccess) this_thread().last_error = error;
  return error;
}

// The same for a function that needs a context: `body` is given the current device
template <typename Body>
cudaError_t call_in_context(cudaError_t injected, const Body& body) {
  return call(injected, [&] {
    int device = 0;
    const cudaError_t error = enter_context(&device);
    return error != cudaSuccess ? error : body(device);
  });
}

}  // namespace fake_cuda
