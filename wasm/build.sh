#!/usr/bin/env bash
# Builds a module: wasm/build.sh kernel OUT.wasm, or order, or placement instead of kernel
set -euo pipefail
cd "$(dirname "$0")"
module=$1 out=$2
object=$out.o
trap 'rm -f "$object"' EXIT

# Unswitching is off: no loop is duplicated for a condition that does not change in it. The kernel has a sixth of the
# size then, and is no slower
compile() {
  emcc -c "$1" -o "$object" -std=c++17 -O3 -mllvm -unswitch-threshold=0 \
    -msimd128 -mbulk-memory -fno-exceptions -fno-rtti -Wall -Wextra -Werror
}

case $module in
  kernel)
    # The module has no imports and no allocator: everything above __heap_base is JavaScript's. Static data begins at
    # 128 KiB, above the small table, which is at a constant address (expert_table.h).
    compile dispatch_layout.cpp
    link='-sGLOBAL_BASE=131072 -Wl,--export=__heap_base'
    ;;
  order)
    # This module works in the memory of the other one. The only static data that it has is emcc's, a few bytes that
    # nobody reads. They are at the bottom of the memory, where the other one has nothing.
    compile row_order.cpp
    link='-sGLOBAL_BASE=1024 -sIMPORTED_MEMORY=1'
    ;;
  placement)
    # Everything above __heap_base is JavaScript's
    compile map_ids.cpp
    link='-sGLOBAL_BASE=1024 -Wl,--export=__heap_base'
    ;;
esac
emcc "$object" -o "$out" -O1 --no-entry -sSTANDALONE_WASM -sALLOW_MEMORY_GROWTH=1 -sTOTAL_STACK=65536 \
  -sINITIAL_MEMORY=1048576 $link

# wasm-opt runs here and without inlining. emcc calls it with inlining from -O2 on, which makes one giant function of
# all kernels, and V8 compiles that to slower code (1.6 times as slow at 8 ranks, measured). What is left makes the file
# compress better.
"$(em-config BINARYEN_ROOT)/bin/wasm-opt" "$out" -o "$out" -Oz --enable-simd --enable-bulk-memory \
  --always-inline-max-function-size=0 --flexible-inline-max-function-size=0 --one-caller-inline-max-function-size=0
