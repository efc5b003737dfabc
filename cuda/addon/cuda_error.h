// A failed call of the CUDA runtime, as an exception that carries what a person needs to know.
#pragma once

#include <cuda_runtime_api.h>

#include <cstring>
#include <exception>
#include <string>

namespace dispatch_layout {

class CudaError : public std::exception {
 public:
  // `call` is the text of the call: its name ends at the first parenthesis
  CudaError(cudaError_t code, const char* call) : code(code), call(call, std::strcspn(call, "(")) {
    // A sticky error is what every later call returns as well: the context is lost
    cudaGetLastError();
    const cudaError_t next = cudaStreamQuery(nullptr);
    is_sticky = next != cudaSuccess && next != cudaErrorNotReady && next == code;
    cudaGetLastError();
  }

  const char* what() const noexcept override { return cudaGetErrorString(code); }
  const char* name() const { return cudaGetErrorName(code); }

  cudaError_t code;
  std::string call;
  bool is_sticky;
};

inline void check_cuda(cudaError_t code, const char* call) {
  if (code != cudaSuccess) throw CudaError(code, call);
}

}  // namespace dispatch_layout

#define CHECK_CUDA(call) ::dispatch_layout::check_cuda((call), #call)
