"""What the page shows of one plan or two, its commands, and its tables (run by explore_page_test.py)."""

import csv
import io
import json
import os
import re
import time

from explore_page_case import PageTest, number

# Row by name of the table of one plan or two.
FACTS = '''
return Object.fromEntries([...document.querySelectorAll("#facts tbody tr")].map(
    row => [row.cells[0].textContent, [...row.cells].slice(1).map(cell => cell.textContent)]));
'''


class Plans(PageTest):
    def cells(self, plan):
        return dict(
            self.browser.run(
                'return [...document.querySelectorAll(`.heat[data-plan="${arguments[0]}"] [data-component]`)].map(e => [Number(e.dataset.component), e.innerText.trim()])',
                plan,
            )
        )

    def test_heat_map_has_every_component_in_its_format(self):
        doc = self.open('full')
        point = doc['points'][3]
        names = [doc['formats'][f]['name'] for f in point['assignment']]
        self.assertEqual(self.cells(3), dict(enumerate(names)))
        self.assertEqual(self.browser.texts('.heat tbody th'), ['embed', *map(str, range(8)), 'head'])
        self.assertEqual(
            self.browser.texts('.heat thead th')[:8], ['layer', 'q', 'k', 'v', 'o', 'gate', 'up', 'down']
        )
        self.browser.choose('#colour-select', 'cost')
        shown = self.cells(3)
        for c, f in enumerate(point['assignment']):
            self.assertAlmostEqual(
                float(shown[c].replace('−', '-')), doc['costs'][c][f], delta=0.051 * doc['costs'][c][f]
            )
        places = self.browser.run(
            'return [...document.querySelectorAll(".heat [data-component]")].map(e => parseFloat(e.style.getPropertyValue("--t")))'
        )
        order = sorted(range(len(places)), key=lambda c: doc['costs'][c][point['assignment'][c]])
        self.assertEqual(sorted(places), [places[c] for c in order])
        self.browser.choose('#colour-select', 'bytes')
        c = doc['components'][0]
        self.assertEqual(
            self.cells(3)[0],
            f'{c["rows"] * c["cols"] * doc["formats"][point["assignment"][0]]["bits"] / 8 / 1024:.0f}K',
        )

    def test_sizes_of_the_document_replace_the_estimate(self):
        doc = self.made('full') | {'sizes': [[1000 + 10 * c + f for f in range(11)] for c in range(58)]}
        self.open(doc)
        self.browser.click('.heat [data-component="9"]')
        self.assertEqual(
            self.browser.texts('#cell tbody tr td:nth-child(4)'), [f'{1090 + f:,}' for f in range(11)]
        )

    def test_a_cell_shows_what_its_formats_cost(self):
        doc = self.open('full')
        point = doc['points'][3]

        def check(component):
            self.assertEqual(self.browser.text('#cell h3'), doc['components'][component]['name'])
            rows = self.browser.run(
                'return [...document.querySelectorAll("#cell tbody tr")].map(r => [r.dataset.format, r.className, ...[...r.cells].slice(1, 6).map(c => c.textContent)])'
            )
            chosen = point['assignment'][component]
            evidence = {(c, f): kl for c, f, kl in point['evidence']}
            self.assertEqual(len(rows), sum(cost is not None for cost in doc['costs'][component]))
            for f, mark, name, bits, _, predicted, measured in rows:
                f = int(f)
                self.assertEqual(mark, 'chosen' if f == chosen else '')
                self.assertEqual(name, doc['formats'][f]['name'])
                self.assertEqual(float(bits), doc['formats'][f]['bits'])
                self.assertEqual(predicted, number(doc['costs'][component][f]))
                self.assertEqual(measured, number(evidence.get((component, f))))

        left, top, width, height = self.browser.box('.heat [data-component="10"]')
        self.browser.mouse(('move', left + width / 2, top + height / 2))
        check(10)
        self.browser.focus('.heat [data-component="8"]')
        check(8)
        self.browser.press('Right')
        check(9)
        self.browser.press('Down', 'End')
        check(21)
        self.browser.press('Home', 'Up', 'Up', 'Up')
        check(0)
        self.browser.press('Enter')
        self.assertEqual(self.browser.attribute('.heat [data-component="0"]', 'aria-selected'), 'true')
        left, top, width, height = self.browser.box('.heat [data-component="12"]')
        self.browser.mouse(('move', left + width / 2, top + height / 2))
        check(12)
        self.browser.mouse(('move', 3, 3))
        check(0)
        self.browser.click('.heat [data-component="0"]')
        self.browser.mouse(('move', 3, 3))
        self.assertEqual(self.browser.run('return state.cell'), None)

    def test_two_plans_side_by_side(self):
        doc = self.open('full')
        pair = next(
            c for c in doc['comparisons'] if c['a'] == 3 and doc['points'][c['b']]['method'] == 'uniform'
        )
        b = doc['points'][pair['b']]
        self.browser.click(f'.verdicts [data-with="{b["id"]}"] button')
        self.assertEqual(
            self.browser.run('return document.getElementById("second-select").value'), str(b['id'])
        )
        rows = self.browser.run(FACTS)
        for name, metric in (
            ('Text KL', 'text_kl'),
            ('FDT', 'fdt_mean'),
            ('Perplexity', 'text_ppl'),
            ('KL on greedy completions', 'kl_mean'),
        ):
            for text, point in zip(rows[name], (doc['points'][3], b)):
                low, high = point[metric + '_ci']
                self.assertEqual(text, f'{number(point[metric])} [{number(low)}, {number(high)}]')
        self.assertIn(pair['text_kl_verdict'], rows['Text KL'][3])
        self.assertEqual(rows['FDT'][2:], ['[−0.400, +2.10]', '= not different'])
        low, high = (float(x) for x in re.findall(r'[\d.]+', rows['Text KL'][2]))
        self.assertEqual(
            sorted((low, high)), sorted(float(f'{abs(x):.3g}') for x in pair['text_kl_difference_ci'])
        )
        # The other way round everything is turned.
        self.browser.choose('#second-select', '')
        self.browser.choose('#plan-select', b['id'])
        self.browser.choose('#second-select', 3)
        rows = self.browser.run(FACTS)
        self.assertEqual(rows['FDT'][2], '[−2.10, +0.400]')
        self.assertIn({'better': 'worse', 'worse': 'better'}[pair['text_kl_verdict']], rows['Text KL'][3])
        differ = [
            c for c, (x, y) in enumerate(zip(b['assignment'], doc['points'][3]['assignment'])) if x != y
        ]
        for plan in (b['id'], 3):
            marked = self.browser.run(
                'return [...document.querySelectorAll(`.heat[data-plan="${arguments[0]}"] .differs`)].map(e => Number(e.dataset.component))',
                plan,
            )
            self.assertEqual(marked, differ)
        self.assertTrue(self.browser.text('#heat-summary').startswith(f'{len(differ)} of 58'))
        more = sum(
            doc['formats'][b['assignment'][c]]['bits']
            > doc['formats'][doc['points'][3]['assignment'][c]]['bits']
            for c in differ
        )
        self.assertEqual(self.browser.texts(f'.heat[data-plan="{b["id"]}"] .sign').count('▲'), more)

    def test_texts_mark_the_first_different_token(self):
        doc = self.open('full', fragment='#plan=0&with=4')
        first = self.browser.run(
            'return [...document.querySelectorAll("#continuations details:first-child .text")].map('
            'e => [e.querySelector("h4").textContent, e.querySelector(".tokens").textContent,'
            ' e.querySelector("mark")?.textContent ?? null])'
        )
        texts = doc['continuations'][0]
        self.assertEqual(
            [title.split('bpw')[0] for title, _, _ in first], ['Original', 'A: 2.25', 'B: 5.125']
        )
        plans = [texts['points'][plan] for plan in '04']
        divergent = [plan['first_divergent'] for plan in plans]
        hidden = ' first different token: '
        for (_, shown, mark), tokens, at in zip(
            first,
            (texts['reference'], *(plan['tokens'] for plan in plans)),
            (min(at for at in divergent if at is not None), *divergent),
        ):
            self.assertEqual(mark, None if at is None else hidden + tokens[at])
            self.assertEqual(shown.replace(hidden, '').replace('⏎', ''), ''.join(tokens))
        self.assertEqual(
            self.browser.run('return document.querySelectorAll("#continuations details").length'), 4
        )
        self.assertIn('<b>the</b>', self.browser.texts('#continuations summary')[1])

    def test_commands_are_copied_and_the_plan_is_saved(self):
        doc = self.open('full')
        point = doc['points'][3]
        self.assertEqual(self.browser.texts('#commands pre'), [c['text'] for c in point['commands']])
        for index, command in enumerate(point['commands']):
            self.browser.click(f'#commands .command:nth-child({index + 1}) .copy')
            self.assertEqual(self.copied(), command['text'])
        self.browser.click('#download')
        path = os.path.join(self.browser.folder, 'plan-4.406bpw.json')
        for _ in range(100):
            if os.path.exists(path):
                break
            time.sleep(0.05)
        with open(path, encoding='utf-8') as file:
            self.assertEqual(json.load(file), point['plan_json'])
        self.browser.choose('#plan-select', 9)
        self.assertEqual(self.browser.texts('#commands pre'), [])
        self.assertEqual(self.browser.run('return document.querySelectorAll("#download").length'), 0)


class Tables(PageTest):
    def rows(self, table):
        self.browser.click(f'{table} .copy')
        return list(csv.DictReader(io.StringIO(self.copied())))

    def test_copies_have_every_digit_of_the_document(self):
        doc = self.open('full')
        names = {
            'text_kl': 'text KL',
            'text_top1': 'text top-1',
            'text_ppl': 'perplexity',
            'fdt_mean': 'FDT',
            'kl_mean': 'greedy KL',
        }
        rows = self.rows('#table-points')
        self.assertEqual(len(rows), len(doc['points']))
        for row, point in zip(rows, doc['points']):
            self.assertEqual(int(row['bytes']), point['size_bytes'])
            self.assertEqual(int(row['memory bytes']), point['size_bytes'] + 1234567)
            for field, name in names.items():
                self.assertEqual(
                    [float(row[name + end]) for end in ('', ' low', ' high')],
                    [point[field], *point[field + '_ci']],
                )
        shown = self.browser.texts('#table-points tbody td:nth-child(6)')
        self.assertEqual(shown, [number(point['text_kl']) for point in doc['points']])
        for table in ('components', 'evidence', 'costs', 'comparisons', 'formats'):
            self.browser.click(f'#table-{table} summary')
        rows = self.rows('#table-costs')
        for row, costs in zip(rows, doc['costs']):
            self.assertEqual(
                [row[f['name']] for f in doc['formats']],
                ['' if c is None else row[f['name']] for f, c in zip(doc['formats'], costs)],
            )
            self.assertEqual(
                [float(row[f['name']]) for f, c in zip(doc['formats'], costs) if c is not None],
                [c for c in costs if c is not None],
            )
        rows = self.rows('#table-components')
        self.assertEqual(
            [row['format'] for row in rows],
            [doc['formats'][f]['name'] for f in doc['points'][3]['assignment']],
        )
        rows = self.rows('#table-evidence')
        self.assertEqual(
            [float(row['measured text KL']) for row in rows],
            [kl for _, _, kl in doc['points'][3]['evidence']],
        )
        rows = self.rows('#table-comparisons')
        self.assertEqual(
            [row['text KL verdict'] for row in rows], [c['text_kl_verdict'] for c in doc['comparisons']]
        )
        self.assertEqual(
            [float(row['text KL low']) for row in rows],
            [c['text_kl_difference_ci'][0] for c in doc['comparisons']],
        )
        self.assertEqual(len(self.rows('#table-formats')), 11)

    def test_headings_sort_both_ways(self):
        doc = self.open('full')
        heading = '#table-points thead th:nth-child(6)'
        for direction, down in (('ascending', False), ('descending', True)):
            self.browser.click(heading + ' button')
            self.assertEqual(self.browser.attribute(heading, 'aria-sort'), direction)
            expected = [
                number(p['text_kl']) for p in sorted(doc['points'], key=lambda p: p['text_kl'], reverse=down)
            ]
            self.assertEqual(self.browser.texts('#table-points tbody td:nth-child(6)'), expected)
        self.browser.click('#table-points thead th:nth-child(1) button')
        self.assertEqual(self.browser.attribute(heading, 'aria-sort'), 'none')

    def test_how_it_was_measured_is_said(self):
        self.open('full')
        text = self.browser.text('#how')
        for part in (
            'bitbudget 0.1.0',
            'bitbudget explore novel-8m --out report.html',
            'on 48 probes',
            'on 128 probes',
            'ab12cd34',
            '10,752',
            '100 tokens after 100',
            'seed 1',
            'clip',
            'int16',
            '8,192',
            '12.34',
            '1.10e-8',
            '95 %',
        ):
            self.assertIn(part, text)
