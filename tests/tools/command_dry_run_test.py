#!/usr/bin/env python3
"""plan --dry-run: what a plan would take, and nothing else.

    command_dry_run_test.py BINARY SOURCE_DIR [unittest arguments]
"""

from command_case import FEW_FORMATS, PLAN_PROBES, PROBES, CommandTest, main, run

SMALL = [*FEW_FORMATS, *PLAN_PROBES]


class DryRunTest(CommandTest):

    def test_stages_with_an_estimate(self):
        before = self.files()
        report = self.json('plan', self.model, '--budget', '6bpw', '--dry-run', *SMALL)
        self.assertEqual(self.files(), before)
        names = [stage['name'] for stage in report['stages']]
        self.assertEqual(names, ['search probes', 'costs', 'search', 'uniform rivals',
                                 'held-out probes', 'held-out comparison'])
        for field in ('passes', 'seconds'):
            self.assertGreater(report[field], 0)
            self.assertAlmostEqual(sum(stage[field] for stage in report['stages']), report[field])
        for stage in report['stages']:
            self.assertEqual(stage['at_most'], stage['name'] in ('search', 'uniform rivals'))
        self.assertLess(report['memory']['estimate'], report['memory']['limit'])
        problem = report['problem']
        self.assertEqual(problem['formats'], ['int4-g64', 'int8'])
        self.assertEqual(problem['units'], problem['free_units'])
        self.assertLess(problem['smallest_bytes'], problem['budget_bytes'])
        self.assertTrue(problem['feasible'])

    def test_work_follows_the_options(self):
        def passes(*args, held_out=4):
            report = self.json('plan', self.model, '--budget', '6bpw', '--dry-run', *FEW_FORMATS,
                               *PROBES, '--probes', 3, '--held-out-probes', held_out, *args)
            return {stage['name']: stage['passes'] for stage in report['stages']}

        usual = passes()
        self.assertNotIn('costs', passes('--search', 'uniform'))
        self.assertIn('calibration', passes('--encoder', 'gptq'))
        self.assertGreater(passes('--encoder', 'gptq')['costs'], 2 * usual['costs'])
        more = passes(held_out=8)
        self.assertAlmostEqual(more['held-out comparison'], 2 * usual['held-out comparison'])

    def test_text_for_people(self):
        before = self.files()
        out = self.file('plan.pb')
        result = self.succeed('plan', self.model, '--budget', '6bpw', '--out', out, '--dry-run',
                              *SMALL)
        self.assertEqual(self.files(), before)
        self.assertEqual(result.stderr, '')
        for part in ('stage', 'passes', 'search', 'at most', 'estimate', 'memory: limit',
                     'units', 'int4-g64, int8', 'feasible'):
            self.assertIn(part, result.stdout)

    def test_refusals_are_those_of_a_plan(self):
        for args in (['--budget', '1B'], ['--budget', '6bpw', '--memory', '1KiB'],
                     ['--budget', '6bpw', '--search', 'magic']):
            with self.subTest(args=args):
                dry = run('plan', self.model, '--dry-run', *args)
                real = run('plan', self.model, '--out', self.file('plan.pb'), *args)
                self.assertNotEqual(dry.returncode, 0)
                self.assertEqual(dry.returncode, real.returncode)
                self.assertEqual(dry.stdout, '')
        self.refuse(4, ['smallest possible size is'], 'plan', self.model, '--dry-run', '--budget',
                    '1B')


class OverallTest(CommandTest):

    def test_an_exploration_is_one_whole(self):
        args = ('explore', self.model, '--sizes', '5bpw,9bpw', '--rivals', 'additive', *SMALL)
        before = self.files()
        dry = self.succeed(*args, '--dry-run')
        self.assertEqual(self.files(), before)
        self.assertEqual(dry.stderr, '')
        stages = [line[:22].strip() for line in dry.stdout.split('\n\n')[0].splitlines()[1:-1]]
        self.assertEqual(stages, ['search probes', 'costs', 'greedy 5bpw', 'greedy 9bpw',
                                  'additive 5bpw', 'additive 9bpw', 'uniform rivals',
                                  'held-out probes', 'held-out comparison'])
        self.assertRegex(dry.stdout, r'budgets: \d+, \d+ bytes of weights; feasible')
        result = self.succeed(*args, '--out', self.file('page.html'))
        lines = result.stderr.splitlines()
        self.assertRegex(lines[1], r'^9 stages, at most \d+\.\d passes, about \d+:\d\d left$')
        shares = [int(line.split(', all ')[1].split(' %')[0]) for line in lines[2:]]
        self.assertEqual(shares, sorted(shares))
        self.assertEqual(shares[-1], 100)
        self.refuse(2, ['--out'], *args)

    def test_every_phase_says_how_far_the_whole_is(self):
        result = self.succeed('plan', self.model, '--budget', '6bpw', '--out',
                              self.file('plan.pb'), *SMALL)
        lines = result.stderr.splitlines()
        self.assertRegex(lines[1], r'^6 stages, at most \d+\.\d passes, about \d+:\d\d left$')
        shares = []
        for line in lines[2:]:
            self.assertRegex(line, r'; [a-z -]+, stage \d of 6, all \d+ %, about \d+:\d\d left$')
            shares.append(int(line.split(', all ')[1].split(' %')[0]))
        self.assertEqual(shares, sorted(shares))
        self.assertEqual(shares[-1], 100)


if __name__ == '__main__':
    main()
