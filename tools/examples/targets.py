#!/usr/bin/env python3
"""Makes a plan for every program that bitbudget knows and writes its configuration.

    targets.py MODEL BUDGET FOLDER
"""

import pathlib
import sys

import bitbudget


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    model = bitbudget.load(sys.argv[1])
    budget, folder = sys.argv[2], pathlib.Path(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    for name in bitbudget.targets():
        try:
            # Few probes: more give better plans.
            plan = bitbudget.plan(model, budget=budget, target=name, probes=8, held_out_probes=16)
        except bitbudget.InfeasibleError as error:
            print(f'{name}: {error}')
            continue
        suffix = '.txt' if name in ('llama.cpp', 'ik_llama') else '.json'
        (folder / name).mkdir(exist_ok=True)
        files, instructions = plan.export(folder / name / f'plan{suffix}')
        error = plan.summary()['held_out']['kl_mean']
        print(f'{name}: {plan.bits_per_weight:.2f} bits per weight, KL {error:.4f}, {files[0]}')


if __name__ == '__main__':
    main()
