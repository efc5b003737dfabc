#include "group.h"

#include <exception>
#include <utility>

#include "capture.h"

namespace dispatch_layout {

Group::Group(const EnvironmentPtr& environment)
    : environment(environment), comm_stream(std::make_shared<Stream>(environment, Stream::Priority::kHigh)) {}

Group::~Group() {
  if (ring_ == nullptr || last_.work == nullptr) return;
  const OnDevice on_device(environment->context, std::nothrow);
  try {
    // Layouts that nobody waits for may still write to the ring
    const EventPtr last = last_uncaptured().event();
    if (last != nullptr) environment->keep_until(last, ring_->memory());
  } catch (const std::exception&) {
    // Nobody can tell when the layouts end, so the memory must stay. Nothing runs any more if the context is lost
    new PinnedPtr(ring_->memory());
  }
}

const Use& Group::last_uncaptured() const {
  if (last_.is_captured()) throw CaptureError("LAST_STREAM");
  return last_;
}

void Group::order_behind_last(const StreamPtr& stream) const {
  if (last_.work == nullptr || last_.work->is_of_same_stream(*stream->work)) return;
  last_uncaptured().make_wait(stream->handle);
}

const Use& Group::set_last(const StreamPtr& stream, EventPtr done) {
  // On a stream that certainly exists later, an event can be recorded when somebody needs one
  if (done == nullptr && !stream->is_permanent()) done = std::make_shared<Event>(environment, stream->handle);
  last_ = {stream->work, std::move(done)};
  return last_;
}

void Group::use_until_last(const AllocationPtr& allocation) const {
  if (allocation != nullptr && last_.work != nullptr) allocation->add_use(last_);
}

Report Group::next_report() {
  if (ring_ == nullptr) ring_ = std::make_unique<StatusRing>(environment);
  if (ring_->is_full()) last_uncaptured().synchronize();
  return ring_->next();
}

}  // namespace dispatch_layout
