"""What the tests of exports and of the linter share.

A test program is called with the bitbudget binary and, as unittest has it, names of tests.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import consumers
import plan_maker

BINARY = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ''


def run(*args):
    return subprocess.run([BINARY, *map(str, args)], capture_output=True, text=True, timeout=120,
                          check=False)


class ExportCase(unittest.TestCase):
    """Writes plans, exports and lints them in a folder of its own."""
    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='bitbudget-exports-')
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), 'w', encoding='utf-8') as file:
            file.write(text)
        return self.path(name)

    def read(self, name):
        with open(self.path(name), encoding='utf-8') as file:
            return file.read()

    def plan(self, components, formats, architecture='LlamaForCausalLM', name='plan.json'):
        plan = plan_maker.make_plan(components, formats, architecture)
        return self.write(name, json.dumps(plan))

    def export(self, plan, target, out='out.json'):
        result = run('export', plan, '--to', target, '--out', self.path(out))
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def lint(self, file, target, *subject):
        result = run('lint', file, '--to', target, *subject, '--json')
        self.assertIn(result.returncode, (0, 3), result.stderr)
        return json.loads(result.stdout), result

    def assert_read_as(self, target, out, components, formats, architecture):
        """Both readings of the file give what was meant."""
        for reader in consumers.TARGETS[target][0]:
            read = reader(self.read(out), components, architecture)
            for (name, *_), meant in zip(components, formats):
                got = read[name]
                self.assertEqual('bf16' if got == 'kept' else got, meant, (target, name))
        report, result = self.lint(self.path(out), target, self.path('plan.json'))
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertTrue(report['ok'])
        self.assertEqual(report['unused'], [])
        named = {name for entry in report['names'] for name in entry['components']}
        self.assertEqual(named, {name for name, *_ in components})

    def uniform(self, target_format, layers=12, tied=True, kept=(), architecture='LlamaForCausalLM'):
        components = plan_maker.component_list(layers, tied)
        formats = ['bf16' if kind in kept else target_format for _, kind, *_ in components]
        return components, formats, self.plan(components, formats, architecture)


def main():
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
