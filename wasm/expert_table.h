// The table of experts: 16 bytes each, so that one load per selection brings all that is needed. It is one table that
// counts and maps: masks in the outer lanes are ORed over the selections of a token, the counter in between goes up.
#pragma once

#include <wasm_simd128.h>

#include "dispatch_layout.h"

// What the masks are is up to the rows: rank and node masks (mask_rows.h), or node mask and rank (byte_rows.h).
struct alignas(16) Entry {
  uint64_t low;
  uint32_t num_tokens;
  uint32_t high;
};

// Below the module's static data (see build.sh: GLOBAL_BASE), at a constant address: LLVM then folds it into the offset
// of every load and store, since a 16-bit number plus this cannot wrap.
struct SmallTable {
  using Position = uint16_t;
  static constexpr uint32_t kAddress = 0x10000;

  explicit SmallTable(const Plan&) {}
  static uint32_t address() { return kAddress; }
  static uint8_t* at(Position offset) { return reinterpret_cast<uint8_t*>(kAddress + offset); }
};

// Positions are addresses.
struct LargeTable {
  using Position = uint32_t;
  const Entry* entries;

  explicit LargeTable(const Plan& plan) : entries(plan.large_table) {}
  uint32_t address() const { return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(entries)); }
  static uint8_t* at(Position address) { return reinterpret_cast<uint8_t*>(address); }
};

// 16-bit byte offsets reach 4096 entries.
constexpr uint32_t kMaxSmallTableExperts = 0x10000 / sizeof(Entry) - kNumEmptyEntries;

// Calls use(table) with the table that these experts need.
template <class Use>
auto with_table(const Plan& plan, Use use) {
  return plan.num_experts <= kMaxSmallTableExperts ? use(SmallTable(plan)) : use(LargeTable(plan));
}

// Counts a selection, and returns the entry as it was before.
template <class Table>
inline v128_t count_selection(typename Table::Position position) {
  uint8_t* const entry = Table::at(position);
  const v128_t value = wasm_v128_load(entry);
  wasm_v128_store(entry, wasm_i32x4_add(value, wasm_i32x4_const(0, 0, 1, 0)));
  return value;
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

// A planar mask of 64 bits, bit i at bit i >> 3 of byte i & 7: twice, shifted so that chunk c of 16 bits is bit 2 * c of
// the 16 bytes, in order. So rows come out of it with shifts by constants.
inline v128_t spread_planar_mask(v128_t low_lane) {
  return wasm_i64x2_shuffle(low_lane, wasm_u64x2_shr(low_lane, 1), 0, 2);
}
inline v128_t chunk_of_mask(v128_t spread, int chunk) {
  return wasm_v128_and(wasm_u64x2_shr(spread, 2 * chunk), wasm_i8x16_const_splat(1));
}
inline uint64_t planar_bit(uint32_t index) { return uint64_t{1} << (8 * (index & 7) + (index >> 3)); }
