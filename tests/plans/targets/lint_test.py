"""Configurations that consumers misunderstand: both `bitbudget lint` and consumers.py, which
shares nothing with it, must see it.

    lint_test.py BINARY [unittest arguments]
"""

import json

import consumers
import export_case
from export_case import ExportCase, run
from plan_maker import component_list


class TrapTest(ExportCase):
    """Files that look right, per consumer."""

    def misread(self, target, text, parts, formats, layers=12, tied=True, kept=(), seen=True):
        """The linter finds it, and so does the other reading."""
        components = component_list(layers, tied)
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
            component_list(12, True), ['q4_k'] * 85))
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
                 ['token_embd.weight', 'no rule matches', r'note: matches nothing: ^output']),
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
        self.misread('llama.cpp', '(.*)*' * 900 + '=q4_k\n' + good, ['at most 4000 are read'], 'q4_k',
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
                     self.plan(component_list(12, True), ['q4_k'] * 85))
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
        components = component_list(2, True)
        _, _, plan = self.uniform('affine4-g64', layers=2)
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
                (changed(lambda q: q[up].update(bits=7)), ['MLX has no 7 bits, groups of 64, affine']),
                (changed(lambda q: q[up].update(group_size=16)), ['MLX has no 4 bits, groups of 16']),
                (changed(lambda q: q[up].update(mode='mxfp4')), ['MLX has no 4 bits, groups of 64, mxfp4']),
                (changed(lambda q: q[up].update(mode='fp4')), ['MLX has no 4 bits, groups of 64, fp4']),
                (changed(lambda q: q[up].update(mode='nvfp4', group_size=16)),
                 ['gets 4 bits, groups of 16, nvfp4', 'meant: affine4-g64']),
                (changed(lambda q: q[up].update(mode='mxfp4', group_size=32)),
                 ['gets 4 bits, groups of 32, mxfp4', 'meant: affine4-g64']),
        ]:
            self.misread('mlx', text, parts, 'affine4-g64', layers=2)
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


class LintTest(ExportCase):
    """What holds for every consumer."""

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
        self.assertIn("unknown target 'vllm'; known are: llama.cpp", result.stderr)


if __name__ == '__main__':
    export_case.main()
