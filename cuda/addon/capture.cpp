#include "capture.h"

#include "cuda_error.h"

namespace dispatch_layout {

Capture capture_of(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  const cudaError_t error = cudaStreamIsCapturing(stream, &status);
  if (error == cudaErrorStreamCaptureImplicit) {
    cudaGetLastError();
    throw CaptureError("LEGACY_STREAM");
  }
  check_cuda(error, "cudaStreamIsCapturing");
  Capture capture;
  if (status == cudaStreamCaptureStatusInvalidated) throw CaptureError("SPOILT");
  if (status == cudaStreamCaptureStatusActive)
    CHECK_CUDA(cudaStreamGetCaptureInfo(stream, &status, &capture.id));
  return capture;
}

bool is_capturing(cudaStream_t stream) noexcept {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  const cudaError_t error = cudaStreamIsCapturing(stream, &status);
  if (error != cudaSuccess) cudaGetLastError();
  return error == cudaErrorStreamCaptureImplicit || status != cudaStreamCaptureStatusNone;
}

}  // namespace dispatch_layout
