"""bitbudget explore: the curve, the page and the plans behind them."""
import html
import json
import re
import shlex

from command_case import FEW_FORMATS, PLAN_PROBES, CommandTest, main, read_bytes, run

SIZES = ('5bpw', '7bpw', '12bpw')


class ExploreTest(CommandTest):

    def explore(self, *args):
        return self.succeed('explore', self.model, '--out', self.file('page.html'), '--json',
                            self.file('curve.json'), *FEW_FORMATS, *PLAN_PROBES, *args)

    def curve(self):
        return json.loads(read_bytes(self.file('curve.json')))

    def document(self):
        page = read_bytes(self.file('page.html')).decode()
        embedded, = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.S)
        return json.loads(html.unescape(embedded))

    def test_the_curve_the_page_and_the_plans_agree(self):
        text = self.text_file()
        shown = self.explore('--sizes', ','.join(SIZES), '--rivals', 'additive,random', '--text',
                             text).stdout
        curve, page = self.curve(), self.document()
        self.assertEqual(set(curve), {'points', 'knee', 'size_counts'})
        plans = [point for point in curve['points'] if point['method'] == 'greedy']
        self.assertEqual([point['budget'] for point in plans], list(SIZES))
        self.assertEqual(curve['knee'] in (None, 1), True)
        for method in ('additive', 'random', 'uniform'):
            self.assertIn(method, {point['method'] for point in curve['points']})
            self.assertIn(method, shown)
        self.assertEqual(len(page['points']), len(curve['points']))
        self.assertEqual(page['knee'], curve['knee'])
        for number, (point, drawn) in enumerate(zip(curve['points'], page['points'])):
            self.assertEqual(drawn['id'], number)
            for name in ('text_kl', 'text_top1', 'fdt_mean', 'kl_mean', 'text_ppl'):
                low, high = point[name + '_ci']
                self.assertTrue(low <= point[name] <= high, (name, point))
                self.assertEqual(drawn[name], point[name])
                self.assertEqual(drawn[name + '_ci'], point[name + '_ci'])
            names = [page['formats'][index]['name'] for index in drawn['assignment']]
            self.assertEqual(names, point['plan'])
            size = sum(page['sizes'][c][index] for c, index in enumerate(drawn['assignment']))
            fixed = int(page['points'][0]['plan_json']['model']['fixed_bytes'])
            self.assertEqual(size + fixed, point['size_bytes'])
        # A plan at one of the budgets is answered from the run, and is what it is without one.
        for drawn, budget in zip(page['points'], SIZES):
            command = drawn['commands'][0]['text']
            words = shlex.split(command)
            self.assertEqual(words[:2], ['bitbudget', 'plan'])
            out = self.file(budget + '.json')
            words[words.index('--out') + 1] = out
            result = self.succeed(*words[1:])
            self.assertNotIn('gradients', result.stderr)  # nothing was measured again
            plan = json.loads(read_bytes(out))
            self.assertEqual(plan, drawn['plan_json'])
            measured = plan['held_out']['uniform_text' if plan['held_out']['uniform_emitted'] else
                                        'plan_text']
            self.assertEqual(measured['kl_mean'], drawn['text_kl'])
            fresh = words[:words.index('--run-dir')] + words[words.index('--run-dir') + 2:]
            fresh[fresh.index('--out') + 1] = self.file('fresh.json')
            self.succeed(*fresh[1:], '--no-run-dir')
            self.assertEqual(read_bytes(self.file('fresh.json')), read_bytes(out))

    def test_budgets_between_two_numbers_of_bits(self):
        self.explore('--from', '5bpw', '--to', '10bpw', '--points', 3, '--rivals', 'none',
                     '--search', 'uniform', '--no-run-dir')
        plans = [point for point in self.curve()['points'] if point['method'] == 'uniform']
        self.assertEqual([point['budget'] for point in plans][:3], ['5bpw', '7bpw', '10bpw'])
        self.assertEqual(self.files()[-1].split('/')[-1], 'page.html')

    def gguf_of_a_plan(self, budget, *args):
        plan = self.file('file.pb')
        self.succeed('plan', self.model, '--target', 'llama.cpp', '--budget', budget, '--out', plan,
                     '--search', 'additive', *PLAN_PROBES, *args)
        out = self.file(f'{budget}.gguf')
        self.succeed('apply', self.model, '--plan', plan, '--out', out)
        return out

    def test_files_of_others_are_points_of_the_chart(self):
        gguf = ('--target', 'llama.cpp', '--search', 'additive', '--formats', 'q4_0,q5_0,q8_0')
        formats = gguf[-2:]
        text = ('--text', self.text_file())
        file = self.gguf_of_a_plan('6bpw', *formats, *text)
        small = self.gguf_of_a_plan('5bpw', *formats, *text)
        args = ('explore', self.model, '--out', self.file('page.html'), '--json',
                self.file('curve.json'), *PLAN_PROBES, *text, *gguf, '--sizes', '6bpw,8bpw',
                '--rivals', 'none', '--compare', file, '--compare', small)
        shown = self.succeed(*args).stdout
        curve, page = self.curve(), self.document()
        plan = curve['points'][0]
        points = [point for point in curve['points'] if point['method'] == 'file']
        self.assertEqual([point['label'] for point in points], ['6bpw.gguf', '5bpw.gguf'])
        # What is measured of the file of a plan is what is measured of the plan.
        for name, value in points[0].items():
            if name not in ('method', 'label', 'budget'):
                self.assertEqual(value, plan[name], name)
        self.assertIsNone(points[0]['budget'])
        self.assertIn('6bpw.gguf', shown)
        self.assertIn('no metadata', curve['size_counts'])
        self.assertEqual(page['measured']['size_counts'], curve['size_counts'])
        drawn = {point['label']: point for point in page['points'] if point['method'] == 'file'}
        self.assertEqual(set(drawn), {'6bpw.gguf', '5bpw.gguf'})
        self.assertEqual(drawn['6bpw.gguf']['commands'], [])
        self.assertIsNone(drawn['6bpw.gguf']['plan_json'])
        pairs = {(pair['a'], pair['b']): pair for pair in page['comparisons']}
        same = pairs[0, drawn['6bpw.gguf']['id']]
        self.assertEqual(same['text_kl_difference_ci'], [0, 0])
        self.assertEqual(same['text_kl_verdict'], 'not different')
        self.assertIn((0, drawn['5bpw.gguf']['id']), pairs)
        self.assertNotIn((1, drawn['5bpw.gguf']['id']), pairs)
        before = read_bytes(self.file('page.html'))
        self.succeed(*args)  # from the run
        self.assertEqual(read_bytes(self.file('page.html')), before)

    def test_mixes_are_points_of_the_chart(self):
        self.succeed('explore', self.model, '--out', self.file('page.html'), '--json',
                     self.file('curve.json'), *PLAN_PROBES, '--target', 'llama.cpp', '--search',
                     'uniform', '--formats', 'q8_0', '--sizes', '12bpw', '--rivals', 'q4_k_m,q6_k')
        mixes = {point['label']: point for point in self.curve()['points'] if point['method'] == 'mix'}
        self.assertEqual(set(mixes), {'Q4_K_M', 'Q6_K'})
        # Most rows of 128 are no whole blocks of K-types: their substitutes.
        self.assertEqual(set(mixes['Q6_K']['plan']), {'q8_0', 'q6_k'})
        self.assertEqual(set(mixes['Q4_K_M']['plan']), {'q5_0', 'q8_0', 'q4_k', 'q6_k'})
        self.assertGreater(mixes['Q4_K_M']['kl_mean'], mixes['Q6_K']['kl_mean'])

    def test_files_of_other_models_are_refused(self):
        file = self.gguf_of_a_plan('9bpw', '--formats', 'q8_0')
        args = ('explore', self.model, *PLAN_PROBES, '--sizes', '5bpw', '--no-run-dir')
        out = ('--out', self.file('page.html'))
        self.refuse(2, ['--out', file], *args, '--out', file, '--compare', file)
        self.refuse(3, ['nowhere.gguf'], *args, *out, '--compare', self.file('nowhere.gguf'))
        larger = self.copy('novel-8m', 'larger')
        self.refuse(3, [larger, 'the number of layers is 8 here and 4 there'], *args, *out,
                    '--compare', larger)
        data = read_bytes(file)
        spelled = '\u2581the'.encode()
        self.assertIn(spelled, data)
        other = self.file('other.gguf', data.replace(spelled, '\u2581teh'.encode(), 1))
        self.refuse(3, [other, 'token ', '"\u2581teh" here and "\u2581the" there'], *args, *out,
                    '--compare', other)

    def test_refusals(self):
        args = ('explore', self.model, *PLAN_PROBES, '--out', self.file('page.html'))
        self.refuse(2, ['--from 8bpw', '--to 3bpw'], *args, '--from', '8bpw', '--to', '3bpw')
        self.refuse(2, ['--from', '1GiB', '--sizes'], *args, '--from', '1GiB')
        self.refuse(2, ['--sizes', "'5bits'"], *args, '--sizes', '5bits')
        self.refuse(2, ['--rivals', 'q4_k_m', 'llama.cpp'], *args, '--rivals', 'q4_k_m')
        self.refuse(2, ['--rivals', "'limit'", 'additive'], *args, '--rivals', 'limit')
        self.refuse(4, ['9025 bytes'], *args, '--sizes', '0.1bpw,5bpw', '--no-run-dir')
        self.assertNotEqual(run('explore', self.model).returncode, 0)


if __name__ == '__main__':
    main()
