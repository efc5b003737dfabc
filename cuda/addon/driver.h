// What the addon asks of the driver itself, because the CUDA runtime has no counterpart: contexts, and where
// memory begins and ends. The functions are looked up at run time, since the addon must load on a machine
// without a driver.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <new>
#include <utility>

namespace dispatch_layout {

// Returns the primary context of a device, which all code that uses the CUDA runtime shares. It is created if
// need be, and exists until the process ends.
CUcontext primary_context(int ordinal);

// Makes a context current for the calls within a scope. The context that the thread had before is then
// current again, be it none: `cudaSetDevice`, which other code in this thread relies on, is not touched, and
// no context is created on a device that nobody uses. Within the scope, calls of ours that CUDA forbids while
// anybody captures a graph are allowed, since they do not touch what is captured.
class OnDevice {
 public:
  explicit OnDevice(CUcontext context);
  // For destructors: if this fails, the context is lost, and there is nothing to be done in the scope
  OnDevice(CUcontext context, std::nothrow_t) noexcept;
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;

  explicit operator bool() const { return error_ == cudaSuccess; }

 private:
  const cudaError_t error_;
  cudaStreamCaptureMode capture_mode_ = cudaStreamCaptureModeRelaxed;
};

// Whether this thread has a context, so that calls of CUDA create none
bool has_current_context() noexcept;

// Returns the context that a stream of somebody else belongs to, and the ordinal of its device
std::pair<CUcontext, int> context_of_stream(cudaStream_t stream);

// Returns how many bytes from `pointer` on are allocated, but counts no further than `wanted`. Memory that was
// mapped piece by piece, as the expandable segments of PyTorch are, counts as one. Other memory behind it, which
// happens to be the next, does not.
size_t allocated_bytes(const void* pointer, size_t wanted);

}  // namespace dispatch_layout
