// Values that cross between JavaScript and C++: handles, and arguments with the names by which errors call
// them.
#pragma once

#define NAPI_CPP_EXCEPTIONS
// In a worker that is being terminated, nothing can be thrown to JavaScript, and nobody is there to catch it
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#include <napi.h>

#include <cstdint>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "layout.h"
#include "resources.h"

namespace dispatch_layout {

// --- Handles: each is a shared pointer, and a name by which a handle of another kind is refused ---
struct HandleBase {
  HandleBase(const char* kind, int64_t num_external_bytes)
      : kind(kind), num_external_bytes(num_external_bytes) {}
  virtual ~HandleBase() = default;
  virtual void reset() = 0;
  const char* const kind;
  int64_t num_external_bytes;  // The number that the garbage collector was told
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
constexpr const char* kind_of<Group> = "group";
template <>
constexpr const char* kind_of<DeviceLayout> = "layout";
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

// The bytes that a handle keeps outside the heap of JavaScript, which sees only a few words of it
template <typename T>
int64_t external_bytes(const T&) {
  return 0;
}
inline int64_t external_bytes(const Allocation& allocation) {
  const bool is_ours =
      allocation.origin == Allocation::Origin::kPool || allocation.origin == Allocation::Origin::kShareable;
  return is_ours ? static_cast<int64_t>(allocation.bytes) : 0;
}
inline int64_t external_bytes(const HostLayout& layout) {
  return static_cast<int64_t>(layout.input->capacity() + layout.output->capacity());
}
inline int64_t external_bytes(const Download& download) {
  return static_cast<int64_t>(download.memory->capacity());
}

// Tells the garbage collector about a change, since otherwise it sees no reason to run
inline void adjust_external_bytes(Napi::Env env, int64_t change) {
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
  // This comes only now, because in a worker that is being terminated the external may not have been created
  handle.release();
  adjust_external_bytes(env, num_bytes);
  return external;
}

// --- Arguments: those of a function or fields of an object, with the names by which errors call them ---
struct Argument {
  Argument(const Napi::CallbackInfo& info, size_t index, const char* name) : value(info[index]), name(name) {}
  // A field of an object. The object must outlive the field
  Argument(const Argument& object, const char* name) : name(name), object(&object) {
    napi_env env = object.value.Env();
    napi_value field = nullptr;
    if (napi_get_named_property(env, object.value, name, &field) != napi_ok) {
      // V8's own exception would not say whose field it is. An exception that a getter has thrown stays
      // pending.
      if (!object.value.IsObject()) object.value.Env().GetAndClearPendingException();
      object.fail("an object");
    }
    value = Napi::Value(env, field);
  }

  // The full name, such as `launch.ids.allocation`
  std::string path() const { return object == nullptr ? name : object->path() + "." + name; }

  [[noreturn]] void fail(const std::string& expected) const {
    const Napi::Env env = value.Env();
    if (env.IsExceptionPending()) throw env.GetAndClearPendingException();
    throw Napi::TypeError::New(
        env, path() + (value.IsUndefined() ? " is missing: it must be " : " must be ") + expected);
  }

  Napi::Value value;
  const char* name;
  const Argument* object = nullptr;
};

[[noreturn]] inline void fail(Napi::Env env, const std::string& message) {
  throw Napi::TypeError::New(env, message);
}

inline HandleBase* handle_base(const Argument& argument) {
  void* data = nullptr;
  if (napi_get_value_external(argument.value.Env(), argument.value, &data) != napi_ok)
    argument.fail("a handle of the CUDA addon");
  return static_cast<HandleBase*>(data);
}

template <typename T>
const std::shared_ptr<T>& from_handle(const Argument& argument) {
  HandleBase* base = handle_base(argument);
  if (base->kind != kind_of<T>) argument.fail(std::string("a handle of kind ") + kind_of<T>);
  const std::shared_ptr<T>& pointer = static_cast<Handle<T>*>(base)->pointer;
  if (pointer == nullptr) fail(argument.value.Env(), std::string("this ") + kind_of<T> + " was released");
  return pointer;
}

template <typename T>
std::shared_ptr<T> from_optional_handle(const Argument& argument) {
  return argument.value.IsNull() ? nullptr : from_handle<T>(argument);
}

inline int64_t integer(const Argument& argument) {
  int64_t value = 0;
  if (napi_get_value_int64(argument.value.Env(), argument.value, &value) != napi_ok)
    argument.fail("a number");
  return value;
}

// A number of experts, ranks or nodes
inline int count(const Argument& argument) {
  const int64_t value = integer(argument);
  if (value < 1 || value > std::numeric_limits<int>::max()) argument.fail("a positive 32-bit integer");
  return static_cast<int>(value);
}

inline bool boolean(const Argument& argument) {
  bool value = false;
  if (napi_get_value_bool(argument.value.Env(), argument.value, &value) != napi_ok)
    argument.fail("a boolean");
  return value;
}

inline std::string text(const Argument& argument) {
  return argument.value.IsString() ? argument.value.As<Napi::String>().Utf8Value() : "";
}

inline MaskForm mask_form(const Argument& argument) {
  const std::string form = text(argument);
  if (form == "bytes") return MaskForm::kBytes;
  if (form == "bits") return MaskForm::kBits;
  if (form == "none") return MaskForm::kNone;
  argument.fail("'bytes', 'bits' or 'none'");
}

// A 32-bit integer, `least` or more
inline int integer_from(int least, const Argument& argument) {
  const int64_t value = integer(argument);
  if (value < least || value > std::numeric_limits<int>::max())
    argument.fail("a 32-bit integer, " + std::to_string(least) + " or more");
  return static_cast<int>(value);
}

// What to compute, with the fields of its kind
inline Computation computation_of(const Argument& argument) {
  Computation computation;
  const Argument kind(argument, "kind");
  const std::string name = text(kind);
  if (name == "layout") {
    computation.mask = mask_form({argument, "mask"});
  } else if (name == "byExpert") {
    computation.kind = Computation::Kind::kByExpert;
    computation.first_expert = integer_from(0, {argument, "firstExpert"});
    computation.num_local_experts = integer_from(0, {argument, "numLocalExperts"});
    computation.alignment = integer_from(1, {argument, "alignment"});
  } else if (name == "byRank") {
    computation.kind = Computation::Kind::kByRank;
    const Argument winner(argument, "winner");
    computation.does_last_win = text(winner) == "last";
    if (!computation.does_last_win && text(winner) != "first") winner.fail("'first' or 'last'");
  } else {
    kind.fail("'layout', 'byExpert' or 'byRank'");
  }
  return computation;
}

// A number of bytes
inline size_t size(const Argument& argument) {
  const int64_t bytes = integer(argument);
  if (bytes < 0) argument.fail("0 or more");
  return static_cast<size_t>(bytes);
}

// The bytes of a typed array, which may be over a SharedArrayBuffer
struct Bytes {
  uint8_t* data;
  size_t length;
};

inline Bytes bytes_of(const Argument& argument) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(argument.value.Env(), argument.value, &type, &length, &data, nullptr,
                               nullptr) != napi_ok)
    argument.fail("a typed array");
  static constexpr size_t kElementBytes[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
  // Later versions of Node-API have more types
  if (static_cast<size_t>(type) >= std::size(kElementBytes)) argument.fail("a typed array of integers");
  return {static_cast<uint8_t*>(data), length * kElementBytes[type]};
}

// The bits of an unsigned 64-bit bigint, or nothing for null
inline std::optional<uint64_t> optional_bits(const Argument& argument) {
  if (argument.value.IsNull()) return std::nullopt;
  uint64_t bits = 0;
  bool is_lossless = false;
  if (napi_get_value_bigint_uint64(argument.value.Env(), argument.value, &bits, &is_lossless) != napi_ok ||
      !is_lossless)
    argument.fail("null or a bigint of 64 bits");
  return bits;
}

inline Napi::BigInt to_bigint(Napi::Env env, const void* pointer) {
  return Napi::BigInt::New(env, static_cast<uint64_t>(reinterpret_cast<uintptr_t>(pointer)));
}

inline void* from_bigint(const Napi::Value& value) {
  if (!value.IsBigInt()) fail(value.Env(), "the address is no bigint");
  bool is_lossless = false;
  const uint64_t address = value.As<Napi::BigInt>().Uint64Value(&is_lossless);
  if (!is_lossless) fail(value.Env(), "the address does not fit 64 bits");
  return reinterpret_cast<void*>(static_cast<uintptr_t>(address));
}

}  // namespace dispatch_layout
