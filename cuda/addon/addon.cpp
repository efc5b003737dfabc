// The addon has one function for each that `ts/devices/cuda/addon.ts` declares. It holds no policy:
// TypeScript decides who calls what, and when. Handles are opaque externals. Each of them releases its
// resource when it is collected, when it is disposed of, or when its environment ends.
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "capture.h"
#include "cuda_error.h"
#include "driver.h"
#include "layout.h"
#include "notifier.h"
#include "resources.h"
#include "values.h"

namespace dispatch_layout {
namespace {

// This number is raised whenever a function changes: JavaScript refuses an addon with another number
constexpr int kInterfaceVersion = 8;

class InstanceData {
 public:
  ~InstanceData() {
    for (const auto& [ordinal, environment] : environments_) environment->close();
  }

  // The environment of a GPU is created on first use, and nothing of CUDA is touched before
  const EnvironmentPtr& environment(int ordinal) {
    auto found = environments_.find(ordinal);
    if (found == environments_.end())
      found = environments_.emplace(ordinal, Environment::create(ordinal)).first;
    return found->second;
  }

  // A context to ask the driver in, on whichever GPU: none if this thread has one. The GPU with this ordinal is
  // used only if nothing else was used before
  CUcontext any_context(int ordinal) {
    if (!environments_.empty()) return environments_.begin()->second->context;
    return has_current_context() ? nullptr : environment(ordinal)->context;
  }

  Notifier& notifier(Napi::Env env) {
    if (notifier_ == nullptr) notifier_ = std::make_unique<Notifier>(env);
    return *notifier_;
  }

 private:
  std::map<int, EnvironmentPtr> environments_;
  std::unique_ptr<Notifier> notifier_;
};

InstanceData& instance_data(const Napi::CallbackInfo& info) {
  return *info.Env().GetInstanceData<InstanceData>();
}

const EnvironmentPtr& environment_of(const Napi::CallbackInfo& info, const Argument& ordinal) {
  return instance_data(info).environment(static_cast<int>(integer(ordinal)));
}

// --- The driver ---
Napi::Object describe_error(Napi::Env env, const CudaError& error) {
  Napi::Object object = Napi::Object::New(env);
  object["cudaCode"] = Napi::Number::New(env, error.code);
  object["cudaName"] = Napi::String::New(env, error.name());
  object["cudaMessage"] = Napi::String::New(env, error.what());
  object["call"] = Napi::String::New(env, error.call);
  object["isSticky"] = Napi::Boolean::New(env, error.is_sticky);
  return object;
}

Napi::Object describe_device(Napi::Env env, int ordinal) {
  Napi::Object device = Napi::Object::New(env);
  device["ordinal"] = Napi::Number::New(env, ordinal);
  try {
    cudaDeviceProp properties{};
    int has_pools = 0;
    CHECK_CUDA(cudaGetDeviceProperties(&properties, ordinal));
    CHECK_CUDA(cudaDeviceGetAttribute(&has_pools, cudaDevAttrMemoryPoolsSupported, ordinal));
    device["name"] = Napi::String::New(env, properties.name);
    device["major"] = Napi::Number::New(env, properties.major);
    device["minor"] = Napi::Number::New(env, properties.minor);
    device["totalMemory"] = Napi::Number::New(env, static_cast<double>(properties.totalGlobalMem));
    device["hasMemoryPools"] = Napi::Boolean::New(env, has_pools != 0);
  } catch (const CudaError& error) {
    device["error"] = describe_error(env, error);
  }
  return device;
}

// Reports the versions and the devices, or the error that says why there are none. It creates no context.
Napi::Value probe(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Object found = Napi::Object::New(env);
  Napi::Array devices = Napi::Array::New(env);
  int driver_version = 0, runtime_version = 0;
  found["devices"] = devices;
  found["error"] = env.Null();
  try {
    CHECK_CUDA(cudaRuntimeGetVersion(&runtime_version));
    CHECK_CUDA(cudaDriverGetVersion(&driver_version));
    int num_devices = 0;
    CHECK_CUDA(cudaGetDeviceCount(&num_devices));
    for (int i = 0; i < num_devices; ++i) devices[i] = describe_device(env, i);
  } catch (const CudaError& error) {
    found["error"] = describe_error(env, error);
  }
  found["driverVersion"] = Napi::Number::New(env, driver_version);
  found["runtimeVersion"] = Napi::Number::New(env, runtime_version);
  return found;
}

// --- Streams and events ---
// Takes the ordinal of the GPU
Napi::Value create_stream(const Napi::CallbackInfo& info) {
  return make_handle(info.Env(), std::make_shared<Stream>(environment_of(info, {info, 0, "ordinal"}),
                                                          Stream::Priority::kDefault));
}

// Takes (ordinal, handle)
Napi::Value wrap_stream(const Napi::CallbackInfo& info) {
  const auto handle = static_cast<cudaStream_t>(from_bigint(info[1]));
  return make_handle(info.Env(),
                     std::make_shared<Stream>(environment_of(info, {info, 0, "ordinal"}), handle));
}

// Makes some context current, in which the driver can be asked
class OnAnyDevice {
 public:
  OnAnyDevice(const Napi::CallbackInfo& info, const Argument& ordinal) {
    const CUcontext context = instance_data(info).any_context(static_cast<int>(integer(ordinal)));
    if (context != nullptr) on_device_.emplace(context);
  }

 private:
  std::optional<OnDevice> on_device_;
};

// Takes (ordinal, handle). Returns the ordinal of the GPU that a stream of somebody else belongs to, or -1 if it
// belongs to a context of its own. The driver must be asked on some GPU, which may be another one.
Napi::Value ordinal_of_stream(const Napi::CallbackInfo& info) {
  const auto handle = static_cast<cudaStream_t>(from_bigint(info[1]));
  const OnAnyDevice on_device(info, {info, 0, "ordinal"});
  const auto [context, ordinal] = context_of_stream(handle);
  const bool is_shared = instance_data(info).environment(ordinal)->context == context;
  return Napi::Number::New(info.Env(), is_shared ? ordinal : -1);
}

Napi::Value stream_handle(const Napi::CallbackInfo& info) {
  return to_bigint(info.Env(), from_handle<Stream>({info, 0, "stream"})->handle);
}

Napi::Value synchronize_stream(const Napi::CallbackInfo& info) {
  const StreamPtr& stream = from_handle<Stream>({info, 0, "stream"});
  const OnDevice on_device(stream->environment->context);
  if (capture_of(stream->handle).is_active()) throw CaptureError("WAIT");
  CHECK_CUDA(cudaStreamSynchronize(stream->handle));
  return info.Env().Undefined();
}

Napi::Value record_event(const Napi::CallbackInfo& info) {
  const StreamPtr& stream = from_handle<Stream>({info, 0, "stream"});
  const OnDevice on_device(stream->environment->context);
  const Capture capture = capture_of(stream->handle);
  const auto event = std::make_shared<Event>(stream->environment, stream->handle);
  event->capture = capture;
  return make_handle(info.Env(), event);
}

Napi::Value make_stream_wait(const Napi::CallbackInfo& info) {
  const StreamPtr& stream = from_handle<Stream>({info, 0, "stream"});
  const EventPtr& event = from_handle<Event>({info, 1, "event"});
  const OnDevice on_device(stream->environment->context);
  const Capture capture = capture_of(stream->handle);
  if (capture.is_active() && !event->capture.is_active()) throw CaptureError("EARLIER_EVENT");
  // Any other stream that waits for a captured event becomes a part of the capture, which the default stream cannot
  const bool can_join = !capture.is_active() && stream->handle != nullptr;
  if (event->capture.is_active() && event->capture != capture && !can_join)
    throw CaptureError("CAPTURED_EVENT");
  event->make_wait(stream->handle);
  return info.Env().Undefined();
}

Napi::Value synchronize_event(const Napi::CallbackInfo& info) {
  const EventPtr& event = from_handle<Event>({info, 0, "event"});
  const OnDevice on_device(event->environment->context);
  event->synchronize();
  return info.Env().Undefined();
}

Napi::Value is_captured(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), from_handle<Event>({info, 0, "event"})->capture.is_active());
}

// Takes an event or a download
Napi::Value is_done(const Napi::CallbackInfo& info) {
  const bool is_event = handle_base({info, 0, "handle"})->kind == kind_of<Event>;
  const auto ask = [](const auto& work) {
    const OnDevice on_device(work->environment->context);
    return work->is_done();
  };
  const bool done = is_event ? ask(from_handle<Event>({info, 0, "handle"}))
                             : ask(from_handle<Download>({info, 0, "handle"}));
  return Napi::Boolean::New(info.Env(), done);
}

// Takes an event or a download, and a function, which is called once when it is done
Napi::Value when_done(const Napi::CallbackInfo& info) {
  const bool is_event = handle_base({info, 0, "handle"})->kind == kind_of<Event>;
  const EventPtr event =
      is_event ? from_handle<Event>({info, 0, "handle"}) : from_handle<Download>({info, 0, "handle"})->done;
  if (!info[1].IsFunction()) Argument(info, 1, "callback").fail("a function");
  const OnDevice on_device(event->environment->context);
  instance_data(info).notifier(info.Env()).call_when_done(*event, info[1].As<Napi::Function>());
  return info.Env().Undefined();
}

// --- Memory ---
// Takes (bytes, stream, whether other processes may open it)
Napi::Value allocate(const Napi::CallbackInfo& info) {
  const auto bytes = size({info, 0, "bytes"});
  const bool is_shareable = boolean({info, 2, "isShareable"});
  const StreamPtr& stream = from_handle<Stream>({info, 1, "stream"});
  const EnvironmentPtr& environment = stream->environment;
  const OnDevice on_device(environment->context);
  if (capture_of(stream->handle).is_active()) throw CaptureError("ALLOCATION");
  return make_handle(info.Env(), is_shareable ? Allocation::shareable(environment, bytes)
                                              : Allocation::from_pool(environment, bytes, stream, stream));
}

// Takes (ordinal, pointer, bytes), and wraps memory of somebody else, which must be the GPU's or accessible to
// it. The ordinal is that of a GPU that is in use anyway: where the memory is, the driver tells. Returns
// { allocation, ordinal, bytes }. The allocation is null if CUDA does not know so many bytes, but only `bytes`.
Napi::Value wrap_pointer(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  void* pointer = from_bigint(info[1]);
  const size_t bytes = size({info, 2, "bytes"});
  const OnAnyDevice on_device(info, {info, 0, "ordinal"});
  cudaPointerAttributes attributes{};
  CHECK_CUDA(cudaPointerGetAttributes(&attributes, pointer));
  const bool is_known = attributes.type != cudaMemoryTypeUnregistered;
  const size_t known_bytes = is_known ? allocated_bytes(pointer, bytes) : 0;
  Napi::Object found = Napi::Object::New(env);
  found["ordinal"] = Napi::Number::New(env, attributes.device);
  found["bytes"] = Napi::Number::New(env, static_cast<double>(known_bytes));
  found["allocation"] = env.Null();
  if (!is_known || known_bytes < bytes) return found;
  const EnvironmentPtr& environment = instance_data(info).environment(attributes.device);
  found["allocation"] = make_handle(
      env, std::make_shared<Allocation>(environment, Allocation::Origin::kExternal, pointer, bytes, nullptr));
  return found;
}

// Takes (ordinal, handle, bytes). Returns the same as `wrapPointer`
Napi::Value open_ipc_handle(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Bytes bytes = bytes_of({info, 1, "handle"});
  cudaIpcMemHandle_t handle;
  if (bytes.length != sizeof(handle)) fail(env, "an IPC handle has 64 bytes");
  std::memcpy(&handle, bytes.data, sizeof(handle));
  const size_t num_bytes = size({info, 2, "bytes"});
  const EnvironmentPtr& environment = environment_of(info, {info, 0, "ordinal"});
  const OnDevice on_device(environment->context);
  void* pointer = nullptr;
  CHECK_CUDA(cudaIpcOpenMemHandle(&pointer, handle, cudaIpcMemLazyEnablePeerAccess));
  const auto allocation =
      std::make_shared<Allocation>(environment, Allocation::Origin::kIpc, pointer, num_bytes, nullptr);
  cudaPointerAttributes attributes{};
  CHECK_CUDA(cudaPointerGetAttributes(&attributes, pointer));
  const size_t known_bytes = allocated_bytes(pointer, num_bytes);
  Napi::Object found = Napi::Object::New(env);
  found["ordinal"] = Napi::Number::New(env, attributes.device);
  found["bytes"] = Napi::Number::New(env, static_cast<double>(known_bytes));
  found["allocation"] = env.Null();
  if (attributes.device == environment->ordinal && known_bytes == num_bytes)
    found["allocation"] = make_handle(env, allocation);
  return found;
}

// Returns null for memory that cannot be shared
Napi::Value ipc_handle(const Napi::CallbackInfo& info) {
  const AllocationPtr& allocation = from_handle<Allocation>({info, 0, "allocation"});
  if (allocation->origin != Allocation::Origin::kShareable) return info.Env().Null();
  const OnDevice on_device(allocation->environment->context);
  cudaIpcMemHandle_t handle;
  CHECK_CUDA(cudaIpcGetMemHandle(&handle, allocation->pointer));
  Napi::Uint8Array bytes = Napi::Uint8Array::New(info.Env(), sizeof(handle));
  std::memcpy(bytes.Data(), &handle, sizeof(handle));
  return bytes;
}

Napi::Value pointer_of(const Napi::CallbackInfo& info) {
  return to_bigint(info.Env(), from_handle<Allocation>({info, 0, "allocation"})->pointer);
}

Napi::Value record_stream(const Napi::CallbackInfo& info) {
  const AllocationPtr& allocation = from_handle<Allocation>({info, 0, "allocation"});
  const OnDevice on_device(allocation->environment->context);
  allocation->record(from_handle<Stream>({info, 1, "stream"}));
  return info.Env().Undefined();
}

// Takes (allocation, byte offset, typed array, stream)
Napi::Value upload(const Napi::CallbackInfo& info) {
  const AllocationPtr& allocation = from_handle<Allocation>({info, 0, "allocation"});
  const auto offset = size({info, 1, "byteOffset"});
  const Bytes source = bytes_of({info, 2, "source"});
  const StreamPtr& stream = from_handle<Stream>({info, 3, "stream"});
  if (source.length > allocation->bytes || offset > allocation->bytes - source.length)
    fail(info.Env(), "more bytes than the tensor has");
  const OnDevice on_device(allocation->environment->context);
  if (capture_of(stream->handle).is_active()) throw CaptureError("COPY");
  allocation->environment->upload(allocation, offset, source.data, source.length, stream);
  return info.Env().Undefined();
}

// Takes (allocation, byte offset, bytes, stream)
Napi::Value download(const Napi::CallbackInfo& info) {
  const AllocationPtr& allocation = from_handle<Allocation>({info, 0, "allocation"});
  const auto offset = size({info, 1, "byteOffset"}), bytes = size({info, 2, "bytes"});
  const StreamPtr& stream = from_handle<Stream>({info, 3, "stream"});
  if (bytes > allocation->bytes || offset > allocation->bytes - bytes)
    fail(info.Env(), "more bytes than the tensor has");
  const OnDevice on_device(allocation->environment->context);
  if (capture_of(stream->handle).is_active()) throw CaptureError("COPY");
  return make_handle(info.Env(), std::make_shared<Download>(DevicePlace{allocation, offset}, bytes, stream));
}

// Waits for a download and copies it into a typed array of its size
Napi::Value finish_download(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Download>& source = from_handle<Download>({info, 0, "download"});
  const Bytes target = bytes_of({info, 1, "target"});
  if (target.length != source->bytes) fail(info.Env(), "the array has another length than the tensor");
  const OnDevice on_device(source->environment->context);
  source->finish(target.data);
  return info.Env().Undefined();
}

Napi::Value release(const Napi::CallbackInfo& info) {
  HandleBase* handle = handle_base({info, 0, "handle"});
  handle->reset();
  adjust_external_bytes(info.Env(), -std::exchange(handle->num_external_bytes, 0));
  return info.Env().Undefined();
}

// --- Layouts: the objects have the fields of the structs in layout.h ---
// Takes the ordinal of the GPU
Napi::Value create_group(const Napi::CallbackInfo& info) {
  return make_handle(info.Env(), std::make_shared<Group>(environment_of(info, {info, 0, "ordinal"})));
}

Napi::Value stream_of_group(const Napi::CallbackInfo& info) {
  return make_handle(info.Env(), from_handle<Group>({info, 0, "group"})->comm_stream);
}

// Takes { group, numExperts, numRanks, numNodes, rankOfExpert }, the last of which may be null
Napi::Value create_plan(const Napi::CallbackInfo& info) {
  const Argument plan(info, 0, "plan");
  const GroupPtr& group = from_handle<Group>({plan, "group"});
  const int num_experts = count({plan, "numExperts"});
  const int num_ranks = count({plan, "numRanks"}), num_nodes = count({plan, "numNodes"});
  const Argument rank_of_expert(plan, "rankOfExpert");
  const int32_t* table = nullptr;
  if (!rank_of_expert.value.IsNull()) {
    const Bytes bytes = bytes_of(rank_of_expert);
    if (bytes.length != sizeof(int32_t) * num_experts)
      rank_of_expert.fail("a table of numExperts 32-bit integers");
    table = reinterpret_cast<const int32_t*>(bytes.data);
  }
  const OnDevice on_device(group->environment->context);
  return make_handle(info.Env(), std::make_shared<Plan>(group, num_experts, num_ranks, num_nodes, table));
}

// Tells the garbage collector how much memory a plan takes for orders of rows, from the first of them on
void account_for_orders(const Argument& plan, const Computation& computation) {
  if (computation.kind == Computation::Kind::kLayout) return;
  HandleBase* handle = handle_base(plan);
  const auto num_bytes = static_cast<int64_t>(from_handle<Plan>(plan)->order_scratch_bytes());
  adjust_external_bytes(plan.value.Env(), num_bytes - handle->num_external_bytes);
  handle->num_external_bytes = num_bytes;
}

// Reads { allocation, byteOffset }
DevicePlace read_place(const Argument& place) {
  return {from_handle<Allocation>({place, "allocation"}), size({place, "byteOffset"})};
}

// Reads { type: { code }, numTokens, numTopk, tokenStride, emptyId }, of which `emptyId` may be null
Ids read_ids(const Argument& ids) {
  const Argument type(ids, "type");
  const int64_t code = integer({type, "code"});
  if (code < static_cast<int64_t>(IdType::kInt64) || code > static_cast<int64_t>(IdType::kUint8))
    type.fail("an id type");
  return {static_cast<IdType>(code), integer({ids, "numTokens"}), integer({ids, "numTopk"}),
          integer({ids, "tokenStride"}), optional_bits({ids, "emptyId"})};
}

// Reads { currentStream, previous, asyncFinish, allocateOnCommStream }, of which `previous` may be null
StreamOrder read_order(const Argument& order) {
  return {from_handle<Stream>({order, "currentStream"}), from_optional_handle<Event>({order, "previous"}),
          boolean({order, "asyncFinish"}), boolean({order, "allocateOnCommStream"})};
}

// Returns { token, slot, id } of the selection that strict mode has found
Napi::Object describe_invalid(Napi::Env env, const InvalidSelection& selection) {
  Napi::Object found = Napi::Object::New(env);
  found["token"] = Napi::Number::New(env, static_cast<double>(selection.token_idx));
  found["slot"] = Napi::Number::New(env, static_cast<double>(selection.slot));
  found["id"] = Napi::BigInt::New(env, selection.id);
  return found;
}

// Takes { plan, ids, outputs, computation, isStrict }. `ids` also has `allocation` and `byteOffset`. `outputs` is
// null, or has { allocation, byteOffset } or null for each output.
Napi::Value create_layout(const Napi::CallbackInfo& info) {
  const Argument layout(info, 0, "layout"), ids(layout, "ids"), outputs(layout, "outputs");
  const DeviceIds device_ids{read_ids(ids), read_place(ids)};
  PerOutput<DevicePlace> places{};
  const bool has_outputs = !outputs.value.IsNull();
  for (size_t i = 0; i < kNumOutputs && has_outputs; ++i) {
    const Argument output(outputs, kOutputs[i].name);
    if (!output.value.IsNull()) places[i] = read_place(output);
  }
  const Computation computation = computation_of({layout, "computation"});
  account_for_orders({layout, "plan"}, computation);
  const bool is_strict = boolean({layout, "isStrict"});
  return make_handle(info.Env(),
                     std::make_shared<DeviceLayout>(from_handle<Plan>({layout, "plan"}), device_ids,
                                                    has_outputs ? &places : nullptr, computation, is_strict));
}

// Takes a layout. Returns the byte offset of each of its outputs, by its name, in the piece of memory that is allocated
// for its kind
Napi::Value output_offsets(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const OutputPlaces places = from_handle<DeviceLayout>({info, 0, "layout"})->output_places();
  Napi::Object offsets = Napi::Object::New(env);
  for (size_t i = 0; i < kNumOutputs; ++i)
    offsets[kOutputs[i].name] = Napi::Number::New(env, static_cast<double>(places.byte_offsets[i]));
  return offsets;
}

// Reads a number of tokens, up to that of the layout
int64_t read_num_tokens(const DeviceLayout& layout, const Argument& argument) {
  const int64_t num_tokens = integer(argument);
  if (num_tokens < 0 || num_tokens > layout.max_tokens) argument.fail("a number of tokens of the layout");
  return num_tokens;
}

// Takes (layout, number of tokens, current stream). This is the short way of a layout with outputs that were
// given, for which the current stream waits: it takes and returns no objects. Returns the number of the layout, 0
// if it is not strict, or the negative number of an earlier layout of the group in which something was found that
// nobody has reported; the layout is then not queued.
Napi::Value run_layout(const Napi::CallbackInfo& info) {
  const std::shared_ptr<DeviceLayout>& layout = from_handle<DeviceLayout>({info, 0, "layout"});
  const int64_t num_tokens = read_num_tokens(*layout, {info, 1, "numTokens"});
  StreamOrder order;
  order.current_stream = from_handle<Stream>({info, 2, "currentStream"});
  const Group& group = *layout->plan->group;
  if (layout->is_strict && group.ring() != nullptr) {
    const std::optional<uint64_t> unreported = group.ring()->first_unreported();
    if (unreported.has_value()) return Napi::Number::New(info.Env(), -static_cast<double>(*unreported));
  }
  const OnDevice on_device(group.environment->context);
  return Napi::Number::New(info.Env(), static_cast<double>(layout->launch(num_tokens, order).number));
}

// Takes (layout, number of tokens, order), and returns { counts, rows, event, number }, of which all but the
// number may be null
Napi::Value launch_layout(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::shared_ptr<DeviceLayout> layout = from_handle<DeviceLayout>({info, 0, "layout"});
  const int64_t num_tokens = read_num_tokens(*layout, {info, 1, "numTokens"});
  const StreamOrder order = read_order({info, 2, "order"});
  const OnDevice on_device(layout->plan->group->environment->context);
  const DeviceLayout::Launched launched = layout->launch(num_tokens, order);
  const auto handle_or_null = [&](const auto& pointer) {
    return pointer == nullptr ? env.Null() : make_handle(env, pointer);
  };
  Napi::Object result = Napi::Object::New(env);
  result["counts"] = handle_or_null(launched.memory.counts);
  result["rows"] = handle_or_null(launched.memory.rows);
  result["event"] = handle_or_null(launched.event);
  result["number"] = Napi::Number::New(env, static_cast<double>(launched.number));
  return result;
}

// Takes (group, the number of a layout), and returns whether its ids are checked
Napi::Value is_checked(const Napi::CallbackInfo& info) {
  const StatusRing* ring = from_handle<Group>({info, 0, "group"})->ring();
  const int64_t number = integer({info, 1, "number"});
  return Napi::Boolean::New(info.Env(), ring == nullptr || ring->is_done(number));
}

// Takes the same, and returns what was found in such a layout, or null
Napi::Value find_invalid(const Napi::CallbackInfo& info) {
  StatusRing* ring = from_handle<Group>({info, 0, "group"})->ring();
  const InvalidSelection* found = ring == nullptr ? nullptr : ring->find(integer({info, 1, "number"}));
  if (found == nullptr) return info.Env().Null();
  return describe_invalid(info.Env(), *found);
}

// Returns the number of the first layout of a group in which something was found that nobody has reported, or 0
Napi::Value first_unreported(const Napi::CallbackInfo& info) {
  StatusRing* ring = from_handle<Group>({info, 0, "group"})->ring();
  const uint64_t number = ring == nullptr ? 0 : ring->first_unreported().value_or(0);
  return Napi::Number::New(info.Env(), static_cast<double>(number));
}

// Takes { plan, ids, computation, isStrict, order }. `ids` also has `data`, `offset` (the index in `data` of the
// first id) and `slotStride`.
Napi::Value launch_on_host(const Napi::CallbackInfo& info) {
  const Argument launch(info, 0, "launch"), ids(launch, "ids");
  const std::shared_ptr<Plan> plan = from_handle<Plan>({launch, "plan"});
  const Computation computation = computation_of({launch, "computation"});
  account_for_orders({launch, "plan"}, computation);
  const bool is_strict = boolean({launch, "isStrict"});
  const StreamOrder order = read_order({launch, "order"});
  const Ids shape = read_ids(ids);
  const int64_t slot_stride = integer({ids, "slotStride"});
  const int64_t byte_offset = integer({ids, "offset"}) * get_id_bytes(shape.type);
  // The address is taken last, since reading a field may run code that transfers the array away
  const uint8_t* data = bytes_of({ids, "data"}).data;
  const OnDevice on_device(plan->group->environment->context);
  return make_handle(info.Env(), plan->launch_on_host({shape, slot_stride, data + byte_offset}, computation,
                                                      is_strict, order));
}

Napi::Value event_of(const Napi::CallbackInfo& info) {
  return make_handle(info.Env(), from_handle<HostLayout>({info, 0, "layout"})->done);
}

// Waits for the layout, and writes nothing. Returns what strict mode has found.
Napi::Value synchronize_host(const Napi::CallbackInfo& info) {
  const std::shared_ptr<HostLayout>& layout = from_handle<HostLayout>({info, 0, "layout"});
  const OnDevice on_device(layout->environment->context);
  layout->synchronize();
  const InvalidSelection& found = *layout->found();
  if (!InvalidSelection::is_found_in(found.status)) return info.Env().Null();
  return describe_invalid(info.Env(), found);
}

// Takes (host layout, an array or null for each output), and copies the finished outputs. If an array no
// longer has the length of its output, returns false, with nothing written.
Napi::Value copy_host_outputs(const Napi::CallbackInfo& info) {
  const std::shared_ptr<HostLayout> layout = from_handle<HostLayout>({info, 0, "layout"});
  const Argument outputs(info, 1, "outputs");
  std::vector<Argument> arrays;
  for (const Output& output : kOutputs) arrays.emplace_back(outputs, output.name);
  // The addresses are taken after all fields, since reading a field may run code that transfers an array away
  PerOutput<uint8_t*> targets{};
  for (size_t i = 0; i < kNumOutputs; ++i) {
    if (arrays[i].value.IsNull()) continue;
    const Bytes target = bytes_of(arrays[i]);
    if (target.length != layout->places.bytes[i]) return Napi::Boolean::New(info.Env(), false);
    targets[i] = target.data;
  }
  for (size_t i = 0; i < kNumOutputs; ++i)
    if (targets[i] != nullptr) layout->copy_output(i, targets[i]);
  return Napi::Boolean::New(info.Env(), true);
}

// Runs a function, and turns what it throws into an error of JavaScript
template <Napi::Value (*function)(const Napi::CallbackInfo&)>
Napi::Value guarded(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  try {
    return function(info);
  } catch (const CudaError& cuda_error) {
    Napi::Error error = Napi::Error::New(env, cuda_error.what());
    error.Set("cuda", describe_error(env, cuda_error));
    throw error;
  } catch (const CaptureError& capture_error) {
    Napi::Error error = Napi::Error::New(env, capture_error.what());
    error.Set("capture", Napi::String::New(env, capture_error.reason));
    throw error;
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    // This is host memory. The library tells it from GPU memory by the name of the call
    const CudaError full(cudaErrorMemoryAllocation, "malloc");
    Napi::Error error = Napi::Error::New(env, "out of host memory");
    error.Set("cuda", describe_error(env, full));
    throw error;
  } catch (const std::exception& exception) {
    throw Napi::Error::New(env, exception.what());
  }
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new InstanceData);
  exports["interfaceVersion"] = Napi::Number::New(env, kInterfaceVersion);
#define EXPORT(name, function) exports[name] = Napi::Function::New<guarded<function>>(env, name)
  EXPORT("probe", probe);
  EXPORT("createStream", create_stream);
  EXPORT("wrapStream", wrap_stream);
  EXPORT("ordinalOfStream", ordinal_of_stream);
  EXPORT("streamHandle", stream_handle);
  EXPORT("synchronizeStream", synchronize_stream);
  EXPORT("recordEvent", record_event);
  EXPORT("makeStreamWait", make_stream_wait);
  EXPORT("synchronizeEvent", synchronize_event);
  EXPORT("isCaptured", is_captured);
  EXPORT("isDone", is_done);
  EXPORT("whenDone", when_done);
  EXPORT("allocate", allocate);
  EXPORT("wrapPointer", wrap_pointer);
  EXPORT("openIpcHandle", open_ipc_handle);
  EXPORT("ipcHandle", ipc_handle);
  EXPORT("pointerOf", pointer_of);
  EXPORT("recordStream", record_stream);
  EXPORT("upload", upload);
  EXPORT("download", download);
  EXPORT("finishDownload", finish_download);
  EXPORT("release", release);
  EXPORT("createGroup", create_group);
  EXPORT("streamOfGroup", stream_of_group);
  EXPORT("createPlan", create_plan);
  EXPORT("outputOffsets", output_offsets);
  EXPORT("createLayout", create_layout);
  EXPORT("runLayout", run_layout);
  EXPORT("launchLayout", launch_layout);
  EXPORT("isChecked", is_checked);
  EXPORT("findInvalid", find_invalid);
  EXPORT("firstUnreported", first_unreported);
  EXPORT("launchOnHost", launch_on_host);
  EXPORT("eventOf", event_of);
  EXPORT("synchronizeHost", synchronize_host);
  EXPORT("copyHostOutputs", copy_host_outputs);
#undef EXPORT
  return exports;
}

}  // namespace

NODE_API_MODULE(dispatch_layout_cuda, initialize)

}  // namespace dispatch_layout
