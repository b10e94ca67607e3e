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
TRAINING = ['--steps', '4', '--sequences', '8']


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
        text = self.run_script('freeze.py', *TRAINING, '--formats', 'int2-g64', '--factors', '1,1e9',
                               claims=4)
        for kind in ('q', 'k', 'v', 'o', 'gate', 'up', 'down'):
            self.assertEqual(text.count(f'\n| {kind} | '), 2)  # forward, gradients
        self.assertIn('\n| type | gradient, 0 | gradient, 1 | gradient, 2 | gradient, 3 | gradient, 4 | ', text)
        rates = {line.split(' | ')[0]: line for line in text.splitlines() if line.startswith('| 1')}
        self.assertEqual(rates['| 1e+09'].count('(diverged)'), 4, text)
        self.assertNotIn('diverged', rates['| 1'])

    def test_onebit(self):
        text = self.run_script('onebit.py', *TRAINING, claims=6)
        self.assertIn('1.0073', text)
        self.assertEqual(text.split('### Claim: trained')[0].count(': holds.**'), 2, text)
        for row in ('int2-g64 | rtn', 'int2-g64 | gptq', 'onebit | SVID, not trained',
                    'onebit | SVID start, 4 steps', 'onebit | random signs, 4 steps',
                    'onebit | SVID start, hidden loss x 1, 4 steps', 'onebit-ln | SVID start, 4 steps'):
            self.assertIn(f'\n| {row} | ', text)

    def test_omniquant(self):
        text = self.run_script('omniquant.py', *TRAINING, '--weights', 'int3z-g64', claims=2)
        for row in ('rtn', 'gptq', 'LWC', 'LWC + LET', 'weights and scales'):
            self.assertEqual(text.count(f'\n| {row} | '), 3, text)

    def test_divergent_tokens(self):
        text = self.run_script('divergent_tokens.py', '--orders', 'fdt,dppl', '--retrain', '2,1', claims=4)
        self.assertIn('without retraining', text)
        self.assertIn('both retrained', text)
        self.assertEqual(text.count('trained at the end'), 4, text)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0]] + sys.argv[3:])
