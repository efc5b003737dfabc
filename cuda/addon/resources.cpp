#include "resources.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <iterator>
#include <new>
#include <utility>

#include "capture.h"
#include "cuda_error.h"

namespace dispatch_layout {
namespace {

// The largest number of idle bytes of pinned memory that are kept for reuse. Allocating it anew takes
// milliseconds
constexpr size_t kMaxIdlePinnedBytes = size_t{256} << 20;

// Ignores an error in a destructor, where it cannot be thrown, and where there is nobody to tell. The context
// is lost or already gone, and with it what was to be released.
void ignore(cudaError_t error) {
  if (error != cudaSuccess) cudaGetLastError();
}

size_t pinned_capacity(size_t bytes) {
  size_t capacity = 256;
  while (capacity < bytes) capacity *= 2;
  // Beyond a megabyte, powers of two waste too much
  constexpr size_t kStep = size_t{1} << 20;
  return bytes <= kStep ? capacity : (bytes + kStep - 1) / kStep * kStep;
}

}  // namespace

Event::Event(EnvironmentPtr environment) : environment(std::move(environment)) {
  std::vector<cudaEvent_t>& idle = this->environment->idle_events_;
  if (idle.empty()) {
    CHECK_CUDA(cudaEventCreateWithFlags(&handle_, cudaEventDisableTiming));
  } else {
    handle_ = idle.back();
    idle.pop_back();
  }
}

Event::Event(EnvironmentPtr environment, cudaStream_t stream) : Event(std::move(environment)) {
  record(stream);
}

void Event::record(cudaStream_t stream) {
  const cudaError_t error = cudaEventRecord(handle_, stream);
  if (error == cudaSuccess) return;
  const CudaError failure(error, "cudaEventRecord");
  ignore(cudaStreamSynchronize(stream));
  throw failure;
}

// The handle can be reused at once: streams that wait for it go on waiting for what was recorded when they
// were told to
Event::~Event() { environment->idle_events_.push_back(handle_); }

void Event::require_uncaptured() const {
  if (capture.is_active()) throw CaptureError("CAPTURED_EVENT");
}

bool Event::is_done() const {
  require_uncaptured();
  const cudaError_t error = cudaEventQuery(handle_);
  if (error == cudaErrorNotReady) return cudaGetLastError(), false;
  check_cuda(error, "cudaEventQuery");
  return true;
}

void Event::synchronize() const {
  require_uncaptured();
  CHECK_CUDA(cudaEventSynchronize(handle_));
}

void Event::make_wait(cudaStream_t stream) const { CHECK_CUDA(cudaStreamWaitEvent(stream, handle_, 0)); }

Stream::Stream(EnvironmentPtr environment, Priority priority)
    : environment(std::move(environment)),
      handle([&] {
        const OnDevice on_device(this->environment->context);
        int least = 0, greatest = 0;
        if (priority == Priority::kHigh) CHECK_CUDA(cudaDeviceGetStreamPriorityRange(&least, &greatest));
        cudaStream_t stream = nullptr;
        CHECK_CUDA(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest));
        return stream;
      }()),
      work(std::make_shared<StreamWork>(this->environment, handle)),
      is_owned_(true) {
  this->environment->own_streams_.insert(handle);
}

Stream::Stream(EnvironmentPtr environment, cudaStream_t handle)
    : environment(std::move(environment)),
      handle(handle),
      work(std::make_shared<StreamWork>(this->environment, handle)),
      is_owned_(false) {}

// Work that is queued still runs to its end
Stream::~Stream() {
  if (!is_owned_) return;
  environment->own_streams_.erase(handle);
  environment->destroy({handle, work.use_count() > 1 ? work : nullptr});
}

StreamWork::StreamWork(EnvironmentPtr environment, cudaStream_t handle)
    : handle(handle), environment_(std::move(environment)) {}

void StreamWork::end() noexcept {
  try {
    last_ = event();
  } catch (const std::exception&) {
    // There is no event left, for instance
    ignore(cudaStreamSynchronize(handle));
  }
  has_ended_ = true;
}

bool StreamWork::is_of_same_stream(const StreamWork& other) const {
  if (this == &other) return true;
  // Once a stream is destroyed, its handle may stand for a new one. And each GPU has a default stream
  return !has_ended() && !other.has_ended() && handle == other.handle && environment_ == other.environment_;
}

bool StreamWork::is_capturing() const {
  if (has_ended()) return false;
  // The default stream is that of the current GPU
  const OnDevice on_device(environment_->context, std::nothrow);
  return on_device && ::dispatch_layout::is_capturing(handle);
}

EventPtr StreamWork::event() const {
  if (has_ended()) return last_;
  // Whoever asks may have made another GPU current
  const OnDevice on_device(environment_->context);
  return std::make_shared<Event>(environment_, handle);
}

void StreamWork::synchronize() const {
  if (has_ended()) {
    if (last_ != nullptr) last_->synchronize();
    return;
  }
  const OnDevice on_device(environment_->context);
  CHECK_CUDA(cudaStreamSynchronize(handle));
}

bool StreamWork::is_over() const { return has_ended() && (last_ == nullptr || last_->is_done()); }

bool Use::is_over() const noexcept {
  try {
    return done != nullptr ? done->is_done() : work->is_over();
  } catch (const std::exception&) {
    return false;
  }
}

void Use::make_wait(cudaStream_t stream) const {
  const EventPtr behind = event();
  if (behind != nullptr) behind->make_wait(stream);
}

void Use::synchronize() const {
  if (done != nullptr)
    done->synchronize();
  else
    work->synchronize();
}

Allocation::Allocation(EnvironmentPtr environment, Origin origin, void* pointer, size_t bytes,
                       StreamWorkPtr home)
    : environment(std::move(environment)),
      origin(origin),
      pointer(pointer),
      bytes(bytes),
      home_(std::move(home)) {}

AllocationPtr Allocation::from_pool(const EnvironmentPtr& environment, size_t bytes, const StreamPtr& stream,
                                    const StreamPtr& home) {
  void* pointer = environment->allocate(bytes, stream->handle);
  return std::make_shared<Allocation>(environment, Origin::kPool, pointer, bytes, home->work);
}

AllocationPtr Allocation::shareable(const EnvironmentPtr& environment, size_t bytes) {
  void* pointer = nullptr;
  CHECK_CUDA(cudaMalloc(&pointer, std::max<size_t>(bytes, 1)));
  return std::make_shared<Allocation>(environment, Origin::kShareable, pointer, bytes, nullptr);
}

bool Allocation::is_at_home_on(const StreamPtr& stream) const {
  return home_ != nullptr && home_->is_of_same_stream(*stream->work);
}

void Allocation::add_use(const Use& added) {
  const bool is_at_home = home_ != nullptr && home_->is_of_same_stream(*added.work);
  if (origin == Origin::kExternal || is_at_home) return;
  for (Use& use : uses_) {
    if (!use.work->is_of_same_stream(*added.work)) continue;
    // A stream reaches its later events later, so a later one stands for the earlier ones, too
    if (use.done != nullptr) use.done = added.done;
    return;
  }
  // Otherwise a tensor that many streams use in turn would keep something of each of them
  uses_.erase(std::remove_if(uses_.begin(), uses_.end(), [](const Use& use) { return use.is_over(); }),
              uses_.end());
  uses_.push_back(added);
}

Allocation::~Allocation() {
  if (origin != Origin::kExternal) environment->free({origin, pointer, home_, std::move(uses_)});
}

Pinned::Pinned(EnvironmentPtr environment, size_t bytes)
    : environment_(std::move(environment)), capacity_(pinned_capacity(bytes)) {
  Environment& e = *environment_;
  // Each use of pinned memory adds at most two entries. Asking a few more than that keeps the list short, at
  // a cost that does not grow with the list
  e.drop_kept(8);
  auto idle = e.idle_pinned_by_capacity_.lower_bound(capacity_);
  if (idle != e.idle_pinned_by_capacity_.end() && idle->first <= capacity_ + capacity_ / 4) {
    // Among those of equal size, the one that was used last is taken, so that surplus ones grow old
    idle = std::prev(e.idle_pinned_by_capacity_.upper_bound(idle->first));
    data_ = idle->second->data;
    capacity_ = idle->first;
    e.idle_pinned_bytes_ -= capacity_;
    e.idle_pinned_.erase(idle->second);
    e.idle_pinned_by_capacity_.erase(idle);
    return;
  }
  void* memory = nullptr;
  cudaError_t error = cudaHostAlloc(&memory, capacity_, cudaHostAllocDefault);
  if (error == cudaErrorMemoryAllocation) {
    // The idle memory here has other sizes, and can be freed
    cudaGetLastError();
    e.drop_kept(e.kept_.size());
    e.shrink_idle_pinned(0);
    error = cudaHostAlloc(&memory, capacity_, cudaHostAllocDefault);
  }
  check_cuda(error, "cudaHostAlloc");
  data_ = static_cast<uint8_t*>(memory);
}

Pinned::~Pinned() {
  Environment& e = *environment_;
  const OnDevice on_device(e.context, std::nothrow);
  if (capacity_ > kMaxIdlePinnedBytes) {
    ignore(cudaFreeHost(data_));
    return;
  }
  e.shrink_idle_pinned(kMaxIdlePinnedBytes - capacity_);
  try {
    e.idle_pinned_.push_back({data_, capacity_});
    e.idle_pinned_by_capacity_.emplace(capacity_, std::prev(e.idle_pinned_.end()));
    e.idle_pinned_bytes_ += capacity_;
  } catch (const std::bad_alloc&) {
    if (!e.idle_pinned_.empty() && e.idle_pinned_.back().data == data_) e.idle_pinned_.pop_back();
    ignore(cudaFreeHost(data_));
  }
}

EnvironmentPtr Environment::create(int ordinal) {
  EnvironmentPtr environment(new Environment(ordinal));
  const OnDevice on_device(environment->context);
  CHECK_CUDA(cudaStreamCreateWithFlags(&environment->reclaim_, cudaStreamNonBlocking));
  int has_pools = 0;
  CHECK_CUDA(cudaDeviceGetAttribute(&has_pools, cudaDevAttrMemoryPoolsSupported, ordinal));
  if (has_pools == 0) return environment;
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = ordinal;
  CHECK_CUDA(cudaMemPoolCreate(&environment->pool_, &properties));
  // Without this, every synchronisation would give all free memory back to the driver
  uint64_t keep_all = UINT64_MAX;
  CHECK_CUDA(cudaMemPoolSetAttribute(environment->pool_, cudaMemPoolAttrReleaseThreshold, &keep_all));
  return environment;
}

Environment::Environment(int ordinal) : ordinal(ordinal), context(primary_context(ordinal)) {}

void Environment::close() noexcept {
  const OnDevice on_device(context, std::nothrow);
  for (const Kept& kept : kept_) {
    try {
      kept.done->synchronize();
    } catch (const std::exception&) {
      // Nothing runs any more
    }
  }
  // The list is emptied first, since a destructor may keep more memory
  std::vector<Kept> kept;
  kept.swap(kept_);
  is_closed_ = true;
  memory_of_graphs->close();
  free_delayed();
}

void Environment::drop_kept(size_t num_asked) {
  for (; num_asked > 0 && !kept_.empty(); --num_asked) {
    if (next_kept_ >= kept_.size()) next_kept_ = 0;
    if (kept_[next_kept_].done->is_done()) {
      std::swap(kept_[next_kept_], kept_.back());
      kept_.pop_back();
    } else {
      ++next_kept_;
    }
  }
}

void Environment::shrink_idle_pinned(size_t max_bytes) noexcept {
  while (idle_pinned_bytes_ > max_bytes) {
    const auto oldest = idle_pinned_.begin();
    // Entries of equal capacity are in the order in which they became idle, so this is the first of them
    idle_pinned_by_capacity_.erase(idle_pinned_by_capacity_.lower_bound(oldest->capacity));
    idle_pinned_bytes_ -= oldest->capacity;
    ignore(cudaFreeHost(oldest->data));
    idle_pinned_.erase(oldest);
  }
}

// By now everything that is left is idle
Environment::~Environment() {
  const OnDevice on_device(context, std::nothrow);
  if (!on_device) return;
  shrink_idle_pinned(0);
  for (cudaEvent_t event : idle_events_) ignore(cudaEventDestroy(event));
  for (const WaitingStream& waiting : waiting_streams_) ignore(cudaStreamDestroy(waiting.stream));
  if (reclaim_ != nullptr) {
    // The pool must not be destroyed before the memory is freed into it
    ignore(cudaStreamSynchronize(reclaim_));
    ignore(cudaStreamDestroy(reclaim_));
  }
  if (pool_ != nullptr) ignore(cudaMemPoolDestroy(pool_));
}

void* Environment::allocate(size_t bytes, cudaStream_t stream) {
  free_delayed();
  void* pointer = nullptr;
  const size_t size = std::max<size_t>(bytes, 1);
  if (pool_ == nullptr) {
    CHECK_CUDA(cudaMalloc(&pointer, size));
    return pointer;
  }
  cudaError_t error = cudaMallocFromPoolAsync(&pointer, size, pool_, stream);
  if (error == cudaErrorMemoryAllocation) {
    // Memory that was freed but is still used by queued work can serve once that work is done. The streams are
    // waited for one by one, since waiting for the whole device would spoil a capture of somebody else
    cudaGetLastError();
    for (cudaStream_t own : own_streams_)
      if (!is_capturing(own)) CHECK_CUDA(cudaStreamSynchronize(own));
    // Most tensors are made, and freed, on the default stream
    if (!is_capturing(nullptr)) CHECK_CUDA(cudaStreamSynchronize(nullptr));
    if (!is_capturing(stream)) CHECK_CUDA(cudaStreamSynchronize(stream));
    CHECK_CUDA(cudaStreamSynchronize(reclaim_));
    CHECK_CUDA(cudaMemPoolTrimTo(pool_, 0));
    error = cudaMallocFromPoolAsync(&pointer, size, pool_, stream);
  }
  check_cuda(error, "cudaMallocFromPoolAsync");
  return pointer;
}

void Environment::free(Dropped memory) noexcept {
  const OnDevice on_device(context, std::nothrow);
  if (!on_device) return;
  // Work that a graph is captured from cannot be waited for, and memory cannot be freed in its order
  const bool is_captured = (memory.home != nullptr && memory.home->is_capturing()) ||
                           std::any_of(memory.uses.begin(), memory.uses.end(), [](const Use& use) {
                             return use.done == nullptr && use.work->is_capturing();
                           });
  if (!is_captured) return free_in_order(memory);
  // After the environment is closed, nobody would free it later, and the process or the worker is ending
  if (!is_closed_) delayed_.push_back(std::move(memory));
}

void Environment::free_in_order(const Dropped& memory) noexcept {
  using Origin = Allocation::Origin;
  if (memory.origin == Origin::kPool && pool_ != nullptr) {
    if (memory.uses.empty() && !memory.home->has_ended())
      return ignore(cudaFreeAsync(memory.pointer, memory.home->handle));
    try {
      for (const Use& use : memory.uses) use.make_wait(reclaim_);
      Use{memory.home, nullptr}.make_wait(reclaim_);
      return ignore(cudaFreeAsync(memory.pointer, reclaim_));
    } catch (const std::exception&) {
      // There is no event left, for instance. What follows needs none
    }
  }
  const auto wait = [](const auto& work) {
    try {
      work.synchronize();
    } catch (const std::exception&) {
      // Nothing runs any more
    }
  };
  for (const Use& use : memory.uses) wait(use);
  if (memory.home != nullptr) wait(*memory.home);
  if (memory.origin == Origin::kIpc)
    ignore(cudaIpcCloseMemHandle(memory.pointer));
  else if (memory.origin == Origin::kPool && pool_ != nullptr)
    ignore(cudaFreeAsync(memory.pointer, reclaim_));
  else
    ignore(cudaFree(memory.pointer));
}

void Environment::free_delayed() noexcept {
  std::vector<Dropped> delayed;
  delayed.swap(delayed_);
  for (Dropped& memory : delayed) free(std::move(memory));
  std::vector<CapturedStream> captured;
  captured.swap(captured_streams_);
  for (const CapturedStream& stream : captured) destroy(stream);
  memory_of_graphs->drop_returned();
}

void Environment::destroy(const CapturedStream& stream) noexcept {
  const OnDevice on_device(context, std::nothrow);
  if (!on_device) return;
  if (!is_capturing(stream.stream)) {
    if (stream.work != nullptr) stream.work->end();
    ignore(cudaStreamDestroy(stream.stream));
  } else if (!is_closed_) {
    // Destroying it, or recording an event on it, would spoil the capture
    captured_streams_.push_back(stream);
  }
}

void Environment::keep_until(EventPtr done, PinnedPtr memory) {
  if (!is_closed_) return kept_.push_back({std::move(done), std::move(memory)});
  // Nobody would look at the list again
  try {
    done->synchronize();
  } catch (const std::exception&) {
    // Nothing runs any more
  }
}

cudaStream_t Environment::take_waiting_stream() {
  constexpr size_t kMaxStreams = 32;
  const auto least = std::min_element(
      waiting_streams_.begin(), waiting_streams_.end(),
      [](const WaitingStream& a, const WaitingStream& b) { return a.num_waits < b.num_waits; });
  if (least != waiting_streams_.end() && (least->num_waits == 0 || waiting_streams_.size() == kMaxStreams)) {
    ++least->num_waits;
    return least->stream;
  }
  cudaStream_t stream = nullptr;
  CHECK_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  waiting_streams_.push_back({stream, 1});
  return stream;
}

void Environment::give_waiting_stream(cudaStream_t stream) {
  for (WaitingStream& waiting : waiting_streams_)
    if (waiting.stream == stream) --waiting.num_waits;
}

void GraphMemories::keep_for(cudaGraph_t graph, std::vector<AllocationPtr> memory,
                             const std::shared_ptr<GraphMemories>& self) {
  struct Kept {
    std::vector<AllocationPtr> memory;
    std::shared_ptr<GraphMemories> owner;
  };
  const auto give_back = [](void* data) {
    const std::unique_ptr<Kept> kept(static_cast<Kept*>(data));
    kept->owner->give_back(std::move(kept->memory));
  };
  auto kept = std::make_unique<Kept>(Kept{std::move(memory), self});
  cudaUserObject_t object = nullptr;
  CHECK_CUDA(cudaUserObjectCreate(&object, kept.get(), give_back, 1, cudaUserObjectNoDestructorSync));
  kept.release();
  const cudaError_t error = cudaGraphRetainUserObject(graph, object, 1, cudaGraphUserObjectMove);
  if (error == cudaSuccess) return;
  const CudaError failure(error, "cudaGraphRetainUserObject");
  ignore(cudaUserObjectRelease(object, 1));
  throw failure;
}

namespace {

// What graphs have given back to threads that have ended. Whoever drops it stands for those threads, so only one
// thread may do that at a time. It is never destroyed, since at the end of the process there is no CUDA any more.
struct OrphanedMemory {
  std::mutex mutex, dropping;
  std::vector<AllocationPtr> memory;
};

OrphanedMemory& orphaned_memory() {
  static OrphanedMemory& orphaned = *new OrphanedMemory;
  return orphaned;
}

std::vector<AllocationPtr> take(std::mutex& mutex, std::vector<AllocationPtr>& memory) {
  const std::lock_guard<std::mutex> lock(mutex);
  return std::exchange(memory, {});
}

}  // namespace

void GraphMemories::give_back(std::vector<AllocationPtr> memory) {
  const std::lock_guard<std::mutex> lock(mutex_);
  OrphanedMemory& orphaned = orphaned_memory();
  std::unique_lock<std::mutex> orphaned_lock(orphaned.mutex, std::defer_lock);
  if (is_closed_) orphaned_lock.lock();
  std::vector<AllocationPtr>& returned = is_closed_ ? orphaned.memory : returned_;
  for (AllocationPtr& each : memory) returned.push_back(std::move(each));
}

void GraphMemories::drop_returned() noexcept {
  take(mutex_, returned_);
  OrphanedMemory& orphaned = orphaned_memory();
  const std::lock_guard<std::mutex> lock(orphaned.dropping);
  take(orphaned.mutex, orphaned.memory);
}

void GraphMemories::close() noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  is_closed_ = true;
}

void Environment::upload(const AllocationPtr& target, size_t byte_offset, const void* source, size_t bytes,
                         const StreamPtr& stream) {
  if (bytes == 0) return;
  const PinnedPtr staging = std::make_shared<Pinned>(shared_from_this(), bytes);
  const EventPtr done = std::make_shared<Event>(shared_from_this());
  std::memcpy(staging->data(), source, bytes);
  CHECK_CUDA(cudaMemcpyAsync(static_cast<uint8_t*>(target->pointer) + byte_offset, staging->data(), bytes,
                             cudaMemcpyHostToDevice, stream->handle));
  done->record(stream->handle);
  keep_until(done, staging);
  target->add_use({stream->work, done});
}

}  // namespace dispatch_layout
