#!/bin/sh
# Builds the addon with the fake CUDA runtime, with g++ alone: build/cuda-fake/dispatch_layout_cuda.node
set -eu
cd "$(dirname "$0")/../.."
out=build/cuda-fake
target=$out/dispatch_layout_cuda.node
mkdir -p $out
if [ -e $target ] && [ -z "$(find cuda/addon cuda/kernel test/cuda-fake test/cuda-shim -type f -newer $target)" ]; then
  exit 0
fi
flags="-O2 -g -fPIC -fvisibility=hidden -Wall -Wextra -pthread"
napi="-DNAPI_VERSION=8 -Inode_modules/node-addon-api -Inode_modules/node-api-headers/include"
for name in addon layout resources; do
  "${CXX:-g++}" -std=c++17 $flags $napi -Itest/cuda-fake/include -c cuda/addon/$name.cpp -o $out/$name.o &
done
"${CXX:-g++}" -std=c++17 $flags -Itest/cuda-fake/include -c test/cuda-fake/fake_runtime.cpp -o $out/fake_runtime.o &
"${CXX:-g++}" -std=c++20 $flags -Wno-unknown-pragmas -Wno-missing-field-initializers -Itest/cuda-shim/include \
  -c test/cuda-fake/kernel_on_cpu.cpp -o $out/kernel_on_cpu.o
wait
"${CXX:-g++}" -shared -pthread -Wl,-z,nodelete $out/*.o -o $target.$$
mv $target.$$ $target
