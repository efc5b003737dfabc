#include "layout.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cuda_error.h"

namespace dispatch_layout {
namespace {

size_t align(size_t offset) { return (offset + 15) / 16 * 16; }

// Copies with several threads, since one core copies at a fraction of the speed of memory and of the bus
void copy(uint8_t* target, const uint8_t* source, size_t bytes) {
  constexpr size_t kBytesPerThread = size_t{1} << 20, kMaxThreads = 8;
  // Asking for the number of cores takes longer than a small copy
  if (bytes < 2 * kBytesPerThread) {
    if (bytes > 0) std::memcpy(target, source, bytes);
    return;
  }
  const size_t num_cores = std::thread::hardware_concurrency() / 2;
  const size_t num_parts = std::max<size_t>(1, std::min({bytes / kBytesPerThread, num_cores, kMaxThreads}));
  const size_t part_bytes = bytes / num_parts / 64 * 64;
  std::vector<std::thread> threads;
  size_t begin = 0;
  try {
    threads.reserve(num_parts);
    for (; begin + 2 * part_bytes <= bytes && threads.size() + 1 < num_parts; begin += part_bytes)
      threads.emplace_back(
          [target, source, begin, part_bytes] { std::memcpy(target + begin, source + begin, part_bytes); });
  } catch (const std::exception&) {
    // There are no more threads, or there is no memory for them, so this thread copies the rest
  }
  if (begin < bytes) std::memcpy(target + begin, source + begin, bytes - begin);
  for (std::thread& thread : threads) thread.join();
}

template <typename Id>
void gather(const HostIds& ids, uint8_t* target) {
  const Id* source = reinterpret_cast<const Id*>(ids.first);
  Id* next = reinterpret_cast<Id*>(target);
  for (int64_t token = 0; token < ids.num_tokens; ++token)
    for (int64_t slot = 0; slot < ids.num_topk; ++slot)
      *next++ = source[token * ids.token_stride + slot * ids.slot_stride];
}

// Reads an id of any type; a uint64 is returned as its bits
int64_t to_int64(const uint8_t* id, IdType type) {
  const size_t bytes = get_id_bytes(type);
  uint64_t value = 0;
  std::memcpy(&value, id, bytes);
  const int shift = 64 - 8 * static_cast<int>(bytes);
  return is_signed(type) ? static_cast<int64_t>(value << shift) >> shift : static_cast<int64_t>(value);
}

// Copies the ids of all tokens to contiguous rows
void pack(const HostIds& ids, uint8_t* target) {
  const size_t id_bytes = get_id_bytes(ids.type), row_bytes = ids.num_topk * id_bytes;
  if (ids.slot_stride == 1 || ids.num_topk == 1) {
    if (ids.token_stride == ids.num_topk || ids.num_tokens == 1) {
      copy(target, ids.first, ids.num_tokens * row_bytes);
      return;
    }
    for (int64_t token = 0; token < ids.num_tokens; ++token, target += row_bytes)
      std::memcpy(target, ids.first + token * ids.token_stride * static_cast<int64_t>(id_bytes), row_bytes);
    return;
  }
  switch (id_bytes) {
    case 1: return gather<uint8_t>(ids, target);
    case 2: return gather<uint16_t>(ids, target);
    case 4: return gather<uint32_t>(ids, target);
    default: return gather<uint64_t>(ids, target);
  }
}

// Returns pointers to outputs that lie in one piece of memory; null for an output without elements
PerOutput<void*> pointers_in(uint8_t* memory, const OutputPlaces& places) {
  PerOutput<void*> pointers{};
  for (size_t i = 0; i < kNumOutputs; ++i)
    if (places.bytes[i] > 0) pointers[i] = memory + places.byte_offsets[i];
  return pointers;
}

// Returns pointers to outputs that were given, which must be as large as `places` says; null for an output
// without elements
PerOutput<void*> pointers_to(const PerOutput<DevicePlace>& outputs, const OutputPlaces& places) {
  PerOutput<void*> pointers{};
  for (size_t i = 0; i < kNumOutputs; ++i) {
    const auto& [allocation, byte_offset] = outputs[i];
    if (places.bytes[i] == 0) continue;
    if (allocation == nullptr) throw std::invalid_argument(std::string(kOutputs[i].name) + " is missing");
    if (byte_offset > allocation->bytes || places.bytes[i] > allocation->bytes - byte_offset)
      throw std::length_error("an output is larger than its memory");
    pointers[i] = static_cast<uint8_t*>(allocation->pointer) + byte_offset;
  }
  return pointers;
}

// Makes the communication stream wait for the previous event or, if there is none, for the current stream
void begin_order(const EnvironmentPtr& environment, const StreamOrder& order, cudaStream_t comm) {
  if (order.previous != nullptr)
    order.previous->make_wait(comm);
  else
    Event(environment, order.current_stream->handle).make_wait(comm);
}

}  // namespace

OutputPlaces::OutputPlaces(const LayoutShape& shape) {
  constexpr int64_t kMaxElements = int64_t{1} << 48;
  if (shape.num_tokens < 0) throw std::length_error("the number of tokens is negative");
  total_bytes = 16;
  for (size_t i = 0; i < kNumOutputs; ++i) {
    const Output& output = kOutputs[i];
    const int64_t width = output.width(shape);
    const int64_t num_rows = output.kind == Output::Kind::kRows ? shape.num_tokens : 1;
    if (width > 0 && num_rows > kMaxElements / width)
      throw std::length_error("a layout of " + std::to_string(shape.num_tokens) + " tokens on " +
                              std::to_string(shape.num_ranks) + " ranks is larger than any memory");
    bytes[i] = static_cast<size_t>(num_rows * width) * output.element_bytes;
    byte_offsets[i] = total_bytes;
    total_bytes = align(total_bytes + bytes[i]);
  }
}

Status::Status(EnvironmentPtr environment)
    : environment_(std::move(environment)),
      memory_(std::make_shared<Pinned>(environment_, sizeof(uint64_t))) {}

Status::~Status() {
  if (done_ != nullptr && !is_finished_) environment_->keep_until(done_, memory_);
}

uint64_t* Status::word() const { return reinterpret_cast<uint64_t*>(memory_->data()); }

void Status::set_launched(const DeviceIds& ids, EventPtr done) {
  done_ = std::move(done);
  ids_ = ids;
  ids_allocation_ = ids.place.allocation;
  ids_byte_offset_ = ids.place.byte_offset;
}

bool Status::is_done() {
  if (!is_finished_) is_finished_ = done_->is_done();
  return is_finished_;
}

bool Status::read_id(int64_t selection, int64_t* id) const {
  const AllocationPtr allocation = ids_allocation_.lock();
  if (allocation == nullptr) return false;
  const size_t id_bytes = get_id_bytes(ids_.type);
  const int64_t index = selection / ids_.num_topk * ids_.token_stride + selection % ids_.num_topk;
  const Stream stream(environment_);
  const auto pinned = std::make_shared<Pinned>(environment_, id_bytes);
  done_->make_wait(stream.handle);
  CHECK_CUDA(cudaMemcpyAsync(
      pinned->data(), static_cast<const uint8_t*>(allocation->pointer) + ids_byte_offset_ + index * id_bytes,
      id_bytes, cudaMemcpyDeviceToHost, stream.handle));
  CHECK_CUDA(cudaStreamSynchronize(stream.handle));
  *id = to_int64(pinned->data(), ids_.type);
  return true;
}

HostLayout::~HostLayout() {
  if (done == nullptr || is_finished) return;
  environment->keep_until(done, std::move(input));
  environment->keep_until(done, std::move(output));
}

int64_t HostLayout::synchronize() {
  done->synchronize();
  is_finished = true;
  uint64_t first_invalid_selection = 0;
  std::memcpy(&first_invalid_selection, output->data(), sizeof(first_invalid_selection));
  return static_cast<int64_t>(first_invalid_selection);  // ~0 is -1
}

void HostLayout::copy_output(size_t output_idx, void* target) const {
  if (places.bytes[output_idx] == 0) return;
  copy(static_cast<uint8_t*>(target), output->data() + places.byte_offsets[output_idx],
       places.bytes[output_idx]);
}

int64_t HostLayout::read_id(int64_t selection) const {
  return to_int64(input->data() + selection * get_id_bytes(type), type);
}

Download::Download(EnvironmentPtr environment, const DevicePlace& source, size_t bytes,
                   const StreamPtr& stream)
    : environment(std::move(environment)),
      memory(std::make_shared<Pinned>(this->environment, bytes)),
      bytes(bytes),
      done(std::make_shared<Event>(this->environment)) {
  if (bytes > 0) {
    source.allocation->record(stream);
    CHECK_CUDA(cudaMemcpyAsync(memory->data(),
                               static_cast<const uint8_t*>(source.allocation->pointer) + source.byte_offset,
                               bytes, cudaMemcpyDeviceToHost, stream->handle));
  }
  done->record(stream->handle);
}

Download::~Download() {
  if (!is_finished) environment->keep_until(done, std::move(memory));
}

void Download::finish(void* target) {
  done->synchronize();
  is_finished = true;
  if (bytes > 0) copy(static_cast<uint8_t*>(target), memory->data(), bytes);
}

Plan::Plan(EnvironmentPtr environment, StreamPtr comm_stream, int num_experts, int num_ranks, int num_nodes,
           const int32_t* rank_of_expert)
    : environment_(std::move(environment)),
      comm_stream_(std::move(comm_stream)),
      num_experts_(num_experts),
      num_ranks_(num_ranks),
      num_nodes_(num_nodes) {
  const size_t scratch_bytes = dispatch_layout_scratch_bytes(num_experts, num_ranks);
  scratch_ = Allocation::from_pool(environment_, scratch_bytes, comm_stream_, comm_stream_);
  CHECK_CUDA(cudaMemsetAsync(scratch_->pointer, 0, scratch_bytes, comm_stream_->handle));
  if (rank_of_expert == nullptr) return;
  const size_t table_bytes = sizeof(int32_t) * num_experts;
  rank_of_expert_ = Allocation::from_pool(environment_, table_bytes, comm_stream_, comm_stream_);
  environment_->upload(rank_of_expert_->pointer, rank_of_expert, table_bytes, comm_stream_->handle);
}

void Plan::run(const void* topk_idx, const Ids& ids, const PerOutput<void*>& outputs,
               uint64_t* first_invalid_selection) {
  // Without tokens there are no ids, however many each token would have
  const int64_t num_topk = ids.num_tokens == 0 ? 0 : ids.num_topk;
  if (num_topk < 0 || num_topk > std::numeric_limits<int>::max())
    throw CudaError(cudaErrorInvalidValue, "launch_dispatch_layout");
  DispatchLayoutArguments arguments;
  arguments.topk_idx = topk_idx;
  arguments.topk_idx_type = ids.type;
  arguments.num_tokens = ids.num_tokens;
  arguments.num_topk = static_cast<int>(num_topk);
  arguments.token_stride = ids.token_stride;
  arguments.empty_id = ids.empty_id;
  arguments.num_experts = num_experts_;
  arguments.num_ranks = num_ranks_;
  arguments.num_nodes = num_nodes_;
  arguments.rank_of_expert =
      rank_of_expert_ == nullptr ? nullptr : static_cast<const int32_t*>(rank_of_expert_->pointer);
  for (size_t i = 0; i < kNumOutputs; ++i) kOutputs[i].set_pointer(arguments, outputs[i]);
  arguments.first_invalid_selection = first_invalid_selection;
  arguments.scratch = scratch_->pointer;
  CHECK_CUDA(launch_dispatch_layout(arguments, comm_stream_->handle));
}

Plan::DeviceLayout Plan::launch_on_device(const DeviceIds& ids, const PerOutput<DevicePlace>* outputs,
                                          bool has_mask, bool is_strict, const StreamOrder& order) {
  DeviceLayout layout;
  if (is_strict) layout.status = std::make_shared<Status>(environment_);
  const OutputPlaces places = output_places(ids.num_tokens, has_mask);
  const auto done = std::make_shared<Event>(environment_);
  begin_order(environment_, order, comm_stream_->handle);
  PerOutput<void*> pointers;
  if (outputs == nullptr) {
    // The memory is allocated in the order of the communication stream, where the kernel comes next. Without
    // `allocate_on_comm_stream`, it belongs to the current stream, which waits for the kernel unless
    // `async_finish` is set.
    layout.memory =
        Allocation::from_pool(environment_, places.total_bytes, comm_stream_,
                              order.allocate_on_comm_stream ? comm_stream_ : order.current_stream);
    pointers = pointers_in(static_cast<uint8_t*>(layout.memory->pointer), places);
  } else {
    pointers = pointers_to(*outputs, places);
  }

  // The memory may be disposed of while the kernel is still queued. It must then stay until the kernel is
  // done, as with `record_stream`. Without `async_finish` the current stream waits for the kernel, so it is
  // enough to record that stream.
  const auto record = [&](const AllocationPtr& allocation) {
    if (allocation == nullptr) return;
    allocation->record(order.current_stream);
    if (order.async_finish) allocation->record(comm_stream_);
  };
  record(ids.place.allocation);
  record(layout.memory);
  if (outputs != nullptr)
    for (const DevicePlace& output : *outputs) record(output.allocation);

  try {
    run(static_cast<const uint8_t*>(ids.place.allocation->pointer) + ids.place.byte_offset, ids, pointers,
        is_strict ? layout.status->word() : nullptr);
    done->record(comm_stream_->handle);
    if (order.async_finish)
      layout.event = done;
    else
      done->make_wait(order.current_stream->handle);
  } catch (...) {
    // The current stream now does not wait for the communication stream, but memory is freed in the order of
    // the current stream
    cudaStreamSynchronize(comm_stream_->handle);
    cudaGetLastError();
    throw;
  }
  if (is_strict) layout.status->set_launched(ids, done);
  return layout;
}

std::shared_ptr<HostLayout> Plan::launch_on_host(const HostIds& ids, bool has_mask, bool is_strict,
                                                 const StreamOrder& order) {
  const OutputPlaces places = output_places(ids.num_tokens, has_mask);
  size_t input_bytes = 0;
  if (__builtin_mul_overflow(ids.num_tokens, ids.num_topk, &input_bytes) ||
      __builtin_mul_overflow(input_bytes, get_id_bytes(ids.type), &input_bytes))
    throw std::length_error("the ids are larger than any memory");
  const std::shared_ptr<HostLayout> layout(new HostLayout{
      environment_, std::make_shared<Pinned>(environment_, input_bytes),
      std::make_shared<Pinned>(environment_, places.total_bytes), places, ids.type, nullptr, false});
  if (ids.num_tokens > 0 && ids.num_topk > 0) pack(ids, layout->input->data());
  uint8_t* memory = layout->output->data();
  std::memset(memory, 0xff, sizeof(uint64_t));
  const auto done = std::make_shared<Event>(environment_);
  begin_order(environment_, order, comm_stream_->handle);
  Ids packed = ids;
  packed.token_stride = ids.num_topk;
  run(layout->input->data(), packed, pointers_in(memory, places),
      is_strict ? reinterpret_cast<uint64_t*>(memory) : nullptr);
  done->record(comm_stream_->handle);
  layout->done = done;
  if (!order.async_finish) layout->done->make_wait(order.current_stream->handle);
  return layout;
}

}  // namespace dispatch_layout
