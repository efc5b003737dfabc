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

// One core copies at a fraction of what memory and the bus can do
void copy(uint8_t* target, const uint8_t* source, size_t bytes) {
  constexpr size_t kBytesPerThread = size_t{1} << 20, kMaxThreads = 8;
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
    // No more threads, or no memory for them, are to be had: this one does the rest
  }
  if (begin < bytes) std::memcpy(target + begin, source + begin, bytes - begin);
  for (std::thread& thread : threads) thread.join();
}

template <typename Id>
void gather(const Id* ids, const TopkShape& shape, Id* target) {
  for (int64_t token = 0; token < shape.num_tokens; ++token)
    for (int64_t slot = 0; slot < shape.num_topk; ++slot)
      *target++ = ids[token * shape.token_stride + slot * shape.slot_stride];
}

// An id of any type; uint64 as its bits
int64_t to_int64(const uint8_t* id, IdType type) {
  const size_t bytes = get_id_bytes(type);
  uint64_t value = 0;
  std::memcpy(&value, id, bytes);
  const int shift = 64 - 8 * static_cast<int>(bytes);
  return is_signed(type) ? static_cast<int64_t>(value << shift) >> shift : static_cast<int64_t>(value);
}

// Copies the ids of all tokens to contiguous rows
void pack(const void* ids, const TopkShape& shape, uint8_t* target) {
  const size_t bytes = get_id_bytes(shape.type), row_bytes = shape.num_topk * bytes;
  const auto* source = static_cast<const uint8_t*>(ids);
  if (shape.slot_stride == 1 || shape.num_topk == 1) {
    if (shape.token_stride == shape.num_topk || shape.num_tokens == 1) {
      copy(target, source, shape.num_tokens * row_bytes);
      return;
    }
    for (int64_t token = 0; token < shape.num_tokens; ++token, target += row_bytes)
      std::memcpy(target, source + token * shape.token_stride * static_cast<int64_t>(bytes), row_bytes);
    return;
  }
  switch (bytes) {
    case 1: return gather(reinterpret_cast<const uint8_t*>(source), shape, target);
    case 2:
      return gather(reinterpret_cast<const uint16_t*>(source), shape, reinterpret_cast<uint16_t*>(target));
    case 4:
      return gather(reinterpret_cast<const uint32_t*>(source), shape, reinterpret_cast<uint32_t*>(target));
    default:
      return gather(reinterpret_cast<const uint64_t*>(source), shape, reinterpret_cast<uint64_t*>(target));
  }
}

// The communication stream waits for the previous event or, if there is none, for the current stream
void begin_order(const EnvironmentPtr& environment, const StreamOrder& order, cudaStream_t comm) {
  if (order.previous != nullptr)
    order.previous->make_wait(comm);
  else
    Event(environment, order.current->handle).make_wait(comm);
}

}  // namespace

OutputOffsets::OutputOffsets(int64_t num_tokens, int num_experts, int num_ranks, int num_nodes) {
  constexpr int64_t kMaxMaskBytes = int64_t{1} << 48;
  if (num_tokens < 0 || num_experts <= 0 || num_ranks <= 0 || num_nodes <= 0 ||
      num_tokens > kMaxMaskBytes / num_ranks)
    throw std::length_error("a layout of " + std::to_string(num_tokens) + " tokens on " +
                            std::to_string(num_ranks) + " ranks is larger than any memory");
  // The first 16 bytes are the status word of a host layout
  per_rank = 16;
  per_node = align(per_rank + sizeof(int32_t) * num_ranks);
  per_expert = align(per_node + sizeof(int32_t) * num_nodes);
  mask = align(per_expert + sizeof(int32_t) * num_experts);
  end = align(mask + static_cast<size_t>(num_tokens) * num_ranks);
}

Status::Status(EnvironmentPtr environment)
    : environment_(std::move(environment)),
      memory_(std::make_shared<Pinned>(environment_, sizeof(uint64_t))) {}

Status::~Status() {
  if (done != nullptr && !is_finished_) environment_->keep_until(done, memory_);
}

bool Status::is_done() {
  if (!is_finished_) is_finished_ = done->is_done();
  return is_finished_;
}

uint64_t* Status::word() const { return reinterpret_cast<uint64_t*>(memory_->data()); }

bool Status::read_id(int64_t position, int64_t* id) const {
  const AllocationPtr allocation = input.lock();
  if (allocation == nullptr) return false;
  const size_t bytes = get_id_bytes(shape.type);
  const int64_t index = position / shape.num_topk * shape.token_stride + position % shape.num_topk;
  const Stream stream(environment_);
  const auto pinned = std::make_shared<Pinned>(environment_, bytes);
  done->make_wait(stream.handle);
  CHECK_CUDA(cudaMemcpyAsync(pinned->data(),
                             static_cast<const uint8_t*>(allocation->pointer) + input_offset + index * bytes,
                             bytes, cudaMemcpyDeviceToHost, stream.handle));
  CHECK_CUDA(cudaStreamSynchronize(stream.handle));
  *id = to_int64(pinned->data(), shape.type);
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
  uint64_t position = 0;
  std::memcpy(&position, output->data(), sizeof(position));
  return static_cast<int64_t>(position);  // ~0 is -1
}

void HostLayout::copy_output(void* target, size_t offset, size_t bytes) const {
  copy(static_cast<uint8_t*>(target), output->data() + offset, bytes);
}

int64_t HostLayout::read_id(int64_t position) const {
  return to_int64(input->data() + position * get_id_bytes(type), type);
}

Download::Download(EnvironmentPtr environment, const AllocationPtr& source, size_t offset, size_t bytes,
                   const StreamPtr& stream)
    : environment(std::move(environment)),
      memory(std::make_shared<Pinned>(this->environment, bytes)),
      bytes(bytes),
      done(std::make_shared<Event>(this->environment)) {
  if (bytes > 0) {
    source->record(stream);
    CHECK_CUDA(cudaMemcpyAsync(memory->data(), static_cast<const uint8_t*>(source->pointer) + offset, bytes,
                               cudaMemcpyDeviceToHost, stream->handle));
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

Plan::Plan(EnvironmentPtr environment, StreamPtr comm, int num_experts, int num_ranks, int num_ranks_per_node,
           int num_nodes, const int32_t* rank_of_expert)
    : environment_(std::move(environment)),
      comm_(std::move(comm)),
      num_experts_(num_experts),
      num_ranks_(num_ranks),
      num_ranks_per_node_(num_ranks_per_node),
      num_nodes_(num_nodes) {
  const size_t workspace_bytes = dispatch_layout_workspace_bytes(num_experts, num_ranks);
  workspace_ = Allocation::from_pool(environment_, workspace_bytes, comm_, comm_);
  CHECK_CUDA(cudaMemsetAsync(workspace_->pointer, 0, workspace_bytes, comm_->handle));
  if (rank_of_expert == nullptr) return;
  const size_t table_bytes = sizeof(int32_t) * num_experts;
  rank_of_expert_ = Allocation::from_pool(environment_, table_bytes, comm_, comm_);
  environment_->upload(rank_of_expert_->pointer, rank_of_expert, table_bytes, comm_->handle);
}

void Plan::run(const void* topk_idx, const TopkShape& shape, const OutputPointers& outputs,
               uint64_t* status) {
  // Without tokens there are no ids, however many each would have
  const int64_t num_topk = shape.num_tokens == 0 ? 0 : shape.num_topk;
  if (num_topk > std::numeric_limits<int>::max())
    throw CudaError(cudaErrorInvalidValue, "launch_dispatch_layout");
  DispatchLayoutArguments arguments;
  arguments.topk_idx = topk_idx;
  arguments.topk_idx_type = shape.type;
  arguments.num_tokens = shape.num_tokens;
  arguments.num_topk = static_cast<int>(num_topk);
  arguments.token_stride = shape.token_stride;
  arguments.num_experts = num_experts_;
  arguments.num_ranks = num_ranks_;
  arguments.num_ranks_per_node = num_ranks_per_node_;
  arguments.rank_of_expert =
      rank_of_expert_ == nullptr ? nullptr : static_cast<const int32_t*>(rank_of_expert_->pointer);
  arguments.num_tokens_per_rank = outputs.per_rank;
  arguments.num_tokens_per_rdma_rank = num_nodes_ > 1 ? outputs.per_node : nullptr;
  arguments.num_tokens_per_expert = outputs.per_expert;
  arguments.is_token_in_rank = outputs.mask;
  arguments.first_invalid_position = status;
  arguments.workspace = workspace_->pointer;
  CHECK_CUDA(launch_dispatch_layout(arguments, comm_->handle));
}

Plan::DeviceResult Plan::launch(const DeviceInput& input, const std::vector<DeviceOutput>* outputs,
                                Status* status, const StreamOrder& order) {
  const OutputOffsets offsets = output_offsets(input.shape.num_tokens);
  const auto done = std::make_shared<Event>(environment_);
  begin_order(environment_, order, comm_->handle);
  DeviceResult result;
  OutputPointers pointers{};
  if (outputs == nullptr) {
    // Allocated in the order of the communication stream, where the kernel is next; without `asyncFinish`, the current
    // stream, where the memory belongs, is ordered after that
    result.outputs = Allocation::from_pool(environment_, offsets.end, comm_,
                                           order.allocate_on_comm_stream ? comm_ : order.current);
    auto* base = static_cast<uint8_t*>(result.outputs->pointer);
    pointers = {reinterpret_cast<int32_t*>(base + offsets.per_rank),
                reinterpret_cast<int32_t*>(base + offsets.per_node),
                reinterpret_cast<int32_t*>(base + offsets.per_expert), base + offsets.mask};
  } else {
    const size_t sizes[] = {sizeof(int32_t) * num_ranks_, num_nodes_ > 1 ? sizeof(int32_t) * num_nodes_ : 0,
                            sizeof(int32_t) * num_experts_,
                            static_cast<size_t>(input.shape.num_tokens) * num_ranks_};
    const auto at = [&](size_t i) -> uint8_t* {
      const auto& [allocation, offset] = outputs->at(i);
      if (allocation == nullptr) return nullptr;
      if (offset > allocation->bytes || sizes[i] > allocation->bytes - offset)
        throw std::length_error("an output is larger than its memory");
      return static_cast<uint8_t*>(allocation->pointer) + offset;
    };
    pointers = {reinterpret_cast<int32_t*>(at(0)), reinterpret_cast<int32_t*>(at(1)),
                reinterpret_cast<int32_t*>(at(2)), at(3)};
  }

  // As with `record_stream`: what is disposed of before the streams meet again must outlive the kernel. Where the
  // current stream waits, it stands for both.
  const auto record = [&](const AllocationPtr& allocation) {
    if (allocation == nullptr) return;
    allocation->record(order.current);
    if (order.is_async) allocation->record(comm_);
  };
  record(input.allocation);
  record(result.outputs);
  if (outputs != nullptr)
    for (const DeviceOutput& output : *outputs) record(output.allocation);

  try {
    run(static_cast<const uint8_t*>(input.allocation->pointer) + input.offset, input.shape, pointers,
        status == nullptr ? nullptr : status->word());
    done->record(comm_->handle);
    if (order.is_async)
      result.done = done;
    else
      done->make_wait(order.current->handle);
  } catch (...) {
    // The current stream does not wait for the communication stream, and memory goes back in its order
    cudaStreamSynchronize(comm_->handle);
    cudaGetLastError();
    throw;
  }
  if (status != nullptr) {
    status->done = done;
    status->input = input.allocation;
    status->input_offset = input.offset;
    status->shape = input.shape;
  }
  return result;
}

std::shared_ptr<HostLayout> Plan::launch(const void* topk_idx, const TopkShape& shape, bool is_strict,
                                         const StreamOrder& order) {
  const OutputOffsets offsets = output_offsets(shape.num_tokens);
  size_t input_bytes = 0;
  if (__builtin_mul_overflow(shape.num_tokens, shape.num_topk, &input_bytes) ||
      __builtin_mul_overflow(input_bytes, get_id_bytes(shape.type), &input_bytes))
    throw std::length_error("the ids are larger than any memory");
  const std::shared_ptr<HostLayout> layout(new HostLayout{
      environment_, std::make_shared<Pinned>(environment_, input_bytes),
      std::make_shared<Pinned>(environment_, offsets.end), offsets, shape.type, nullptr, false});
  if (shape.num_tokens > 0 && shape.num_topk > 0) pack(topk_idx, shape, layout->input->data());
  uint8_t* base = layout->output->data();
  std::memset(base, 0xff, sizeof(uint64_t));
  const auto done = std::make_shared<Event>(environment_);
  begin_order(environment_, order, comm_->handle);
  TopkShape packed = shape;
  packed.token_stride = shape.num_topk;
  packed.slot_stride = 1;
  run(layout->input->data(), packed,
      {reinterpret_cast<int32_t*>(base + offsets.per_rank),
       reinterpret_cast<int32_t*>(base + offsets.per_node),
       reinterpret_cast<int32_t*>(base + offsets.per_expert), base + offsets.mask},
      is_strict ? reinterpret_cast<uint64_t*>(base) : nullptr);
  done->record(comm_->handle);
  layout->done = done;
  if (!order.is_async) layout->done->make_wait(order.current->handle);
  return layout;
}

}  // namespace dispatch_layout
