#!/usr/bin/env bash
# Fails where one name stands for two different types in the program (a violation of the one
# definition rule): links bitbudget with link-time optimisation, which compares all definitions.
# Takes about as long as a build without optimisation.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
flags=(-O0 -flto=auto -fno-fat-lto-objects)
link=(-flto=auto -r -flinker-output=rel -Wodr -Werror=odr)

# First that this compiler sees a violation at all.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'struct S { int a; virtual ~S() {} }; int F(S& s) { return s.a; }\n' >"$work/a.cc"
printf 'struct S { long b; virtual ~S() {} }; int G(S& s) { return s.b; }\n' >"$work/b.cc"
for file in a b; do g++ "${flags[@]}" -c "$work/$file.cc" -o "$work/$file.o"; done
if g++ "${link[@]}" "$work/a.o" "$work/b.o" -o "$work/ab.o" 2>"$work/log"; then
  echo "odr_check: g++ does not report a violation that is there" >&2
  exit 1
fi
grep -q 'Werror=odr' "$work/log" || { cat "$work/log" >&2; exit 1; }

launcher=()
if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
cmake -B build/odr -G Ninja -DCMAKE_BUILD_TYPE=None -DBITBUDGET_TESTS=OFF -DCMAKE_CXX_COMPILER=g++ \
  -DCMAKE_AR="$(command -v gcc-ar)" -DCMAKE_RANLIB="$(command -v gcc-ranlib)" \
  -DCMAKE_CXX_FLAGS="${flags[*]}" "${launcher[@]}" >/dev/null
cmake --build build/odr --target bitbudget_tools
mapfile -t libraries < <(find build/odr -name '*.a')
g++ "${link[@]}" -Wl,--whole-archive "${libraries[@]}" -o "$work/all.o"
echo "odr_check: ok"
