#include "status_ring.h"

#include <cstring>
#include <memory>

namespace dispatch_layout {
namespace {

// More layouts than this are rarely under way, since a stream takes only about a thousand kernels at a time
constexpr uint64_t kCapacity = 256;
// The largest number of findings that are kept for tensors that may still be read
constexpr size_t kMaxFound = 1024;

// The kernel writes this word last. Reading it must come before reading the others, which matters on processors
// that reorder reads
uint64_t read_status(const InvalidSelection& place) {
  return __atomic_load_n(&place.status, __ATOMIC_ACQUIRE);
}

}  // namespace

StatusRing::StatusRing(const EnvironmentPtr& environment)
    : memory_(std::make_shared<Pinned>(environment, kCapacity * sizeof(InvalidSelection))) {
  std::memset(memory_->data(), 0, kCapacity * sizeof(InvalidSelection));
}

InvalidSelection* StatusRing::place(uint64_t number) const {
  return reinterpret_cast<InvalidSelection*>(memory_->data()) + number % kCapacity;
}

bool StatusRing::is_done(uint64_t number) const {
  // A later layout may have written its own number there
  return InvalidSelection::number_in(read_status(*place(number))) >= number;
}

void StatusRing::collect() {
  for (; num_collected_ < num_issued_ && is_done(num_collected_ + 1); ++num_collected_) {
    const InvalidSelection& selection = *place(num_collected_ + 1);
    if (!InvalidSelection::is_found_in(read_status(selection))) continue;
    if (found_.size() == kMaxFound) found_.erase(found_.begin());
    found_.emplace(num_collected_ + 1, Found{selection, false});
  }
}

bool StatusRing::is_full() {
  collect();
  return num_issued_ - num_collected_ == kCapacity;
}

Report StatusRing::next() {
  const uint64_t number = ++num_issued_;
  return {place(number), number};
}

const InvalidSelection* StatusRing::find(uint64_t number) {
  collect();
  const auto found = found_.find(number);
  if (found == found_.end()) return nullptr;
  found->second.is_reported = true;
  return &found->second.selection;
}

std::optional<uint64_t> StatusRing::first_unreported() {
  collect();
  for (const auto& [number, found] : found_)
    if (!found.is_reported) return number;
  return std::nullopt;
}

}  // namespace dispatch_layout
