"""Exports of random plans, read by the consumers' rules twice: by `bitbudget lint` and by
consumers.py, which shares nothing with it. And configurations that consumers misunderstand: both
readings must see it.

    exports_test.py BINARY [unittest arguments]
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest

import consumers
import plan_maker

BINARY = ''


def run(*args):
    return subprocess.run([BINARY, *map(str, args)], capture_output=True, text=True, timeout=120,
                          check=False)


def components_of(architecture, layers, tied):
    del architecture  # names inside bitbudget do not depend on it
    return plan_maker.component_list(layers, tied)


class ExportTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='bitbudget-exports-')
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), 'w', encoding='utf-8') as file:
            file.write(text)
        return self.path(name)

    def read(self, name):
        with open(self.path(name), encoding='utf-8') as file:
            return file.read()

    def plan(self, components, formats, architecture='LlamaForCausalLM', name='plan.json'):
        plan = plan_maker.make_plan(components, formats, architecture)
        return self.write(name, json.dumps(plan))

    def export(self, plan, target, out='out.json'):
        result = run('export', plan, '--to', target, '--out', self.path(out))
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def lint(self, file, target, *subject):
        result = run('lint', file, '--to', target, *subject, '--json')
        self.assertIn(result.returncode, (0, 3), result.stderr)
        return json.loads(result.stdout), result

    def assert_read_as(self, target, out, components, formats, architecture):
        """Both readings of the file give what was meant."""
        for reader in consumers.TARGETS[target][0]:
            read = reader(self.read(out), components, architecture)
            for (name, *_), meant in zip(components, formats):
                got = read[name]
                self.assertEqual('bf16' if got == 'kept' else got, meant, (target, name))
        report, result = self.lint(self.path(out), target, self.path('plan.json'))
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertTrue(report['ok'])
        self.assertEqual(report['unused'], [])
        named = {name for entry in report['names'] for name in entry['components']}
        self.assertEqual(named, {name for name, *_ in components})


def add_round_trips():
    """One test per target and model."""
    models = [('LlamaForCausalLM', 2, True), ('LlamaForCausalLM', 12, False),
              ('Qwen3ForCausalLM', 40, True), ('LlamaForCausalLM', 40, False),
              ('Phi3ForCausalLM', 12, False)]
    for target, (_, choices, joins, kept) in consumers.TARGETS.items():
        for architecture, layers, tied in models:
            def test(self, target=target, choices=choices, joins=joins, kept=kept,
                     architecture=architecture, layers=layers, tied=tied):
                components = components_of(architecture, layers, tied)
                joined = joins or (architecture.startswith('Phi3') and target != 'native')
                for seed in range(2):
                    formats = plan_maker.mixed_formats(components, choices, joined, kept, seed)
                    plan = self.plan(components, formats, architecture)
                    self.export(plan, target)
                    self.assert_read_as(target, 'out.json', components, formats, architecture)
            head = 'tied' if tied else 'untied'
            name = target.replace('.', '_').replace('-', '_')
            setattr(ExportTest, f'test_{name}_{architecture}_{layers}_layers_{head}', test)


class RuleTest(ExportTest):
    """What is particular about single targets."""

    def uniform(self, target_format, layers=12, tied=True, kept=(), architecture='LlamaForCausalLM'):
        components = components_of(architecture, layers, tied)
        formats = ['bf16' if kind in kept else target_format for _, kind, *_ in components]
        return components, formats, self.plan(components, formats, architecture)

    def test_rules_are_compact(self):
        _, _, plan = self.uniform('q4_k', layers=40, tied=False)
        self.export(plan, 'llama.cpp')
        self.assertEqual(self.read('out.json').split(), [
            r'^token_embd\.weight$=q4_k', r'^output\.weight$=q4_k',
            r'^blk\.([0-9]|[1-3][0-9])\.(attn_q|attn_k|attn_v|attn_output|ffn_gate|ffn_up|ffn_down)'
            r'\.weight$=q4_k'])
        _, _, plan = self.uniform('int4-g64', layers=40, tied=False, kept=('embed', 'head'))
        for target in ('gptqmodel', 'compressed-tensors'):
            self.export(plan, target)
            self.assertLess(len(self.read('out.json')), 1500)

    def test_the_base_type_is_quantized_and_nowhere_in_the_plan(self):
        components = components_of('LlamaForCausalLM', 2, True)
        for used in (['q5_1'], ['q5_1', 'q4_1', 'q5_0'], ['bf16']):
            formats = [used[i % len(used)] for i in range(len(components))]
            command = self.export(self.plan(components, formats), 'llama.cpp').split('\n')[0]
            base = command.split()[-1]
            self.assertNotIn(base.lower(), used)
            self.assertNotIn(base.lower(), ('f32', 'f16', 'bf16'))
            self.assertIn(base.lower(), consumers.LLAMA_TYPES)
            self.assertNotIn('--pure', command)

    def test_paths_with_blanks_are_quoted(self):
        _, _, plan = self.uniform('q4_k')
        self.assertIn("'" + self.path("it'\\''s a file.txt") + "'",
                      self.export(plan, 'llama.cpp', "it's a file.txt"))

    def test_what_a_target_cannot_hold_is_refused_by_name(self):
        components = components_of('LlamaForCausalLM', 2, True)
        base = ['int4-g64'] * len(components)
        kept = ['bf16'] + base[1:]
        q, v = 'model.layers.0.self_attn.q_proj', 'model.layers.0.self_attn.v_proj'
        split = list(kept)
        split[3] = 'int8'  # v of layer 0
        f16 = list(kept)
        f16[4] = 'f16'  # not the stored type
        refusals = [
            ('llama.cpp', base, ['token_embd.weight in int4-g64', 'no such type']),
            ('ik_llama', ['tq2_0'] * len(base), ['token_embd.weight in tq2_0', 'no such type']),
            ('gptqmodel', base, ['model.embed_tokens in int4-g64', 'does not quantize']),
            ('gptqmodel', ['bf16'] + ['int4z-g64'] * (len(base) - 1), [q, 'no such format']),
            ('mlx', base, ['model.embed_tokens in int4-g64', 'no such format']),
            ('modelopt', ['bf16'] + ['int8z'] * (len(base) - 1), [q, 'int8z', 'no such format']),
            ('torchao', base, ['model.embed_tokens', 'does not quantize']),
        ] + [(target, split, [q, v, 'int4-g64 and int8', f'--target {target}'])
             for target in ('autoround', 'gptqmodel', 'compressed-tensors', 'modelopt')
        ] + [(target, f16, ['model.layers.0.self_attn.o_proj', 'f16'])
             for target in ('autoround', 'gptqmodel', 'compressed-tensors', 'modelopt', 'torchao')]
        for target, formats, parts in refusals:
            plan = self.plan(components, formats)
            result = run('export', plan, '--to', target, '--out', self.path('refused.json'))
            self.assertEqual(result.returncode, 3, (target, result.stdout))
            self.assertEqual(result.stderr.count('\n'), 1)
            for part in ['plan.json'] + parts:
                self.assertIn(part, result.stderr)
            self.assertFalse(os.path.exists(self.path('refused.json')))

    def test_phi3_has_joined_matrices_everywhere(self):
        components = components_of('Phi3ForCausalLM', 2, False)
        for target, chosen in (('llama.cpp', 'q4_k'), ('mlx', 'int4z-g64'), ('torchao', 'int8')):
            formats = ['bf16' if kind == 'embed' else chosen for _, kind, *_ in components]
            formats[3] = 'bf16'  # v alone
            plan = self.plan(components, formats, 'Phi3ForCausalLM')
            result = run('export', plan, '--to', target, '--out', self.path('x.json'))
            self.assertEqual(result.returncode, 3)
            self.assertIn('needs one format for model.layers.0.self_attn.q_proj and', result.stderr)

    def test_shapes_that_kernels_refuse(self):
        # 192 inputs: neither whole blocks of 256 nor a multiple of 128.
        components = plan_maker.component_list(1, True, hidden=192, ffn=192)
        chosen = ['bf16'] + ['int4-g32'] * 7
        for target in ('gptqmodel', 'compressed-tensors'):
            result = run('export', self.plan(components, chosen), '--to', target, '--out',
                         self.path('x.json'))
            self.assertEqual(result.returncode, 3)
            self.assertIn('inputs that 128 divides, and this has 192', result.stderr)
        self.export(self.plan(components, chosen), 'autoround')
        # A rule for q4_k gives q5_0 there, and the linter says so.
        formats = ['q5_0'] * 8
        plan = self.plan(components, formats)
        self.export(plan, 'llama.cpp')
        self.assert_read_as('llama.cpp', 'out.json', components, formats, 'LlamaForCausalLM')
        swapped = self.write('k.txt', self.read('out.json').replace('=q5_0', '=q4_k'))
        report, result = self.lint(swapped, 'llama.cpp', plan)
        self.assertFalse(report['ok'])
        self.assertIn('llama.cpp takes q5_0', json.dumps(report))
        # o has rows of 256 here: whole blocks.
        gets = {entry['name']: entry['gets'] for entry in report['names']}
        self.assertEqual(gets['blk.0.attn_output.weight'], 'q4_K')
        self.assertEqual(gets['blk.0.attn_q.weight'], 'q5_0')

    def misread(self, target, text, parts, formats, layers=12, tied=True, kept=(), seen=True):
        """The linter finds it, and so does the other reading."""
        components = components_of('LlamaForCausalLM', layers, tied)
        meant = ['bf16' if kind in kept else formats for _, kind, *_ in components]
        plan = self.plan(components, meant)
        file = self.write('file', text if isinstance(text, str) else json.dumps(text))
        result = run('lint', file, '--to', target, plan)
        self.assertEqual(result.returncode, 3, (text, result.stdout))
        for part in parts:
            self.assertIn(part, result.stdout + result.stderr)
        if not seen:
            return
        wrong = False
        for reader in consumers.TARGETS[target][0]:
            try:
                read = reader(self.read('file'), components, 'LlamaForCausalLM')
                wrong = wrong or any(
                    {'kept': 'bf16'}.get(read[name], read[name]) != m
                    for (name, *_), m in zip(components, meant))
            except consumers.Refused:
                wrong = True
        self.assertTrue(wrong, f'{target}: only the linter minds {text}')

    def test_traps_of_llama_cpp(self):
        good = r'^token_embd\.weight$=q4_k' '\n' r'^blk\.\d+\..*\.weight$=q4_k' '\n'
        whole = run('lint', self.write('good', good), '--to', 'llama.cpp', self.plan(
            components_of('', 12, True), ['q4_k'] * 85))
        self.assertEqual(whole.returncode, 0, whole.stdout)
        for text, parts in [
                # A bare number finds layers 10 and 11 too.
                (r'^blk\.1=q6_k' '\n' + good, ['blk.10.attn_q.weight', 'gets q6_K', 'meant: q4_k',
                                              'last rule']),
                # Capitals are lowered: no digit becomes a digit.
                (r'^\Doken_embd\.weight$=q4_k' '\n' + good.split('\n')[1], ['capitals', 'token_emb']),
                # Comments and file types are no rules.
                ('# rules\n' + good, ["'#' is not of the form PATTERN=TYPE"]),
                (good.replace('q4_k', 'q4_k_m'), ["no tensor type 'q4_k_m'"]),
                # With a tied head there is no output.weight.
                (r'^output\.weight$=q4_k' '\n' + good.split('\n')[1],
                 ['token_embd.weight', 'no rule matches', r'note: nothing is decided by ^output']),
                (good.split('\n')[0], ['blk.0.attn_q.weight', "file type's own mix"]),
                (good + '(=q4_k', ["'(' is not a regular expression"]),
                (good.replace('=q4_k', '=q5_k', 1), ['token_embd.weight gets q5_K', 'meant: q4_k']),
        ]:
            self.misread('llama.cpp', text, parts, 'q4_k',
                         seen='(=q4_k' not in text and r'\D' not in text)
        self.misread('llama.cpp', good + good.replace('q4_k', 'q6_k'), ['depends on the version'],
                     'q4_k')
        self.misread('llama.cpp', '(([a-z0-9_.]*)*)*!=q4_k\n' + good, ['steps'], 'q4_k',
                     seen=False)
        self.misread('llama.cpp', '(.*)*' * 900 + '=q4_k\n' + good, ['characters'], 'q4_k',
                     seen=False)

    def test_traps_of_ik_llama(self):
        good = r'^token_embd\.weight$=q4_K' '\n' r'^blk\..*$=q4_K' '\n'
        for text, parts in [
                (good.replace('q4_K', 'q4_k'), ["no type 'q4_k'", 'writes q4_K']),
                (r'^blk\.[0-9]{1,2}\..*$=q4_K' '\n' + good, ['PATTERN=TYPE']),  # split at the comma
                (good.replace('blk', 'BLK'), ['no rule matches']),
                (good.split('\n')[0], ["file type's own mix"]),
        ]:
            self.misread('ik_llama', text, parts, 'q4_k')
        result = run('lint', self.write('good', '# made by hand\n' + good), '--to', 'ik_llama',
                     self.plan(components_of('', 12, True), ['q4_k'] * 85))
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_traps_of_autoround(self):
        entry = {'bits': 4, 'group_size': 64, 'sym': True, 'data_type': 'int'}
        everything = {r'layers.*_proj': entry}
        for text, parts in [
                ({'layers.*.mlp.down_proj': entry}, ['no key names it', "the run's scheme"]),
                ({**everything, 'model.layers.0.self_attn.v_proj': {**entry, 'bits': 8}},
                 ['loaded together with model.layers.0.self_attn.q_proj', 'meant: int4-g64']),
                ({**everything, 'layers.1': {**entry, 'bits': 8}},
                 ['model.layers.10', 'depends on the version']),
                ({**everything, 'layers.0.mlp.up_proj': {'bits': 4}}, ['are not said']),
                ({**everything, 'layers': {'bit': 4}}, ["unknown key 'bit'"]),
        ]:
            self.misread('autoround', text, parts, 'int4-g64', kept=('embed',),
                         seen='bit' not in str(text.get('layers'))
                         and 'layers.0.mlp.up_proj' not in text)

    def gptq(self, dynamic, **more):
        return {'bits': 4, 'group_size': 64, 'sym': True, 'desc_act': False, **more,
                'dynamic': dynamic}

    def test_traps_of_gptqmodel(self):
        entry = {'bits': 4, 'group_size': 64, 'sym': True}
        eight = {'bits': 8, 'group_size': 64, 'sym': True}
        everything = {r'model\.layers\.\d+\..*$': entry}
        for text, parts in [
                # vLLM asks for qkv_proj, which the shard's own rule does not match.
                (self.gptq({r'^model\.layers\.0\.self_attn\.(q|k|v)_proj$': eight, **everything}),
                 ['qkv_proj', 'loaded together']),
                # Without $ a rule for layer 1 takes 10 and 11 too.
                (self.gptq({r'model\.layers\.1': eight, **everything}), ['model.layers.10']),
                # A later skip goes first when quantizing, not when loading.
                (self.gptq({**everything, r'-:.*layers\.0\.mlp\.down_proj': {}}),
                 ['GPTQModel skips it, and vLLM takes the first rule']),
                (self.gptq({}, bits=8), ['no rule matches: the base scheme']),
                (self.gptq({r'.*(': entry}), ['is not a regular expression']),
        ]:
            self.misread('gptqmodel', text, parts, 'int4-g64', kept=('embed',),
                         seen='.*(' not in str(text))
        self.misread('gptqmodel', {'bits': 4}, ["no object 'dynamic'"], 'int4-g64', seen=False)

    def tensors(self, groups, ignore=('lm_head',)):
        config = {}
        for i, (targets, bits) in enumerate(groups):
            config[f'g{i}'] = {
                'targets': targets, 'input_activations': None, 'output_activations': None,
                'format': 'pack-quantized',
                'weights': {'num_bits': bits, 'type': 'int', 'symmetric': True,
                            'strategy': 'group', 'group_size': 64, 'dynamic': False}}
        return {'quant_method': 'compressed-tensors', 'format': 'pack-quantized',
                'config_groups': config, 'ignore': list(ignore)}

    def test_traps_of_compressed_tensors(self):
        everything = r're:model\.layers\.\d+\..*_proj$'
        attention = r're:.*self_attn\.(q|k|v)_proj$'
        for text, parts in [
                # "Linear" is contained in QKVParallelLinear.
                (self.tensors([(['Linear'], 4), ([attention], 8)]),
                 ['qkv_proj', 'depends on the vLLM version', 'the class name takes Linear']),
                # One shard of another width: nobody checks but the first counts.
                (self.tensors([([r're:.*\.v_proj$'], 8),
                               ([r're:.*\.(q|k|o|gate|up|down)_proj$'], 4)]),
                 ['v_proj gets 8 bits', 'loaded together']),
                (self.tensors([([everything], 4)], ignore=['re:.*0.self_attn.v_proj']),
                 ['only some of its parts are ignored']),
                (self.tensors([([everything], 4), ([r're:.*down_proj'], 8)]), ['also matched by']),
                (self.tensors([([r're:.*down_proj'], 4)]), ['no target and no ignore matches']),
        ]:
            self.misread('compressed-tensors', text, parts, 'int4-g64', kept=('embed', 'head'),
                         tied=False)
        extra = self.tensors([([everything], 4)])
        extra['config_groups']['g0']['bits'] = 4
        self.misread('compressed-tensors', extra, ["unknown field 'bits'"], 'int4-g64',
                     kept=('embed',), seen=False)

    def test_traps_of_mlx(self):
        components = components_of('', 2, True)
        _, _, plan = self.uniform('int4z-g64', layers=2)
        self.export(plan, 'mlx')
        config = json.loads(self.read('out.json'))

        def changed(change):
            text = json.loads(json.dumps(config))
            change(text['quantization'])
            text['quantization_config'] = text['quantization']
            return text

        up = 'model.layers.0.mlp.up_proj'
        for text, parts in [
                (changed(lambda q: q.pop(up)), [up, 'no key names it']),
                (changed(lambda q: q.update({up: False})), [f'{up} gets as stored']),
                (changed(lambda q: q.update(group_size=512)),
                 ['default group size 512 does not divide']),
        ]:
            self.misread('mlx', text, parts, 'int4z-g64', layers=2)
        self.misread('mlx', changed(lambda q: q[up].update(bits=7)), ['MLX has no 7 bits'],
                     'int4z-g64', layers=2, seen=False)
        self.assertEqual(len(components), 15)

    def test_traps_of_modelopt(self):
        off = {'quantizer_name': '*', 'enable': False}

        def entry(name, bits):
            return {'quantizer_name': name + '.weight_quantizer', 'enable': True,
                    'cfg': {'num_bits': bits, 'block_sizes': {'-1': 64}}}

        layers = entry('model.layers.*', 4)
        for text, parts in [
                ([layers, off], ['as stored', 'meant: int4-g64']),  # the last one wins
                ([off, layers, entry('*layers.1*', 8)], ['model.layers.10']),
                ([off, layers, entry('*v_proj', 8)], ['loaded together']),
                ([off, entry('*down_proj', 4)], ['meant: int4-g64']),
        ]:
            self.misread('modelopt', {'quant_cfg': text, 'algorithm': 'max'}, parts, 'int4-g64',
                         kept=('embed',))
        self.misread('modelopt', {'quant_cfg': [layers]}, ['no entry matches', 'activations'],
                     'int4-g64', kept=('embed',), seen=False)

    def test_traps_of_torchao(self):
        four = {'weight_dtype': 'int4', 'group_size': 64, 'mapping_type': 'SYMMETRIC'}
        eight = {**four, 'weight_dtype': 'int8'}
        layers = r're:model\.layers\.\d+\..*_proj'
        good = {'model.embed_tokens': None, layers: four}
        for text, parts in [
                ({'model.embed_tokens': None, r're:layers\.\d+\..*_proj': four}, ['no key names']),
                ({**good, 'model.layers.1.mlp.up_proj': eight}, ['also matched by']),
                ({**good, r're:.*\.weight': eight}, ['8 bits']),
                ({layers: four}, ['model.embed_tokens', 'no key names it']),
        ]:
            self.misread('torchao', text, parts, 'int4-g64', kept=('embed',))
        self.misread('torchao', {**good, layers: {'bits': 4}}, ['weight_dtype'], 'int4-g64',
                     kept=('embed',), seen=False)

    def test_lint_without_a_plan_says_what_is_wrong_whatever_was_meant(self):
        components, formats, plan = self.uniform('q4_k', layers=2)
        self.export(plan, 'llama.cpp')
        self.assert_read_as('llama.cpp', 'out.json', components, formats, 'LlamaForCausalLM')
        result = run('lint', self.path('out.json'), '--to', 'llama.cpp', plan)
        self.assertIn('each gets what was meant', result.stdout)
        self.assertIn('q4_K', result.stdout)

    def test_files_that_are_none(self):
        _, _, plan = self.uniform('int4z-g64', layers=2)
        deep = '{"a":' * 5000 + '1' + '}' * 5000
        for target in consumers.TARGETS:
            for text in ('', '[', '{}', '[]', deep, '\0\xff', '{"quantization": 3}'):
                result = run('lint', self.write('broken', text), '--to', target, plan)
                self.assertEqual(result.returncode, 3, (target, text[:10], result.stdout))
                self.assertEqual(result.stderr.count('\n'), 1, result.stderr)
        result = run('lint', self.path('nothing'), '--to', 'mlx', plan)
        self.assertEqual(result.returncode, 3)
        self.assertIn('nothing', result.stderr)
        result = run('lint', self.path('broken'), '--to', 'vllm', plan)
        self.assertEqual(result.returncode, 2)
        self.assertIn("unknown target 'vllm'; known: llama.cpp", result.stderr)


class DriverTest(ExportTest):
    """The scripts beside the exports call the programs as they want to be called."""

    def drive(self, target, formats, kept, stubs, args):
        components = components_of('LlamaForCausalLM', 2, False)
        chosen = ['bf16' if kind in kept else formats for _, kind, *_ in components]
        self.export(self.plan(components, chosen), target, 'the plan.json')
        for name, text in stubs.items():
            path = os.path.join(self.folder, 'stubs', name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'w', encoding='utf-8') as file:
                file.write(textwrap.dedent(text))
        result = subprocess.run(
            [sys.executable, '-B', self.path('the plan.py'), *args], cwd='/',
            env={**os.environ, 'PYTHONPATH': os.path.join(self.folder, 'stubs')},
            capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout, [name for name, *_ in components]

    TRANSFORMERS = '''
        class Any:
            def from_pretrained(path, **options):
                return Any()
            def save_pretrained(self, path, **options):
                print('saved', path)
        AutoModelForCausalLM = AutoTokenizer = Any
        '''

    def test_autoround(self):
        out, names = self.drive('autoround', 'int4-g64', ('embed', 'head'), {'auto_round.py': '''
            class AutoRound:
                def __init__(self, model, scheme, layer_config):
                    print(model, scheme, len(layer_config))
                def quantize_and_save(self, out, format):
                    print(out, format)
            '''}, ['MODEL', 'OUT'])
        self.assertEqual(out.split(), ['MODEL', 'W4A16', str(len(names) - 2), 'OUT', 'auto_round'])

    def test_gptqmodel(self):
        text = self.write('text.txt', 'one\n\ntwo\n')
        out, _ = self.drive('gptqmodel', 'int8', ('embed', 'head'), {'gptqmodel.py': '''
            class QuantizeConfig:
                def __init__(self, bits, group_size, sym, desc_act, lm_head, dynamic):
                    print(bits, group_size, sym, desc_act, lm_head, len(dynamic))
            class GPTQModel:
                def load(model, config):
                    return GPTQModel()
                def quantize(self, texts):
                    print(len(texts))
                def save(self, out):
                    print(out)
            '''}, ['MODEL', text, 'OUT'])
        self.assertEqual(out.split(), ['8', '-1', 'True', 'False', 'False', '1', '2', 'OUT'])

    def test_mlx(self):
        out, names = self.drive('mlx', 'int4z-g64', ('head',), {'mlx_lm.py': '''
            def convert(model, mlx_path, quantize, q_group_size, q_bits, quant_predicate):
                print(model, mlx_path, quantize, q_group_size, q_bits,
                      quant_predicate('model.layers.1.mlp.up_proj', None)['group_size'],
                      quant_predicate('lm_head', None), quant_predicate('other', None))
            '''}, ['MODEL', 'OUT'])
        self.assertEqual(out.split(),
                         ['MODEL', 'OUT', 'True', '64', '4', '64', 'False', 'False'])
        self.assertIn('lm_head', names)

    def test_modelopt(self):
        out, names = self.drive('modelopt', 'int4-g64', ('embed', 'head'), {
            'modelopt/__init__.py': '',
            'modelopt/torch/__init__.py': '',
            'modelopt/torch/quantization.py': '''
                def quantize(model, config, forward_loop):
                    print(len(config['quant_cfg']), config['quant_cfg'][1]['cfg']['block_sizes'],
                          config['algorithm'], forward_loop)
                ''',
            'modelopt/torch/export.py': '''
                def export_hf_checkpoint(model, export_dir):
                    print(export_dir)
                ''',
            'transformers.py': self.TRANSFORMERS}, ['MODEL', 'OUT'])
        self.assertEqual(out.split('\n')[0], f'{len(names) - 1} {{-1: 64}} max None')

    def test_torchao(self):
        out, names = self.drive('torchao', 'int8', ('embed',), {
            'torch.py': 'int8 = "torch.int8"\nint4 = "torch.int4"\n',
            'torchao/__init__.py': '',
            'torchao/quantization/__init__.py': '''
                def quantize_(model, config, filter_fn):
                    print(len(config), config['model.embed_tokens'], config['lm_head'], filter_fn)
                def FqnToConfig(mapping):
                    return mapping
                def IntxWeightOnlyConfig(weight_dtype, granularity, mapping_type):
                    return f'{weight_dtype}/{granularity}/{mapping_type.name}'
                ''',
            'torchao/quantization/granularity.py': '''
                def PerAxis(axis):
                    return f'axis{axis}'
                def PerGroup(size):
                    return f'group{size}'
                ''',
            'torchao/quantization/quant_primitives.py': '''
                import enum
                MappingType = enum.Enum('MappingType', 'SYMMETRIC ASYMMETRIC')
                ''',
            'transformers.py': self.TRANSFORMERS}, ['MODEL', 'OUT'])
        self.assertEqual(out.split('\n')[0],
                         f'{len(names)} None torch.int8/axis0/SYMMETRIC None')


def main():
    global BINARY
    BINARY = os.path.abspath(sys.argv[1])
    add_round_trips()
    loader = unittest.TestLoader()
    own = unittest.TestSuite()
    own.addTests(loader.loadTestsFromTestCase(ExportTest))
    for case in (RuleTest, DriverTest):
        own.addTests(case(name) for name in loader.getTestCaseNames(case)
                     if not hasattr(ExportTest, name))
    names = sys.argv[2:]
    if names:
        chosen = unittest.TestSuite(
            test for suite in own for test in (suite if isinstance(suite, unittest.TestSuite)
                                               else [suite])
            if any(name in test.id() for name in names))
        own = chosen
    result = unittest.TextTestRunner(verbosity=1).run(own)
    sys.exit(0 if result.wasSuccessful() else 1)


if __name__ == '__main__':
    main()
