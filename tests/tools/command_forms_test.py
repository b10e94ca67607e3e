#!/usr/bin/env python3
"""The other commands: every documented form works; --help names every option.

    command_forms_test.py BINARY SOURCE_DIR [unittest arguments]
"""

import json
import os
import struct
import subprocess

from command_case import PROBES, VOCABULARY, CommandTest, main, read_bytes

# Every option of every subcommand; --help must name them all and no others.
OPTIONS = {
    'fit': {
        '--threads', '--out', '--force', '--search', '--scorer', '--exhaustive', '--objective',
        '--formats', '--pin', '--min-bits', '--encoder', '--activations', '--probes',
        '--held-out-probes', '--text', '--prompts', '--prefix', '--completion', '--seed',
        '--memory', '--spill-dir', '--run-dir', '--no-run-dir', '--json', '--target',
        '--budget-for', '--context', '--kv', '--beam-width', '--order', '--prune-embeddings',
        '--pruning', '--costs'
    },
    'plan': {
        '--threads', '--budget', '--out', '--force', '--search', '--scorer', '--exhaustive', '--objective',
        '--formats', '--pin', '--min-bits', '--encoder', '--activations', '--probes',
        '--held-out-probes', '--text', '--prompts', '--prefix', '--completion', '--seed',
        '--memory', '--spill-dir', '--run-dir', '--no-run-dir', '--json', '--target',
        '--budget-for', '--context', '--kv', '--beam-width', '--order', '--prune-embeddings',
        '--pruning', '--sparsity', '--goal', '--recover', '--retrain', '--costs', '--dry-run'
    },
    'explore': {
        '--from', '--to', '--points', '--sizes', '--rivals', '--compare', '--out', '--force', '--json',
        '--threads', '--search', '--scorer', '--exhaustive', '--objective', '--formats', '--pin', '--min-bits',
        '--encoder', '--activations', '--probes', '--held-out-probes', '--text', '--prompts',
        '--prefix', '--completion', '--seed', '--memory', '--spill-dir', '--run-dir',
        '--no-run-dir', '--target', '--budget-for', '--context', '--kv', '--beam-width', '--order',
        '--prune-embeddings', '--pruning', '--costs', '--dry-run'
    },
    'apply': {'--threads', '--plan', '--calibration', '--out', '--force', '--weights', '--dtype', '--json'},
    'export': {'--to', '--out', '--force'},
    'lint': {'--to', '--plan', '--json'},
    'equalize': {
        '--threads', '--format', '--out', '--dtype', '--activations', '--probes', '--iterations',
        '--text', '--prompts', '--prefix', '--completion', '--seed', '--json'
    },
    'recover': {
        '--threads', '--plan', '--out', '--force', '--method', '--text', '--sequences', '--prefix',
        '--completion', '--seed', '--held-out-probes', '--calibration', '--steps', '--minutes',
        '--learning-rate', '--batch', '--freeze', '--kl-weight', '--hidden-weight',
        '--augmented-loss', '--let', '--rate-factor', '--keep-worse', '--start', '--profile-every',
        '--memory', '--spill-dir', '--activations', '--json'
    },
    'formats': {'--formats', '--rows', '--cols', '--json'},
    'eval': {
        '--threads', '--plan', '--uniform', '--candidate', '--against', '--pin', '--encoder', '--activations', '--probes', '--text',
        '--prompts', '--prefix', '--completion', '--seed', '--memory', '--spill-dir', '--fdt-only',
        '--json',
        '--calibration', '--pruning'
    },
    'score': {
        '--threads', '--scorer', '--probes', '--text', '--prompts', '--prefix', '--completion',
        '--seed', '--memory', '--spill-dir', '--json', '--format', '--formats', '--encoder',
        '--pruning'
    },
    'show': {'--json'},
    'completion': set(),
    'manual': set(),
    'runs': set(),
    'runs show': {'--json'},
    'diff': {'--json'},
    'generate': {
        '--threads', '--plan', '--prompt', '--tokens', '-n', '--sample', '--seed',
        '--activations', '--json', '--calibration'
    },
    'tokenize': {'--file', '--json', '--special'},
    'logits': {'--threads', '--plan', '--tokens', '--out', '--force', '--activations', '--calibration'
    },
}


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


class FormsTest(CommandTest):

    def test_formats(self):
        listed = self.json('formats', '--rows', 3, '--cols', 64)['formats']
        self.assertEqual(listed['bf16'], {'size_bits': 3 * 64 * 16, 'bits_per_weight': 16})
        self.assertEqual(listed['int4-g64']['size_bits'], 3 * (64 * 4 + 16))
        self.assertIsNone(listed['q4_k'])  # blocks of 256
        text = self.succeed('formats', '--formats', 'int8,q4_k', '--cols', 512).stdout
        self.assertIn('int8', text)
        self.assertIn(str(4096 * 512 // 256 * 144), text)
        self.assertNotIn('bf16', text)
        self.refuse(2, ['int9'], 'formats', '--formats', 'int9')

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

    def test_equalize(self):
        out = self.file('folded')
        report = self.json('equalize', self.model, '--format', 'int2z-g64', '--out', out,
                           '--text', self.text_file(), '--probes', 4, '--iterations', 1,
                           '--prefix', 16, '--completion', 8)
        self.assertLess(report['kl_folded'], 1e-9)  # the same model, but for the rounding of floats
        self.assertEqual(len(report['layers']), 4)
        self.json('eval', out, '--uniform', 'int8', *PROBES, '--probes', 2)
        self.refuse(3, ['folded'], 'equalize', self.model, '--format', 'int2z-g64', '--out', out)

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

    def test_the_manual_has_every_option_and_shells_complete_them(self):
        page = self.succeed('manual').stdout.replace('\\-', '-').replace('\\:', '')
        self.assertTrue(page.startswith('.TH BITBUDGET 1'))
        bash = self.file('bash', self.succeed('completion', 'bash').stdout)
        for command, options in OPTIONS.items():
            self.assertIn(f'.SS bitbudget {command}\n', page)
            for option in options:
                self.assertIn(option, page)
            if ' ' in command:
                continue
            script = (f'. "$0"; COMP_WORDS=(bitbudget {command} -); COMP_CWORD=2; _bitbudget; '
                      'echo "${COMPREPLY[@]}"')
            done = subprocess.run(['bash', '-c', script, bash], capture_output=True, text=True, check=True)
            self.assertEqual(options - set(done.stdout.split()), set(), command)
        for words, expected in (('bitbudget pl', 'plan'), ('bitbudget plan --target llam', 'llama.cpp'),
                                ('bitbudget eval x --encoder gptq+', 'gptq+block')):
            script = (f'. "$0"; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _bitbudget; '
                      'echo "${COMPREPLY[@]}"')
            done = subprocess.run(['bash', '-c', script, bash], capture_output=True, text=True, check=True)
            self.assertIn(expected, done.stdout.split())
        self.assertTrue(self.succeed('completion', 'zsh').stdout.startswith('#compdef bitbudget'))
        self.refuse(2, ['fish'], 'completion', 'fish')

    def test_help_names_every_option(self):
        self.assertEqual(self.succeed('--help').stderr, '')
        for command, options in OPTIONS.items():
            *parents, name = command.split()
            self.assertIn(f'\n  {name} ', self.succeed(*parents, '--help').stdout)
            text = self.succeed(*parents, name, '--help').stdout
            named = {word.split(',')[-1]
                     for line in text.splitlines() if line.startswith('  ')
                     for word in line.split()[:1] if word.startswith('-')}
            self.assertEqual(named, options | {'--help'}, command)


if __name__ == '__main__':
    main()
