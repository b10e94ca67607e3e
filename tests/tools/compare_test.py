#!/usr/bin/env python3
"""tools/compare.py: its methods are known, its intervals are paired, its table says what was measured.

    compare_test.py BINARY SOURCE_DIR
"""

import argparse
import contextlib
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

BINARY = pathlib.Path(sys.argv[1]).resolve()
SOURCE = pathlib.Path(sys.argv[2]).resolve()
sys.path.insert(0, str(SOURCE / 'tools'))
import compare  # noqa: E402

# A `bitbudget` that takes down how it was called and some CPU time, and prints what it is told to.
FAKE = '''#!/usr/bin/env python3
import pathlib, sys, time
folder = pathlib.Path(__file__).parent
with open(folder / 'calls', 'a') as calls:
    calls.write(' '.join(sys.argv[1:]) + '\\n')
end = time.process_time() + 0.1
while time.process_time() < end:
    pass
print((folder / (sys.argv[1] + '.json')).read_text())
'''


def evaluation(text_kl, fdt, with_text=True):
    """As `bitbudget eval --json` and a plan's search give it, of four probes."""
    probes = [{'prompt_tokens': [i], 'fdt': fdt + i, 'kl': i / 10, 'tokens': 5,
               'text': {'kl': (text_kl + i) * 20, 'tokens': 20}} for i in range(4)]
    return {'bits_per_weight': 3.5, 'text_kl': text_kl if with_text else None,
            'text_kl_ci': [0.1, 0.9] if with_text else None, 'fdt_mean': fdt, 'fdt_ci': [1.0, 9.0],
            'kl_mean': 0.03, 'kl_ci': [0.01, 0.05], 'ppl_candidate': 12.5, 'per_probe': probes,
            'uniform_emitted': False,
            'search': {'computed': 2e6, 'naive': 4e6, 'cpu_seconds': 7.25}}


class CompareTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix='bitbudget-compare-')
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_every_method_is_one_that_plan_knows(self):
        for method, options in compare.METHODS.items():
            # The budget is refused last of all: what comes before it is known.
            done = subprocess.run([BINARY, 'plan', SOURCE / 'tools/demo/models/novel-1m', '--budget', '1B',
                                   '--out', self.folder / 'p.pb', '--text', SOURCE / 'README.md', *options],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
            self.assertEqual(done.returncode, 4, f'{method}: {done.stderr}')
        self.assertLessEqual({'greedy', 'K-FAC sum', 'first-order', 'weighted-error', 'linearity', 'evolution'},
                             set(compare.DEFAULT_METHODS))

    def test_differences_are_paired_and_of_text_where_there_is_any(self):
        greedy, rival = evaluation(0.25, 6), evaluation(0.5, 4)
        text, fdt, kl = compare.against(greedy, rival)
        for found, expected in ((text, -0.25), (fdt, 2), (kl, 0)):
            self.assertAlmostEqual(found[0], expected)
            self.assertAlmostEqual(found[1], expected)
        self.assertEqual(compare.verdict(*text, False), '+')
        self.assertEqual(compare.verdict(*fdt, True), '+')
        self.assertEqual(compare.verdict(-1, 1, True), '=')
        self.assertEqual(compare.verdict(1, 2, False), '-')
        self.assertIsNone(compare.against(evaluation(0, 1, with_text=False), rival)[0])

    def test_the_table_has_text_kl_fdt_and_both_measures_of_work(self):
        args = argparse.Namespace(model='m', encoder='clip')
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            compare.table(args, '3bpw', {'greedy': evaluation(0.25, 6), 'evolution': evaluation(0.5, 4)})
        lines = [line.split(' | ') for line in out.getvalue().splitlines() if line.startswith('| ')]
        self.assertEqual([len(line) for line in lines], [10, 10, 10])
        self.assertEqual(lines[1][0], '| greedy')
        self.assertEqual(lines[2][2:4], ['0.5 [0.1, 0.9]', '4.0 [1.0, 9.0]'])
        self.assertEqual(lines[2][6:8], ['2 (50.0% of naive)', '7.25'])
        self.assertEqual(lines[2][8], '+ [-0.25, -0.25]')

    def test_a_plan_is_made_once_shares_nothing_and_keeps_its_cpu_time(self):
        fake = self.folder / 'bitbudget'
        fake.write_text(FAKE)
        fake.chmod(0o755)
        (self.folder / 'plan.json').write_text(
            json.dumps({'search': {'candidates': 1, 'computed': 1.0, 'naive': 1.0}}))
        (self.folder / 'eval.json').write_text(json.dumps(evaluation(0.5, 4)))
        args = argparse.Namespace(
            model='m', encoder='clip', work=self.folder, seed=0, threads=None, bitbudget=str(fake),
            probes=8, guard_probes=8, eval_probes=8, formats=None, plan_text='a.txt', eval_text='b.txt')
        with contextlib.redirect_stderr(io.StringIO()):
            first = compare.measure(args, 'linearity', '3bpw')
            again = compare.measure(args, 'linearity', '3bpw')
        self.assertEqual(first, again)
        self.assertGreater(first['search']['cpu_seconds'], 0.1)
        self.assertLess(first['search']['cpu_seconds'], 5)
        calls = (self.folder / 'calls').read_text().splitlines()
        self.assertEqual([call.split()[0] for call in calls], ['plan', 'eval'])
        self.assertIn('--search additive --costs linearity', calls[0])
        self.assertIn('--no-run-dir', calls[0])
        self.assertIn('--text a.txt', calls[0])
        self.assertIn('--text b.txt --calibration a.txt', calls[1])


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
