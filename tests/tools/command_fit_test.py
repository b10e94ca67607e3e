#!/usr/bin/env python3
"""bitbudget fit: from a model and a size to a GGUF file in one command.

    command_fit_test.py BINARY SOURCE_DIR [unittest arguments]
"""

import os
import struct
import subprocess

import command_case
from command_case import PLAN_PROBES, VOCABULARY, CommandTest, main, read_bytes


class FitTest(CommandTest):

    def setUp(self):
        super().setUp()
        self.out = self.file('model.gguf')
        self.fit = ['fit', self.model, '450KB', '-o', self.out, *PLAN_PROBES]

    def test_it_is_plan_and_apply_in_one(self):
        text = self.succeed(*self.fit).stdout
        self.assertIn(f'llama-cli -m {self.out}', text)
        self.assertIn('FROM ./model.gguf', text)
        self.assertIn('verdict', text)
        self.assertLessEqual(os.path.getsize(self.out), 450000)
        plan, other = self.file('plan.pb'), self.file('other.gguf')
        self.succeed('plan', self.model, '--budget', '450KB', '--target', 'llama.cpp', '-o', plan,
                     *PLAN_PROBES)
        self.succeed('apply', self.model, '--plan', plan, '-o', other)
        self.assertEqual(read_bytes(self.out), read_bytes(other))
        self.assertEqual(read_bytes(self.out + '.plan.pb'), read_bytes(plan))
        # Again: the run is recalled, and its own results are replaced.
        report = self.json(*self.fit)
        self.assertEqual(report['file_bytes'], os.path.getsize(self.out))
        self.assertEqual(report['out'], self.out)
        self.assertEqual(report['plan'], self.out + '.plan.pb')

    def test_a_size_above_the_models_needs_no_search(self):
        text = self.succeed('fit', self.model, '4GB', '-o', self.out).stdout
        self.assertIn('fits as it is', text)
        tokens = ['--tokens', '1,370,954,20,11']
        arrays = [self.file('a.npy'), self.file('b.npy')]
        for model, array in zip((self.model, self.out), arrays):
            self.succeed('logits', model, *tokens, '-o', array)
        self.assertEqual(*map(read_bytes, arrays))
        # The same of plan, whose file says that nothing was run, and which others read.
        plan = self.file('plan.pb')
        report = self.json('plan', self.model, '--budget', '100%', '-o', plan)
        self.assertEqual(report['search']['candidates'], 0)
        self.assertTrue(report['complete'])
        self.assertNotIn('held_out', report)
        self.assertFalse(os.path.exists(plan + '.run'))
        self.assertIn('stays as it is', self.succeed('show', plan).stdout)
        preview = self.json('plan', self.model, '--budget', '100%', '--dry-run')
        self.assertEqual((preview['stages'], preview['seconds']), ([], 0))
        self.assertIn('fits the budget as it is', preview['problem']['notes'][-1])
        self.assertEqual(self.json('eval', self.model, '--plan', plan, '--probes', 2, '--prefix', 18,
                                   '--completion', 4)['kl_mean'], 0)
        # One byte less, or formats that leave the stored one out, and there is something to plan.
        size = report['size_bytes']
        for args in (['--budget', f'{size - 1}B'], ['--budget', '100%', '--formats', 'int8,int4-g64']):
            less = self.json('plan', self.model, *args, '-o', self.file('less.pb'), *PLAN_PROBES)
            self.assertLess(less['size_bytes'], size)
            self.assertIn('held_out', less)

    def test_the_file_runs_on_llama_cpps_arithmetic_as_the_plan_does(self):
        # Without q4_1 and q5_1, whose products round sums of inputs, too.
        report = self.json(*self.fit, '--formats', 'iq4_nl,iq4_xs,q4_0,q5_0,q6_k,q8_0')
        args = ['--tokens', '1,370,954,20,11', '--activations', 'llama.cpp', '-o']
        by_plan, by_file = self.file('plan.npy'), self.file('file.npy')
        self.succeed('logits', self.model, '--plan', report['plan'], *args, by_plan)
        self.succeed('logits', self.out, *args, by_file)
        values = [struct.unpack('<5120f', read_bytes(path)[-4 * 5 * VOCABULARY:])
                  for path in (by_plan, by_file)]
        largest = max(abs(value) for value in values[0])
        # The file's matrices are decoded, so that their products are summed in another order.
        self.assertLess(max(abs(a - b) for a, b in zip(*values)), 1e-5 * largest)
        self.succeed('generate', self.out, '--tokens', '1,370', '-n', 3, '--activations', 'llama.cpp')

    def test_a_file_that_came_out_wrong_is_noticed(self):
        wrong = self.file('wrong.gguf')
        self.succeed('fit', self.model, '600KB', '-o', wrong, *PLAN_PROBES)
        environment = dict(os.environ, LD_PRELOAD=os.environ['BITBUDGET_SWAP_FILE'],
                           BITBUDGET_SWAP='model.gguf=' + wrong)
        done = subprocess.run([command_case.BINARY, *map(str, self.fit)], env=environment, capture_output=True,
                              text=True, timeout=300, check=False)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertRegex(done.stderr.splitlines()[-1], f'^bitbudget: {self.out}: .* has .*, not the format of the plan$')
        self.assertNotIn('written to', done.stdout)

    def test_what_it_cannot_do_is_said_before_the_work(self):
        before = self.files()
        for code, parts, args in (
            (2, ['.gguf', 'bitbudget plan --target'], ['fit', self.model, '450KB', '-o', self.file('model')]),
            (2, ['mlx', 'GGUF'], [*self.fit, '--target', 'mlx']),
            (2, ['SIZE'], ['fit', self.model, '-o', self.out]),
            (2, ["budget 'big'"], ['fit', self.model, 'big', '-o', self.out]),
            (4, ['smallest possible size'], ['fit', self.model, '1%', '-o', self.out]),
            (2, ['--kv', '--context'], [*self.fit, '--kv', 'q8_0']),
        ):
            with self.subTest(args=args):
                self.refuse(code, parts, *args)
        self.assertEqual(self.files(), before)
        # Somebody else's file stays.
        self.file('model.gguf', 'mine')
        self.refuse(3, ['--out', '--force'], *self.fit)
        self.assertEqual(read_bytes(self.out), b'mine')
        self.succeed(*self.fit, '--force')


if __name__ == '__main__':
    main()
