"""Runs the bitbudget command as a user does, on copies of a model that a real run can load.

What command_*_test.py share; each takes BINARY SOURCE_DIR [unittest arguments].
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

BINARY = ''
MODELS = ''

VOCABULARY = 1024  # of novel-1m
CONTEXT = 256
END_OF_SEQUENCE = 2

# Probes that take a fraction of a second.
PROBES = ['--prefix', '18', '--completion', '12', '--seed', '3']
PLAN_PROBES = PROBES + ['--probes', '3', '--held-out-probes', '4']
FEW_FORMATS = ['--formats', 'int4-g64,int8']


def environment(tier=None):
    env = {k: v for k, v in os.environ.items() if k != 'BITBUDGET_CPU'}
    if tier is not None:
        env['BITBUDGET_CPU'] = tier
    return env


def run(*args, tier=None):
    return subprocess.run([BINARY, *map(str, args)],
                          env=environment(tier),
                          capture_output=True,
                          encoding='utf-8',
                          errors='replace',
                          timeout=300,
                          check=False)


def run_into(path, *args):
    """The command with its standard output into a file; None: into a pipe that nobody reads."""
    if path is None:
        reader, out = os.pipe()
        os.close(reader)
    else:
        out = os.open(path, os.O_WRONLY)
    try:
        # Python ignores SIGPIPE and its children inherit that, so a write fails as any other.
        return subprocess.run([BINARY, *map(str, args)],
                              env=environment(),
                              stdout=out,
                              stderr=subprocess.PIPE,
                              restore_signals=False,
                              encoding='utf-8',
                              timeout=300,
                              check=False)
    finally:
        os.close(out)


def start(*args):
    """The running command, its outputs as pipes."""
    return subprocess.Popen([BINARY, *map(str, args)],
                            env=environment(),
                            stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE,
                            text=True)


def main():
    global BINARY, MODELS
    BINARY = os.path.abspath(sys.argv[1])
    MODELS = os.path.join(sys.argv[2], 'tools', 'demo', 'models')
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])


def read_bytes(path):
    with open(path, 'rb') as file:
        return file.read()


def write(path, contents):
    mode = 'wb' if isinstance(contents, bytes) else 'w'
    with open(path, mode) as file:
        file.write(contents)


class CommandTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='bitbudget-command-')
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.model = self.copy('novel-1m')

    def copy(self, name, to='model'):
        folder = os.path.join(self.folder, to)
        shutil.copytree(os.path.join(MODELS, name), folder)
        return folder

    def file(self, name, contents=None):
        path = os.path.join(self.folder, name)
        if contents is not None:
            write(path, contents)
        return path

    def files(self):
        return sorted(os.path.join(folder, name)
                      for folder, _, names in os.walk(self.folder) for name in names)

    def succeed(self, *args, tier=None):
        result = run(*args, tier=tier)
        self.assertEqual(result.returncode, 0, f'{args}: {result.stderr}')
        return result

    def json(self, *args, tier=None):
        """Standard output as JSON: it holds nothing else."""
        return json.loads(self.succeed(*args, '--json', tier=tier).stdout)

    def refuse(self, code, parts, *args, tier=None):
        """The command fails with this exit code and one line with these parts, and that is all."""
        before = self.files()
        result = run(*args, tier=tier)
        self.assertEqual(result.returncode, code, f'{args}: {result.stderr}')
        self.assertEqual(result.stdout, '', args)
        self.assertEqual(result.stderr.count('\n'), 1, f'{args}: {result.stderr}')
        self.assertTrue(result.stderr.startswith('bitbudget: '), result.stderr)
        self.assertTrue(result.stderr.endswith('\n'), result.stderr)
        for part in parts:
            self.assertIn(str(part), result.stderr, args)
        self.assertEqual(self.files(), before, args)

    def make_plan(self, *args, model=None, out='plan.pb'):
        path = self.file(out)
        self.succeed('plan', model or self.model, '--budget', '5bpw', '--search', 'uniform',
                     *PLAN_PROBES, '--out', path, *args)
        return path

    def text_file(self):
        words = ['the', 'of', 'and', 'to', 'was', 'in', 'that', 'he', 'his', 'it', 'with', 'as']
        return self.file(
            'text.txt',
            ' '.join(words[(i * i * 31 + i // 7) % len(words)] + ('.' if i % 11 == 0 else '')
                     for i in range(3000)))
