#!/usr/bin/env python3
"""No command line and no file makes a command crash, hang, take the memory, or leave something behind.

    mutate.py BINARY SOURCE_DIR [--count N] [--seed S] [--only I]

Valid calls of every command on a model of generated weights are spoilt in N ways, drawn from the seed: in
turn the command line (words dropped, doubled, swapped, numbers and words that no one would write, bytes
that are not UTF-8) and one of the files that the call reads (bits, bytes, JSON fields, other files in its
place). Each run must end by itself, within the time and the memory, with an exit code that is documented;
a failure with one line "bitbudget: ..." in the end, without control characters; no temporary file
stays and no input changes; what a run that ended well has written, the program reads again. A
command line whose numbers ask for much work is interrupted, and must then end.
"""

import argparse
import collections
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from jobs import TIMEOUT_S, files, read
from mutations import encoded, mutate_args, mutate_file
from tiny import Shape, write_model

PROBES = ['--prefix', '8', '--completion', '4', '--seed', '3', '--threads', '1']
FEW = ['--probes', '2', '--held-out-probes', '2', *PROBES]
MEMORY = 4 << 30
PATIENCE_S = 3  # far beyond what the calls take, for what was asked to take long
CODES = {0, 2, 3, 4}
INTERRUPTED = 130
WRITES = (b'--out', b'-o', b'--json', b'--run-dir', b'--spill-dir')
FOREIGN = 'libgomp: '
PRINT_JSON = (b'eval', b'show', b'score', b'lint', b'formats', b'generate', b'tokenize', b'apply')


class Call:
    """A command that ends well, the files that it reads, and what it writes."""

    def __init__(self, *args, reads=(), model=True):
        self.args = args
        self.reads = (*reads, *(('model/config.json', 'model/model.safetensors', 'model/tokenizer.json')
                                if model else ()))


PLAN = ('plan', 'model', '--budget', '6bpw', '--formats', 'int4-g32,int8', *FEW)
CALLS = (
    Call(*PLAN, '--no-run-dir', '--out', 'a.pb'),
    Call(*PLAN, '--search', 'layerwise', '--out', 'a.json'),
    Call(*PLAN, '--text', 'text.txt', '--pin', 'down=int8', '--min-bits', 'q_proj=4', '--out', 'a.pb',
         reads=['text.txt']),
    Call(*PLAN, '--prompts', 'prompts.txt', '--search', 'uniform', '--out', 'a.pb', reads=['prompts.txt']),
    Call('plan', 'model.gguf', '--goal', 'kl<=0.5', '--formats', 'q4_0,q8_0', *FEW, '--no-run-dir', '--out',
         'a.pb', reads=['model.gguf'], model=False),
    Call(*PLAN, '--dry-run', '--json'),
    Call('explore', 'model', '--sizes', '5bpw,7bpw', '--rivals', 'none', '--formats', 'int4-g32,int8', *FEW,
         '--no-run-dir', '--out', 'a.html', '--json', 'a.json'),
    Call('recover', 'model', '--plan', 'plan.pb', '--steps', '1', '--sequences', '8', '--held-out-probes', '2',
         *PROBES, '--out', 'a.pb', reads=['plan.pb']),
    Call('apply', 'model', '--plan', 'gguf.pb', '--out', 'a.gguf', '--threads', '1', reads=['gguf.pb']),
    Call('apply', 'model', '--plan', 'plan.json', '--out', 'a', '--json', reads=['plan.json']),
    Call('apply', 'model', '--plan', 'recovered.pb', '--out', 'a', '--threads', '1',
         reads=['recovered.pb', 'recovered.pb.weights.safetensors'] * 2),
    Call('apply', 'model.gguf', '--plan', 'of-gguf.pb', '--out', 'a.gguf', reads=['of-gguf.pb', 'model.gguf'],
         model=False),
    Call('export', 'gguf.pb', '--to', 'llama.cpp', '--out', 'a.txt', reads=['gguf.pb'], model=False),
    Call('export', 'packed.pb', '--to', 'autoround', '--out', 'a.json', reads=['packed.pb'], model=False),
    Call('equalize', 'model', '--format', 'int4-g32', '--probes', '4', '--iterations', '1', *PROBES, '--out', 'a'),
    Call('eval', 'model', '--uniform', 'int8', '--probes', '2', *PROBES, '--json'),
    Call('eval', 'model', '--plan', 'plan.pb', '--probes', '2', *PROBES, '--fdt-only', reads=['plan.pb']),
    Call('eval', 'model', '--plan', 'recovered.pb', '--probes', '2', *PROBES, '--memory', '1GiB', '--json',
         reads=['recovered.pb', 'recovered.pb.weights.safetensors'] * 2),
    Call('eval', 'model.gguf', '--uniform', 'q5_0', '--probes', '2', *PROBES, '--activations', 'llama.cpp',
         reads=['model.gguf'], model=False),
    Call('score', 'model', '--scorer', 'zd', '--json'),
    Call('score', 'model', '--scorer', 'kfac', '--formats', 'int4-g32', '--probes', '2', *PROBES),
    Call('show', 'plan.pb', '--json', reads=['plan.pb'], model=False),
    Call('show', 'plan.json', reads=['plan.json'], model=False),
    Call('diff', 'plan.pb', 'plan.json', reads=['plan.pb', 'plan.json'], model=False),
    Call('runs', 'show', 'run', '--json', model=False),
    Call('logits', 'model', '--tokens', '1,2,3', '--out', 'a.npy', '--threads', '1'),
    Call('logits', 'model.gguf', '--tokens', '1,5,9', '--out', 'a.npy', reads=['model.gguf'], model=False),
    Call('generate', 'model', '--prompt', 'the cat', '-n', '4', '--threads', '1', '--json'),
    Call('generate', 'model.gguf', '--tokens', '1,9', '-n', '3', '--sample', '--seed', '4',
         reads=['model.gguf'], model=False),
    Call('tokenize', 'model', '--file', 'text.txt', '--json', reads=['text.txt', 'model/tokenizer.json'],
         model=False),
    Call('tokenize', 'model.gguf', '--file', 'text.txt', '--special', reads=['model.gguf'], model=False),
    Call('lint', 'types.txt', 'model', '--to', 'llama.cpp', '--json', reads=['types.txt'] * 4),
    Call('lint', 'types.txt', 'gguf.pb', '--to', 'llama.cpp', reads=['types.txt', 'gguf.pb'], model=False),
    Call('lint', 'packed.json', 'model', '--to', 'autoround', '--plan', 'packed.pb',
         reads=['packed.json'] * 4 + ['packed.pb']),
    Call('formats', '--rows', '64', '--cols', '96', '--formats', 'int4-g32,q4_k,bf16+2:4', '--json',
         model=False),
)


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


class Mutator:

    def __init__(self, binary, folder):
        self.folder, self.inputs = os.path.join(folder, 'x'), os.path.join(folder, 'inputs')
        # The program may be built anew while this runs.
        self.binary = shutil.copy(binary, os.path.join(folder, 'bitbudget'))
        self.env = {k: v for k, v in os.environ.items() if k != 'BITBUDGET_CPU'}
        self.env.update(OMP_WAIT_POLICY='passive', OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1')
        os.mkdir(self.inputs)
        self.make_inputs()
        self.names = [name for name in files(self.inputs) if os.path.isfile(os.path.join(self.inputs, name))]
        self.contents = {name: read(os.path.join(self.inputs, name)) for name in self.names}
        self.options = {}
        for call in CALLS:
            self.prepare()
            if call.args[0] not in self.options:
                text = self.run([call.args[0], '--help'], None)[2].decode()
                self.options[call.args[0]] = {name: bool(value) for name, value in
                                              re.findall(r'^ +(-[-a-z]+)(?:,-[-a-z]+)?( [A-Z]+)?', text, re.M)
                                              if name != '-h'}
            end = self.named(' '.join(call.args), self.check, call.args, set(), False)
            assert end == 'exit code 0', (end, call.args)
        assert self.options['plan']['--budget'] and not self.options['plan']['--force']

    def make_inputs(self):
        words = ['the', 'cat', 'that', 'they', 'thaw', 'is', '42', 'nothing.', '\n']
        for name, lines in (('text.txt', [' '.join(words[i * i % 7:]) for i in range(60)]),
                            ('prompts.txt', [f'the {word} they thaw the cat' for word in words[:-1] * 4])):
            with open(os.path.join(self.inputs, name), 'w', encoding='utf-8') as file:
                file.write('\n'.join(lines))
        write_model(os.path.join(self.inputs, 'model'), Shape())
        for args in ((*PLAN, '--run-dir', 'run', '--out', 'plan.pb'), (*PLAN, '--run-dir', 'run', '--out', 'plan.json'),
                     ('plan', 'model', '--budget', '7bpw', '--formats', 'q4_0,q8_0', '--target', 'llama.cpp', *FEW,
                      '--no-run-dir', '--out', 'gguf.pb'),
                     ('plan', 'model', '--budget', '12bpw', '--target', 'autoround',
                      *FEW, '--no-run-dir', '--out', 'packed.pb'),
                     ('apply', 'model', '--plan', 'gguf.pb', '--out', 'model.gguf'),
                     ('plan', 'model.gguf', '--budget', '7bpw', '--formats', 'q4_0,q8_0', *FEW, '--no-run-dir',
                      '--out', 'of-gguf.pb'),
                     ('recover', 'model', '--plan', 'plan.pb', '--steps', '1', '--sequences', '8',
                      '--held-out-probes', '2', *PROBES, '--keep-worse', '--out', 'recovered.pb'),
                     ('export', 'gguf.pb', '--to', 'llama.cpp', '--out', 'types.txt'),
                     ('export', 'packed.pb', '--to', 'autoround', '--out', 'packed.json')):
            done = self.start(self.inputs, args).wait(TIMEOUT_S)
            assert done == 0, (done, args)

    def start(self, folder, args, out=subprocess.DEVNULL, err=None):
        return subprocess.Popen([self.binary, *args], cwd=folder, env=self.env, stdin=subprocess.DEVNULL,
                                stdout=out, stderr=err or subprocess.DEVNULL, preexec_fn=limit_memory)

    def run(self, args, patience_s):
        """(exit code, whether it was interrupted, standard output, standard error)"""
        with self.start(self.folder, args, subprocess.PIPE, subprocess.PIPE) as process:
            interrupted = False
            try:
                out, err = process.communicate(timeout=patience_s or TIMEOUT_S)
            except subprocess.TimeoutExpired:
                interrupted = patience_s is not None
                process.send_signal(signal.SIGINT)
                try:
                    out, err = process.communicate(timeout=TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                    raise AssertionError('does not end') from None
                if not interrupted:
                    raise AssertionError(f'took {TIMEOUT_S} s') from None
            return process.returncode, interrupted, out, err.decode('utf-8', 'replace')

    def prepare(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.inputs, self.folder)

    def trial(self, i, seed):
        """(what was spoilt, how the run ended)"""
        draw = random.Random(f'{seed} {i}')
        call = CALLS[i // 2 % len(CALLS)]
        self.prepare()
        if i % 2 == 0 or not call.reads:
            args = mutate_args(call.args, self.options[call.args[0]], draw)
            what = ' '.join(map(repr, args))
            end = self.named(what, self.check, args, set(), True)
        else:
            name = draw.choice(call.reads)
            kind = mutate_file(self.folder, name, list(self.contents.values()), draw)
            what = f'{kind} {name}: {" ".join(call.args)}'
            end = self.named(what, self.check, call.args, {name}, False)
        return what, end

    def named(self, what, function, *args):
        try:
            return function(*args)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            raise AssertionError(f'{what}\n{error}') from None

    def check(self, args, spoilt, with_patience):
        """Runs a command in the folder; how it ended."""
        args = [encoded(word) for word in args]
        before = {name: self.state(name) for name in spoilt}
        code, interrupted, out, err = self.run(args, PATIENCE_S if with_patience else None)
        self.check_end(code, interrupted, err)
        new = sorted(set(files(self.folder)) - set(files(self.inputs)))
        require(not any('.tmp.' in name for name in new), f'temporary files: {new}', err)
        # Runs, and what was learnt of a recovery, are kept for the next time.
        runs = run_folders_of(args)
        made = [name for name in new if '.run/' not in name + '/' and not name.startswith('run/') and
                not name.endswith('.recovering') and not within(name, runs)]
        require(code in (0, INTERRUPTED) or not made, f'left behind: {made}', err)
        targets = written_to(args)
        for name in made:
            require(any(os.fsencode(name).startswith((stem(target), driver(target))) for target in targets),
                    f'{name} was not asked for', err)
        for name in self.names:
            # An earlier result may be replaced, by a run that ends well.
            if name.startswith('run/') or code in (0, INTERRUPTED) and within(name, targets):
                continue
            expected = before[name] if name in spoilt else self.contents[name]
            require(self.state(name) == expected, f'{name} has changed', err)
        if code == 0:
            # Behind an option that takes a value it is that value.
            flag = any(b == b'--json' and not a.startswith(b'-') for a, b in zip(args, args[1:]))
            if flag and args[0] in PRINT_JSON:
                self.check_json(args, out)
            for name in made:
                self.check_readable(name, args)
        return 'interrupted' if interrupted else f'exit code {code}'

    def check_end(self, code, interrupted, err):
        """The exit code, and what it says of a failure."""
        require(code >= 0, f'signal {-code}', err)
        lines = err.split('\n')[:-1]
        own = [line for line in lines if line.startswith('bitbudget: ')]
        foreign = any(line.startswith(FOREIGN) for line in lines)
        require(code in CODES or code == INTERRUPTED and interrupted or code == 1 and foreign,
                f'exit code {code}', err)
        if code in CODES - {0}:
            require(len(own) == 1 and lines[-1] == own[0] and err.endswith('\n'), 'not one line in the end',
                    err)
        if code != 0:
            require(all(byte >= 32 for line in own for byte in line.encode()), 'control characters',
                    repr(err))

    def check_json(self, args, out):
        if any(word.startswith((b'-h', b'--help', b'--version', b'-V')) for word in args):
            return
        try:
            json.loads(out, parse_constant=lambda name: float('no ' + name))
        except ValueError as error:
            raise AssertionError(f'--json printed no JSON: {error}: {out[:300]!r}') from None

    def state(self, name):
        path = os.path.join(self.folder, name)
        return read(path) if os.path.isfile(path) else os.path.lexists(path)

    def check_readable(self, name, args):
        """What a command has written is read again: as a plan, a model, an array or a page."""
        path = os.path.join(self.folder, name)
        again = None
        command = os.fsdecode(args[0])
        model = name.endswith('.gguf') or os.path.exists(os.path.join(path, 'config.json'))
        if command in ('apply', 'equalize') and model:
            again = ('score', os.path.join('.', name), '--scorer', 'zd')
        elif command in ('plan', 'recover') and not name.endswith('.safetensors'):
            again = ('show', os.path.join('.', name))
        elif command == 'logits':
            require(read(path)[:8] == b'\x93NUMPY\x01\x00', f'{name} is no array', '')
        elif command == 'explore' and name.endswith('.html'):
            require(read(path).rstrip().endswith(b'</html>'), f'{name} is no page', '')
        if again is not None:
            code, _, _, err = self.run(again, None)
            require(code == 0, f'exit code {code} of {again}', err)


def require(condition, what, err):
    if not condition:
        raise AssertionError(f'{what}\n{err[-1500:]}')


def written_to(args):
    """The paths that a command line names for writing, in any of the ways to write them."""
    paths = [b.split(b'=', 1)[1] for b in args if b.startswith(tuple(w + b'=' for w in WRITES))]
    paths += [b for a, b in zip(args, args[1:]) if a in WRITES]
    return [os.path.normpath(path) for path in paths if path]


def within(name, paths):
    """Whether a file is one of the paths, in one of them, beside it with another ending, or its driver."""
    name = os.fsencode(name)
    return any(name == path or name.startswith((path + b'/', path + b'.', stem(path) + b'.', driver(path)))
               for path in paths)


def run_folders_of(args):
    return [os.path.normpath(b) for a, b in zip(args, args[1:]) if a == b'--run-dir' and b]


def stem(path):
    return os.path.splitext(path)[0]


def driver(path):
    """What the name of a driver script that `export` writes beside a path begins with."""
    folder, name = os.path.split(stem(path))
    return os.path.join(folder, b'run_' + name + b'.')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('binary')
    parser.add_argument('source_dir')
    parser.add_argument('--count', type=int, default=5000)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--only', type=int, help='number of a run that was printed')
    args = parser.parse_args()
    folder = tempfile.mkdtemp(prefix='bitbudget-mutate-')
    failures = 0
    ends = collections.Counter()
    try:
        mutator = Mutator(args.binary, folder)
        chosen = range(args.count) if args.only is None else [args.only]
        for i in chosen:
            begin = time.monotonic()
            try:
                what, end = mutator.trial(i, args.seed)
                ends['file' if i % 2 else 'command line', end] += 1
                if time.monotonic() - begin > 5 or args.only is not None:
                    print(f'{i}: {end} after {time.monotonic() - begin:.1f} s: {what}', flush=True)
            except AssertionError as error:
                failures += 1
                print(f'FAILED --seed {args.seed} --only {i}: {error}', flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for (what, end), count in sorted(ends.items()):
        print(f'{what}: {end} {count}')
    print(f'{len(chosen)} runs, {failures} failures')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
