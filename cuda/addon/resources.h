// What one JavaScript environment (the main thread, or a worker) owns on one GPU: streams, events, device
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
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "capture.h"
#include "driver.h"

namespace dispatch_layout {

class Environment;
using EnvironmentPtr = std::shared_ptr<Environment>;
class StreamWork;
using StreamWorkPtr = std::shared_ptr<StreamWork>;
class Allocation;
using AllocationPtr = std::shared_ptr<Allocation>;

// Memory that graphs use which were captured. A graph gives it back when it is destroyed, in a thread in which
// CUDA must not be called. It waits here for the thread of its environment.
class GraphMemories {
 public:
  // Makes a graph keep memory for as long as the graph, or an executable made of it, exists
  void keep_for(cudaGraph_t graph, std::vector<AllocationPtr> memory,
                const std::shared_ptr<GraphMemories>& self);
  // Drops what graphs have given back. It also drops what they have given back to threads that have ended
  void drop_returned() noexcept;
  // The thread of the environment ends. What graphs give back from now on, any other thread drops
  void close() noexcept;

 private:
  void give_back(std::vector<AllocationPtr> memory);

  std::mutex mutex_;
  std::vector<AllocationPtr> returned_;
  bool is_closed_ = false;
};

// A point in the work of a stream. An event that tells when memory is free again should be created before the
// work that uses the memory is queued, while a failure still does no harm, and recorded after it.
class Event {
 public:
  explicit Event(EnvironmentPtr environment);              // Is not recorded yet
  Event(EnvironmentPtr environment, cudaStream_t stream);  // Is recorded on `stream`
  ~Event();
  Event(const Event&) = delete;

  // If recording fails, this throws only after the work that the event would have stood for is done
  void record(cudaStream_t stream);
  bool is_done() const;
  void synchronize() const;
  void make_wait(cudaStream_t stream) const;

  const EnvironmentPtr environment;
  // The capture that the stream was a part of when the event was recorded. The event is then a point in a graph,
  // for which only streams of the same capture can wait
  Capture capture;

 private:
  void require_uncaptured() const;

  cudaEvent_t handle_;
};
using EventPtr = std::shared_ptr<Event>;

// A stream of ours, or one that somebody else made
class Stream {
 public:
  enum class Priority { kDefault, kHigh };

  Stream(EnvironmentPtr environment, Priority priority);    // A new stream
  Stream(EnvironmentPtr environment, cudaStream_t handle);  // A stream that somebody else made
  ~Stream();
  Stream(const Stream&) = delete;

  const EnvironmentPtr environment;
  const cudaStream_t handle;
  const StreamWorkPtr work;
  // Whether the stream exists for as long as this object. A stream of somebody else may be destroyed before, and
  // must not be touched later than somebody asks for
  bool is_permanent() const { return is_owned_ || handle == nullptr; }

 private:
  const bool is_owned_;
};
using StreamPtr = std::shared_ptr<Stream>;

// The work of a stream. It outlives the stream, so that nobody who must wait for the work at some later time
// needs to keep the stream itself.
class StreamWork {
 public:
  StreamWork(EnvironmentPtr environment, cudaStream_t handle);

  // Must be called before the stream is destroyed, when it is not captured. The work then ends with what is queued
  // by now
  void end() noexcept;
  bool has_ended() const { return has_ended_; }
  bool is_of_same_stream(const StreamWork& other) const;
  bool is_capturing() const;
  // Returns an event behind the work that is queued by now; null if there is none that is not over
  EventPtr event() const;
  void synchronize() const;
  // Whether the stream was destroyed and its work is over
  bool is_over() const;

  const cudaStream_t handle;

 private:
  const EnvironmentPtr environment_;
  bool has_ended_ = false;
  EventPtr last_;  // Behind the work of a stream that was destroyed; null if that is over
};

// Work that uses memory: that of a stream up to an event or, if the event is null, up to the time when
// somebody asks
struct Use {
  StreamWorkPtr work;
  EventPtr done;

  EventPtr event() const { return done != nullptr ? done : work->event(); }
  void make_wait(cudaStream_t stream) const;
  // Whether an event cannot be had, because it would now be one of a graph
  bool is_captured() const { return done == nullptr && work->is_capturing(); }
  // An error counts as not over: whoever asks for the memory then finds out more
  bool is_over() const noexcept;
  void synchronize() const;
};

// Device memory. When the last reference is dropped, it goes back to where it came from behind all work that
// uses it.
class Allocation {
 public:
  enum class Origin { kPool, kShareable, kIpc, kExternal };

  // `home` is the stream that the memory is allocated and freed on; null for memory that is not freed in the
  // order of a stream
  Allocation(EnvironmentPtr environment, Origin origin, void* pointer, size_t bytes, StreamWorkPtr home);
  ~Allocation();
  Allocation(const Allocation&) = delete;

  // Allocates from the pool, in the order of `stream`. The memory is freed in the order of `home`, whose work
  // must come after the allocation
  static std::shared_ptr<Allocation> from_pool(const EnvironmentPtr& environment, size_t bytes,
                                               const StreamPtr& stream, const StreamPtr& home);
  // Allocates memory that other processes can open
  static std::shared_ptr<Allocation> shareable(const EnvironmentPtr& environment, size_t bytes);

  // Tells that `stream` uses the memory, until the memory is dropped. This is PyTorch's `record_stream`
  void record(const StreamPtr& stream) { add_use({stream->work, nullptr}); }
  // Tells that there is work that uses the memory
  void add_use(const Use& use);
  bool is_at_home_on(const StreamPtr& stream) const;

  const EnvironmentPtr environment;
  const Origin origin;
  void* const pointer;
  const size_t bytes;

 private:
  const StreamWorkPtr home_;
  std::vector<Use> uses_;  // At most one for each stream. Work at home is not among them
};

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
  static EnvironmentPtr create(int ordinal);
  ~Environment();
  // Waits for the work for which memory is kept, and drops that memory, which would otherwise keep this
  // environment alive
  void close() noexcept;

  void* allocate(size_t bytes, cudaStream_t stream);
  // Copies `bytes` of host memory, which may change as soon as this returns
  void upload(const AllocationPtr& target, size_t byte_offset, const void* source, size_t bytes,
              const StreamPtr& stream);
  // Keeps pinned memory from reuse until the work that uses it is done
  void keep_until(EventPtr done, PinnedPtr memory);

  // Returns a stream for a wait and a host function, to be given back when that was called. There are as many as
  // there are waits at a time, but not more than a few dozen. If there are more waits, one may end later than it
  // could, behind another one.
  cudaStream_t take_waiting_stream();
  void give_waiting_stream(cudaStream_t stream);

  // Where graphs give back memory when they are destroyed
  const std::shared_ptr<GraphMemories> memory_of_graphs = std::make_shared<GraphMemories>();

  const int ordinal;
  const CUcontext context;

 private:
  friend class Allocation;
  friend class Event;
  friend class Pinned;
  friend class Stream;
  struct Kept {
    EventPtr done;
    PinnedPtr memory;
  };
  struct IdlePinned {
    uint8_t* data;
    size_t capacity;
  };
  using IdlePinnedList = std::list<IdlePinned>;
  // Device memory that nobody holds any more
  struct Dropped {
    Allocation::Origin origin;
    void* pointer;
    StreamWorkPtr home;
    std::vector<Use> uses;
  };

  struct WaitingStream {
    cudaStream_t stream;
    int num_waits;
  };
  // A stream that nobody holds any more, and that is a part of a capture
  struct CapturedStream {
    cudaStream_t stream;
    StreamWorkPtr work;
  };

  explicit Environment(int ordinal);
  void destroy(const CapturedStream& stream) noexcept;
  // Frees memory behind the work that uses it, or keeps it for later while any of its streams is captured
  void free(Dropped memory) noexcept;
  void free_in_order(const Dropped& memory) noexcept;
  // Does what was put off because of a capture, or because another thread could not do it
  void free_delayed() noexcept;
  // Asks the next `num_asked` events whether they are done, and drops the memory that is kept for those that
  // are
  void drop_kept(size_t num_asked);
  // Frees idle pinned memory, least recently used first, until at most `max_bytes` are left
  void shrink_idle_pinned(size_t max_bytes) noexcept;

  cudaMemPool_t pool_ = nullptr;    // Null where the driver has no memory pools
  cudaStream_t reclaim_ = nullptr;  // Frees what several streams used
  std::set<cudaStream_t> own_streams_;
  std::vector<WaitingStream> waiting_streams_;
  std::vector<cudaEvent_t> idle_events_;
  IdlePinnedList idle_pinned_;  // In the order of last use
  std::multimap<size_t, IdlePinnedList::iterator> idle_pinned_by_capacity_;
  size_t idle_pinned_bytes_ = 0;
  std::vector<Kept> kept_;
  size_t next_kept_ = 0;  // The index in `kept_` of the next to be asked
  std::vector<Dropped> delayed_;
  std::vector<CapturedStream> captured_streams_;
  bool is_closed_ = false;
};

}  // namespace dispatch_layout
