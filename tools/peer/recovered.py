#!/usr/bin/env python3
"""Recovered plans for llama.cpp beside the plans that they come from, all run by llama.cpp.

For every budget bitbudget makes a plan (--target llama.cpp, --encoder gptq, searched and calibrated on --calibration), recovers it with
--method on the same text, and writes both GGUF files, which have the same types and the same size. llama.cpp then runs them, and a file
of the unmodified weights in f16, on windows of --text. Printed: mean KL(reference || file) over all positions from the 17th on, with 95 %
bootstrap intervals over windows, the paired difference, and the ratio.

    BITBUDGET_LLAMA_CPP=build/peer tools/peer/recovered.py --model DIR --calibration FILE --text FILE [--budgets 3.2MB 4.0MB]
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys

import numpy as np

import mixes

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tests/peer'))
import llama_cpp  # noqa: E402

FIRST = 16  # tokens of a window that are prompt


def run(path, windows):
    """Log-probabilities of what follows every token from the FIRST-th on, a list of [positions, vocabulary]."""
    model = llama_cpp.LlamaCpp().load(path)
    out = [mixes.log_softmax(logits[FIRST - 1:-1]).astype(np.float32) for logits in model.logits(windows)]
    model.close()
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--binary', default=str(ROOT / 'build/release/bitbudget'))
    parser.add_argument('--model', required=True)
    parser.add_argument('--calibration', required=True)
    parser.add_argument('--text', required=True)
    parser.add_argument('--budgets', nargs='+', default=['3.2MB', '4.0MB'])
    parser.add_argument('--search', default='additive')
    parser.add_argument('--method', default='blockwise')
    parser.add_argument('--sequences', type=int, default=128)
    parser.add_argument('--windows', type=int, default=128)
    parser.add_argument('--window-tokens', type=int, default=200)
    parser.add_argument('--threads', type=int, default=os.cpu_count())
    parser.add_argument('--out', type=pathlib.Path, required=True, help='folder for plans and files; kept ones are not made again')
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    def bitbudget(command, *more):
        command = [args.binary, command, args.model, *map(str, more), '--threads', str(args.threads)]
        done = subprocess.run(command, capture_output=True, encoding='utf-8')
        if done.returncode != 0:
            sys.exit(f'{" ".join(command)}: {done.stderr.strip()}')
        return done.stdout

    def made(name, command, *more):
        path = args.out / name
        if not path.exists():
            bitbudget(command, *more, '--out', path)
        return path

    # Prompts of probes are windows of the text.
    probes = json.loads(bitbudget('eval', '--pin', 'embed=f16', '--text', args.text, '--probes', args.windows, '--prefix',
                                  args.window_tokens, '--completion', 1, '--json'))['per_probe']
    windows = [probe['prompt_tokens'] for probe in probes]
    stored = made('stored.pb', 'plan', '--search', 'uniform', '--formats', 'f16', '--budget', '100%', '--probes', 2,
                  '--held-out-probes', 2, '--no-run-dir')
    reference = run(made('stored.gguf', 'apply', '--plan', stored), windows)
    print('| budget | size, bytes | KL of the plan | KL, recovered | difference | ratio |')
    print('|---|---|---|---|---|---|')
    for budget in args.budgets:
        plan = made(f'{budget}.pb', 'plan', '--target', 'llama.cpp', '--budget', budget, '--encoder', 'gptq', '--search', args.search,
                    '--text', args.calibration, '--no-run-dir')
        better = made(f'{budget}-recovered.pb', 'recover', '--plan', plan, '--method', args.method, '--text', args.calibration,
                      '--calibration', args.calibration, '--sequences', args.sequences)
        rows = []
        sizes = []
        for name, which in ((f'{budget}.gguf', plan), (f'{budget}-recovered.gguf', better)):
            calibration = ['--calibration', args.calibration] if which is plan else []
            file = made(name, 'apply', '--plan', which, *calibration)
            sizes.append(os.path.getsize(file))
            rows.append(mixes.compare(reference, run(file, windows)))
        assert sizes[0] == sizes[1] or abs(sizes[0] - sizes[1]) < 4096, sizes  # metadata alone may differ
        before, after = (mixes.with_interval(r, 1) for r in rows)
        low, high = mixes.difference(rows[1], rows[0])
        print(f'| {budget} | {sizes[1]:,} | {before[0]:.5f} [{before[1]:.5f}, {before[2]:.5f}] | '
              f'{after[0]:.5f} [{after[1]:.5f}, {after[2]:.5f}] | [{low:+.5f}, {high:+.5f}] | {after[0] / before[0]:.3f} |', flush=True)


if __name__ == '__main__':
    main()
