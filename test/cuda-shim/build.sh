#!/bin/sh
# Builds the kernel for the CPU with g++ alone, into build/cuda-shim/: build.sh [PROGRAM]...
#   layout_test, permutation_test    compare the kernels with naive references on random ids; the default
#   layout_test_sanitize, ...        the same with AddressSanitizer and UBSan, which find accesses outside of arrays
#   layout_test_tsan, ...            the same with ThreadSanitizer, which finds missing barriers, fences and atomic
#                                    operations
# The environment variables CXX and CXXFLAGS choose another compiler, and add flags.
set -eu
cd "$(dirname "$0")"
out=../../build/cuda-shim
mkdir -p "$out"
flags="-std=c++20 -g -Wall -Wextra -Wno-unknown-pragmas -Wno-missing-field-initializers -Iinclude -pthread"

build() { # build PROGRAM FLAG...
  program=$out/$1 source=${1%_sanitize}
  source=${source%_tsan}.cpp
  shift
  if [ -e "$program" ] && [ -z "$(find . ../../cuda/kernel -type f -newer "$program")" ]; then return; fi
  "${CXX:-g++}" $flags "$@" ${CXXFLAGS:-} "$source" -o "$program.$$"
  mv "$program.$$" "$program"
}

[ $# -gt 0 ] || set -- layout_test permutation_test
builds=
for program in "$@"; do
  case "$program" in
    layout_test | permutation_test) build "$program" -O2 & ;;
    layout_test_sanitize | permutation_test_sanitize)
      build "$program" -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined &
      ;;
    # g++ 12 can crash on this source if it splits structures into variables
    layout_test_tsan | permutation_test_tsan) build "$program" -O1 -fsanitize=thread -fno-tree-sra & ;;
    *) echo "build.sh: unknown program '$program'" >&2; exit 1 ;;
  esac
  builds="$builds $!"
done
for build in $builds; do wait "$build"; done
