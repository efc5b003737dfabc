#!/bin/sh
# Builds the CUDA addon: build.sh TARGET.node [FOLDER]. It needs nvcc (CUDA 12.0 or later). The environment can name the
# compilers: CUDACXX is the nvcc, CXX is the C++ compiler, and CUDAHOSTCXX is the C++ compiler that nvcc calls.
# CUDA_ARCHITECTURES=90 builds for one GPU generation only. Objects are left in the folder (build/cuda, unless one is
# named), and so is build.log, the compiler's report of registers and shared memory.
set -eu
target=$1
cd "$(dirname "$0")/.."
folder=${2:-build/cuda}
nvcc=${CUDACXX:-$(PATH=$PATH:/usr/local/cuda/bin command -v nvcc)} || {
  echo 'cuda/build.sh: there is no nvcc here. Install the CUDA toolkit, 12.0 or later, or name its nvcc in CUDACXX' >&2
  exit 1
}
# CMake keeps the compilers that it has found, even if the environment names others later or they are updated. After
# such a change it must look for them again, and compile everything anew
compilers=$(printf '%s\n' "$nvcc" "${CXX-}" "${CUDAHOSTCXX-}" "${NVCC_CCBIN-}" && "$nvcc" --version)
[ "$(cat "$folder/compilers" 2>/dev/null)" = "$compilers" ] || rm -rf "$folder/CMakeCache.txt" "$folder/CMakeFiles"
mkdir -p "$folder" "$(dirname "$target")"
echo "$compilers" >"$folder/compilers"
log=$folder/build.log
# A change of the architectures changes no file, so CMake is configured each time
if ! node_modules/.bin/cmake-js configure --directory cuda --out "$folder" >"$log" 2>&1 ||
  ! node_modules/.bin/cmake-js build --directory cuda --out "$folder" >>"$log" 2>&1; then
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
cp "$folder/Release/dispatch_layout_cuda.node" "$target.$$"
mv -f "$target.$$" "$target"
awk -F'Used ' '/Used [0-9]+ registers/ { kernels++; if ($2 + 0 > most) most = $2 + 0 }
  END { if (kernels) print kernels " kernels compiled, at most " most " registers, no spills" }' "$log" >&2
