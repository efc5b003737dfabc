// What one JavaScript environment (the main thread, or a worker) owns on the GPU: streams, events, device
// memory from a stream-ordered pool, and pinned host memory. Destructors release everything, in any order,
// since each resource keeps its environment alive. An environment belongs to one thread, so nothing here is
// locked.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace dispatch_layout {

class Environment;
using EnvironmentPtr = std::shared_ptr<Environment>;

// A stream of ours, or one that somebody else made
class Stream {
 public:
  Stream(EnvironmentPtr environment);                       // A new stream
  Stream(EnvironmentPtr environment, cudaStream_t handle);  // A stream that somebody else made
  ~Stream();
  Stream(const Stream&) = delete;

  const cudaStream_t handle;

 private:
  const EnvironmentPtr environment_;
  const bool is_owned_;
};
using StreamPtr = std::shared_ptr<Stream>;

// A point in the work of a stream. An event that tells when memory is free again should be created before the
// work that uses the memory is queued, while a failure still does no harm, and recorded after it.
class Event {
 public:
  explicit Event(EnvironmentPtr environment);              // Is not recorded yet, which counts as done
  Event(EnvironmentPtr environment, cudaStream_t stream);  // Is recorded on `stream`
  ~Event();
  Event(const Event&) = delete;

  // If recording fails, this throws only after the work that the event would have stood for is done
  void record(cudaStream_t stream);
  bool is_done() const;
  void synchronize() const;
  void make_wait(cudaStream_t stream) const;

 private:
  const EnvironmentPtr environment_;
  cudaEvent_t handle_;
};
using EventPtr = std::shared_ptr<Event>;

// Device memory. When the last reference is dropped, it goes back to its pool behind the work that is then
// queued on every stream that used it. This is the rule of PyTorch's `record_stream`.
class Allocation {
 public:
  enum class Origin { kPool, kShareable, kIpc, kExternal };

  // `home` is the stream that the memory is allocated and freed on; null for memory that belongs to somebody else
  Allocation(EnvironmentPtr environment, Origin origin, void* pointer, size_t bytes, StreamPtr home);
  ~Allocation();
  Allocation(const Allocation&) = delete;

  // Allocates from the pool, in the order of `stream`. The memory is freed in the order of `home`, whose work
  // must come after the allocation
  static std::shared_ptr<Allocation> from_pool(const EnvironmentPtr& environment, size_t bytes,
                                               const StreamPtr& stream, const StreamPtr& home);
  // Allocates memory that other processes can open
  static std::shared_ptr<Allocation> shareable(const EnvironmentPtr& environment, size_t bytes);

  void record(const StreamPtr& stream);

  const Origin origin;
  void* const pointer;
  const size_t bytes;

 private:
  void release() noexcept;

  const EnvironmentPtr environment_;
  const StreamPtr home_;
  std::vector<StreamPtr> users_;  // Streams other than home
};
using AllocationPtr = std::shared_ptr<Allocation>;

// Host memory that the GPU reads and writes directly. The code that drops it must make sure that no work uses
// it any more.
class Pinned {
 public:
  Pinned(EnvironmentPtr environment, size_t bytes);
  ~Pinned();
  Pinned(const Pinned&) = delete;

  uint8_t* data() const { return data_; }
  size_t capacity() const { return capacity_; }

 private:
  const EnvironmentPtr environment_;
  size_t capacity_;
  uint8_t* data_;
};
using PinnedPtr = std::shared_ptr<Pinned>;

class Environment : public std::enable_shared_from_this<Environment> {
 public:
  static EnvironmentPtr create();
  ~Environment();
  // Waits for the work for which pinned memory is kept, and drops that memory, which would otherwise keep
  // this environment alive
  void close() noexcept;

  void* allocate(size_t bytes, cudaStream_t stream);
  // Copies `bytes` of host memory, which may change as soon as this returns
  void upload(void* target, const void* source, size_t bytes, cudaStream_t stream);
  // Keeps pinned memory from reuse until the work that uses it is done
  void keep_until(EventPtr done, PinnedPtr memory) { kept_.push_back({std::move(done), std::move(memory)}); }

 private:
  friend class Event;
  friend class Allocation;
  friend class Pinned;
  struct Kept {
    EventPtr done;
    PinnedPtr memory;
  };
  struct IdlePinned {
    uint8_t* data;
    size_t capacity;
  };
  using IdlePinnedList = std::list<IdlePinned>;

  Environment() = default;
  // Asks the next `num_asked` events whether they are done, and drops the memory that is kept for those that
  // are
  void drop_kept(size_t num_asked);
  // Frees idle pinned memory, least recently used first, until at most `max_bytes` are left
  void shrink_idle_pinned(size_t max_bytes) noexcept;

  cudaMemPool_t pool_ = nullptr;
  cudaStream_t reclaim_ = nullptr;  // Frees what several streams used
  std::vector<cudaEvent_t> idle_events_;
  IdlePinnedList idle_pinned_;  // In the order of last use
  std::multimap<size_t, IdlePinnedList::iterator> idle_pinned_by_capacity_;
  size_t idle_pinned_bytes_ = 0;
  std::vector<Kept> kept_;
  size_t next_kept_ = 0;  // The index in `kept_` of the next to be asked
};

}  // namespace dispatch_layout
