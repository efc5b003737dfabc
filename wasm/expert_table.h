// The table of experts. An entry has 16 bytes, so that one load per selection brings everything that is
// needed. The same table counts and maps: the masks in the outer lanes are ORed over the selections of a
// token, and the counter between them is incremented.
#pragma once

#include <wasm_simd128.h>

#include <cstring>
#include <type_traits>

#include "dispatch_layout.h"

// The two kinds of rows use the masks differently: as a rank mask and a node mask (mask_rows.h), or as a node
// mask and a rank (long_rows.h).
struct alignas(16) Entry {
  uint64_t low;
  uint32_t num_tokens;
  uint32_t high;
};

// The small table lies below the module's static data (see GLOBAL_BASE in build.sh), at a constant address.
// LLVM then folds the address into the offset of every load and store, since a 16-bit number plus this
// address cannot wrap. If there are few experts, the table has several copies, one behind the other, in which
// neighbouring slots are counted: incrementing one counter again and again would wait for a store each time.
struct SmallTable {
  using Position = uint16_t;
  static constexpr uint32_t kAddress = 0x10000;
  const uint32_t num_copies;

  explicit SmallTable(const Plan& plan) : num_copies(plan.num_copies) {}
  static Entry* entries() { return reinterpret_cast<Entry*>(kAddress); }
  static uint8_t* at(Position offset) { return reinterpret_cast<uint8_t*>(kAddress + offset); }
};

// Positions are addresses.
struct LargeTable {
  using Position = uint32_t;
  static constexpr uint32_t num_copies = 1;
  Entry* const large_table;

  explicit LargeTable(const Plan& plan) : large_table(plan.large_table) {}
  Entry* entries() const { return large_table; }
  static uint8_t* at(Position address) { return reinterpret_cast<uint8_t*>(address); }
};

// 16-bit byte offsets reach 4096 entries.
constexpr uint32_t kMaxSmallTableExperts = 0x10000 / sizeof(Entry) - kNumEmptyEntries;

// A layout counts in all copies if it has at least this many ids per expert.
constexpr uint32_t kMinIdsPerCopiedExpert = 64;

// A layout with at most this many ids, and at most one id for four experts, takes the counts only from the
// entries of these ids. So many ids are always located at once, before the first of them is counted.
constexpr uint32_t kMaxFewIds = 1024;
inline bool has_few_ids(const Plan& plan) {
  return plan.num_ids <= kMaxFewIds && plan.num_ids <= plan.num_experts / 4;
}

// There are up to 8 copies, as many as fit half of the L1 cache: 8 up to 128 experts, 4 up to 264, 2 up to
// 536.
inline uint32_t max_copies(const Plan& plan) {
  uint32_t num_copies = 8;
  while (num_copies > 1 && num_copies * (plan.num_experts + kNumEmptyEntries) * sizeof(Entry) > 17 * 1024)
    num_copies /= 2;
  return num_copies;
}

// Calls use(table) with the table that this number of experts needs.
template <class Use>
auto with_table(const Plan& plan, Use use) {
  return plan.num_experts <= kMaxSmallTableExperts ? use(SmallTable(plan)) : use(LargeTable(plan));
}

template <auto kValue>
using Constant = std::integral_constant<decltype(kValue), kValue>;

// Calls use(topk) with the number of slots as a constant if it is one of those named; otherwise with 0, which
// stands for any number.
template <uint32_t kFirst, uint32_t... kOthers, class Use>
inline __attribute__((always_inline)) uint8_t* with_topk(uint32_t num_topk, Use use) {
  if (num_topk == kFirst) return use(Constant<kFirst>());
  if constexpr (sizeof...(kOthers) > 0) return with_topk<kOthers...>(num_topk, use);
  return use(Constant<0u>());
}

// Counts a selection, and returns the entry as it was before.
template <class Table>
inline v128_t count_selection(typename Table::Position position) {
  uint8_t* const entry = Table::at(position);
  const v128_t value = wasm_v128_load(entry);
  wasm_v128_store(entry, wasm_i32x4_add(value, wasm_i32x4_const(0, 0, 1, 0)));
  return value;
}

// Calls use(slot) for the slots of a token. If kNumTopk is 0, it takes num_topk at run time, four slots at a
// time, since V8 pays for every iteration of a loop.
template <uint32_t kNumTopk, class Use>
inline __attribute__((always_inline)) void for_each_slot(uint32_t num_topk, Use use) {
  if constexpr (kNumTopk != 0) {
#pragma unroll
    for (uint32_t slot = 0; slot < kNumTopk; slot++) use(slot);
  } else {
    uint32_t slot = 0;
    for (; slot + 4 <= num_topk; slot += 4) {
      for (uint32_t i = 0; i < 4; i++) use(slot + i);
    }
    if (num_topk & 2) {
      use(slot);
      use(slot + 1);
    }
    if (num_topk & 1) use(num_topk - 1);
  }
}

// Writes the counters of one copy of the table to counts, or adds them to these, and zeroes the counters. It
// takes four experts at a time: behind the experts are empty entries, and room for their counts.
template <bool kAdds>
inline void take_counts_of_copy(Entry* entry, uint32_t num_experts, uint32_t* counts) {
  for (uint32_t* const end = counts + num_experts; counts < end; counts += 4, entry += 4) {
    const v128_t low = wasm_i32x4_shuffle(wasm_v128_load(entry), wasm_v128_load(entry + 1), 2, 6, 3, 7);
    const v128_t high = wasm_i32x4_shuffle(wasm_v128_load(entry + 2), wasm_v128_load(entry + 3), 2, 6, 3, 7);
    const v128_t counters = wasm_i64x2_shuffle(low, high, 0, 2);
    for (int i = 0; i < 4; i++) entry[i].num_tokens = 0;
    wasm_v128_store(counts, kAdds ? wasm_i32x4_add(wasm_v128_load(counts), counters) : counters);
  }
}

// Adds up the counters of all copies, and zeroes them.
template <class Table>
void take_counts(Table table, uint32_t num_experts, uint32_t* counts) {
  Entry* entries = table.entries();
  take_counts_of_copy<false>(entries, num_experts, counts);
  for (uint32_t copy = 1; copy < table.num_copies; copy++)
    take_counts_of_copy<true>(entries += num_experts + kNumEmptyEntries, num_experts, counts);
}

// Does the same if few ids were located: it looks at their entries only.
template <class Table>
void take_few_counts(Table table, uint32_t num_experts, const typename Table::Position* positions,
                     uint32_t num_located, uint32_t* counts) {
  memset(counts, 0, num_experts * sizeof(uint32_t));
  for (uint32_t i = 0; i < num_located; i++) {
    Entry* const entry = reinterpret_cast<Entry*>(Table::at(positions[i]));
    counts[entry - table.entries()] += entry->num_tokens;  // The first id of an expert takes its whole count
    entry->num_tokens = 0;
  }
}

// Zeroes the counters of a table without copies.
template <class Table>
void clear_counters(Table table, uint32_t num_experts) {
  Entry* const entries = table.entries();
#pragma clang loop unroll(disable) vectorize(disable)
  for (uint32_t i = 0; i < num_experts + kNumEmptyEntries; i++) entries[i].num_tokens = 0;
}

// Adds 16 counters of 8 bits to 16 of 32 bits.
__attribute__((noinline)) inline void add_byte_counts(uint32_t* counts, v128_t bytes) {
  const v128_t low = wasm_u16x8_extend_low_u8x16(bytes), high = wasm_u16x8_extend_high_u8x16(bytes);
  const v128_t quarters[4] = {wasm_u32x4_extend_low_u16x8(low), wasm_u32x4_extend_high_u16x8(low),
                              wasm_u32x4_extend_low_u16x8(high), wasm_u32x4_extend_high_u16x8(high)};
  for (int i = 0; i < 4; i++) {
    wasm_v128_store(counts + 4 * i, wasm_i32x4_add(wasm_v128_load(counts + 4 * i), quarters[i]));
  }
}

// A planar mask has 64 bits; bit i is bit i >> 3 of byte i & 7. Spreading puts two copies of it side by side,
// the second shifted, so that chunk c of 16 bits is bit 2 * c of the 16 bytes, in order. Rows then come out
// of it by shifts by constants.
inline v128_t spread_planar_mask(v128_t low_lane) {
  return wasm_i64x2_shuffle(low_lane, wasm_u64x2_shr(low_lane, 1), 0, 2);
}
inline v128_t chunk_of_mask(v128_t spread, int chunk) {
  return wasm_v128_and(wasm_u64x2_shr(spread, 2 * chunk), wasm_i8x16_const_splat(1));
}
inline uint64_t planar_bit(uint32_t index) { return uint64_t{1} << (8 * (index & 7) + (index >> 3)); }
