// A CUDA runtime whose every call returns at once and does nothing: what a call of the library then takes is the time
// of JavaScript, of Node-API and of the addon alone. Only layouts of up to 8 tokens are computed, on the CPU, so that
// the self-check passes. The types are those of the fake runtime in `test/cuda-fake`.
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <cstring>

#include "../../cuda/kernel/dispatch_layout.h"
#include "../../cuda/kernel/permutation.h"

extern "C" int fake_launch_layout(const void* arguments);

struct CUstream_st {};
struct CUevent_st {};
struct CUmemPool_st {};
struct CUctx_st {};

namespace {

CUctx_st context;

void* take(size_t bytes, size_t alignment) {
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

CUresult retain_context(CUcontext* result, CUdevice) { return *result = &context, CUDA_SUCCESS; }
CUresult push_context(CUcontext) { return CUDA_SUCCESS; }
CUresult pop_context(CUcontext* result) { return *result = &context, CUDA_SUCCESS; }
CUresult get_current(CUcontext* result) { return *result = &context, CUDA_SUCCESS; }
CUresult get_device(CUdevice* device) { return *device = 0, CUDA_SUCCESS; }
CUresult get_context_of_stream(CUstream, CUcontext* result) { return *result = &context, CUDA_SUCCESS; }
CUresult get_pointer_attribute(void*, CUpointer_attribute, CUdeviceptr) { return CUDA_SUCCESS; }

}  // namespace

extern "C" {
cudaError_t cudaDriverGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::strcpy(properties->name, "a runtime that does nothing");
  properties->totalGlobalMem = size_t{8} << 30;
  properties->major = 9, properties->minor = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) { return *value = 1, cudaSuccess; }
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return *least = 0, *greatest = -5, cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorName(cudaError_t) { return "an error"; }
const char* cudaGetErrorString(cudaError_t) { return "an error"; }
cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned,
                                             unsigned long long, cudaDriverEntryPointQueryResult*) {
  const auto is = [&](const char* name) { return std::strcmp(symbol, name) == 0; };
  *function = is("cuDevicePrimaryCtxRetain") ? reinterpret_cast<void*>(retain_context)
              : is("cuCtxPushCurrent")       ? reinterpret_cast<void*>(push_context)
              : is("cuCtxPopCurrent")        ? reinterpret_cast<void*>(pop_context)
              : is("cuCtxGetCurrent")        ? reinterpret_cast<void*>(get_current)
              : is("cuCtxGetDevice")         ? reinterpret_cast<void*>(get_device)
              : is("cuStreamGetCtx")         ? reinterpret_cast<void*>(get_context_of_stream)
                                             : reinterpret_cast<void*>(get_pointer_attribute);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return *stream = new CUstream_st, cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  return *stream = new CUstream_st, cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return delete stream, cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  return *status = cudaStreamCaptureStatusNone, cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t, cudaStreamCaptureStatus*, unsigned long long*,
                                     cudaGraph_t*, const cudaGraphNode_t**, const cudaGraphEdgeData**,
                                     size_t*) {
  return cudaSuccess;
}
cudaError_t cudaUserObjectCreate(cudaUserObject_t*, void*, cudaHostFn_t, unsigned, unsigned) {
  return cudaSuccess;
}
cudaError_t cudaUserObjectRelease(cudaUserObject_t, unsigned) { return cudaSuccess; }
cudaError_t cudaGraphRetainUserObject(cudaGraph_t, cudaUserObject_t, unsigned, unsigned) {
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*) { return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return *event = new CUevent_st, cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaLaunchHostFunc(cudaStream_t, cudaHostFn_t function, void* data) {
  return function(data), cudaSuccess;
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps*) {
  return *pool = new CUmemPool_st, cudaSuccess;
}
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) { return delete pool, cudaSuccess; }
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }
cudaError_t cudaMallocFromPoolAsync(void** pointer, size_t bytes, cudaMemPool_t, cudaStream_t) {
  return *pointer = take(bytes, 256), cudaSuccess;
}
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) { return std::free(pointer), cudaSuccess; }
cudaError_t cudaMalloc(void** pointer, size_t bytes) { return *pointer = take(bytes, 256), cudaSuccess; }
cudaError_t cudaFree(void* pointer) { return std::free(pointer), cudaSuccess; }
cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  return *pointer = take(bytes, 4096), cudaSuccess;
}
cudaError_t cudaFreeHost(void* pointer) { return std::free(pointer), cudaSuccess; }
cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  return std::memcpy(target, source, bytes), cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t) {
  return std::memset(target, value, bytes), cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void*) {
  return attributes->type = cudaMemoryTypeDevice, attributes->device = 0, cudaSuccess;
}
cudaError_t cudaIpcGetMemHandle(cudaIpcMemHandle_t*, void*) { return cudaSuccess; }
cudaError_t cudaIpcOpenMemHandle(void**, cudaIpcMemHandle_t, unsigned) { return cudaSuccess; }
cudaError_t cudaIpcCloseMemHandle(void*) { return cudaSuccess; }
}

namespace dispatch_layout {
namespace {

// Reports that all ids are valid
cudaError_t report_nothing(const Report& report) {
  if (report.place != nullptr) report.place->status = 2 * report.number;
  return cudaSuccess;
}

}  // namespace

cudaError_t launch_dispatch_layout(const DispatchLayoutArguments& arguments, cudaStream_t) {
  if (arguments.num_tokens <= 8)
    return fake_launch_layout(&arguments) == 0 ? cudaSuccess : cudaErrorInvalidValue;
  return report_nothing(arguments.report);
}

cudaError_t launch_permutation(const ExpertPermutationArguments& arguments, cudaStream_t) {
  return report_nothing(arguments.report);
}

cudaError_t launch_permutation(const RankPermutationArguments& arguments, cudaStream_t) {
  return report_nothing(arguments.report);
}

}  // namespace dispatch_layout
