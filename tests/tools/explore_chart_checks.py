"""The chart of the page, its legend, and the two lines that the user moves (run by explore_page_test.py)."""

import json
import math
import re

from explore_page_case import HIGHER, METRICS, PageTest, number, y_of


class Chart(PageTest):
    def ticks(self, axis, scale):
        """(value on the scale, pixel) of an axis's labels, in order of the values."""
        found = self.browser.run(
            'return [...document.querySelectorAll(`${arguments[0]} .tick`)].map(e => [e.textContent, e.getAttribute("transform")])',
            axis,
        )
        pairs = []
        for text, place in found:
            value = float(text.removesuffix(' %')) / (100 if text.endswith('%') else 1)
            pairs.append((scale(value), max(map(float, re.findall(r'[\d.]+', place)))))
        self.assertGreater(len(pairs), 2)
        return sorted(pairs)

    def test_points_stand_where_their_numbers_say(self):
        doc = self.open('full')
        sizes = {
            'size': lambda p: p['size_bytes'] / 2**20,
            'bpw': lambda p: p['bits_per_weight'],
            'memory': lambda p: (p['size_bytes'] + doc['memory']['overhead_bytes']) / 2**20,
        }
        for axis, x_of in sizes.items():
            self.browser.choose('#x-select', axis)
            for metric in METRICS:
                with self.subTest(axis=axis, metric=metric):
                    self.browser.choose('#y-select', metric)
                    logs = self.browser.run('return document.getElementById("log-scale").checked')
                    self.assertEqual(logs, metric != 'fdt_mean')
                    scale = math.log if logs else float
                    places = self.positions()
                    self.assertEqual(len(places), len(doc['points']))
                    for of, index, ticks in (
                        (x_of, 0, self.ticks('.axis', float)),
                        (lambda p: scale(y_of(p, metric)[0]), 1, self.ticks('.grid', scale)),
                    ):
                        (first, start), (last, end) = ticks[0], ticks[-1]
                        slope = (end - start) / (last - first)
                        self.assertEqual(slope > 0, index == 0)
                        for point in doc['points']:
                            # Ticks stand on half pixels.
                            self.assertAlmostEqual(
                                places[point['id']][index], start + slope * (of(point) - first), delta=1.1
                            )

    def test_bars_are_the_intervals(self):
        doc = self.open('full')
        for metric in METRICS:
            self.browser.choose('#y-select', metric)
            scale = float if metric == 'fdt_mean' else math.log
            places = self.positions()
            a, b = doc['points'][0], doc['points'][8]
            ya, yb = (scale(y_of(p, metric)[0]) for p in (a, b))
            slope = (places[b['id']][1] - places[a['id']][1]) / (yb - ya)
            bars = self.browser.run(
                'return [...document.querySelectorAll(".bars path")].map(e => e.getAttribute("d"))'
            )
            self.assertEqual(len(bars), len(doc['points']))
            for point, bar in zip(
                sorted(doc['points'], key=lambda p: (p['method'] != 'greedy', p['size_bytes'])), bars
            ):
                if point['method'] != 'greedy':
                    break
                _, top, bottom = map(float, re.match(r'M([\d.]+),([\d.]+)V([\d.]+)', bar).groups())
                for end, pixel in zip(y_of(point, metric)[1:], (top, bottom)):
                    self.assertAlmostEqual(pixel, places[a['id']][1] + slope * (scale(end) - ya), delta=0.2)

    def test_every_method_has_its_own_mark_and_the_legend_hides_it(self):
        doc = self.open('full')
        methods = {point['method'] for point in doc['points']}
        keys = self.browser.run(
            'return [...document.querySelectorAll("#legend button")].map(b => [b.dataset.method, b.querySelector(".point").getAttribute("d"), getComputedStyle(b.querySelector(".point")).fill])'
        )
        self.assertEqual({method for method, _, _ in keys}, methods)
        self.assertEqual(len({shape for _, shape, _ in keys}), len(methods))
        self.assertEqual(len({colour for _, _, colour in keys}), len(methods))
        for method in sorted(methods):
            button = f'#legend button[data-method="{method}"]'
            self.browser.click(button)
            self.assertEqual(self.browser.attribute(button, 'aria-pressed'), 'false')
            self.assertEqual(set(self.positions()), {p['id'] for p in doc['points'] if p['method'] != method})
            self.browser.focus(button)
            self.browser.press('Space')
            self.assertEqual(self.browser.attribute(button, 'aria-pressed'), 'true')
            self.assertEqual(len(self.positions()), len(doc['points']))
        for method in sorted(methods):
            self.browser.click(f'#legend button[data-method="{method}"]')
        self.assertEqual(self.positions(), {})

    def test_knee_goal_and_noise_floor_are_marked(self):
        self.open('full')
        self.assertIn('4.406bpw, knee', self.browser.texts('.labels text'))
        self.assertEqual(self.browser.texts('.goal-text'), ['goal ≤ 0.05'])
        self.assertEqual(self.browser.texts('.floor-text'), ['↓ noise floor 1.10e-8, below this scale'])
        self.browser.choose('#y-select', 'fdt_mean')
        self.assertEqual(self.browser.texts('.floor-text'), ['noise floor 100.0'])
        self.assertEqual(self.browser.texts('.goal-text'), [])
        self.browser.choose('#y-select', 'text_ppl')
        self.assertEqual(self.browser.texts('.floor-text'), ['original model 12.34'])
        doc = self.made('full') | {'goal': {'metric': 'text_top1', 'op': '>=', 'value': 0.9}}
        self.open(doc)
        self.assertEqual(self.browser.run('return document.getElementById("y-select").value'), 'text_top1')
        self.assertEqual(self.browser.texts('.goal-text'), ['goal ≤ 10 %'])

    def test_tooltip_shows_the_numbers_of_the_point_under_the_pointer_or_focus(self):
        doc = self.open('full')
        point = doc['points'][5]
        left, top, width, height = self.browser.box('.points [data-id="5"]')
        self.browser.mouse(('move', left + width / 2, top + height / 2))
        shown = self.browser.text('#tooltip')
        self.assertIn(f'{point["label"]}', shown)
        self.assertIn(f'{point["size_bytes"] / 2**20:.3f} MiB', shown)
        for metric in ('text_kl', 'fdt_mean', 'text_ppl', 'kl_mean'):
            low, high = point[metric + '_ci']
            self.assertIn(f'{number(point[metric])} [{number(low)}, {number(high)}]', shown)
        self.assertIn(f'{100 * (1 - point["text_top1"]):.2f} %', shown)
        self.browser.mouse(('move', 5, 5))
        self.assertTrue(self.browser.run('return document.getElementById("tooltip").hidden'))
        self.browser.focus('.points [tabindex="0"]')
        self.assertIn('4.406bpw', self.browser.text('#tooltip'))
        self.browser.press('Right')
        focused = self.browser.run(
            'return [document.activeElement.dataset.id, document.activeElement.getAttribute("aria-label")]'
        )
        after = sorted(doc['points'], key=lambda p: p['size_bytes'])
        following = after[[p['id'] for p in after].index(3) + 1]
        self.assertEqual(int(focused[0]), following['id'])
        self.assertIn(number(following['text_kl']), focused[1])

    def test_a_point_is_selected_by_click_or_enter_and_with_shift_as_the_second(self):
        self.open('full')
        left, top, width, height = self.browser.box('.points [data-id="6"]')
        self.browser.mouse(('move', left + width / 2, top + height / 2), 'down', 'up')
        self.assertEqual(self.browser.run('return [state.selected, state.second]'), [6, None])
        self.assertEqual(self.browser.attribute('.points [data-id="6"]', 'aria-pressed'), 'true')
        self.browser.focus('.points [data-id="2"]')
        self.browser.press('Enter', held='Shift')
        self.assertEqual(self.browser.run('return [state.selected, state.second]'), [6, 2])
        self.browser.press('Enter')
        self.assertEqual(self.browser.run('return [state.selected, state.second]'), [2, 2])
        self.assertEqual(self.browser.texts('.rings .first text, .rings .second text'), ['A', 'B'])
        self.assertIn('plan=2', self.browser.run('return location.hash'))
        self.open('full', fragment='#plan=4&with=10&x=bpw&y=fdt_mean')
        self.assertEqual(
            self.browser.run('return [state.selected, state.second, state.x, state.y]'),
            [4, 10, 'bpw', 'fdt_mean'],
        )


class Lines(PageTest):
    def type(self, field, text):
        self.browser.focus(field)
        self.browser.run('document.querySelector(arguments[0]).select()', field)
        self.browser.press('Backspace', *text)

    def smallest(self, doc, metric, budget, quality):
        plans = [
            p
            for p in doc['points']
            if p['method'] == 'greedy' and (budget is None or p['size_bytes'] <= budget * 2**20)
        ]
        if quality is not None:
            plans = [
                p
                for p in plans
                if (y_of(p, metric)[1] >= quality if metric in HIGHER else y_of(p, metric)[2] <= quality)
            ]
        return min(plans, key=lambda p: p['size_bytes'], default={'label': None})['label']

    def answer(self):
        return next(iter(self.browser.texts('#answer .found strong')), None)

    def test_answer_is_the_smallest_plan_whose_interval_passes_and_that_fits(self):
        doc = self.open('full')
        edge = doc['points'][4]['text_kl_ci'][1]
        found = set()
        for metric, limits in (
            ('text_kl', ('0.5', '0.1', f'{edge * 1.0001:.8f}', f'{edge * 0.9999:.8f}', '0.001', '')),
            ('fdt_mean', ('10', '40', '90', '')),
            ('text_top1', ('0.2', '0.05')),
        ):
            self.browser.choose('#y-select', metric)
            for quality in limits:
                for budget in ('', '3', '4.7', '6.5', '1'):
                    with self.subTest(metric=metric, quality=quality, budget=budget):
                        self.type('#quality-field', quality)
                        self.type('#budget-field', budget)
                        expected = self.smallest(
                            doc,
                            metric,
                            float(budget) if budget else None,
                            float(quality) if quality else None,
                        )
                        self.assertEqual(self.answer(), expected)
                        self.assertEqual(
                            self.browser.run('return document.querySelectorAll(".rings .best").length'),
                            int(expected is not None),
                        )
                        found.add(expected)
        self.assertGreater(len(found), 5)

    def test_points_outside_the_lines_are_hollow(self):
        doc = self.open('full')
        self.type('#budget-field', '5')
        outside = {
            p['id'] for p in doc['points'] if p['size_bytes'] > 5 * 2**20 or p['text_kl_ci'][1] > 0.05
        }
        self.assertEqual(
            set(
                self.browser.run(
                    'return [...document.querySelectorAll(".points .outside")].map(e => Number(e.dataset.id))'
                )
            ),
            outside,
        )

    def test_sliders_move_by_keys_and_say_where_they_are(self):
        doc = self.open('full')
        plans = [p for p in doc['points'] if p['method'] == 'greedy']
        for slider in ('#budget-slider', '#quality-slider'):
            self.assertEqual(self.browser.attribute(slider, 'role'), 'slider')
            self.browser.focus(slider)
            value = lambda: float(
                self.browser.attribute(slider, 'aria-valuenow')
            )  # pylint: disable=cell-var-from-loop
            self.browser.press('End')
            most = value()
            self.assertAlmostEqual(
                most, float(self.browser.attribute(slider, 'aria-valuemax')), delta=1e-9 * most
            )
            self.assertIn('no limit', self.browser.attribute(slider, 'aria-valuetext'))
            for key in ('Left', 'Down', 'PageDown', 'Left'):
                before = value()
                self.browser.press(key)
                self.assertLess(value(), before, key)
            for key in ('Up', 'Right', 'PageUp'):
                before = value()
                self.browser.press(key)
                self.assertGreater(value(), before, key)
            self.browser.press('Home')
            self.assertAlmostEqual(
                value(), float(self.browser.attribute(slider, 'aria-valuemin')), delta=1e-9
            )
        self.browser.press('End')
        self.browser.focus('#budget-slider')
        self.browser.press('End', *['PageDown'] * 4)
        text = self.browser.attribute('#budget-slider', 'aria-valuetext')
        limit = self.browser.run('return state.budget')
        self.assertEqual(
            text.split(': ')[1], f'{sum(p["size_bytes"] <= limit for p in plans)} of {len(plans)} plans fit'
        )

    def test_lines_are_dragged(self):
        doc = self.open('full')
        left, top, width, _ = self.browser.box('#chart-svg')
        places, scale = self.positions(), width / self.browser.run('return chart.width')
        between = (places[3][0] + places[4][0]) / 2
        grip = self.browser.box('#budget-slider .grip')
        left, top, _, _ = self.browser.run(
            'const b = document.getElementById("chart-svg").getBoundingClientRect(); return [b.left, b.top, b.width, b.height]'
        )
        self.browser.mouse(
            ('move', grip[0] + grip[2] / 2, grip[1] + grip[3] / 2),
            'down',
            ('move', left + 300, top + 100),
            ('move', left + between * scale, top + 100),
            'up',
        )
        budget = self.browser.run('return state.budget')
        self.assertAlmostEqual(
            budget, (doc['points'][3]['size_bytes'] + doc['points'][4]['size_bytes']) / 2, delta=6000
        )
        self.assertIsNone(self.answer())
        line = self.browser.box('#quality-slider .stroke')
        left, top, _, _ = self.browser.run(
            'const b = document.getElementById("chart-svg").getBoundingClientRect(); return [b.left, b.top, b.width, b.height]'
        )
        target = (places[1][1] + places[2][1]) / 2
        self.browser.mouse(
            ('move', left + 400, line[1]),
            'down',
            ('move', left + 400, top + 200),
            ('move', left + 400, top + target * scale),
            'up',
        )
        quality = self.browser.run('return state.quality.text_kl')
        kl = [math.log(doc['points'][i]['text_kl']) for i in (1, 2)]
        self.assertAlmostEqual(math.log(quality), sum(kl) / 2, delta=0.03)
        self.assertEqual(self.answer(), self.smallest(doc, 'text_kl', budget / 2**20, quality))
        # Let go: it stays where it is.
        self.browser.mouse(('move', left + 300, top + 150))
        self.assertEqual(self.browser.run('return state.quality.text_kl'), quality)

    def test_a_smaller_rival_within_the_lines_is_named(self):
        doc = json.loads(json.dumps(self.made('full')))
        rival = next(p for p in doc['points'] if p['label'] == 'Q2_K')
        rival.update(text_kl=0.01, text_kl_ci=[0.009, 0.011])
        self.open(doc)
        self.assertIn('Q2_K mix', self.browser.text('#answer .rival'))
        self.browser.click('#answer .rival button')
        self.assertEqual(self.browser.run('return state.selected'), rival['id'])

    def test_what_is_no_number_changes_nothing(self):
        self.open('full')
        self.type('#budget-field', '4.5')
        before = self.browser.run('return state.budget')
        self.type('#budget-field', '4.5x')
        self.assertEqual(self.browser.run('return state.budget'), before)
        self.assertEqual(self.browser.attribute('#budget-field', 'aria-invalid'), 'true')
