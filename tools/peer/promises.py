#!/usr/bin/env python3
"""What bitbudget promises for a plan beside what llama.cpp measures of the file, on the same windows of text.

For the size of every mix (a file that llama.cpp's quantizer makes) bitbudget makes a plan (--target llama.cpp, --encoder imatrix, --search
additive, calibrated and searched on --calibration) and its GGUF file. llama.cpp runs it, and a file of the unmodified weights, on windows of
--text; bitbudget's eval measures text KL of the plan on those windows, with activations rounded to int16, to int8, and as llama.cpp does.
Printed: mean KL(reference || file) over all positions from the 17th on with 95 % bootstrap intervals over windows, and for every promise
its ratio to what llama.cpp measures, with an interval over the same windows. With --attention also the last file and the unmodified
weights with other settings of llama.cpp's attention, beside the same promise.

    BITBUDGET_LLAMA_CPP=build/peer tools/peer/promises.py --model DIR --calibration FILE --text FILE --out FOLDER [--mixes q4_k_m]
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
ATTENTION = (('f16', False), ('f32', False), ('f16', True), ('q8_0', True))  # keys and values, flash attention
ROUNDINGS = ('int16', 'int8', 'llama.cpp')


class Promises:
    """Runs bitbudget and llama.cpp on plans of one model; keeps plans and files in `out`."""

    def __init__(self, peer, binary, model, out, threads=None):
        self.peer, self.binary, self.model, self.out = peer, str(binary), str(model), pathlib.Path(out)
        self.threads = ['--threads', str(threads)] if threads else []
        self.out.mkdir(parents=True, exist_ok=True)

    def bitbudget(self, command, *more):
        words = [self.binary, command, self.model, *map(str, more), *self.threads]
        done = subprocess.run(words, capture_output=True, encoding='utf-8')
        if done.returncode != 0:
            sys.exit(f'{" ".join(words)}: {done.stderr.strip()}')
        return done.stdout

    def made(self, name, command, *more):
        path = self.out / name
        if not path.exists():
            self.bitbudget(command, *more, '--out', path)
        return path

    def unmodified(self, kind):
        """A file of the weights as they are, in a float type."""
        plan = self.made(f'{kind}.pb', 'plan', '--search', 'uniform', '--formats', kind, '--budget', '200%', '--probes', 2,
                         '--held-out-probes', 2, '--no-run-dir')
        return self.made(f'{kind}.gguf', 'apply', '--plan', plan)

    def plan(self, size, calibration, *more):
        """A plan whose file has at most `size` bytes, and the file."""
        plan = self.made(f'{size}.pb', 'plan', '--target', 'llama.cpp', '--budget', f'{size}B', '--budget-for', 'file',
                         '--encoder', 'imatrix', '--search', 'additive', '--text', calibration, '--no-run-dir', *more)
        return plan, self.made(f'{size}.gguf', 'apply', '--plan', plan)

    def promised(self, plan, text, windows, tokens, activations):
        """The windows without their last tokens, and per window (positions, sum of KL)."""
        measured = json.loads(self.bitbudget('eval', '--plan', plan, '--text', text, '--probes', windows, '--prefix', tokens,
                                             '--completion', 1, '--activations', activations, '--json'))
        return ([probe['prompt_tokens'][:-1] for probe in measured['per_probe']],
                np.array([(probe['text']['tokens'], probe['text']['kl']) for probe in measured['per_probe']], np.float64))

    def run(self, path, windows, **options):
        """Log-probabilities in llama.cpp at the positions that text KL is measured at, a list of [positions, vocabulary]."""
        model = self.peer.load(path)
        out = [mixes.log_softmax(logits[FIRST - 1:]).astype(np.float32) for logits in model.logits(windows, **options)]
        model.close()
        return out


def ratio(promised, measured):
    """Of mean KL, with its interval over windows."""
    random = np.random.default_rng(3)
    picks = random.integers(0, len(measured), (mixes.RESAMPLES, len(measured)))
    each = promised[picks, 1].sum(1) / measured[picks, 1].sum(1)
    return promised[:, 1].sum() / measured[:, 1].sum(), *np.percentile(each, [2.5, 97.5])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--binary', default=str(ROOT / 'build/release/bitbudget'))
    parser.add_argument('--model', required=True)
    parser.add_argument('--calibration', required=True)
    parser.add_argument('--text', required=True)
    parser.add_argument('--mixes', nargs='+', default=mixes.MIXES)
    parser.add_argument('--probes', type=int, default=8, help='of the search')
    parser.add_argument('--windows', type=int, default=128)
    parser.add_argument('--window-tokens', type=int, default=200)
    parser.add_argument('--attention', action='store_true', help='run the last file with other settings of attention, too')
    parser.add_argument('--threads', type=int)
    parser.add_argument('--out', required=True, help='folder for plans and files; kept ones are not made again')
    args = parser.parse_args()
    if llama_cpp.folder() is None:
        sys.exit('BITBUDGET_LLAMA_CPP does not name the node-llama-cpp packages; tests/peer/setup.sh installs them')
    peer = llama_cpp.LlamaCpp()
    promises = Promises(peer, args.binary, args.model, args.out, args.threads)
    source = promises.unmodified('f16')
    print('| plan | size, bytes | KL in llama.cpp | ' + ' | '.join(f'promised, {name} | ratio' for name in ROUNDINGS) + ' |')
    print('|---|---|---|' + '---|---|' * len(ROUNDINGS))
    reference = None
    for mix in args.mixes:
        whole = promises.out / f'{mix}-mix.gguf'
        if not whole.exists():
            peer.quantize(source, whole, mix)
        plan, file = promises.plan(os.path.getsize(whole), args.calibration, '--probes', args.probes, '--held-out-probes', args.probes)
        said = {}
        for name in ROUNDINGS:
            windows, said[name] = promises.promised(plan, args.text, args.windows, args.window_tokens, name)
        reference = reference or promises.run(source, windows)
        measured = mixes.compare(reference, promises.run(file, windows))
        kl, low, high = mixes.with_interval(measured, 1)
        cells = []
        for name in ROUNDINGS:
            cells.append(f'{said[name][:, 1].sum() / said[name][:, 0].sum():.5f}')
            cells.append('{:.3f} [{:.3f}, {:.3f}]'.format(*ratio(said[name], measured)))
        print(f'| size of {mix} | {os.path.getsize(file):,} | {kl:.5f} [{low:.5f}, {high:.5f}] | ' + ' | '.join(cells) + ' |', flush=True)
    if not args.attention:
        return
    print(f'\n**Attention, size of {args.mixes[-1]}**\n')
    print('| keys and values, attention | KL in llama.cpp | promised, llama.cpp: ratio |')
    print('|---|---|---|')
    for kind, flash in ATTENTION:
        runs = [promises.run(path, windows, kv=kind, flash=flash) for path in (source, file)]
        measured = mixes.compare(*runs)
        kl, low, high = mixes.with_interval(measured, 1)
        print(f'| {kind}, {"flash" if flash else "plain"} | {kl:.5f} [{low:.5f}, {high:.5f}] | '
              '{:.3f} [{:.3f}, {:.3f}] |'.format(*ratio(said['llama.cpp'], measured)), flush=True)


if __name__ == '__main__':
    main()
