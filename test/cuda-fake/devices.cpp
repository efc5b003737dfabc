#include "devices.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>

#include "memory.h"
#include "streams.h"

namespace fake_cuda {
namespace {

constexpr int kMaxDevices = 64;
// By default, the driver is as new as the runtime
int runtime_version() { return number("FAKE_CUDA_RUNTIME", CUDART_VERSION); }
int driver_version() { return number("FAKE_CUDA_DRIVER", runtime_version()); }

std::mutex contexts_mutex;

CUctx_st& primary_context(int device) {
  static auto& contexts = *[] {
    auto* all = new std::array<CUctx_st, kMaxDevices>;
    for (int each = 0; each < kMaxDevices; ++each) (*all)[each].device = each;
    return all;
  }();
  return contexts[device];
}

CUcontext use_primary_context(int device) {
  const std::lock_guard<std::mutex> lock(contexts_mutex);
  CUctx_st& context = primary_context(device);
  context.is_used_by_runtime = true;
  counters.contexts |= uint64_t{1} << device;
  return &context;
}

void set_current(CUcontext context) {
  std::vector<CUcontext>& contexts = this_thread().contexts;
  if (!contexts.empty()) contexts.pop_back();
  if (context != nullptr) contexts.push_back(context);
}

}  // namespace

ThreadState& this_thread() {
  thread_local ThreadState state;
  return state;
}

cudaError_t driver_obstacle() {
  // Within a major version, an older driver serves a newer runtime
  if (driver_version() / 1000 < runtime_version() / 1000) return cudaErrorInsufficientDriver;
  return number("FAKE_CUDA_DEVICES", 1) <= 0 ? cudaErrorNoDevice : cudaSuccess;
}

cudaError_t device_obstacle(int device) {
  const cudaError_t error = driver_obstacle();
  if (error != cudaSuccess) return error;
  const int num_devices = std::min(number("FAKE_CUDA_DEVICES", 1), kMaxDevices);
  return device < 0 || device >= num_devices ? cudaErrorInvalidDevice : cudaSuccess;
}

cudaError_t enter_context(int* device) {
  ThreadState& thread = this_thread();
  if (thread.contexts.empty()) {
    const cudaError_t error = device_obstacle(thread.selected_device);
    if (error != cudaSuccess) return error;
    set_current(use_primary_context(thread.selected_device));
  }
  *device = thread.contexts.back()->device;
  return cudaSuccess;
}

}  // namespace fake_cuda

using namespace fake_cuda;

extern "C" {

// --- The runtime ---
cudaError_t cudaDriverGetVersion(int* version) {
  *version = driver_version();
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = runtime_version();
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  return call(fault(__func__), [&] {
    const cudaError_t error = driver_obstacle();
    *count = error == cudaSuccess ? std::min(number("FAKE_CUDA_DEVICES", 1), kMaxDevices) : 0;
    return error;
  });
}
cudaError_t cudaGetDevice(int* device) {
  return call(fault(__func__), [&] {
    const ThreadState& thread = this_thread();
    *device = thread.contexts.empty() ? thread.selected_device : thread.contexts.back()->device;
    return cudaSuccess;
  });
}
cudaError_t cudaSetDevice(int device) {
  return call(fault(__func__), [&] {
    const cudaError_t error = device_obstacle(device);
    if (error != cudaSuccess) return error;
    this_thread().selected_device = device;
    set_current(use_primary_context(device));
    return cudaSuccess;
  });
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return call(fault(__func__), [&] {
    const cudaError_t error = device_obstacle(device);
    if (error != cudaSuccess) return error;
    if (number("FAKE_CUDA_BROKEN_DEVICE", -1) == device) return cudaErrorUnknown;
    *properties = {};
    const std::string name = item("FAKE_CUDA_NAMES", device, "fake GPU");
    std::strncpy(properties->name, name.c_str(), sizeof(properties->name) - 1);
    properties->totalGlobalMem = device_bytes();
    const int capability = std::atoi(item("FAKE_CUDA_CAPABILITY", device, "90").c_str());
    properties->major = capability / 10;
    properties->minor = capability % 10;
    return cudaSuccess;
  });
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return call(cudaSuccess, [&] {
    const cudaError_t error = device_obstacle(device);
    if (error != cudaSuccess) return error;
    const int capability = std::atoi(item("FAKE_CUDA_CAPABILITY", device, "90").c_str());
    switch (attribute) {
      case cudaDevAttrComputeCapabilityMajor: *value = capability / 10; break;
      case cudaDevAttrComputeCapabilityMinor: *value = capability % 10; break;
      case cudaDevAttrMemoryPoolsSupported: *value = has_pools() ? 1 : 0; break;
      default: *value = 1;
    }
    return cudaSuccess;
  });
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return call_in_context(fault(__func__), [&](int) {
    *least = kLeastPriority;
    *greatest = kGreatestPriority;
    return cudaSuccess;
  });
}
cudaError_t cudaGetLastError() {
  const cudaError_t error = std::exchange(this_thread().last_error, cudaSuccess);
  return sticky != 0 ? sticky_error() : error;
}
cudaError_t cudaPeekAtLastError() { return sticky != 0 ? sticky_error() : this_thread().last_error; }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define NAME(name) \
  case name: return #name;
    NAME(cudaSuccess)
    NAME(cudaErrorInvalidValue)
    NAME(cudaErrorMemoryAllocation)
    NAME(cudaErrorInitializationError)
    NAME(cudaErrorCudartUnloading)
    NAME(cudaErrorInsufficientDriver)
    NAME(cudaErrorDevicesUnavailable)
    NAME(cudaErrorNoDevice)
    NAME(cudaErrorInvalidDevice)
    NAME(cudaErrorDeviceUninitialized)
    NAME(cudaErrorECCUncorrectable)
    NAME(cudaErrorPeerAccessUnsupported)
    NAME(cudaErrorNvlinkUncorrectable)
    NAME(cudaErrorInvalidResourceHandle)
    NAME(cudaErrorIllegalState)
    NAME(cudaErrorSymbolNotFound)
    NAME(cudaErrorNotReady)
    NAME(cudaErrorIllegalAddress)
    NAME(cudaErrorLaunchOutOfResources)
    NAME(cudaErrorLaunchTimeout)
    NAME(cudaErrorContextIsDestroyed)
    NAME(cudaErrorAssert)
    NAME(cudaErrorHardwareStackError)
    NAME(cudaErrorIllegalInstruction)
    NAME(cudaErrorMisalignedAddress)
    NAME(cudaErrorInvalidAddressSpace)
    NAME(cudaErrorInvalidPc)
    NAME(cudaErrorLaunchFailure)
    NAME(cudaErrorNotPermitted)
    NAME(cudaErrorNotSupported)
    NAME(cudaErrorSystemNotReady)
    NAME(cudaErrorSystemDriverMismatch)
    NAME(cudaErrorMpsClientTerminated)
    NAME(cudaErrorStreamCaptureUnsupported)
    NAME(cudaErrorStreamCaptureInvalidated)
    NAME(cudaErrorStreamCaptureMerge)
    NAME(cudaErrorStreamCaptureUnmatched)
    NAME(cudaErrorStreamCaptureUnjoined)
    NAME(cudaErrorStreamCaptureIsolation)
    NAME(cudaErrorStreamCaptureImplicit)
    NAME(cudaErrorCapturedEvent)
    NAME(cudaErrorStreamCaptureWrongThread)
    NAME(cudaErrorExternalDevice)
#undef NAME
    default: return "cudaErrorUnknown";
  }
}
// These are CUDA's own words, some of which the documentation shows
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle: return "invalid resource handle";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorLaunchOutOfResources: return "too many resources requested for launch";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
    case cudaErrorNotSupported: return "operation not supported";
    case cudaErrorSystemNotReady: return "system not yet initialized";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    default: return "a fake failure";
  }
}

// --- The driver ---
CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  const auto injected = static_cast<CUresult>(named_fault(__func__));
  if (injected != CUDA_SUCCESS) return injected;
  const cudaError_t error = device_obstacle(device);
  if (error != cudaSuccess) return static_cast<CUresult>(error);
  const std::lock_guard<std::mutex> lock(contexts_mutex);
  *context = &primary_context(device);
  ++(*context)->num_retained;
  counters.contexts |= uint64_t{1} << device;
  return CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRelease(CUdevice device) {
  const auto injected = static_cast<CUresult>(named_fault(__func__));
  if (injected != CUDA_SUCCESS) return injected;
  if (device_obstacle(device) != cudaSuccess) return CUDA_ERROR_INVALID_DEVICE;
  const std::lock_guard<std::mutex> lock(contexts_mutex);
  CUctx_st& context = primary_context(device);
  if (context.num_retained == 0) return CUDA_ERROR_INVALID_CONTEXT;
  --context.num_retained;
  return CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned* flags, int* is_active) {
  const auto injected = static_cast<CUresult>(named_fault(__func__));
  if (injected != CUDA_SUCCESS) return injected;
  if (device_obstacle(device) != cudaSuccess) return CUDA_ERROR_INVALID_DEVICE;
  const std::lock_guard<std::mutex> lock(contexts_mutex);
  *flags = 0;
  *is_active = primary_context(device).is_active() ? 1 : 0;
  return CUDA_SUCCESS;
}
CUresult cuCtxPushCurrent(CUcontext context) {
  const auto injected = static_cast<CUresult>(named_fault(__func__));
  if (injected != CUDA_SUCCESS) return injected;
  if (context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  const std::lock_guard<std::mutex> lock(contexts_mutex);
  if (!context->is_active()) return CUDA_ERROR_INVALID_CONTEXT;
  this_thread().contexts.push_back(context);
  return CUDA_SUCCESS;
}
CUresult cuCtxPopCurrent(CUcontext* context) {
  const auto injected = static_cast<CUresult>(named_fault(__func__));
  if (injected != CUDA_SUCCESS) return injected;
  std::vector<CUcontext>& contexts = this_thread().contexts;
  if (contexts.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  if (context != nullptr) *context = contexts.back();
  contexts.pop_back();
  return CUDA_SUCCESS;
}
CUresult cuCtxGetCurrent(CUcontext* context) {
  const auto injected = static_cast<CUresult>(named_fault(__func__));
  if (injected != CUDA_SUCCESS) return injected;
  const std::vector<CUcontext>& contexts = this_thread().contexts;
  *context = contexts.empty() ? nullptr : contexts.back();
  return CUDA_SUCCESS;
}
CUresult cuCtxSetCurrent(CUcontext context) {
  const auto injected = static_cast<CUresult>(named_fault(__func__));
  if (injected != CUDA_SUCCESS) return injected;
  set_current(context);
  return CUDA_SUCCESS;
}
CUresult cuCtxGetDevice(CUdevice* device) {
  const auto injected = static_cast<CUresult>(named_fault(__func__));
  if (injected != CUDA_SUCCESS) return injected;
  const std::vector<CUcontext>& contexts = this_thread().contexts;
  if (contexts.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  *device = contexts.back()->device;
  return CUDA_SUCCESS;
}
CUresult cuStreamGetCtx(CUstream stream, CUcontext* context) {
  const auto injected = static_cast<CUresult>(named_fault(__func__));
  if (injected != CUDA_SUCCESS) return injected;
  const std::vector<CUcontext>& contexts = this_thread().contexts;
  if (contexts.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  const std::lock_guard<std::mutex> lock(api_mutex);
  const CUstream_st* found = find_stream(stream, contexts.back()->device);
  if (found == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  *context = &primary_context(found->device);
  return CUDA_SUCCESS;
}
CUresult cuPointerGetAttribute(void* value, CUpointer_attribute attribute, CUdeviceptr pointer) {
  const auto injected = static_cast<CUresult>(named_fault(__func__));
  if (injected != CUDA_SUCCESS) return injected;
  MemoryRange range;
  if (!find_memory(reinterpret_cast<const void*>(pointer), &range)) return CUDA_ERROR_INVALID_VALUE;
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: *static_cast<int*>(value) = range.device; break;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
      *static_cast<CUdeviceptr*>(value) = reinterpret_cast<CUdeviceptr>(range.base);
      break;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE: *static_cast<size_t*>(value) = range.bytes; break;
    // Memory in several pieces is like mapped memory, which is of neither kind
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
      *static_cast<int*>(value) = range.is_of_malloc && !range.is_in_pieces;
      break;
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
      // Not a real pool: it matters only whether there is one
      *static_cast<void**>(value) = range.is_of_malloc || range.is_pinned ? nullptr : value;
      break;
    default: return CUDA_ERROR_NOT_SUPPORTED;
  }
  return CUDA_SUCCESS;
}
CUresult cuMemGetAddressRange(CUdeviceptr* base, size_t* bytes, CUdeviceptr pointer) {
  const auto injected = static_cast<CUresult>(named_fault(__func__));
  if (injected != CUDA_SUCCESS) return injected;
  MemoryRange range;
  if (!find_memory(reinterpret_cast<const void*>(pointer), &range) || range.is_pinned)
    return CUDA_ERROR_NOT_FOUND;
  if (base != nullptr) *base = reinterpret_cast<CUdeviceptr>(range.base);
  if (bytes != nullptr) *bytes = range.bytes;
  return CUDA_SUCCESS;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned version,
                                             unsigned long long, cudaDriverEntryPointQueryResult* result) {
  return call(fault(__func__), [&] {
    static const std::pair<const char*, void*> kFunctions[] = {
#define FUNCTION(name) {#name, reinterpret_cast<void*>(name)}
        FUNCTION(cuDevicePrimaryCtxRetain),
        FUNCTION(cuDevicePrimaryCtxRelease),
        FUNCTION(cuDevicePrimaryCtxGetState),
        FUNCTION(cuCtxPushCurrent),
        FUNCTION(cuCtxPopCurrent),
        FUNCTION(cuCtxGetCurrent),
        FUNCTION(cuCtxSetCurrent),
        FUNCTION(cuCtxGetDevice),
        FUNCTION(cuStreamGetCtx),
        FUNCTION(cuPointerGetAttribute),
        FUNCTION(cuMemGetAddressRange),
#undef FUNCTION
    };
    *function = nullptr;
    if (driver_version() == 0) return cudaErrorInsufficientDriver;
    auto status = cudaDriverEntryPointSymbolNotFound;
    for (const auto& [name, pointer] : kFunctions) {
      if (std::strcmp(name, symbol) != 0) continue;
      const bool is_old = static_cast<int>(version) > driver_version();
      status = is_old ? cudaDriverEntryPointVersionNotSufficent : cudaDriverEntryPointSuccess;
      if (!is_old) *function = pointer;
    }
    if (result != nullptr) *result = status;
    return result == nullptr && *function == nullptr ? cudaErrorSymbolNotFound : cudaSuccess;
  });
}
cudaError_t cudaGetDriverEntryPoint(const char* symbol, void** function, unsigned long long flags,
                                    cudaDriverEntryPointQueryResult* result) {
  return cudaGetDriverEntryPointByVersion(symbol, function, 0, flags, result);
}
}
