// Computes one layout and one order of rows with the same native kernel, which is called as JavaScript calls it, and
// compares them with the references.
#pragma once

#include <algorithm>
#include <cstdio>
#include <string>

#include "native_kernel.h"
#include "reference_layout.h"
#include "reference_order.h"

// A problem, the sizes of the windows through which its tokens pass, and the order of rows of the same ids.
struct LayoutCase {
  Problem problem;
  uint32_t tokens_located = 1;  // tokens located before they are added; all of them up to kMaxFewIds ids
  uint32_t tokens_of_ids = 1;   // tokens per call of locate
  uint32_t tokens_of_rows = 1;  // tokens per call of add_tokens
  uint32_t ids_offset = 0;      // the start of the window of ids, in elements
  uint32_t rows_offset = 0;     // the start of the window of rows, in bytes

  OrderRequest order;
  uint32_t tokens_of_piece = 0;    // tokens ordered at a time; 0 if all are, with their padding
  bool is_order_first = false;     // whether the order comes before the layout
  uint32_t exports_until_cut = 0;  // exports that are called in an order that is abandoned between the two
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

// The alignment, or a smaller one if there could be so much padding that it would take most of the time.
inline uint32_t bounded_alignment(uint32_t alignment, const Problem& problem, uint32_t num_local_experts) {
  constexpr uint32_t kMaxPaddedRows = 200'000;
  const uint32_t num_padded_experts = std::min(problem.num_tokens * problem.num_topk, num_local_experts);
  return std::min(alignment, std::max(kMaxPaddedRows / std::max(num_padded_experts, 1u), 1u));
}

class KernelRun {
 public:
  explicit KernelRun(const LayoutCase& layout_case)
      : case_(layout_case),
        problem_(layout_case.problem),
        num_ids_(problem_.num_tokens * problem_.num_topk),
        tokens_located_(num_ids_ <= kMaxFewIds ? std::max(problem_.num_tokens, 1u) : case_.tokens_located),
        kernel_(problem_.partition, problem_.has_bit_rows, 0),
        ids_(case_.ids_offset * id_bytes(problem_.id_type),
             at_most_all(case_.tokens_of_ids) * problem_.num_topk * id_bytes(problem_.id_type) + kSlackBytes),
        rows_(case_.rows_offset,
              size_t{at_most_all(case_.tokens_of_rows)} * problem_.row_bytes() + kSlackBytes) {}

  const char* failure = nullptr;  // what went wrong during the computation, or null

  // Layouts and orders that are abandoned half-way, as at an invalid id, must not affect those that follow.
  void abandon_layout() { add_up_to(problem_.num_tokens / 2); }
  void abandon_order() {
    exports_until_cut_ = case_.exports_until_cut;
    try {
      order_rows();
    } catch (const Cut&) {
    }
    exports_until_cut_ = UINT32_MAX;
  }

  void compute_layout() {
    add_up_to(problem_.num_tokens);
    finish();
    if (!is_table_clean()) failure = "finish() leaves something in the table";
    if (!rows_.is_intact_before()) failure = "wrote before the window of rows";
  }
  void compute_order() { order_ = order_rows(); }

  // What was computed. The counts are read only now, since an order leaves those of a finished layout alone.
  Layout layout() const {
    Layout layout = layout_;
    const uint32_t num_nodes = problem_.partition.num_rdma_ranks();
    layout.num_tokens_per_rank = first(problem_.partition.num_ranks, kernel_.num_tokens_per_rank);
    layout.num_tokens_per_rdma_rank = first(num_nodes > 1 ? num_nodes : 0, kernel_.num_tokens_per_rdma_rank);
    layout.num_tokens_per_expert = first(problem_.partition.num_experts(), kernel_.num_tokens_per_expert);
    return layout;
  }
  const RowOrder& order() const { return order_; }

 private:
  bool is_table_clean() const { return kernel_.entries_of_experts() == clean_entries_; }

  void begin_ids(bool has_copies, uint32_t max_located_tokens) {
    begin(num_ids_, has_copies);
    if (!is_table_clean()) failure = "begin() leaves something in the table";
    // Before begin(), what was abandoned may still need its positions
    kernel_.make_room(at_most_all(max_located_tokens) * problem_.num_topk);
  }

  void add_up_to(uint32_t num_tokens) {
    layout_ = {};
    begin_ids(true, tokens_located_);
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
      before_export();
      const bool is_valid = locate(ids_.data(), problem_.id_type, num_ids, (token - first_token) * num_topk,
                                   problem_.has_empty_id, low, high);
      // An empty id of 0, an expert's, means that find_invalid has none
      const uint32_t invalid = find_invalid(ids_.data(), problem_.id_type, num_ids, low, high);
      if (is_valid != (invalid == num_ids)) failure = "locate and find_invalid disagree";
      if (!ids_.is_intact_before()) failure = "wrote before the window of ids";
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

  // Where an order that is to be abandoned ends.
  struct Cut {};
  void before_export() {
    if (exports_until_cut_-- == 0) throw Cut{};
  }

  RowOrder order_rows() {
    before_export();
    const bool is_at_once = case_.tokens_of_piece == 0;
    begin_ids(false, is_at_once ? problem_.num_tokens : case_.tokens_of_piece);
    return is_at_once ? order_at_once() : order_in_pieces();
  }

  RowOrder order_at_once() {
    const uint32_t max_rows = request_.max_rows(problem_);
    const OrderBuffers buffers(num_keys_, max_rows, num_ids_);
    const OrderRows& rows = buffers.rows;
    order_tokens(rows, max_rows, 0, problem_.num_tokens, request_.alignment);
    return {{rows.num_rows_of_key, rows.num_rows_of_key + num_keys_},
            {rows.first_row_of_key, rows.first_row_of_key + num_keys_ + 1},
            {rows.of_row, rows.of_row + max_rows},
            {rows.row_of_selection, rows.row_of_selection + num_ids_}};
  }

  // Counts the rows of all pieces. Then each piece is ordered by itself, without padding, and its rows are shifted to
  // behind those of the pieces before it.
  RowOrder order_in_pieces() {
    const uint32_t num_topk = problem_.num_topk, max_ids = at_most_all(case_.tokens_of_piece) * num_topk;
    const OrderBuffers buffers(num_keys_, max_ids, max_ids);
    const OrderRows& rows = buffers.rows;
    RowOrder order;
    order.num_rows_of_key.resize(num_keys_);
    for_each_piece(rows, [&](uint32_t, uint32_t) {
      for (uint32_t key = 0; key < num_keys_; key++) order.num_rows_of_key[key] += rows.num_rows_of_key[key];
    });

    uint32_t row = 0;
    for (uint32_t num_rows : order.num_rows_of_key) {
      order.first_row_of_key.push_back(row);
      row += (num_rows + request_.alignment - 1) / request_.alignment * request_.alignment;
    }
    order.first_row_of_key.push_back(row);

    order.of_row.resize(request_.max_rows(problem_), kNoRow);
    std::vector<uint32_t> next_row = order.first_row_of_key, shift_of_key(num_keys_);
    for_each_piece(rows, [&](uint32_t first_token, uint32_t end) {
      for (uint32_t key = 0; key < num_keys_; key++) {
        const uint32_t first = rows.first_row_of_key[key], next = rows.first_row_of_key[key + 1];
        shift_of_key[key] = next_row[key] - first;
        std::copy(rows.of_row + first, rows.of_row + next, order.of_row.begin() + next_row[key]);
        next_row[key] += next - first;
      }
      const uint32_t num_ids = (end - first_token) * num_topk;
      before_export();
      shift_rows(plan(), request_.order, num_ids, request_.first_expert, shift_of_key.data(),
                 rows.row_of_selection);
      order.row_of_selection.insert(order.row_of_selection.end(), rows.row_of_selection,
                                    rows.row_of_selection + num_ids);
    });
    return order;
  }

  template <class Visit>
  void for_each_piece(const OrderRows& rows, Visit visit) {
    for (uint32_t token = 0, end; token < problem_.num_tokens; token = end) {
      end = token + std::min(case_.tokens_of_piece, problem_.num_tokens - token);
      order_tokens(rows, (end - token) * problem_.num_topk, token, end, 1);
      visit(token, end);
    }
  }

  void order_tokens(const OrderRows& rows, uint32_t max_rows, uint32_t first_token, uint32_t end,
                    uint32_t alignment) {
    const uint32_t num_tokens = end - first_token, num_topk = problem_.num_topk;
    locate_tokens(first_token, end);
    before_export();
    count_rows(plan(), request_.order, num_tokens, num_topk, first_token);
    before_export();
    const uint32_t num_rows = begin_rows(plan(), request_.order, &rows, max_rows, request_.first_expert,
                                         request_.num_local_experts, alignment);
    if (num_rows != rows.first_row_of_key[num_keys_]) failure = "begin_rows() returns another number of rows";
    before_export();
    place_rows(plan(), request_.order, &rows, num_tokens, num_topk, first_token);
    before_export();
    finish_rows(plan());
    if (!is_table_clean()) failure = "finish_rows() leaves something in the table";
  }

  uint32_t at_most_all(uint32_t num_tokens) const { return std::min(num_tokens, problem_.num_tokens); }

  static std::vector<uint32_t> first(size_t size, const std::vector<uint32_t>& counts) {
    return std::vector<uint32_t>(counts.begin(), counts.begin() + size);
  }

  const LayoutCase& case_;
  const Problem& problem_;
  const OrderRequest& request_ = case_.order;
  const uint32_t num_ids_, tokens_located_, num_keys_ = request_.num_keys(problem_);
  NativeKernel kernel_;
  const std::vector<uint8_t> clean_entries_ = kernel_.entries_of_experts();
  Window ids_, rows_;
  Layout layout_;
  RowOrder order_;
  uint32_t exports_until_cut_ = UINT32_MAX;
};

// What is wrong with the layout or the order of the kernel, or null.
inline const char* find_fault(const LayoutCase& layout_case) {
  const Layout expected = reference_layout(layout_case.problem);
  KernelRun run(layout_case);
  run.abandon_layout();
  if (layout_case.is_order_first) {
    run.compute_order();
    run.abandon_order();
    run.compute_layout();
  } else {
    run.compute_layout();
    run.abandon_order();
    run.compute_order();
  }
  const Layout actual = run.layout();
  if (run.failure != nullptr) return run.failure;
  if (actual.first_invalid_id != expected.first_invalid_id) return "first invalid id";
  if (actual.num_tokens_per_rank != expected.num_tokens_per_rank) return "num_tokens_per_rank";
  if (actual.num_tokens_per_rdma_rank != expected.num_tokens_per_rdma_rank) return "num_tokens_per_rdma_rank";
  if (actual.num_tokens_per_expert != expected.num_tokens_per_expert) return "num_tokens_per_expert";
  if (actual.is_token_in_rank != expected.is_token_in_rank) return "is_token_in_rank";

  const RowOrder expected_order = reference_order(layout_case.problem, layout_case.order);
  const RowOrder& order = run.order();
  if (order.num_rows_of_key != expected_order.num_rows_of_key) return "num_rows_of_key";
  if (order.first_row_of_key != expected_order.first_row_of_key) return "first_row_of_key";
  if (order.of_row != expected_order.of_row) return "of_row";
  if (order.row_of_selection != expected_order.row_of_selection) return "row_of_selection";
  return nullptr;
}

inline std::string describe(const LayoutCase& layout_case) {
  const LayoutCase& c = layout_case;
  const Problem& problem = c.problem;
  const OrderRequest& order = c.order;
  char text[400];
  std::snprintf(
      text, sizeof text,
      "empty id %d %llx id type %u T %u K %u E %u R %u per node %u located %u ids %u+%u rows %u+%u bits %d "
      "order %u of %u+%u aligned %u piece %u first %d cut %u",
      problem.has_empty_id, static_cast<unsigned long long>(problem.empty_id),
      static_cast<uint32_t>(problem.id_type), problem.num_tokens, problem.num_topk,
      problem.partition.num_experts(), problem.partition.num_ranks, problem.partition.num_ranks_per_node,
      c.tokens_located, c.tokens_of_ids, c.ids_offset, c.tokens_of_rows, c.rows_offset, problem.has_bit_rows,
      static_cast<uint32_t>(order.order), order.first_expert, order.num_local_experts, order.alignment,
      c.tokens_of_piece, c.is_order_first, c.exports_until_cut);
  return text;
}
