#!/bin/sh
# Builds the kernel for the CPU with g++ alone, into build/cuda-shim/: build.sh [--sanitize]
#   layout_test            compares the kernel with a naive reference on random layouts
#   layout_test_sanitize   with --sanitize: layout_test with AddressSanitizer and UBSan
set -eu
cd "$(dirname "$0")"
out=../../build/cuda-shim
mkdir -p "$out"
flags="-std=c++20 -g -Wall -Wextra -Wno-unknown-pragmas -Wno-missing-field-initializers -Iinclude -pthread"

build() {  # build <binary> <source> <flags>...
  binary=$out/$1 source=$2
  shift 2
  if [ -e "$binary" ] && [ -z "$(find . ../../cuda/kernel -type f -newer "$binary")" ]; then return; fi
  "${CXX:-g++}" $flags "$@" "$source" -o "$binary.$$"
  mv "$binary.$$" "$binary"
}

build layout_test layout_test.cpp -O2 &
builds=$!
if [ "${1:-}" = --sanitize ]; then
  build layout_test_sanitize layout_test.cpp -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined &
  builds="$builds $!"
fi
for build in $builds; do wait "$build"; done
