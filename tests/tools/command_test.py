#!/usr/bin/env python3
"""Runs the bitbudget command as a user does, on copies of a model that a real run can load.

    command_test.py BINARY SOURCE_DIR [unittest arguments]

Every promise of the command line is here: the documented fields of --json, the exit codes, one
line per failure and nothing left behind, the same results for any number of threads and any CPU
tier, and a clean end on Ctrl-C.
"""

import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

BINARY = ''
MODELS = ''

VOCABULARY = 1024  # of novel-1m
CONTEXT = 256
END_OF_SEQUENCE = 2

# Probes that take a fraction of a second.
PROBES = ['--prefix', '6', '--completion', '12', '--seed', '3']
PLAN_PROBES = PROBES + ['--probes', '3', '--held-out-probes', '4']
FEW_FORMATS = ['--formats', 'int4-g64,int8']

METRICS = {
    'fdt_mean', 'fdt_ci', 'fdt_75', 'fdt_75_ci', 'sdt_mean', 'sdt_ci', 'dppl', 'dppl_ci',
    'kl_mean', 'kl_ci', 'top1_agreement'
}
SIZE = {'size_bytes', 'bits_per_weight'}
PERPLEXITY = {'ppl_reference', 'ppl_candidate'}
PERPLEXITY_INTERVALS = {'ppl_reference_ci', 'ppl_candidate_ci'}

# Every option of every subcommand; --help must name them all and no others.
OPTIONS = {
    'plan': {
        '--threads', '--budget', '--out', '--search', '--scorer', '--objective', '--formats',
        '--pin', '--min-bits', '--encoder', '--activations', '--probes', '--held-out-probes',
        '--text', '--prompts', '--prefix', '--completion', '--seed', '--run-dir', '--no-run-dir',
        '--json'
    },
    'eval': {
        '--threads', '--plan', '--uniform', '--encoder', '--activations', '--probes', '--text',
        '--prompts', '--prefix', '--completion', '--seed', '--json'
    },
    'score': {
        '--threads', '--scorer', '--probes', '--text', '--prompts', '--prefix', '--completion',
        '--seed', '--json'
    },
    'show': {'--json'},
    'runs': set(),
    'diff': set(),
    'generate': {
        '--threads', '--plan', '--prompt', '--tokens', '-n', '--sample', '--seed',
        '--activations', '--json'
    },
    'tokenize': {'--file', '--json'},
    'logits': {'--threads', '--plan', '--tokens', '--out', '--activations'},
}


def environment(tier=None):
    env = {k: v for k, v in os.environ.items() if k != 'BITBUDGET_CPU'}
    if tier is not None:
        env['BITBUDGET_CPU'] = tier
    return env


def run(*args, tier=None):
    return subprocess.run([BINARY, *map(str, args)],
                          env=environment(tier),
                          capture_output=True,
                          encoding='utf-8',
                          errors='replace',
                          timeout=300,
                          check=False)


def read_bytes(path):
    with open(path, 'rb') as file:
        return file.read()


def write(path, contents):
    mode = 'wb' if isinstance(contents, bytes) else 'w'
    with open(path, mode) as file:
        file.write(contents)


def read_npy(path):
    """A float32 [rows, columns] .npy file as a list of rows of raw little-endian floats."""
    data = read_bytes(path)
    assert data[:8] == b'\x93NUMPY\x01\x00', data[:8]
    header_size = struct.unpack('<H', data[8:10])[0]
    assert (10 + header_size) % 64 == 0, header_size
    header = eval(data[10:10 + header_size].decode('ascii'), {'__builtins__': {}})  # a dict literal
    assert header['descr'] == '<f4' and header['fortran_order'] is False, header
    rows, columns = header['shape']
    body = data[10 + header_size:]
    assert len(body) == 4 * rows * columns, (len(body), rows, columns)
    return [struct.unpack(f'<{columns}f', body[4 * columns * r:4 * columns * (r + 1)])
            for r in range(rows)]


class Checkpoint:
    """model.safetensors taken apart, for a test to break."""

    def __init__(self, folder):
        self.path = os.path.join(folder, 'model.safetensors')
        data = read_bytes(self.path)
        size = struct.unpack('<Q', data[:8])[0]
        self.header = json.loads(data[8:8 + size])
        self.data = bytearray(data[8 + size:])

    def save(self):
        header = json.dumps(self.header).encode()
        header += b' ' * (-len(header) % 8)
        write(self.path, struct.pack('<Q', len(header)) + header + bytes(self.data))


class CommandTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='bitbudget-command-')
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.model = self.copy('novel-1m')

    def copy(self, name, to='model'):
        folder = os.path.join(self.folder, to)
        shutil.copytree(os.path.join(MODELS, name), folder)
        return folder

    def file(self, name, contents=None):
        path = os.path.join(self.folder, name)
        if contents is not None:
            write(path, contents)
        return path

    def files(self):
        return sorted(os.path.join(folder, name)
                      for folder, _, names in os.walk(self.folder) for name in names)

    def succeed(self, *args, tier=None):
        result = run(*args, tier=tier)
        self.assertEqual(result.returncode, 0, f'{args}: {result.stderr}')
        return result

    def json(self, *args, tier=None):
        """Standard output as JSON: it holds nothing else."""
        return json.loads(self.succeed(*args, '--json', tier=tier).stdout)

    def refuse(self, code, parts, *args, tier=None):
        """The command fails with this exit code and one line with these parts, and that is all."""
        before = self.files()
        result = run(*args, tier=tier)
        self.assertEqual(result.returncode, code, f'{args}: {result.stderr}')
        self.assertEqual(result.stdout, '', args)
        self.assertEqual(result.stderr.count('\n'), 1, f'{args}: {result.stderr}')
        self.assertTrue(result.stderr.startswith('bitbudget: '), result.stderr)
        self.assertTrue(result.stderr.endswith('\n'), result.stderr)
        for part in parts:
            self.assertIn(str(part), result.stderr, args)
        self.assertEqual(self.files(), before, args)

    def make_plan(self, *args, model=None, out='plan.pb'):
        path = self.file(out)
        self.succeed('plan', model or self.model, '--budget', '5bpw', '--search', 'uniform',
                     *PLAN_PROBES, '--out', path, *args)
        return path

    def text_file(self):
        words = ['the', 'of', 'and', 'to', 'was', 'in', 'that', 'he', 'his', 'it', 'with', 'as']
        return self.file(
            'text.txt',
            ' '.join(words[(i * i * 31 + i // 7) % len(words)] + ('.' if i % 11 == 0 else '')
                     for i in range(3000)))


class FormsTest(CommandTest):
    """Every documented form works, and its JSON has the documented fields."""

    def check_metrics(self, metrics, tokens):
        for name in ('fdt', 'fdt_75', 'sdt', 'dppl', 'kl'):
            low, high = metrics[name + '_ci']
            value = metrics.get(name, metrics.get(name + '_mean'))
            self.assertLessEqual(low, high)
            self.assertTrue(math.isfinite(value))
        self.assertTrue(0 <= metrics['fdt_mean'] <= tokens)
        self.assertTrue(0 <= metrics['top1_agreement'] <= 1)
        self.assertGreaterEqual(metrics['dppl'], 1)

    def test_plan(self):
        out = self.file('plan.pb')
        for search in ('greedy', 'additive', 'layerwise', 'uniform', 'random'):
            for scorer in ('lim', 'zd') if search == 'layerwise' else ('lim',):
                with self.subTest(search=search, scorer=scorer):
                    report = self.json('plan', self.model, '--budget', '6bpw', '--search', search,
                                       '--scorer', scorer, *FEW_FORMATS, *PLAN_PROBES,
                                       '--threads', 2, '--out', out)
                    self.check_plan_report(report, out)

    def check_plan_report(self, report, out):
        self.assertEqual(
            set(report), SIZE | {
                'budget_bytes', 'complete', 'search', 'held_out', 'uniform', 'fdt_difference_ci',
                'kl_difference_ci', 'uniform_emitted'
            } | ({'rejected'} if report['uniform_emitted'] else set()))
        self.assertEqual(set(report['search']),
                         {'candidates', 'rounds', 'computed', 'naive', 'seconds'})
        self.assertEqual(
            set(report['held_out']),
            SIZE | METRICS | PERPLEXITY | {'noise_floor', 'completion_tokens', 'probes'})
        self.assertEqual(set(report['held_out']['noise_floor']), METRICS)
        self.assertEqual(set(report['uniform']), {'format'} | SIZE | METRICS | PERPLEXITY)
        for metrics in (report['held_out'], report['uniform'], report['held_out']['noise_floor']):
            self.check_metrics(metrics, 12)
        self.assertTrue(report['complete'])
        self.assertLessEqual(report['size_bytes'], report['budget_bytes'])
        self.assertLessEqual(report['uniform']['size_bytes'], report['budget_bytes'])
        self.assertEqual(report['held_out']['size_bytes'], report['size_bytes'])
        self.assertGreater(report['search']['candidates'], 0)
        self.assertLessEqual(report['search']['computed'], report['search']['naive'])
        plan = self.json('show', out)
        size = int(plan['model']['fixed_bytes']) + sum(
            int(c['size_bytes']) for c in plan['components'])
        self.assertEqual(report['size_bytes'], size)
        self.assertAlmostEqual(report['bits_per_weight'],
                               8 * size / int(plan['model']['parameter_count']), places=12)

    def test_plan_with_text_and_rules(self):
        text = self.text_file()
        out = self.file('plan.json')
        report = self.json('plan', self.model, '--budget', '60%', '--search', 'uniform', '--text',
                           text, '--pin', 'embed=int8', '--pin', r'layers\.0\.=int8', '--min-bits',
                           'down_proj$=8', '--objective', 'kl', '--encoder', 'rtn', *PLAN_PROBES,
                           '--out', out)
        for part in (report['held_out'], report['uniform']):
            self.assertLessEqual(PERPLEXITY | PERPLEXITY_INTERVALS, set(part))
            self.assertGreater(part['ppl_reference'], 1)
            low, high = part['ppl_candidate_ci']
            self.assertTrue(low <= part['ppl_candidate'] <= high)
        with open(out, encoding='ascii') as file:
            plan = json.load(file)  # .json: the plan itself is JSON
        for component in plan['components']:
            name = component['name']
            if 'embed' in name or 'layers.0.' in name or 'down_proj' in name:
                self.assertEqual(component['format'], 'int8', name)
        self.assertEqual(plan['options']['pins'], ['embed=int8', r'layers\.0\.=int8'])

    def test_a_plan_for_people(self):
        text = self.succeed('plan', self.model, '--budget', '5bpw', '--search', 'uniform',
                            *PLAN_PROBES, '--out', self.file('plan.pb')).stdout
        self.assertIn(self.file('plan.pb'), text)
        self.assertIn('5bpw', text)
        shown = self.succeed('show', self.file('plan.pb')).stdout
        self.assertIn(shown.strip(), text)

    def test_progress_goes_to_standard_error(self):
        result = self.succeed('plan', self.model, '--budget', '5bpw', '--search', 'uniform',
                              *PLAN_PROBES, '--out', self.file('plan.pb'), '--json')
        json.loads(result.stdout)
        self.assertIn('reference completions', result.stderr)
        self.assertNotIn('\x1b', result.stderr)
        self.assertNotIn('\r', result.stderr)

    def test_eval(self):
        plan = self.make_plan()
        reports = {}
        for what in (['--plan', plan], ['--uniform', 'int4-g64']):
            report = self.json('eval', self.model, *what, *PROBES, '--probes', 4)
            self.assertEqual(
                set(report), SIZE | METRICS | PERPLEXITY
                | {'noise_floor', 'completion_tokens', 'per_probe'})
            self.assertEqual(set(report['noise_floor']), METRICS)
            self.assertEqual(report['completion_tokens'], 12)
            self.assertIsNone(report['ppl_reference'])
            self.assertIsNone(report['ppl_candidate'])
            self.assertEqual(len(report['per_probe']), 4)
            for probe in report['per_probe']:
                self.assertEqual(set(probe), {'prompt_tokens', 'fdt', 'sdt', 'tokens', 'nll', 'kl'})
                self.assertEqual(len(probe['prompt_tokens']), 6)
                self.assertTrue(all(0 <= t < VOCABULARY for t in probe['prompt_tokens']))
                self.assertTrue(0 <= probe['fdt'] <= probe['tokens'] <= 12)
                self.assertTrue(0 <= probe['sdt'] <= probe['tokens'] - probe['fdt'])
            self.check_metrics(report, 12)
            for mean, value in (('fdt_mean', 'fdt'), ('sdt_mean', 'sdt')):
                self.assertAlmostEqual(
                    report[mean],
                    sum(p[value] for p in report['per_probe']) / len(report['per_probe']),
                    places=9)
            reports[what[0]] = report
        # The plan's own evidence is what eval measures on the same probes.
        shown = self.json('show', plan)['held_out']
        self.assertEqual(shown['plan']['kl_mean'], reports['--plan']['kl_mean'])
        self.assertEqual(shown['plan']['fdt_mean'], reports['--plan']['fdt_mean'])

    def test_eval_with_text(self):
        report = self.json('eval', self.model, '--uniform', 'int8', '--text', self.text_file(),
                           *PROBES, '--probes', 5)
        self.assertLessEqual(PERPLEXITY | PERPLEXITY_INTERVALS, set(report))
        self.assertGreater(report['ppl_reference'], 1)
        self.assertGreater(report['ppl_candidate'], 1)
        self.assertIn('perplexity', self.succeed('eval', self.model, '--uniform', 'int8', '--text',
                                                 self.text_file(), *PROBES, '--probes', 5).stdout)

    def test_eval_with_prompts(self):
        prompts = self.file('prompts.txt',
                            ''.join(f'It was the chapter {i} of\n\n' for i in range(16)))
        report = self.json('eval', self.model, '--uniform', 'int4-g64', '--prompts', prompts,
                           '--completion', 6, '--probes', 4)
        self.assertEqual(len(report['per_probe']), 4)
        self.assertIsNone(report['ppl_candidate'])

    def test_eval_of_the_stored_format_is_the_reference(self):
        report = self.json('eval', self.model, '--uniform', 'bf16', *PROBES, '--probes', 4)
        self.assertEqual(report['kl_mean'], 0)
        self.assertEqual(report['fdt_mean'], report['completion_tokens'])
        self.assertEqual(report['bits_per_weight'], 16)

    def test_score(self):
        lim = self.json('score', self.model, '--scorer', 'lim', '--probes', 4, *PROBES)
        zd = self.json('score', self.model, '--scorer', 'zd')
        by_text = self.json('score', self.model, '--scorer', 'lim', '--text', self.text_file(),
                            '--probes', 4, *PROBES)
        fields = {'scorer', 'blocks', 'order'}
        self.assertEqual(set(lim), fields | {'attention', 'mlp'})
        self.assertEqual(set(zd), fields | {'components'})
        self.assertNotEqual(lim['blocks'], by_text['blocks'])
        for report, most_important_first in ((lim, lambda s: -s), (by_text, lambda s: -s),
                                             (zd, lambda s: s)):
            self.assertEqual(len(report['blocks']), 4)
            self.assertEqual(
                report['order'],
                sorted(range(4), key=lambda b: (most_important_first(report['blocks'][b]), b)))
        self.assertEqual((lim['scorer'], zd['scorer']), ('lim', 'zd'))
        self.assertIn('most', self.succeed('score', self.model, '--scorer', 'zd').stdout)

    def test_generate(self):
        ids = self.json('generate', self.model, '--tokens', '1,370,954', '-n', 7)
        self.assertEqual(ids['prompt_tokens'], [1, 370, 954])
        self.assertEqual(len(ids['tokens']), 7)
        self.assertEqual(set(ids), {'prompt_tokens', 'tokens', 'text'})
        prompted = self.json('generate', self.model, '--prompt', 'It was the', '-n', 5)
        self.assertEqual(prompted['prompt_tokens'][0], 1)  # the beginning-of-sequence token
        self.assertEqual(
            prompted['tokens'],
            self.json('generate', self.model, '--tokens',
                      ','.join(map(str, prompted['prompt_tokens'])), '-n', 5)['tokens'])
        text = self.succeed('generate', self.model, '--prompt', 'It was the', '-n', 5).stdout
        self.assertEqual(text, f'It was the{prompted["text"]}\n'
                         if text.startswith('It was the' + prompted['text']) else
                         f'It was the {prompted["text"]}\n')
        planned = self.json('generate', self.model, '--plan', self.make_plan(), '--tokens',
                            '1,370,954', '-n', 7)
        self.assertEqual(len(planned['tokens']), 7)
        # Without a tokenizer ids are all there is.
        os.remove(os.path.join(self.model, 'tokenizer.model'))
        self.assertEqual(
            self.succeed('generate', self.model, '--tokens', '1,370,954', '-n', 7).stdout,
            ','.join(map(str, ids['tokens'])) + '\n')

    def test_sampling_is_seeded(self):
        def sample(seed):
            return self.json('generate', self.model, '--tokens', '1,370', '-n', 30, '--sample',
                             '--seed', seed)['tokens']
        self.assertEqual(sample(1), sample(1))
        self.assertNotEqual(sample(1), sample(2))

    def test_logits(self):
        with open(os.path.join(self.model, 'golden.json'), encoding='utf-8') as file:
            golden = json.load(file)['sequences'][0]
        tokens = ','.join(map(str, golden['tokens']))
        out = self.file('logits.npy')
        result = self.succeed('logits', self.model, '--tokens', tokens, '--out', out)
        self.assertEqual(result.stdout, '')
        rows = read_npy(out)
        self.assertEqual([len(row) for row in rows], [VOCABULARY] * len(golden['tokens']))
        for row, ids, values in zip(rows, golden['top5_ids'], golden['top5_logits']):
            for token, value in zip(ids, values):
                # An independent float32 implementation; its five decimals leave 5e-6, rounding in
                # sums of up to 256 products about 256 * 2^-24 of their absolute sum (some tens).
                self.assertAlmostEqual(row[token], value, delta=1e-3)
        # Rows do not depend on how many there are, and the last one decides the next token.
        self.succeed('logits', self.model, '--tokens', '1,370,954', '--out', out)
        self.assertEqual(read_npy(out), rows[:3])
        plan = self.make_plan()
        for what in ([], ['--plan', plan]):
            self.succeed('logits', self.model, *what, '--tokens', tokens, '--out', out)
            last = read_npy(out)[-1]
            self.assertEqual(
                self.json('generate', self.model, *what, '--tokens', tokens, '-n', 1)['tokens'],
                [last.index(max(last))])
        self.assertNotEqual(read_npy(out), rows)  # the plan's are others

    def test_tokenize(self):
        text = self.file('t.txt', 'It was the chapter.')
        tokens = self.json('tokenize', self.model, '--file', text)
        self.assertEqual(set(tokens), {'tokens'})
        self.assertGreater(len(tokens['tokens']), 3)
        self.assertEqual(
            self.succeed('tokenize', self.model, '--file', text).stdout.split(),
            list(map(str, tokens['tokens'])))
        prompted = self.json('generate', self.model, '--prompt', 'It was the chapter.', '-n', 1)
        self.assertEqual(prompted['prompt_tokens'], [1] + tokens['tokens'])
        self.assertEqual(self.json('tokenize', self.model, '--file', self.file('e.txt', '')),
                         {'tokens': []})

    def test_diff(self):
        a = self.make_plan(out='a.pb')
        b = self.make_plan('--pin', 'down=int8', out='b.json')
        text = self.succeed('diff', a, b).stdout
        self.assertIn(a, text)
        self.assertIn('int8', text)

    def test_version(self):
        self.assertRegex(self.succeed('--version').stdout, r'^\d+\.\d+\.\d+\n$')

    def test_help_names_every_option(self):
        main = self.succeed('--help')
        self.assertEqual(main.stderr, '')
        for command, options in OPTIONS.items():
            self.assertIn(f'\n  {command} ', main.stdout)
            text = self.succeed(command, '--help').stdout
            named = {word.split(',')[-1] if word.startswith('-h,') else word
                     for line in text.splitlines() if line.startswith('  ')
                     for word in line.split()[:1] if word.startswith('-')}
            self.assertEqual(named, options | {'--help'}, command)


class TeacherForcingTest(CommandTest):
    """The first divergent token of one teacher-forced pass is that of free-running decoding."""

    def test_fdt_is_where_two_generations_part(self):
        plan = self.make_plan()
        report = self.json('eval', self.model, '--plan', plan, '--prefix', 8, '--completion', 40,
                           '--probes', 6, '--seed', 11)
        parted = 0
        for probe in report['per_probe']:
            prompt = ['--tokens', ','.join(map(str, probe['prompt_tokens'])), '-n', 40,
                      '--threads', 1]
            reference = self.json('generate', self.model, *prompt)['tokens']
            planned = self.json('generate', self.model, '--plan', plan, *prompt)['tokens']
            self.assertEqual(probe['tokens'], len(reference))
            fdt = next((i for i, token in enumerate(reference)
                        if planned[i:i + 1] != [token]), len(reference))
            self.assertEqual(probe['fdt'], fdt)
            parted += fdt < len(reference)
        self.assertGreater(parted, 0)


class DeterminismTest(CommandTest):

    def test_threads_and_tiers_give_the_same_bytes(self):
        tiers = ['portable']
        if run('show', 'none', tier='avx2').returncode == 3:  # 2: not on this machine
            tiers.append('avx2')
        else:
            print('no avx2 here: only the portable kernels are tested', file=sys.stderr)
        for search in ('greedy', 'layerwise'):
            plans, evaluations = {}, {}
            for tier in tiers:
                for threads in (1, 2):
                    out = self.file(f'{search}-{tier}-{threads}.pb')
                    self.succeed('plan', self.model, '--budget', '6bpw', '--search', search,
                                 *FEW_FORMATS, *PLAN_PROBES, '--threads', threads, '--out', out,
                                 tier=tier)
                    plans[tier, threads] = read_bytes(out)
                    evaluations[tier, threads] = self.succeed(
                        'eval', self.model, '--plan', out, *PROBES, '--probes', 3, '--threads',
                        threads, '--json', tier=tier).stdout
            self.assertEqual(len(set(plans.values())), 1, search)
            self.assertEqual(len(set(evaluations.values())), 1, search)


class UsageTest(CommandTest):
    """Exit code 2: the command line is wrong, whatever the files hold."""

    def test_command_lines(self):
        out = self.file('out.pb')
        plan = ['plan', self.model, '--out', out]
        budget = [*plan, '--budget', '5bpw']
        uniform = ['eval', self.model, '--uniform', 'int8']
        tokens = ['generate', self.model, '--tokens']
        for parts, args in (
            (['subcommand'], []),
            (['frobnicate'], ['frobnicate']),
            (['--nonsense'], [*budget, '--nonsense']),
            (['MODEL'], ['plan', '--budget', '5bpw', '--out', out]),
            (['--budget'], plan),
            (['--out'], ['plan', self.model, '--budget', '5bpw']),
            (['--out', 'empty'], ['plan', self.model, '--budget', '5bpw', '--out', '']),
            (['--out', 'empty'], ['logits', self.model, '--tokens', '1', '--out', '']),
            (['extra'], [*budget, 'extra']),
            *((["budget '" + text + "'", '4.5bpw'], [*plan, '--budget', text])
              for text in ('', '5', '5bits', '-5bpw', '0B', '5 bpw', 'nan%', '1e400GiB')),
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
            (['--text', '--prompts'], [*budget, '--text', 'a', '--prompts', 'b']),
            (['--plan', '--uniform'], ['eval', self.model]),
            (['--plan', '--uniform'], [*uniform, '--plan', out]),
            (['int9', 'int8'], ['eval', self.model, '--uniform', 'int9']),
            (['magic'], [*uniform, '--encoder', 'magic']),
            (['magic'], [*uniform, '--activations', 'magic']),
            (['--scorer'], ['score', self.model]),
            (['--scorer', 'magic'], ['score', self.model, '--scorer', 'magic']),
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
            (['PLAN'], ['show']),
            (['PLAN_B'], ['diff', out]),
        ):
            with self.subTest(args=args):
                self.refuse(2, parts, *args)

    def test_kernel_override(self):
        self.refuse(2, ['BITBUDGET_CPU=nonsense', 'portable'], 'show', 'plan.pb', tier='nonsense')


class BadInputTest(CommandTest):
    """Exit code 3: a file is not what it should be; the message names it."""

    def commands(self, out):
        """One command of every kind that loads a model."""
        return (['plan', self.model, '--budget', '5bpw', '--out', out],
                ['eval', self.model, '--uniform', 'int8'],
                ['score', self.model, '--scorer', 'zd'],
                ['generate', self.model, '--tokens', '1'],
                ['logits', self.model, '--tokens', '1', '--out', out])

    def refuse_model(self, *parts):
        for command in self.commands(self.file('out')):
            with self.subTest(command=command):
                self.refuse(3, parts, *command)

    def test_missing_folder(self):
        shutil.rmtree(self.model)
        self.refuse_model(self.model, 'no such model folder')
        self.refuse(3, [self.model], 'tokenize', self.model, '--file', self.file('t', 'x'))

    def test_empty_folder(self):
        os.remove(os.path.join(self.model, 'config.json'))
        self.refuse_model('config.json', 'cannot open')

    def test_truncated_weights(self):
        path = os.path.join(self.model, 'model.safetensors')
        os.truncate(path, os.path.getsize(path) // 2)
        self.refuse_model(path)

    def test_header_larger_than_the_file(self):
        path = os.path.join(self.model, 'model.safetensors')
        data = read_bytes(path)
        for size in (len(data), 2**40, 2**64 - 1):
            write(path, struct.pack('<Q', size) + data[8:])
            self.refuse_model(path, size)

    def test_damaged_header(self):
        path = os.path.join(self.model, 'model.safetensors')
        data = bytearray(read_bytes(path))
        data[8:12] = b'\xff\x00{]'
        write(path, bytes(data))
        self.refuse_model(path)

    def change_config(self, **fields):
        path = os.path.join(self.model, 'config.json')
        with open(path, encoding='utf-8') as file:
            config = json.load(file)
        config.update(fields)
        write(path, json.dumps(config))

    def test_unknown_architecture(self):
        self.change_config(architectures=['FrobForCausalLM'], model_type='frob')
        self.refuse_model('config.json', 'architectures', 'FrobForCausalLM')

    def test_configuration_of_another_shape(self):
        self.change_config(intermediate_size=255)
        self.refuse_model('model.safetensors', 'model.layers.0.mlp.', '255')

    def test_weights_that_are_not_numbers(self):
        checkpoint = Checkpoint(self.model)
        name = 'model.layers.2.mlp.up_proj.weight'
        start = checkpoint.header[name]['data_offsets'][0]
        for bits in (0x7fc0, 0x7f80):  # NaN, infinity
            struct.pack_into('<H', checkpoint.data, start + 2 * 77, bits)
            checkpoint.save()
            self.refuse_model('model.safetensors', name)

    def test_wrong_shape(self):
        checkpoint = Checkpoint(self.model)
        name = 'model.layers.1.self_attn.q_proj.weight'
        rows, columns = checkpoint.header[name]['shape']
        checkpoint.header[name]['shape'] = [rows // 2, columns * 2]
        checkpoint.save()
        self.refuse_model('model.safetensors', name, f'[{rows // 2},')

    def test_missing_tensor(self):
        checkpoint = Checkpoint(self.model)
        # (Its bytes must have an owner, else the file is refused for the gap.)
        checkpoint.header['model.nurm.weight'] = checkpoint.header.pop('model.norm.weight')
        checkpoint.save()
        self.refuse_model('model.norm.weight')

    def with_plan(self, path):
        return (['eval', self.model, '--plan', path, *PROBES],
                ['generate', self.model, '--plan', path, '--tokens', '1'],
                ['logits', self.model, '--plan', path, '--tokens', '1', '--out',
                 self.file('out.npy')])

    def test_damaged_plans(self):
        good = read_bytes(self.make_plan())
        path = self.file('damaged.pb')
        for contents in (b'', b'\x00', good[:-1], good[:len(good) // 2], good + b'\x07',
                         b'{"format_version": ', b'{}', b'not a plan',
                         good.replace(b'int', b'jnt')):
            write(path, contents)
            for command in (['show', path], ['diff', path, path], *self.with_plan(path)):
                self.refuse(3, [path], *command)
        self.refuse(3, ['missing.pb', 'cannot open'], 'show', self.file('missing.pb'))
        self.refuse(3, [self.folder, 'not a regular file'], 'show', self.folder)

    def test_plans_that_contradict_themselves(self):
        plan = self.json('show', self.make_plan())
        path = self.file('wrong.json')
        component = plan['components'][3]
        component['size_bytes'] = str(int(component['size_bytes']) - 2)
        write(path, json.dumps(plan))
        for command in (['show', path], *self.with_plan(path)):
            self.refuse(3, [path, 'components[3].size_bytes'], *command)

    def test_plan_of_another_model(self):
        plan = self.make_plan()
        checkpoint = Checkpoint(self.model)
        checkpoint.data[0] ^= 1  # one bit of one weight
        checkpoint.save()
        for command in self.with_plan(plan):
            self.refuse(3, ['another model', 'fingerprint'], *command)
        other = self.make_plan(out='other.pb')
        self.refuse(3, [], 'diff', plan, other)

    def test_out_that_cannot_be_written(self):
        folder = os.path.join(self.folder, 'closed')
        os.mkdir(folder)
        targets = [os.path.join(self.folder, 'missing', 'out'), folder, '/dev/full']
        if os.geteuid() != 0:
            os.chmod(folder, 0o500)
            targets.append(os.path.join(folder, 'out'))
        for target in targets:
            for command in self.commands(target):
                if '--out' in command:
                    self.refuse(3, [target], *command)

    def test_an_old_file_survives_a_failure(self):
        out = self.file('out', 'old')
        os.remove(os.path.join(self.model, 'config.json'))
        for command in self.commands(out):
            self.refuse(3, [], *command)
        with open(out, encoding='ascii') as file:
            self.assertEqual(file.read(), 'old')

    def test_text_without_a_tokenizer(self):
        os.remove(os.path.join(self.model, 'tokenizer.model'))
        text = self.text_file()
        out = self.file('out.pb')
        for command in (['plan', self.model, '--budget', '5bpw', '--text', text, '--out', out],
                        ['eval', self.model, '--uniform', 'int8', '--prompts', text],
                        ['score', self.model, '--scorer', 'lim', '--text', text],
                        ['generate', self.model, '--prompt', 'x'],
                        ['tokenize', self.model, '--file', text]):
            self.refuse(3, [self.model, 'tokenizer.model'], *command)

    def test_broken_tokenizer(self):
        path = os.path.join(self.model, 'tokenizer.model')
        good = read_bytes(path)
        for contents in (b'', b'\x00' * 100, b'garbage' * 100, good[:len(good) // 2]):
            write(path, contents)
            self.refuse_model(path)
            self.refuse(3, [path], 'tokenize', self.model, '--file', self.file('t', 'x'))

    def test_texts(self):
        missing = self.file('missing.txt')
        short = self.file('short.txt', 'It was the.')
        long_prompts = self.file('prompts.txt', 'It was\n' * 3 + 'of ' * 300 + '\n')
        for parts, args in (([missing, 'cannot open'], ['--text', missing]),
                            ([missing, 'cannot open'], ['--prompts', missing]),
                            ([self.folder], ['--text', self.folder]),
                            ([short, 'too short'], ['--text', short]),
                            ([long_prompts + ':4'], ['--prompts', long_prompts])):
            self.refuse(3, parts, 'eval', self.model, '--uniform', 'int8', *args)
            self.refuse(3, parts, 'plan', self.model, '--budget', '5bpw', '--out',
                        self.file('out.pb'), *args)
        self.refuse(3, [missing], 'tokenize', self.model, '--file', missing)

    def test_tokens_the_model_cannot_take(self):
        out = self.file('out.npy')
        for text, token in ((f'1,{VOCABULARY}', VOCABULARY), ('1,-1', -1)):
            self.refuse(3, [token, VOCABULARY], 'generate', self.model, '--tokens', text)
            self.refuse(3, [token, VOCABULARY], 'logits', self.model, '--tokens', text, '--out',
                        out)
        self.refuse(3, ['max_position_embeddings', CONTEXT], 'generate', self.model, '--tokens',
                    '1', '-n', CONTEXT + 1)
        self.refuse(3, ['max_position_embeddings', CONTEXT], 'logits', self.model, '--tokens',
                    ','.join(['1'] * (CONTEXT + 1)), '--out', out)

    def test_rules_that_match_nothing(self):
        plan = ['plan', self.model, '--budget', '5bpw', '--out', self.file('out.pb')]
        self.refuse(3, ['--pin', 'down_prj', 'matches no component'], *plan, '--pin',
                    'down_prj=int8')
        self.refuse(3, ['--min-bits', 'layers.9', 'matches no component'], *plan, '--min-bits',
                    'layers.9=8')
        self.refuse(3, ['no allowed format is left', 'down_proj'], *plan, '--formats', 'int4-g64',
                    '--min-bits', 'down_proj=8')


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
        for part in ('--search uniform', 'smallest possible size is', 'int8'):
            self.assertIn(part, last)
        self.assertEqual(self.files(), before)


class InterruptTest(CommandTest):
    """Ctrl-C: exit code 130 with the best plan so far, marked incomplete, or with none."""

    def interrupt(self, phase, *args, number=signal.SIGINT):
        """Sends the signal when the phase begins; returns (stdout, stderr) of the ended command."""
        with subprocess.Popen([BINARY, *map(str, args)],
                              env=environment(),
                              stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE,
                              text=True) as process:
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
        for phase in ('components alone', 'round 1'):
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
        kept = [os.path.join(path + '.run', name) for name in ('run.lock', 'run.sqlite')]
        self.assertEqual(self.files(), sorted(before + [path] + kept))
        self.assertIn(f'the same command goes on from {path}.run', err.splitlines()[-1])
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
        path = self.file('out.pb', 'old')
        self.interrupt('sampling search', *self.plan_args(path, probes=1000))
        self.assertEqual(read_bytes(path), b'old')

    def test_other_commands(self):
        out, _ = self.interrupt('reference completions', 'eval', self.model, '--uniform', 'int8',
                                '--probes', 500, '--json')
        self.assertEqual(out, '')


if __name__ == '__main__':
    BINARY = os.path.abspath(sys.argv[1])
    MODELS = os.path.join(sys.argv[2], 'tools', 'demo', 'models')
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
