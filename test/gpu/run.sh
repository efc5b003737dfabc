#!/usr/bin/env bash
# Runs everything that needs a GPU, on any machine that has one. Run ./build.sh first.
#   test/gpu/run.sh                runs everything
#   test/gpu/run.sh tests          conformance on cuda, tensors, streams and events, graphs, all GPUs of the machine,
#                                  memory of another process
#   test/gpu/run.sh sanitizer      compute-sanitizer with layouts of all kinds, if it is installed
#   test/gpu/run.sh leaks          memory of the GPU after many groups, tensors and workers
#   test/gpu/run.sh bench          call times of host arrays and tensors, compared with wasm
#   test/gpu/run.sh kernel         the benchmark of the kernel alone, bench/cuda/run.sh
# The findings go to bench/cuda/results/<date>-<GPU>-{checks,calls}.md. If a step fails, the others still run, and the
# script fails at the end.
set -uo pipefail
cd "$(dirname "$0")/../.."

gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1)
if [ -z "$gpu" ]; then
  echo 'test/gpu/run.sh: no GPU found (nvidia-smi finds none), nothing was run' >&2
  exit 1
fi
GPU_DRIVER=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1)
GPU_DATE=$(date -u +%Y-%m-%d)
export GPU_NAME=$gpu GPU_DRIVER GPU_DATE
GPU_RESULTS=bench/cuda/results/$GPU_DATE-$(echo "$gpu" | tr -cs 'A-Za-z0-9\n' '-' | tr '[:upper:]' '[:lower:]')-calls
export GPU_RESULTS
# Tests fail if a device that is named here is not available.
export DISPATCH_LAYOUT_TEST_DEVICES=cuda
mkdir -p build/gpu bench/cuda/results
failed=()
outcomes=()

export PATH=$PATH:/usr/local/cuda/bin

step() { # step NAME COMMAND...
  local name=$1 seconds=$SECONDS
  shift
  echo "--- $name"
  local outcome=passed
  "$@" || outcome=FAILED
  [ "$outcome" = passed ] || failed+=("$name")
  outcomes+=("$name: $outcome, $((SECONDS - seconds)) s")
  echo "--- ${outcomes[-1]}"
}

skip() { # skip NAME WHY
  outcomes+=("$1: skipped, $2")
  echo "--- ${outcomes[-1]}"
}

run_mocha() { node node_modules/mocha/bin/mocha.js --no-config --reporter=dot --import=tsx --timeout=120000 "$@"; }

run_tests() {
  node dist/cli.js doctor --device cuda
  step 'conformance on cuda' run_mocha test/conformance/conformance.test.ts
  step 'tensors, streams and events' run_mocha test/cuda/tensors.test.ts test/cuda/device-layouts.test.ts \
    test/cuda/device-workspace.test.ts test/events.test.ts
  local other=$PWD/build/gpu/other_library.node
  if [ -e "$other" ] || test/gpu/build.sh; then
    export DISPATCH_LAYOUT_TEST_OTHER_LIBRARY=$other
    step 'the order of work, beside another library' run_mocha test/cuda/order.test.ts
    step 'graphs that another library captures' run_mocha test/cuda/capture.test.ts
    step "every GPU, beside another library ($(nvidia-smi -L | wc -l) of them)" node test/gpu/gpus.mjs "$other"
  else
    skip 'graphs and several GPUs' 'test/gpu/build.sh needs nvcc'
  fi
  if python3 -c 'import torch' 2>/dev/null; then
    step 'a tensor of a PyTorch process' python3 test/gpu/torch_process.py
  else
    skip 'a tensor of a PyTorch process' 'python3 has no torch'
  fi
}

run_sanitizer() {
  if ! command -v compute-sanitizer >/dev/null; then
    skip compute-sanitizer 'it is not on the PATH'
    return
  fi
  # A checker that finds no errors is trusted only if it finds a planted one.
  step 'compute-sanitizer finds a planted error' finds_planted_error
  local tool
  for tool in memcheck racecheck initcheck synccheck; do
    step "compute-sanitizer $tool" sanitize "$tool"
  done
}

sanitize() {
  compute-sanitizer --tool "$1" --error-exitcode 1 node test/gpu/exercise.mjs >"build/gpu/$1.log" 2>&1
  local status=$?
  grep -E 'ERROR SUMMARY|RACECHECK SUMMARY|layouts' "build/gpu/$1.log" || tail -n 20 "build/gpu/$1.log"
  return $status
}

finds_planted_error() {
  compute-sanitizer --tool memcheck --error-exitcode 1 node test/gpu/exercise.mjs --read-beyond \
    >build/gpu/planted.log 2>&1
  grep -m 1 'Invalid __global__ read' build/gpu/planted.log
}

[ $# -gt 0 ] || set -- tests sanitizer leaks bench kernel
for part in "$@"; do
  case "$part" in
    tests) run_tests ;;
    sanitizer) run_sanitizer ;;
    leaks) step 'no leaks' node --expose-gc test/gpu/leaks.mjs ;;
    bench) step 'call times' node test/gpu/call-time.mjs ;;
    kernel) step 'kernel benchmark' bench/cuda/run.sh ;;
    *)
      sed -n '2,11p' "$0" >&2
      exit 2
      ;;
  esac
done

{
  printf '# Checks on %s, %s\n\n' "$gpu" "$GPU_DATE"
  printf 'Driver %s, Node.js %s, by `test/gpu/run.sh %s`.\n\n' "$GPU_DRIVER" "$(node --version)" "$*"
  printf -- '- %s\n' "${outcomes[@]}"
} >"${GPU_RESULTS%-calls}-checks.md"
if [ ${#failed[@]} -gt 0 ]; then
  printf 'FAILED: %s\n' "${failed[@]}"
  exit 1
fi
echo "all passed on $gpu, driver $GPU_DRIVER, $GPU_DATE"
