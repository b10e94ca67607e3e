"""Exports of random plans, read by the consumers' rules twice: by `bitbudget lint` and by
consumers.py, which shares nothing with it. And what is particular about single targets.

    exports_test.py BINARY [unittest arguments]
"""

import json
import os

import consumers
import export_case
from export_case import ExportCase, run
from plan_maker import component_list, mixed_formats


class RoundTripTest(ExportCase):
    """Both readings of an export give back the plan. One test per target and model."""


def add_round_trips():
    models = [('LlamaForCausalLM', 2, True), ('LlamaForCausalLM', 12, False),
              ('Qwen3ForCausalLM', 40, True), ('LlamaForCausalLM', 40, False),
              ('Phi3ForCausalLM', 12, False)]
    for target, (_, choices, joins, kept) in consumers.TARGETS.items():
        for architecture, layers, tied in models:
            def test(self, target=target, choices=choices, joins=joins, kept=kept,
                     architecture=architecture, layers=layers, tied=tied):
                components = component_list(layers, tied)
                joined = joins or (architecture.startswith('Phi3') and target != 'native')
                for seed in range(2):
                    formats = mixed_formats(components, choices, joined, kept, seed)
                    plan = self.plan(components, formats, architecture)
                    self.export(plan, target)
                    self.assert_read_as(target, 'out.json', components, formats, architecture)
            head = 'tied' if tied else 'untied'
            name = target.replace('.', '_').replace('-', '_')
            setattr(RoundTripTest, f'test_{name}_{architecture}_{layers}_layers_{head}', test)


class ExportTest(ExportCase):
    """What single targets need."""

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
        components = component_list(2, True)
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
        components = component_list(2, True)
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
            ('mlx', base, ['model.embed_tokens in int4-g64', 'affine4-g64', 'make the plan again']),
            ('mlx', ['int8'] * len(base), ['model.embed_tokens in int8', 'no such format']),
            ('modelopt', ['bf16'] + ['int8z'] * (len(base) - 1), [q, 'int8z', 'no such format']),
            ('torchao', base, ['model.embed_tokens', 'does not quantize']),
        ] + [(target, split, [q, v, 'int4-g64 and int8', f'make the plan for target {target}'])
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
        components = component_list(2, False)
        for target, chosen in (('llama.cpp', 'q4_k'), ('mlx', 'affine4-g64'), ('torchao', 'int8')):
            formats = ['bf16' if kind == 'embed' else chosen for _, kind, *_ in components]
            formats[3] = 'bf16'  # v alone
            plan = self.plan(components, formats, 'Phi3ForCausalLM')
            result = run('export', plan, '--to', target, '--out', self.path('x.json'))
            self.assertEqual(result.returncode, 3)
            self.assertIn('needs one format for model.layers.0.self_attn.q_proj and', result.stderr)

    def test_shapes_that_kernels_refuse(self):
        # 192 inputs: neither whole blocks of 256 nor a multiple of 128.
        components = component_list(1, True, hidden=192, ffn=192)
        chosen = ['bf16'] + ['int4-g32'] * 7
        for target in ('gptqmodel', 'compressed-tensors'):
            result = run('export', self.plan(components, chosen), '--to', target, '--out',
                         self.path('x.json'))
            self.assertEqual(result.returncode, 3)
            self.assertIn('inputs that 128 divides, and this has 192', result.stderr)
        self.export(self.plan(components, chosen), 'autoround')
        # MLX-LM leaves modules alone that its default group does not divide.
        self.export(self.plan(components, ['affine4-g64'] * 8), 'mlx')
        self.assert_read_as('mlx', 'out.json', components, ['affine4-g64'] * 8, 'LlamaForCausalLM')
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


if __name__ == '__main__':
    add_round_trips()
    export_case.main()
