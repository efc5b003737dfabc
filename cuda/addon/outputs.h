// The one table of the outputs of a layout: the counterpart of `ts/layout/outputs.ts`. The place of each
// output in memory, its length, and its name in JavaScript all follow from it. To add an output, add a line
// here, and its computation in the kernel.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <type_traits>
#include <utility>

#include "../kernel/dispatch_layout.h"

namespace dispatch_layout {

// The forms of the mask, as in `ts/layout/outputs.ts`
enum class MaskForm { kBytes, kBits, kNone };

// The length of every output follows from this
struct LayoutShape {
  int64_t num_tokens;
  int num_experts, num_ranks;
  int num_nodes;  // 1 within one node
  MaskForm mask;
};

struct Output {
  // A `kCount` has `width` numbers. A `kRows` has a row of `width` elements for each token.
  enum class Kind { kCount, kRows };

  const char* name;  // In JavaScript
  Kind kind;
  int (*width)(const LayoutShape&);  // 0 where a layout of this shape does not have the output
  size_t element_bytes;
  void (*set_pointer)(DispatchLayoutArguments& arguments, void* pointer);
};

// `kPointer` is the member of `DispatchLayoutArguments` through which the kernel writes the output
template <auto kPointer>
constexpr Output make_output(const char* name, Output::Kind kind, int (*width)(const LayoutShape&)) {
  using Pointer = std::remove_reference_t<decltype(std::declval<DispatchLayoutArguments&>().*kPointer)>;
  return {name, kind, width, sizeof(*Pointer{}), [](DispatchLayoutArguments& arguments, void* pointer) {
            arguments.*kPointer = static_cast<Pointer>(pointer);
          }};
}

inline constexpr Output kOutputs[] = {
    make_output<&DispatchLayoutArguments::num_tokens_per_rank>(
        "numTokensPerRank", Output::Kind::kCount, [](const LayoutShape& shape) { return shape.num_ranks; }),
    make_output<&DispatchLayoutArguments::num_tokens_per_rdma_rank>(
        "numTokensPerRdmaRank", Output::Kind::kCount,
        [](const LayoutShape& shape) { return shape.num_nodes == 1 ? 0 : shape.num_nodes; }),
    make_output<&DispatchLayoutArguments::num_tokens_per_expert>(
        "numTokensPerExpert", Output::Kind::kCount,
        [](const LayoutShape& shape) { return shape.num_experts; }),
    make_output<&DispatchLayoutArguments::is_token_in_rank>("isTokenInRank", Output::Kind::kRows,
                                                            [](const LayoutShape& shape) {
                                                              switch (shape.mask) {
                                                                case MaskForm::kBytes: return shape.num_ranks;
                                                                case MaskForm::kBits:
                                                                  return (shape.num_ranks + 7) / 8;
                                                                default: return 0;
                                                              }
                                                            }),
};

constexpr size_t kNumOutputs = std::size(kOutputs);

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

// The places of the outputs of one layout in two pieces of memory, one for each kind. The counts, which are
// small, can then be kept without the rows. Each output begins at a multiple of 16 bytes.
struct OutputPlaces {
  // Throws for a layout that is larger than any memory
  explicit OutputPlaces(const LayoutShape& shape);

  PerOutput<size_t> byte_offsets;  // In the piece of the output's kind
  PerOutput<size_t> bytes;
  PerKind<size_t> piece_bytes;
};

}  // namespace dispatch_layout
