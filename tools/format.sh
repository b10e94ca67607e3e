#!/usr/bin/env bash
# Formats every C++ file with clang-format 14 (other versions disagree about details).
#   tools/format.sh           rewrites files
#   tools/format.sh --check   changes nothing, fails and names what is not formatted
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case "${1:-}" in
  '') mode=(-i) ;;
  --check) mode=(--dry-run --Werror) ;;
  *)
    echo "usage: tools/format.sh [--check]" >&2
    exit 2
    ;;
esac

if ! command -v clang-format-14 >/dev/null; then
  echo "format: clang-format-14 is missing; run tools/setup.sh" >&2
  exit 1
fi

find runtime scoring search plans planner tools tests -name '*.h' -print0 -o -name '*.cc' -print0 |
  xargs -0 -n 20 -P "$(nproc)" clang-format-14 "${mode[@]}"
