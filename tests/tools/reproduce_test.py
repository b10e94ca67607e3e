#!/usr/bin/env python3
"""The scripts of tools/reproduce run to their verdicts on the bundled small model.

    reproduce_test.py BINARY SOURCE_DIR [unittest arguments]

With a handful of probes their tables mean nothing; what is checked is that every command they give
is understood, that nothing runs twice, and that each claim ends in a verdict.
"""

import os
import subprocess
import sys
import tempfile
import unittest

BINARY, SOURCE = sys.argv[1:3]


class ReproduceTest(unittest.TestCase):

    def run_script(self, name, *options, claims):
        with tempfile.TemporaryDirectory(prefix='bitbudget-reproduce-') as work:
            command = [sys.executable, '-B', os.path.join(SOURCE, 'tools/reproduce', name),
                       '--model', os.path.join(SOURCE, 'tools/demo/models/novel-1m'),
                       '--bitbudget', BINARY, '--work', work, '--probes', '4', '--search-probes', '4',
                       '--threads', '2', *options]
            first = subprocess.run(command, capture_output=True, text=True, check=False)
            self.assertEqual(first.returncode, 0, first.stderr)
            self.assertEqual(first.stdout.count('### Claim'), claims, first.stdout)
            self.assertEqual(first.stdout.count('**On novel-1m: '), claims, first.stdout)
            again = subprocess.run(command, capture_output=True, text=True, check=False)
            self.assertEqual(again.stdout, first.stdout)
            return first.stdout

    def test_freeze(self):
        text = self.run_script('freeze.py', claims=1)
        for kind in ('q', 'k', 'v', 'o', 'gate', 'up', 'down'):
            self.assertIn(f'\n| {kind} | ', text)

    def test_onebit(self):
        text = self.run_script('onebit.py', claims=2)
        self.assertIn('1.0073', text)
        self.assertEqual(text.count(': holds.**'), 2, text)

    def test_divergent_tokens(self):
        text = self.run_script('divergent_tokens.py', '--orders', 'fdt,dppl', '--retrain', '2,1', claims=4)
        self.assertIn('without retraining', text)
        self.assertIn('both retrained', text)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0]] + sys.argv[3:])
