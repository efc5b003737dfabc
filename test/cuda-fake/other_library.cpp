// Another library in the process that uses the same CUDA runtime, for tests of what the addon does to others and they
// do to it. It uses only the runtime, under its real names, so it can be built with the fake runtime and with CUDA.
//
// Handles and pointers are bigints. A call that fails throws an Error whose message is CUDA's name of the error, a
// colon and the name of the function.
#include <cuda_runtime_api.h>
#include <napi.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>

namespace {

using Info = const Napi::CallbackInfo&;

void check(Napi::Env env, cudaError_t error, const char* function) {
  if (error == cudaSuccess) return;
  cudaGetLastError();
  throw Napi::Error::New(env, std::string(cudaGetErrorName(error)) + ": " + function);
}
#define CALL(function, ...) check(info.Env(), function(__VA_ARGS__), #function)

template <typename Handle>
Handle handle(Info info, size_t index) {
  bool is_lossless = false;
  const uint64_t bits = info[index].As<Napi::BigInt>().Uint64Value(&is_lossless);
  return reinterpret_cast<Handle>(static_cast<uintptr_t>(bits));
}

Napi::Value to_bigint(Info info, const void* pointer) {
  return Napi::BigInt::New(info.Env(), static_cast<uint64_t>(reinterpret_cast<uintptr_t>(pointer)));
}

int64_t integer(Info info, size_t index) { return info[index].As<Napi::Number>().Int64Value(); }

struct Bytes {
  uint8_t* data;
  size_t length;
};
Bytes bytes_of(Info info, size_t index) {
  const auto array = info[index].As<Napi::TypedArray>();
  return {static_cast<uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset(), array.ByteLength()};
}

cudaStreamCaptureMode capture_mode(Info info, size_t index) {
  const std::string name = info[index].As<Napi::String>();
  if (name == "global") return cudaStreamCaptureModeGlobal;
  if (name == "threadLocal") return cudaStreamCaptureModeThreadLocal;
  if (name == "relaxed") return cudaStreamCaptureModeRelaxed;
  throw Napi::TypeError::New(info.Env(), "the mode is global, threadLocal or relaxed");
}

// --- Devices and errors ---
Napi::Value get_device(Info info) {
  int device = 0;
  CALL(cudaGetDevice, &device);
  return Napi::Number::New(info.Env(), device);
}
void set_device(Info info) { CALL(cudaSetDevice, static_cast<int>(integer(info, 0))); }
// Returns the name of the error that the last failed call of this thread left behind, and forgets it
Napi::Value get_last_error(Info info) {
  return Napi::String::New(info.Env(), cudaGetErrorName(cudaGetLastError()));
}

// --- Streams and events ---
// Takes (isBlocking): whether the stream is ordered with the legacy stream
Napi::Value create_stream(Info info) {
  cudaStream_t stream = nullptr;
  const bool is_blocking = info[0].As<Napi::Boolean>();
  CALL(cudaStreamCreateWithFlags, &stream, is_blocking ? cudaStreamDefault : cudaStreamNonBlocking);
  return to_bigint(info, stream);
}
void destroy_stream(Info info) { CALL(cudaStreamDestroy, handle<cudaStream_t>(info, 0)); }
void synchronize_stream(Info info) { CALL(cudaStreamSynchronize, handle<cudaStream_t>(info, 0)); }
void synchronize_device(Info info) { CALL(cudaDeviceSynchronize); }
Napi::Value is_stream_done(Info info) {
  const cudaError_t error = cudaStreamQuery(handle<cudaStream_t>(info, 0));
  if (error != cudaErrorNotReady) check(info.Env(), error, "cudaStreamQuery");
  cudaGetLastError();
  return Napi::Boolean::New(info.Env(), error == cudaSuccess);
}
Napi::Value create_event(Info info) {
  cudaEvent_t event = nullptr;
  CALL(cudaEventCreateWithFlags, &event, cudaEventDisableTiming);
  return to_bigint(info, event);
}
void destroy_event(Info info) { CALL(cudaEventDestroy, handle<cudaEvent_t>(info, 0)); }
// Takes (event, stream)
void record_event(Info info) {
  CALL(cudaEventRecord, handle<cudaEvent_t>(info, 0), handle<cudaStream_t>(info, 1));
}
// Takes (stream, event)
void wait_for_event(Info info) {
  CALL(cudaStreamWaitEvent, handle<cudaStream_t>(info, 0), handle<cudaEvent_t>(info, 1), 0);
}
void synchronize_event(Info info) { CALL(cudaEventSynchronize, handle<cudaEvent_t>(info, 0)); }
Napi::Value is_event_done(Info info) {
  const cudaError_t error = cudaEventQuery(handle<cudaEvent_t>(info, 0));
  if (error != cudaErrorNotReady) check(info.Env(), error, "cudaEventQuery");
  cudaGetLastError();
  return Napi::Boolean::New(info.Env(), error == cudaSuccess);
}
// Takes (stream, milliseconds), and keeps the stream busy for that time
void sleep_on_stream(Info info) {
  const auto sleep = [](void* data) {
    std::this_thread::sleep_for(std::chrono::milliseconds(reinterpret_cast<intptr_t>(data)));
  };
  CALL(cudaLaunchHostFunc, handle<cudaStream_t>(info, 0), sleep,
       reinterpret_cast<void*>(static_cast<intptr_t>(integer(info, 1))));
}

// --- Captures and graphs ---
// Takes (stream, mode)
void begin_capture(Info info) {
  CALL(cudaStreamBeginCapture, handle<cudaStream_t>(info, 0), capture_mode(info, 1));
}
Napi::Value capture_status(Info info) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  CALL(cudaStreamIsCapturing, handle<cudaStream_t>(info, 0), &status);
  return Napi::String::New(info.Env(), status == cudaStreamCaptureStatusNone     ? "none"
                                       : status == cudaStreamCaptureStatusActive ? "active"
                                                                                 : "invalidated");
}
// Returns a graph that can be launched
Napi::Value end_capture(Info info) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  CALL(cudaStreamEndCapture, handle<cudaStream_t>(info, 0), &graph);
  const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
  CALL(cudaGraphDestroy, graph);
  check(info.Env(), error, "cudaGraphInstantiate");
  return to_bigint(info, executable);
}
// Takes (graph, stream)
void launch_graph(Info info) {
  CALL(cudaGraphLaunch, handle<cudaGraphExec_t>(info, 0), handle<cudaStream_t>(info, 1));
}
void destroy_graph(Info info) { CALL(cudaGraphExecDestroy, handle<cudaGraphExec_t>(info, 0)); }
// Sets the mode of this thread
void set_capture_mode(Info info) {
  cudaStreamCaptureMode mode = capture_mode(info, 0);
  CALL(cudaThreadExchangeStreamCaptureMode, &mode);
}

// --- Memory ---
Napi::Value allocate(Info info) {
  void* pointer = nullptr;
  CALL(cudaMalloc, &pointer, static_cast<size_t>(integer(info, 0)));
  return to_bigint(info, pointer);
}
void release(Info info) { CALL(cudaFree, handle<void*>(info, 0)); }
Napi::Value allocate_pinned(Info info) {
  void* pointer = nullptr;
  CALL(cudaHostAlloc, &pointer, static_cast<size_t>(integer(info, 0)), cudaHostAllocDefault);
  return to_bigint(info, pointer);
}
void release_pinned(Info info) { CALL(cudaFreeHost, handle<void*>(info, 0)); }
// A pool of the current device
Napi::Value create_pool(Info info) {
  cudaMemPool_t pool = nullptr;
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  CALL(cudaGetDevice, &properties.location.id);
  CALL(cudaMemPoolCreate, &pool, &properties);
  return to_bigint(info, pool);
}
void destroy_pool(Info info) { CALL(cudaMemPoolDestroy, handle<cudaMemPool_t>(info, 0)); }
// Takes (pool, bytes, stream)
Napi::Value allocate_from_pool(Info info) {
  void* pointer = nullptr;
  CALL(cudaMallocFromPoolAsync, &pointer, static_cast<size_t>(integer(info, 1)),
       handle<cudaMemPool_t>(info, 0), handle<cudaStream_t>(info, 2));
  return to_bigint(info, pointer);
}
// Takes (pointer, stream)
void release_on_stream(Info info) {
  CALL(cudaFreeAsync, handle<void*>(info, 0), handle<cudaStream_t>(info, 1));
}
// Takes (pointer, typed array)
void write(Info info) {
  const Bytes source = bytes_of(info, 1);
  CALL(cudaMemcpy, handle<void*>(info, 0), source.data, source.length, cudaMemcpyHostToDevice);
}
// Takes (pointer, typed array)
void read(Info info) {
  const Bytes target = bytes_of(info, 1);
  CALL(cudaMemcpy, target.data, handle<void*>(info, 0), target.length, cudaMemcpyDeviceToHost);
}
// Takes (target, source, bytes, stream), and can be captured
void copy_on_stream(Info info) {
  CALL(cudaMemcpyAsync, handle<void*>(info, 0), handle<void*>(info, 1), static_cast<size_t>(integer(info, 2)),
       cudaMemcpyDeviceToDevice, handle<cudaStream_t>(info, 3));
}
Napi::Value ipc_handle(Info info) {
  cudaIpcMemHandle_t ipc;
  CALL(cudaIpcGetMemHandle, &ipc, handle<void*>(info, 0));
  auto bytes = Napi::Uint8Array::New(info.Env(), sizeof(ipc));
  std::memcpy(bytes.Data(), &ipc, sizeof(ipc));
  return bytes;
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
#define EXPORT(name, function) exports[name] = Napi::Function::New<function>(env, name)
  EXPORT("getDevice", get_device);
  EXPORT("setDevice", set_device);
  EXPORT("getLastError", get_last_error);
  EXPORT("createStream", create_stream);
  EXPORT("destroyStream", destroy_stream);
  EXPORT("synchronizeStream", synchronize_stream);
  EXPORT("synchronizeDevice", synchronize_device);
  EXPORT("isStreamDone", is_stream_done);
  EXPORT("createEvent", create_event);
  EXPORT("destroyEvent", destroy_event);
  EXPORT("recordEvent", record_event);
  EXPORT("waitForEvent", wait_for_event);
  EXPORT("synchronizeEvent", synchronize_event);
  EXPORT("isEventDone", is_event_done);
  EXPORT("sleepOnStream", sleep_on_stream);
  EXPORT("beginCapture", begin_capture);
  EXPORT("captureStatus", capture_status);
  EXPORT("endCapture", end_capture);
  EXPORT("launchGraph", launch_graph);
  EXPORT("destroyGraph", destroy_graph);
  EXPORT("setCaptureMode", set_capture_mode);
  EXPORT("malloc", allocate);
  EXPORT("free", release);
  EXPORT("mallocPinned", allocate_pinned);
  EXPORT("freePinned", release_pinned);
  EXPORT("createPool", create_pool);
  EXPORT("destroyPool", destroy_pool);
  EXPORT("mallocFromPool", allocate_from_pool);
  EXPORT("freeOnStream", release_on_stream);
  EXPORT("write", write);
  EXPORT("read", read);
  EXPORT("copyOnStream", copy_on_stream);
  EXPORT("ipcHandle", ipc_handle);
#undef EXPORT
  return exports;
}

}  // namespace

NODE_API_MODULE(other_library, initialize)
