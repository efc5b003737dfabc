#include "driver.h"

#include <algorithm>
#include <cstdint>

#include "cuda_error.h"

namespace dispatch_layout {
namespace {

// The codes of the driver are those of the runtime
void check_driver(CUresult result, const char* call) { check_cuda(static_cast<cudaError_t>(result), call); }

template <typename Function>
void find(const char* name, Function* function) {
  void* found = nullptr;
#if CUDART_VERSION >= 13000
  // No function has changed its type since CUDA 12.0
  CHECK_CUDA(cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault));
#else
  CHECK_CUDA(cudaGetDriverEntryPoint(name, &found, cudaEnableDefault));
#endif
  if (found == nullptr) throw CudaError(cudaErrorSymbolNotFound, name);
  *function = reinterpret_cast<Function>(found);
}

struct Driver {
  decltype(&cuDevicePrimaryCtxRetain) retain_primary_context;
  decltype(&cuCtxPushCurrent) push_current;
  decltype(&cuCtxPopCurrent) pop_current;
  decltype(&cuCtxGetDevice) get_device;
  decltype(&cuStreamGetCtx) get_context_of_stream;
  decltype(&cuPointerGetAttribute) get_pointer_attribute;

  Driver() {
    find("cuDevicePrimaryCtxRetain", &retain_primary_context);
    find("cuCtxPushCurrent", &push_current);
    find("cuCtxPopCurrent", &pop_current);
    find("cuCtxGetDevice", &get_device);
    find("cuStreamGetCtx", &get_context_of_stream);
    find("cuPointerGetAttribute", &get_pointer_attribute);
  }
};

// If this throws, the next call looks again
const Driver& driver() {
  static const Driver found;
  return found;
}

}  // namespace

CUcontext primary_context(int ordinal) {
  CUcontext context = nullptr;
  check_driver(driver().retain_primary_context(&context, ordinal), "cuDevicePrimaryCtxRetain");
  return context;
}

OnDevice::OnDevice(CUcontext context) noexcept
    : is_pushed_(driver().push_current(context) == CUDA_SUCCESS),
      capture_mode_(cudaStreamCaptureModeRelaxed) {
  cudaThreadExchangeStreamCaptureMode(&capture_mode_);
}

OnDevice::~OnDevice() {
  cudaThreadExchangeStreamCaptureMode(&capture_mode_);
  CUcontext context = nullptr;
  if (is_pushed_) driver().pop_current(&context);
}

int device_of_stream(cudaStream_t stream) {
  CUcontext context = nullptr;
  check_driver(driver().get_context_of_stream(stream, &context), "cuStreamGetCtx");
  const OnDevice on_device(context);
  CUdevice device = 0;
  check_driver(driver().get_device(&device), "cuCtxGetDevice");
  return device;
}

size_t allocated_bytes(const void* pointer, size_t wanted) {
  const auto begin = reinterpret_cast<uintptr_t>(pointer);
  const auto get = driver().get_pointer_attribute;
  size_t found = 0;
  while (found < wanted) {
    const CUdeviceptr address = begin + found;
    CUdeviceptr piece = 0;
    size_t piece_bytes = 0;
    if (get(&piece, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, address) != CUDA_SUCCESS ||
        get(&piece_bytes, CU_POINTER_ATTRIBUTE_RANGE_SIZE, address) != CUDA_SUCCESS ||
        piece + piece_bytes <= address)
      break;
    found = piece + piece_bytes - begin;
  }
  return std::min(found, wanted);
}

}  // namespace dispatch_layout
