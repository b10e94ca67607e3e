#!/usr/bin/env python3
"""Files that are not what they should be: exit code 3, one line that names them, nothing left behind.

    command_refusals_test.py BINARY SOURCE_DIR [unittest arguments]
"""

import json
import os
import shutil
import struct

from command_case import CONTEXT, PROBES, VOCABULARY, CommandTest, main, read_bytes, write

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
        self.refuse(3, ['pin', 'down_prj', 'matches no component'], *plan, '--pin',
                    'down_prj=int8')
        self.refuse(3, ['minimum of bits', 'layers.9', 'matches no component'], *plan, '--min-bits',
                    'layers.9=8')
        self.refuse(3, ['no allowed format is left', 'down_proj'], *plan, '--formats', 'int4-g64',
                    '--min-bits', 'down_proj=8')


if __name__ == '__main__':
    main()
