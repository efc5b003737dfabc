// Turns ids of any integer type into positions in the expert table, 8 or 4 at a time.
//
// Loading saturates: an id that does not fit the lane becomes the largest or the smallest value of the lane.
// No table has an entry for these values, and neither is -1. One unsigned comparison can then tell experts
// from everything else, and -1 stays -1.
#pragma once

#include <wasm_simd128.h>

#include <cstring>

#include "dispatch_layout.h"
#include "expert_table.h"

// Fills the lanes, of so many bytes, with the value.
template <int kBytes>
inline v128_t splat(int64_t value) {
  if constexpr (kBytes == 8) return wasm_i64x2_splat(value);
  if constexpr (kBytes == 4) return wasm_i32x4_splat(static_cast<int32_t>(value));
  return wasm_i16x8_splat(static_cast<int16_t>(value));
}

// Where lanes of so many bytes are equal, all their bits are 1, so that they are -1.
template <int kBytes>
inline v128_t equal(v128_t a, v128_t b) {
  if constexpr (kBytes == 8) return wasm_i64x2_eq(a, b);
  if constexpr (kBytes == 4) return wasm_i32x4_eq(a, b);
  return wasm_i16x8_eq(a, b);
}

// Loads 8 ids into int16 lanes. Those that equal the lanes of empty_ids become -1. They are compared before
// anything is narrowed, since they could not be told from others afterwards.
//
// For int64, the first narrowing saturates both halves of every id to int16, and the second saturates the
// pair (low, high), read as one int32, to int16. The cases are:
// - An id in [0, 32767] has high half 0 and itself as low half, and stays exact.
// - High half 0, low half above 32767: the low half becomes 32767, and so does the pair.
// - High half 0, negative low half (ids of 2^31 and more): the pair is 0x0000'8000 to 0x0000'ffff, so the
//   result is 32767.
// - High half h >= 1: the pair is at least 65536, so the result is 32767.
// - High half <= -2: the pair is at most -65537, so the result is -32768.
// - High half -1: a low half that saturates to l gives the pair -65536 + (l as uint16). It is -1 only for l =
//   -1, and the low half is then -1 too, so the id is -1. Otherwise it is below -1, so the result is negative
//   and never -1 by mistake.
template <IdType kType, bool kHasEmptyId>
inline v128_t load_8_ids(const uint8_t* ids, v128_t empty_ids) {
  constexpr int kBytes = id_bytes(kType);
  auto with_empty = [=](v128_t id, v128_t exact_id) __attribute__((always_inline)) {
    return kHasEmptyId ? wasm_v128_or(id, equal<kBytes>(exact_id, empty_ids)) : id;
  };
  auto load = [=](int i) __attribute__((always_inline)) {
    const v128_t id = wasm_v128_load(ids + 16 * i);
    if constexpr (kType == IdType::kUint64 || kType == IdType::kUint32) {
      return with_empty(wasm_u32x4_min(id, wasm_i32x4_const_splat(INT32_MAX)), id);
    } else if constexpr (kType == IdType::kUint16) {
      return with_empty(wasm_u16x8_min(id, wasm_i16x8_const_splat(INT16_MAX)), id);
    } else {
      return with_empty(id, id);
    }
  };
  if constexpr (kBytes == 8) {
    return wasm_i16x8_narrow_i32x4(wasm_i16x8_narrow_i32x4(load(0), load(1)),
                                   wasm_i16x8_narrow_i32x4(load(2), load(3)));
  } else if constexpr (kBytes == 4) {
    return wasm_i16x8_narrow_i32x4(load(0), load(1));
  } else if constexpr (kBytes == 2) {
    return load(0);
  } else {
    const v128_t id = kType == IdType::kInt8 ? wasm_i16x8_load8x8(ids) : wasm_u16x8_load8x8(ids);
    return with_empty(id, id);
  }
}

// Loads 4 ids into int32 lanes. An id that does not fit becomes INT32_MAX, and one that equals the lanes of
// empty_ids becomes -1.
template <IdType kType, bool kHasEmptyId>
inline v128_t load_4_ids(const uint8_t* ids, v128_t empty_ids) {
  const v128_t largest = wasm_i32x4_const_splat(INT32_MAX);
  if constexpr (id_bytes(kType) == 8) {
    const v128_t a = wasm_v128_load(ids), b = wasm_v128_load(ids + 16);
    const v128_t low = wasm_i32x4_shuffle(a, b, 0, 2, 4, 6);
    const v128_t high = wasm_i32x4_shuffle(a, b, 1, 3, 5, 7);
    const v128_t sign = wasm_i32x4_shr(low, 31);
    const v128_t fits = kType == IdType::kInt64
                            ? wasm_i32x4_eq(high, sign)
                            : wasm_i32x4_eq(wasm_v128_or(high, sign), wasm_i32x4_const_splat(0));
    const v128_t id = wasm_v128_bitselect(low, largest, fits);
    if constexpr (!kHasEmptyId) return id;
    return wasm_v128_or(id, wasm_i32x4_shuffle(equal<8>(a, empty_ids), equal<8>(b, empty_ids), 0, 2, 4, 6));
  } else {
    v128_t exact_id;
    if constexpr (id_bytes(kType) == 4) {
      exact_id = wasm_v128_load(ids);
    } else if constexpr (kType == IdType::kInt16) {
      exact_id = wasm_i32x4_load16x4(ids);
    } else if constexpr (kType == IdType::kUint16) {
      exact_id = wasm_u32x4_load16x4(ids);
    } else {
      const v128_t bytes = wasm_v128_load32_zero(ids);
      exact_id = kType == IdType::kInt8 ? wasm_i32x4_extend_low_i16x8(wasm_i16x8_extend_low_i8x16(bytes))
                                        : wasm_u32x4_extend_low_u16x8(wasm_u16x8_extend_low_u8x16(bytes));
    }
    const v128_t id = kType == IdType::kUint32 ? wasm_u32x4_min(exact_id, largest) : exact_id;
    return kHasEmptyId ? wasm_v128_or(id, equal<4>(exact_id, empty_ids)) : id;
  }
}

// Writes the position of each id's entry, 8 ids at a time, and returns whether all ids were -1, empty_id or
// experts. An id that is not an expert, such as -1, goes to one of the empty entries behind the experts: as an
// unsigned number it is at least num_experts, and so its minimum with num_experts + lane is also at least
// num_experts. The lanes use the copies of the table in turn; the number of copies is a power of 2. Reads and
// writes up to 7 ids beyond num_ids; their values do not matter.
template <IdType kType, bool kHasEmptyId>
__attribute__((noinline)) bool locate(const uint8_t* ids, uint32_t num_ids, uint32_t num_experts,
                                      int64_t empty_id, SmallTable table, uint16_t* positions) {
  const v128_t lanes = wasm_i16x8_const(0, 1, 2, 3, 4, 5, 6, 7);
  const v128_t last = splat<2>(num_experts);
  const v128_t empty_ids = splat < id_bytes(kType) == 1 ? 2 : id_bytes(kType) > (empty_id);
  const v128_t empty = wasm_i16x8_add(last, lanes);
  const v128_t copy = wasm_v128_and(lanes, splat<2>(table.num_copies - 1));
  const v128_t first_entry = wasm_i16x8_mul(copy, splat<2>(num_experts + kNumEmptyEntries));
  v128_t largest = wasm_i16x8_const_splat(0);
  auto load = [&](const uint8_t* first) __attribute__((always_inline)) {
    return load_8_ids<kType, kHasEmptyId>(first, empty_ids);
  };
  auto locate_8 = [&](v128_t id, int i = 0) __attribute__((always_inline)) {
    largest = wasm_u16x8_max(largest, wasm_i16x8_add(id, wasm_i16x8_const_splat(1)));
    const v128_t entry = wasm_i16x8_add(first_entry, wasm_u16x8_min(id, empty));
    wasm_v128_store(positions + i, wasm_i16x8_shl(entry, 4));
  };
  constexpr uint32_t kStep = 8 * id_bytes(kType);
  const uint16_t* const end = positions + num_ids / 8 * 8;
  if constexpr (kType == IdType::kInt64) {  // This is the usual type
    for (; positions + 8 < end; positions += 16, ids += 2 * kStep) {
      locate_8(load(ids));
      locate_8(load(ids + kStep), 8);
    }
  }
  for (; positions < end; positions += 8, ids += kStep) locate_8(load(ids));
  if (num_ids % 8 > 0) locate_8(wasm_v128_and(load(ids), wasm_i16x8_lt(lanes, splat<2>(num_ids % 8))));
  return !wasm_v128_any_true(wasm_u16x8_gt(largest, last));
}

// Does the same for a large table, 4 ids at a time.
template <IdType kType, bool kHasEmptyId>
__attribute__((noinline)) bool locate(const uint8_t* ids, uint32_t num_ids, uint32_t num_experts,
                                      int64_t empty_id, LargeTable table, uint32_t* positions) {
  const v128_t lanes = wasm_i32x4_const(0, 1, 2, 3);
  const v128_t base = splat<4>(reinterpret_cast<uintptr_t>(table.entries()));
  const v128_t last = splat<4>(num_experts);
  const v128_t empty_ids = splat < id_bytes(kType) == 8 ? 8 : 4 > (empty_id);
  const v128_t empty = wasm_i32x4_add(last, lanes);
  v128_t largest = wasm_i32x4_const_splat(0);
  auto load = [&](const uint8_t* first) __attribute__((always_inline)) {
    return load_4_ids<kType, kHasEmptyId>(first, empty_ids);
  };
  auto locate_4 = [&](v128_t id) __attribute__((always_inline)) {
    largest = wasm_u32x4_max(largest, wasm_i32x4_add(id, wasm_i32x4_const_splat(1)));
    wasm_v128_store(positions, wasm_i32x4_add(base, wasm_i32x4_shl(wasm_u32x4_min(id, empty), 4)));
  };
  const uint32_t* const end = positions + num_ids / 4 * 4;
  for (; positions < end; positions += 4, ids += 4 * id_bytes(kType)) locate_4(load(ids));
  if (num_ids % 4 > 0) locate_4(wasm_v128_and(load(ids), wasm_i32x4_lt(lanes, splat<4>(num_ids % 4))));
  return !wasm_v128_any_true(wasm_u32x4_gt(largest, last));
}

// Returns an id of any type, extended to 64 bits as its type requires: by its sign or by zeros.
inline int64_t load_id(const uint8_t* ids, IdType type, uint32_t i) {
  auto load = [=](auto id) {
    memcpy(&id, ids + i * sizeof(id), sizeof(id));
    return static_cast<int64_t>(id);
  };
  switch (type) {
    case IdType::kInt32: return load(int32_t());
    case IdType::kUint32: return load(uint32_t());
    case IdType::kInt16: return load(int16_t());
    case IdType::kUint16: return load(uint16_t());
    case IdType::kInt8: return load(int8_t());
    case IdType::kUint8: return load(uint8_t());
    default: return load(int64_t());
  }
}
