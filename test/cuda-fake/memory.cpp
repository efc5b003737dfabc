#include "memory.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "streams.h"

namespace fake_cuda {
namespace {

// Guards everything in this file. It may be taken while `api_mutex` is held, but not the other way round
std::mutex memory_mutex;

// How much memory of each device is in use, waits to be freed, or is kept for reuse. This, too, is never destroyed
std::map<int, size_t>& used_bytes = *new std::map<int, size_t>;

// Freed memory that is kept for reuse. What was freed last is handed out first.
class Cache {
 public:
  explicit Cache(int device) : device_(device) {}

  struct Piece {
    char* pointer;
    size_t size;
    // The stream in whose order the memory is freed, while the stream has not come to that point. Until then, only
    // allocations in the order of the same stream may use the memory
    QueuePtr pending_on;
    uint64_t id;
  };

  // Returns null if no piece has this size
  char* take(size_t size, const QueuePtr& queue) {
    for (auto piece = pieces_.rbegin(); piece != pieces_.rend(); ++piece) {
      if (piece->size != size || (piece->pending_on != nullptr && piece->pending_on != queue)) continue;
      char* pointer = piece->pointer;
      used_bytes[device_] -= size;
      pieces_.erase(std::next(piece).base());
      return pointer;
    }
    return nullptr;
  }
  // Returns a number by which `set_free` knows the piece
  uint64_t add(char* pointer, size_t size, QueuePtr pending_on) {
    used_bytes[device_] += size;
    pieces_.push_back({pointer, size, std::move(pending_on), ++last_id_});
    return last_id_;
  }
  // The stream has come to the point where the memory is freed. It may have been handed out before
  void set_free(uint64_t id) {
    for (Piece& piece : pieces_)
      if (piece.id == id) piece.pending_on = nullptr;
  }
  // Gives the oldest pieces back to the system, until at most this much is left
  void shrink(size_t max_bytes, size_t max_pieces) {
    size_t bytes = 0, num_pieces = 0;
    for (auto piece = pieces_.end(); piece != pieces_.begin();) {
      --piece;
      if (piece->pending_on != nullptr) continue;
      bytes += piece->size;
      ++num_pieces;
      if (bytes <= max_bytes && num_pieces <= max_pieces) continue;
      used_bytes[device_] -= piece->size;
      std::free(piece->pointer);
      piece = pieces_.erase(piece);
    }
  }
  void shrink() { shrink(is_closed ? 0 : size_t{64} << 20, 256); }

  bool is_closed = false;

 private:
  const int device_;
  std::list<Piece> pieces_;
  uint64_t last_id_ = 0;
};

struct Block {
  enum class Kind { kMalloc, kPool, kPinned };
  Kind kind;
  size_t bytes, size;  // What was asked for, and what is reserved
  int device;
  std::shared_ptr<Cache> cache;  // That of the pool
};

// These are never destroyed, since the streams work until the process is gone
std::map<char*, Block>& blocks = *new std::map<char*, Block>;
Cache& idle_pinned = *new Cache(-1);

char* reserve(size_t size, size_t alignment, size_t bytes) {
  auto* pointer = static_cast<char*>(std::aligned_alloc(alignment, size));
  if (pointer != nullptr) std::memset(pointer, 0xcd, bytes);
  return pointer;
}

size_t round_up(size_t bytes, size_t step) { return std::max<size_t>((bytes + step - 1) / step, 1) * step; }

// Whether a device has so much memory left. `memory_mutex` must be held
bool has_room(int device, size_t size) { return used_bytes[device] + size <= device_bytes(); }

// Remembers a block that was allocated. `memory_mutex` must be held
void add_block(char* pointer, const Block& block) {
  const bool is_pinned = block.kind == Block::Kind::kPinned;
  blocks[pointer] = block;
  ++(is_pinned ? counters.pinned : counters.allocations);
  if (!is_pinned) used_bytes[block.device] += block.size;
}

// Finds the block that an address is in; null if there is none. `memory_mutex` must be held
const std::pair<char* const, Block>* find_block(const void* pointer) {
  auto* address = static_cast<char*>(const_cast<void*>(pointer));
  const auto after = blocks.upper_bound(address);
  if (after == blocks.begin()) return nullptr;
  const auto found = std::prev(after);
  return address < found->first + found->second.bytes ? &*found : nullptr;
}

// Forgets a block that is being freed. `memory_mutex` must be held
Block remove_block(void* pointer, bool is_pinned) {
  const auto found = blocks.find(static_cast<char*>(pointer));
  if (found == blocks.end() || (found->second.kind == Block::Kind::kPinned) != is_pinned)
    stop("memory was freed that was freed before or never allocated");
  const Block block = found->second;
  blocks.erase(found);
  --(is_pinned ? counters.pinned : counters.allocations);
  if (!is_pinned) used_bytes[block.device] -= block.size;
  return block;
}

// With a lost context, nobody waits for the work that uses memory, and here a kernel may still be writing. So nothing
// is overwritten or given back
bool may_release() { return sticky == 0; }

// Frees memory in the order of a stream
void release_in_order(char* pointer, const Block& block, uint64_t id) {
  if (!may_release()) return;
  std::memset(pointer, 0xdd, block.size);
  if (block.cache == nullptr) {
    std::free(pointer);
    return;
  }
  const std::lock_guard<std::mutex> lock(memory_mutex);
  block.cache->set_free(id);
  block.cache->shrink();
}

// Refuses a copy that goes beyond an allocation, and ends the process for one that touches another device
cudaError_t check_copy(const void* pointer, size_t bytes, int device) {
  check_touch(pointer, device);
  const std::lock_guard<std::mutex> lock(memory_mutex);
  const auto* found = find_block(pointer);
  if (found == nullptr) return cudaSuccess;
  const auto offset = static_cast<size_t>(static_cast<const char*>(pointer) - found->first);
  return bytes > found->second.bytes - offset ? cudaErrorInvalidValue : cudaSuccess;
}

cudaError_t submit_copy(CUstream_st& stream, void* target, const void* source, size_t bytes) {
  for (const void* pointer : {static_cast<const void*>(target), source}) {
    const cudaError_t error = check_copy(pointer, bytes, stream.device);
    if (error != cudaSuccess) return error;
  }
  return submit(stream, [=] {
    sleep("FAKE_CUDA_SLOW_COPIES");
    std::memcpy(target, source, bytes);
  });
}

struct IpcHandle {
  void* pointer;
  int device;
};

}  // namespace

size_t device_bytes() {
  const int bytes = number("FAKE_CUDA_MEMORY", 0);
  return bytes > 0 ? static_cast<size_t>(bytes) : size_t{8} << 30;
}

bool has_pools() { return number("FAKE_CUDA_POOLS", 1) != 0; }

bool find_memory(const void* pointer, MemoryRange* range) {
  const std::lock_guard<std::mutex> lock(memory_mutex);
  const auto* found = find_block(pointer);
  if (found == nullptr) return false;
  const auto& [base, block] = *found;
  const int mapped = number("FAKE_CUDA_MEMORY_CHUNK", 0);
  const auto chunk = static_cast<size_t>(std::max(mapped, number("FAKE_CUDA_MEMORY_NEIGHBORS", 0)));
  const bool is_of_malloc = block.kind == Block::Kind::kMalloc,
             is_pinned = block.kind == Block::Kind::kPinned;
  const bool has_pieces = chunk > 0 && (is_of_malloc || (mapped == 0 && !is_pinned));
  *range = {base, block.bytes, block.device, is_pinned, is_of_malloc, has_pieces && mapped > 0};
  if (has_pieces) {
    const size_t begin = static_cast<size_t>(static_cast<const char*>(pointer) - base) / chunk * chunk;
    range->base = base + begin;
    range->bytes = std::min(chunk, block.bytes - begin);
  }
  return true;
}

void check_touch(const void* pointer, int device) {
  MemoryRange range;
  if (pointer == nullptr || !find_memory(pointer, &range) || range.is_pinned) return;
  if (range.device != device) stop("device %d touched memory of device %d", device, range.device);
}

}  // namespace fake_cuda

struct CUmemPool_st {
  const int device;
  const std::shared_ptr<fake_cuda::Cache> cache = std::make_shared<fake_cuda::Cache>(device);
};

using namespace fake_cuda;

extern "C" {

// --- Pools ---
cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
  return call_in_context(fault(__func__), [&](int) {
    if (!has_pools()) return cudaErrorNotSupported;
    const cudaError_t error = device_obstacle(properties->location.id);
    if (error != cudaSuccess) return error;
    const std::lock_guard<std::mutex> lock(api_mutex);
    const cudaError_t refusal = refuse_unsafe_call();
    if (refusal != cudaSuccess) return refusal;
    *pool = new CUmemPool_st{properties->location.id};
    ++counters.pools;
    return cudaSuccess;
  });
}
// Memory that is not free yet outlives the pool
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  return call_in_context(cudaSuccess, [&](int) {
    if (!has_pools()) return cudaErrorNotSupported;
    {
      const std::lock_guard<std::mutex> lock(memory_mutex);
      pool->cache->is_closed = true;
      if (may_release()) pool->cache->shrink();
    }
    delete pool;
    --counters.pools;
    return cudaSuccess;
  });
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) {
  return call_in_context(cudaSuccess, [&](int) { return has_pools() ? cudaSuccess : cudaErrorNotSupported; });
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t bytes) {
  return call_in_context(cudaSuccess, [&](int) {
    if (!has_pools()) return cudaErrorNotSupported;
    const std::lock_guard<std::mutex> lock(memory_mutex);
    if (may_release()) pool->cache->shrink(bytes, SIZE_MAX);
    return cudaSuccess;
  });
}
cudaError_t cudaMallocFromPoolAsync(void** pointer, size_t bytes, cudaMemPool_t pool, cudaStream_t handle) {
  return call_on_stream(fault(__func__), handle, [&](CUstream_st& stream, int) {
    if (!has_pools()) return cudaErrorNotSupported;
    if (stream.device != pool->device) return cudaErrorInvalidValue;
    if (stream.capture != nullptr) stop("memory allocated in a capture");
    const cudaError_t error = refuse_implicit_dependency(stream);
    if (error != cudaSuccess) return error;
    if (bytes > device_bytes()) return cudaErrorMemoryAllocation;
    const size_t size = round_up(bytes, 256);
    const std::lock_guard<std::mutex> lock(memory_mutex);
    char* memory = pool->cache->take(size, stream.queue);
    if (memory == nullptr && has_room(pool->device, size)) memory = reserve(size, 256, bytes);
    if (memory == nullptr) return cudaErrorMemoryAllocation;
    add_block(memory, {Block::Kind::kPool, bytes, size, pool->device, pool->cache});
    *pointer = memory;
    return cudaSuccess;
  });
}
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t handle) {
  return call_on_stream(cudaSuccess, handle, [&](CUstream_st& stream, int) {
    if (!has_pools()) return cudaErrorNotSupported;
    const cudaError_t error = refuse_implicit_dependency(stream);
    if (error != cudaSuccess) return error;
    if (stream.capture != nullptr) {
      // The memory does not belong to the graph
      invalidate(stream.capture);
      return cudaErrorInvalidValue;
    }
    auto* memory = static_cast<char*>(pointer);
    Block block;
    uint64_t id = 0;
    {
      const std::lock_guard<std::mutex> lock(memory_mutex);
      block = remove_block(pointer, false);
      if (block.cache != nullptr) id = block.cache->add(memory, block.size, stream.queue);
    }
    enqueue(stream, [memory, block, id] { release_in_order(memory, block, id); });
    return cudaSuccess;
  });
}

// --- Other memory ---
cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return call_in_context(fault(__func__), [&](int device) {
    const std::lock_guard<std::mutex> api_lock(api_mutex);
    const cudaError_t refusal = refuse_unsafe_call();
    if (refusal != cudaSuccess) return refusal;
    *pointer = nullptr;
    if (bytes == 0) return cudaSuccess;
    if (bytes > device_bytes()) return cudaErrorMemoryAllocation;
    const size_t size = round_up(bytes, 256);
    const std::lock_guard<std::mutex> lock(memory_mutex);
    char* memory = has_room(device, size) ? reserve(size, 256, bytes) : nullptr;
    if (memory == nullptr) return cudaErrorMemoryAllocation;
    add_block(memory, {Block::Kind::kMalloc, bytes, size, device, nullptr});
    *pointer = memory;
    return cudaSuccess;
  });
}
cudaError_t cudaFree(void* pointer) {
  return call_in_context(cudaSuccess, [&](int) {
    const std::lock_guard<std::mutex> api_lock(api_mutex);
    const cudaError_t refusal = refuse_unsafe_call();
    if (refusal != cudaSuccess || pointer == nullptr) return refusal;
    const std::lock_guard<std::mutex> lock(memory_mutex);
    const Block block = remove_block(pointer, false);
    if (block.kind == Block::Kind::kPool) stop("cudaFree of memory from a pool is not modelled");
    if (!may_release()) return cudaSuccess;
    std::memset(pointer, 0xdd, block.size);
    std::free(pointer);
    return cudaSuccess;
  });
}
cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  return call_in_context(fault(__func__), [&](int device) {
    const std::lock_guard<std::mutex> api_lock(api_mutex);
    const cudaError_t refusal = refuse_unsafe_call();
    if (refusal != cudaSuccess) return refusal;
    const size_t size = round_up(bytes, 4096);
    const std::lock_guard<std::mutex> lock(memory_mutex);
    char* memory = idle_pinned.take(size, nullptr);
    if (memory == nullptr) memory = reserve(size, 4096, bytes);
    if (memory == nullptr) return cudaErrorMemoryAllocation;
    add_block(memory, {Block::Kind::kPinned, bytes, size, device, nullptr});
    *pointer = memory;
    return cudaSuccess;
  });
}
cudaError_t cudaFreeHost(void* pointer) {
  return call_in_context(cudaSuccess, [&](int) {
    const std::lock_guard<std::mutex> api_lock(api_mutex);
    const cudaError_t refusal = refuse_unsafe_call();
    if (refusal != cudaSuccess || pointer == nullptr) return refusal;
    const std::lock_guard<std::mutex> lock(memory_mutex);
    const Block block = remove_block(pointer, true);
    if (!may_release()) return cudaSuccess;
    std::memset(pointer, 0xdd, block.size);
    idle_pinned.add(static_cast<char*>(pointer), block.size, nullptr);
    idle_pinned.shrink();
    return cudaSuccess;
  });
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return call_in_context(fault(__func__), [&](int device) {
    const std::lock_guard<std::mutex> lock(memory_mutex);
    *total = device_bytes();
    *free = *total - std::min(used_bytes[device], *total);
    return cudaSuccess;
  });
}

// --- Copies ---
cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind,
                            cudaStream_t handle) {
  return call_on_stream(fault(__func__), handle,
                        [&](CUstream_st& stream, int) { return submit_copy(stream, target, source, bytes); });
}
// A copy for which the caller waits, on the legacy stream
cudaError_t cudaMemcpy(void* target, const void* source, size_t bytes, cudaMemcpyKind) {
  StatePtr done = std::make_shared<State>();
  const cudaError_t error = call_on_stream(fault(__func__), nullptr, [&](CUstream_st& stream, int) {
    const cudaError_t refusal = refuse_unsafe_call();
    if (refusal != cudaSuccess) return refusal;
    const cudaError_t failure = submit_copy(stream, target, source, bytes);
    if (failure != cudaSuccess) return failure;
    return submit(stream, [done] { done->finish(); });
  });
  if (error != cudaSuccess) return error;
  done->wait();
  return call(cudaSuccess, [] { return sticky_error(); });
}
cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t handle) {
  return call_on_stream(fault(__func__), handle, [&](CUstream_st& stream, int device) {
    if (stream.device != device) return cudaErrorInvalidResourceHandle;
    const cudaError_t error = check_copy(target, bytes, device);
    if (error != cudaSuccess) return error;
    return submit(stream, [=] {
      sleep("FAKE_CUDA_SLOW_COPIES");
      std::memset(target, value, bytes);
    });
  });
}

// --- Addresses ---
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  return call_in_context(fault(__func__), [&](int) {
    MemoryRange range;
    auto* address = const_cast<void*>(pointer);
    if (!find_memory(pointer, &range))
      *attributes = {cudaMemoryTypeUnregistered, -2, nullptr, address};
    else if (range.is_pinned)
      *attributes = {cudaMemoryTypeHost, range.device, address, address};
    else
      *attributes = {cudaMemoryTypeDevice, number("FAKE_CUDA_POINTER_DEVICE", range.device), address,
                     nullptr};
    return cudaSuccess;
  });
}
// These work within one process, which the real functions do not allow
cudaError_t cudaIpcGetMemHandle(cudaIpcMemHandle_t* handle, void* pointer) {
  return call_in_context(fault(__func__), [&](int) {
    const std::lock_guard<std::mutex> lock(memory_mutex);
    const auto* found = find_block(pointer);
    if (found == nullptr || found->second.kind != Block::Kind::kMalloc) return cudaErrorInvalidValue;
    // The handle is that of the whole allocation
    const IpcHandle contents{found->first, found->second.device};
    *handle = {};
    std::memcpy(handle, &contents, sizeof(contents));
    return cudaSuccess;
  });
}
cudaError_t cudaIpcOpenMemHandle(void** pointer, cudaIpcMemHandle_t handle, unsigned) {
  return call_in_context(fault(__func__), [&](int) {
    const std::lock_guard<std::mutex> api_lock(api_mutex);
    const cudaError_t refusal = refuse_unsafe_call();
    if (refusal != cudaSuccess) return refusal;
    IpcHandle contents;
    std::memcpy(&contents, &handle, sizeof(contents));
    MemoryRange range;
    if (!find_memory(contents.pointer, &range)) return cudaErrorInvalidValue;
    // As with peer access, memory of another device than the current one is opened without a word
    *pointer = contents.pointer;
    return cudaSuccess;
  });
}
cudaError_t cudaIpcCloseMemHandle(void*) {
  return call_in_context(cudaSuccess, [&](int) {
    const std::lock_guard<std::mutex> lock(api_mutex);
    return refuse_unsafe_call();
  });
}
}
