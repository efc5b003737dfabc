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
#if CUDART_VERSION >= 12050
  // These are the functions of CUDA 12.0. Later versions give some of these names to others
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
  decltype(&cuCtxGetCurrent) get_current;
  decltype(&cuCtxGetDevice) get_device;
  CUresult (*get_context_of_stream)(CUstream, CUcontext*);
  decltype(&cuPointerGetAttribute) get_pointer_attribute;

  Driver() {
    find("cuDevicePrimaryCtxRetain", &retain_primary_context);
    find("cuCtxPushCurrent", &push_current);
    find("cuCtxPopCurrent", &pop_current);
    find("cuCtxGetCurrent", &get_current);
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

OnDevice::OnDevice(CUcontext context) : OnDevice(context, std::nothrow) {
  check_cuda(error_, "cuCtxPushCurrent");
}

OnDevice::OnDevice(CUcontext context, std::nothrow_t) noexcept
    : error_(static_cast<cudaError_t>(driver().push_current(context))) {
  if (error_ == cudaSuccess) cudaThreadExchangeStreamCaptureMode(&capture_mode_);
}

OnDevice::~OnDevice() {
  if (error_ != cudaSuccess) return;
  cudaThreadExchangeStreamCaptureMode(&capture_mode_);
  CUcontext context = nullptr;
  driver().pop_current(&context);
}

bool has_current_context() noexcept {
  try {
    CUcontext context = nullptr;
    return driver().get_current(&context) == CUDA_SUCCESS && context != nullptr;
  } catch (const CudaError&) {
    return false;
  }
}

std::pair<CUcontext, int> context_of_stream(cudaStream_t stream) {
  CUcontext context = nullptr;
  check_driver(driver().get_context_of_stream(stream, &context), "cuStreamGetCtx");
  const OnDevice on_device(context);
  CUdevice device = 0;
  check_driver(driver().get_device(&device), "cuCtxGetDevice");
  return {context, device};
}

size_t allocated_bytes(const void* pointer, size_t wanted) {
  const auto begin = reinterpret_cast<uintptr_t>(pointer);
  const auto get = [](auto* value, CUpointer_attribute attribute, CUdeviceptr address) {
    return driver().get_pointer_attribute(value, attribute, address) == CUDA_SUCCESS;
  };
  size_t found = 0;
  while (found < wanted) {
    const CUdeviceptr address = begin + found;
    CUdeviceptr piece = 0;
    size_t piece_bytes = 0;
    if (!get(&piece, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, address) ||
        !get(&piece_bytes, CU_POINTER_ATTRIBUTE_RANGE_SIZE, address) || piece + piece_bytes <= address)
      break;
    found = piece + piece_bytes - begin;
    // Only memory that is mapped piece by piece is neither of `cudaMalloc` nor of a pool
    int is_of_malloc = 0;
    CUmemoryPool pool = nullptr;
    if (!get(&is_of_malloc, CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE, address) || is_of_malloc != 0 ||
        (get(&pool, CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, address) && pool != nullptr))
      break;
  }
  return std::min(found, wanted);
}

}  // namespace dispatch_layout
