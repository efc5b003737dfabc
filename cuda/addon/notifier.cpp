#include "notifier.h"

#include <mutex>
#include <utility>

#include "capture.h"
#include "cuda_error.h"

namespace dispatch_layout {
namespace {

void check_napi(napi_env env, napi_status status) {
  if (status != napi_ok) throw Napi::Error::New(env);
}

}  // namespace

// What the threads of the driver and the thread of JavaScript share
struct Notifier::Channel {
  std::mutex mutex;
  napi_threadsafe_function function = nullptr;  // Null once the environment ends

  void notify(uint64_t id) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (function != nullptr)
      napi_call_threadsafe_function(function, reinterpret_cast<void*>(id), napi_tsfn_nonblocking);
  }
  void close() {
    const std::lock_guard<std::mutex> lock(mutex);
    function = nullptr;
  }
};

Notifier::Notifier(Napi::Env env) : channel_(std::make_shared<Channel>()) {
  // Node.js may end the function before this notifier, so it, too, closes the channel
  auto* channel = new std::shared_ptr<Channel>(channel_);
  const auto finalize = [](napi_env, void* data, void*) {
    auto* channel = static_cast<std::shared_ptr<Channel>*>(data);
    (*channel)->close();
    delete channel;
  };
  const Napi::String name = Napi::String::New(env, "dispatch-layout: a wait for the GPU");
  const napi_status status = napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, channel,
                                                             finalize, this, call_js, &channel_->function);
  if (status != napi_ok) delete channel;
  check_napi(env, status);
  check_napi(env, napi_unref_threadsafe_function(env, channel_->function));
}

Notifier::~Notifier() { channel_->close(); }

void Notifier::call_when_done(const Event& event, Napi::Function callback) {
  if (event.capture.is_active()) throw CaptureError("CAPTURED_EVENT");
  const EnvironmentPtr& environment = event.environment;
  const cudaStream_t stream = environment->take_waiting_stream();
  const uint64_t id = next_id_++;
  struct Notification {
    std::shared_ptr<Channel> channel;
    uint64_t id;
  };
  auto notification = std::make_unique<Notification>(Notification{channel_, id});
  const auto notify = [](void* data) {
    const std::unique_ptr<Notification> notification(static_cast<Notification*>(data));
    notification->channel->notify(notification->id);
  };
  try {
    event.make_wait(stream);
    CHECK_CUDA(cudaLaunchHostFunc(stream, notify, notification.get()));
  } catch (...) {
    environment->give_waiting_stream(stream);
    throw;
  }
  notification.release();
  waiting_.emplace(id, Waiting{Napi::Persistent(callback), environment, stream});
}

void Notifier::call_js(napi_env env, napi_value, void* context, void* data) {
  if (env == nullptr) return;
  auto& waiting = static_cast<Notifier*>(context)->waiting_;
  const auto found = waiting.find(reinterpret_cast<uint64_t>(data));
  if (found == waiting.end()) return;
  const Waiting ended = std::move(found->second);
  waiting.erase(found);
  ended.environment->give_waiting_stream(ended.stream);
  napi_value callback = ended.callback.Value(), undefined = nullptr;
  napi_get_undefined(env, &undefined);
  napi_call_function(env, undefined, callback, 0, nullptr, nullptr);
}

}  // namespace dispatch_layout
