// Layouts on the communication stream of a group, in DeepEP's order of streams, for device memory and for
// host memory. The structs have the fields of the objects that `ts/devices/cuda/addon.ts` declares, under the
// same names.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "../kernel/dispatch_layout.h"
#include "outputs.h"
#include "resources.h"

namespace dispatch_layout {

// A place in device memory
struct DevicePlace {
  AllocationPtr allocation;
  size_t byte_offset;
};

// The ids of all tokens, [num_tokens, num_topk]. Strides are in elements.
struct Ids {
  IdType type;
  int64_t num_tokens, num_topk;
  int64_t token_stride;
  std::optional<uint64_t> empty_id;  // The bits of an id that is skipped as -1 is
};

// Ids in device memory. The ids of one token are contiguous.
struct DeviceIds : Ids {
  DevicePlace place;
};

// Ids in host memory
struct HostIds : Ids {
  int64_t slot_stride;
  const uint8_t* first;  // The id of the first slot of the first token
};

// Which stream waits for which
struct StreamOrder {
  StreamPtr current_stream;
  EventPtr previous;  // Null: the communication stream waits for the current stream
  bool async_finish = false;
  bool allocate_on_comm_stream = false;
};

// What strict mode finds in ids in device memory: the first invalid selection, which the kernel writes to
// host memory. Selections are numbered `token * num_topk + slot`.
class Status {
 public:
  explicit Status(EnvironmentPtr environment);
  ~Status();
  Status(const Status&) = delete;

  // The place where the kernel writes the selection, or ~0 if all ids are valid
  uint64_t* word() const;
  // Must be called when the kernel is queued and `done` is recorded behind it
  void set_launched(const DeviceIds& ids, EventPtr done);
  bool is_done();
  // Returns the first invalid selection, or -1. This is valid once the kernel is done
  int64_t first_invalid_selection() const { return static_cast<int64_t>(*word()); }
  // Reads the id of a selection. Returns false if the memory of the ids was released.
  bool read_id(int64_t selection, int64_t* id) const;

 private:
  const EnvironmentPtr environment_;
  const PinnedPtr memory_;
  EventPtr done_;
  Ids ids_{};
  std::weak_ptr<Allocation> ids_allocation_;
  size_t ids_byte_offset_ = 0;
  bool is_finished_ = false;
};

// A layout of host memory that was queued
struct HostLayout {
  ~HostLayout();

  bool is_done() const { return done->is_done(); }
  // Waits for the layout. Returns the first invalid selection, or -1.
  int64_t synchronize();
  void copy_output(size_t output_idx, void* target) const;
  int64_t read_id(int64_t selection) const;

  EnvironmentPtr environment;
  PinnedPtr input, output;
  OutputPlaces places;  // In `output`
  IdType type;
  EventPtr done;  // Null until the kernel is queued
  bool is_finished;
};

// Device memory on its way to the host
struct Download {
  Download(EnvironmentPtr environment, const DevicePlace& source, size_t bytes, const StreamPtr& stream);
  ~Download();

  bool is_done() const { return done->is_done(); }
  // Waits for the download, and copies the bytes to `target`
  void finish(void* target);

  EnvironmentPtr environment;
  PinnedPtr memory;
  size_t bytes;
  EventPtr done;
  bool is_finished = false;
};

// The tables and the communication stream of one group and one number of experts. Its layouts run one after
// the other.
class Plan {
 public:
  // `rank_of_expert`, [num_experts], is copied; it is null for contiguous blocks. `num_nodes` is 1 within one
  // node.
  Plan(EnvironmentPtr environment, StreamPtr comm_stream, int num_experts, int num_ranks, int num_nodes,
       const int32_t* rank_of_expert);

  // Returns where `launch_on_device` places the outputs in the memory that it allocates
  OutputPlaces output_places(int64_t num_tokens, bool has_mask) const {
    return OutputPlaces({num_tokens, num_experts_, num_ranks_, num_nodes_, has_mask});
  }

  struct DeviceLayout {
    AllocationPtr memory;            // Of all outputs; null if they were given
    EventPtr event;                  // Null unless asynchronous
    std::shared_ptr<Status> status;  // Null unless strict
  };
  // Queues a layout of device memory. If `outputs` is null, it allocates them, in one piece. An output that
  // the layout does not have is given by a null allocation.
  DeviceLayout launch_on_device(const DeviceIds& ids, const PerOutput<DevicePlace>* outputs, bool has_mask,
                                bool is_strict, const StreamOrder& order);

  // Queues a layout of host memory, after packing the ids into pinned memory. The kernel reads and writes
  // pinned memory directly.
  std::shared_ptr<HostLayout> launch_on_host(const HostIds& ids, bool has_mask, bool is_strict,
                                             const StreamOrder& order);

 private:
  void run(const void* topk_idx, const Ids& ids, const PerOutput<void*>& outputs,
           uint64_t* first_invalid_selection);

  const EnvironmentPtr environment_;
  const StreamPtr comm_stream_;
  const int num_experts_, num_ranks_, num_nodes_;
  AllocationPtr rank_of_expert_, scratch_;
};

}  // namespace dispatch_layout
