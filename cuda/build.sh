#!/bin/sh
# Builds the CUDA addon: build.sh TARGET.node. It needs nvcc (CUDA 12.8 or later). CUDA_ARCHITECTURES=90 in the
# environment builds for one GPU generation only. The compiler's report of registers and shared memory is left in
# build/cuda/build.log.
set -eu
target=$1
cd "$(dirname "$0")/.."
mkdir -p build/cuda "$(dirname "$target")"
log=build/cuda/build.log
# A change of the architectures changes no file, so CMake is configured each time
if ! node_modules/.bin/cmake-js configure --directory cuda --out build/cuda >"$log" 2>&1 ||
  ! node_modules/.bin/cmake-js build --directory cuda --out build/cuda >>"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
if grep 'bytes spill' "$log" | grep -qv ' 0 bytes spill stores, 0 bytes spill loads'; then
  echo 'cuda/build.sh: the kernel spills registers:' >&2
  grep -B2 'bytes spill' "$log" >&2
  exit 1
fi
# The target is replaced in one step. Half an addon would crash a process that loads it, and overwriting the file would
# change the pages of a process that uses it
cp build/cuda/Release/dispatch_layout_cuda.node "$target.$$"
mv -f "$target.$$" "$target"
awk -F'Used ' '/Used [0-9]+ registers/ { kernels++; if ($2 + 0 > most) most = $2 + 0 }
  END { if (kernels) print kernels " kernels compiled, at most " most " registers, no spills" }' "$log" >&2
