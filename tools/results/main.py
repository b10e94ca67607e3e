#!/usr/bin/env python3
"""Measures tables and writes them between their markers; tools/results.sh builds first and calls this."""
import argparse
import datetime
import pathlib
import subprocess
import sys
import time

import markers
from lab import ROOT, Bench, Missing
from tables import TABLES


def build_label():
    """The commit that is measured."""
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty=+"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, check=False)
    return done.stdout.strip() or "unknown"


def options():
    parser = argparse.ArgumentParser(prog="tools/results.sh", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="tables to measure (default: all)")
    parser.add_argument("--list", action="store_true", help="print name, page and expected minutes of every table")
    parser.add_argument("--quick", action="store_true", help="few probes; a table that a full run has filled stays")
    parser.add_argument("--texts", type=pathlib.Path, help="folder with calibration.txt, to plan with, and "
                        "development.txt, to measure on; default: the models' own samples for both")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/results",
                        help="folder that keeps what was measured")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--bitbudget", type=pathlib.Path, default=ROOT / "build/release/bitbudget",
                        help="measure with this binary and build nothing")
    parser.add_argument("--build", default=build_label(), help="name of the build above the tables")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in TABLES]
    if unknown:
        parser.error(f"unknown table {unknown[0]}; known are {', '.join(TABLES)}")
    args.texts = args.texts.resolve() if args.texts else None
    args.bitbudget = args.bitbudget.resolve()
    # Builds and kinds of runs share nothing.
    args.work = args.work.resolve() / f"{args.build}-{'quick' if args.quick else 'full'}"
    return args


def chosen(args):
    """The tables to measure: a quick run leaves what a full run has filled."""
    names = args.names or list(TABLES)
    return [name for name in names
            if not (args.quick and markers.is_full(markers.read(ROOT / TABLES[name].page, name)))]


def headline(args, entry):
    kind = f"*Quick run of build {args.build}: {entry.few}; see the trend, not the digits.*" if args.quick else \
        f"*Full run of build {args.build}, {datetime.date.today():%Y-%m-%d}.*"
    return kind


def main():
    args = options()
    if args.list:
        for name, entry in TABLES.items():
            print(f"{name:22} {entry.page:22} {entry.minutes:4g} min, quick {entry.quick_minutes:g} min")
        return 0
    bench = Bench(args)
    names = chosen(args)
    left = {name: TABLES[name].quick_minutes if args.quick else TABLES[name].minutes for name in names}
    start = time.monotonic()
    missing = []
    for index, name in enumerate(names):
        entry = TABLES[name]
        done = 20 * index // len(names)
        print(f"[{'#' * done}{'.' * (20 - done)}] {index + 1} of {len(names)}: {name}, about "
              f"{sum(left.values()):.0f} min left", file=sys.stderr, flush=True)
        try:
            text = entry.make(bench)
            markers.write(ROOT / entry.page, name, f"{headline(args, entry)}\n\n{text}")
        except Missing as error:
            missing.append(f"{name}: {error}")
        del left[name]
    print(f"{len(names) - len(missing)} tables in {(time.monotonic() - start) / 60:.1f} min", file=sys.stderr)
    for line in missing:
        print(f"not measured: {line}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
