// What the layouts of one group on one GPU share.
#pragma once

#include <memory>

#include "resources.h"
#include "status_ring.h"

namespace dispatch_layout {

// The communication stream of a group, and the order of its layouts: they run one after the other, since they
// share scratch memory, on whichever streams they run.
class Group {
 public:
  explicit Group(const EnvironmentPtr& environment);
  ~Group();
  Group(const Group&) = delete;

  // Makes a stream wait for the last layout
  void order_behind_last(const StreamPtr& stream) const;
  // Must be called when a layout is queued on a stream. Returns the work until the end of the layout, to be known
  // to memory that it uses. `done` is an event behind the layout, or null if none was recorded.
  const Use& set_last(const StreamPtr& stream, EventPtr done);
  // Makes known to memory that it is used until the end of the last layout
  void use_until_last(const AllocationPtr& allocation) const;
  // Takes a place in the ring; waits if there is none
  Report next_report();

  const EnvironmentPtr environment;
  const StreamPtr comm_stream;
  // Null until the first strict layout of tensors
  StatusRing* ring() const { return ring_.get(); }

 private:
  // Returns the last layout. Throws if its stream is being captured, since nothing can then wait for it
  const Use& last_uncaptured() const;

  std::unique_ptr<StatusRing> ring_;
  Use last_;  // Without a stream before the first layout
};
using GroupPtr = std::shared_ptr<Group>;

}  // namespace dispatch_layout
