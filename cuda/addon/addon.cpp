// The addon: what `ts/devices/cuda/addon.ts` declares, one function each. It holds no policy: who calls what, and when, is
// TypeScript. Handles are opaque externals; every one releases its resource when it is collected, when it is disposed
// of, or when its environment ends.
#define NAPI_CPP_EXCEPTIONS
// In a worker that is being terminated nothing can be thrown to JavaScript, and nobody is there to catch it
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#include <napi.h>

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

namespace dispatch_layout {
namespace {

// Changes whenever a function changes: JavaScript refuses an addon of another build
constexpr int kInterfaceVersion = 1;

class InstanceData {
 public:
  ~InstanceData() {
    if (environment_ != nullptr) environment_->close();
  }

  // Created on first use: nothing of CUDA is touched before
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

// --- Handles: a shared pointer, and a name by which a handle of another kind is refused ---
struct HandleBase {
  HandleBase(const char* kind, int64_t num_external_bytes)
      : kind(kind), num_external_bytes(num_external_bytes) {}
  virtual ~HandleBase() = default;
  virtual void reset() = 0;
  const char* const kind;
  int64_t num_external_bytes;  // As the garbage collector was told
};

template <typename T>
constexpr const char* kind_of = nullptr;
template <>
constexpr const char* kind_of<Stream> = "stream";
template <>
constexpr const char* kind_of<Event> = "event";
template <>
constexpr const char* kind_of<Allocation> = "allocation";
template <>
constexpr const char* kind_of<Plan> = "plan";
template <>
constexpr const char* kind_of<Status> = "status";
template <>
constexpr const char* kind_of<HostLayout> = "host layout";
template <>
constexpr const char* kind_of<Download> = "download";

template <typename T>
struct Handle : HandleBase {
  Handle(std::shared_ptr<T> pointer, int64_t num_external_bytes)
      : HandleBase(kind_of<T>, num_external_bytes), pointer(std::move(pointer)) {}
  void reset() override { pointer.reset(); }
  std::shared_ptr<T> pointer;
};

// Bytes that a handle keeps outside the heap of JavaScript, which sees but a few words of it
template <typename T>
int64_t external_bytes(const T&) {
  return 0;
}
int64_t external_bytes(const Allocation& allocation) {
  const bool is_ours =
      allocation.origin == Allocation::Origin::kPool || allocation.origin == Allocation::Origin::kShareable;
  return is_ours ? static_cast<int64_t>(allocation.bytes) : 0;
}
int64_t external_bytes(const HostLayout& layout) {
  return static_cast<int64_t>(layout.input->capacity() + layout.output->capacity());
}
int64_t external_bytes(const Download& download) { return static_cast<int64_t>(download.memory->capacity()); }

// Tells the garbage collector, which would otherwise see no reason to run
void adjust_external_bytes(Napi::Env env, int64_t change) {
  int64_t total = 0;
  if (change != 0) napi_adjust_external_memory(env, change, &total);
}

template <typename T>
Napi::Value make_handle(Napi::Env env, std::shared_ptr<T> pointer) {
  const int64_t num_bytes = external_bytes(*pointer);
  std::unique_ptr<HandleBase> handle(new Handle<T>(std::move(pointer), num_bytes));
  const Napi::Value external =
      Napi::External<HandleBase>::New(env, handle.get(), [](Napi::Env env, HandleBase* data) {
        adjust_external_bytes(env, -data->num_external_bytes);
        delete data;
      });
  handle.release();  // Only now: in a worker that is being terminated, there may be no external
  adjust_external_bytes(env, num_bytes);
  return external;
}

[[noreturn]] void fail(Napi::Env env, const std::string& message) {
  throw Napi::TypeError::New(env, message);
}

HandleBase* handle_base(const Napi::Value& value) {
  if (!value.IsExternal()) fail(value.Env(), "not a handle of the CUDA addon");
  return value.As<Napi::External<HandleBase>>().Data();
}

template <typename T>
const std::shared_ptr<T>& from_handle(const Napi::Value& value) {
  HandleBase* base = handle_base(value);
  if (base->kind != kind_of<T>) fail(value.Env(), std::string("not a handle of a ") + kind_of<T>);
  const std::shared_ptr<T>& pointer = static_cast<Handle<T>*>(base)->pointer;
  if (pointer == nullptr) fail(value.Env(), std::string("this ") + kind_of<T> + " was released");
  return pointer;
}

template <typename T>
std::shared_ptr<T> from_optional_handle(const Napi::Value& value) {
  return value.IsNull() ? nullptr : from_handle<T>(value);
}

int64_t integer(const Napi::Value& value) { return value.As<Napi::Number>().Int64Value(); }

// Of bytes
size_t size(const Napi::Value& value) {
  const int64_t bytes = integer(value);
  if (bytes < 0) fail(value.Env(), "a size or an offset is negative");
  return static_cast<size_t>(bytes);
}

// The bytes of a typed array, over a SharedArrayBuffer too
struct Bytes {
  uint8_t* data;
  size_t length;
};

Bytes bytes_of(const Napi::Value& value) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(value.Env(), value, &type, &length, &data, nullptr, nullptr) != napi_ok)
    fail(value.Env(), "not a typed array");
  static constexpr size_t kElementBytes[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
  return {static_cast<uint8_t*>(data), length * kElementBytes[type]};
}

Napi::BigInt to_bigint(Napi::Env env, const void* pointer) {
  return Napi::BigInt::New(env, static_cast<uint64_t>(reinterpret_cast<uintptr_t>(pointer)));
}

void* from_bigint(const Napi::Value& value) {
  if (!value.IsBigInt()) fail(value.Env(), "the address is no bigint");
  bool is_lossless = false;
  const uint64_t address = value.As<Napi::BigInt>().Uint64Value(&is_lossless);
  if (!is_lossless) fail(value.Env(), "the address does not fit 64 bits");
  return reinterpret_cast<void*>(static_cast<uintptr_t>(address));
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

// What there is: versions, devices, or the error that says why not. Creates no context.
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
        // Only the first is used: another one that is broken does no harm
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
  return to_bigint(info.Env(), from_handle<Stream>(info[0])->handle);
}

Napi::Value synchronize_stream(const Napi::CallbackInfo& info) {
  CHECK_CUDA(cudaStreamSynchronize(from_handle<Stream>(info[0])->handle));
  return info.Env().Undefined();
}

Napi::Value record_event(const Napi::CallbackInfo& info) {
  return make_handle(info.Env(),
                     std::make_shared<Event>(environment_of(info), from_handle<Stream>(info[0])->handle));
}

Napi::Value make_stream_wait(const Napi::CallbackInfo& info) {
  from_handle<Event>(info[1])->make_wait(from_handle<Stream>(info[0])->handle);
  return info.Env().Undefined();
}

Napi::Value synchronize_event(const Napi::CallbackInfo& info) {
  from_handle<Event>(info[0])->synchronize();
  return info.Env().Undefined();
}

// Of an event, a status, a download or a layout of host memory
Napi::Value is_done(const Napi::CallbackInfo& info) {
  const char* kind = handle_base(info[0])->kind;
  const bool done = kind == kind_of<Event>      ? from_handle<Event>(info[0])->is_done()
                    : kind == kind_of<Status>   ? from_handle<Status>(info[0])->is_done()
                    : kind == kind_of<Download> ? from_handle<Download>(info[0])->is_done()
                                                : from_handle<HostLayout>(info[0])->is_done();
  return Napi::Boolean::New(info.Env(), done);
}

// --- Memory ---
Napi::Value allocate(const Napi::CallbackInfo& info) {
  const auto bytes = size(info[0]);
  const bool is_shareable = info[2].As<Napi::Boolean>();
  const StreamPtr& stream = from_handle<Stream>(info[1]);
  const EnvironmentPtr& environment = environment_of(info);
  return make_handle(info.Env(), is_shareable ? Allocation::shareable(environment, bytes)
                                              : Allocation::from_pool(environment, bytes, stream, stream));
}

// Memory of somebody else, which must be the GPU's or accessible to it
Napi::Value wrap_pointer(const Napi::CallbackInfo& info) {
  void* pointer = from_bigint(info[0]);
  const size_t bytes = size(info[1]);
  const EnvironmentPtr& environment = environment_of(info);
  // No elements have any address: that of an empty tensor is 0
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
  const Bytes bytes = bytes_of(info[0]);
  cudaIpcMemHandle_t handle;
  if (bytes.length != sizeof(handle)) fail(info.Env(), "an IPC handle has 64 bytes");
  std::memcpy(&handle, bytes.data, sizeof(handle));
  const EnvironmentPtr& environment = environment_of(info);
  void* pointer = nullptr;
  CHECK_CUDA(cudaIpcOpenMemHandle(&pointer, handle, cudaIpcMemLazyEnablePeerAccess));
  return make_handle(info.Env(), std::make_shared<Allocation>(environment, Allocation::Origin::kIpc, pointer,
                                                              size(info[1]), nullptr));
}

// Null for memory that cannot be shared
Napi::Value ipc_handle(const Napi::CallbackInfo& info) {
  const AllocationPtr& allocation = from_handle<Allocation>(info[0]);
  if (allocation->origin != Allocation::Origin::kShareable) return info.Env().Null();
  cudaIpcMemHandle_t handle;
  CHECK_CUDA(cudaIpcGetMemHandle(&handle, allocation->pointer));
  Napi::Uint8Array bytes = Napi::Uint8Array::New(info.Env(), sizeof(handle));
  std::memcpy(bytes.Data(), &handle, sizeof(handle));
  return bytes;
}

Napi::Value pointer_of(const Napi::CallbackInfo& info) {
  return to_bigint(info.Env(), from_handle<Allocation>(info[0])->pointer);
}

Napi::Value record_stream(const Napi::CallbackInfo& info) {
  from_handle<Allocation>(info[0])->record(from_handle<Stream>(info[1]));
  return info.Env().Undefined();
}

// (allocation, byte offset, typed array, stream)
Napi::Value upload(const Napi::CallbackInfo& info) {
  const AllocationPtr& allocation = from_handle<Allocation>(info[0]);
  const auto offset = size(info[1]);
  const Bytes source = bytes_of(info[2]);
  const StreamPtr& stream = from_handle<Stream>(info[3]);
  if (source.length > allocation->bytes || offset > allocation->bytes - source.length)
    fail(info.Env(), "more bytes than the tensor has");
  allocation->record(stream);
  environment_of(info)->upload(static_cast<uint8_t*>(allocation->pointer) + offset, source.data,
                               source.length, stream->handle);
  return info.Env().Undefined();
}

// (allocation, byte offset, bytes, stream)
Napi::Value download(const Napi::CallbackInfo& info) {
  const AllocationPtr& allocation = from_handle<Allocation>(info[0]);
  const auto offset = size(info[1]), bytes = size(info[2]);
  if (bytes > allocation->bytes || offset > allocation->bytes - bytes)
    fail(info.Env(), "more bytes than the tensor has");
  return make_handle(info.Env(), std::make_shared<Download>(environment_of(info), allocation, offset, bytes,
                                                            from_handle<Stream>(info[3])));
}

// Waits for a download and copies it into a typed array of its size
Napi::Value finish_download(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Download>& source = from_handle<Download>(info[0]);
  const Bytes target = bytes_of(info[1]);
  if (target.length != source->bytes) fail(info.Env(), "the array has another length than the tensor");
  source->finish(target.data);
  return info.Env().Undefined();
}

Napi::Value release(const Napi::CallbackInfo& info) {
  HandleBase* handle = handle_base(info[0]);
  handle->reset();
  adjust_external_bytes(info.Env(), -std::exchange(handle->num_external_bytes, 0));
  return info.Env().Undefined();
}

// --- Layouts ---
// (communication stream, experts, ranks, ranks per node, nodes, table of ranks or null)
Napi::Value create_plan(const Napi::CallbackInfo& info) {
  const int num_experts = static_cast<int>(integer(info[1]));
  const int32_t* rank_of_expert = nullptr;
  if (!info[5].IsNull()) {
    const Bytes table = bytes_of(info[5]);
    if (table.length != sizeof(int32_t) * num_experts) fail(info.Env(), "the table has another length");
    rank_of_expert = reinterpret_cast<const int32_t*>(table.data);
  }
  return make_handle(info.Env(), std::make_shared<Plan>(environment_of(info), from_handle<Stream>(info[0]),
                                                        num_experts, static_cast<int>(integer(info[2])),
                                                        static_cast<int>(integer(info[3])),
                                                        static_cast<int>(integer(info[4])), rank_of_expert));
}

// (plan, tokens): where each output lies in the memory that a layout allocates
Napi::Value output_offsets(const Napi::CallbackInfo& info) {
  const OutputOffsets offsets = from_handle<Plan>(info[0])->output_offsets(integer(info[1]));
  Napi::Array array = Napi::Array::New(info.Env(), 4);
  uint32_t i = 0;
  for (const size_t offset : {offsets.per_rank, offsets.per_node, offsets.per_expert, offsets.mask})
    array[i++] = Napi::Number::New(info.Env(), static_cast<double>(offset));
  return array;
}

// An array [id type, tokens, slots, token stride, slot stride]
TopkShape topk_shape(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  const auto at = [&](uint32_t i) { return integer(array.Get(i)); };
  return {static_cast<IdType>(at(0)), at(1), at(2), at(3), at(4)};
}

// An array [current stream, previous event or null, asyncFinish, allocateOnCommStream]
StreamOrder stream_order(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  return {from_handle<Stream>(array.Get(0u)), from_optional_handle<Event>(array.Get(1u)),
          array.Get(2u).As<Napi::Boolean>(), array.Get(3u).As<Napi::Boolean>()};
}

// (plan, input, byte offset, topk shape, outputs or null, is strict, stream order): [outputs, event, status], null where
// there is none. `outputs` is an array of allocation or null and byte offset in turn.
Napi::Value launch_on_device(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const EnvironmentPtr& environment = environment_of(info);
  const std::shared_ptr<Plan>& plan = from_handle<Plan>(info[0]);
  const Plan::DeviceInput input{from_handle<Allocation>(info[1]), size(info[2]), topk_shape(info[3])};
  std::vector<Plan::DeviceOutput> outputs;
  if (!info[4].IsNull()) {
    const auto array = info[4].As<Napi::Array>();
    for (uint32_t i = 0; i + 1 < array.Length(); i += 2)
      outputs.push_back({from_optional_handle<Allocation>(array.Get(i)), size(array.Get(i + 1))});
    if (outputs.size() != 4) fail(env, "a layout has four outputs");
  }
  const bool is_strict = info[5].As<Napi::Boolean>();
  const auto status = is_strict ? std::make_shared<Status>(environment) : nullptr;
  const Plan::DeviceResult result =
      plan->launch(input, outputs.empty() ? nullptr : &outputs, status.get(), stream_order(info[6]));
  Napi::Array array = Napi::Array::New(env, 3);
  array[0u] = result.outputs == nullptr ? env.Null() : make_handle(env, result.outputs);
  array[1u] = result.done == nullptr ? env.Null() : make_handle(env, result.done);
  array[2u] = status == nullptr ? env.Null() : make_handle(env, status);
  return array;
}

// (plan, typed array, element offset, topk shape, is strict, stream order)
Napi::Value launch_on_host(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Plan>& plan = from_handle<Plan>(info[0]);
  const TopkShape shape = topk_shape(info[3]);
  const int id_bytes = get_id_bytes(shape.type);
  const uint8_t* ids = bytes_of(info[1]).data + integer(info[2]) * id_bytes;
  const bool is_strict = info[4].As<Napi::Boolean>();
  return make_handle(info.Env(), plan->launch(ids, shape, is_strict, stream_order(info[5])));
}

Napi::Value event_of(const Napi::CallbackInfo& info) {
  return make_handle(info.Env(), from_handle<HostLayout>(info[0])->done);
}

// Waits, and writes nothing: the position of the first invalid id, or -1
Napi::Value synchronize_host(const Napi::CallbackInfo& info) {
  const int64_t position = from_handle<HostLayout>(info[0])->synchronize();
  return Napi::Number::New(info.Env(), static_cast<double>(position));
}

// (host layout, array or null, ...): copies the finished outputs. False, with nothing written, if an array no longer has
// the length that it is asked for with.
Napi::Value copy_host_outputs(const Napi::CallbackInfo& info) {
  const std::shared_ptr<HostLayout>& layout = from_handle<HostLayout>(info[0]);
  const OutputOffsets& offsets = layout->offsets;
  const size_t begins[] = {offsets.per_rank, offsets.per_node, offsets.per_expert, offsets.mask};
  const size_t ends[] = {offsets.per_node, offsets.per_expert, offsets.mask, offsets.end};
  for (const bool is_copying : {false, true}) {
    for (int i = 0; i < 4; ++i) {
      if (info[1 + 2 * i].IsNull()) continue;
      const Bytes target = bytes_of(info[1 + 2 * i]);
      const auto bytes = size(info[2 + 2 * i]);
      if (target.length != bytes || bytes > ends[i] - begins[i]) return Napi::Boolean::New(info.Env(), false);
      if (is_copying && bytes > 0) layout->copy_output(target.data, begins[i], bytes);
    }
  }
  return Napi::Boolean::New(info.Env(), true);
}

Napi::Value read_host_id(const Napi::CallbackInfo& info) {
  return Napi::BigInt::New(info.Env(), from_handle<HostLayout>(info[0])->read_id(integer(info[1])));
}

// The position of the first invalid id of a finished launch, or -1
Napi::Value status_position(const Napi::CallbackInfo& info) {
  const auto position = static_cast<int64_t>(*from_handle<Status>(info[0])->word());
  return Napi::Number::New(info.Env(), static_cast<double>(position));
}

// Null if the input was disposed of
Napi::Value read_device_id(const Napi::CallbackInfo& info) {
  int64_t id = 0;
  if (!from_handle<Status>(info[0])->read_id(integer(info[1]), &id)) return info.Env().Null();
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
    // Of the host; to the library, memory is memory
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
  EXPORT("statusPosition", status_position);
  EXPORT("readDeviceId", read_device_id);
#undef EXPORT
  return exports;
}

}  // namespace

NODE_API_MODULE(dispatch_layout_cuda, initialize)

}  // namespace dispatch_layout
