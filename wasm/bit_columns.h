// Counts the columns of rows of bits, when a block of them is complete and still in the L1 cache.
#pragma once

#include <wasm_simd128.h>

#include "dispatch_layout.h"
#include "expert_table.h"

constexpr uint32_t kBitsPerVector = 128;

// The number of rows whose columns are added up at a time: as many whole rows as fit a vector, or a part of one row.
inline uint32_t num_rows_per_vector(const Plan& plan) {
  return row_bytes(plan) > sizeof(v128_t) ? 1 : sizeof(v128_t) / row_bytes(plan);
}

// The sums of the columns of a vector are in one half of this, and are sorted into the other one.
inline v128_t sums_of_bits[16];

// Adds up fields of so many bits in twice as wide fields: those with even numbers in `even`, the others in `odd`.
template <int kBits>
inline __attribute__((always_inline)) void add_fields(v128_t fields, v128_t& even, v128_t& odd) {
  const v128_t low = wasm_i8x16_splat(kBits == 1 ? 0x55 : kBits == 2 ? 0x33 : 0x0f);
  even = wasm_i8x16_add(even, wasm_v128_and(fields, low));
  odd = wasm_i8x16_add(odd, wasm_v128_and(wasm_u64x2_shr(fields, kBits), low));
}

// Adds the columns of rows, which fit kMaxTokensPerBlock vectors, to the counts of ranks. Three vectors are added up
// in fields of 2 bits, five of these sums in fields of 4 bits, and all of those in bytes, since a vector would
// otherwise take 24 instructions instead of 10. 16 bytes behind the rows are zeroed.
__attribute__((noinline)) inline void add_bit_columns(uint8_t* rows, uint32_t num_tokens, const Plan& plan) {
  const v128_t zero = wasm_i32x4_const_splat(0);
  const uint32_t num_row_bytes = row_bytes(plan);
  const uint32_t num_rows = num_rows_per_vector(plan);
  uint8_t* const end = rows + num_tokens * num_row_bytes;
  wasm_v128_store(end, zero);
  for (uint32_t first_rank = 0; first_rank < plan.num_ranks; first_rank += kBitsPerVector) {
    v128_t* sums = sums_of_bits + 8;
#pragma unroll 1
    for (int i = 0; i < 8; i++) sums[i] = zero;
    for (const uint8_t* row = rows + first_rank / 8; row < end;) {
      v128_t nibbles[4] = {zero, zero, zero, zero};
#pragma unroll 1
      for (int i = 0; i < 5; i++) {
        v128_t pairs[2] = {zero, zero};
#pragma unroll 1
        for (int j = 0; j < 3 && row < end; j++, row += num_rows * num_row_bytes)
          add_fields<1>(wasm_v128_load(row), pairs[0], pairs[1]);
        add_fields<2>(pairs[0], nibbles[0], nibbles[2]);
        add_fields<2>(pairs[1], nibbles[1], nibbles[3]);
      }
      for (int i = 0; i < 4; i++) add_fields<4>(nibbles[i], sums[i], sums[i + 4]);
    }

    // Sum i of byte j is at 16 * i + j. Interleaving the halves rotates the bits of this index by one. Three times, and
    // it is at 8 * j + i, in the order of the columns.
#pragma unroll 1
    for (int round = 0; round < 3; round++) {
      v128_t* const sorted = sums_of_bits + (sums == sums_of_bits ? 8 : 0);
#pragma unroll 1
      for (int i = 0; i < 4; i++) {
        const v128_t a = sums[i], b = sums[i + 4];
        sorted[2 * i] = wasm_i8x16_shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        sorted[2 * i + 1] =
            wasm_i8x16_shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      }
      sums = sorted;
    }
    for (uint32_t rank = 0; rank < kBitsPerVector && first_rank + rank < plan.num_ranks; rank += 16) {
      const uint8_t* bytes = reinterpret_cast<const uint8_t*>(sums) + rank;
      v128_t sum = zero;
      for (uint32_t i = 0; i < num_rows; i++, bytes += 8 * num_row_bytes) {
        sum = wasm_i8x16_add(sum, wasm_v128_load(bytes));
        // The sums of all rows of the vector fit a byte if there are that few tokens
        if (num_tokens > kMaxTokensPerBlock || i == num_rows - 1) {
          add_byte_counts(plan.num_tokens_per_rank + first_rank + rank, sum);
          sum = zero;
        }
      }
    }
  }
}
