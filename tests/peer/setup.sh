#!/usr/bin/env bash
# Installs llama.cpp to compare with, as the node-llama-cpp packages from the npm registry, under
# build/peer, and prints that folder (for BITBUDGET_LLAMA_CPP). Without npm, or on another machine
# than x86-64, it prints nothing and says on standard error what will not be tested.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

version=3.22.1  # as in tests/peer/llama_cpp.py
folder=$PWD/build/peer
library=$folder/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/libggml-base.so

skip() {
  echo "*** llama.cpp is NOT compared with: $*" >&2
  exit 0
}

if [[ -e $library && -e $folder/version-$version ]]; then
  echo "$folder"
  exit 0
fi
[[ $(uname -m) == x86_64 ]] || skip "its packages are for x86-64"
command -v npm >/dev/null || skip "npm is not installed"
mkdir -p "$folder"
if ! (cd "$folder" && npm install --ignore-scripts --omit=optional --no-audit --no-fund \
  "node-llama-cpp@$version" "@node-llama-cpp/linux-x64@$version" >&2); then
  skip "npm could not install node-llama-cpp $version"
fi
[[ -e $library ]] || skip "the npm package does not hold $library"
touch "$folder/version-$version"
echo "$folder"
