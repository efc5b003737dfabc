// The kernel's source compiled for this machine, as a Node-API addon. Ids and outputs are in native memory; the kernel is
// called as kernel-in-memory.ts calls it.
#include <napi.h>

#include <algorithm>
#include <memory>

#include "../../test/native/native_kernel.h"

namespace {

constexpr uint32_t kMaxLocatedIds = 512 * 1024;  // maxLocatedIds of variant.ts

Partition equal_blocks(uint32_t num_experts, uint32_t num_ranks, uint32_t num_ranks_per_node) {
  Partition partition{num_ranks, num_ranks_per_node, {}};
  for (uint32_t expert = 0; expert < num_experts; expert++) {
    partition.rank_of_expert.push_back(static_cast<int32_t>(expert / (num_experts / num_ranks)));
  }
  return partition;
}

class NativeProblem {
 public:
  NativeProblem(const int64_t* ids, size_t num_ids, uint32_t num_topk, const Partition& partition)
      : kernel_(partition, false, kMaxLocatedIds),
        num_tokens_(static_cast<uint32_t>(num_ids / num_topk)),
        num_topk_(num_topk),
        num_ranks_(partition.num_ranks),
        ids_(num_ids * sizeof(int64_t) + kSlackBytes),
        is_token_in_rank_(size_t{num_tokens_} * num_ranks_ + kSlackBytes) {
    memcpy(ids_.data(), ids, num_ids * sizeof(int64_t));
  }

  void compute_layout() {
    const uint32_t step = kMaxLocatedIds / num_topk_;
    begin(num_tokens_ * num_topk_, true);
    for (uint32_t token = 0; token < num_tokens_; token += step) {
      const uint32_t count = std::min(step, num_tokens_ - token);
      locate(ids_.data() + size_t{token} * num_topk_ * sizeof(int64_t), IdType::kInt64, count * num_topk_, 0,
             false, 0, 0);
      add_tokens(0, count, num_topk_, token, is_token_in_rank_.data() + size_t{token} * num_ranks_);
    }
    finish();
  }

  // Makes room for an order without padding, of which all ids are located at once.
  void prepare_order(Order order) {
    const bool is_by_expert = order == Order::kByExpert;
    order_ = order;
    max_rows_ = num_tokens_ * (is_by_expert ? num_topk_ : std::min(num_topk_, num_ranks_));
    const uint32_t num_keys = is_by_expert ? ::plan()->num_experts : num_ranks_;
    buffers_ = std::make_unique<OrderBuffers>(num_keys, max_rows_, num_ids());
    kernel_.make_room(num_ids());
  }

  void compute_order() {
    constexpr uint32_t kAlignment = 1;
    begin(num_ids(), false);
    locate(ids_.data(), IdType::kInt64, num_ids(), 0, false, 0, 0);
    count_rows(::plan(), order_, num_tokens_, num_topk_, 0);
    begin_rows(::plan(), order_, &buffers_->rows, max_rows_, 0, ::plan()->num_experts, kAlignment);
    place_rows(::plan(), order_, &buffers_->rows, num_tokens_, num_topk_, 0);
    finish_rows(::plan());
  }

  const OrderRows& order_rows() const { return buffers_->rows; }
  const NativeKernel& kernel() const { return kernel_; }
  const std::vector<uint8_t>& is_token_in_rank() const { return is_token_in_rank_; }

 private:
  uint32_t num_ids() const { return num_tokens_ * num_topk_; }

  NativeKernel kernel_;
  uint32_t num_tokens_, num_topk_, num_ranks_;
  std::vector<uint8_t> ids_, is_token_in_rank_;
  Order order_{};
  uint32_t max_rows_ = 0;
  std::unique_ptr<OrderBuffers> buffers_;
};

std::unique_ptr<NativeProblem> current;

uint32_t number(const Napi::CallbackInfo& info, size_t index) {
  return info[index].As<Napi::Number>().Uint32Value();
}

void prepare(const Napi::CallbackInfo& info) {
  const auto ids = info[0].As<Napi::BigInt64Array>();
  current.reset();
  current = std::make_unique<NativeProblem>(ids.Data(), ids.ElementLength(), number(info, 1),
                                            equal_blocks(number(info, 2), number(info, 3), number(info, 4)));
}

void prepare_order(const Napi::CallbackInfo& info) {
  current->prepare_order(info[0].As<Napi::Boolean>() ? Order::kByExpert : Order::kByRankFirst);
}

void run_layout(const Napi::CallbackInfo& info) {
  for (uint32_t i = number(info, 0); i > 0; i--) current->compute_layout();
}

void run_order(const Napi::CallbackInfo& info) {
  for (uint32_t i = number(info, 0); i > 0; i--) current->compute_order();
}

void copy_layout(const Napi::CallbackInfo& info) {
  const auto copy_counts = [&](size_t index, const std::vector<uint32_t>& counts) {
    auto target = info[index].As<Napi::Int32Array>();
    std::copy_n(counts.begin(), target.ElementLength(), target.Data());
  };
  copy_counts(0, current->kernel().num_tokens_per_rank);
  copy_counts(1, current->kernel().num_tokens_per_rdma_rank);
  copy_counts(2, current->kernel().num_tokens_per_expert);
  auto rows = info[3].As<Napi::Uint8Array>();
  std::copy_n(current->is_token_in_rank().begin(), rows.ElementLength(), rows.Data());
}

void copy_order(const Napi::CallbackInfo& info) {
  const OrderRows& rows = current->order_rows();
  size_t index = 0;
  for (const uint32_t* values :
       {rows.num_rows_of_key, rows.first_row_of_key, rows.of_row, rows.row_of_selection}) {
    auto target = info[index++].As<Napi::Int32Array>();
    std::copy_n(values, target.ElementLength(), target.Data());
  }
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  exports["prepare"] = Napi::Function::New(env, prepare);
  exports["prepareOrder"] = Napi::Function::New(env, prepare_order);
  exports["runLayout"] = Napi::Function::New(env, run_layout);
  exports["runOrder"] = Napi::Function::New(env, run_order);
  exports["copyLayout"] = Napi::Function::New(env, copy_layout);
  exports["copyOrder"] = Napi::Function::New(env, copy_order);
  return exports;
}

}  // namespace

NODE_API_MODULE(dispatch_layout_native, initialise)
