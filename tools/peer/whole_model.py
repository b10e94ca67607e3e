#!/usr/bin/env python3
"""The whole model in one block type: codes of our encoders beside those of llama.cpp's quantizer, both run by llama.cpp.

Every type is written with --encoder clip and imatrix, and by llama.cpp's quantizer without and with an importance matrix (the
moments that our imatrix encoder used). Printed: mean KL(reference || file) over held-out completions, the ratio of ours to
theirs, and the verdict of the paired difference (95 %).

    BITBUDGET_LLAMA_CPP=build/peer tools/peer/whole_model.py --model DIR --calibration FILE --text FILE
"""
import argparse
import json
import pathlib
import sys

import mixes
from mixes import bitbudget, compare, difference, llama_cpp, moments_of, run_file

TYPES = ['q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'iq4_xs', 'iq4_nl', 'q4_0', 'q4_1', 'q5_0', 'q5_1', 'q8_0', 'mxfp4']


def main(args):
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    few = ['--search', 'uniform', '--budget', '200%', '--probes', 2, '--held-out-probes', 2, '--no-run-dir', '--text',
           args.calibration]

    def write(kind, encoder):
        plan = out / f'{kind}-{encoder}.pb'
        bitbudget('plan', args.model, '--formats', kind, '--encoder', encoder, '--out', plan, *few)
        bitbudget('apply', args.model, '--plan', plan, '--out', plan.with_suffix('.gguf'))
        return plan

    source = write('f16', 'clip').with_suffix('.gguf')
    probes = json.loads(bitbudget('eval', args.model, '--uniform', 'q8_0', '--text', args.text, '--probes', args.held_out, '--json',
                                  '--prefix', args.prefix, '--completion', args.completion))['per_probe']
    reference = run_file(source, probes)

    def measure(path):
        rows = compare(reference, run_file(path, probes))
        return rows, rows[:, 1].sum() / rows[:, 0].sum()

    def verdict(ours, theirs):
        low, high = difference(ours, theirs)
        return 'better' if high < 0 else 'worse' if low > 0 else 'equal within noise'

    print(f'{len(probes)} held-out probes, run by llama.cpp (node-llama-cpp {llama_cpp.VERSION})\n')
    print('| type | clip | llama.cpp | ratio | | imatrix | llama.cpp, imatrix | ratio | |')
    print('|---|---|---|---|---|---|---|---|---|')
    for kind in args.types:
        cells = []
        for encoder in ('clip', 'imatrix'):
            plan = write(kind, encoder)
            ours, ours_kl = measure(plan.with_suffix('.gguf'))
            path = out / f'{kind}-{encoder}-llama.gguf'
            mixes.PEER.quantize(source, path, 'q8_0' if kind != 'q8_0' else 'q6_k', tensor_types=[('.*', kind)],
                                imatrix=moments_of(plan) if encoder == 'imatrix' else None)
            # Metadata differ a little; a tensor in another type would differ a lot.
            if abs(path.stat().st_size - plan.with_suffix('.gguf').stat().st_size) > 16384:
                sys.exit(f'{path}: {path.stat().st_size} bytes, ours has {plan.with_suffix(".gguf").stat().st_size}')
            theirs, theirs_kl = measure(path)
            cells += [f'{ours_kl:.5f}', f'{theirs_kl:.5f}', f'{ours_kl / theirs_kl:.3f}', verdict(ours, theirs)]
        print(f'| {kind} | ' + ' | '.join(cells) + ' |', flush=True)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', required=True)
    parser.add_argument('--calibration', required=True)
    parser.add_argument('--text', required=True, help='other text, for what is reported')
    parser.add_argument('--types', nargs='+', default=TYPES)
    parser.add_argument('--held-out', type=int, default=64)
    parser.add_argument('--prefix', type=int, default=100)
    parser.add_argument('--completion', type=int, default=100)
    parser.add_argument('--out', default='types')
    parser.add_argument('--binary', default=str(mixes.ROOT / 'build/release/bitbudget'))
    mixes.ARGS = parser.parse_args()
    if llama_cpp.folder() is None:
        sys.exit('BITBUDGET_LLAMA_CPP does not name the node-llama-cpp packages; tests/peer/setup.sh installs them')
    mixes.PEER = llama_cpp.LlamaCpp()
    main(mixes.ARGS)
