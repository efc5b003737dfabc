// Computes one layout with the native kernel, which is called as JavaScript calls it, and compares it with the
// reference.
#pragma once

#include <algorithm>
#include <cstdio>
#include <string>

#include "native_kernel.h"
#include "reference_layout.h"

// A problem, and the sizes of the windows through which its tokens pass.
struct LayoutCase {
  Problem problem;
  uint32_t tokens_located = 1;  // tokens located before they are added; all of them up to kMaxFewIds ids
  uint32_t tokens_of_ids = 1;   // tokens per call of locate
  uint32_t tokens_of_rows = 1;  // tokens per call of add_tokens
  uint32_t ids_offset = 0;      // the start of the window of ids, in elements
  uint32_t rows_offset = 0;     // the start of the window of rows, in bytes
};

// A window of exactly the promised size. AddressSanitizer sees every access after it, and the bytes before it must not
// change.
class Window {
 public:
  Window(size_t offset, size_t size) : offset_(offset), bytes_(offset + size, kUntouched) {}
  uint8_t* data() { return bytes_.data() + offset_; }
  bool is_intact_before() const {
    return std::all_of(bytes_.begin(), bytes_.begin() + offset_,
                       [](uint8_t byte) { return byte == kUntouched; });
  }

 private:
  static constexpr uint8_t kUntouched = 0xee;
  size_t offset_;
  std::vector<uint8_t> bytes_;
};

class KernelRun {
 public:
  explicit KernelRun(const LayoutCase& layout_case)
      : case_(layout_case),
        problem_(layout_case.problem),
        num_ids_(problem_.num_tokens * problem_.num_topk),
        tokens_located_(num_ids_ <= kMaxFewIds ? std::max(problem_.num_tokens, 1u) : case_.tokens_located),
        kernel_(problem_.partition, problem_.has_bit_rows, at_most_all(tokens_located_) * problem_.num_topk),
        ids_(case_.ids_offset * id_bytes(problem_.id_type),
             at_most_all(case_.tokens_of_ids) * problem_.num_topk * id_bytes(problem_.id_type) + kSlackBytes),
        rows_(case_.rows_offset,
              size_t{at_most_all(case_.tokens_of_rows)} * problem_.row_bytes() + kSlackBytes) {}

  const char* failure = nullptr;  // what went wrong during the computation, or null

  Layout compute() {
    // A layout that is abandoned half-way, as at an invalid id, must not affect the next one.
    add_up_to(problem_.num_tokens / 2);
    add_up_to(problem_.num_tokens);
    finish();
    if (!is_table_clean()) failure = "finish() leaves something in the table";
    if (!ids_.is_intact_before()) failure = "wrote before the window of ids";
    if (!rows_.is_intact_before()) failure = "wrote before the window of rows";
    const uint32_t num_nodes = problem_.partition.num_rdma_ranks();
    layout_.num_tokens_per_rank = first(problem_.partition.num_ranks, kernel_.num_tokens_per_rank);
    layout_.num_tokens_per_rdma_rank = first(num_nodes > 1 ? num_nodes : 0, kernel_.num_tokens_per_rdma_rank);
    layout_.num_tokens_per_expert = first(problem_.partition.num_experts(), kernel_.num_tokens_per_expert);
    return layout_;
  }

 private:
  bool is_table_clean() const { return kernel_.entries_of_experts() == clean_entries_; }

  void add_up_to(uint32_t num_tokens) {
    layout_ = {};
    begin(num_ids_, true);
    if (!is_table_clean()) failure = "begin() leaves something in the table";
    for (uint32_t token = 0; token < num_tokens; token += tokens_located_) {
      const uint32_t end = token + std::min(tokens_located_, num_tokens - token);
      locate_tokens(token, end);
      add_located(token, end);
    }
  }

  void locate_tokens(uint32_t first_token, uint32_t end) {
    const uint32_t num_topk = problem_.num_topk;
    const size_t token_bytes = size_t{num_topk} * id_bytes(problem_.id_type);
    for (uint32_t token = first_token; token < end; token += case_.tokens_of_ids) {
      const uint32_t count = std::min(case_.tokens_of_ids, end - token), num_ids = count * num_topk;
      std::copy_n(problem_.ids.begin() + token * token_bytes, count * token_bytes, ids_.data());
      const auto bits = problem_.has_empty_id ? static_cast<uint64_t>(problem_.empty_id) : 0;
      const uint32_t low = static_cast<uint32_t>(bits), high = static_cast<uint32_t>(bits >> 32);
      const bool is_valid = locate(ids_.data(), problem_.id_type, num_ids, (token - first_token) * num_topk,
                                   problem_.has_empty_id, low, high);
      // An empty id of 0, an expert's, means that find_invalid has none
      const uint32_t invalid = find_invalid(ids_.data(), problem_.id_type, num_ids, low, high);
      if (is_valid != (invalid == num_ids)) failure = "locate and find_invalid disagree";
      if (invalid == num_ids) continue;
      layout_.first_invalid_id = std::min(layout_.first_invalid_id, uint64_t{token} * num_topk + invalid);
    }
  }

  void add_located(uint32_t first_token, uint32_t end) {
    for (uint32_t token = first_token; token < end; token += case_.tokens_of_rows) {
      const uint32_t count = std::min(case_.tokens_of_rows, end - token);
      add_tokens((token - first_token) * problem_.num_topk, count, problem_.num_topk, token, rows_.data());
      layout_.is_token_in_rank.insert(layout_.is_token_in_rank.end(), rows_.data(),
                                      rows_.data() + size_t{count} * problem_.row_bytes());
    }
  }

  uint32_t at_most_all(uint32_t num_tokens) const { return std::min(num_tokens, problem_.num_tokens); }

  static std::vector<uint32_t> first(size_t size, const std::vector<uint32_t>& counts) {
    return std::vector<uint32_t>(counts.begin(), counts.begin() + size);
  }

  const LayoutCase& case_;
  const Problem& problem_;
  const uint32_t num_ids_, tokens_located_;
  NativeKernel kernel_;
  const std::vector<uint8_t> clean_entries_ = kernel_.entries_of_experts();
  Window ids_, rows_;
  Layout layout_;
};

// What is wrong with the layout of the kernel, or null.
inline const char* find_fault(const LayoutCase& layout_case) {
  const Layout expected = reference_layout(layout_case.problem);
  KernelRun run(layout_case);
  const Layout actual = run.compute();
  if (run.failure != nullptr) return run.failure;
  if (actual.first_invalid_id != expected.first_invalid_id) return "first invalid id";
  if (actual.num_tokens_per_rank != expected.num_tokens_per_rank) return "num_tokens_per_rank";
  if (actual.num_tokens_per_rdma_rank != expected.num_tokens_per_rdma_rank) return "num_tokens_per_rdma_rank";
  if (actual.num_tokens_per_expert != expected.num_tokens_per_expert) return "num_tokens_per_expert";
  if (actual.is_token_in_rank != expected.is_token_in_rank) return "is_token_in_rank";
  return nullptr;
}

inline std::string describe(const LayoutCase& layout_case) {
  const LayoutCase& c = layout_case;
  const Problem& problem = c.problem;
  char text[300];
  std::snprintf(
      text, sizeof text,
      "empty id %d %llx id type %u T %u K %u E %u R %u per node %u located %u ids %u+%u rows %u+%u bits %d",
      problem.has_empty_id, static_cast<unsigned long long>(problem.empty_id),
      static_cast<uint32_t>(problem.id_type), problem.num_tokens, problem.num_topk,
      problem.partition.num_experts(), problem.partition.num_ranks, problem.partition.num_ranks_per_node,
      c.tokens_located, c.tokens_of_ids, c.ids_offset, c.tokens_of_rows, c.rows_offset, problem.has_bit_rows);
  return text;
}
