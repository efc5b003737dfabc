#!/bin/sh
# Builds build/gpu/other_library.node: another library in the process that uses CUDA (test/cuda-fake/other_library.cpp),
# here with CUDA itself. It needs nvcc, but no GPU, so it can be built where the addon is built.
set -eu
cd "$(dirname "$0")/../.."
target=build/gpu/other_library.node
source=test/cuda-fake/other_library.cpp
if [ -e $target ] && [ -z "$(find $source -newer $target)" ]; then exit 0; fi
mkdir -p build/gpu
PATH=$PATH:/usr/local/cuda/bin
"${CUDACXX:-nvcc}" -std=c++17 -O2 --cudart static -shared -Xcompiler -fPIC,-fvisibility=hidden -DNAPI_VERSION=8 \
  -Inode_modules/node-addon-api -Inode_modules/node-api-headers/include $source -o $target.$$
mv $target.$$ $target
