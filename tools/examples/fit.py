#!/usr/bin/env python3
"""Fits a model into a budget, writes it for llama.cpp, and says what it cost.

    fit.py MODEL BUDGET OUT.gguf [TEXT]
"""

import sys

import bitbudget


def show(report):
    if report['share'] is not None:
        print(f"\r{report['share']:4.0%} {report['phase']:40.40}", end='', file=sys.stderr)


def main():
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    path, budget, out = sys.argv[1:4]
    text = sys.argv[4] if len(sys.argv) == 5 else None  # None: as if the option were not given
    try:
        model = bitbudget.load(path)
        plan = bitbudget.plan(model, budget=budget, target='llama.cpp', text=text, probes=16,
                              held_out_probes=32, progress=show)
        size = bitbudget.apply(model, plan, out)
    except bitbudget.Error as error:
        sys.exit(f'\n{error}')
    print(file=sys.stderr)
    print(plan.verdict)
    print(f'{out}: {size} bytes, {plan.bits_per_weight:.2f} bits per weight')


if __name__ == '__main__':
    main()
