// What a call computes: the counterpart of `Computation` in `ts/layout/outputs.ts`.
#pragma once

#include <cstdint>

namespace dispatch_layout {

enum class MaskForm { kBytes, kBits, kNone };

struct Computation {
  enum class Kind { kLayout, kByExpert, kByRank };

  Kind kind = Kind::kLayout;
  // Of a layout
  MaskForm mask = MaskForm::kNone;
  // Of an order by expert
  int first_expert = 0, num_local_experts = 0, alignment = 1;
  // Of an order by rank
  bool does_last_win = false;
};

// The length of every output follows from this
struct OutputShape {
  int64_t num_tokens, num_topk;
  int num_experts, num_ranks;
  int num_nodes;  // 1 within one node
  Computation computation;
};

}  // namespace dispatch_layout
