// The module that maps ids of experts to those of their replicas. ts/placement/map-kernel.ts is the other side of it.
// It is a module of its own, with its own memory, so that programs which only compute layouts do not contain it.
//
// locate_ids(...) checks ids, and choose_replicas(...) or choose_in_rows(...) then maps those of some tokens. Of the
// candidates of an expert, a token takes the one at its number modulo how many there are. Its number is
// token * multiplier, modulo 2^32.
#include <wasm_simd128.h>

#include <cstdint>

#define EXPORT extern "C" __attribute__((visibility("default"), used))

// The candidates of an expert, or of an empty slot, which has one candidate: -1.
struct Choice {
  uint32_t first;  // the index of the first candidate in `replicas`
  uint32_t count;  // the index of their number in `counts`
};

// Loads 4 ids. One that does not fit in 32 bits becomes INT32_MIN, which is neither an expert nor -1.
static inline v128_t load_4_ids(const uint8_t* ids, bool has_64_bits) {
  const v128_t a = wasm_v128_load(ids);
  if (!has_64_bits) return a;
  const v128_t b = wasm_v128_load(ids + 16);
  const v128_t low = wasm_i32x4_shuffle(a, b, 0, 2, 4, 6);
  const v128_t high = wasm_i32x4_shuffle(a, b, 1, 3, 5, 7);
  const v128_t fits = wasm_i32x4_eq(high, wasm_i32x4_shr(low, 31));
  return wasm_v128_bitselect(low, wasm_i32x4_const_splat(INT32_MIN), fits);
}

// Writes the index of each id's Choice to `located`, and returns whether all ids are -1, empty_id or experts. Up to 3 ids
// beyond the last one are read, and as many are written behind `located`.
EXPORT bool locate_ids(const uint8_t* ids, bool has_64_bits, uint32_t num_ids, uint32_t num_experts,
                       int32_t empty_id, uint32_t* located) {
  const v128_t one = wasm_i32x4_const_splat(1), lanes = wasm_i32x4_const(0, 1, 2, 3);
  const v128_t empty = wasm_i32x4_splat(empty_id), last = wasm_i32x4_splat(num_experts);
  v128_t largest = wasm_i32x4_const_splat(0);
  for (uint32_t i = 0; i < num_ids; i += 4) {
    v128_t id = load_4_ids(ids + (has_64_bits ? 8 : 4) * i, has_64_bits);
    id = wasm_v128_or(id, wasm_i32x4_eq(id, empty));
    if (num_ids - i < 4) id = wasm_v128_or(id, wasm_i32x4_ge(lanes, wasm_i32x4_splat(num_ids - i)));
    const v128_t choice = wasm_i32x4_add(id, one);
    largest = wasm_u32x4_max(largest, choice);
    wasm_v128_store(located + i, wasm_u32x4_min(choice, wasm_i32x4_add(last, one)));
  }
  return !wasm_v128_any_true(wasm_u32x4_gt(largest, last));
}

// What the functions below share. JavaScript writes it.
struct Table {
  const Choice* choices;  // [num_choices]: of -1, of each expert, and of all other ids
  uint32_t num_choices;
  const uint32_t* counts;  // [num_counts]: the different numbers of candidates
  uint32_t num_counts;
  uint32_t* phases;         // [num_counts], whatever it holds
  const int32_t* replicas;  // the candidates
  int32_t* rows;            // [period, num_choices]: the replica of each choice, by the number of the token
  uint32_t period;          // a multiple of all counts
};

// Sets the phases, by which `replica_of` finds the replica of a choice for the token with this number.
static inline void set_phases(const Table& table, uint32_t number) {
  for (uint32_t i = 0; i < table.num_counts; i++) table.phases[i] = number % table.counts[i];
}

static inline int32_t replica_of(const Table& table, uint32_t choice) {
  const Choice candidates = table.choices[choice];
  return table.replicas[candidates.first + table.phases[candidates.count]];
}

// Replaces what locate_ids(...) has written by the replicas. For few ids, which are not worth the rows.
EXPORT void choose_replicas(const Table* table, int32_t* ids, uint32_t num_tokens, uint32_t num_topk,
                            uint32_t first_token, uint32_t multiplier) {
  for (uint32_t token = 0; token < num_tokens; token++) {
    set_phases(*table, (first_token + token) * multiplier);
    for (const int32_t* const end = ids + num_topk; ids < end; ids++) *ids = replica_of(*table, *ids);
  }
}

// Writes the rows for choose_in_rows(...).
EXPORT void fill_rows(const Table* table) {
  int32_t* next = table->rows;
  for (uint32_t number = 0; number < table->period; number++) {
    set_phases(*table, number);
    for (uint32_t choice = 0; choice < table->num_choices; choice++) *next++ = replica_of(*table, choice);
  }
}

// Does the same as choose_replicas(...), with one look into a table for each id.
EXPORT void choose_in_rows(const Table* table, int32_t* ids, uint32_t num_tokens, uint32_t num_topk,
                           uint32_t first_token, uint32_t multiplier) {
  for (uint32_t token = 0; token < num_tokens; token++) {
    const uint32_t number = (first_token + token) * multiplier;
    const int32_t* const row = table->rows + number % table->period * table->num_choices;
    const int32_t* const end = ids + num_topk;
    for (; ids + 4 <= end; ids += 4) {
      for (int i = 0; i < 4; i++) ids[i] = row[ids[i]];
    }
    for (; ids < end; ids++) *ids = row[*ids];
  }
}
