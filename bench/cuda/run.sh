#!/bin/sh
# Tests and times the kernel on this machine's GPU:
#   run.sh         tests it, and writes bench/cuda/results/<date>-<GPU>.{json,md}, and the times of permutations to
#                  bench/cuda/results/<date>-<GPU>-permutations.md; then the same as
#   run.sh plans   times other sizes of blocks and grids, also with launches that overlap, and writes
#                  bench/cuda/results/<date>-<GPU>-plans.md
# Needs nvcc, unless build/bench-cuda holds the programs already. Uses compute-sanitizer and PyTorch if found.
set -eu
cd "$(dirname "$0")"
out=../../build/bench-cuda
mkdir -p "$out" results

if ! nvidia-smi -L > /dev/null 2>&1; then
  echo "bench/cuda: no GPU found (nvidia-smi -L fails), nothing was run" >&2
  exit 1
fi
gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1)
BENCH_DRIVER=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1)
BENCH_DATE=$(date -u +%Y-%m-%d)
export BENCH_DRIVER BENCH_DATE
slug=$(echo "$gpu" | tr -cs 'A-Za-z0-9\n' '-' | tr 'A-Z' 'a-z')
name=results/$BENCH_DATE-$slug
architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)

build() {  # build <binary> <source> [<flag>]
  if [ -e "$out/$1" ] && [ -z "$(find . ../../cuda/kernel ../../test/cuda-shim -type f \
       ! -path './results/*' -newer "$out/$1")" ]; then return; fi
  if ! command -v nvcc > /dev/null; then
    [ -e "$out/$1" ] && echo "bench/cuda: no nvcc, using the $1 that is there" && return
    echo "bench/cuda: no nvcc and no $out/$1" >&2
    exit 1
  fi
  echo "bench/cuda: building $1 for sm_$architecture"
  nvcc -std=c++17 -O3 -lineinfo -gencode "arch=compute_$architecture,code=sm_$architecture" --cudart static \
    ${3:-} -x cu "$2" -o "$out/$1"
}

time_plans() {
  build layout_bench layout_bench.cu
  # The newest table of an earlier day, for comparison
  earlier=$(find results -name "????-??-??-$slug.md" ! -path "$name.md" | sort | tail -n 1)
  "$out/layout_bench" plans $earlier > "$name-plans.md"
  if [ "$architecture" -ge 90 ]; then
    build layout_bench_overlap layout_bench.cu -DDISPATCH_LAYOUT_OVERLAPS_LAUNCHES
    echo >> "$name-plans.md"
    "$out/layout_bench_overlap" plans $earlier >> "$name-plans.md"
  fi
  cat "$name-plans.md"
}
if [ "${1:-}" = plans ]; then
  time_plans
  exit
fi
build layout_test ../../test/cuda-shim/layout_test.cpp
build permutation_test ../../test/cuda-shim/permutation_test.cpp
build layout_bench layout_bench.cu

for test in layout_test permutation_test; do
  for seed in 1 2 3; do "$out/$test" "$seed" 1000; done
  "$out/$test" large
done
if command -v compute-sanitizer > /dev/null; then
  for tool in memcheck racecheck initcheck synccheck; do
    echo "compute-sanitizer --tool $tool"
    for test in layout_test permutation_test; do
      if ! compute-sanitizer --tool "$tool" --error-exitcode 1 "$out/$test" 4 150 > "$out/$tool.log" 2>&1; then
        cat "$out/$tool.log"
        exit 1
      fi
      tail -n 1 "$out/$tool.log"
    done
  done
else
  echo "bench/cuda: no compute-sanitizer, skipped"
fi
"$out/layout_bench" "$name.json" "$name.md"
"$out/layout_bench" permutations > "$name-permutations.md"
if python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2> /dev/null; then
  python3 torch_layout.py "$name.json" "$name.md"
else
  echo "bench/cuda: no PyTorch with CUDA, its comparison is skipped"
fi
time_plans
