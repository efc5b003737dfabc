// A failed call of the CUDA runtime, as an exception that carries what a person needs to know.
#pragma once

#include <cuda_runtime_api.h>

#include <cstring>
#include <exception>
#include <string>

#include "driver.h"

namespace dispatch_layout {

class CudaError : public std::exception {
 public:
  // `call` is the text of the call. The name of the function ends at the first parenthesis
  CudaError(cudaError_t code, const char* call) : code(code), call(call, std::strcspn(call, "(")) {
    cudaGetLastError();
    is_sticky = can_lose_context(code) && has_current_context() && make_event() == code;
    cudaGetLastError();
  }

  const char* what() const noexcept override { return cudaGetErrorString(code); }
  const char* name() const { return cudaGetErrorName(code); }

  cudaError_t code;
  std::string call;
  // Whether the context is lost, so that every later call returns the same error
  bool is_sticky;

 private:
  // Something harmless that every lost context refuses, and that spoils no capture of a graph
  static cudaError_t make_event() {
    cudaEvent_t event = nullptr;
    const cudaError_t error = cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    if (error == cudaSuccess) cudaEventDestroy(event);
    return error;
  }

  // An error that is not listed here may repeat, and still pass later. If memory is too full for a context,
  // for instance, the query that asks whether the error repeats tries to create one, and fails too.
  static bool can_lose_context(cudaError_t code) {
    switch (code) {
      case cudaErrorCudartUnloading:
      case cudaErrorECCUncorrectable:
      case cudaErrorNvlinkUncorrectable:
      case cudaErrorIllegalAddress:
      case cudaErrorLaunchTimeout:
      case cudaErrorContextIsDestroyed:
      case cudaErrorAssert:
      case cudaErrorHardwareStackError:
      case cudaErrorIllegalInstruction:
      case cudaErrorMisalignedAddress:
      case cudaErrorInvalidAddressSpace:
      case cudaErrorInvalidPc:
      case cudaErrorLaunchFailure:
      case cudaErrorMpsClientTerminated:
      case cudaErrorExternalDevice:
      case cudaErrorUnknown: return true;
      default: return false;
    }
  }
};

inline void check_cuda(cudaError_t code, const char* call) {
  if (code != cudaSuccess) throw CudaError(code, call);
}

}  // namespace dispatch_layout

#define CHECK_CUDA(call) ::dispatch_layout::check_cuda((call), #call)
