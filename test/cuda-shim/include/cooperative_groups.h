// The part of cooperative groups that the kernel uses: a cluster of blocks that read each other's shared memory.
#pragma once

#include "cuda_runtime.h"

namespace cooperative_groups {

struct cluster_group {
  void sync() const { cuda_shim::sync_cluster(); }
  template <typename T>
  T* map_shared_rank(T* pointer, unsigned block_idx) const {
    const auto offset =
        reinterpret_cast<char*>(pointer) - reinterpret_cast<char*>(cuda_shim::shared_memory());
    const cuda_shim::Cluster& cluster = *cuda_shim::block->cluster;
    return reinterpret_cast<T*>(reinterpret_cast<char*>(cluster.shared_memories.at(block_idx)) + offset);
  }
};
inline cluster_group this_cluster() { return {}; }

}  // namespace cooperative_groups
