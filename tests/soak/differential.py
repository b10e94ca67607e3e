#!/usr/bin/env python3
"""No result depends on the CPU tier, the threads, the memory or what else is computed with it.

    differential.py BINARY SOURCE_DIR [--count N] [--seed S] [--only I]

Each of N trials draws from the seed a model of generated weights and an odd shape (numbers of inputs that
groups divide and that they do not, vocabularies as 257, grouped heads, tied and untied), and formats, an
encoder, activations and a search. `plan`, `eval` and `logits`, with the plan and without, run once with one
thread on the fastest tier and then on every tier that the machine has (docs/kernels.md), with 1, 2 and 3
threads, by option and by OMP_NUM_THREADS, and down to the least memory that is not refused. Plans, arrays
and all of `eval --json` but the memory must be the same, bit for bit: that is what docs/design.md promises
of tiers. A call that is refused must be refused everywhere with the same line. Logits of the first tokens must be
the first rows of those of all tokens. A plan that was made, `logits` and `eval` must run.
"""

import argparse
import collections
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

from jobs import TIMEOUT_S, read
from tiny import Shape, write_model

TIERS = ('avx512vnni', 'avx2', 'portable')
ACTIVATIONS = ('int16', 'int8', 'token8', 'token4', 'f32', 'llama.cpp')
SEARCHES = ('greedy', 'greedy', 'additive', 'layerwise', 'uniform', 'random', 'beam')
OBJECTIVES = ('fdt', 'sdt', 'dppl', 'kl', 'text-kl', 'loss')
FORMATS = ('int8', 'int8-g32', 'int8z-g64', 'int4-g32', 'int4z-g32', 'int4-g64', 'int4z-g128', 'int3-g32',
           'int3z-g64', 'int2-g32', 'int2z-g64', 'onebit', 'onebit-ln', 'f16', 'bf16', 'q4_0', 'q4_1', 'q5_0', 'q5_1',
           'q8_0', 'q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'iq4_nl', 'iq4_xs', 'tq1_0', 'q1_0', 'q2_0', 'mxfp4',
           'iq1_m', 'iq2_xxs', 'iq2_s', 'iq3_xxs', 'iq3_s', 'affine3-g64', 'affine4-g32',
           'int4-g32+2:4', 'int8+s50', 'bf16+s60', 'removed')
TOO_LITTLE = 'allow more memory'


# What an encoder costs on the portable tier decides how large the models can be.
LARGE, SMALL, LEAST = range(3)
ENCODERS = {'rtn': LARGE, 'clip': LARGE, 'imatrix': LARGE, 'gptq': SMALL, 'gptq-guided': SMALL, 'lwc': SMALL,
            'auto': SMALL, 'gptq+block': LEAST, 'lwc+block': LEAST, 'auto+block': LEAST}


def draw_shape(draw, size):
    heads, kv_heads = draw.choice(((1, 1), (2, 1), (3, 1), (2, 2), (6, 2), (3, 3), (6, 3)))
    shape = Shape(hidden=draw.choice((32, 40, 48, 64, 64, 72, 96, 100, 128, 130, 256)),
                  ffn=draw.choice((32, 48, 64, 96, 100, 127, 128, 160, 257, 288)), layers=draw.choice((1, 2)),
                  heads=heads, kv_heads=kv_heads, head_dim=draw.choice((6, 8, 16, 24, 32, 64)),
                  vocab=draw.choice((17, 33, 255, 256, 257, 259, 300, 513)), tied=draw.random() < 0.5,
                  dtype=draw.choice(('F32', 'BF16')), seed=draw.randrange(1000))
    if size != LARGE:
        shape.hidden, shape.ffn = draw.choice((32, 40, 64)), draw.choice((32, 48, 65))
        shape.head_dim, shape.layers = draw.choice((6, 8, 16)), 1
    if size == LEAST:
        shape.heads, shape.kv_heads, shape.vocab = draw.choice((1, 2)), 1, draw.choice((17, 33))
    return shape


class Trial:

    def __init__(self, differential, folder, draw):
        self.run, self.folder = differential.run, folder
        encoder = draw.choice(('rtn', 'clip', 'clip', *ENCODERS))
        shape = draw_shape(draw, ENCODERS[encoder])
        write_model(os.path.join(folder, 'model'), shape, with_tokenizer=False)
        self.tokens = [draw.randrange(shape.vocab) for _ in range(draw.choice((1, 2, 5, 17, 40)))]
        probes = ['--prefix', draw.choice((2, 5, 9, 20)), '--completion', draw.choice((2, 5, 13)), '--seed',
                  draw.randrange(100)]
        activations = ['--activations', draw.choice(ACTIVATIONS)]
        # As a rule one with which every matrix can be stored: others may need more inputs than there are.
        formats = {draw.choice(('int8', 'int4-g32', 'int4-g32', 'int8')), *draw.sample(FORMATS, draw.choice((1, 2, 3)))}
        size = ['--budget', f'{draw.choice((3, 5, 6, 8, 9, 12, 16))}bpw']
        encoder = ['--encoder', encoder]
        self.commands = {
            'plan': ['plan', 'model', *size, '--formats', ','.join(sorted(formats)), *encoder, *activations, '--search',
                     draw.choice(SEARCHES), '--objective', draw.choice(OBJECTIVES), '--probes', 2,
                     '--held-out-probes', 2, *probes, '--no-run-dir', '--force', '--out'],
            'logits': ['logits', 'model', *activations, '--force', '--tokens', ','.join(map(str, self.tokens)),
                       '--out'],
            'eval': ['eval', 'model', '--uniform', sorted(formats)[0], *encoder, *activations, '--probes', 3,
                     *probes, '--json'],
        }
        self.what = f'{shape}; ' + ' '.join(map(str, self.commands['plan']))

    def results(self, tier, threads, variables, memory):
        """What everything comes to: {name: bytes, or the line of a refusal}."""
        found = {}
        limit = [] if memory is None else ['--memory', f'{memory}KiB', '--spill-dir', '.']
        own = ['--threads', threads] if threads is not None else []
        for name, command in self.commands.items():
            out = {'plan': ['new.pb'], 'logits': ['new.npy'], 'eval': []}[name]
            more = [*own, *(limit if name != 'logits' else [])]
            found[name] = self.result([*command, *out, *more], out, tier, variables)
            if name == 'plan' and not os.path.exists(self.path('plan.pb')) and isinstance(found['plan'], bytes):
                shutil.copy(self.path('new.pb'), self.path('plan.pb'))
        if os.path.exists(self.path('plan.pb')):
            with_plan = ['--plan', 'plan.pb']
            found['logits --plan'] = self.result([*self.commands['logits'], 'new.npy', *with_plan, *own], ['new.npy'],
                                                 tier, variables)
            found['eval --plan'] = self.result(['eval', 'model', *with_plan, '--prefix', 5, '--completion', 4,
                                                '--probes', 3, '--json', *own, *limit], [], tier, variables)
        return found

    def result(self, command, outputs, tier, variables):
        for name in outputs:
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))
        code, out, err = self.run(self.folder, command, tier, variables)
        assert code >= 0, f'signal {-code} of {" ".join(map(str, command))}\n{err[-1500:]}'
        if code != 0:
            return f'{code}: {err.splitlines()[-1]}'
        if outputs:
            return read(self.path(outputs[0]))
        report = json.loads(out)
        del report['memory']  # of the machine
        return json.dumps(report).encode()

    def path(self, name):
        return os.path.join(self.folder, name)

    def least_memory(self, steps):
        """In KiB, found by halving: a little more than what plan refuses; what it makes with others is checked."""
        low, high = 1, 1 << 18
        for _ in range(steps):
            middle = (low + high) // 2
            result = self.result([*self.commands['plan'], 'new.pb', '--threads', 1, '--memory', f'{middle}KiB',
                                  '--spill-dir', '.'], ['new.pb'], None, {})
            if isinstance(result, str) and TOO_LITTLE in result:
                low = middle
            else:
                high = middle
        return high

    def first_rows(self, draw):
        """Logits of some tokens are those of more tokens, cut off."""
        some = draw.randint(1, len(self.tokens))
        rows = []
        for tokens in (self.tokens, self.tokens[:some]):
            command = ['logits', 'model', '--force', '--tokens', ','.join(map(str, tokens)), '--out', 'new.npy',
                       *(['--plan', 'plan.pb'] if os.path.exists(self.path('plan.pb')) else [])]
            result = self.result(command, ['new.npy'], None, {})
            if isinstance(result, str):
                return
            header = 10 + int.from_bytes(result[8:10], 'little')
            rows.append(result[header:])
        assert rows[1] == rows[0][:len(rows[1])] and rows[1], f'logits of {some} of {len(self.tokens)} tokens'


class Differential:

    def __init__(self, binary, folder):
        # The program may be built anew while this runs.
        self.binary = shutil.copy(binary, os.path.join(folder, 'bitbudget'))
        self.folder = os.path.join(folder, 'trial')
        # 2: not on this machine
        self.tiers = [tier for tier in TIERS if self.run(folder, ['show', 'none'], tier, {})[0] == 3]
        assert 'portable' in self.tiers
        print(f'tiers: {", ".join(self.tiers)}', flush=True)

    def run(self, folder, args, tier, variables):
        """(exit code, standard output, standard error)"""
        env = {k: v for k, v in os.environ.items() if k not in ('BITBUDGET_CPU', 'OMP_NUM_THREADS')}
        env.update(OMP_WAIT_POLICY='passive', OPENBLAS_NUM_THREADS='1', **variables)
        if tier is not None:
            env['BITBUDGET_CPU'] = tier
        done = subprocess.run([self.binary, *map(str, args)], cwd=folder, env=env, check=False, capture_output=True,
                              encoding='utf-8', errors='replace', timeout=TIMEOUT_S)
        return done.returncode, done.stdout, done.stderr

    def trial(self, draw):
        """The ends of the commands of a trial."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.mkdir(self.folder)
        trial = Trial(self, self.folder, draw)
        try:
            expected = trial.results(self.tiers[0], 1, {}, None)
            for name in ('logits --plan', 'eval --plan'):
                result = expected.get(name)
                assert not isinstance(result, str), f'the plan that was made is refused: {name}: {result}'
            memory = trial.least_memory(6) if isinstance(expected['plan'], bytes) else None
            variants = [(tier, draw.choice((1, 2, 3)), {}, None) for tier in self.tiers]
            variants += [(draw.choice(self.tiers), None, {'OMP_NUM_THREADS': str(threads)}, None) for threads in (2, 3)]
            variants += [(None, draw.choice((1, 2)), {}, memory)] if memory is not None else []
            for variant in variants:
                self.compare(expected, trial.results(*variant), variant)
            trial.first_rows(draw)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            raise AssertionError(f'{trial.what}\n{error}') from None
        return {name: 'refused' if isinstance(result, str) else 'the same' for name, result in expected.items()}

    def compare(self, expected, found, variant):
        for name, result in expected.items():
            other = found[name]
            if isinstance(other, str) and TOO_LITTLE in other and variant[3] is not None:
                continue
            if isinstance(result, bytes) and isinstance(other, bytes):
                assert result == other, f'{name}: other bytes with {variant}'
            else:
                assert result == other, f'{name}: {str(result)[:300]}, but {str(other)[:300]} with {variant}'


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('binary')
    parser.add_argument('source_dir')
    parser.add_argument('--count', type=int, default=200)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--only', type=int, help='number of a trial that was printed')
    args = parser.parse_args()
    folder = tempfile.mkdtemp(prefix='bitbudget-differential-')
    failures = 0
    ends = collections.Counter()
    try:
        differential = Differential(args.binary, folder)
        chosen = range(args.count) if args.only is None else [args.only]
        for i in chosen:
            try:
                ends.update(differential.trial(random.Random(f'{args.seed} {i}')).items())
            except AssertionError as error:
                failures += 1
                print(f'FAILED --seed {args.seed} --only {i}: {error}', flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for (name, end), times in sorted(ends.items()):
        print(f'{name}: {end} {times}')
    print(f'{len(chosen)} trials, {failures} failures')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
