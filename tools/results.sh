#!/usr/bin/env bash
# Measures the tables of README.md and docs/*.md and writes them between their markers,
# <!-- results:NAME --> and <!-- /results:NAME -->.
#
#   tools/results.sh --list            names, pages and expected minutes on two cores
#   tools/results.sh                   every table, in a few hours
#   tools/results.sh --quick           every table that no full run has filled, in minutes, from few probes
#   tools/results.sh [--quick] NAME... these tables
#   tools/results.sh --texts FOLDER    with calibration.txt and development.txt of that folder; without
#                                      them everything is measured on text that the models write
#   tools/results.sh --help            the other options
#
# What was measured is kept in build/results, so an interrupted run resumes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case " $* " in
  *' --list '* | *' --help '* | *' -h '* | *' --bitbudget '*) ;;
  *)
    tools/setup.sh >&2
    cmake --preset release >/dev/null
    cmake --build --preset release --target bitbudget bitbudget-bench format_tool >/dev/null
    ;;
esac
# Debian's own interpreter has numpy.
exec /usr/bin/python3 -B tools/results/main.py "$@"
