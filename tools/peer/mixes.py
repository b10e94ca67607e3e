#!/usr/bin/env python3
"""Plans for llama.cpp beside llama.cpp's own mixes, everything run by llama.cpp.

For every budget (bits per weight, or the name of a mix: the size of its file) bitbudget makes a plan (--target llama.cpp,
--encoder, calibrated and searched on --calibration) and its GGUF file. llama.cpp's quantizer makes --mixes of the same model,
without and with an importance matrix (moments of the same text), those that need one only with. llama.cpp then runs all files on
the held-out probes of --text, each a prompt and the reference's greedy completion. Printed: size, mean KL(reference || file) over
the completions' positions and share of equal top tokens, with 95 % bootstrap intervals over probes; for plans also what bitbudget
measures on the same probes, with its default activations and with 8-bit ones, as llama.cpp has. The reference has f16 weights.

    BITBUDGET_LLAMA_CPP=build/peer tools/peer/mixes.py --model DIR --calibration FILE --text FILE [--budgets 3.5 q4_k_m]
"""
import argparse
import base64
import json
import os
import pathlib
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tests/peer'))
import llama_cpp  # noqa: E402

MIXES = ['q3_k_m', 'q4_k_m', 'q5_k_m']
SHARES = {'q': ['attn_q', 'attn_k', 'attn_v'], 'o': ['attn_output'], 'gate': ['ffn_gate', 'ffn_up'], 'down': ['ffn_down']}
RESAMPLES = 2000


def bitbudget(*args):
    done = subprocess.run([ARGS.binary, *map(str, args)], capture_output=True, encoding='utf-8')
    if done.returncode != 0:
        sys.exit(f'{" ".join(map(str, args))}: {done.stderr.strip()}')
    return done.stdout


def moments_of(plan):
    """{GGUF tensor: moments} of a plan whose encoder weighs columns."""
    shown = json.loads(bitbudget('show', plan, '--json'))
    kinds = {c['name']: (c['kind'], c['layer']) for c in shown['components']}
    tensors = {}
    for entry in shown['input_moments']:
        values = np.frombuffer(base64.b64decode(entry['squares']), '<f4')
        kind, layer = kinds[entry['component']]
        names = ['token_embd'] if kind == 'embed' else ['output'] if kind == 'head' else [
            f'blk.{layer}.{name}' for name in SHARES[kind]]
        tensors.update({f'{name}.weight': values for name in names})
    return tensors


def log_softmax(logits):
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def run_file(path, probes):
    """Log-probabilities at the completions' positions, a list of [positions, vocabulary]."""
    model = PEER.load(path)
    sequences = [p['prompt_tokens'] + p['completion'][:-1] for p in probes]
    out = []
    for probe, logits in zip(probes, model.logits(sequences)):
        out.append(log_softmax(logits[len(probe['prompt_tokens']) - 1:]).astype(np.float32))
    model.close()
    return out


def compare(reference, candidate):
    """Per probe: positions, sum of KL, number of equal top tokens."""
    rows = []
    for p, q in zip(reference, candidate):
        kl = (np.exp(p.astype(np.float64)) * (p.astype(np.float64) - q)).sum(axis=1)
        rows.append((len(p), kl.sum(), (p.argmax(1) == q.argmax(1)).sum()))
    return np.array(rows, np.float64)


def with_interval(rows, column):
    """Mean per position and its interval over probes."""
    random = np.random.default_rng(1)
    picks = random.integers(0, len(rows), (RESAMPLES, len(rows)))
    means = rows[picks, column].sum(1) / rows[picks, 0].sum(1)
    return rows[:, column].sum() / rows[:, 0].sum(), *np.percentile(means, [2.5, 97.5])


def difference(a, b):
    """Of mean KL, paired over probes."""
    random = np.random.default_rng(2)
    picks = random.integers(0, len(a), (RESAMPLES, len(a)))
    means = (a[picks, 1].sum(1) - b[picks, 1].sum(1)) / a[picks, 0].sum(1)
    return np.percentile(means, [2.5, 97.5])


def row(name, size, bits, rows, promises=()):
    kl, top = with_interval(rows, 1), with_interval(rows, 2)
    cells = [f'{p["kl_mean"]:.5f}, {100 * p["top1_agreement"]:.2f} %' for p in promises] or ['', '']
    print(f'| {name} | {size:,} | {bits:.3f} | {kl[0]:.5f} [{kl[1]:.5f}, {kl[2]:.5f}] | {100 * top[0]:.2f} % '
          f'[{100 * top[1]:.2f}, {100 * top[2]:.2f}] | {cells[0]} | {cells[1]} |', flush=True)


def main():
    out = pathlib.Path(ARGS.out)
    out.mkdir(parents=True, exist_ok=True)
    probes_flags = ['--prefix', ARGS.prefix, '--completion', ARGS.completion]

    def plan_for(name, *budget):
        plan = out / f'plan-{name}.pb'
        bitbudget('plan', ARGS.model, '--target', 'llama.cpp', '--budget', *budget, '--encoder', ARGS.encoder, '--text',
                  ARGS.calibration, '--probes', ARGS.probes, '--run-dir', out / 'run', '--out', plan, *probes_flags)
        bitbudget('apply', ARGS.model, '--plan', plan, '--calibration', ARGS.calibration, '--out',
                  plan.with_suffix('.gguf'))
        return plan

    # The unmodified weights, as llama.cpp's reference and as what its quantizer reads.
    stored = out / 'stored.pb'
    bitbudget('plan', ARGS.model, '--search', 'uniform', '--formats', 'f16', '--budget', '100%', '--probes', 2,
              '--held-out-probes', 2, '--no-run-dir', '--out', stored)
    source = stored.with_suffix('.gguf')
    bitbudget('apply', ARGS.model, '--plan', stored, '--out', source)
    info = json.loads(bitbudget('show', stored, '--json'))['model']
    overhead = os.path.getsize(source) - int(info['stored_bytes'])

    plans = {budget: plan_for(budget, f'{budget}bpw') for budget in ARGS.budgets if budget not in ARGS.mixes}
    weighed = out / 'weighed.pb'
    bitbudget('plan', ARGS.model, '--search', 'uniform', '--formats', 'q8_0', '--budget', '9bpw', '--encoder', 'imatrix',
              '--text', ARGS.calibration, '--probes', 2, '--held-out-probes', 2, '--no-run-dir', '--out', weighed,
              *probes_flags)
    moments = moments_of(weighed)
    mixes = {}
    for mix in ARGS.mixes:
        for name, matrix in ((mix, None), (f'{mix}, imatrix', moments)):
            if matrix is None and mix in llama_cpp.NEED_IMATRIX:
                continue
            mixes[name] = out / f'{name.replace(", ", "-")}.gguf'
            PEER.quantize(source, mixes[name], mix, imatrix=matrix)
    for budget in ARGS.budgets:
        if budget in ARGS.mixes:
            mix = mixes[f'{budget}, imatrix']
            plans[budget] = plan_for(budget, f'{os.path.getsize(mix)}B', '--budget-for', 'file')

    def promise(plan, *more):
        return json.loads(bitbudget('eval', ARGS.model, '--plan', plan, '--calibration', ARGS.calibration, '--text', ARGS.text,
                                    '--probes', ARGS.held_out, '--json', *probes_flags, *more))

    promises = {budget: (promise(plan), promise(plan, '--activations', 'int8')) for budget, plan in plans.items()}
    probes = next(iter(promises.values()))[0]['per_probe']
    reference = run_file(source, probes)
    print(f'{len(probes)} held-out probes, {sum(len(p["completion"]) for p in probes)} positions, run by llama.cpp '
          f'(node-llama-cpp {llama_cpp.VERSION}); bits per weight are without metadata\n')
    print('| file | bytes | bits per weight | KL in llama.cpp | top-1 in llama.cpp | bitbudget | bitbudget, 8-bit activations |')
    print('|---|---|---|---|---|---|---|')

    def measure(name, path, *promised):
        rows = compare(reference, run_file(path, probes))
        size = os.path.getsize(path)
        row(name, size, 8 * (size - overhead) / int(info['parameter_count']), rows, promised)
        return size, rows

    measured = {budget: measure(f'plan {budget}', plan.with_suffix('.gguf'), *promises[budget])
                for budget, plan in plans.items()}
    measured_mixes = {name: measure(name, path) for name, path in mixes.items()}
    print('\nPlans against mixes, paired difference of KL (95 %):\n')
    for budget, (size, rows) in measured.items():
        for name, (other_size, other) in measured_mixes.items():
            low, high = difference(rows, other)
            verdict = 'better' if high < 0 else 'worse' if low > 0 else 'no significant difference'
            print(f'plan {budget} ({size:,}) - {name} ({other_size:,}, {other_size / size:.3f} of it): KL '
                  f'[{low:+.5f}, {high:+.5f}]: {verdict}')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', required=True)
    parser.add_argument('--calibration', required=True, help='text for calibration, search and validation')
    parser.add_argument('--text', required=True, help='other text, for what is reported')
    parser.add_argument('--mixes', nargs='+', default=MIXES, help="llama.cpp's, in lower case")
    parser.add_argument('--budgets', nargs='+', default=['3.5', '4.5', '5.5', *MIXES])
    parser.add_argument('--encoder', default='imatrix')
    parser.add_argument('--probes', type=int, default=32, help='of the search')
    parser.add_argument('--held-out', type=int, default=128, help='probes that are reported on')
    parser.add_argument('--prefix', type=int, default=100)
    parser.add_argument('--completion', type=int, default=100)
    parser.add_argument('--out', default='mixes')
    parser.add_argument('--binary', default=str(ROOT / 'build/release/bitbudget'))
    ARGS = parser.parse_args()
    if llama_cpp.folder() is None:
        sys.exit('BITBUDGET_LLAMA_CPP does not name the node-llama-cpp packages; tests/peer/setup.sh installs them')
    PEER = llama_cpp.LlamaCpp()
    main()
