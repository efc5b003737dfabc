// What strict mode finds in the layouts of tensors of one group, without anybody waiting for them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "../kernel/dispatch_layout.h"
#include "resources.h"

namespace dispatch_layout {

// A ring of places in pinned memory, one for each layout that is under way. Layouts have numbers, from 1 on, and
// run in the order of these. The kernel of a layout writes its number last, so that one look at memory tells
// whether all its ids are checked. Its results may still be on their way then.
class StatusRing {
 public:
  explicit StatusRing(const EnvironmentPtr& environment);

  // Whether the place for the next layout is still in use by an earlier one, for which the caller must then wait
  bool is_full();
  // Takes the place for the next layout. The kernel must be queued, or the place given back
  Report next();
  void give_back() { --num_issued_; }

  uint64_t num_issued() const { return num_issued_; }
  // Whether all ids of a layout are checked
  bool is_done(uint64_t number) const;
  // Returns what was found in such a layout, or null. It counts as reported from now on.
  const InvalidSelection* find(uint64_t number);
  // Returns the number of the first such layout in which something was found that nobody has reported
  std::optional<uint64_t> first_unreported();

  const PinnedPtr& memory() const { return memory_; }

 private:
  struct Found {
    InvalidSelection selection;
    bool is_reported;
  };

  InvalidSelection* place(uint64_t number) const;
  // Takes over what was found in layouts that are done by now
  void collect();

  const PinnedPtr memory_;
  uint64_t num_issued_ = 0, num_collected_ = 0;
  std::map<uint64_t, Found> found_;
};

}  // namespace dispatch_layout
