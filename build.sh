#!/usr/bin/env bash
# Runs every task of this project: ./build.sh [build | test | coverage | slow-tests | runtimes | projects | demo | bench |
# fuzz | lint | docs | examples | release | clean]
set -euo pipefail
cd "$(dirname "$0")"

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
fail() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

# newer TARGET SOURCE...: succeeds if TARGET exists and no file under the sources is newer
newer() {
  local target=$1
  shift
  [ -e "$target" ] && [ -z "$(find "$@" -newer "$target" -print -quit)" ]
}

install_packages() {
  command -v npm >/dev/null || fail 'Node.js 20.19 or later, with npm, is needed: https://nodejs.org'
  [ -x node_modules/.bin/tsc ] && newer node_modules/.package-lock.json package.json package-lock.json && return
  say 'Installing npm packages'
  # The build needs the development packages even if NODE_ENV says production
  npm ci --include=dev --no-audit --no-fund
}

# install_in FOLDER: installs the packages of a folder that has a package.json of its own. Only the tasks that use the
# folder call this
install_in() {
  newer "$1/node_modules/.package-lock.json" "$1/package.json" "$1/package-lock.json" && return
  say "Installing the npm packages of $1"
  npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund
}

# apt_install PACKAGE...: installs Debian packages, as root or by sudo
apt_install() {
  if command -v apt-get >/dev/null; then
    if [ "$(id -u)" = 0 ]; then
      apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
      return
    elif sudo -n true 2>/dev/null; then
      sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
      return
    fi
  fi
  fail "please install $* (Debian, Ubuntu: sudo apt-get install $*) and run this again"
}

build_kernel() {
  local built=true module
  for module in kernel order placement; do
    newer dist/$module.wasm wasm && newer ts/generated/$module.ts dist/$module.wasm || built=false
  done
  $built && return
  if ! command -v emcc >/dev/null; then
    say 'Installing Emscripten'
    apt_install emscripten
  fi
  say 'Building the WASM kernel'
  mkdir -p dist build ts/generated
  for module in kernel order placement; do
    wasm/build.sh $module "$PWD/build/$module.wasm"
    node wasm/embed-kernel.mjs build/$module.wasm >build/$module.ts
    mv build/$module.wasm dist/$module.wasm
    mv build/$module.ts ts/generated/$module.ts
  done
}

case "$(uname -sm)" in
  'Linux aarch64') addon=dist/prebuilds/linux-arm64/dispatch_layout_cuda.node ;;
  *) addon=dist/prebuilds/linux-x64/dispatch_layout_cuda.node ;;
esac

# Prints what keeps the CUDA addon from being built here, or nothing
addon_obstacle() {
  local nvcc release
  if [ "$(uname -sm)" != 'Linux x86_64' ] && [ "$(uname -sm)" != 'Linux aarch64' ]; then
    echo "it is for Linux on x86-64 and arm64, this is $(uname -sm)"
  elif ! nvcc=$(PATH=$PATH:/usr/local/cuda/bin command -v "${CUDACXX:-nvcc}"); then
    echo "there is no ${CUDACXX:-nvcc} here. To build it, install the CUDA toolkit, 12.0 or later"
  else
    release=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
    if [ "$(printf '%s\n' 12.0 "$release" | sort -V | head -n 1)" != 12.0 ]; then
      echo "$nvcc is of CUDA ${release:-unknown}, too old. To build it, install the CUDA toolkit, 12.0 or later"
    fi
  fi
}

# Builds the addon if that is possible. Without the addon, the library lacks only the device `cuda`
build_addon() {
  local obstacle stamp=build/cuda/architectures architectures=${CUDA_ARCHITECTURES:-all}
  obstacle=$(addon_obstacle)
  if [ -n "$obstacle" ]; then
    say "Skipping the CUDA addon, the other devices are unaffected: $obstacle"
  elif ! newer "$addon" cuda || [ "$(cat "$stamp" 2>/dev/null)" != "$architectures" ]; then
    say 'Building the CUDA addon'
    rm -f "$stamp"
    cuda/build.sh "$PWD/$addon"
    echo "$architectures" >"$stamp.$$"
    mv "$stamp.$$" "$stamp"
  fi
}

build_library() {
  newer dist/cli.js ts web wasm/embed-kernel.mjs tsconfig.json package.json package-lock.json build.sh && return
  say 'Building the library and the command line'
  # This removes the outputs of sources that no longer exist. dist/cli.js, whose age is checked above, is made last
  find dist -mindepth 1 -maxdepth 1 ! -name kernel.wasm ! -name order.wasm ! -name placement.wasm ! -name prebuilds -exec rm -rf {} +
  node_modules/.bin/tsc -p tsconfig.json
  node ts/bundle.mjs
}

build() {
  install_packages
  build_kernel
  build_addon
  build_library
}

# Runs mocha with a process for each core, each of which runs one test file after the other
run_mocha() {
  node_modules/.bin/mocha --parallel --jobs "$(node -p 'os.availableParallelism()')" "$@"
}

run_tests() {
  build
  run_mocha "$@"
}

# Runs the same tests, and measures which lines of the library they reach, in this process and in those of the command
# line. This takes much longer: all test files run in one process
run_coverage() {
  build
  node_modules/.bin/c8 node_modules/.bin/mocha "$@"
}

# Runs the tests that take long and rarely fail: endurance tests, and long tests of the kernels on the CPU
run_slow_tests() {
  build
  run_mocha --no-config --import=tsx/esm --timeout=600000 'test/slow/**/*.test.ts' "$@"
}

# run_bench [--quick | --check | --expect | --report] [--orders] [--processes N]: see bench/run.ts; run_bench --calls: see
# bench/calls; run_bench --files: see bench/files; run_bench --placement: see bench/placement; run_bench --page: see
# bench/page
run_bench() {
  build
  if [ "${1:-}" = --calls ]; then
    bench/calls/run.sh
    return
  fi
  if [ "${1:-}" = --files ]; then
    node bench/files/measure.mjs
    return
  fi
  if [ "${1:-}" = --placement ]; then
    node bench/placement/measure.mjs
    return
  fi
  if [ "${1:-}" = --page ]; then
    node bench/page/measure.mjs
    return
  fi
  install_in bench/libraries
  bench/build.sh
  node --import=tsx bench/run.ts "$@"
}

# run_fuzz [SECONDS [routing]]: fuzzes the kernel's source with libFuzzer and sanitizers, starting from the committed
# inputs; with `routing`, the readers of routing files
run_fuzz() {
  if [ "${2:-}" = routing ]; then
    install_packages
    node --import=tsx/esm test/routing/fuzz.ts --seconds "$1"
    return
  fi
  [ -d /usr/include/simde ] && command -v clang++ >/dev/null || apt_install libsimde-dev clang
  local resources
  resources=$(clang++ -print-resource-dir)
  compgen -G "$resources/lib/linux/libclang_rt.fuzzer-*.a" >/dev/null ||
    apt_install "libclang-rt-$(basename "$resources" | cut -d. -f1)-dev"
  test/native/build.sh fuzz
  mkdir -p build/fuzz
  say "Fuzzing the kernel for ${1:-60} seconds. Inputs that crash it go to build/fuzz-*; keep such a file in test/native/corpus"
  build/native/fuzz build/fuzz test/native/corpus -max_total_time="${1:-60}" -max_len=400 -artifact_prefix=build/fuzz-
}

# Tests the packed library in every runtime and bundler. These are npm packages that only this task installs
run_runtimes() {
  build
  local folder=test/runtimes
  if ! newer $folder/node_modules/.package-lock.json $folder/package.json $folder/package-lock.json; then
    say 'Installing the runtimes and bundlers'
    npm ci --prefix $folder --no-audit --no-fund
  fi
  say 'Running the conformance suite in every runtime'
  node $folder/run.mjs "$@"
}

# run_projects [NAME]...: tests the packed library in small projects like those of users. Each project installs its
# packages in a temporary folder
run_projects() {
  build
  say 'Checking projects that use the packed library'
  node test/projects/run.mjs "$@"
}

run_demo() {
  build
  mkdir -p build
  say 'Routing of 8192 tokens to 8 of 256 experts each, in at most 4 of 8 groups, somewhat skewed'
  node dist/cli.js generate build/demo.npy --num-tokens 8192 --num-topk 8 --num-experts 256 \
    --num-groups 8 --topk-groups 4 --skew 0.3 --seed 1
  say 'Its dispatch layout on 64 ranks in 8 nodes'
  node dist/cli.js build/demo.npy --num-experts 256 --num-ranks 64
}

run_lint() {
  build
  command -v clang-format >/dev/null || apt_install clang-format
  node_modules/.bin/biome check .
  node_modules/.bin/depcruise --config .dependency-cruiser.mjs ts web
  node_modules/.bin/tsc -p test/tsconfig.json
  git ls-files -z '*.h' '*.cpp' '*.cc' '*.cu' '*.cuh' | xargs -0 clang-format --dry-run -Werror
}

# Prints what keeps the ranks of examples/mpi-moe from running here, or nothing. MPI_EXECUTABLE_SUFFIX=.mpich in the
# environment chooses that MPI where several are installed
mpi_obstacle() {
  local command
  for command in "${CXX:-c++}" cmake "mpicxx${MPI_EXECUTABLE_SUFFIX:-}" "mpirun${MPI_EXECUTABLE_SUFFIX:-}"; do
    command -v "$command" >/dev/null && continue
    echo "there is no $command here. Debian, Ubuntu: sudo apt-get install cmake g++ libopenmpi-dev openmpi-bin"
    return
  done
}

# Builds the addon of examples/mpi-moe
build_mpi_addon() {
  local example=examples/mpi-moe suffix=${MPI_EXECUTABLE_SUFFIX:-} stamp=examples/mpi-moe/build/suffix
  newer $stamp $example/mpi.cpp $example/CMakeLists.txt && [ "$(cat $stamp)" = "$suffix" ] && return
  say "Building the addon of $example"
  node_modules/.bin/cmake-js rebuild --directory $example --log-level error >&2
  echo "$suffix" >$stamp
}

# Installs the packages of the examples, and links the built library beside them
install_examples() {
  build
  local example
  for example in examples/onnx-router examples/moe-layer; do
    install_in $example
    ln -sfn ../../.. $example/node_modules/dispatch-layout
  done
  # The layer over ranks uses the layer of the other example, with its packages
  mkdir -p examples/mpi-moe/node_modules
  ln -sfn ../../.. examples/mpi-moe/node_modules/dispatch-layout
  ln -sfn ../../moe-layer/node_modules/onnxruntime-node examples/mpi-moe/node_modules/onnxruntime-node
}

run_examples() {
  install_examples
  say 'A router in ONNX Runtime, and the dispatch layout of the experts that it selects'
  node examples/onnx-router/make-model.mjs
  node examples/onnx-router/node.mjs
  say 'An MoE layer in ONNX Runtime, compared with the dense computation'
  node examples/moe-layer/run.mjs
  local obstacle
  obstacle=$(mpi_obstacle)
  if [ -n "$obstacle" ]; then
    say "Skipping the MoE layer over the ranks of an MPI job: $obstacle"
    return
  fi
  build_mpi_addon
  say 'The layer over the four ranks of an MPI job'
  # Open MPI wants to be told that it may run as root, and on fewer cores than ranks
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 \
    "mpirun${MPI_EXECUTABLE_SUFFIX:-}" -n 4 node examples/mpi-moe/run.mjs
}

# make_docs [--check]: writes the pages of docs/ that are made from doc comments. With --check, only checks that they
# are up to date
make_docs() {
  build
  install_in docs/api
  docs/api/node_modules/.bin/typedoc --options docs/api/typedoc.json
  node --import=tsx docs/api/write.ts "$@"
}

# run_release [--rehearse]: makes the tarball to publish
run_release() {
  build
  node .github/release.mjs "$@"
}

command=${1:-build}
shift || true
case "$command" in
  build) build ;;
  test) run_tests "$@" ;;
  coverage) run_coverage "$@" ;;
  slow-tests) run_slow_tests "$@" ;;
  runtimes) run_runtimes "$@" ;;
  projects) run_projects "$@" ;;
  demo) run_demo ;;
  bench) run_bench "$@" ;;
  fuzz) run_fuzz "$@" ;;
  lint) run_lint ;;
  docs) make_docs "$@" ;;
  examples) run_examples ;;
  release) run_release "$@" ;;
  clean) rm -rf dist build coverage ts/generated examples/mpi-moe/build ;;
  *) fail "unknown command '$command'; one of: build (default), test, coverage, slow-tests, runtimes, projects, demo, bench, fuzz, lint, docs, examples, release, clean" ;;
esac
