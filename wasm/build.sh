#!/usr/bin/env bash
# Builds the kernel: wasm/build.sh OUT.wasm
set -euo pipefail
cd "$(dirname "$0")"
object=$1.o
trap 'rm -f "$object"' EXIT

emcc -c dispatch_layout.cpp -o "$object" \
  -std=c++17 -O3 -msimd128 -mbulk-memory -fno-exceptions -fno-rtti -mllvm -unswitch-threshold=0 -Wall -Wextra -Werror

# Linked at -O1: from -O2 on, wasm-opt inlines all kernels into one giant function, which V8 compiles to slower code
# (1.6 times at 8 ranks, measured). No imports, no allocator: everything above __heap_base is JavaScript's. Static data
# begins at 128 KiB, above the small table at a constant address (expert_table.h).
emcc "$object" -o "$1" -O1 \
  --no-entry -sSTANDALONE_WASM -sALLOW_MEMORY_GROWTH=1 -sTOTAL_STACK=65536 -sINITIAL_MEMORY=1048576 \
  -sGLOBAL_BASE=131072 -Wl,--export=__heap_base
