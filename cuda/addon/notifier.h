// Tells JavaScript that the GPU has reached an event, without anybody asking for it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "resources.h"
#include "values.h"

namespace dispatch_layout {

// The notifications of one JavaScript environment. The driver calls a host function behind the event, in a
// thread of its own, and that function wakes the event loop. If the context is lost, the driver calls nothing:
// whoever waits must therefore also ask from time to time.
class Notifier {
 public:
  explicit Notifier(Napi::Env env);
  ~Notifier();
  Notifier(const Notifier&) = delete;

  // Calls `callback` once when the work before the event is done. A notification does not keep the process alive
  void call_when_done(const Event& event, Napi::Function callback);

 private:
  struct Channel;
  struct Waiting {
    Napi::FunctionReference callback;
    EnvironmentPtr environment;
    cudaStream_t stream;
  };

  static void call_js(napi_env env, napi_value, void* context, void* data);

  // Host functions that are still queued keep the channel when the notifier is gone
  const std::shared_ptr<Channel> channel_;
  std::map<uint64_t, Waiting> waiting_;
  uint64_t next_id_ = 1;
};

}  // namespace dispatch_layout
