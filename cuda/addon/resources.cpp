#include "resources.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <iterator>
#include <new>
#include <utility>

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

Stream::Stream(EnvironmentPtr environment)
    : handle([] {
        cudaStream_t stream = nullptr;
        CHECK_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
        return stream;
      }()),
      environment_(std::move(environment)),
      is_owned_(true) {}

Stream::Stream(EnvironmentPtr environment, cudaStream_t handle)
    : handle(handle), environment_(std::move(environment)), is_owned_(false) {}

// Work that is queued still runs to its end
Stream::~Stream() {
  if (is_owned_) ignore(cudaStreamDestroy(handle));
}

Event::Event(EnvironmentPtr environment) : environment_(std::move(environment)) {
  std::vector<cudaEvent_t>& idle = environment_->idle_events_;
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
Event::~Event() { environment_->idle_events_.push_back(handle_); }

bool Event::is_done() const {
  const cudaError_t error = cudaEventQuery(handle_);
  if (error == cudaErrorNotReady) return cudaGetLastError(), false;
  check_cuda(error, "cudaEventQuery");
  return true;
}

void Event::synchronize() const { CHECK_CUDA(cudaEventSynchronize(handle_)); }

void Event::make_wait(cudaStream_t stream) const { CHECK_CUDA(cudaStreamWaitEvent(stream, handle_, 0)); }

Allocation::Allocation(EnvironmentPtr environment, Origin origin, void* pointer, size_t bytes, StreamPtr home)
    : origin(origin),
      pointer(pointer),
      bytes(bytes),
      environment_(std::move(environment)),
      home_(std::move(home)) {}

AllocationPtr Allocation::from_pool(const EnvironmentPtr& environment, size_t bytes, const StreamPtr& stream,
                                    const StreamPtr& home) {
  void* pointer = environment->allocate(bytes, stream->handle);
  return std::make_shared<Allocation>(environment, Origin::kPool, pointer, bytes, home);
}

AllocationPtr Allocation::shareable(const EnvironmentPtr& environment, size_t bytes) {
  void* pointer = nullptr;
  CHECK_CUDA(cudaMalloc(&pointer, std::max<size_t>(bytes, 1)));
  return std::make_shared<Allocation>(environment, Origin::kShareable, pointer, bytes, nullptr);
}

void Allocation::record(const StreamPtr& stream) {
  if (stream == home_) return;
  const auto is_same = [&](const StreamPtr& user) { return user->handle == stream->handle; };
  if (home_ != nullptr && is_same(home_)) return;
  if (std::none_of(users_.begin(), users_.end(), is_same)) users_.push_back(stream);
}

Allocation::~Allocation() { release(); }

void Allocation::release() noexcept {
  switch (origin) {
    case Origin::kExternal: return;
    case Origin::kIpc:
    case Origin::kShareable:
      // Neither of them is freed in the order of a stream
      for (const StreamPtr& user : users_) ignore(cudaStreamSynchronize(user->handle));
      ignore(origin == Origin::kIpc ? cudaIpcCloseMemHandle(pointer) : cudaFree(pointer));
      return;
    case Origin::kPool:
      if (users_.empty()) return ignore(cudaFreeAsync(pointer, home_->handle));
      try {
        for (const StreamPtr& user : users_)
          Event(environment_, user->handle).make_wait(environment_->reclaim_);
        Event(environment_, home_->handle).make_wait(environment_->reclaim_);
      } catch (const std::exception&) {
        for (const StreamPtr& user : users_) ignore(cudaStreamSynchronize(user->handle));
        ignore(cudaStreamSynchronize(home_->handle));
      }
      ignore(cudaFreeAsync(pointer, environment_->reclaim_));
  }
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

EnvironmentPtr Environment::create() {
  EnvironmentPtr environment(new Environment);
  int device_idx = 0;
  CHECK_CUDA(cudaGetDevice(&device_idx));
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = device_idx;
  CHECK_CUDA(cudaMemPoolCreate(&environment->pool_, &properties));
  // Without this, every synchronisation would give all free memory back to the driver
  uint64_t keep_all = UINT64_MAX;
  CHECK_CUDA(cudaMemPoolSetAttribute(environment->pool_, cudaMemPoolAttrReleaseThreshold, &keep_all));
  CHECK_CUDA(cudaStreamCreateWithFlags(&environment->reclaim_, cudaStreamNonBlocking));
  return environment;
}

void Environment::close() noexcept {
  for (const Kept& kept : kept_) {
    try {
      kept.done->synchronize();
    } catch (const CudaError&) {
      // Nothing runs any more
    }
  }
  // The list is emptied first, since a destructor may keep more memory
  std::vector<Kept> kept;
  kept.swap(kept_);
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
  shrink_idle_pinned(0);
  for (cudaEvent_t event : idle_events_) ignore(cudaEventDestroy(event));
  if (reclaim_ != nullptr) {
    // The pool must not be destroyed before the memory is freed into it
    ignore(cudaStreamSynchronize(reclaim_));
    ignore(cudaStreamDestroy(reclaim_));
  }
  if (pool_ != nullptr) ignore(cudaMemPoolDestroy(pool_));
}

void* Environment::allocate(size_t bytes, cudaStream_t stream) {
  void* pointer = nullptr;
  const size_t size = std::max<size_t>(bytes, 1);
  cudaError_t error = cudaMallocFromPoolAsync(&pointer, size, pool_, stream);
  if (error == cudaErrorMemoryAllocation) {
    // Memory that was freed but is still used by queued work can serve once that work is done
    cudaGetLastError();
    CHECK_CUDA(cudaDeviceSynchronize());
    CHECK_CUDA(cudaMemPoolTrimTo(pool_, 0));
    error = cudaMallocFromPoolAsync(&pointer, size, pool_, stream);
  }
  check_cuda(error, "cudaMallocFromPoolAsync");
  return pointer;
}

void Environment::upload(void* target, const void* source, size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return;
  const PinnedPtr staging = std::make_shared<Pinned>(shared_from_this(), bytes);
  const EventPtr done = std::make_shared<Event>(shared_from_this());
  std::memcpy(staging->data(), source, bytes);
  CHECK_CUDA(cudaMemcpyAsync(target, staging->data(), bytes, cudaMemcpyHostToDevice, stream));
  done->record(stream);
  keep_until(done, staging);
}

}  // namespace dispatch_layout
