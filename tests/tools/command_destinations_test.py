#!/usr/bin/env python3
"""What a command writes goes where the user said, replaces nothing of the user's, and is whole.

    command_destinations_test.py BINARY SOURCE_DIR [unittest arguments]
"""

import json
import os
import struct

from command_case import PLAN_PROBES, CommandTest, main, read_bytes, run, run_into

FOREIGN = b'three weeks of notes\n'


class DestinationsTest(CommandTest):

    def setUp(self):
        super().setUp()
        self.plan = self.make_plan('--target', 'llama.cpp')

    def search(self, out, *more):
        return ['plan', self.model, '--budget', '5bpw', '--search', 'uniform', *PLAN_PROBES,
                '--no-run-dir', '--out', out, *more]

    def writers(self):
        """For every output file that a command has, the command by the path."""
        recover = ['recover', self.model, '--plan', self.plan, '--steps', '1', '--sequences', '8',
                   '--prefix', '18', '--completion', '12', '--held-out-probes', '3']
        explore = ['explore', self.model, '--sizes', '4bpw,5bpw', '--search', 'uniform', '--rivals', 'none',
                   *PLAN_PROBES, '--no-run-dir']
        return {
            'fresh.pb': self.search,
            'recovered.json': lambda out: [*recover, '--out', out],
            'page.html': lambda out: [*explore, '--out', out],
            'curve.json': lambda out: [*explore, '--out', self.file('other.html'), '--json', out],
            'model.gguf': lambda out: ['apply', self.model, '--plan', self.plan, '--out', out],
            'logits.npy': lambda out: ['logits', self.model, '--tokens', '1,2', '--out', out],
            'rules.txt': lambda out: ['export', self.plan, '--to', 'llama.cpp', '--out', out],
        }

    def test_a_file_of_the_user_stays_unless_force_is_given(self):
        for name, command in self.writers().items():
            out = self.file(name, FOREIGN)
            self.refuse(3, [out, 'exists and is not', '--force'], *command(out))
            self.assertEqual(read_bytes(out), FOREIGN, name)
            self.succeed(*command(out), '--force')
            self.assertNotEqual(read_bytes(out), FOREIGN, name)
            self.succeed(*command(out))  # an earlier result, which is replaced as it always was
            os.truncate(out, 0)
            self.succeed(*command(out))  # nothing is lost with an empty file

    def test_somebody_elses_model_is_no_earlier_result(self):
        made = self.file('made.gguf')
        self.succeed('apply', self.model, '--plan', self.plan, '--out', made)
        theirs = self.file('theirs.gguf', read_bytes(made).replace(b'quantize.plan.tool', b'quantize.mine.tool'))
        self.refuse(3, [theirs, 'GGUF file that bitbudget wrote', '--force'],
                    'apply', self.model, '--plan', self.plan, '--out', theirs)

    def test_an_export_replaces_configurations_only(self):
        out = self.file('config')
        for target in ('llama.cpp', 'mlx', 'llama.cpp'):
            plan = self.make_plan('--target', target, out=f'{target}.pb')
            self.succeed('export', plan, '--to', target, '--out', out)
        for contents in ('three weeks of notes', '"""Mine."""'):
            theirs = self.file('theirs', contents)
            self.refuse(3, [theirs, 'configuration that a target reads', '--force'],
                        'export', self.plan, '--to', 'llama.cpp', '--out', theirs)

    def test_a_link_stays_and_what_it_leads_to_is_written(self):
        os.mkdir(self.file('far'))
        for target in ('far/plan.pb', os.path.join(self.folder, 'far', 'plan.pb')):
            for exists in (False, True):
                link = self.file('link.pb')
                if os.path.lexists(link):
                    os.remove(link)
                os.symlink(target, link)
                self.succeed(*self.search(link))
                self.assertTrue(os.path.islink(link), (target, exists))
                self.succeed('show', self.file('far/plan.pb'))
            os.remove(self.file('far/plan.pb'))
        self.assertEqual(os.listdir(self.file('far')), [])
        loop = self.file('loop.pb')
        os.symlink('loop.pb', loop)
        self.refuse(3, [loop, 'symbolic links'], *self.search(loop))
        os.symlink('far/plan.pb', self.file('again.pb'))
        write = self.file('far/plan.pb', FOREIGN)
        self.refuse(3, ['again.pb', 'exists and is not'], *self.search(self.file('again.pb')))
        self.assertEqual(read_bytes(write), FOREIGN)

    def test_devices_and_pipes_stay_what_they_are(self):
        pipe = self.file('pipe')
        os.mkfifo(pipe)
        device = self.file('null')
        os.symlink('/dev/null', device)
        for out in (pipe, device, '/dev/null'):
            self.refuse(3, [out, 'not a regular file'], *self.search(out, '--force'))
        self.assertTrue(os.path.islink(device))
        streams = os.readlink('/dev/stdout')
        # Standard output leads into a pipe here.
        self.refuse(3, ['/dev/stdout', 'not a regular file'], *self.search('/dev/stdout', '--force'))
        self.assertEqual(os.readlink('/dev/stdout'), streams)

    def test_a_dash_is_standard_output_or_refused(self):
        for name, command in self.writers().items():
            if name != 'curve.json':
                self.refuse(2, ['-: standard output', './-'], *command('-'))
        curve = self.succeed(*self.writers()['curve.json']('-')).stdout
        self.assertEqual({point['budget'] for point in json.loads(curve)['points']}, {'4bpw', '5bpw'})
        full = run_into('/dev/full', *self.writers()['curve.json']('-'))
        self.assertEqual(full.returncode, 3, full.stderr)
        self.assertFalse(os.path.exists('-'))

    def test_a_name_that_no_format_has_becomes_no_folder(self):
        apply = ['apply', self.model, '--plan', self.plan, '--out']
        for name in ('model.ggfu', 'model.GGUF', 'model.safetensors', 'a.b/model.bin'):
            self.refuse(2, [name, 'no format has the suffix', name + '/'], *apply, self.file(name))
        for name in ('model.ggfu/', 'novel-1m-4.5bpw', 'v1.2', 'novel.q4_0'):
            self.succeed(*apply, self.file(name))
            self.assertTrue(os.path.isfile(self.file(os.path.join(name, 'model.safetensors'))), name)
        for name in ('plan.gguf', 'plan.safetensors'):
            self.refuse(2, [name, 'a plan is no'], *self.search(self.file(name)))

    def test_only_known_files_go_into_a_new_folder(self):
        outside = self.file('secret.txt', 'not for others')
        os.chmod(outside, 0o4755)
        for name in ('README.md', 'passwords.txt', 'pytorch_model.bin', 'notes.md'):
            os.symlink(outside, os.path.join(self.model, name))
        os.mkfifo(os.path.join(self.model, 'LICENSE'))
        os.symlink('nowhere', os.path.join(self.model, 'NOTICE'))
        os.mkdir(os.path.join(self.model, 'vocab.json'))
        os.chmod(os.path.join(self.model, 'tokenizer.model'), 0o6755)
        out = self.file('new')
        self.succeed('apply', self.model, '--plan', self.plan, '--out', out)
        got = set(os.listdir(out))
        self.assertEqual(got, {'README.md', 'config.json', 'model.safetensors', 'tokenizer.model'} |
                         (got & {'tokenizer_config.json', 'generation_config.json', 'special_tokens_map.json'}))
        for name in got:
            mode = os.lstat(os.path.join(out, name)).st_mode
            self.assertEqual(mode & 0o170000, 0o100000, name)
            self.assertEqual(mode & 0o7111, 0, name)

    def test_logits_that_are_not_finite_are_refused(self):
        path = os.path.join(self.model, 'model.safetensors')
        contents = bytearray(read_bytes(path))
        start = 8 + struct.unpack('<Q', contents[:8])[0]
        header = json.loads(contents[8:start])
        name = next(name for name in header if name.endswith('model.norm.weight'))
        begin, end = (start + offset for offset in header[name]['data_offsets'])
        largest = {'BF16': b'\x7f\x7f', 'F16': b'\xff\x7b', 'F32': b'\xff\xff\x7f\x7f'}[header[name]['dtype']]
        contents[begin:end] = largest * ((end - begin) // len(largest))
        with open(path, 'wb') as file:
            file.write(contents)
        done = run('logits', self.model, '--tokens', '1,2,3', '--out', self.file('l.npy'))
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertRegex(done.stderr, r'\nbitbudget: .*logits of token 1 .*not finite\n$')
        self.assertFalse(os.path.exists(self.file('l.npy')))


if __name__ == '__main__':
    main()
