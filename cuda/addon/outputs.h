// The one table of the outputs of all computations: the counterpart of `ts/layout/outputs.ts`. The place of each
// output in memory, its length, and its name in JavaScript all follow from it. To add an output, add a line
// here, and its computation in the kernel.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "computation.h"

namespace dispatch_layout {

// The outputs, in the order of the table
enum OutputIndex {
  kNumTokensPerRank,
  kNumTokensPerRdmaRank,
  kNumTokensPerExpert,
  kIsTokenInRank,
  kExpertOffsets,
  kSelectionOfRow,
  kRankOffsets,
  kTokenOfRow,
  kRowOfSelection,
};

struct Output {
  // The length of a `kCount` does not depend on the number of tokens, that of a `kRows` does
  enum class Kind { kCount, kRows };

  const char* name;  // In JavaScript
  Kind kind;
  size_t element_bytes;
  // The number of elements, 0 where a computation does not have the output. Throws std::length_error if it is larger
  // than any memory
  int64_t (*length)(const OutputShape&);
};

// Throws std::length_error for a product that no memory has room for
int64_t num_elements(int64_t rows, int64_t width);

// The largest number of rows in an order by expert, as `rowsNeeded` in `ts/layout/expert-permutation.ts`
int64_t max_rows_by_expert(const OutputShape& shape);

inline constexpr Output kOutputs[] = {
    {"numTokensPerRank", Output::Kind::kCount, sizeof(int32_t),
     [](const OutputShape& shape) -> int64_t {
       return shape.computation.kind == Computation::Kind::kByExpert ? 0 : shape.num_ranks;
     }},
    {"numTokensPerRdmaRank", Output::Kind::kCount, sizeof(int32_t),
     [](const OutputShape& shape) -> int64_t {
       return shape.computation.kind != Computation::Kind::kLayout || shape.num_nodes == 1 ? 0
                                                                                           : shape.num_nodes;
     }},
    {"numTokensPerExpert", Output::Kind::kCount, sizeof(int32_t),
     [](const OutputShape& shape) -> int64_t {
       switch (shape.computation.kind) {
         case Computation::Kind::kLayout: return shape.num_experts;
         case Computation::Kind::kByExpert: return shape.computation.num_local_experts;
         default: return 0;
       }
     }},
    {"isTokenInRank", Output::Kind::kRows, sizeof(uint8_t),
     [](const OutputShape& shape) -> int64_t {
       if (shape.computation.kind != Computation::Kind::kLayout) return 0;
       switch (shape.computation.mask) {
         case MaskForm::kBytes: return num_elements(shape.num_tokens, shape.num_ranks);
         case MaskForm::kBits: return num_elements(shape.num_tokens, (shape.num_ranks + 7) / 8);
         default: return 0;
       }
     }},
    {"expertOffsets", Output::Kind::kCount, sizeof(int32_t),
     [](const OutputShape& shape) -> int64_t {
       return shape.computation.kind == Computation::Kind::kByExpert
                  ? int64_t{shape.computation.num_local_experts} + 1
                  : 0;
     }},
    {"selectionOfRow", Output::Kind::kRows, sizeof(int32_t),
     [](const OutputShape& shape) -> int64_t {
       return shape.computation.kind == Computation::Kind::kByExpert ? max_rows_by_expert(shape) : 0;
     }},
    {"rankOffsets", Output::Kind::kCount, sizeof(int32_t),
     [](const OutputShape& shape) -> int64_t {
       return shape.computation.kind == Computation::Kind::kByRank ? int64_t{shape.num_ranks} + 1 : 0;
     }},
    {"tokenOfRow", Output::Kind::kRows, sizeof(int32_t),
     [](const OutputShape& shape) -> int64_t {
       if (shape.computation.kind != Computation::Kind::kByRank) return 0;
       return num_elements(shape.num_tokens,
                           shape.num_topk < shape.num_ranks ? shape.num_topk : shape.num_ranks);
     }},
    {"rowOfSelection", Output::Kind::kRows, sizeof(int32_t),
     [](const OutputShape& shape) -> int64_t {
       return shape.computation.kind == Computation::Kind::kLayout
                  ? 0
                  : num_elements(shape.num_tokens, shape.num_topk);
     }},
};

constexpr size_t kNumOutputs = std::size(kOutputs);
static_assert(kNumOutputs == kRowOfSelection + 1);

// A value for each output, in the order of the table
template <typename T>
using PerOutput = std::array<T, kNumOutputs>;

// A value for the counts and one for the rows
template <typename T>
struct PerKind {
  T counts, rows;

  T& operator[](Output::Kind kind) { return kind == Output::Kind::kCount ? counts : rows; }
  const T& operator[](Output::Kind kind) const { return kind == Output::Kind::kCount ? counts : rows; }
};

// The places of the outputs of one computation in two pieces of memory, one for each kind. The counts, which are
// small, can then be kept without the rows. Each output begins at a multiple of 16 bytes.
struct OutputPlaces {
  // Throws for a computation whose outputs are larger than any memory
  explicit OutputPlaces(const OutputShape& shape);

  PerOutput<size_t> byte_offsets;  // In the piece of the output's kind
  PerOutput<size_t> bytes;
  PerKind<size_t> piece_bytes;
};

}  // namespace dispatch_layout
