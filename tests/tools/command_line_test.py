#!/usr/bin/env python3
"""How command lines are read: help, names that are nearly right, configuration files, quiet runs.

    command_line_test.py BINARY SOURCE_DIR [unittest arguments]
"""

from command_case import PLAN_PROBES, CommandTest, main


class LineTest(CommandTest):

    def test_help_has_three_forms_and_examples(self):
        self.assertEqual(self.succeed('help').stdout, self.succeed('--help').stdout)
        for words in (['plan'], ['runs', 'show'], ['fit']):
            text = self.succeed(*words, '--help').stdout
            self.assertEqual(self.succeed('help', *words).stdout, text)
        commands = [line.split()[0] for line in self.succeed('help').stdout.split('Subcommands:')[1].splitlines()
                    if line.startswith('  ')]
        self.assertIn('fit', commands)
        for command in commands:
            text = self.succeed('help', command).stdout
            examples = [line for line in text.splitlines() if line.startswith('  bitbudget ')]
            self.assertTrue(examples, command)
            for example in examples:
                self.assertEqual(example.split()[1], command)
                for word in example.split('#')[0].split('|')[0].split():
                    if word.startswith('-'):
                        self.assertIn(word, text.replace(example, ''), example)

    def test_names_that_are_nearly_right_are_suggested(self):
        plan = ['plan', self.model, '--budget', '5bpw', '--out', self.file('out.pb')]
        for parts, args in (
            (["unknown option '--taget'", "'--target'"], [*plan, '--taget', 'llama.cpp']),
            (["unknown option '--taget'", "'--target'"], [*plan, '--taget=llama.cpp']),
            (["unknown command 'plna'", "'plan'"], ['plna', self.model]),
            (["unknown command 'plna'", "'plan'"], ['plna']),
            (["unknown option '-Z'", '--help'], [*plan, '-Z']),
            (["unexpected argument 'extra'"], [*plan, 'extra']),
            (["'llamacpp'", "'llama.cpp'"], [*plan, '--target', 'llamacpp']),
            (['"int4g64"', '"int4-g64"'], ['eval', self.model, '--uniform', 'int4g64']),
            (['"Q4_K"', '"q4_k"'], ['eval', self.model, '--uniform', 'Q4_K']),
        ):
            with self.subTest(args=args):
                self.refuse(2, parts, *args)
        self.refuse(3, ['lm_head', 'model.embed_tokens'], *plan, '--pin', 'lm_head=int8')

    def test_short_options(self):
        text = self.file('text.txt', 'It was the best of times. ' * 200)
        short = self.json('plan', self.model, '--budget', '5bpw', '-o', self.file('a.pb'), '-t', text,
                          '-q', *PLAN_PROBES)
        long = self.json('plan', self.model, '--budget', '5bpw', '--out', self.file('b.pb'), '--text',
                         text, '--quiet', *PLAN_PROBES)
        for report in (short, long):
            del report['search']['seconds'], report['memory']
        self.assertEqual(short, long)
        self.assertEqual(self.succeed('-V').stdout, self.succeed('--version').stdout)

    def test_quiet_runs_say_nothing_but_results_and_errors(self):
        args = ['plan', self.model, '--budget', '5bpw', '--out', self.file('out.pb'), *PLAN_PROBES]
        self.assertNotEqual(self.succeed(*args, '--force', '--no-run-dir').stderr, '')
        quiet = self.succeed(*args, '-q', '--no-run-dir')
        self.assertEqual(quiet.stderr, '')
        self.assertIn('verdict', quiet.stdout)
        self.refuse(3, ['nothing.pb'], '-q', 'show', 'nothing.pb')

    def test_configuration_files_give_options(self):
        config = self.file('plan.toml', '''
            budget = "5bpw"          # for every command
            pin = ["embed=int8", "down_proj=int8"]
            [plan]
            budget = "6bpw"          # a section comes before the top
            no-run-dir = true
            exhaustive = false
            [eval]
            uniform = "int8"
            ''')
        args = ['plan', self.model, '--out', self.file('out.pb'), *PLAN_PROBES[:-2]]
        given = self.json(*args, '--held-out-probes', 4, '--config', config)
        same = self.json(*args, '--held-out-probes', 4, '--budget', '6bpw', '--pin', 'embed=int8', '--pin',
                         'down_proj=int8', '--no-run-dir')
        for report in (given, same):
            del report['search']['seconds'], report['memory']
        self.assertEqual(given, same)
        # The command line comes first, also in its short and joined forms.
        smaller = self.json(*args, '--held-out-probes', 4, '--config', config, '--budget=7bpw')
        self.assertGreater(smaller['budget_bytes'], given['budget_bytes'])

    def test_wrong_configuration_files_are_refused(self):
        out = self.file('out.pb')
        for parts, text in (
            (["'budgte'", "'--budget'"], 'budgte = "5bpw"'),
            (["'plam'", "'plan'"], '[plam]\nbudget = "5bpw"'),
            (['line 2'], 'budget = "5bpw"\nseed ='),
            (["'json'", 'true or false'], 'json = 3'),
            (["'budget'", 'true or false'], 'budget = true'),
            (["'budget'"], 'budget = 2020-01-01'),
            (["'pin'"], 'pin = [true]'),
            (["'config'"], 'config = "other.toml"'),
            (['budget', "'magic'"], 'budget = "magic"'),
        ):
            with self.subTest(text=text):
                config = self.file('bad.toml', text)
                self.refuse(2, parts, 'plan', self.model, '--out', out, '--config', config)
        self.refuse(2, ['nothing.toml'], 'plan', '--config', self.file('nothing.toml'))
        self.refuse(2, ['--config'], 'plan', '--config')
        self.refuse(2, ['--config', 'command'], '--config', self.file('bad.toml'))


if __name__ == '__main__':
    main()
