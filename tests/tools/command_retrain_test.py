#!/usr/bin/env python3
"""Plans that are retrained between the rounds of their search.

    command_retrain_test.py BINARY SOURCE_DIR [unittest arguments]
"""

import os
import shutil
import signal
import sqlite3
import time

from command_case import CommandTest, main, read_bytes, start

SUFFIX = '.weights.safetensors'
SEARCH = ['--search', 'sparsify', '--sparsity', '30%', '--formats', 'bf16,bf16+s20,bf16+s40,bf16+s60',
          '--encoder', 'rtn', '--prefix', '18', '--completion', '14', '--probes', '4', '--held-out-probes',
          '4', '--threads', '1']


class RetrainTest(CommandTest):

    def plan(self, out, steps='8,2'):
        return ['plan', self.model, *SEARCH, '--retrain', steps, '--out', out]

    def test_the_plan_is_a_recovered_one(self):
        out = self.file('plan.pb')
        report = self.json(*self.plan(out))
        recovery = report['recovery']
        self.assertEqual(recovery['weights'], out + SUFFIX)
        self.assertEqual({step['method'] for step in recovery['steps']}, {'retrain'})
        self.assertEqual([step['steps'] for step in recovery['steps']], [10] * len(recovery['steps']))
        self.assertLess(recovery['held_out']['after']['text_kl'],
                        recovery['held_out']['before']['text_kl'])
        # Other commands run the codes that were measured.
        measured = self.json('eval', self.model, '--plan', out, '--prefix', '18', '--completion', '14',
                             '--probes', '4')
        self.assertEqual(measured['text_kl'], recovery['held_out']['after']['text_kl'])
        self.assertIn('retrained after each', self.succeed('show', out).stdout)
        self.succeed('runs', 'show', out + '.run')

    def rounds_kept(self, out):
        """How many rounds' weights the run holds."""
        count = 0
        for folder, _, files in os.walk(out + '.run'):
            for name in files:
                if not name.endswith('.sqlite'):
                    continue
                try:
                    store = sqlite3.connect(f'file:{os.path.join(folder, name)}?mode=ro', uri=True)
                    count += store.execute("SELECT count(*) FROM blobs WHERE key LIKE 'retrained/%' AND "
                                           "key NOT LIKE 'retrained/%/%'").fetchone()[0]
                    store.close()
                except sqlite3.OperationalError:
                    pass  # being made
        return count

    def test_killed_after_any_round_it_resumes_to_the_same_bytes(self):
        whole = self.file('whole.pb')
        self.succeed(*self.plan(whole, '40,10'))
        rounds = self.rounds_kept(whole)
        self.assertGreaterEqual(rounds, 2)
        os.mkdir(self.file('other'))
        out = self.file('other/whole.pb')  # of the same name, which is in the plan
        kills = 0
        for wanted in range(rounds):
            with start(*self.plan(out, '40,10')) as process:
                while process.poll() is None and self.rounds_kept(out) < wanted:
                    time.sleep(0.01)
                time.sleep(0.1)  # into the next one
                process.send_signal(signal.SIGKILL)
                process.communicate()
                kills += process.returncode == -signal.SIGKILL
        self.assertGreaterEqual(kills, 2)
        self.succeed(*self.plan(out, '40,10'))
        for suffix in ('', SUFFIX):
            self.assertEqual(read_bytes(out + suffix), read_bytes(whole + suffix))
        shutil.rmtree(out + '.run')

    def test_wrong_steps_are_refused_in_one_line(self):
        out = self.file('plan.pb')
        for steps, parts in (('', ['two numbers']), ('450', ['450', 'two numbers']),
                             ('450,50,1', ['two numbers']), ('many,few', ['many,few']),
                             ('-1,5', ['-1 masked', 'negative']), ('5,-1', ['-1 unmasked']),
                             ('0,0', ['no steps'])):
            self.refuse(2, ['--retrain', *parts], *self.plan(out, steps))
        self.refuse(2, ['--retrain', 'sparsify', 'greedy'], 'plan', self.model, '--budget', '5bpw',
                    '--retrain', '4,1', '--out', out)
        self.refuse(2, ['--recover', '--retrain'], *self.plan(out), '--recover', 'blockwise')

    def test_formats_that_cannot_be_retrained_are_refused_before_the_work(self):
        command = self.plan(self.file('plan.pb'))
        command[command.index('--formats') + 1] = 'int4-g32,int4-g32+s50'
        self.refuse(3, ['int4-g32', 'cannot be retrained'], *command)


if __name__ == '__main__':
    main()
