"""plan --target, and what export, lint and apply make of the plan. Arguments as command_case.py."""

import json
import os
import unittest

import command_case
from command_case import CommandTest, PLAN_PROBES, read_bytes

QUICK = PLAN_PROBES + ['--search', 'uniform', '--no-run-dir']


class TargetTest(CommandTest):
    def plan(self, target, *args, budget='7bpw'):
        path = self.file(f'{target}.json')
        self.succeed('plan', self.model, '--budget', budget, '--target', target, '--out', path,
                     *QUICK, *args)
        with open(path, encoding='utf-8') as file:
            return path, json.load(file)

    def test_export_takes_the_plans_target_and_says_how_to_get_one(self):
        plan = self.file('autoround.pb')
        self.succeed('plan', self.model, '--budget', '8bpw', '--search', 'uniform', '--target', 'autoround',
                     *PLAN_PROBES, '-o', plan)
        texts = []
        for name, to in (('own.json', []), ('named.json', ['--to', 'autoround'])):
            self.succeed('export', plan, *to, '-o', self.file(name))
            texts.append(read_bytes(self.file(name)))
        self.assertEqual(*texts)
        self.assertTrue(os.path.exists(self.file('run_own.py')))
        free = self.make_plan('--formats', 'int4-g64,int8', out='free.pb')
        self.refuse(2, ['--to', 'no target'], 'export', free, '-o', self.file('free.json'))
        self.refuse(3, ['no target', 'bitbudget plan --target autoround'], 'export', free, '--to', 'autoround',
                    '-o', self.file('free.json'))
        self.assertFalse(os.path.exists(self.file('free.json')))

    def test_a_plan_for_a_target_is_exported_and_read_as_meant(self):
        for target in ('llama.cpp', 'ik_llama', 'autoround', 'gptqmodel', 'compressed-tensors',
                       'mlx', 'modelopt', 'torchao', 'native'):
            path, plan = self.plan(target)
            self.assertEqual(plan['options']['target'], target)
            out = self.file('export.json')
            self.succeed('export', path, '--to', target, '--out', out)
            # From the model, not from the plan's own list of components.
            report = self.json('lint', out, '--to', target, self.model, '--plan', path)
            self.assertTrue(report['ok'], report)
            self.assertEqual(report['unused'], [])
            self.assertIn(f'for {target};', self.succeed('show', path).stdout)

    def test_activations_of_llama_cpp_are_the_plans_from_search_to_file(self):
        path, plan = self.plan('llama.cpp', '--activations', 'llama.cpp')
        self.assertEqual(plan['options']['activations'], 'llama.cpp')
        self.assertIn('activations llama.cpp', self.succeed('show', path).stdout)
        evaluate = ('eval', self.model, '--plan', path, *command_case.PROBES, '--probes', 4)
        measured = [self.json(*evaluate, *more)['kl_mean']
                    for more in ((), ('--activations', 'llama.cpp'), ('--activations', 'int16'))]
        self.assertEqual(measured[0], measured[1])
        self.assertNotEqual(measured[0], measured[2])
        self.succeed('apply', self.model, '--plan', path, '--out', self.file('model.gguf'))

    def test_joined_components_share_a_format_whatever_the_search(self):
        for search in ('greedy', 'additive', 'layerwise', 'random', 'uniform'):
            path = self.file(f'{search}.json')
            self.succeed('plan', self.model, '--budget', '7bpw', '--target', 'modelopt', '--out',
                         path, *PLAN_PROBES, '--no-run-dir', '--search', search)
            with open(path, encoding='utf-8') as file:
                plan = json.load(file)
            units = {}
            for c in plan['components']:
                unit = {'q': 'qkv', 'k': 'qkv', 'v': 'qkv', 'up': 'gate'}.get(c['kind'], c['kind'])
                units.setdefault((c['layer'], unit), set()).add(c['format'])
                if c['kind'] == 'embed':
                    self.assertEqual((c['format'], c['encoder']), ('bf16', ''))
            self.assertTrue(all(len(formats) == 1 for formats in units.values()), units)

    def test_a_rule_that_the_target_cannot_express_is_refused_before_the_search(self):
        out = self.file('plan.json')
        for target, args, parts in [
                ('llama.cpp', ['--formats', 'int4-g64'], ['format int4-g64', 'q4_k']),
                ('gptqmodel', ['--pin', 'embed=int8'], ['pin: model.embed_tokens']),
                ('modelopt', ['--pin', 'layers.0.*q_proj=int8', '--pin',
                              'layers.0.*v_proj=int4-g64'], ['pin', 'one format for']),
        ]:
            self.refuse(3, parts, 'plan', self.model, '--budget', '7bpw', '--target', target,
                        '--out', out, *QUICK, *args)
        self.refuse(2, ["unknown target 'vllm'"], 'plan', self.model, '--budget', '7bpw',
                    '--target', 'vllm', '--out', out, *QUICK)

    def test_a_file_budget_is_kept_by_the_file(self):
        size = 720000
        path, plan = self.plan('llama.cpp', budget=f'{size}B')
        budget = plan['budget']
        self.assertEqual(budget['counts'], 'file')
        self.assertEqual(int(budget['total_bytes']), size)
        self.assertEqual(int(budget['bytes']) + int(budget['file_overhead_bytes']), size)
        gguf = self.file('model.gguf')
        self.succeed('apply', self.model, '--plan', path, '--out', gguf)
        self.assertLessEqual(os.path.getsize(gguf), size)
        rules = self.file('rules.txt')
        self.succeed('export', path, '--to', 'llama.cpp', '--out', rules)
        # Names and shapes as the file itself has them.
        self.assertTrue(self.json('lint', rules, '--to', 'llama.cpp', gguf)['ok'])

    def test_a_memory_budget_pays_for_keys_and_values(self):
        path, plan = self.plan('llama.cpp', '--context', '512', '--kv', 'q8_0', budget='5MB')
        budget = {key: int(value) if value.isdigit() else value
                  for key, value in plan['budget'].items()}
        # 4 layers of 2 heads of 32, 512 positions, 34/32 bytes each.
        self.assertEqual(budget['kv_cache_bytes'], 2 * 4 * 64 * 512 * 34 // 32)
        # A batch of 512: logits of 1024 tokens and twice the residual stream of 128, or four times
        # the MLP's 256, the stream and the mask.
        self.assertEqual(budget['compute_bytes'],
                         512 * max(4 * (1024 + 2 * 128), 4 * (4 * 256 + 128) + 2 * 512) + 65536)
        self.assertEqual(budget['bytes'] + budget['file_overhead_bytes'] + budget['kv_cache_bytes']
                         + budget['compute_bytes'], 5000000)
        shown = self.succeed('show', path).stdout
        self.assertIn('5,000,000 bytes for memory = weights', shown)
        self.assertIn('(512 positions, q8_0)', shown)
        out = self.file('none.json')
        self.refuse(4, ['leaves nothing for the weights', 'shorter context'], 'plan', self.model,
                    '--budget', '1MB', '--context', '8192', '--out', out, *QUICK)
        self.refuse(2, ['4bpw is about the weights'], 'plan', self.model, '--budget', '4bpw',
                    '--context', '64', '--out', out, *QUICK)
        self.refuse(2, ['a budget for memory needs a context'], 'plan', self.model, '--budget',
                    '1MB', '--budget-for', 'memory', '--out', out, *QUICK)


if __name__ == '__main__':
    command_case.main()
