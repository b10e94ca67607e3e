#!/usr/bin/env python3
"""Command lines and budgets that cannot be met: exit codes 2 and 4, one line, nothing left behind.

    command_usage_test.py BINARY SOURCE_DIR [unittest arguments]
"""

from command_case import PLAN_PROBES, CommandTest, main, run

class UsageTest(CommandTest):
    """Exit code 2: the command line is wrong, whatever the files hold."""

    def test_command_lines(self):
        out = self.file('out.pb')
        recover = self.make_plan('--no-run-dir', out='recover.pb')
        plan = ['plan', self.model, '--out', out]
        budget = [*plan, '--budget', '5bpw']
        uniform = ['eval', self.model, '--uniform', 'int8']
        tokens = ['generate', self.model, '--tokens']
        for parts, args in (
            (['command'], []),
            (['frobnicate'], ['frobnicate']),
            (['--nonsense'], [*budget, '--nonsense']),
            (['--non?sense'], [*budget, '--non\x1bsense', 'a\nb']),
            (['MODEL'], ['plan', '--budget', '5bpw', '--out', out]),
            (['--budget'], plan),
            (['--out'], ['plan', self.model, '--budget', '5bpw']),
            (['--out', 'empty'], ['plan', self.model, '--budget', '5bpw', '--out', '']),
            (['--out', 'empty'], ['logits', self.model, '--tokens', '1', '--out', '']),
            (['extra'], [*budget, 'extra']),
            (['--beam-width', '--search beam'], [*budget, '--beam-width', 3]),
            (['--order', '--search beam'], [*budget, '--order', 'ppl']),
            (['--kv', '--context'], [*budget, '--kv', 'q8_0']),
            (['--scorer', 'layerwise'], [*budget, '--scorer', 'zd']),
            (['--costs', 'greedy'], [*budget, '--search', 'uniform', '--costs', 'fisher']),
            (['--prune-embeddings', '--sparsity'], [*budget, '--prune-embeddings']),
            (['--pruning', '--formats'], [*budget, '--pruning', 'wanda']),
            (['--encoder', 'plan'], ['eval', self.model, '--plan', recover, '--encoder', 'rtn']),
            (['--calibration', '--plan'], [*tokens, '1', '--calibration', out]),
            (['--format', 'scorer'], ['score', self.model, '--scorer', 'zd', '--format', 'int8']),
            (['--formats', 'scorer'], ['score', self.model, '--scorer', 'lim', '--formats', 'int8']),
            *(([option, method], ['recover', self.model, '--plan', recover, '--out', out, '--method', 'scales',
                                  option, *value])
              for option, method, value in (('--kl-weight', 'distill', ['0.5']), ('--freeze', 'distill', ['ov']),
                                            ('--hidden-weight', 'onebit', ['1']), ('--let', 'omniquant', []),
                                            ('--augmented-loss', 'omniquant', []))),
            (['--fdt-only'], [*uniform, '--against', 'int4-g64', '--fdt-only']),
            *((["budget '" + text + "'", '4.5bpw'], [*plan, '--budget', text])
              for text in ('', '5', '5bits', '-5bpw', '0B', 'nan%', '1e400GiB')),
            (['--search', 'magic', 'greedy'], [*budget, '--search', 'magic']),
            (['--scorer', 'magic', 'lim'], [*budget, '--scorer', 'magic']),
            (['magic', 'fdt75'], [*budget, '--objective', 'magic']),
            (['magic', 'clip'], [*budget, '--encoder', 'magic']),
            (['magic', 'int16'], [*budget, '--activations', 'magic']),
            (['int3', 'int4-g64'], [*budget, '--formats', 'int8,int3']),
            (['down', 'REGEX=FORMAT'], [*budget, '--pin', 'down']),
            (["'(' is not a regular expression"], [*budget, '--pin', '(=int8']),
            (['int9'], [*budget, '--pin', 'down=int9']),
            (['REGEX=N'], [*budget, '--min-bits', 'down']),
            (['99'], [*budget, '--min-bits', 'down=99']),
            (['--threads'], [*budget, '--threads', 0]),
            (['--threads'], [*budget, '--threads', 'many']),
            (['--probes'], [*budget, '--probes', 1]),
            (['--held-out-probes'], [*budget, '--held-out-probes', -3]),
            (['--prefix'], [*budget, '--prefix', 0]),
            (['--completion'], [*budget, '--completion', '1e9']),
            (['--seed'], [*budget, '--seed', '-1']),
            (['--memory', '16', 'GiB'], [*budget, '--memory', '16']),
            (['--memory', '60%'], [*uniform, '--memory', '60%']),
            (['--run-dir', '--no-run-dir'], [*budget, '--run-dir', 'a', '--no-run-dir']),
            (['--recover', 'magic', 'blockwise'], [*budget, '--recover', 'magic']),
            (['subcommand'], ['runs']),
            (['DIR'], ['runs', 'show']),
            (['--text', '--prompts'], [*budget, '--text', 'a', '--prompts', 'b']),
            (['--plan', '--uniform'], ['eval', self.model]),
            (['--plan', '--uniform'], [*uniform, '--plan', out]),
            (['int9', 'int8'], ['eval', self.model, '--uniform', 'int9']),
            (['magic'], [*uniform, '--encoder', 'magic']),
            (['magic'], [*uniform, '--activations', 'magic']),
            (['--scorer'], ['score', self.model]),
            (['--scorer', 'magic'], ['score', self.model, '--scorer', 'magic']),
            (['--costs', "'lim'", 'kfac, fisher'], [*budget, '--costs', 'lim']),
            (['--formats', 'int9'], ['score', self.model, '--scorer', 'kfac', '--formats', 'int9']),
            (['--prompt', '--tokens'], ['generate', self.model]),
            (['--prompt', '--tokens'], [*tokens, '1', '--prompt', 'x']),
            (["'1,x'", "'x'"], [*tokens, '1,x']),
            (['--tokens'], [*tokens, '']),
            (['--tokens'], [*tokens, '1,,2']),
            (['99999999999'], [*tokens, '99999999999']),
            (['-n'], [*tokens, '1', '-n', 0]),
            (['--sample'], [*tokens, '1', '--seed', 4]),
            (['magic'], [*tokens, '1', '--activations', 'magic']),
            (['--file'], ['tokenize', self.model]),
            (['--plan'], ['recover', self.model, '--out', out]),
            (['--out'], ['recover', self.model, '--plan', recover]),
            (['--out', 'empty'], ['recover', self.model, '--plan', recover, '--out', '']),
            *(([option], ['recover', self.model, '--plan', recover, '--out', out, option, value])
              for option, value in (('--method', 'magic'), ('--method', ''), ('--steps', '-1'),
                                    ('--minutes', '-1'), ('--learning-rate', '-1'),
                                    ('--batch', '0'), ('--freeze', 'all'), ('--kl-weight', '2'),
                                    ('--hidden-weight', '-1'), ('--sequences', '7'),
                                    ('--held-out-probes', '1'), ('--seed', '-1'),
                                    ('--prefix', '0'), ('--completion', '0'), ('--memory', '16'),
                                    ('--activations', 'magic'))),
            (['PLAN'], ['show']),
            (['PLAN_B'], ['diff', out]),
        ):
            with self.subTest(args=args):
                self.refuse(2, parts, *args)

    def test_kernel_override(self):
        self.refuse(2, ['BITBUDGET_CPU=nonsense', 'portable'], 'show', 'plan.pb', tier='nonsense')


class InfeasibleTest(CommandTest):
    """Exit code 4: nothing fits, and the message says how small it could be."""

    def smallest(self, budget, *args):
        result = run('plan', self.model, '--budget', budget, '--out', self.file('out.pb'), *args)
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertEqual(self.files(), self.before)
        words = result.stderr.split('smallest possible size is ')[1].split()
        return int(words[0])

    def test_the_smallest_size_is_named_and_works(self):
        self.before = self.files()
        self.refuse(4, ['budget of 1 bytes', 'smallest possible size is', 'bits per weight'],
                    'plan', self.model, '--budget', '1B', '--out', self.file('out.pb'))
        smallest = self.smallest('1%')
        self.assertEqual(self.smallest(f'{smallest - 1}B'), smallest)
        report = self.json('plan', self.model, '--budget', f'{smallest}B', '--search', 'uniform',
                           *PLAN_PROBES, '--out', self.file('out.pb'))
        self.assertEqual(report['size_bytes'], smallest)
        self.assertEqual(report['budget_bytes'], smallest)

    def test_a_method_that_cannot_reach_it(self):
        before = self.files()
        result = run('plan', self.model, '--budget', '6.5bpw', '--search', 'uniform',
                     '--formats', 'int4-g64,int8,int8-g32', '--min-bits', 'down_proj=8',
                     *PLAN_PROBES, '--out', self.file('out.pb'))
        self.assertEqual(result.returncode, 4, result.stderr)
        last = result.stderr.splitlines()[-1]
        for part in ('method uniform', 'smallest possible size is', 'int8'):
            self.assertIn(part, last)
        self.assertEqual(self.files(), before)


if __name__ == '__main__':
    main()
