#!/bin/sh
# Builds the addon with a CUDA runtime that does nothing, with g++ alone: build/bench/null_cuda.node
set -eu
cd "$(dirname "$0")/../.."
target=build/bench/null_cuda.node
if [ -e $target ] && [ -z "$(find cuda/addon cuda/kernel bench/calls test/cuda-fake test/cuda-shim -type f -newer $target)" ]; then
  exit 0
fi
work=build/bench/null_cuda.$$
mkdir -p $work
trap 'rm -rf $work' EXIT
flags="-O2 -fPIC -fvisibility=hidden -pthread"
napi="-DNAPI_VERSION=8 -Inode_modules/node-addon-api -Inode_modules/node-api-headers/include"
jobs=""
for source in cuda/addon/*.cpp bench/calls/null_runtime.cpp; do
  "${CXX:-g++}" -std=c++17 $flags $napi -Itest/cuda-fake/include -c "$source" -o "$work/$(basename "$source").o" &
  jobs="$jobs $!"
done
"${CXX:-g++}" -std=c++20 $flags -Wno-unknown-pragmas -Itest/cuda-shim/include -c test/cuda-fake/kernel_on_cpu.cpp \
  -o $work/kernel_on_cpu.o
for job in $jobs; do wait "$job"; done
"${CXX:-g++}" -shared -pthread -Wl,-z,nodelete $work/*.o -o $work/addon.node
mv $work/addon.node $target
