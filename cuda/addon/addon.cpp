// The addon has one function for each that `ts/devices/cuda/addon.ts` declares. It holds no policy:
// TypeScript decides who calls what, and when. Handles are opaque externals. Each of them releases its
// resource when it is collected, when it is disposed of, or when its environment ends.
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "cuda_error.h"
#include "layout.h"
#include "resources.h"
#include "values.h"

namespace dispatch_layout {
namespace {

// This number is raised whenever a function changes: JavaScript refuses an addon with another number
constexpr int kInterfaceVersion = 3;

class InstanceData {
 public:
  ~InstanceData() {
    if (environment_ != nullptr) environment_->close();
  }

  // The environment is created on first use, and nothing of CUDA is touched before
  const EnvironmentPtr& environment() {
    if (environment_ == nullptr) environment_ = Environment::create();
    return environment_;
  }

 private:
  EnvironmentPtr environment_;
};

const EnvironmentPtr& environment_of(const Napi::CallbackInfo& info) {
  return info.Env().GetInstanceData<InstanceData>()->environment();
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
    const cudaError_t error = cudaGetDeviceCount(&num_devices);
    if (error != cudaSuccess) throw CudaError(error, "cudaGetDeviceCount");
    for (int i = 0; i < num_devices; ++i) {
      cudaDeviceProp properties{};
      int has_pools = 0;
      try {
        CHECK_CUDA(cudaGetDeviceProperties(&properties, i));
        CHECK_CUDA(cudaDeviceGetAttribute(&has_pools, cudaDevAttrMemoryPoolsSupported, i));
      } catch (const CudaError&) {
        // Only the first device is used, so another one that is broken does no harm
        if (i == 0) throw;
        continue;
      }
      Napi::Object device = Napi::Object::New(env);
      device["name"] = Napi::String::New(env, properties.name);
      device["major"] = Napi::Number::New(env, properties.major);
      device["minor"] = Napi::Number::New(env, properties.minor);
      device["totalMemory"] = Napi::Number::New(env, static_cast<double>(properties.totalGlobalMem));
      device["hasMemoryPools"] = Napi::Boolean::New(env, has_pools != 0);
      devices[devices.Length()] = device;
    }
  } catch (const CudaError& error) {
    found["error"] = describe_error(env, error);
  }
  found["driverVersion"] = Napi::Number::New(env, driver_version);
  found["runtimeVersion"] = Napi::Number::New(env, runtime_version);
  return found;
}

// --- Streams and events ---
Napi::Value create_stream(const Napi::CallbackInfo& info) {
  return make_handle(info.Env(), std::make_shared<Stream>(environment_of(info)));
}

Napi::Value wrap_stream(const Napi::CallbackInfo& info) {
  const auto handle = static_cast<cudaStream_t>(from_bigint(info[0]));
  return make_handle(info.Env(), std::make_shared<Stream>(environment_of(info), handle));
}

Napi::Value stream_handle(const Napi::CallbackInfo& info) {
  return to_bigint(info.Env(), from_handle<Stream>({info, 0, "stream"})->handle);
}

Napi::Value synchronize_stream(const Napi::CallbackInfo& info) {
  CHECK_CUDA(cudaStreamSynchronize(from_handle<Stream>({info, 0, "stream"})->handle));
  return info.Env().Undefined();
}

Napi::Value record_event(const Napi::CallbackInfo& info) {
  return make_handle(info.Env(), std::make_shared<Event>(environment_of(info),
                                                         from_handle<Stream>({info, 0, "stream"})->handle));
}

Napi::Value make_stream_wait(const Napi::CallbackInfo& info) {
  from_handle<Event>({info, 1, "event"})->make_wait(from_handle<Stream>({info, 0, "stream"})->handle);
  return info.Env().Undefined();
}

Napi::Value synchronize_event(const Napi::CallbackInfo& info) {
  from_handle<Event>({info, 0, "event"})->synchronize();
  return info.Env().Undefined();
}

// Takes an event, a status or a download
Napi::Value is_done(const Napi::CallbackInfo& info) {
  const char* kind = handle_base({info, 0, "handle"})->kind;
  const bool done = kind == kind_of<Event>    ? from_handle<Event>({info, 0, "handle"})->is_done()
                    : kind == kind_of<Status> ? from_handle<Status>({info, 0, "handle"})->is_done()
                                              : from_handle<Download>({info, 0, "handle"})->is_done();
  return Napi::Boolean::New(info.Env(), done);
}

// --- Memory ---
Napi::Value allocate(const Napi::CallbackInfo& info) {
  const auto bytes = size({info, 0, "bytes"});
  const bool is_shareable = boolean({info, 2, "isShareable"});
  const StreamPtr& stream = from_handle<Stream>({info, 1, "stream"});
  const EnvironmentPtr& environment = environment_of(info);
  return make_handle(info.Env(), is_shareable ? Allocation::shareable(environment, bytes)
                                              : Allocation::from_pool(environment, bytes, stream, stream));
}

// Wraps memory of somebody else, which must be the GPU's or accessible to it
Napi::Value wrap_pointer(const Napi::CallbackInfo& info) {
  void* pointer = from_bigint(info[0]);
  const size_t bytes = size({info, 1, "bytes"});
  const EnvironmentPtr& environment = environment_of(info);
  // Without elements, any address will do: that of an empty tensor is 0
  if (bytes > 0) {
    cudaPointerAttributes attributes{};
    CHECK_CUDA(cudaPointerGetAttributes(&attributes, pointer));
    if (attributes.type == cudaMemoryTypeUnregistered) return info.Env().Null();
    int device_idx = 0;
    CHECK_CUDA(cudaGetDevice(&device_idx));
    if (attributes.type == cudaMemoryTypeDevice && attributes.device != device_idx)
      throw CudaError(cudaErrorInvalidDevice, "cudaPointerGetAttributes");
  }
  return make_handle(info.Env(), std::make_shared<Allocation>(environment, Allocation::Origin::kExternal,
                                                              pointer, bytes, nullptr));
}

Napi::Value open_ipc_handle(const Napi::CallbackInfo& info) {
  const Bytes bytes = bytes_of({info, 0, "handle"});
  cudaIpcMemHandle_t handle;
  if (bytes.length != sizeof(handle)) fail(info.Env(), "an IPC handle has 64 bytes");
  std::memcpy(&handle, bytes.data, sizeof(handle));
  const size_t num_bytes = size({info, 1, "bytes"});
  const EnvironmentPtr& environment = environment_of(info);
  void* pointer = nullptr;
  CHECK_CUDA(cudaIpcOpenMemHandle(&pointer, handle, cudaIpcMemLazyEnablePeerAccess));
  return make_handle(info.Env(), std::make_shared<Allocation>(environment, Allocation::Origin::kIpc, pointer,
                                                              num_bytes, nullptr));
}

// Returns null for memory that cannot be shared
Napi::Value ipc_handle(const Napi::CallbackInfo& info) {
  const AllocationPtr& allocation = from_handle<Allocation>({info, 0, "allocation"});
  if (allocation->origin != Allocation::Origin::kShareable) return info.Env().Null();
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
  from_handle<Allocation>({info, 0, "allocation"})->record(from_handle<Stream>({info, 1, "stream"}));
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
  allocation->record(stream);
  environment_of(info)->upload(static_cast<uint8_t*>(allocation->pointer) + offset, source.data,
                               source.length, stream->handle);
  return info.Env().Undefined();
}

// Takes (allocation, byte offset, bytes, stream)
Napi::Value download(const Napi::CallbackInfo& info) {
  const AllocationPtr& allocation = from_handle<Allocation>({info, 0, "allocation"});
  const auto offset = size({info, 1, "byteOffset"}), bytes = size({info, 2, "bytes"});
  if (bytes > allocation->bytes || offset > allocation->bytes - bytes)
    fail(info.Env(), "more bytes than the tensor has");
  return make_handle(info.Env(),
                     std::make_shared<Download>(environment_of(info), DevicePlace{allocation, offset}, bytes,
                                                from_handle<Stream>({info, 3, "stream"})));
}

// Waits for a download and copies it into a typed array of its size
Napi::Value finish_download(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Download>& source = from_handle<Download>({info, 0, "download"});
  const Bytes target = bytes_of({info, 1, "target"});
  if (target.length != source->bytes) fail(info.Env(), "the array has another length than the tensor");
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
// Takes { commStream, numExperts, numRanks, numNodes, rankOfExpert }, the last of which may be null
Napi::Value create_plan(const Napi::CallbackInfo& info) {
  const Argument plan(info, 0, "plan");
  const StreamPtr& comm_stream = from_handle<Stream>({plan, "commStream"});
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
  return make_handle(info.Env(), std::make_shared<Plan>(environment_of(info), comm_stream, num_experts,
                                                        num_ranks, num_nodes, table));
}

// Takes (plan, tokens, hasMask). Returns the byte offset of each output, by its name, in the memory that a
// layout allocates
Napi::Value output_offsets(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const OutputPlaces places =
      from_handle<Plan>({info, 0, "plan"})
          ->output_places(integer({info, 1, "numTokens"}), boolean({info, 2, "hasMask"}));
  Napi::Object offsets = Napi::Object::New(env);
  for (size_t i = 0; i < kNumOutputs; ++i)
    offsets[kOutputs[i].name] = Napi::Number::New(env, static_cast<double>(places.byte_offsets[i]));
  return offsets;
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

// Takes { plan, ids, outputs, hasMask, isStrict, order }, and returns { memory, event, status }, each of
// which may be null. `ids` also has `allocation` and `byteOffset`. `outputs` is null, or has
// { allocation, byteOffset } or null for each output.
Napi::Value launch_on_device(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Argument launch(info, 0, "launch"), ids(launch, "ids"), outputs(launch, "outputs");
  const DeviceIds device_ids{read_ids(ids), read_place(ids)};
  PerOutput<DevicePlace> places{};
  const bool has_outputs = !outputs.value.IsNull();
  for (size_t i = 0; i < kNumOutputs && has_outputs; ++i) {
    const Argument output(outputs, kOutputs[i].name);
    if (!output.value.IsNull()) places[i] = read_place(output);
  }
  const Plan::DeviceLayout layout =
      from_handle<Plan>({launch, "plan"})
          ->launch_on_device(device_ids, has_outputs ? &places : nullptr, boolean({launch, "hasMask"}),
                             boolean({launch, "isStrict"}), read_order({launch, "order"}));
  Napi::Object result = Napi::Object::New(env);
  result["memory"] = layout.memory == nullptr ? env.Null() : make_handle(env, layout.memory);
  result["event"] = layout.event == nullptr ? env.Null() : make_handle(env, layout.event);
  result["status"] = layout.status == nullptr ? env.Null() : make_handle(env, layout.status);
  return result;
}

// Takes { plan, ids, hasMask, isStrict, order }. `ids` also has `data`, `offset` (the index in `data` of the
// first id) and `slotStride`.
Napi::Value launch_on_host(const Napi::CallbackInfo& info) {
  const Argument launch(info, 0, "launch"), ids(launch, "ids");
  const std::shared_ptr<Plan> plan = from_handle<Plan>({launch, "plan"});
  const bool has_mask = boolean({launch, "hasMask"}), is_strict = boolean({launch, "isStrict"});
  const StreamOrder order = read_order({launch, "order"});
  const Ids shape = read_ids(ids);
  const int64_t slot_stride = integer({ids, "slotStride"});
  const int64_t byte_offset = integer({ids, "offset"}) * get_id_bytes(shape.type);
  // The address is taken last, since reading a field may run code that transfers the array away
  const uint8_t* data = bytes_of({ids, "data"}).data;
  return make_handle(
      info.Env(), plan->launch_on_host({shape, slot_stride, data + byte_offset}, has_mask, is_strict, order));
}

Napi::Value event_of(const Napi::CallbackInfo& info) {
  return make_handle(info.Env(), from_handle<HostLayout>({info, 0, "layout"})->done);
}

// Waits for the layout, and writes nothing. Returns the first invalid selection, or -1.
Napi::Value synchronize_host(const Napi::CallbackInfo& info) {
  const int64_t selection = from_handle<HostLayout>({info, 0, "layout"})->synchronize();
  return Napi::Number::New(info.Env(), static_cast<double>(selection));
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

Napi::Value read_host_id(const Napi::CallbackInfo& info) {
  const int64_t id = from_handle<HostLayout>({info, 0, "layout"})->read_id(integer({info, 1, "selection"}));
  return Napi::BigInt::New(info.Env(), id);
}

// Returns the first invalid selection of a layout that is done, or -1
Napi::Value first_invalid_selection(const Napi::CallbackInfo& info) {
  const int64_t selection = from_handle<Status>({info, 0, "status"})->first_invalid_selection();
  return Napi::Number::New(info.Env(), static_cast<double>(selection));
}

// Returns null if the memory of the ids was released
Napi::Value read_device_id(const Napi::CallbackInfo& info) {
  int64_t id = 0;
  const int64_t selection = integer({info, 1, "selection"});
  if (!from_handle<Status>({info, 0, "status"})->read_id(selection, &id)) return info.Env().Null();
  return Napi::BigInt::New(info.Env(), id);
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
  EXPORT("streamHandle", stream_handle);
  EXPORT("synchronizeStream", synchronize_stream);
  EXPORT("recordEvent", record_event);
  EXPORT("makeStreamWait", make_stream_wait);
  EXPORT("synchronizeEvent", synchronize_event);
  EXPORT("isDone", is_done);
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
  EXPORT("createPlan", create_plan);
  EXPORT("outputOffsets", output_offsets);
  EXPORT("launchOnDevice", launch_on_device);
  EXPORT("launchOnHost", launch_on_host);
  EXPORT("eventOf", event_of);
  EXPORT("synchronizeHost", synchronize_host);
  EXPORT("copyHostOutputs", copy_host_outputs);
  EXPORT("readHostId", read_host_id);
  EXPORT("firstInvalidSelection", first_invalid_selection);
  EXPORT("readDeviceId", read_device_id);
#undef EXPORT
  return exports;
}

}  // namespace

NODE_API_MODULE(dispatch_layout_cuda, initialize)

}  // namespace dispatch_layout
