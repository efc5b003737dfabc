// Layouts and orders of rows, of ids in device memory and in host memory, in DeepEP's order of streams. What is said of
// a layout here is true of an order, too. The structs have the fields of the objects that `ts/devices/cuda/addon.ts`
// declares, under the same names.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "../kernel/dispatch_layout.h"
#include "../kernel/permutation.h"
#include "capture.h"
#include "group.h"
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

// A layout of host memory that was queued
struct HostLayout {
  ~HostLayout();

  bool is_done() const { return done->is_done(); }
  // Waits for the layout
  void synchronize();
  // What strict mode has found, once the layout is over
  InvalidSelection* found() const { return reinterpret_cast<InvalidSelection*>(output->data()); }
  PerKind<uint8_t*> pieces() const;
  void copy_output(size_t output_idx, void* target) const;

  EnvironmentPtr environment;
  PinnedPtr input, output;
  OutputPlaces places;
  EventPtr done;  // Null until the kernel is queued
  bool is_finished = false;
};

// Device memory on its way to the host
struct Download {
  Download(const DevicePlace& source, size_t bytes, const StreamPtr& stream);
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

// The tables of one group and one number of experts
class Plan {
 public:
  // `rank_of_expert`, [num_experts], is copied; it is null for contiguous blocks. `num_nodes` is 1 within one
  // node.
  Plan(GroupPtr group, int num_experts, int num_ranks, int num_nodes, const int32_t* rank_of_expert);
  ~Plan();
  Plan(const Plan&) = delete;

  // What the lengths of the outputs follow from
  OutputShape output_shape(const Ids& ids, const Computation& computation) const {
    return {ids.num_tokens, ids.num_topk, num_experts_, num_ranks_, num_nodes_, computation};
  }

  // The scratch memory that orders of rows take, from the first of them on
  size_t order_scratch_bytes() const { return for_orders_.bytes; }

  // Queues the kernels. `topk_idx` is where the ids are for the GPU.
  void run(const StreamPtr& stream, const void* topk_idx, const Ids& ids, const PerOutput<void*>& outputs,
           const Computation& computation, const Report& report, const Capture& capture);

  // Queues a layout of host memory, after packing the ids into pinned memory. The kernel reads and writes
  // pinned memory directly.
  std::shared_ptr<HostLayout> launch_on_host(const HostIds& ids, const Computation& computation,
                                             bool is_strict, const StreamOrder& order);

  const GroupPtr group;

 private:
  // Makes memory for the kernels, with this content or with zeros. It is ready when this returns, since nothing
  // can be queued before work of a stream that is being captured
  AllocationPtr make_memory(size_t bytes, const void* content) const;
  // The scratch memory of one kind of kernels
  struct Scratch {
    size_t bytes;
    AllocationPtr memory;  // Null before the first launch outside of a capture
    // That of the graph that such kernels were last captured into, which keeps it. A graph may be replayed beside
    // other launches, with which it must not share any
    std::weak_ptr<Allocation> of_graph;
    Capture last_capture;
  };
  // Returns the scratch memory for kernels that run in this capture, or in none. `stream` is a part of it.
  void* memory_of(Scratch& scratch, const Capture& capture, const StreamPtr& stream);
  template <class Arguments>
  Arguments make_arguments(const void* topk_idx, const Ids& ids, const Report& report) const;

  const int num_experts_, num_ranks_, num_nodes_;
  AllocationPtr rank_of_expert_;
  Scratch for_layouts_, for_orders_;
};

// A layout of device memory that can be queued again and again. It does not keep the memory: each time, the
// memory must still be there.
class DeviceLayout {
 public:
  // If `outputs` is null, memory for them is allocated each time. An output that the layout does not have is
  // given by a null allocation.
  DeviceLayout(std::shared_ptr<Plan> plan, const DeviceIds& ids, const PerOutput<DevicePlace>* outputs,
               const Computation& computation, bool is_strict);

  // Returns the places of the outputs of all tokens in the pieces of memory that are allocated for them
  OutputPlaces output_places() const { return OutputPlaces(plan->output_shape(ids_, computation_)); }

  struct Launched {
    PerKind<AllocationPtr> memory;  // Null if the outputs were given. There may be no rows
    EventPtr event;                 // Null unless asynchronous
    uint64_t number =
        0;  // The number of the layout among the strict ones of its group; 0 if it is not strict
  };
  // Queues the layout of the first tokens. If the current stream is being captured, the layout becomes a part of
  // the graph; it must then allocate nothing, and nothing may be left to wait for.
  Launched launch(int64_t num_tokens, const StreamOrder& order);

  const std::shared_ptr<Plan> plan;
  const bool is_strict;
  const int64_t max_tokens;

 private:
  const Ids ids_;
  const Computation computation_;
  const bool has_outputs_;
  const void* const topk_idx_;
  PerOutput<void*> outputs_{};
  std::vector<std::weak_ptr<Allocation>> memory_;  // Of the ids and of the outputs that were given
};

}  // namespace dispatch_layout
