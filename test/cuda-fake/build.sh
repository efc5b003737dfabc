#!/bin/sh
# Builds, with g++ alone, into build/cuda-fake/:
#   libfake_cuda.so             the fake CUDA runtime, with the kernel on the CPU
#   dispatch_layout_cuda.node   the addon, on the fake runtime
#   other_library.node          another library in the same process that uses the fake runtime
# With FAKE_CUDA_SANITIZE=address, all of them are built with AddressSanitizer, into build/cuda-fake-address/. Node.js
# then needs LD_PRELOAD with libasan.so and libstdc++.so. The other sanitizers of g++ can be named too, but
# ThreadSanitizer does not understand the fibers of the kernel.
set -eu
cd "$(dirname "$0")/../.."
sanitize=${FAKE_CUDA_SANITIZE:-}
out=build/cuda-fake${sanitize:+-$sanitize}
mkdir -p "$out"
# Everything is made in a folder of this process, since several processes may build at the same time
work=$out/build.$$
trap 'rm -rf "$work"' EXIT

flags="-O2 -g -fPIC -fvisibility=hidden -Wall -Wextra -pthread ${sanitize:+-fsanitize=$sanitize}"
fake="-std=c++17 $flags -Itest/cuda-fake/include"
addon="$fake -DNAPI_VERSION=8 -Inode_modules/node-addon-api -Inode_modules/node-api-headers/include"
kernel="-std=c++20 $flags -Wno-unknown-pragmas -Wno-missing-field-initializers -Itest/cuda-shim/include"
# Node.js unloads an addon with the last worker that used it, while threads of the streams may still run
link="-shared -pthread -Wl,-z,nodelete ${sanitize:+-fsanitize=$sanitize}"

# needs TARGET SOURCE...: succeeds if TARGET is missing or older than a file under the sources
needs() {
  target=$out/$1
  shift
  [ ! -e "$target" ] || [ -n "$(find "$@" -type f -newer "$target")" ]
}

jobs=""
compile() {  # compile <target> <flags> <source>...
  folder=$work/$1 options=$2
  shift 2
  mkdir -p "$folder"
  for source in "$@"; do
    "${CXX:-g++}" $options -c "$source" -o "$folder/$(basename "$source").o" &
    jobs="$jobs $!"
  done
}

library_sources="test/cuda-fake test/cuda-shim cuda/kernel"
runtime=libfake_cuda.so main=dispatch_layout_cuda.node other=other_library.node
targets=""
if needs $runtime $library_sources; then
  targets="$targets $runtime"
  compile $runtime "$kernel" test/cuda-fake/kernel_on_cpu.cpp
  for name in devices kernel memory settings streams; do
    compile $runtime "$fake" test/cuda-fake/$name.cpp
  done
fi
if needs $main cuda/addon cuda/kernel test/cuda-fake/include test/cuda-fake/build.sh; then
  targets="$targets $main"
  compile $main "$addon" cuda/addon/*.cpp
fi
if needs $other test/cuda-fake/other_library.cpp test/cuda-fake/include test/cuda-fake/build.sh; then
  targets="$targets $other"
  compile $other "$addon" test/cuda-fake/other_library.cpp
fi
for job in $jobs; do wait "$job"; done

# The runtime comes first, since the others are linked to it
for target in $targets; do
  case $target in
    $runtime) libraries="-Wl,-soname,$runtime" ;;
    *) libraries="-L$out -lfake_cuda -Wl,-rpath,\$ORIGIN" ;;
  esac
  "${CXX:-g++}" "$work/$target"/*.o $link $libraries -o "$work/$target.new"
  mv "$work/$target.new" "$out/$target"
done
