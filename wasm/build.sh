#!/usr/bin/env bash
# Builds the kernel: wasm/build.sh OUT.wasm
set -euo pipefail
cd "$(dirname "$0")"
object=$1.o
trap 'rm -f "$object"' EXIT

# Unswitching is off: no loop is duplicated for a condition that does not change in it. The kernel has a sixth of the
# size then, and is no slower
emcc -c dispatch_layout.cpp -o "$object" -std=c++17 -O3 -mllvm -unswitch-threshold=0 \
  -msimd128 -mbulk-memory -fno-exceptions -fno-rtti -Wall -Wextra -Werror

# The module has no imports and no allocator: everything above __heap_base is JavaScript's. Static data begins at 128
# KiB, above the small table, which is at a constant address (expert_table.h).
emcc "$object" -o "$1" -O1 \
  --no-entry -sSTANDALONE_WASM -sALLOW_MEMORY_GROWTH=1 -sTOTAL_STACK=65536 -sINITIAL_MEMORY=1048576 \
  -sGLOBAL_BASE=131072 -Wl,--export=__heap_base

# wasm-opt runs here and without inlining. emcc calls it with inlining from -O2 on, which makes one giant function of
# all kernels, and V8 compiles that to slower code (1.6 times as slow at 8 ranks, measured). What is left makes the file
# compress better.
"$(em-config BINARYEN_ROOT)/bin/wasm-opt" "$1" -o "$1" -Oz --enable-simd --enable-bulk-memory \
  --always-inline-max-function-size=0 --flexible-inline-max-function-size=0 --one-caller-inline-max-function-size=0
