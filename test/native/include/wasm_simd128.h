// The WASM intrinsics of the kernel on other machines: SIMDe maps them to those of the machine.
#pragma once

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/wasm/simd128.h>

// SIMDe 0.7 lacks these names, of constants and of unsigned lanes.
#ifndef wasm_i8x16_const_splat
#define wasm_i8x16_const_splat wasm_i8x16_splat
#define wasm_i16x8_const_splat wasm_i16x8_splat
#define wasm_i32x4_const_splat wasm_i32x4_splat
#define wasm_i64x2_const_splat wasm_i64x2_splat
#endif
#ifndef wasm_u32x4_extract_lane
#define wasm_u32x4_extract_lane(vector, lane) static_cast<uint32_t>(wasm_i32x4_extract_lane(vector, lane))
#define wasm_u64x2_extract_lane(vector, lane) static_cast<uint64_t>(wasm_i64x2_extract_lane(vector, lane))
#endif
