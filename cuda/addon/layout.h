// Layouts on the communication stream of a group: DeepEP's order of streams, for device memory and for host memory.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../kernel/dispatch_layout.h"
#include "resources.h"

namespace dispatch_layout {

// Where `topk_idx` lies, in elements of its type
struct TopkShape {
  IdType type;
  int64_t num_tokens, num_topk;
  int64_t token_stride, slot_stride;
};

// Who waits for whom
struct StreamOrder {
  StreamPtr current;
  EventPtr previous;  // Null: wait for the current stream
  bool is_async = false;
  bool allocate_on_comm_stream = false;
};

// What one layout writes, in one piece of memory: byte offsets, each a multiple of 16
struct OutputOffsets {
  OutputOffsets(int64_t num_tokens, int num_experts, int num_ranks, int num_nodes);
  size_t per_rank, per_node, per_expert, mask, end;
};

// Pointers to the four outputs; `per_node` is null within one node
struct OutputPointers {
  int32_t *per_rank, *per_node, *per_expert;
  uint8_t* mask;
};

// The word that a launch writes the position of its first invalid id to, and when it is written
class Status {
 public:
  Status(EnvironmentPtr environment);
  ~Status();
  Status(const Status&) = delete;

  uint64_t* word() const;
  bool is_done();
  // The id at a position of the launch's input, or null if that input was disposed
  bool read_id(int64_t position, int64_t* id) const;

  EventPtr done;
  std::weak_ptr<Allocation> input;
  size_t input_offset = 0;
  TopkShape shape{};

 private:
  const EnvironmentPtr environment_;
  const PinnedPtr memory_;
  bool is_finished_ = false;
};

// A layout of host memory under way: `finish` waits for it and copies the results out
struct HostLayout {
  ~HostLayout();

  bool is_done() const { return done->is_done(); }
  // Waits. The position of the first invalid id, or -1.
  int64_t synchronize();
  void copy_output(void* target, size_t offset, size_t bytes) const;
  int64_t read_id(int64_t position) const;

  EnvironmentPtr environment;
  PinnedPtr input, output;
  OutputOffsets offsets;
  IdType type;
  EventPtr done;  // Null until the kernel is queued
  bool is_finished;
};

// Device memory on its way to the host
struct Download {
  Download(EnvironmentPtr environment, const AllocationPtr& source, size_t offset, size_t bytes,
           const StreamPtr& stream);
  ~Download();

  bool is_done() const { return done->is_done(); }
  // Waits
  void finish(void* target);

  EnvironmentPtr environment;
  PinnedPtr memory;
  size_t bytes;
  EventPtr done;
  bool is_finished = false;
};

// The tables and the communication stream of one group and number of experts. Layouts run one after the other.
class Plan {
 public:
  // `rank_of_expert` [num_experts] is copied; null for contiguous blocks. `num_nodes` is 1 within one node.
  Plan(EnvironmentPtr environment, StreamPtr comm, int num_experts, int num_ranks, int num_ranks_per_node,
       int num_nodes, const int32_t* rank_of_expert);

  OutputOffsets output_offsets(int64_t num_tokens) const {
    return {num_tokens, num_experts_, num_ranks_, num_nodes_};
  }

  struct DeviceInput {
    AllocationPtr allocation;
    size_t offset;
    TopkShape shape;
  };
  // Queues a layout of device memory. Without `outputs` (one allocation each, with byte offsets) it allocates them, in
  // one piece. `status` may be null: ids are then not checked.
  struct DeviceOutput {
    AllocationPtr allocation;
    size_t offset;
  };
  struct DeviceResult {
    AllocationPtr outputs;
    EventPtr done;  // Null unless asynchronous
  };
  DeviceResult launch(const DeviceInput& input, const std::vector<DeviceOutput>* outputs, Status* status,
                      const StreamOrder& order);

  // Queues a layout of host memory: packs the ids into pinned memory, which the kernel reads and writes directly
  std::shared_ptr<HostLayout> launch(const void* topk_idx, const TopkShape& shape, bool is_strict,
                                     const StreamOrder& order);

 private:
  void run(const void* topk_idx, const TopkShape& shape, const OutputPointers& outputs, uint64_t* status);

  const EnvironmentPtr environment_;
  const StreamPtr comm_;
  const int num_experts_, num_ranks_, num_ranks_per_node_, num_nodes_;
  AllocationPtr rank_of_expert_, workspace_;
};

}  // namespace dispatch_layout
