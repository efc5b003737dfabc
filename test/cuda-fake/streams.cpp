#include "streams.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "memory.h"

struct CUevent_st {
  const int device;
  fake_cuda::StatePtr state;  // Null until it is recorded, which counts as done
  // If it was last recorded in a capture: the capture, and the nodes before the event
  fake_cuda::CapturePtr capture;
  std::set<size_t> nodes;
};
// The destroyer is called in another thread, as in CUDA, when the last graph that has the object is destroyed
struct CUuserObject_st {
  void* const data;
  const cudaHostFn_t destroy;

  ~CUuserObject_st() { std::thread(destroy, data).join(); }
};
using UserObjects = std::vector<std::shared_ptr<CUuserObject_st>>;
using Scratch = std::shared_ptr<const std::set<const void*>>;
struct CUgraph_st {
  std::shared_ptr<const std::vector<fake_cuda::Task>> tasks;
  UserObjects objects;
  Scratch scratch;
};
struct CUgraphExec_st {
  std::shared_ptr<const std::vector<fake_cuda::Task>> tasks;
  UserObjects objects;
  Scratch scratch;
  fake_cuda::StatePtr last_launch;  // Launches of one graph run one after the other
};

namespace fake_cuda {
namespace {

// What is left of a stream that was destroyed while it had work
struct EndedStream {
  int device;
  bool is_blocking;
  StatePtr done;
};

// These are never destroyed, since the streams work until the process is gone
std::set<CUstream_st*>& streams = *new std::set<CUstream_st*>;
std::set<CUstream_st*>& blocking_streams = *new std::set<CUstream_st*>;
std::map<int, CUstream_st*>& legacy_streams = *new std::map<int, CUstream_st*>;
std::vector<EndedStream>& ended_streams = *new std::vector<EndedStream>;
std::set<CUevent_st*>& events = *new std::set<CUevent_st*>;
std::set<CapturePtr>& captures = *new std::set<CapturePtr>;
std::vector<std::weak_ptr<const std::set<const void*>>>& captured_scratch =
    *new std::vector<std::weak_ptr<const std::set<const void*>>>;
unsigned long long num_captures = 0;

CUstream_st& legacy_stream(int device) {
  CUstream_st*& stream = legacy_streams[device];
  if (stream == nullptr) stream = new CUstream_st{device, true, false, kLeastPriority};
  return *stream;
}

// Records what the next task of a stream must wait for, because of the implicit order between the legacy stream of a
// device and its blocking streams
void order_with_legacy_stream(CUstream_st& stream) {
  const auto wait_for = [&](const StatePtr& state) { stream.queue->push([state] { state->wait(); }); };
  if (stream.is_legacy) {
    ++stream.num_legacy_tasks;
    for (CUstream_st* other : blocking_streams) {
      if (other->device != stream.device || !other->has_new_work) continue;
      wait_for(other->queue->record());
      other->has_new_work = false;
    }
    for (const EndedStream& ended : ended_streams)
      if (ended.device == stream.device && ended.is_blocking && !ended.done->is_done()) wait_for(ended.done);
  } else if (stream.is_blocking) {
    stream.has_new_work = true;
    const auto legacy = legacy_streams.find(stream.device);
    if (legacy == legacy_streams.end()) return;
    if (legacy->second->num_legacy_tasks == stream.num_legacy_tasks) return;
    stream.num_legacy_tasks = legacy->second->num_legacy_tasks;
    wait_for(legacy->second->queue->record());
  }
}

// Queues the end of everything that was queued on a stream so far
StatePtr record(CUstream_st& stream) {
  const auto state = std::make_shared<State>();
  enqueue(stream, [state] { state->finish(); });
  return state;
}

// The function that creates a stream, for any of the names under which it can be called
cudaError_t create_stream(cudaError_t injected, cudaStream_t* handle, unsigned flags, int priority) {
  return call_in_context(injected, [&](int device) {
    if (flags > cudaStreamNonBlocking) return cudaErrorInvalidValue;
    const std::lock_guard<std::mutex> lock(api_mutex);
    priority = std::clamp(priority, kGreatestPriority, kLeastPriority);
    *handle = new CUstream_st{device, false, flags == cudaStreamDefault, priority};
    streams.insert(*handle);
    if ((*handle)->is_blocking) blocking_streams.insert(*handle);
    if (priority < 0) {
      ++counters.high_priority_streams;
      ++counters.all_high_priority_streams;
    }
    counters.most_streams = std::max(counters.most_streams.load(), ++counters.streams);
    return cudaSuccess;
  });
}

// Ends a capture, for all streams that take part
void end_capture(const CapturePtr& capture) {
  capture->is_ended = true;
  capture->scratch = nullptr;
  for (const auto& [stream, nodes] : capture->streams) stream->capture = nullptr;
  capture->streams.clear();
  captures.erase(capture);
}

// Whether all nodes of a capture are among these or the ones they depend on
bool includes_all(const Capture& capture, const std::set<size_t>& nodes) {
  std::vector<size_t> left(nodes.begin(), nodes.end());
  std::set<size_t> found;
  while (!left.empty()) {
    const size_t node = left.back();
    left.pop_back();
    if (!found.insert(node).second) continue;
    left.insert(left.end(), capture.nodes[node].dependencies.begin(), capture.nodes[node].dependencies.end());
  }
  return found.size() == capture.nodes.size();
}

// Refuses to ask for, or to wait for, the work of a stream in a capture
cudaError_t refuse_waiting(const CUstream_st& stream) {
  const cudaError_t error = refuse_implicit_dependency(stream);
  if (error != cudaSuccess) return error;
  if (stream.capture == nullptr) return refuse_unsafe_call();
  invalidate(stream.capture);
  return cudaErrorStreamCaptureUnsupported;
}

cudaError_t refuse_waiting(const CUevent_st& event) {
  if (event.capture == nullptr) return refuse_unsafe_call();
  invalidate(event.capture);
  return cudaErrorCapturedEvent;
}

// Runs a function of the runtime that uses an event
template <typename Body>
cudaError_t call_on_event(cudaError_t injected, cudaEvent_t event, const Body& body) {
  return call_in_context(injected, [&](int) {
    const std::lock_guard<std::mutex> lock(api_mutex);
    return events.count(event) == 0 ? cudaErrorInvalidResourceHandle : body();
  });
}

// Waits for what a function of the runtime has recorded, unless it failed
template <typename States>
cudaError_t finish_waiting(cudaError_t error, const States& states) {
  if (error != cudaSuccess) return error;
  for (const StatePtr& state : states)
    if (state != nullptr) state->wait();
  return call(cudaSuccess, [] { return sticky_error(); });
}

// A stream that waits for an event of a capture takes part in the capture
cudaError_t join_capture(CUstream_st& stream, const CUevent_st& event) {
  const CapturePtr& capture = event.capture;
  if (capture->is_ended) {
    if (stream.capture == nullptr) return cudaErrorCapturedEvent;
    invalidate(stream.capture);
    return cudaErrorStreamCaptureIsolation;
  }
  if (capture->is_invalidated) return cudaErrorStreamCaptureInvalidated;
  if (stream.is_legacy) {
    invalidate(capture);
    return cudaErrorStreamCaptureImplicit;
  }
  if (stream.capture != nullptr && stream.capture != capture) {
    invalidate(capture);
    invalidate(stream.capture);
    return cudaErrorStreamCaptureMerge;
  }
  stream.capture = capture;
  capture->streams[&stream].insert(event.nodes.begin(), event.nodes.end());
  return cudaSuccess;
}

cudaError_t capture_status(const CUstream_st& stream, cudaStreamCaptureStatus* status,
                           unsigned long long* id) {
  if (stream.is_legacy)
    for (const CapturePtr& capture : captures)
      for (const auto& [other, nodes] : capture->streams)
        if (other->is_blocking && other->device == stream.device) return cudaErrorStreamCaptureImplicit;
  *status = stream.capture == nullptr        ? cudaStreamCaptureStatusNone
            : stream.capture->is_invalidated ? cudaStreamCaptureStatusInvalidated
                                             : cudaStreamCaptureStatusActive;
  if (id != nullptr && stream.capture != nullptr) *id = stream.capture->id;
  return cudaSuccess;
}

}  // namespace

std::mutex api_mutex;

void State::finish() {
  const std::lock_guard<std::mutex> lock(mutex_);
  is_done_ = true;
  changed_.notify_all();
}

void State::wait() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] { return is_done_; });
}

bool State::is_done() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return is_done_;
}

QueuePtr Queue::start() {
  auto queue = std::make_shared<Queue>();
  std::thread([queue] { run(queue); }).detach();
  return queue;
}

void Queue::run(const QueuePtr& queue) {
  std::unique_lock<std::mutex> lock(queue->mutex_);
  for (;;) {
    queue->is_busy_ = false;
    queue->changed_.wait(lock, [&] { return !queue->tasks_.empty() || queue->is_ending_; });
    if (queue->tasks_.empty()) return;
    queue->is_busy_ = true;
    Task task = std::move(queue->tasks_.front());
    queue->tasks_.pop_front();
    lock.unlock();
    task();
    task = nullptr;
    lock.lock();
  }
}

void Queue::push(Task task) {
  const std::lock_guard<std::mutex> lock(mutex_);
  tasks_.push_back(std::move(task));
  changed_.notify_all();
}

StatePtr Queue::record() {
  const auto state = std::make_shared<State>();
  push([state] { state->finish(); });
  return state;
}

bool Queue::is_idle() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return tasks_.empty() && !is_busy_;
}

void Queue::end() {
  const std::lock_guard<std::mutex> lock(mutex_);
  is_ending_ = true;
  changed_.notify_all();
}

CUstream_st* find_stream(cudaStream_t handle, int device) {
  if (handle == nullptr || handle == cudaStreamLegacy) return &legacy_stream(device);
  return streams.count(handle) == 0 ? nullptr : handle;
}

void enqueue(CUstream_st& stream, Task task) {
  order_with_legacy_stream(stream);
  stream.queue->push(std::move(task));
}

cudaError_t submit(CUstream_st& stream, Task task) {
  const cudaError_t error = refuse_implicit_dependency(stream);
  if (error != cudaSuccess) return error;
  if (stream.capture == nullptr) {
    enqueue(stream, std::move(task));
    return cudaSuccess;
  }
  Capture& capture = *stream.capture;
  if (capture.is_invalidated) return cudaErrorStreamCaptureInvalidated;
  std::set<size_t>& nodes = capture.streams[&stream];
  capture.nodes.push_back({std::move(task), std::move(nodes)});
  nodes = {capture.nodes.size() - 1};
  return cudaSuccess;
}

void invalidate(const CapturePtr& capture) {
  capture->is_invalidated = true;
  // The tasks will never run
  for (Capture::Node& node : capture->nodes) node.task = nullptr;
}

void use_scratch(const CUstream_st& stream, const void* scratch) {
  const Scratch own = stream.capture == nullptr ? nullptr : stream.capture->scratch;
  const auto is_gone = [](const auto& each) { return each.expired(); };
  captured_scratch.erase(std::remove_if(captured_scratch.begin(), captured_scratch.end(), is_gone),
                         captured_scratch.end());
  for (const auto& each : captured_scratch) {
    const Scratch other = each.lock();
    if (other != nullptr && other != own && other->count(scratch) > 0)
      stop("a kernel uses scratch memory that a graph uses, too");
  }
  if (own != nullptr) stream.capture->scratch->insert(scratch);
}

cudaError_t refuse_implicit_dependency(const CUstream_st& stream) {
  if (!stream.is_legacy) return cudaSuccess;
  cudaError_t error = cudaSuccess;
  for (const CapturePtr& capture : captures) {
    for (const auto& [other, nodes] : capture->streams) {
      if (!other->is_blocking || other->device != stream.device) continue;
      error = cudaErrorStreamCaptureImplicit;
      invalidate(capture);
    }
  }
  return error;
}

cudaError_t refuse_unsafe_call() {
  const cudaStreamCaptureMode mode = this_thread().capture_mode;
  if (mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  cudaError_t error = cudaSuccess;
  for (const CapturePtr& capture : captures) {
    const bool is_own =
        capture->thread == std::this_thread::get_id() && capture->mode != cudaStreamCaptureModeRelaxed;
    const bool is_global =
        mode == cudaStreamCaptureModeGlobal && capture->mode == cudaStreamCaptureModeGlobal;
    if (!is_own && !is_global) continue;
    error = cudaErrorStreamCaptureUnsupported;
    invalidate(capture);
  }
  return error;
}

}  // namespace fake_cuda

using namespace fake_cuda;

// Streams are created and destroyed under `api_mutex`
static std::vector<void*>& idle_handles = *new std::vector<void*>;
void* CUstream_st::operator new(size_t bytes) {
  if (idle_handles.empty()) return ::operator new(bytes);
  void* handle = idle_handles.back();
  idle_handles.pop_back();
  return handle;
}
void CUstream_st::operator delete(void* handle) { idle_handles.push_back(handle); }

extern "C" {

// --- Streams ---
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return create_stream(fault(__func__), stream, cudaStreamDefault, kLeastPriority);
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return create_stream(fault(__func__), stream, flags, kLeastPriority);
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  return create_stream(fault(__func__), stream, flags, priority);
}
cudaError_t cudaStreamGetPriority(cudaStream_t handle, int* priority) {
  return call_on_stream(fault(__func__), handle, [&](CUstream_st& stream, int) {
    *priority = stream.priority;
    return cudaSuccess;
  });
}
cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  return call_on_stream(cudaSuccess, handle, [&](CUstream_st& stream, int) {
    if (stream.is_legacy) return cudaErrorInvalidResourceHandle;
    if (const CapturePtr capture = stream.capture) {
      invalidate(capture);
      if (capture->origin == &stream) end_capture(capture);
      capture->streams.erase(&stream);
    }
    const auto is_done = [](const EndedStream& ended) { return ended.done->is_done(); };
    ended_streams.erase(std::remove_if(ended_streams.begin(), ended_streams.end(), is_done),
                        ended_streams.end());
    if (!stream.queue->is_idle())
      ended_streams.push_back({stream.device, stream.is_blocking, stream.queue->record()});
    stream.queue->end();
    streams.erase(&stream);
    blocking_streams.erase(&stream);
    if (stream.priority < 0) --counters.high_priority_streams;
    --counters.streams;
    delete &stream;
    return cudaSuccess;
  });
}
cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  std::array<StatePtr, 1> done;
  const cudaError_t error = call_on_stream(fault(__func__), handle, [&](CUstream_st& stream, int) {
    const cudaError_t refusal = refuse_waiting(stream);
    if (refusal == cudaSuccess) done[0] = record(stream);
    return refusal;
  });
  return finish_waiting(error, done);
}
cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return call_on_stream(fault(__func__), handle, [&](CUstream_st& stream, int) {
    const cudaError_t refusal = refuse_waiting(stream);
    if (refusal != cudaSuccess) return refusal;
    bool is_idle = stream.queue->is_idle();
    if (stream.is_legacy) {
      for (CUstream_st* other : blocking_streams)
        is_idle = is_idle && (other->device != stream.device || other->queue->is_idle());
      for (const EndedStream& ended : ended_streams)
        is_idle = is_idle && (ended.device != stream.device || !ended.is_blocking || ended.done->is_done());
    }
    return is_idle ? sticky_error() : cudaErrorNotReady;
  });
}
cudaError_t cudaDeviceSynchronize() {
  std::vector<StatePtr> done;
  const cudaError_t error = call_in_context(fault(__func__), [&](int device) {
    const std::lock_guard<std::mutex> lock(api_mutex);
    cudaError_t refusal = cudaSuccess;
    for (const CapturePtr& capture : captures) {
      for (const auto& [stream, nodes] : capture->streams) {
        if (stream->device != device) continue;
        invalidate(capture);
        refusal = cudaErrorStreamCaptureUnsupported;
      }
    }
    if (refusal == cudaSuccess) refusal = refuse_unsafe_call();
    if (refusal != cudaSuccess) return refusal;
    for (CUstream_st* stream : streams)
      if (stream->device == device) done.push_back(stream->queue->record());
    for (const EndedStream& ended : ended_streams)
      if (ended.device == device) done.push_back(ended.done);
    const auto legacy = legacy_streams.find(device);
    if (legacy != legacy_streams.end()) done.push_back(legacy->second->queue->record());
    return cudaSuccess;
  });
  return finish_waiting(error, done);
}
cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* data) {
  return call_on_stream(fault(__func__), handle, [&](CUstream_st& stream, int) {
    return submit(stream, [function, data] {
      // With a lost context, the work before it is not known to be done, and it is not called
      if (sticky == 0) function(data);
    });
  });
}

// --- Events ---
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return call_in_context(fault(__func__), [&](int device) {
    const std::lock_guard<std::mutex> lock(api_mutex);
    *event = new CUevent_st{device, nullptr, nullptr, {}};
    events.insert(*event);
    ++counters.events;
    return cudaSuccess;
  });
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call_on_event(cudaSuccess, event, [&] {
    events.erase(event);
    delete event;
    --counters.events;
    return cudaSuccess;
  });
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  return call_on_stream(fault(__func__), handle, [&](CUstream_st& stream, int) {
    if (events.count(event) == 0 || event->device != stream.device) return cudaErrorInvalidResourceHandle;
    const cudaError_t error = refuse_implicit_dependency(stream);
    if (error != cudaSuccess) return error;
    if (stream.capture != nullptr && stream.capture->is_invalidated) return cudaErrorStreamCaptureInvalidated;
    event->capture = stream.capture;
    if (stream.capture != nullptr)
      event->nodes = stream.capture->streams[&stream];
    else
      event->state = record(stream);
    return cudaSuccess;
  });
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  ++counters.event_queries;
  return call_on_event(fault(__func__), event, [&] {
    const cudaError_t refusal = refuse_waiting(*event);
    if (refusal != cudaSuccess) return refusal;
    return event->state == nullptr || event->state->is_done() ? sticky_error() : cudaErrorNotReady;
  });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  std::array<StatePtr, 1> done;
  const cudaError_t error = call_on_event(fault(__func__), event, [&] {
    const cudaError_t refusal = refuse_waiting(*event);
    if (refusal == cudaSuccess) done[0] = event->state;
    return refusal;
  });
  return finish_waiting(error, done);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  return call_on_stream(fault(__func__), handle, [&](CUstream_st& stream, int) {
    if (events.count(event) == 0) return cudaErrorInvalidResourceHandle;
    const cudaError_t error = refuse_implicit_dependency(stream);
    if (error != cudaSuccess) return error;
    if (stream.capture != nullptr && stream.capture->is_invalidated) return cudaErrorStreamCaptureInvalidated;
    if (event->capture != nullptr) return join_capture(stream, *event);
    if (stream.capture != nullptr) {
      invalidate(stream.capture);
      return cudaErrorStreamCaptureIsolation;
    }
    if (event->state != nullptr) enqueue(stream, [state = event->state] { state->wait(); });
    return cudaSuccess;
  });
}

// --- Captures and graphs ---
cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  return call_on_stream(fault(__func__), handle, [&](CUstream_st& stream, int) {
    if (stream.is_legacy) return cudaErrorStreamCaptureUnsupported;
    if (stream.capture != nullptr) return cudaErrorIllegalState;
    stream.capture = std::make_shared<Capture>();
    stream.capture->id = ++num_captures;
    stream.capture->mode = mode;
    stream.capture->thread = std::this_thread::get_id();
    stream.capture->origin = &stream;
    stream.capture->streams[&stream] = {};
    stream.capture->graph = new CUgraph_st;
    stream.capture->graph->scratch = stream.capture->scratch;
    captured_scratch.push_back(stream.capture->scratch);
    captures.insert(stream.capture);
    return cudaSuccess;
  });
}
cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  *graph = nullptr;
  return call_on_stream(fault(__func__), handle, [&](CUstream_st& stream, int) {
    const CapturePtr capture = stream.capture;
    if (capture == nullptr) return cudaErrorIllegalState;
    if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != std::this_thread::get_id())
      return cudaErrorStreamCaptureWrongThread;
    if (capture->origin != &stream) {
      invalidate(capture);
      return cudaErrorStreamCaptureUnmatched;
    }
    const bool is_joined = includes_all(*capture, capture->streams[&stream]);
    end_capture(capture);
    std::unique_ptr<CUgraph_st> captured(capture->graph);
    if (capture->is_invalidated) return cudaErrorStreamCaptureInvalidated;
    if (!is_joined) return cudaErrorStreamCaptureUnjoined;
    std::vector<Task> tasks;
    for (Capture::Node& node : capture->nodes) tasks.push_back(std::move(node.task));
    captured->tasks = std::make_shared<const std::vector<Task>>(std::move(tasks));
    *graph = captured.release();
    return cudaSuccess;
  });
}
cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  return call_on_stream(fault(__func__), handle,
                        [&](CUstream_st& stream, int) { return capture_status(stream, status, nullptr); });
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus* status,
                                     unsigned long long* id, cudaGraph_t* graph,
                                     const cudaGraphNode_t** dependencies, const cudaGraphEdgeData** edges,
                                     size_t* num_dependencies) {
  if (dependencies != nullptr) *dependencies = nullptr;
  if (edges != nullptr) *edges = nullptr;
  if (num_dependencies != nullptr) *num_dependencies = 0;
  return call_on_stream(fault(__func__), handle, [&](CUstream_st& stream, int) {
    if (graph != nullptr) *graph = stream.capture == nullptr ? nullptr : stream.capture->graph;
    return capture_status(stream, status, id);
  });
}
cudaError_t cudaUserObjectCreate(cudaUserObject_t* object, void* data, cudaHostFn_t destroy, unsigned,
                                 unsigned) {
  return call(fault(__func__), [&] { return *object = new CUuserObject_st{data, destroy}, cudaSuccess; });
}
// One reference is all that the addon has
cudaError_t cudaUserObjectRelease(cudaUserObject_t object, unsigned) { return delete object, cudaSuccess; }
cudaError_t cudaGraphRetainUserObject(cudaGraph_t graph, cudaUserObject_t object, unsigned, unsigned flags) {
  return call(fault(__func__), [&] {
    if (graph == nullptr || flags != cudaGraphUserObjectMove) return cudaErrorInvalidValue;
    graph->objects.emplace_back(object);
    return cudaSuccess;
  });
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  return call(named_fault(__func__), [&] {
    std::swap(this_thread().capture_mode, *mode);
    return cudaSuccess;
  });
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  return call_in_context(fault(__func__), [&](int) {
    if (graph == nullptr) return cudaErrorInvalidValue;
    *executable = new CUgraphExec_st{graph->tasks, graph->objects, graph->scratch, nullptr};
    return cudaSuccess;
  });
}
// The nodes run one after the other, in the order in which they were captured
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t handle) {
  return call_on_stream(fault(__func__), handle, [&](CUstream_st& stream, int) {
    const auto run = [tasks = executable->tasks] {
      for (const Task& task : *tasks) task();
    };
    if (stream.capture != nullptr) return submit(stream, run);
    const auto done = std::make_shared<State>();
    const cudaError_t error = submit(stream, [run, done, last = executable->last_launch] {
      if (last != nullptr) last->wait();
      run();
      done->finish();
    });
    if (error == cudaSuccess) executable->last_launch = done;
    return error;
  });
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  // The destroyers of user objects must not be called under the mutex
  delete executable;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
}
