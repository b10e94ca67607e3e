#!/usr/bin/env python3
"""Ctrl-C: a clean end with the best plan so far, or with none.

    command_interrupt_test.py BINARY SOURCE_DIR [unittest arguments]
"""

import json
import os
import signal

from command_case import FEW_FORMATS, PROBES, CommandTest, main, read_bytes, start

class InterruptTest(CommandTest):
    """Ctrl-C: exit code 130 with the best plan so far, marked incomplete, or with none."""

    def interrupt(self, phase, *args, number=signal.SIGINT):
        """Sends the signal when the phase begins; returns (stdout, stderr) of the ended command."""
        with start(*args) as process:
            seen = ''
            for line in process.stderr:
                seen += line
                if line.startswith(phase):
                    break
            else:
                self.fail(f'no phase {phase}: {seen}')
            process.send_signal(number)
            rest = process.stderr.read()
            out = process.stdout.read()
            self.assertEqual(process.wait(timeout=120), 130, seen + rest)
        return out, seen + rest

    def plan_args(self, out, probes=16, held_out=16):
        """Probes enough that the phase to interrupt lasts longer than the signal takes."""
        return ('plan', self.model, '--budget', '6bpw', *FEW_FORMATS, '--prefix', 30,
                '--completion', 60, '--probes', probes, '--held-out-probes', held_out, '--out', out)

    def test_before_the_search(self):
        before = self.files()
        for number in (signal.SIGINT, signal.SIGTERM):
            args = self.plan_args(self.file('out.pb'), probes=1000)
            out, err = self.interrupt('sampling search', *args, number=number)
            self.assertEqual(out, '')
            self.assertTrue(err.splitlines()[-1].startswith('bitbudget: '), err)
            self.assertIn('interrupted', err.splitlines()[-1])
            self.assertEqual(self.files(), before)

    def test_in_the_search(self):
        for phase in ('round 1',):
            with self.subTest(phase=phase):
                self.check_interrupted_search(phase)

    def check_interrupted_search(self, phase):
        path = self.file(phase[:5] + '.pb')
        before = self.files()
        out, err = self.interrupt(phase, *self.plan_args(path), '--json')
        report = json.loads(out)
        self.assertFalse(report['complete'])
        self.assertNotIn('held_out', report)
        self.assertIn('incomplete', err.splitlines()[-1])
        self.assertIn(path, err.splitlines()[-1])
        run, = os.listdir(path + '.run')
        kept = [os.path.join(path + '.run', run, name) for name in ('run.lock', 'run.sqlite')]
        self.assertEqual(self.files(), sorted(before + [path] + kept))
        self.assertIn(f'the same command resumes from {path}.run', err.splitlines()[-1])
        plan = self.json('show', path)
        self.assertFalse(plan['complete'])
        self.assertNotIn('held_out', {k for k, v in plan.items() if v})
        self.assertIn('interrupted', self.succeed('show', path).stdout)
        # It is a plan like any other.
        evaluated = self.json('eval', self.model, '--plan', path, *PROBES, '--probes', 2)
        self.assertEqual(evaluated['size_bytes'], report['size_bytes'])
        self.assertLessEqual(report['size_bytes'], report['budget_bytes'])

    def test_in_the_comparison(self):
        path = self.file('out.pb')
        self.interrupt('sampling held-out', *self.plan_args(path, held_out=1000), '--search',
                       'layerwise')
        self.assertFalse(self.json('show', path)['complete'])

    def test_an_old_plan_survives_when_there_is_nothing_new(self):
        path = self.make_plan(out='out.pb')
        old = read_bytes(path)
        self.interrupt('sampling search', *self.plan_args(path, probes=1000))
        self.assertEqual(read_bytes(path), old)

    def test_other_commands(self):
        out, _ = self.interrupt('reference completions', 'eval', self.model, '--uniform', 'int8',
                                '--probes', 500, '--json')
        self.assertEqual(out, '')


if __name__ == '__main__':
    main()
