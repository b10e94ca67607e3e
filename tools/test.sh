#!/usr/bin/env bash
# Everything that must hold before a change is merged: formatting, the order between folders, a build
# without warnings, and the whole test suite. Needs root or sudo only where packages are missing.
#   tools/test.sh              with the release preset
#   tools/test.sh --sanitize   and again built by clang with AddressSanitizer and
#                              UndefinedBehaviorSanitizer
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

presets=(release)
for option in "$@"; do
  case "$option" in
    --sanitize) presets+=(asan-ubsan) ;;
    *)
      echo "usage: tools/test.sh [--sanitize]" >&2
      exit 2
      ;;
  esac
done

jobs=$(nproc)
launcher=()
if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
# Threads that wait sleep instead of spinning: several tests share the cores.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

step() { printf '\n== %s\n' "$*"; }

step "packages"
tools/setup.sh "$@"
step "llama.cpp, to compare with"
BITBUDGET_LLAMA_CPP=${BITBUDGET_LLAMA_CPP:-$(tests/peer/setup.sh)}
export BITBUDGET_LLAMA_CPP
echo "${BITBUDGET_LLAMA_CPP:-none: its tests are skipped}"
step "a browser, to open pages with"
BITBUDGET_CHROMEDRIVER=${BITBUDGET_CHROMEDRIVER:-$(tests/tools/browser.sh)}
export BITBUDGET_CHROMEDRIVER
echo "${BITBUDGET_CHROMEDRIVER:-none: its test is skipped}"
step "formatting"
tools/format.sh --check
step "folders"
python3 -B tests/tools/layering_test.py
python3 -B tests/tools/picture_test.py

for preset in "${presets[@]}"; do
  step "$preset: build"
  # Debian's own interpreter has the packages that the tests use.
  cmake --preset "$preset" -DBITBUDGET_WERROR=ON -DPython3_EXECUTABLE=/usr/bin/python3 \
    "${launcher[@]}"
  cmake --build --preset "$preset" --parallel "$jobs"
  step "$preset: tests"
  ctest --preset "$preset" --parallel "$jobs" --no-tests=error | tee "build/$preset/ctest.log"
done

step "summary"
for preset in "${presets[@]}"; do
  echo "$preset: $(grep -E 'tests passed' "build/$preset/ctest.log")"
  grep -E '\(Skipped\)' "build/$preset/ctest.log" | sed "s/^/$preset: /" || true
done
if [[ -z $BITBUDGET_LLAMA_CPP ]]; then
  echo "*** NOT compared with llama.cpp: see the top of this output"
fi
if [[ -z $BITBUDGET_CHROMEDRIVER ]]; then
  echo "*** NOT opened in a browser, the page of explore: see the top of this output"
fi
