#!/bin/sh
# Makes the CUDA addons of a release, in dist/prebuilds: release.sh [linux-x64] [linux-arm64]. Without arguments, it
# makes both on x86-64, and its own on arm64.
#
# The addons of a release are built with CUDA 12, because they then run with NVIDIA's driver 525 or later. Built with
# CUDA 13, they would need 580. If nvcc of CUDA 12 is installed here, it is used: CUDACXX names it, or else it is on the
# PATH or in /usr/local/cuda. Otherwise, and for the platform that this machine is not of, the compiler comes from
# Debian's packages nvidia-cuda-toolkit and nvidia-cuda-dev (CUDA 12.4, in the section non-free of Debian 13, under
# NVIDIA's licence, https://docs.nvidia.com/cuda/eula/). apt downloads them, 1 GB for one platform and 2 GB for both,
# and checks their signatures, for which it needs the keys of Debian 13 (package debian-archive-keyring). Nothing is
# installed: what a compiler needs is unpacked in build/cuda-12, 160 MB, where the next run finds it.
#
# On x86-64, the addon for arm64 needs a cross compiler (Debian's package g++-aarch64-linux-gnu). If QEMU is installed
# (qemu-user), that addon is loaded in an emulated Node.js, which comes from npm.
set -eu
cd "$(dirname "$0")/.."

fail() { printf 'cuda/release.sh: %s\n' "$*" >&2; exit 1; }
say() { printf '%s\n' "$*" >&2; }

case "$(uname -sm)" in
  'Linux x86_64') own=linux-x64 ;;
  'Linux aarch64') own=linux-arm64 ;;
  *) fail "the addon is for Linux on x86-64 and arm64, this is $(uname -sm)" ;;
esac
if [ $# = 0 ]; then
  set -- "$own"
  [ "$own" = linux-arm64 ] || set -- linux-x64 linux-arm64
fi
for platform; do
  case "$platform" in
    "$own" | linux-arm64) ;;
    linux-x64) fail 'there is no cross compiler for linux-x64 on arm64' ;;
    *) fail "unknown platform '$platform'; one of: linux-x64, linux-arm64" ;;
  esac
done

addon_of() { echo "$PWD/dist/prebuilds/$1/dispatch_layout_cuda.node"; }
debian_architecture() { if [ "$1" = linux-x64 ]; then echo amd64; else echo arm64; fi; }

# Prints the path of an installed nvcc of CUDA 12, or nothing
installed_nvcc() {
  found=$(PATH=$PATH:/usr/local/cuda/bin command -v "${CUDACXX:-nvcc}") || return 0
  if "$found" --version | grep -q 'release 12\.'; then echo "$found"; fi
}

toolkit=$PWD/build/cuda-12

# download PACKAGE: downloads a package of Debian 13 to $work/package.deb. apt works in a folder of its own, with the
# mirror that this machine uses, if it is a Debian machine
download() {
  command -v apt-get >/dev/null ||
    fail 'there is no nvcc of CUDA 12 here, nor apt-get to download one. Name one in CUDACXX'
  rm -rf "$work"
  mkdir -p "$work/lists/partial" "$work/archives/partial"
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' | head -n 1)
  cat >"$work/debian.sources" <<END
Types: deb
URIs: ${mirror:-http://deb.debian.org/debian/}
Suites: trixie
Components: non-free
Architectures: amd64 arm64
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
  : >"$work/status"
  cat >"$work/apt.conf" <<END
Dir::State "$work";
Dir::State::status "$work/status";
Dir::Cache "$work";
Dir::Etc::sourcelist "$work/debian.sources";
Dir::Etc::sourceparts "-";
APT::Architectures "amd64,arm64";
APT::Sandbox::User "root";
END
  say "Downloading $1 of Debian 13"
  (cd "$work" && export APT_CONFIG="$work/apt.conf" && apt-get -qq update && apt-get -qq download "$1")
  mv "$work"/*.deb "$work/package.deb"
}

# unpack FOLDER DEPTH FILE...: unpacks files of $work/package.deb, without the first folders of their paths
unpack() {
  mkdir -p "$1"
  folder=$1 depth=$2
  shift 2
  dpkg-deb --fsys-tarfile "$work/package.deb" | tar -x -C "$folder" --strip-components="$depth" --wildcards "$@"
}

# fetch_toolkit PLATFORM: makes the toolkit that compiles for the platform. Its folders are those of NVIDIA's own
# toolkits, in which nvcc finds the headers and the libraries of the platform that the C++ compiler is for
fetch_toolkit() (
  if [ "$1" = linux-x64 ]; then target=$toolkit/targets/x86_64-linux; else target=$toolkit/targets/sbsa-linux; fi
  work=$PWD/build/cuda-12-packages
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$toolkit/targets"
  if [ ! -e "$toolkit/bin" ]; then
    download "nvidia-cuda-toolkit:$(debian_architecture "$own")"
    unpack "$work/bin" 3 ./usr/bin/cudafe++ ./usr/bin/cuobjdump ./usr/bin/fatbinary ./usr/bin/nvlink ./usr/bin/ptxas
    unpack "$work/bin" 5 ./usr/lib/nvidia-cuda-toolkit/bin/cicc ./usr/lib/nvidia-cuda-toolkit/bin/crt \
      ./usr/lib/nvidia-cuda-toolkit/bin/nvcc
    unpack "$work/nvvm" 4 ./usr/lib/nvidia-cuda-toolkit/libdevice
    # The profile in the package has the paths of an installed package
    cat >"$work/bin/nvcc.profile" <<'END'
TOP = $(_HERE_)/..
NVVMIR_LIBRARY_DIR = $(TOP)/nvvm/libdevice
PATH += $(_HERE_):
INCLUDES += "-I$(TOP)/$(_TARGET_DIR_)/include" $(_SPACE_)
LIBRARIES =+ $(_SPACE_) "-L$(TOP)/$(_TARGET_DIR_)/lib"
END
    mv "$work/nvvm" "$work/bin" "$toolkit"
  fi
  if [ ! -e "$target" ]; then
    download "nvidia-cuda-dev:$(debian_architecture "$1")"
    unpack "$work/target/include" 3 './usr/include/*'
    unpack "$work/target/lib" 4 './usr/lib/*/libcudart_static.a' './usr/lib/*/libcudadevrt.a'
    mv "$work/target" "$target"
  fi
)

# make_addon PLATFORM
make_addon() (
  folder=build/cuda prefix=
  nvcc=$(installed_nvcc)
  if [ "$1" != "$own" ]; then
    folder=build/cuda-$1 prefix=aarch64-linux-gnu- nvcc=
    unset CUDAHOSTCXX
  fi
  if [ -z "$nvcc" ]; then
    fetch_toolkit "$1"
    nvcc=$toolkit/bin/nvcc
    # nvcc 12.4 refuses g++ 14, so an older one is preferred
    for compiler in "${prefix}g++-13" "${prefix}g++-12" "${prefix}g++"; do
      if [ -z "${CUDAHOSTCXX-}" ] && command -v "$compiler" >/dev/null; then CXX=$compiler CUDAHOSTCXX=$compiler; fi
    done
    [ -n "${CUDAHOSTCXX-}" ] ||
      fail "there is no ${prefix}g++ here (Debian: apt-get install g++${prefix:+-aarch64-linux-gnu})"
    export CXX CUDAHOSTCXX
  fi
  unset CUDA_ARCHITECTURES
  rm -rf "$folder"
  CUDACXX=$nvcc cuda/build.sh "$(addon_of "$1")" "$folder"
  # This keeps ./build.sh from building this machine's addon anew with another nvcc
  [ "$1" != "$own" ] || echo all >build/cuda/architectures
  describe "$1"
)

# describe PLATFORM: prints what an addon needs, and fails if that is more than the documentation promises
describe() {
  addon=$(addon_of "$1")
  built_with=$(grep -aoE 'CUDA [0-9.]+, architectures [0-9a-z -]+' "$addon")
  say "$1: $(wc -c <"$addon") bytes, $built_with, NVIDIA driver 525 or later"
  cuobjdump=$(dirname "$nvcc")/cuobjdump
  [ ! -x "$cuobjdump" ] || "$cuobjdump" --list-elf --list-ptx "$addon" | sed 's/^/  /' >&2
  # glibc 2.34 is that of distributions with GCC 11, whose C++ library has the version 3.4.29
  for limit in GLIBC_2.34 GLIBCXX_3.4.29; do
    needed=$(readelf -V "$addon" | grep -oE "\b${limit%%_*}_[0-9.]+" | sort -uV | tail -n 1)
    say "  needs $needed"
    [ "$(printf '%s\n' "$needed" "$limit" | sort -V | tail -n 1)" = "$limit" ] ||
      fail "$addon needs $needed, but must not need more than $limit; build it on an older system"
  done
  if [ "$1" = "$own" ]; then
    load node
  elif command -v qemu-aarch64 >/dev/null; then
    # Emulation is no test of the GPU, but it shows that Node.js on that platform can load the file
    emulated=build/node-$1
    if [ ! -e "$emulated" ]; then
      mkdir -p "$emulated.$$"
      (cd "$emulated.$$" && tar xzf "$(npm pack --silent "node-$1@20")" package/bin/node && rm ./*.tgz)
      mv "$emulated.$$" "$emulated"
    fi
    load qemu-aarch64 -L /usr/aarch64-linux-gnu "$emulated/package/bin/node"
  else
    say '  not loaded: there is no qemu-aarch64 here (Debian: apt-get install qemu-user)'
  fi
}

# load NODE...: loads the addon in Node.js, and asks it for the version of its CUDA runtime
load() {
  "$@" -e '
    const { runtimeVersion, error } = require(process.argv[1]).probe();
    const outcome = error === null ? "finds a GPU" : `reports ${error.cudaName}`;
    console.error(`  loads in Node.js ${process.version} for ${process.arch}, and ${outcome}`);
    if (Math.floor(runtimeVersion / 1000) !== 12) throw new Error(`its CUDA runtime has the version ${runtimeVersion}`);
  ' "$addon"
}

for platform; do make_addon "$platform"; done
