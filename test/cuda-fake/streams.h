// Streams, events and captures. A stream is a thread that executes a queue. Whatever the order of work needs is
// recorded when the work is queued, under one mutex, so a task waits only for tasks that were queued before it.
#pragma once

#include <cuda_runtime_api.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "devices.h"

namespace fake_cuda {

constexpr int kLeastPriority = 0, kGreatestPriority = -5;

using Task = std::function<void()>;

// Whether a point in the work of a stream was reached
class State {
 public:
  void finish();
  void wait();
  bool is_done();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_done_ = false;
};
using StatePtr = std::shared_ptr<State>;

// The thread of a stream outlives the stream until its queue is empty, as the work of a real stream does
class Queue {
 public:
  static std::shared_ptr<Queue> start();
  void push(Task task);
  StatePtr record();
  bool is_idle();
  // Ends the thread when everything is done
  void end();

 private:
  static void run(const std::shared_ptr<Queue>& queue);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  bool is_busy_ = false, is_ending_ = false;
};
using QueuePtr = std::shared_ptr<Queue>;

// Work that is recorded and not executed
struct Capture {
  struct Node {
    Task task;
    std::set<size_t> dependencies;
  };
  unsigned long long id = 0;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread;         // The thread that began it
  CUstream_st* origin = nullptr;  // The stream on which it began
  // For each stream that takes part, the nodes that its next node depends on
  std::map<CUstream_st*, std::set<size_t>> streams;
  std::vector<Node> nodes;
  CUgraph_st* graph = nullptr;  // Belongs to whoever ends the capture
  // The scratch memory of the kernels, for as long as the capture lasts, and then as the graph exists
  std::shared_ptr<std::set<const void*>> scratch = std::make_shared<std::set<const void*>>();
  bool is_invalidated = false, is_ended = false;
};
using CapturePtr = std::shared_ptr<Capture>;

// Guards streams, events and captures, and is held while work is queued. Nobody waits for work while holding it
extern std::mutex api_mutex;

}  // namespace fake_cuda

struct CUstream_st {
  const int device;
  const bool is_legacy, is_blocking;
  const int priority;
  const fake_cuda::QueuePtr queue = fake_cuda::Queue::start();
  fake_cuda::CapturePtr capture = nullptr;  // Null if the stream is not capturing

  // The order of the legacy stream and the blocking ones. The former counts its tasks. The latter know how many of
  // these they wait for, and whether they have work that the legacy stream does not wait for yet
  uint64_t num_legacy_tasks = 0;
  bool has_new_work = false;

  // A new stream gets the handle of the stream that was destroyed last
  static void* operator new(size_t bytes);
  static void operator delete(void* handle);
};

namespace fake_cuda {

// These functions need `api_mutex`.

// Returns null for a handle that is not, or no longer, that of a stream
CUstream_st* find_stream(cudaStream_t handle, int device);
// Queues a task on a stream that is not capturing, behind all that it must wait for
void enqueue(CUstream_st& stream, Task task);
// Queues a task, or captures it
cudaError_t submit(CUstream_st& stream, Task task);
// Refuses work on the legacy stream of a device on which a blocking stream captures, and invalidates the capture
cudaError_t refuse_implicit_dependency(const CUstream_st& stream);
// Refuses a call that may be unsafe during a capture, according to the mode of this thread, and invalidates the capture
cudaError_t refuse_unsafe_call();
void invalidate(const CapturePtr& capture);
// Must be called with the scratch memory of each kernel. Ends the process if a graph, or another graph, has a kernel with
// the same memory, since it may be replayed while this kernel runs
void use_scratch(const CUstream_st& stream, const void* scratch);

// Runs a function of the runtime that uses a stream: `body` is given the stream and the current device
template <typename Body>
cudaError_t call_on_stream(cudaError_t injected, cudaStream_t handle, const Body& body) {
  return call_in_context(injected, [&](int device) {
    const std::lock_guard<std::mutex> lock(api_mutex);
    CUstream_st* stream = find_stream(handle, device);
    return stream == nullptr ? cudaErrorInvalidResourceHandle : body(*stream, device);
  });
}

}  // namespace fake_cuda
