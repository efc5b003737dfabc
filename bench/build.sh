#!/usr/bin/env bash
# Builds what the benchmark compares with, into build/bench/:
#   simple_kernel.wasm   the simple kernel, by emcc
#   native.node          the kernel's source compiled for this machine, if g++ or clang++ and SIMDe are installed
set -euo pipefail
cd "$(dirname "$0")/.."
out=build/bench
mkdir -p "$out"

newer() { [ -e "$1" ] && [ -z "$(find "${@:2}" -newer "$1" -print -quit)" ]; }

if ! newer "$out/simple_kernel.wasm" bench/variants/simple_kernel.c bench/build.sh; then
  emcc bench/variants/simple_kernel.c -o "$out/simple_kernel.wasm" -O3 -msimd128 -Wall -Wextra -Werror \
    --no-entry -sSTANDALONE_WASM -sALLOW_MEMORY_GROWTH=1 \
    -sEXPORTED_FUNCTIONS=_layout -Wl,--export=__heap_base
fi

compiler=$(command -v clang++ || command -v g++ || true)
if [ -z "$compiler" ] || ! echo '#include <simde/wasm/simd128.h>' | "$compiler" -fsyntax-only -x c++ - 2>/dev/null; then
  echo 'bench: the kernel is not built for this machine: clang++ or g++, or libsimde-dev, is missing' >&2
  rm -f "$out/native.node"
elif ! newer "$out/native.node" bench/variants/native_addon.cpp test/native wasm bench/build.sh; then
  # -Bsymbolic: the kernel's begin() and finish() are its own, whatever node exports
  "$compiler" -std=c++17 -O3 -march=native -fPIC -shared -Wl,-Bsymbolic -fno-semantic-interposition \
    -Wno-unknown-pragmas -Wno-int-to-pointer-cast -DNAPI_VERSION=8 -DNODE_ADDON_API_DISABLE_DEPRECATED \
    -isystem test/native/include -isystem node_modules/node-api-headers/include -isystem node_modules/node-addon-api \
    bench/variants/native_addon.cpp -o "$out/native.node.$$"
  mv "$out/native.node.$$" "$out/native.node"
  "$compiler" --version | head -n 1 >"$out/native-compiler.txt"
fi
