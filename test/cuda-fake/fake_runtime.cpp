// A fake CUDA runtime on the CPU, so that the addon and everything above it run, unchanged, on a machine without a GPU.
//
// Every stream is a thread that executes a queue, so that work which is not ordered by events really runs in any order.
// Device memory is host memory. Freed memory is overwritten, in the order of its stream, so that a later use is
// noticed.
//
// Faults and the properties of the driver come from the environment, which is read at every call:
//   FAKE_CUDA_DRIVER=12040       the version of the driver; 0 means that there is none
//   FAKE_CUDA_DEVICES=0          the number of GPUs
//   FAKE_CUDA_CAPABILITY=61      the compute capability, times ten
//   FAKE_CUDA_FAULT=cudaMallocFromPoolAsync=2@3   the third call from now on, and those after it, return error 2. With
//                                "!", only that call does. With "*", the error is sticky: from then on, every call of
//                                any function returns it. "any" stands for every function, until the setting is removed
//   FAKE_CUDA_POINTER_DEVICE=1   the GPU to which all memory belongs; the current GPU is 0
//   FAKE_CUDA_SLOW=20            the least time that a kernel takes, in milliseconds
//   FAKE_CUDA_WRONG=1            every kernel counts one token too many
//   FAKE_CUDA_REPORT=1           writes to stderr what was not released when the process ends
#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "../../cuda/kernel/dispatch_layout.h"

extern "C" int fake_launch_kernel(const void* arguments);

namespace {

std::mutex global_mutex;
std::atomic<int> sticky{0};
std::string armed_fault;
int calls_until_fault = 0;

int number(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == 0 ? otherwise : std::atoi(text);
}

// The fault that a call must return, or cudaSuccess.
cudaError_t fault(const char* function) {
  if (sticky != 0) return static_cast<cudaError_t>(sticky.load());
  const char* text = std::getenv("FAKE_CUDA_FAULT");
  const std::lock_guard<std::mutex> lock(global_mutex);
  const std::string setting = text == nullptr ? "" : text;
  if (setting != armed_fault) {
    armed_fault = setting;
    const size_t at = setting.find('@');
    calls_until_fault = at == std::string::npos ? 1 : std::atoi(setting.c_str() + at + 1);
  }
  const size_t equals = setting.find('=');
  const std::string name = setting.substr(0, equals);
  if (name.empty() || (name != function && name != "any")) return cudaSuccess;
  if (--calls_until_fault > 0) return cudaSuccess;
  const auto code = static_cast<cudaError_t>(std::atoi(setting.c_str() + equals + 1));
  if (setting.find('!') != std::string::npos && calls_until_fault < 0) return cudaSuccess;
  if (setting.find('*') != std::string::npos) sticky = code;
  return code;
}

struct Live {
  std::atomic<int> streams{0}, events{0}, pools{0}, pinned{0};
  std::map<void*, size_t> memory;
};
// This is never destroyed: if nobody waits for the streams, they are still working when the process ends.
Live& live = *new Live;

struct Report {
  ~Report() {
    if (std::getenv("FAKE_CUDA_REPORT") == nullptr) return;
    const std::lock_guard<std::mutex> lock(global_mutex);
    std::fprintf(stderr, "fake CUDA: live streams %d, events %d, pools %d, pinned %d, allocations %zu\n",
                 live.streams.load(), live.events.load(), live.pools.load(), live.pinned.load(),
                 live.memory.size());
  }
} report;

struct State {
  std::mutex mutex;
  std::condition_variable changed;
  bool is_done = false;

  void finish() {
    const std::lock_guard<std::mutex> lock(mutex);
    is_done = true;
    changed.notify_all();
  }
  void wait() {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [&] { return is_done; });
  }
  bool query() {
    const std::lock_guard<std::mutex> lock(mutex);
    return is_done;
  }
};
using StatePtr = std::shared_ptr<State>;

struct Queue {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> tasks;
  bool is_busy = false, is_ending = false;
};

}  // namespace

struct CUstream_st {
  // The thread outlives the stream until its queue is empty, as the work of a real stream does.
  std::shared_ptr<Queue> queue = std::make_shared<Queue>();

  CUstream_st() {
    std::thread([queue = queue] {
      std::unique_lock<std::mutex> lock(queue->mutex);
      for (;;) {
        queue->changed.wait(lock, [&] { return !queue->tasks.empty() || queue->is_ending; });
        if (queue->tasks.empty()) return;
        const auto task = std::move(queue->tasks.front());
        queue->tasks.pop_front();
        lock.unlock();
        task();
        lock.lock();
      }
    }).detach();
  }
  ~CUstream_st() {
    const std::lock_guard<std::mutex> lock(queue->mutex);
    queue->is_ending = true;
    queue->changed.notify_all();
  }
  void push(std::function<void()> task) {
    const std::lock_guard<std::mutex> lock(queue->mutex);
    queue->tasks.push_back(std::move(task));
    queue->changed.notify_all();
  }
  StatePtr record() {
    const auto state = std::make_shared<State>();
    push([state] { state->finish(); });
    return state;
  }
};
struct CUevent_st {
  StatePtr state;
};
struct CUmemPool_st {};

namespace {

CUstream_st& stream_of(cudaStream_t stream) {
  static auto* default_stream = new CUstream_st;
  return stream == nullptr ? *default_stream : *stream;
}

void* take_memory(size_t bytes) {
  void* pointer = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(pointer, 0xcd, bytes);
  const std::lock_guard<std::mutex> lock(global_mutex);
  live.memory[pointer] = bytes;
  return pointer;
}

void give_memory(void* pointer) {
  size_t bytes = 0;
  {
    const std::lock_guard<std::mutex> lock(global_mutex);
    const auto found = live.memory.find(pointer);
    if (found == live.memory.end()) {
      std::fprintf(stderr, "fake CUDA: memory was freed that was freed before or never allocated\n");
      std::abort();
    }
    bytes = found->second;
    live.memory.erase(found);
  }
  std::memset(pointer, 0xdd, bytes);
  std::free(pointer);
}

}  // namespace

#define RETURN_FAULT()                            \
  do {                                            \
    const cudaError_t injected = fault(__func__); \
    if (injected != cudaSuccess) return injected; \
  } while (false)

extern "C" {

cudaError_t cudaDriverGetVersion(int* version) {
  *version = number("FAKE_CUDA_DRIVER", 13000);
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  RETURN_FAULT();
  *count = 0;
  if (number("FAKE_CUDA_DRIVER", 13000) < 13000) return cudaErrorInsufficientDriver;
  *count = number("FAKE_CUDA_DEVICES", 1);
  return *count == 0 ? cudaErrorNoDevice : cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  RETURN_FAULT();
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  RETURN_FAULT();
  std::strcpy(properties->name, "fake GPU");
  properties->totalGlobalMem = size_t{8} << 30;
  properties->major = number("FAKE_CUDA_CAPABILITY", 90) / 10;
  properties->minor = number("FAKE_CUDA_CAPABILITY", 90) % 10;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  RETURN_FAULT();
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return static_cast<cudaError_t>(sticky.load()); }
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle: return "cudaErrorInvalidResourceHandle";
    case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
    case cudaErrorLaunchOutOfResources: return "cudaErrorLaunchOutOfResources";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
    default: return "cudaErrorUnknown";
  }
}
// These are CUDA's own words, which the documentation shows.
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorLaunchOutOfResources: return "too many resources requested for launch";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
    default: return "a fake failure";
  }
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  RETURN_FAULT();
  *stream = new CUstream_st;
  ++live.streams;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  --live.streams;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  RETURN_FAULT();
  stream_of(stream).record()->wait();
  return static_cast<cudaError_t>(sticky.load());
}
cudaError_t cudaStreamQuery(cudaStream_t) {
  RETURN_FAULT();
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  RETURN_FAULT();
  stream_of(stream).push([state = event->state] { state->wait(); });
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  RETURN_FAULT();
  *event = new CUevent_st;
  ++live.events;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  --live.events;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  RETURN_FAULT();
  event->state = stream_of(stream).record();
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  RETURN_FAULT();
  return event->state->query() ? static_cast<cudaError_t>(sticky.load()) : cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  RETURN_FAULT();
  event->state->wait();
  return static_cast<cudaError_t>(sticky.load());
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps*) {
  RETURN_FAULT();
  *pool = new CUmemPool_st;
  ++live.pools;
  return cudaSuccess;
}
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  delete pool;
  --live.pools;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }
cudaError_t cudaMallocFromPoolAsync(void** pointer, size_t bytes, cudaMemPool_t, cudaStream_t) {
  RETURN_FAULT();
  if (bytes > size_t{8} << 30) return cudaErrorMemoryAllocation;
  *pointer = take_memory(bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream) {
  stream_of(stream).push([pointer] { give_memory(pointer); });
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  RETURN_FAULT();
  *pointer = take_memory(bytes);
  return cudaSuccess;
}
cudaError_t cudaFree(void* pointer) {
  give_memory(pointer);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  RETURN_FAULT();
  *pointer = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  std::memset(*pointer, 0xcd, bytes);
  ++live.pinned;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* pointer) {
  // With a lost context, nobody waits for the kernels, and here a kernel may still be writing.
  if (sticky == 0) std::free(pointer);
  --live.pinned;
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  RETURN_FAULT();
  stream_of(stream).push([=] { std::memcpy(target, source, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t stream) {
  RETURN_FAULT();
  stream_of(stream).push([=] { std::memset(target, value, bytes); });
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  RETURN_FAULT();
  const std::lock_guard<std::mutex> lock(global_mutex);
  auto after = live.memory.upper_bound(const_cast<void*>(pointer));
  const bool is_known = after != live.memory.begin() &&
                        static_cast<const char*>(pointer) <
                            static_cast<const char*>(std::prev(after)->first) + std::prev(after)->second;
  attributes->type = is_known ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered;
  attributes->device = number("FAKE_CUDA_POINTER_DEVICE", 0);
  return cudaSuccess;
}
// These work within one process, which the real functions do not allow.
cudaError_t cudaIpcGetMemHandle(cudaIpcMemHandle_t* handle, void* pointer) {
  RETURN_FAULT();
  std::memset(handle, 0, sizeof(*handle));
  std::memcpy(handle, &pointer, sizeof(pointer));
  return cudaSuccess;
}
cudaError_t cudaIpcOpenMemHandle(void** pointer, cudaIpcMemHandle_t handle, unsigned) {
  RETURN_FAULT();
  std::memcpy(pointer, &handle, sizeof(*pointer));
  return cudaSuccess;
}
cudaError_t cudaIpcCloseMemHandle(void*) { return cudaSuccess; }
}

namespace dispatch_layout {

cudaError_t launch_dispatch_layout(const DispatchLayoutArguments& arguments, cudaStream_t stream) {
  const cudaError_t injected = fault("cudaLaunchKernelExC");
  if (injected != cudaSuccess) return injected;
  stream_of(stream).push([arguments] {
    // Kernels of several streams take turns, since the shim runs one at a time.
    static std::mutex mutex;
    const std::lock_guard<std::mutex> lock(mutex);
    std::this_thread::sleep_for(std::chrono::milliseconds(number("FAKE_CUDA_SLOW", 0)));
    // With the real runtime, the call returns the error of the launcher. Here the call has returned already, so the
    // process stops.
    if (fake_launch_kernel(&arguments) != 0) std::abort();
    if (number("FAKE_CUDA_WRONG", 0) != 0) ++arguments.num_tokens_per_rank[0];
  });
  return cudaSuccess;
}

}  // namespace dispatch_layout
