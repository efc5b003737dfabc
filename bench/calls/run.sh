#!/bin/sh
# Measures calls with tensors, without a GPU: ./build.sh bench --calls. NODE names another Node.js than that of the PATH.
set -eu
cd "$(dirname "$0")"
./build.sh
DISPATCH_LAYOUT_CUDA_ADDON=$PWD/../../build/bench/null_cuda.node exec "${NODE:-node}" calls.mjs
