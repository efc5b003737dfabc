// Compares the mapping of ids to replicas with a plain reference, in buffers of exactly the sizes that map_ids.cpp
// promises: map_test [CASES]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "../../wasm/map_ids.cpp"

// A buffer at whose end the sanitizer watches.
template <typename T>
std::unique_ptr<T[]> exactly(size_t length, T value) {
  auto buffer = std::make_unique<T[]>(length);
  std::fill_n(buffer.get(), length, value);
  return buffer;
}

int main(int argc, char** argv) {
  const int num_cases = argc > 1 ? std::atoi(argv[1]) : 2000;
  std::mt19937 random(1);
  const auto below = [&](uint32_t bound) { return static_cast<uint32_t>(random() % bound); };
  for (int test = 0; test < num_cases; test++) {
    const uint32_t num_experts = 1 + below(40), num_topk = 1 + below(9), num_tokens = below(20);
    const uint32_t num_ids = num_tokens * num_topk;
    const uint32_t first_token = below(2) ? random() : below(100);
    const uint32_t multiplier = below(2) ? 1 : 2654435769u;

    // The candidates of each expert; some have none
    std::vector<uint32_t> counts = {1};
    std::vector<int32_t> replicas = {-1};
    std::vector<Choice> choices(num_experts + 2, Choice{0, 0});
    std::vector<std::vector<int32_t>> candidates(num_experts);
    for (uint32_t expert = 0; expert < num_experts; expert++) {
      const uint32_t count = below(5);
      if (count == 0) continue;
      uint32_t index = 0;
      while (index < counts.size() && counts[index] != count) index++;
      if (index == counts.size()) counts.push_back(count);
      choices[expert + 1] = {static_cast<uint32_t>(replicas.size()), index};
      for (uint32_t i = 0; i < count; i++) candidates[expert].push_back(static_cast<int32_t>(below(1000)));
      replicas.insert(replicas.end(), candidates[expert].begin(), candidates[expert].end());
    }
    const uint32_t period = 12;  // a multiple of 1, 2, 3 and 4

    const bool has_64_bits = below(2), has_invalid = below(3) == 0;
    const int32_t empty_id = below(2) ? -1 : static_cast<int32_t>(below(num_experts + 3));
    const size_t id_bytes = has_64_bits ? 8 : 4;
    const auto ids = exactly<uint8_t>((num_ids + 3) * id_bytes, 0x7e);
    std::vector<int32_t> expected(num_ids, -1);
    bool is_valid = true;
    for (uint32_t i = 0; i < num_ids; i++) {
      int64_t id = static_cast<int64_t>(below(num_experts + 1)) - 1;
      if (has_invalid && below(8) == 0) {
        const int64_t wrong[] = {num_experts,     -2,        INT32_MIN, INT32_MAX, 1ll << 32,
                                 (1ll << 32) - 1, INT64_MIN, INT64_MAX};
        id = wrong[below(has_64_bits ? 8 : 4)];
      }
      const int32_t narrow = static_cast<int32_t>(id);
      memcpy(ids.get() + i * id_bytes, has_64_bits ? static_cast<const void*>(&id) : &narrow, id_bytes);
      if (id == -1 || id == empty_id) continue;
      if (id < 0 || id >= num_experts) {
        is_valid = false;
      } else if (const auto& own = candidates[id]; !own.empty()) {
        expected[i] = own[(first_token + i / num_topk) * multiplier % own.size()];
      }
    }

    const auto rows = exactly<int32_t>(period * choices.size(), 77);
    const auto phases = exactly<uint32_t>(counts.size(), 77);
    const Table table = {choices.data(), static_cast<uint32_t>(choices.size()),
                         counts.data(),  static_cast<uint32_t>(counts.size()),
                         phases.get(),   replicas.data(),
                         rows.get(),     period};
    fill_rows(&table);
    for (const auto choose : {choose_replicas, choose_in_rows}) {
      const auto mapped = exactly<int32_t>(num_ids + 3, 77);
      const bool found = locate_ids(ids.get(), has_64_bits, num_ids, num_experts, empty_id,
                                    reinterpret_cast<uint32_t*>(mapped.get()));
      choose(&table, mapped.get(), num_tokens, num_topk, first_token, multiplier);
      if (found != is_valid || !std::equal(expected.begin(), expected.end(), mapped.get())) {
        std::printf("case %d differs: %u tokens, top-%u, %u experts\n", test, num_tokens, num_topk,
                    num_experts);
        return 1;
      }
    }
  }
  std::printf("%d cases\n", num_cases);
}
