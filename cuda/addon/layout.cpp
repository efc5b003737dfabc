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

// Whether there are outputs whose length depends on the number of tokens
bool has_rows(const Computation& computation) {
  return computation.kind != Computation::Kind::kLayout || computation.mask != MaskForm::kNone;
}

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

// Returns pointers to outputs that lie in two pieces of memory; null for an output without elements
PerOutput<void*> pointers_in(const PerKind<uint8_t*>& pieces, const OutputPlaces& places) {
  PerOutput<void*> pointers{};
  for (size_t i = 0; i < kNumOutputs; ++i)
    if (places.bytes[i] > 0) pointers[i] = pieces[kOutputs[i].kind] + places.byte_offsets[i];
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

// Checks that a layout on the communication stream, and its previous event, are of this capture, or of none. CUDA
// would otherwise spoil the capture, or capture what is not meant to be
void check_capture(const Capture& capture, const StreamOrder& order, cudaStream_t comm) {
  const Capture comm_capture = capture_of(comm);
  if (comm_capture.is_active() && comm_capture != capture) throw CaptureError("OTHER_CAPTURE");
  if (order.previous == nullptr || order.previous->capture == capture) return;
  throw CaptureError(order.previous->capture.is_active() ? "CAPTURED_EVENT" : "EARLIER_EVENT");
}

// Where the pieces of the outputs begin in the pinned memory of a layout of host memory, behind what strict mode
// finds
constexpr size_t kCountsOffset = 32;
static_assert(sizeof(InvalidSelection) <= kCountsOffset);
size_t rows_offset(const OutputPlaces& places) { return kCountsOffset + align(places.piece_bytes.counts); }

}  // namespace

int64_t num_elements(int64_t rows, int64_t width) {
  constexpr int64_t kMaxElements = int64_t{1} << 48;
  if (rows < 0 || width < 0) throw std::length_error("a number of tokens or slots is negative");
  if (width > 0 && rows > kMaxElements / width)
    throw std::length_error("an output of " + std::to_string(rows) + " x " + std::to_string(width) +
                            " elements is larger than any memory");
  return rows * width;
}

int64_t max_rows_by_expert(const OutputShape& shape) {
  const Computation& order = shape.computation;
  const int64_t num_selections = num_elements(shape.num_tokens, shape.num_topk);
  const int64_t num_padded = std::min<int64_t>(num_selections, order.num_local_experts);
  const int64_t largest = num_selections + num_padded * (order.alignment - 1);
  return largest - largest % order.alignment;
}

OutputPlaces::OutputPlaces(const OutputShape& shape) {
  if (shape.num_tokens < 0) throw std::length_error("the number of tokens is negative");
  piece_bytes = {0, 0};
  for (size_t i = 0; i < kNumOutputs; ++i) {
    const Output& output = kOutputs[i];
    bytes[i] = static_cast<size_t>(output.length(shape)) * output.element_bytes;
    size_t& end = piece_bytes[output.kind];
    byte_offsets[i] = align(end);
    end = byte_offsets[i] + bytes[i];
  }
}

HostLayout::~HostLayout() {
  if (done == nullptr || is_finished) return;
  environment->keep_until(done, std::move(input));
  environment->keep_until(done, std::move(output));
}

void HostLayout::synchronize() {
  done->synchronize();
  is_finished = true;
}

PerKind<uint8_t*> HostLayout::pieces() const {
  return {output->data() + kCountsOffset, output->data() + rows_offset(places)};
}

void HostLayout::copy_output(size_t output_idx, void* target) const {
  if (places.bytes[output_idx] == 0) return;
  copy(static_cast<uint8_t*>(target), pieces()[kOutputs[output_idx].kind] + places.byte_offsets[output_idx],
       places.bytes[output_idx]);
}

Download::Download(const DevicePlace& source, size_t bytes, const StreamPtr& stream)
    : environment(source.allocation->environment),
      memory(std::make_shared<Pinned>(environment, bytes)),
      bytes(bytes),
      done(std::make_shared<Event>(environment)) {
  if (bytes > 0)
    CHECK_CUDA(cudaMemcpyAsync(memory->data(),
                               static_cast<const uint8_t*>(source.allocation->pointer) + source.byte_offset,
                               bytes, cudaMemcpyDeviceToHost, stream->handle));
  done->record(stream->handle);
  source.allocation->add_use({stream->work, done});
}

Download::~Download() {
  if (!is_finished) environment->keep_until(done, std::move(memory));
}

void Download::finish(void* target) {
  done->synchronize();
  is_finished = true;
  if (bytes > 0) copy(static_cast<uint8_t*>(target), memory->data(), bytes);
}

Plan::Plan(GroupPtr group, int num_experts, int num_ranks, int num_nodes, const int32_t* rank_of_expert)
    : group(std::move(group)),
      num_experts_(num_experts),
      num_ranks_(num_ranks),
      num_nodes_(num_nodes),
      for_layouts_{dispatch_layout_scratch_bytes(num_experts, num_ranks), {}, {}, {}},
      for_orders_{permutation_scratch_bytes(std::max(num_experts, num_ranks)), {}, {}, {}} {
  if (rank_of_expert != nullptr) rank_of_expert_ = make_memory(sizeof(int32_t) * num_experts, rank_of_expert);
}

Plan::~Plan() {
  group->use_until_last(for_layouts_.memory);
  group->use_until_last(for_orders_.memory);
  group->use_until_last(rank_of_expert_);
}

AllocationPtr Plan::make_memory(size_t bytes, const void* content) const {
  const EnvironmentPtr& environment = group->environment;
  const auto stream = std::make_shared<Stream>(environment, Stream::Priority::kDefault);
  const AllocationPtr memory = Allocation::from_pool(environment, bytes, stream, stream);
  if (content == nullptr)
    CHECK_CUDA(cudaMemsetAsync(memory->pointer, 0, bytes, stream->handle));
  else
    environment->upload(memory, 0, content, bytes, stream);
  CHECK_CUDA(cudaStreamSynchronize(stream->handle));
  return memory;
}

void* Plan::memory_of(Scratch& scratch, const Capture& capture, const StreamPtr& stream) {
  if (!capture.is_active()) {
    if (scratch.memory == nullptr) scratch.memory = make_memory(scratch.bytes, nullptr);
    return scratch.memory->pointer;
  }
  AllocationPtr memory = capture == scratch.last_capture ? scratch.of_graph.lock() : nullptr;
  if (memory == nullptr) {
    memory = make_memory(scratch.bytes, nullptr);
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    unsigned long long id = 0;
    cudaGraph_t graph = nullptr;
    CHECK_CUDA(cudaStreamGetCaptureInfo(stream->handle, &status, &id, &graph));
    const std::shared_ptr<GraphMemories>& memories = group->environment->memory_of_graphs;
    memories->keep_for(graph, {memory, rank_of_expert_}, memories);
    scratch.of_graph = memory;
    scratch.last_capture = capture;
  }
  return memory->pointer;
}

template <class Arguments>
Arguments Plan::make_arguments(const void* topk_idx, const Ids& ids, const Report& report) const {
  Arguments arguments;
  arguments.topk_idx = topk_idx;
  arguments.topk_idx_type = ids.type;
  arguments.num_tokens = ids.num_tokens;
  // Without tokens there are no ids, however many each token would have
  arguments.num_topk = ids.num_tokens == 0 ? 0 : static_cast<int>(ids.num_topk);
  arguments.token_stride = ids.token_stride;
  arguments.empty_id = ids.empty_id;
  arguments.num_experts = num_experts_;
  arguments.report = report;
  return arguments;
}

void Plan::run(const StreamPtr& stream, const void* topk_idx, const Ids& ids, const PerOutput<void*>& outputs,
               const Computation& computation, const Report& report, const Capture& capture) {
  if (ids.num_tokens > 0 && (ids.num_topk < 0 || ids.num_topk > std::numeric_limits<int>::max()))
    throw CudaError(cudaErrorInvalidValue, "launch_dispatch_layout");
  const auto numbers = [&](OutputIndex output) { return static_cast<int32_t*>(outputs[output]); };
  const auto* rank_of_expert =
      rank_of_expert_ == nullptr ? nullptr : static_cast<const int32_t*>(rank_of_expert_->pointer);
  const auto launch_order = [&](auto* arguments, OutputIndex rows) {
    arguments->max_rows = kOutputs[rows].length(output_shape(ids, computation));
    arguments->row_of_selection = numbers(kRowOfSelection);
    arguments->scratch = memory_of(for_orders_, capture, stream);
    const cudaError_t error = launch_permutation(*arguments, stream->handle);
    // An order is two kernels. If only the first one was queued, nothing knows of it, so it must be over before the
    // memory that it uses is used again
    if (error != cudaSuccess && !capture.is_active()) cudaStreamSynchronize(stream->handle);
    check_cuda(error, "launch_permutation");
  };
  switch (computation.kind) {
    case Computation::Kind::kLayout: {
      auto arguments = make_arguments<DispatchLayoutArguments>(topk_idx, ids, report);
      arguments.num_ranks = num_ranks_;
      arguments.num_nodes = num_nodes_;
      arguments.rank_of_expert = rank_of_expert;
      arguments.num_tokens_per_rank = numbers(kNumTokensPerRank);
      arguments.num_tokens_per_rdma_rank = numbers(kNumTokensPerRdmaRank);
      arguments.num_tokens_per_expert = numbers(kNumTokensPerExpert);
      arguments.is_token_in_rank = static_cast<uint8_t*>(outputs[kIsTokenInRank]);
      arguments.has_bit_rows = computation.mask == MaskForm::kBits;
      arguments.scratch = memory_of(for_layouts_, capture, stream);
      CHECK_CUDA(launch_dispatch_layout(arguments, stream->handle));
      break;
    }
    case Computation::Kind::kByExpert: {
      auto arguments = make_arguments<ExpertPermutationArguments>(topk_idx, ids, report);
      arguments.first_expert = computation.first_expert;
      arguments.num_local_experts = computation.num_local_experts;
      arguments.alignment = computation.alignment;
      arguments.num_tokens_per_expert = numbers(kNumTokensPerExpert);
      arguments.expert_offsets = numbers(kExpertOffsets);
      arguments.selection_of_row = numbers(kSelectionOfRow);
      launch_order(&arguments, kSelectionOfRow);
      break;
    }
    case Computation::Kind::kByRank: {
      auto arguments = make_arguments<RankPermutationArguments>(topk_idx, ids, report);
      arguments.num_ranks = num_ranks_;
      arguments.rank_of_expert = rank_of_expert;
      arguments.does_last_win = computation.does_last_win;
      arguments.num_tokens_per_rank = numbers(kNumTokensPerRank);
      arguments.rank_offsets = numbers(kRankOffsets);
      arguments.token_of_row = numbers(kTokenOfRow);
      launch_order(&arguments, kTokenOfRow);
      break;
    }
  }
}

std::shared_ptr<HostLayout> Plan::launch_on_host(const HostIds& ids, const Computation& computation,
                                                 bool is_strict, const StreamOrder& order) {
  const EnvironmentPtr& environment = group->environment;
  const StreamPtr& stream = group->comm_stream;
  // The ids were copied, and the results are in no stream's memory. So if the calling thread waits for the
  // layout, the current stream need not, and the layout need not wait for that stream
  const bool is_ordered = order.async_finish || order.previous != nullptr;
  const Capture capture = is_ordered ? capture_of(order.current_stream->handle) : Capture{};
  if (capture.is_active()) throw CaptureError("HOST_ARRAYS");
  check_capture(capture, order, stream->handle);
  const OutputPlaces places(output_shape(ids, computation));
  size_t input_bytes = 0;
  if (__builtin_mul_overflow(ids.num_tokens, ids.num_topk, &input_bytes) ||
      __builtin_mul_overflow(input_bytes, get_id_bytes(ids.type), &input_bytes))
    throw std::length_error("the ids are larger than any memory");
  const size_t output_bytes = rows_offset(places) + places.piece_bytes.rows;
  const std::shared_ptr<HostLayout> layout(
      new HostLayout{environment, std::make_shared<Pinned>(environment, input_bytes),
                     std::make_shared<Pinned>(environment, output_bytes), places, nullptr});
  if (ids.num_tokens > 0 && ids.num_topk > 0) pack(ids, layout->input->data());
  layout->found()->status = 0;
  const auto done = std::make_shared<Event>(environment);
  if (is_ordered) begin_order(environment, order, stream->handle);
  group->order_behind_last(stream);
  Ids packed = ids;
  packed.token_stride = ids.num_topk;
  run(stream, layout->input->data(), packed, pointers_in(layout->pieces(), places), computation,
      is_strict ? Report{layout->found(), 0} : Report{}, {});
  done->record(stream->handle);
  group->set_last(stream, done);
  layout->done = done;
  return layout;
}

DeviceLayout::DeviceLayout(std::shared_ptr<Plan> plan, const DeviceIds& ids,
                           const PerOutput<DevicePlace>* outputs, const Computation& computation,
                           bool is_strict)
    : plan(std::move(plan)),
      is_strict(is_strict),
      max_tokens(ids.num_tokens),
      ids_(ids),
      computation_(computation),
      has_outputs_(outputs != nullptr),
      topk_idx_(static_cast<const uint8_t*>(ids.place.allocation->pointer) + ids.place.byte_offset),
      memory_{ids.place.allocation} {
  // This throws for a layout that is larger than any memory
  const OutputPlaces places = output_places();
  if (outputs == nullptr) return;
  outputs_ = pointers_to(*outputs, places);
  for (const DevicePlace& output : *outputs)
    if (output.allocation != nullptr) memory_.push_back(output.allocation);
}

DeviceLayout::Launched DeviceLayout::launch(int64_t num_tokens, const StreamOrder& order) {
  Group& group = *plan->group;
  // A layout that nobody waits for elsewhere runs on the current stream itself, without any event. All others
  // run on the communication stream.
  const Capture capture = capture_of(order.current_stream->handle);
  const bool is_on_current = !order.async_finish && order.previous == nullptr && !capture.is_active();
  if (!is_on_current) check_capture(capture, order, group.comm_stream->handle);
  if (capture.is_active()) {
    // A replay would write to memory that is somebody else's by then
    if (!has_outputs_) throw CaptureError("NEW_OUTPUTS");
    if (is_strict) throw CaptureError("STRICT");
    // The graph would end before the layout
    if (order.async_finish) throw CaptureError("ASYNC_FINISH");
  }
  const StreamPtr& stream = is_on_current ? order.current_stream : group.comm_stream;
  Ids ids = ids_;
  ids.num_tokens = num_tokens;

  std::array<AllocationPtr, 1 + kNumOutputs + 2> memory;
  size_t num_memory = 0;
  for (const std::weak_ptr<Allocation>& each : memory_) {
    memory[num_memory] = each.lock();
    if (memory[num_memory++] == nullptr) throw std::invalid_argument("memory of the layout was released");
  }
  // It is created before the layout is queued, while a failure still does no harm
  const EventPtr done = is_on_current ? nullptr : std::make_shared<Event>(group.environment);
  if (!is_on_current) begin_order(group.environment, order, stream->handle);
  if (!capture.is_active()) group.order_behind_last(stream);

  Launched launched;
  PerOutput<void*> outputs = outputs_;
  if (!has_outputs_) {
    // The memory is allocated in the order of the stream on which the kernel comes next. Without
    // `allocate_on_comm_stream`, it belongs to the current stream, which waits for the kernel unless
    // `async_finish` is set.
    const OutputPlaces places(plan->output_shape(ids, computation_));
    const auto allocate = [&](size_t bytes) {
      const StreamPtr& home = order.allocate_on_comm_stream ? group.comm_stream : order.current_stream;
      AllocationPtr piece = Allocation::from_pool(group.environment, bytes, stream, home);
      // As in DeepEP, the current stream is expected to use what belongs to the communication stream
      if (order.allocate_on_comm_stream) piece->record(order.current_stream);
      return memory[num_memory++] = std::move(piece);
    };
    launched.memory.counts = allocate(places.piece_bytes.counts);
    if (has_rows(computation_)) launched.memory.rows = allocate(places.piece_bytes.rows);
    const auto begin_of = [](const AllocationPtr& piece) {
      return piece == nullptr ? nullptr : static_cast<uint8_t*>(piece->pointer);
    };
    outputs = pointers_in({begin_of(launched.memory.counts), begin_of(launched.memory.rows)}, places);
  }

  const Report report = is_strict ? group.next_report() : Report{};
  try {
    plan->run(stream, topk_idx_, ids, outputs, computation_, report, capture);
  } catch (...) {
    if (is_strict) group.ring()->give_back();
    throw;
  }
  launched.number = report.number;
  try {
    if (done != nullptr) done->record(stream->handle);
    if (order.async_finish)
      launched.event = done;
    else if (done != nullptr)
      done->make_wait(order.current_stream->handle);
    // A graph runs later, and its memory is up to the caller
    if (capture.is_active()) return launched;
    // The memory may be disposed of while the kernel is still queued, and must then stay until the kernel is
    // done, as with `record_stream`. Memory that belongs to the current stream is freed behind the kernel
    // anyway if that stream waits for it.
    const Use& use = group.set_last(stream, done);
    for (size_t i = 0; i < num_memory; ++i)
      if (order.async_finish || !memory[i]->is_at_home_on(order.current_stream)) memory[i]->add_use(use);
  } catch (...) {
    // The current stream now does not wait for the communication stream, but memory is freed in the order of
    // the current stream. A capture is spoilt by now, and nothing runs
    if (!capture.is_active()) cudaStreamSynchronize(stream->handle);
    cudaGetLastError();
    throw;
  }
  return launched;
}

}  // namespace dispatch_layout
