#!/usr/bin/env python3
"""Files that nobody vouches for: refused in one line, at once and in little memory.

    command_hostile_test.py BINARY SOURCE_DIR [unittest arguments]
"""

import functools
import json
import os
import signal
import subprocess
import time

import command_case
from command_case import CommandTest, main, start

# Far beyond what a refusal takes (some tenths of a second), for machines with other work.
SECONDS = 20
MEGABYTES = 200

HUGE = 100 << 30


def byte_level_tokenizer(expression):
    """tokenizer.json of a byte-level BPE over a few letters with this expression."""
    vocabulary = {c: i for i, c in enumerate('abc\u0120\u010a.12')}
    return json.dumps({
        'added_tokens': [],
        'normalizer': None,
        'pre_tokenizer': {'type': 'Sequence', 'pretokenizers': [
            {'type': 'Split', 'pattern': {'Regex': expression}, 'behavior': 'Isolated',
             'invert': False},
            {'type': 'ByteLevel', 'add_prefix_space': False, 'use_regex': False}]},
        'model': {'type': 'BPE', 'vocab': vocabulary, 'merges': []}})


@functools.cache
def sanitized():
    """Whether the command takes the time and the memory of a sanitizer."""
    with open(command_case.BINARY, 'rb') as file:
        contents = file.read()
    return b'__asan_init' in contents or b'__tsan_init' in contents


class HostileTest(CommandTest):
    def at_once(self, code, parts, *args):
        """Refused as refuse() has it, in time, without taking memory."""
        begin = time.monotonic()
        self.refuse(code, parts, *args)
        self.assertLess(time.monotonic() - begin, SECONDS)
        peak = self.peak_megabytes(*args)
        if not sanitized():
            self.assertLess(peak, MEGABYTES, args)

    def peak_megabytes(self, *args):
        """The most memory that a run of the command has, its mapped files included."""
        process = subprocess.Popen([command_case.BINARY, *map(str, args)],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
        return usage.ru_maxrss / 1024

    def tokenizer(self, expression):
        folder = self.file('tokenizer')
        os.makedirs(folder, exist_ok=True)
        self.file('tokenizer/tokenizer.json', byte_level_tokenizer(expression))
        return folder

    def huge(self, path):
        with open(path, 'wb') as file:
            file.truncate(HUGE)
        return path

    def fifo(self, path):
        if os.path.exists(path):
            os.remove(path)
        os.mkfifo(path)
        return path

    def test_expressions_that_no_tokenizer_needs(self):
        text = self.file('text', 'a' * 1000)
        for expression, construct in (
                # The end of these matches may lie before their beginning.
                (r'(?(DEFINE)(?<x>a\K))(?=(?&x))', 'conditions'),
                (r'(?|(?=(?1))(?:)|(a\K))', 'this kind of group'),
                (r'(?=(?1))|(a\K)', 'calls of a group'),
                (r'a\Kb', r'\K'),
                (r'(a(?1)?b)*', 'calls of a group'),
                (r'(a)\1', 'references'),
                (r'a(*COMMIT)b', 'verbs')):
            with self.subTest(expression=expression):
                folder = self.tokenizer(expression)
                self.at_once(3, ['tokenizer.json', construct], 'tokenize', folder, '--file', text)

    def test_expressions_that_take_too_long_on_a_long_text(self):
        text = self.file('text', 'a' * 200_000)
        for expression in (r'(?:a?){16}a{16}b|a', r'a++b', r'(?:a|a)*c|a', r'(?=.*b)|a'):
            with self.subTest(expression=expression):
                folder = self.tokenizer(expression)
                self.at_once(3, ['tokenizer.json', expression, 'too many steps'], 'tokenize',
                             folder, '--file', text)

    def test_patterns_for_names(self):
        for pattern in (r'[^](.*)*(.*)*[]x]', r'(a*)*(.|.)*(b|.)*!', r'([^]*)*([a-z.]*)*[^.]*!'):
            with self.subTest(pattern=pattern):
                rules = self.file('rules.txt', f'{pattern}=q8_0\n')
                self.at_once(3, [pattern, 'steps'], 'lint', rules, '--to', 'llama.cpp', self.model)
                self.at_once(3, [pattern, 'steps'], 'eval', self.model, '--uniform', 'int8',
                             '--pin', f'{pattern}=int4-g64')

    def test_a_configuration_that_is_not_utf8(self):
        rules = self.file('rules.txt', b'bl\xffk.0=q8_0\n')
        result = command_case.run('lint', rules, '--to', 'llama.cpp', self.model, '--json')
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertEqual(result.stderr.count('\n'), 1, result.stderr)

    def test_files_beyond_any_model(self):
        text = self.file('text', 'a')
        huge = self.huge(self.file('huge'))
        size = str(HUGE)
        self.at_once(3, [huge, size], 'tokenize', self.model, '--file', huge)
        self.at_once(3, [huge, size], 'show', huge)
        self.at_once(3, [huge, size], 'lint', huge, '--to', 'llama.cpp', self.model)
        self.at_once(3, [huge, size], 'eval', self.model, '--uniform', 'int8', '--text', huge)
        for name in ('config.json', 'tokenizer.json', 'tokenizer.model', 'tokenizer_config.json',
                     'chat_template.jinja', 'model.safetensors.index.json'):
            with self.subTest(name=name):
                folder = self.copy('novel-1m', to=f'with-{name}')
                if name.endswith('index.json'):
                    os.remove(os.path.join(folder, 'model.safetensors'))
                path = self.huge(os.path.join(folder, name))
                self.at_once(3, [path, size], 'eval', folder, '--uniform', 'int8')
                if name.startswith('token'):
                    self.at_once(3, [path, size], 'tokenize', folder, '--file', text)

    def test_what_is_no_file(self):
        text = self.file('text', 'a')
        fifo = self.fifo(self.file('fifo'))
        for path in (fifo, '/dev/zero'):
            for args in (('tokenize', self.model, '--file', path), ('show', path),
                         ('lint', path, '--to', 'llama.cpp', self.model),
                         ('eval', self.model, '--uniform', 'int8', '--text', path),
                         ('eval', self.model, '--plan', path)):
                self.at_once(3, [path, 'not a regular file'], *args)
        for name in ('config.json', 'tokenizer.model', 'tokenizer.json', 'model.safetensors',
                     'model.safetensors.index.json'):
            with self.subTest(name=name):
                folder = self.copy('novel-1m', to=f'with-{name}')
                if name.endswith('index.json'):
                    os.remove(os.path.join(folder, 'model.safetensors'))
                path = self.fifo(os.path.join(folder, name))
                self.at_once(3, [path, 'not a regular file'], 'eval', folder, '--uniform', 'int8')
        gguf = self.fifo(self.file('model.gguf'))
        self.at_once(3, [gguf, 'not a regular file'], 'tokenize', gguf, '--file', text)

    def test_a_link_to_itself(self):
        rules = self.file('rules.txt', 'blk.0=q8_0\n')
        loop = self.file('loop')
        os.symlink('loop', loop)
        self.at_once(3, [loop], 'lint', rules, loop, '--to', 'llama.cpp')
        self.at_once(3, [loop], 'show', loop)

    def test_a_run_store_that_is_no_file(self):
        for name in ('run.sqlite', 'run.sqlite-wal', 'run.sqlite-journal'):
            with self.subTest(name=name):
                folder = self.file(f'runs-{name}')
                os.mkdir(folder)
                if name != 'run.sqlite':
                    self.file(f'runs-{name}/run.sqlite', '')
                path = self.fifo(os.path.join(folder, name))
                self.at_once(3, [path, 'not a regular file'], 'runs', 'show', folder)

    def ends_at_once(self, number, *args):
        """The signal ends the command long before its work is done."""
        with start(*args) as process:
            self.wait_for_handler(process, number)
            time.sleep(0.5)
            self.assertIsNone(process.poll(), args)
            process.send_signal(number)
            out, err = process.communicate(timeout=SECONDS)
        self.assertEqual((process.returncode, out, err), (130, '', 'bitbudget: interrupted\n'))

    def wait_for_handler(self, process, number):
        """Until the command catches the signal: on a busy machine it takes time to start."""
        while process.poll() is None:
            with open(f'/proc/{process.pid}/status', encoding='ascii') as status:
                caught = next(line for line in status if line.startswith('SigCgt:')).split()[1]
            if int(caught, 16) >> (number - 1) & 1:
                return
            time.sleep(0.01)

    def test_a_signal_ends_what_does_not_stop_by_itself(self):
        # Each takes half a minute.
        text = self.file('text', ' '.join(f'{i}a{i:x}' for i in range(2_000_000)))
        rules = self.file('rules.txt', '\n'.join(f'.*.*#{i}=q8_0' for i in range(200_000)))
        before = self.files()
        for number in (signal.SIGINT, signal.SIGTERM):
            self.ends_at_once(number, 'tokenize', self.model, '--file', text)
            self.ends_at_once(number, 'eval', self.model, '--uniform', 'int8', '--text', text)
            self.ends_at_once(number, 'lint', rules, '--to', 'llama.cpp', self.model)
        self.assertEqual(self.files(), before)


if __name__ == '__main__':
    main()
