#!/usr/bin/env bash
# Installs the Debian 12 packages that building and testing bitbudget needs. Does nothing when they
# are all there. Installing needs root or sudo.
#   tools/setup.sh              to build with g++ and to test
#   tools/setup.sh --sanitize   also what the sanitizers' builds need, which are made with clang
set -euo pipefail

packages=(
  g++ cmake ninja-build pkg-config dpkg-dev file
  libabsl-dev libgoogle-glog-dev libprotobuf-dev protobuf-compiler
  libsentencepiece-dev nlohmann-json3-dev libcli11-dev libtomlplusplus-dev libeigen3-dev libceres-dev libssl-dev
  libpcre2-dev libutf8proc-dev
  libsqlite3-dev libopenmpi-dev openmpi-bin libopenblas-dev
  libgtest-dev libgmock-dev
  node-d3
  clang-format-14 python3 python3-numpy python3-dev pybind11-dev
)

if [[ ${1:-} == --sanitize ]]; then packages+=(clang libomp-dev); fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "setup: no dpkg and apt-get here; install what these Debian packages hold by other means:" >&2
  echo "  ${packages[*]}" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "setup: all ${#packages[@]} packages are installed"
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "setup: neither root nor sudo; ask an administrator to install: ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
  [[ -t 0 ]] || as_root=(sudo --non-interactive)  # without a terminal nobody can type a password
fi

echo "setup: installing ${missing[*]}"
if ! { "${as_root[@]}" apt-get update --quiet &&
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --quiet --yes --no-install-recommends "${missing[@]}"; }; then
  echo "setup: could not install: ${missing[*]}" >&2
  exit 1
fi
