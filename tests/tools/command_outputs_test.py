#!/usr/bin/env python3
"""No output path of a command destroys what the command reads, under whatever name it comes.

    command_outputs_test.py BINARY SOURCE_DIR [unittest arguments]
"""

import hashlib
import json
import os
import re
import subprocess

import command_case
from command_case import PLAN_PROBES, PROBES, CommandTest, main, read_bytes, run, run_into

# Every command that writes; test_every_writing_command_is_here finds those that are missing.
WRITING = {'fit', 'plan', 'explore', 'apply', 'equalize', 'export', 'logits', 'recover'}


class OutputsTest(CommandTest):

    def setUp(self):
        super().setUp()
        self.text = self.text_file()
        self.prompts = self.file('prompts.txt', 'It was\nHe said\n' * 8)
        self.plan = self.make_plan()
        os.mkdir(self.file('x'))

    def state(self):
        """Every file of the folder with its contents and what it is."""
        return [(path, os.path.islink(path), os.lstat(path).st_ino,
                 hashlib.sha256(read_bytes(path)).hexdigest()) for path in self.files()]

    def disguises(self, path):
        """Other names of a file."""
        folder, name = os.path.split(path)
        up = os.path.relpath(path, self.folder)
        yield path
        yield os.path.join(self.folder, 'x', '..', up)
        for other, link in (('symbolic', os.symlink), ('hard', os.link)):
            alias = self.file(other + os.path.splitext(name)[1])
            link(path, alias)
            yield alias
            os.remove(alias)
        alias = self.file('folder-link')
        os.symlink(folder, alias)
        yield os.path.join(alias, name)
        os.remove(alias)

    def refuse_output(self, read, out, *args):
        before = self.state()
        self.refuse(2, [out, read, 'this command reads'], *args)
        self.assertEqual(self.state(), before, args)

    def model_files(self):
        return [os.path.join(self.model, name)
                for name in ('model.safetensors', 'config.json', 'tokenizer.model')]

    def test_standard_output_that_takes_nothing_is_an_error(self):
        """A full disk behind a redirection, or a reader that has gone."""
        commands = [['--help'], ['--version'], ['plan', '--help'], ['formats'], ['formats', '--json'],
                    ['show', self.plan], ['show', self.plan, '--json'], ['tokenize', self.model, '--file', self.prompts],
                    ['generate', self.model, '--prompt', 'It was', '-n', '2'],
                    ['eval', self.model, '--plan', self.plan, '--json', *PROBES, '--probes', '3'],
                    ['score', self.model, '--scorer', 'lim', '--json'],
                    ['plan', self.model, '--budget', '5bpw', *PLAN_PROBES, '--dry-run']]
        for args in commands:
            self.assertIn(run(*args).returncode, (0, 1), args)
            for sink in ('/dev/full', None):
                done = run_into(sink, *args)
                self.assertEqual(done.returncode, 3, (sink, args, done.stderr))
                last = done.stderr.strip().splitlines()[-1]
                self.assertRegex(last, '^bitbudget: standard output: cannot write: ', args)

    def test_closed_standard_streams_are_no_files(self):
        """What is printed goes nowhere, and never into a file that took the place of a stream."""
        again = self.file('again.pb')
        args = ['plan', self.model, '--budget', '5bpw', '--search', 'uniform', *PLAN_PROBES, '--out', again]
        closed = subprocess.run(['sh', '-c', '"$0" "$@" <&- >&- 2>&-', command_case.BINARY, *map(str, args)],
                                timeout=300, check=False)
        self.assertEqual(closed.returncode, 0)
        self.assertEqual(self.succeed('show', again).stdout, self.succeed('show', self.plan).stdout)

    def test_folders_may_be_named_in_any_way(self):
        os.mkdir(self.file('empty'))
        os.mkdir(self.file('linked'))
        os.symlink(self.file('linked'), self.file('link'))
        for name in ('new/', 'empty/.', 'link', 'x/../newer'):
            out = self.file(name)
            self.succeed('apply', self.model, '--plan', self.plan, '--out', out)
            self.assertTrue(os.path.exists(os.path.join(out, 'config.json')), name)
        self.assertTrue(os.path.islink(self.file('link')))
        self.assertEqual([name for name in os.listdir(self.folder) if '.tmp.' in name], [])

    def test_paths_that_are_not_utf8_give_json(self):
        name = os.fsencode(self.folder) + b'/not utf8 \xff'
        os.mkdir(name)
        for args in (['apply', self.model, '--plan', self.plan, '--out', name + b'/applied'],
                     ['equalize', self.model, '--out', name + b'/e', '--format', 'int4-g64', *PROBES,
                      '--probes', '4', '--text', self.text],
                     ['plan', self.model, '--budget', '5bpw', '--search', 'uniform', *PLAN_PROBES,
                      '--run-dir', name + b'/run', '--out', name + b'/p.pb'],
                     ['runs', 'show', name + b'/run']):
            done = subprocess.run([command_case.BINARY, *args, '--json'], capture_output=True, timeout=300,
                                  check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            json.loads(done.stdout.decode('utf-8'))

    def test_every_writing_command_is_here(self):
        names = re.findall(r'^  ([a-z]+) {2,}', self.succeed('--help').stdout, re.MULTILINE)
        self.assertIn('plan', names)
        writing = {name for name in names if '--out' in run(name, '--help').stdout}
        self.assertEqual(writing, WRITING)

    def test_plan(self):
        for source, path in (('--text', self.text), ('--prompts', self.prompts)):
            for read in self.model_files() + [path]:
                for out in self.disguises(read):
                    self.refuse_output(read, out, 'plan', self.model, '--budget', '5bpw', source,
                                       path, *PLAN_PROBES, '--out', out)

    def test_fit(self):
        model = self.file('own.gguf')
        self.succeed('fit', self.model, '4GB', '--out', model)
        for out in self.disguises(model):
            self.refuse_output(model, out, 'fit', model, '450KB', *PLAN_PROBES, '--out', out)

    def test_explore(self):
        for option, other in (('--out', '--json'), ('--json', '--out')):
            for out in self.disguises(self.text):
                self.refuse_output(self.text, out, 'explore', self.model, '--sizes', '5bpw,6bpw',
                                   '--text', self.text, *PLAN_PROBES, option, out, other,
                                   self.file('other'))

    def test_plan_replaces_an_old_plan_beside_the_model(self):
        """What is in a model's folder without being part of the model may go."""
        out = os.path.join(self.model, 'plan.json')
        for _ in range(2):
            self.make_plan('--no-run-dir', out=out)

    def test_the_run_store_of_a_plan(self):
        store = self.file('store')
        run = os.path.join(store, '0123456789abcdef')
        os.makedirs(run)
        for name in ('run.lock', 'run.sqlite', 'run.sqlite-wal'):
            for link in (os.symlink, os.link):
                link(self.text, os.path.join(run, name))
                self.refuse_output(self.text, store, 'plan', self.model, '--budget', '5bpw',
                                   '--text', self.text, *PLAN_PROBES, '--out',
                                   self.file('new.pb'), '--run-dir', store)
                os.remove(os.path.join(run, name))
        self.refuse_output(self.model, self.model, 'plan', self.model, '--budget', '5bpw',
                           *PLAN_PROBES, '--out', self.file('new.pb'), '--run-dir', self.model)
        both = self.file('both')
        self.refuse(2, ['--out', '--run-dir', both], 'plan', self.model, '--budget', '5bpw',
                    *PLAN_PROBES, '--out', both, '--run-dir', both)

    def test_apply(self):
        for read in self.model_files() + [self.plan, self.text]:
            for out in self.disguises(read):
                self.refuse_output(read, out, 'apply', self.model, '--plan', self.plan,
                                   '--calibration', self.text, '--out', out)

    def test_apply_to_a_gguf_file(self):
        model = self.file('model.gguf', b'GGUF')  # refused before it is opened
        for out in self.disguises(model):
            self.refuse_output(model, out, 'apply', model, '--plan', self.plan, '--out', out)

    def test_all_files_of_a_split_model(self):
        parts = [self.file(f'm-0000{i}-of-00003.gguf', b'GGUF%d' % i) for i in (1, 2, 3)]
        for read in parts:
            for out in self.disguises(read):
                self.refuse_output(read, out, 'apply', parts[0], '--plan', self.plan, '--out', out)
                self.refuse_output(read, out, 'logits', parts[0], '--tokens', '1', '--out', out)

    def test_folders(self):
        """The model's own folder, and one that the model lies in."""
        alias = self.file('alias')
        os.symlink(self.model, alias)
        for out in (self.model, self.model + '/', alias, self.folder):
            self.refuse_output(self.model, out, 'equalize', self.model, '--format', 'int3z-g64',
                               '--out', out)
            self.refuse_output(self.model, out, 'apply', self.model, '--plan', self.plan, '--out',
                               out)

    def test_equalize(self):
        for source, path in (('--text', self.text), ('--prompts', self.prompts)):
            for out in self.disguises(path):
                self.refuse_output(path, out, 'equalize', self.model, '--format', 'int3z-g64',
                                   source, path, '--out', out)

    def test_logits(self):
        for read in self.model_files() + [self.plan, self.text]:
            for out in self.disguises(read):
                self.refuse_output(read, out, 'logits', self.model, '--plan', self.plan,
                                   '--calibration', self.text, '--tokens', '1,2', '--out', out)

    def test_recover(self):
        for read in self.model_files() + [self.plan, self.text]:
            for out in self.disguises(read):
                self.refuse_output(read, out, 'recover', self.model, '--plan', self.plan, '--text',
                                   self.text, '--out', out)
        # What goes beside the plan counts as well.
        for suffix in ('.weights.safetensors', '.recovering'):
            out = self.file('out.pb')
            for link in (os.symlink, os.link):
                link(self.text, out + suffix)
                self.refuse_output(self.text, out + suffix, 'recover', self.model, '--plan',
                                   self.plan, '--text', self.text, '--out', out)
                os.remove(out + suffix)

    def test_the_codes_of_a_recovered_plan(self):
        recovered = self.file('recovered.pb')
        self.succeed('recover', self.model, '--plan', self.plan, '--out', recovered, '--steps', '1',
                     '--sequences', '8', '--held-out-probes', '2')
        codes = recovered + '.weights.safetensors'
        for out in self.disguises(codes):
            self.refuse_output(codes, out, 'logits', self.model, '--plan', recovered, '--tokens',
                               '1', '--out', out)
            self.refuse_output(codes, out, 'apply', self.model, '--plan', recovered, '--out', out)
            self.refuse_output(codes, out, 'export', recovered, '--to', 'native', '--out', out)
            self.refuse_output(codes, out, 'recover', self.model, '--plan', recovered, '--out', out)
        # A plan in another folder would still replace codes that a link leads to.
        os.symlink(codes, self.file('x/new.pb.weights.safetensors'))
        self.refuse_output(codes, self.file('x/new.pb.weights.safetensors'), 'recover', self.model,
                           '--plan', recovered, '--out', self.file('x/new.pb'))

    def test_export(self):
        plan = self.make_plan('--target', 'mlx', '--no-run-dir', out='mlx.pb')
        for out in self.disguises(plan):
            self.refuse_output(plan, out, 'export', plan, '--to', 'mlx', '--out', out)
        # The files that go beside the one that was named count as well.
        before = set(self.files())
        self.succeed('export', plan, '--to', 'mlx', '--out', self.file('export.json'))
        beside = sorted(set(self.files()) - before - {self.file('export.json')})
        self.assertTrue(beside)
        os.rename(plan, beside[0])
        self.refuse_output(beside[0], beside[0], 'export', beside[0], '--to', 'mlx', '--out',
                           self.file('export.json'))


if __name__ == '__main__':
    main()
