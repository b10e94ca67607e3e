#!/usr/bin/env python3
"""plan, eval and score: every documented form works, and its JSON has the documented fields.

    command_measure_test.py BINARY SOURCE_DIR [unittest arguments]
"""

import json
import math

from command_case import FEW_FORMATS, PLAN_PROBES, PROBES, VOCABULARY, CommandTest, main

METRICS = {
    'fdt_mean', 'fdt_ci', 'fdt_75', 'fdt_75_ci', 'sdt_mean', 'sdt_ci', 'dppl', 'dppl_ci',
    'kl_mean', 'kl_ci', 'top1_agreement', 'top1_ci'
}
SIZE = {'size_bytes', 'bits_per_weight'}
TEXT = {'text_kl', 'text_kl_ci', 'text_kl_999', 'text_kl_999_ci', 'text_top1', 'text_top1_ci'}
PERPLEXITY = {'ppl_reference', 'ppl_candidate'}
PERPLEXITY_INTERVALS = {'ppl_reference_ci', 'ppl_candidate_ci'}
MEMORY = {'weights', 'states', 'logits', 'streams', 'scratch'}  # bytes; together the estimate


class MeasureTest(CommandTest):

    def check_metrics(self, metrics, tokens):
        for name in ('fdt', 'fdt_75', 'sdt', 'dppl', 'kl'):
            low, high = metrics[name + '_ci']
            value = metrics.get(name, metrics.get(name + '_mean'))
            self.assertLessEqual(low, high)
            self.assertTrue(math.isfinite(value))
        self.assertTrue(0 <= metrics['fdt_mean'] <= tokens)
        low, high = metrics['top1_ci']
        self.assertTrue(0 <= low <= metrics['top1_agreement'] <= high <= 1)
        self.assertGreaterEqual(metrics['dppl'], 1)

    def check_text(self, metrics):
        self.assertGreaterEqual(metrics['text_kl'], 0)
        for name in ('text_kl', 'text_kl_999', 'text_top1'):
            low, high = metrics[name + '_ci']
            self.assertTrue(low <= metrics[name] <= high)
        self.assertTrue(0 <= metrics['text_top1'] <= 1)

    def check_memory(self, memory):
        self.assertEqual(set(memory), MEMORY | {'limit', 'estimate'})
        self.assertEqual(memory['estimate'], sum(memory[part] for part in MEMORY))
        self.assertLessEqual(memory['estimate'], memory['limit'])

    def test_plan(self):
        out = self.file('plan.pb')
        for search in ('greedy', 'additive', 'layerwise', 'uniform', 'random'):
            for scorer in ('lim', 'zd') if search == 'layerwise' else ('lim',):
                with self.subTest(search=search, scorer=scorer):
                    report = self.json('plan', self.model, '--budget', '6bpw', '--search', search,
                                       *(['--scorer', scorer] if search == 'layerwise' else []),
                                       *FEW_FORMATS, *PLAN_PROBES,
                                       '--threads', 2, '--out', out)
                    self.check_plan_report(report, out)

    def test_eval_compares_plans_and_files_in_pairs(self):
        probes = [*PROBES, '--probes', 3]
        out = self.file('small.gguf')
        fit = self.json('fit', self.model, '450KB', '-o', out, *PLAN_PROBES)
        stored = self.file('stored.gguf')
        self.succeed('fit', self.model, '4GB', '-o', stored)
        self.assertEqual(self.json('eval', self.model, '--candidate', stored, *probes)['kl_mean'], 0)
        # A plan and its own file are the same on every probe.
        pair = self.json('eval', self.model, '--plan', fit['plan'], '--against', out, *probes)
        for name in ('fdt', 'kl', 'text_kl'):
            self.assertEqual(pair[name + '_difference_ci'], [0, 0])
        self.assertEqual(pair['against']['per_probe'], pair['per_probe'])
        self.assertGreater(pair['kl_mean'], 0)
        # A format that is worse, of whatever kind the first is.
        for first in (['--candidate', out], ['--plan', fit['plan']], ['--uniform', 'int8']):
            pair = self.json('eval', self.model, *first, '--against', 'int2-g64', *probes)
            self.assertLess(pair['kl_difference_ci'][1], 0)
            text = self.succeed('eval', self.model, *first, '--against', 'int2-g64', *probes).stdout
            self.assertRegex(text, 'KL mean .*better')
        # Another model is refused by what differs.
        other = self.copy('novel-8m', 'other')
        self.refuse(3, ['other'], 'eval', self.model, '--candidate', other, *probes)

    def test_diff_as_json(self):
        a, b = self.file('a.pb'), self.file('b.pb')
        for plan, budget in ((a, '5bpw'), (b, '6bpw')):
            self.succeed('plan', self.model, '--budget', budget, '-o', plan, *FEW_FORMATS, *PLAN_PROBES)
        diff = self.json('diff', a, b)
        for key, plan in (('a', a), ('b', b)):
            self.assertEqual(diff[key], self.json('show', plan)['summary'] | {'file': plan})
        self.assertEqual(diff['a']['file'], a)
        sizes = [component['b']['size_bytes'] - component['a']['size_bytes']
                 for component in diff['components']]
        self.assertEqual(sum(sizes), diff['b']['size_bytes'] - diff['a']['size_bytes'])
        self.assertTrue(sizes)
        self.assertEqual(self.json('diff', a, a)['components'], [])

    def check_plan_report(self, report, out):
        self.assertEqual(
            set(report), SIZE | {
                'budget_bytes', 'complete', 'search', 'memory', 'held_out', 'uniform',
                'fdt_difference_ci', 'kl_difference_ci', 'text_kl_difference_ci', 'uniform_emitted'
            } | ({'rejected'} if report['uniform_emitted'] else set()))
        self.assertEqual(set(report['search']),
                         {'candidates', 'rounds', 'computed', 'naive', 'seconds'})
        self.assertEqual(
            set(report['held_out']),
            SIZE | METRICS | TEXT | PERPLEXITY | PERPLEXITY_INTERVALS
            | {'noise_floor', 'completion_tokens', 'probes'})
        self.assertEqual(set(report['held_out']['noise_floor']), METRICS)
        self.assertEqual(set(report['uniform']), {'format'} | SIZE | METRICS | TEXT | PERPLEXITY
                         | PERPLEXITY_INTERVALS)
        for metrics in (report['held_out'], report['uniform']):
            self.check_text(metrics)
        if report['uniform_emitted']:
            self.assertEqual(set(report['rejected']), METRICS | TEXT)
        low, high = report['text_kl_difference_ci']
        self.assertLessEqual(low, high)
        for metrics in (report['held_out'], report['uniform'], report['held_out']['noise_floor']):
            self.check_metrics(metrics, 12)
        self.check_memory(report['memory'])
        self.assertTrue(report['complete'])
        self.assertLessEqual(report['size_bytes'], report['budget_bytes'])
        self.assertLessEqual(report['uniform']['size_bytes'], report['budget_bytes'])
        self.assertEqual(report['held_out']['size_bytes'], report['size_bytes'])
        self.assertGreater(report['search']['candidates'], 0)
        self.assertLessEqual(report['search']['computed'], report['search']['naive'])
        plan = self.json('show', out)
        summary = {key: value for key, value in report.items() if key != 'memory'}
        summary['search'] = {key: value for key, value in report['search'].items() if key != 'seconds'}
        self.assertEqual(plan['summary'], summary)
        size = int(plan['model']['fixed_bytes']) + sum(
            int(c['size_bytes']) for c in plan['components'])
        self.assertEqual(report['size_bytes'], size)
        self.assertAlmostEqual(report['bits_per_weight'],
                               8 * size / int(plan['model']['parameter_count']), places=12)

    def test_plan_with_text_and_rules(self):
        text = self.text_file()
        out = self.file('plan.json')
        report = self.json('plan', self.model, '--budget', '60%', '--search', 'uniform', '--text',
                           text, '--pin', 'embed=int8', '--pin', r'layers\.0\.=int8', '--min-bits',
                           'down_proj$=8', '--objective', 'kl', '--encoder', 'rtn', *PLAN_PROBES,
                           '--out', out)
        for part in (report['held_out'], report['uniform']):
            self.assertLessEqual(PERPLEXITY | PERPLEXITY_INTERVALS, set(part))
            self.assertGreater(part['ppl_reference'], 1)
            low, high = part['ppl_candidate_ci']
            self.assertTrue(low <= part['ppl_candidate'] <= high)
        with open(out, encoding='ascii') as file:
            plan = json.load(file)  # .json: the plan itself is JSON
        for component in plan['components']:
            name = component['name']
            if 'embed' in name or 'layers.0.' in name or 'down_proj' in name:
                self.assertEqual(component['format'], 'int8', name)
        self.assertEqual(plan['options']['pins'], ['embed=int8', r'layers\.0\.=int8'])

    def test_what_show_prints_as_json_is_the_plan(self):
        plan, shown = self.make_plan(), self.file('shown.json')
        with open(shown, 'w', encoding='ascii') as file:
            file.write(self.succeed('show', plan, '--json').stdout)
        self.assertEqual(self.succeed('show', shown).stdout, self.succeed('show', plan).stdout)
        self.assertEqual(self.json('show', shown), self.json('show', plan))
        json_plan = self.make_plan(out='plan.json')
        with open(json_plan, encoding='ascii') as file:
            fields = json.load(file)
        self.assertEqual(self.json('show', plan), fields | {'summary': self.json('show', plan)['summary']})

    def test_a_plan_for_people(self):
        text = self.succeed('plan', self.model, '--budget', '5bpw', '--search', 'uniform',
                            *PLAN_PROBES, '--out', self.file('plan.pb')).stdout
        self.assertIn(self.file('plan.pb'), text)
        self.assertIn('5bpw', text)
        shown = self.succeed('show', self.file('plan.pb')).stdout
        self.assertIn(shown.strip(), text)

    def test_progress_goes_to_standard_error(self):
        result = self.succeed('plan', self.model, '--budget', '5bpw', '--search', 'uniform',
                              *PLAN_PROBES, '--out', self.file('plan.pb'), '--json')
        json.loads(result.stdout)
        self.assertIn('reference completions', result.stderr)
        self.assertNotIn('\x1b', result.stderr)
        self.assertNotIn('\r', result.stderr)

    def test_eval(self):
        plan = self.make_plan()
        reports = {}
        for what in (['--plan', plan], ['--uniform', 'int4-g64']):
            report = self.json('eval', self.model, *what, *PROBES, '--probes', 4)
            self.assertEqual(
                set(report), SIZE | METRICS | TEXT | PERPLEXITY | PERPLEXITY_INTERVALS
                | {'memory', 'noise_floor', 'completion_tokens', 'per_probe'})
            self.check_text(report)
            text = [probe['text'] for probe in report['per_probe']]
            self.assertEqual([probe['tokens'] for probe in text], 4 * [2])
            self.assertAlmostEqual(report['text_kl'], sum(t['kl'] for t in text) / 8, places=12)
            self.assertEqual(report['text_top1'], 1 - sum(t['misses'] for t in text) / 8)
            self.assertAlmostEqual(report['ppl_candidate'],
                                   math.exp(sum(t['nll'] for t in text) / 8), places=9)
            self.check_memory(report['memory'])
            self.assertEqual(set(report['noise_floor']), METRICS)
            self.assertEqual(report['completion_tokens'], 12)
            self.assertEqual(len(report['per_probe']), 4)
            for probe in report['per_probe']:
                self.assertEqual(set(probe),
                                 {'prompt_tokens', 'completion', 'fdt', 'sdt', 'tokens', 'nll', 'kl',
                                  'text'})
                self.assertEqual(len(probe['completion']), probe['tokens'])
                self.assertEqual(len(probe['prompt_tokens']), 18)
                self.assertTrue(all(0 <= t < VOCABULARY for t in probe['prompt_tokens']))
                self.assertTrue(0 <= probe['fdt'] <= probe['tokens'] <= 12)
                self.assertTrue(0 <= probe['sdt'] <= probe['tokens'] - probe['fdt'])
            self.check_metrics(report, 12)
            for mean, value in (('fdt_mean', 'fdt'), ('sdt_mean', 'sdt')):
                self.assertAlmostEqual(
                    report[mean],
                    sum(p[value] for p in report['per_probe']) / len(report['per_probe']),
                    places=9)
            reports[what[0]] = report
        # The plan's own evidence is what eval measures on the same probes.
        shown = self.json('show', plan)['held_out']
        self.assertEqual(shown['plan']['kl_mean'], reports['--plan']['kl_mean'])
        self.assertEqual(shown['plan']['fdt_mean'], reports['--plan']['fdt_mean'])
        self.assertEqual(shown['plan_text']['kl_mean'], reports['--plan']['text_kl'])
        self.assertEqual(shown['plan_text']['kl_999'], reports['--plan']['text_kl_999'])
        self.assertEqual(shown['plan_text']['top1_agreement'], reports['--plan']['text_top1'])

    def test_eval_of_fdt_only_is_a_part_of_eval(self):
        args = ('eval', self.model, '--uniform', 'int4-g64', *PROBES, '--probes', 5)
        whole = self.json(*args)
        part = self.json(*args, '--fdt-only')
        fields = {'fdt_mean', 'fdt_ci', 'fdt_75', 'fdt_75_ci', 'completion_tokens'} | SIZE
        self.assertEqual(set(part), fields | {'memory', 'per_probe'})
        self.check_memory(part['memory'])
        self.assertEqual({name: part[name] for name in fields},
                         {name: whole[name] for name in fields})
        self.assertEqual(part['per_probe'],
                         [{name: probe[name] for name in ('prompt_tokens', 'fdt', 'tokens')}
                          for probe in whole['per_probe']])
        self.assertIn('FDT', self.succeed(*args, '--fdt-only').stdout)

    def test_memory_is_said_before_work_starts(self):
        args = ('eval', self.model, '--uniform', 'int8', *PROBES, '--probes', 2)
        result = self.succeed(*args, '--memory', '800MiB')
        self.assertTrue(result.stderr.startswith('memory: limit 0.78 GiB, estimated use '),
                        result.stderr)
        self.assertEqual(self.json(*args, '--memory', '800MiB')['memory']['limit'], 800 << 20)

    def test_eval_with_text(self):
        report = self.json('eval', self.model, '--uniform', 'int8', '--text', self.text_file(),
                           *PROBES, '--probes', 5)
        self.assertLessEqual(PERPLEXITY | PERPLEXITY_INTERVALS, set(report))
        self.assertGreater(report['ppl_reference'], 1)
        self.assertGreater(report['ppl_candidate'], 1)
        self.check_text(report)
        shown = self.succeed('eval', self.model, '--uniform', 'int8', '--text', self.text_file(),
                             *PROBES, '--probes', 5).stdout
        for name in ('perplexity', 'text KL ', 'text KL 99.9 % ', 'text top-1 agreement'):
            self.assertIn(name, shown)

    def test_eval_with_prompts(self):
        prompts = self.file('prompts.txt',
                            ''.join(f'It was the chapter {i} of\n\n' for i in range(16)))
        report = self.json('eval', self.model, '--uniform', 'int4-g64', '--prompts', prompts,
                           '--completion', 6, '--probes', 4)
        self.assertEqual(len(report['per_probe']), 4)
        # These prompts have no 17th token.
        self.assertIsNone(report['text_kl'])
        self.assertIsNone(report['text_kl_999'])
        self.assertIsNone(report['ppl_candidate'])

    def test_eval_of_the_stored_format_is_the_reference(self):
        report = self.json('eval', self.model, '--uniform', 'bf16', *PROBES, '--probes', 4)
        self.assertEqual(report['kl_mean'], 0)
        self.assertEqual((report['text_kl'], report['text_top1']), (0, 1))
        self.assertEqual(report['fdt_mean'], report['completion_tokens'])
        self.assertEqual(report['bits_per_weight'], 16)

    def test_score(self):
        lim = self.json('score', self.model, '--scorer', 'lim', '--probes', 4, *PROBES)
        zd = self.json('score', self.model, '--scorer', 'zd')
        by_text = self.json('score', self.model, '--scorer', 'lim', '--text', self.text_file(),
                            '--probes', 4, *PROBES)
        fields = {'scorer', 'layers', 'order'}
        self.assertEqual(set(lim), fields | {'attention', 'mlp'})
        self.assertEqual(set(zd), fields | {'components'})
        self.assertNotEqual(lim['layers'], by_text['layers'])
        for report, most_important_first in ((lim, lambda s: -s), (by_text, lambda s: -s),
                                             (zd, lambda s: s)):
            self.assertEqual(len(report['layers']), 4)
            self.assertEqual(
                report['order'],
                sorted(range(4), key=lambda b: (most_important_first(report['layers'][b]), b)))
        self.assertEqual((lim['scorer'], zd['scorer']), ('lim', 'zd'))
        self.assertIn('most', self.succeed('score', self.model, '--scorer', 'zd').stdout)

    def test_score_of_formats(self):
        formats = ('int3-g64', 'int8')
        for scorer in ('kfac', 'fisher', 'weighted-error'):
            report = self.json('score', self.model, '--scorer', scorer, '--probes', 2,
                               '--formats', ','.join(formats), *PROBES)
            self.assertEqual(set(report), {'scorer', 'layers', 'order', 'layer_costs', 'components'})
            self.assertEqual(set(report['layer_costs']), set(formats))
            for component in report['components']:
                self.assertEqual(set(component), {'name', 'cost'})
                self.assertGreater(component['cost']['int3-g64'], component['cost']['int8'])
            for name, costs in report['layer_costs'].items():
                for layer, cost in enumerate(costs):
                    self.assertAlmostEqual(cost, sum(
                        c['cost'][name] for c in report['components'] if f'layers.{layer}.' in c['name']))
        shown = self.succeed('score', self.model, '--scorer', 'kfac', '--probes', 2, *PROBES).stdout
        for text in ('nats per token', 'int2-g64', 'model.embed_tokens', 'layer 3', 'most'):
            self.assertIn(text, shown)

    def test_score_of_signal_shows_gradients(self):
        report = self.json('score', self.model, '--scorer', 'signal', '--probes', 2, *PROBES)
        self.assertTrue(all(c['gradient'] > 0 for c in report['components'].values()))
        shown = self.succeed('score', self.model, '--scorer', 'signal', '--probes', 2, *PROBES).stdout
        self.assertIn('gradient, by layer', shown)


if __name__ == '__main__':
    main()
