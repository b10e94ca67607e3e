#!/usr/bin/env python3
"""Recovering a plan, and every command on a recovered plan.

    command_recover_test.py BINARY SOURCE_DIR [unittest arguments]
"""

import hashlib
import json
import os
import shutil
import signal
import struct
import time

from command_case import PLAN_PROBES, CommandTest, main, read_bytes, run, start, write

# Probes and training that take a fraction of a second.
QUICK = ['--prefix', '18', '--completion', '12', '--seed', '3']
TRAINING = ['--steps', '2', '--sequences', '16', '--held-out-probes', '4']
SUFFIX = '.weights.safetensors'


def tensors(path):
    """(header, data) of a safetensors file."""
    data = read_bytes(path)
    size = struct.unpack('<Q', data[:8])[0]
    return json.loads(data[8:8 + size]), data[8 + size:]


class RecoverTest(CommandTest):

    def setUp(self):
        super().setUp()
        self.plan = self.make_plan('--formats', 'int2z-g64', '--pin', 'v_proj=bf16', '--no-run-dir')

    def recover(self, out, *args, plan=None):
        return self.json('recover', self.model, '--plan', plan or self.plan, '--out', out, *TRAINING,
                         *args)

    def test_the_plan_and_its_codes(self):
        out = self.file('recovered.pb')
        report = self.recover(out)
        self.assertEqual(set(report), {'out', 'weights', 'size_bytes', 'bits_per_weight', 'complete',
                                       'seconds', 'steps', 'data', 'held_out'})
        self.assertTrue(report['complete'])
        self.assertEqual(report['weights'], out + SUFFIX)
        step, = report['steps']
        self.assertEqual(step['method'], 'blockwise')
        self.assertEqual(step['steps'], 2 * 4)  # layers
        self.assertLess(step['loss_after'], step['loss_before'])
        self.assertEqual(report['data'], {'text_sequences': 0, 'sampled_sequences': 16,
                                          'kept_aside': 2, 'tokens': 16 * 30})
        self.assertFalse(os.path.exists(out + '.recovering'))

        plan = self.json('show', out)
        before = self.json('show', self.plan)
        recovery = plan.pop('recovery')
        self.assertEqual(recovery['weights_file'], 'recovered.pb' + SUFFIX)
        self.assertEqual(recovery['weights_sha256'],
                         hashlib.sha256(read_bytes(out + SUFFIX)).hexdigest())
        header, data = tensors(out + SUFFIX)
        formats = header.pop('__metadata__')
        for component, old in zip(plan['components'], before['components']):
            name = component['name']
            sha256 = component.pop('encoding_sha256', None)
            self.assertEqual(component, old)
            self.assertEqual(name in header, component['format'] != 'bf16', name)
            if name not in header:
                continue
            begin, end = header[name]['data_offsets']
            self.assertEqual(header[name]['dtype'], 'U8')
            self.assertEqual(header[name]['shape'], [int(component['size_bytes'])])
            self.assertEqual(formats[name], component['format'])
            self.assertEqual(hashlib.sha256(data[begin:end]).hexdigest(), sha256)
        self.assertEqual(set(formats), set(header))
        self.assertEqual({k: v for k, v in plan.items() if k != 'components'},
                         {k: v for k, v in before.items() if k != 'components'})

        # The table says what the JSON says.
        text = self.succeed('recover', self.model, '--plan', self.plan, '--out', self.file('t.pb'),
                            *TRAINING).stdout
        for part in ('blockwise', 'before', 'recovered', 'KL mean', self.file('t.pb'),
                     self.file('t.pb') + SUFFIX):
            self.assertIn(part, text)
        self.assertEqual(read_bytes(self.file('t.pb') + SUFFIX), read_bytes(out + SUFFIX))

    def test_every_command_takes_it(self):
        out = self.file('recovered.pb')
        report = self.recover(out)
        for plan, key in ((self.plan, 'before'), (out, 'after')):
            evaluated = self.json('eval', self.model, '--plan', plan, *QUICK, '--probes', 4)
            expected = {k: report['held_out'][key][k] for k in ('kl_mean', 'fdt_mean', 'kl_ci')}
            self.assertEqual({k: evaluated[k] for k in expected}, expected)
        self.assertEqual(self.json('generate', self.model, '--plan', out, '--tokens', '1,370',
                                   '-n', 3)['prompt_tokens'], [1, 370])
        logits = {}
        for plan in (self.plan, out):
            self.succeed('logits', self.model, '--plan', plan, '--tokens', '1,370,954', '--out',
                         self.file('l.npy'))
            logits[plan] = read_bytes(self.file('l.npy'))
        self.assertNotEqual(logits[self.plan], logits[out])
        self.assert_applied_folder_is_what_runs(out)
        self.assertIn('recovered', self.succeed('show', out).stdout)
        self.assertIn('int2z-g64 clip, recovered', self.succeed('diff', self.plan, out).stdout)
        # Another format of a component has no codes.
        self.refuse_last(3, ['down_proj in int8', 'recovered'], 'eval', self.model, '--plan', out,
                         *QUICK, '--probes', 2, '--pin', '1.mlp.down_proj=int8')
        # The plan may be named from anywhere.
        os.rename(out, self.file('model/renamed.json.pb'))
        os.rename(out + SUFFIX, self.file('model/recovered.pb' + SUFFIX))
        self.json('eval', self.model, '--plan', self.file('model/renamed.json.pb'), *QUICK,
                  '--probes', 2)

    def assert_applied_folder_is_what_runs(self, plan):
        folder = plan + '-folder'
        self.succeed('apply', self.model, '--plan', plan, '--dtype', 'f32', '--out', folder)
        f32 = self.file('f32.npy')
        self.succeed('logits', self.model, '--plan', plan, '--activations', 'f32', '--tokens',
                     '1,370,954', '--out', f32)
        self.succeed('logits', folder, '--tokens', '1,370,954', '--out', self.file('l.npy'))
        self.assertEqual(read_bytes(self.file('l.npy')), read_bytes(f32))

    def test_norms_go_with_the_codes(self):
        out = self.file('scales.pb')
        report = self.recover(out, '--method', 'scales')
        norms = {name for name, tensor in tensors(out + SUFFIX)[0].items()
                 if tensor.get('dtype') == 'F32'}
        self.assertIn('model.layers.0.input_layernorm.weight', norms)
        self.assert_applied_folder_is_what_runs(out)
        evaluated = self.json('eval', self.model, '--plan', out, *QUICK, '--probes', 4)
        self.assertEqual(evaluated['kl_mean'], report['held_out']['after']['kl_mean'])
        self.refuse_last(3, ['norms belong to its codes'], 'eval', self.model, '--plan', out,
                         *QUICK, '--probes', 2, '--pin', '1.mlp.down_proj=bf16')

    def test_a_transformed_plan_runs_and_keeps_its_codes(self):
        plan = self.make_plan('--formats', 'int4z-g64', '--no-run-dir')
        out = self.file('let.pb')
        self.recover(out, '--method', 'omniquant', '--let', '--keep-worse', '--activations',
                     'token4', plan=plan)
        shown = json.loads(self.succeed('show', out, '--json').stdout)
        self.assertTrue(shown['recovery']['transformed'])
        self.assert_applied_folder_is_what_runs(out)
        self.recover(self.file('more.pb'), '--method', 'scales', plan=out)
        self.assert_applied_folder_is_what_runs(self.file('more.pb'))
        self.refuse_last(3, ['blockwise', 'equivalent transformation'], 'recover', self.model,
                         '--plan', out, '--out', self.file('no.pb'), *TRAINING)

    def refuse_last(self, code, parts, *args):
        """As refuse(), after messages about the work."""
        result = run(*args)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stdout, '')
        for part in parts:
            self.assertIn(part, result.stderr.splitlines()[-1])

    def test_exports_say_that_codes_stay_behind(self):
        plan = self.make_plan('--target', 'llama.cpp', '--formats', 'q4_0,q8_0', '--no-run-dir',
                              out='gguf.pb')
        out = self.file('recovered.pb')
        self.recover(out, plan=plan)
        note = self.succeed('export', out, '--to', 'llama.cpp', '--out', self.file('t.txt')).stderr
        self.assertIn('recovered codes of ' + out + ' are not part of this export', note)
        self.assertEqual(note.count('note: '), 1)
        note = self.succeed('export', plan, '--to', 'llama.cpp', '--out', self.file('t.txt')).stderr
        self.assertNotIn('note: ', note)
        note = self.succeed('export', out, '--to', 'native', '--out', self.file('n.json')).stderr
        self.assertIn(out + SUFFIX, note)
        # The GGUF file has the codes: other ones than before.
        for name in (plan, out):
            self.succeed('apply', self.model, '--plan', name, '--out', name + '.gguf')
        self.assertEqual(os.path.getsize(plan + '.gguf') // 1000,
                         os.path.getsize(out + '.gguf') // 1000)

    def test_from_text_without_it_later(self):
        text = self.text_file()
        plan = self.make_plan('--encoder', 'gptq', '--text', text, '--formats', 'int3-g64',
                              '--no-run-dir', out='gptq.pb')
        out = self.file('recovered.pb')
        self.refuse_last(3, ['gptq', 'text'], 'recover', self.model, '--plan', plan, '--out', out,
                         *TRAINING)
        report = self.recover(out, '--text', text, '--calibration', text, plan=plan)
        self.assertEqual(report['data']['text_sequences'], 16)
        self.json('eval', self.model, '--plan', out, *QUICK, '--probes', 2)
        self.succeed('apply', self.model, '--plan', out, '--out', self.file('folder'))

    def test_a_bad_learning_rate_ends_with_a_message_and_the_codes_of_the_start(self):
        start = self.file('start.pb')
        header, codes = tensors(self.recover(start, '--method', 'scales')['weights'])
        for factor, parts, diverged in (('1000', ('distill does not lower the KL', 'a lower rate'), False),
                                        ('1e9', ('distill diverges at a learning rate of', 'a lower rate'), True)):
            out = self.file('bad.pb')
            result = self.succeed('recover', self.model, '--plan', start, '--method', 'distill',
                                  '--rate-factor', factor, '--out', out, *TRAINING, '--json')
            for part in parts:
                self.assertIn(part, result.stderr)
            report = json.loads(result.stdout)
            self.assertTrue(report['complete'])
            step, = report['steps']
            self.assertEqual(step['loss_after'], step['loss_before'])
            self.assertEqual(step['diverged'], diverged)
            self.assertEqual(step['loss_trained'] is None, diverged)
            self.assertEqual(tensors(report['weights']), (header, codes))
            self.assertIn('not taken', self.succeed('show', out).stdout)
            before, after = (report['held_out'][side] for side in ('before', 'after'))
            self.assertEqual(before, after)

    def test_profiles_of_gradients_stand_in_the_json(self):
        report = self.recover(self.file('r.pb'), '--method', 'blockwise,distill', '--profile-every', 1,
                              '--freeze', 'ov')
        blockwise, distill = report['steps']
        self.assertNotIn('profiles', blockwise)
        self.assertEqual([p['step'] for p in distill['profiles']], [0, 1, 2])
        for profile in distill['profiles']:
            self.assertGreater(profile['loss'], 0)
            for layer in profile['layers']:
                self.assertEqual(list(layer), ['q', 'k', 'v', 'o', 'gate', 'up', 'down'])
                self.assertNotIn('sqnr_db', layer['v'])  # stays as stored
                for kind in layer:
                    self.assertGreater(layer[kind]['gradient_norm'], 0)
        self.assertIn('sqnr_db', distill['profiles'][0]['layers'][0]['o'])

    def test_one_bit_layers_with_a_norm_from_drawn_signs(self):
        plan = self.make_plan('--formats', 'onebit-ln', '--pin', 'embed=bf16', '--no-run-dir',
                              out='ln.pb')
        out = self.file('recovered.pb')
        report = self.recover(out, '--method', 'onebit', '--start', 'random', '--keep-worse',
                              plan=plan)
        self.assertEqual(report['steps'][0]['loss_after'], report['steps'][0]['loss_trained'])
        self.assertEqual(self.json('show', out)['recovery']['passes'][0]['start'], 'random')
        evaluated = self.json('eval', self.model, '--plan', out, *QUICK, '--probes', 4)
        self.assertEqual(evaluated['kl_mean'], report['held_out']['after']['kl_mean'])

    def test_damage_is_refused(self):
        out = self.file('recovered.pb')
        self.recover(out)
        weights = out + SUFFIX
        good = read_bytes(weights)
        commands = (['eval', self.model, '--plan', out, '--probes', 2],
                    ['generate', self.model, '--plan', out, '--tokens', '1'],
                    ['logits', self.model, '--plan', out, '--tokens', '1', '--out', self.file('o')],
                    ['apply', self.model, '--plan', out, '--out', self.file('o')],
                    ['apply', self.model, '--plan', out, '--out', self.file('o.gguf')],
                    ['recover', self.model, '--plan', out, '--out', self.file('o.pb'), *TRAINING])
        for contents, parts in ((None, [weights, 'cannot open']),
                                (good[:-1] + bytes([good[-1] ^ 1]), [weights, 'SHA-256'])):
            if contents is None:
                os.remove(weights)
            else:
                write(weights, contents)
            before = self.files()
            for command in commands:
                self.refuse_last(3, parts, *command)
                self.assertEqual(self.files(), before, command)

    def test_a_killed_recovery_resumes_to_the_same_bytes(self):
        args = ['--steps', '10', '--sequences', '16', '--held-out-probes', '4', '--method',
                'blockwise']
        whole = self.file('whole.pb')
        self.succeed('recover', self.model, '--plan', self.plan, '--out', whole, *args)
        os.mkdir(self.file('other'))
        out = self.file('other/whole.pb')  # of the same name, which is in the plan
        kills = 0
        for _ in range(3):
            with start('recover', self.model, '--plan', self.plan, '--out', out, *args) as process:
                before = self.stamp(out)
                while process.poll() is None and self.stamp(out) == before:
                    time.sleep(0.01)
                process.send_signal(signal.SIGKILL)
                process.communicate()
                kills += process.returncode == -signal.SIGKILL
        self.assertGreaterEqual(kills, 2)
        resumed = self.succeed('recover', self.model, '--plan', self.plan, '--out', out, *args)
        self.assertIn('resuming from ' + out + '.recovering', resumed.stderr)
        for suffix in ('', SUFFIX):
            self.assertEqual(read_bytes(out + suffix), read_bytes(whole + suffix))
        self.assertFalse(os.path.exists(out + '.recovering'))

    def stamp(self, out):
        """Changes whenever the state is replaced."""
        try:
            return os.stat(out + '.recovering').st_ino, os.stat(out + '.recovering').st_mtime_ns
        except FileNotFoundError:
            return None

    def test_ctrl_c_keeps_the_best_so_far(self):
        out = self.file('recovered.pb')
        with start('recover', self.model, '--plan', self.plan, '--out', out, '--steps', '3000',
                   '--sequences', '16', '--held-out-probes', '4', '--json') as process:
            while process.poll() is None and not os.path.exists(out + '.recovering'):
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 130, stderr)
        last = stderr.splitlines()[-1]
        self.assertIn('interrupted', last)
        self.assertIn('the same command resumes from ' + out + '.recovering', last)
        if os.path.exists(out):
            report = json.loads(stdout)
            self.assertFalse(report['complete'])
            self.assertNotIn('held_out', report)
            self.assertIn('ended early', self.succeed('show', out).stdout)
            self.json('eval', self.model, '--plan', out, *QUICK, '--probes', 2)
        # Other options are another recovery.
        other = self.succeed('recover', self.model, '--plan', self.plan, '--out', out, *TRAINING)
        self.assertIn('of another recovery', other.stderr)
        self.assertTrue(self.json('show', out)['recovery']['passes'][0]['complete'])

    def test_plan_recovers_what_it_found(self):
        found, out = self.file('found.pb'), self.file('recovered.pb')
        # One layer in another format than the stored one: one layer to train.
        args = ['plan', self.model, '--budget', '100%', '--search', 'uniform', '--formats', 'bf16',
                '--pin', '0.mlp=int2z-g64', *QUICK, '--probes', 3, '--held-out-probes', 4,
                '--no-run-dir']
        self.succeed(*args, '--out', found)
        report = self.json(*args, '--recover', 'blockwise', '--out', out)
        self.assertTrue(report['recovery']['complete'])
        self.assertEqual(report['recovery']['held_out']['before']['kl_mean'],
                         report['held_out']['kl_mean'])
        # The same as the two commands one after the other.
        self.succeed('recover', self.model, '--plan', found, '--held-out-probes', 4, '--out',
                     self.file('again.pb'))
        self.assertEqual(read_bytes(out + SUFFIX), read_bytes(self.file('again.pb') + SUFFIX))

    def test_the_training_text_is_the_encoders_too_where_it_learned_from_one(self):
        text, plan, out = self.text_file(), self.file('gptq.pb'), self.file('out.pb')
        self.succeed('plan', self.model, '--budget', '5bpw', '--search', 'uniform', '--encoder', 'gptq', '-t',
                     text, '-o', plan, *PLAN_PROBES)
        args = ['recover', self.model, '--plan', plan, '--steps', 1, '--sequences', 8, '--held-out-probes', 2,
                '-o', out]
        self.refuse(3, ['learned from a text', '--calibration'], *args, '-q')
        self.succeed(*args, '-t', text)
        other = self.file('other.txt', 'Something else altogether. ' * 300)
        self.refuse(3, [other, 'not the text'], *args, '-t', other, '-q')
        self.succeed(*args, '-t', other, '--calibration', text)

    def test_refusals_before_any_work(self):
        stored, out = self.file('stored.pb'), self.file('out.pb')
        self.succeed('plan', self.model, '--budget', '100%', '--search', 'uniform', '--formats',
                     'bf16', *QUICK, '--probes', 2, '--held-out-probes', 2, '--no-run-dir', '--out',
                     stored)
        self.refuse(3, ['nothing to recover'], 'recover', self.model, '--plan', stored, '--out', out)
        self.refuse(2, [self.plan, 'this command reads'], 'recover', self.model, '--plan', self.plan,
                    '--out', self.plan)
        other = self.copy('novel-8m', to='other')
        self.refuse(3, ['another model'], 'recover', other, '--plan', self.plan, '--out', out)
        shutil.rmtree(other)


if __name__ == '__main__':
    main()
