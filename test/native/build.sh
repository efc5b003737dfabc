#!/bin/sh
# Builds programs with the source of the WASM kernel for this machine, into build/native/: build.sh PROGRAM...
#   layout_test        compares random layouts and orders of rows with the references
#   layout_test_fast   the same with the optimisation that is benchmarked, and without sanitizers
#   map_test           compares random mappings of ids to replicas with a reference
#   layout_native      computes layouts that it reads from stdin
#   replay             runs the fuzz target on inputs that were found before
#   fuzz               runs the fuzz target under libFuzzer; needs clang
# All except layout_test_fast are built with AddressSanitizer and UBSan.
set -eu
cd "$(dirname "$0")"
out=../../build/native
mkdir -p "$out"
flags="-std=c++17 -march=native -Wall -Wextra -Wno-unknown-pragmas -Wno-int-to-pointer-cast -isystem include"
sanitize="-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined"

build() { # build PROGRAM COMPILER ARGUMENT...
  program=$out/$1
  shift
  if [ -e "$program" ] && [ -z "$(find . ../../wasm -type f -newer "$program")" ]; then return; fi
  "$@" -o "$program.$$"
  mv "$program.$$" "$program"
}

builds=
for program in "$@"; do
  case "$program" in
    layout_test | layout_native | map_test) build "$program" "${CXX:-g++}" $flags $sanitize "$program.cpp" & ;;
    layout_test_fast) build "$program" "${CXX:-g++}" $flags -O3 layout_test.cpp & ;;
    replay) build "$program" "${CXX:-g++}" $flags $sanitize fuzz_target.cpp replay.cpp & ;;
    fuzz) build "$program" clang++ $flags $sanitize -fsanitize=fuzzer fuzz_target.cpp & ;;
    *) echo "build.sh: unknown program '$program'" >&2; exit 1 ;;
  esac
  builds="$builds $!"
done
for build in $builds; do wait "$build"; done
