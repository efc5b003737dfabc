// Whether somebody is capturing a CUDA graph, and the error for calls that cannot be a part of one.
#pragma once

#include <cuda_runtime_api.h>

#include <exception>

namespace dispatch_layout {

// Why a call cannot be made while a graph is captured. The names are those of `ts/devices/cuda/capture-error.ts`,
// which has the words.
class CaptureError : public std::exception {
 public:
  explicit CaptureError(const char* reason) : reason(reason) {}
  const char* what() const noexcept override { return reason; }

  const char* const reason;
};

// The capture that a stream is a part of
struct Capture {
  unsigned long long id = 0;  // 0 without a capture

  bool is_active() const { return id != 0; }
  bool operator==(const Capture& other) const { return id == other.id; }
  bool operator!=(const Capture& other) const { return id != other.id; }
};

// Throws for a capture that is spoilt already. It also throws for the legacy stream while a stream that waits for
// it is captured: any use of it then spoils the capture.
Capture capture_of(cudaStream_t stream);

// Does the same, but returns whether the stream must not be touched
bool is_capturing(cudaStream_t stream) noexcept;

}  // namespace dispatch_layout
