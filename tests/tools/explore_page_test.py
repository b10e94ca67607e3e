#!/usr/bin/env python3
"""Opens the page of `bitbudget explore` in a headless Chromium and uses everything on it.

    explore_page_test.py MAKER [unittest arguments]

MAKER is explore_page_maker. Documents are made up (explore_document.py). BITBUDGET_SCREENSHOTS names a
folder that keeps the screenshots. Without chromium and chromedriver it says so and skips.
"""

import json
import os
import re
import sys
import unittest

import explore_document
import explore_page_case
import webdriver
from explore_chart_checks import Chart, Lines  # noqa: F401, found by unittest
from explore_page_case import METRICS, PageTest
from explore_plan_checks import Plans, Tables  # noqa: F401

WIDTHS = (400, 900, 1400)

CONTRAST = '''
const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
function rgb(text) { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; }
function luminance([r, g, b]) { const f = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); }
function ground(e) { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] === 255) return c; } return [255, 255, 255]; }
function ratio(a, b) { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); }
const low = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node; (node = walker.nextNode());) {
  const e = node.parentElement;
  if (!node.data.trim() || !e.checkVisibility() || e.closest('.unseen, script, option, .skip')) continue;
  const style = getComputedStyle(e);
  const found = ratio(rgb(e.closest('svg') ? style.fill : style.color), ground(e));
  if (found < 4.5) low.push([node.data.trim(), e.className.baseVal ?? e.className, found]);
}
for (const e of document.querySelectorAll('.points path, .limit .stroke, .rings path, .goal')) {
  const found = ratio(rgb(getComputedStyle(e).stroke), ground(e));
  if (found < 3) low.push([e.getAttribute('class'), found]);
}
return low;
'''

STRUCTURE = '''
const wrong = [];
const levels = [...document.querySelectorAll('h1, h2, h3, h4')].filter(e => e.checkVisibility()).map(e => Number(e.tagName[1]));
if (levels.filter(level => level === 1).length !== 1) wrong.push('not one h1');
levels.forEach((level, i) => { if (i && level > levels[i - 1] + 1 && level !== 4) wrong.push(`heading ${i} skips a level`); });
const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
if (new Set(ids).size !== ids.length) wrong.push('an id twice');
for (const table of document.querySelectorAll('table')) {
  if (!table.caption?.textContent.trim()) wrong.push(`a table without a caption: ${table.className}`);
  for (const th of table.querySelectorAll('th')) if (!th.scope) wrong.push(`a heading without scope: ${th.textContent}`);
}
for (const e of document.querySelectorAll('select, input')) if (!e.labels.length) wrong.push(`no label: ${e.id}`);
for (const e of document.querySelectorAll('button')) if (!(e.getAttribute('aria-label') || e.textContent).trim()) wrong.push('a button without a name');
for (const e of document.querySelectorAll('section')) if (!document.getElementById(e.getAttribute('aria-labelledby'))) wrong.push('a section without a name');
for (const e of document.querySelectorAll('nav a')) if (!document.querySelector(e.getAttribute('href'))) wrong.push(`a dead link: ${e.href}`);
for (const e of document.querySelectorAll('[role=slider], .points path, .heat [data-component]')) if (!e.getAttribute('aria-label')) wrong.push('no name for screen readers');
return wrong;
'''


class Page(PageTest):
    def test_documents_of_every_kind_fit_every_width(self):
        for name in ('full', 'many', 'one', 'none', 'nulls'):
            for width in WIDTHS:
                with self.subTest(document=name, width=width):
                    doc = self.open(name, width=width)
                    text = self.browser.run('return document.body.innerText')
                    self.assertIsNone(re.search(r'\b(null|undefined|NaN|Infinity)\b|\[object', text))
                    self.assertLessEqual(
                        self.browser.run('return document.documentElement.scrollWidth'), width
                    )
                    self.assertEqual(self.browser.run(STRUCTURE), [])
                    measured = [p for p in doc['points'] if p['text_kl'] is not None]
                    self.assertEqual(len(self.positions()), len(measured))
                    self.browser.picture(os.path.join(self.pictures, f'{name}-{width}.png'))
                    if len(doc['points']) > 1:
                        self.browser.run(
                            'update({selected: doc.points[2].id, second: doc.points.at(-2).id, cell: 3})'
                        )
                        self.assertLessEqual(
                            self.browser.run('return document.documentElement.scrollWidth'), width
                        )
                        self.assertEqual(self.browser.run(STRUCTURE), [])
                        self.browser.picture(os.path.join(self.pictures, f'{name}-two-{width}.png'))
        self.assertGreater(len(self.made('many')['points']), 100)

    def test_nulls_are_dashes_in_every_table_and_measure(self):
        doc = self.open('nulls')
        for table in ('components', 'evidence', 'costs', 'comparisons', 'formats'):
            self.browser.click(f'#table-{table} summary')
        for point in doc['points']:
            self.browser.choose('#plan-select', point['id'])
            self.browser.choose('#second-select', doc['points'][1]['id'])
            self.assertIsNone(
                re.search(r'\b(null|undefined|NaN)\b', self.browser.run('return document.body.innerText'))
            )
        for metric in METRICS:
            usable = any(point[metric] is not None for point in doc['points'])
            self.assertEqual(
                self.browser.run(
                    'return !document.querySelector(`#y-select option[value="${arguments[0]}"]`).disabled',
                    metric,
                ),
                usable,
            )
            if usable:
                self.browser.choose('#y-select', metric)
                self.assertEqual(len(self.positions()), sum(p[metric] is not None for p in doc['points']))

    def test_light_and_dark_have_contrast(self):
        for scheme in ('light', 'dark'):
            self.browser.devtools(
                'Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': scheme}]
            )
            self.open('full', fragment='#plan=3&with=10')
            ground = self.browser.run('return getComputedStyle(document.body).backgroundColor')
            self.assertEqual(int(re.search(r'\d+', ground)[0]) < 100, scheme == 'dark')
            for colour in ('bits', 'cost', 'bytes'):
                self.browser.choose('#colour-select', colour)
                self.browser.run('pinCell(arguments[0])', {'bits': 5, 'cost': 6, 'bytes': 7}[colour])
                self.assertEqual(self.browser.run(CONTRAST), [])
            self.browser.picture(os.path.join(self.pictures, f'two-{scheme}-1400.png'))
            self.browser.click('#theme')
            other = self.browser.run('return getComputedStyle(document.body).backgroundColor')
            self.assertEqual(int(re.search(r'\d+', other)[0]) < 100, scheme == 'light')
            self.assertEqual(self.browser.run(CONTRAST), [])
        self.browser.devtools('Emulation.setEmulatedMedia', features=[])

    def test_print_is_light_and_fits_the_paper(self):
        self.open('full', fragment='#plan=3&with=10', width=718)
        self.browser.run('document.documentElement.dataset.theme = "dark"')
        self.browser.devtools('Emulation.setEmulatedMedia', media='print')
        self.browser.size(718)
        self.assertEqual(
            self.browser.run('return getComputedStyle(document.body).backgroundColor'), 'rgb(255, 255, 255)'
        )
        self.assertFalse(
            self.browser.run(
                'return [...document.querySelectorAll("nav, .controls, .copy")].some(e => e.checkVisibility())'
            )
        )
        self.assertEqual(self.browser.run(CONTRAST), [])
        # The tables of numbers are on landscape pages.
        self.assertLessEqual(
            self.browser.run(
                'return Math.max(...[...document.querySelectorAll("main > section:not(#all-tables)")].map(e => e.scrollWidth))'
            ),
            718,
        )
        self.assertLessEqual(
            self.browser.run('return document.querySelector("#table-points table").offsetWidth'), 1047
        )
        self.browser.picture(os.path.join(self.pictures, 'print.png'))
        self.browser.devtools('Emulation.setEmulatedMedia', media='')
        path = os.path.join(self.pictures, 'print.pdf')
        self.browser.print(path)
        with open(path, 'rb') as file:
            self.assertTrue(file.read().startswith(b'%PDF'))

    def test_data_that_cannot_be_read_is_said(self):
        self.open('one')
        with open(self.page, encoding='utf-8') as file:
            whole = file.read()
        with open(self.page, 'w', encoding='utf-8') as file:
            file.write(whole.replace('id="data">{', 'id="data">'))
        self.browser.open(self.page)
        self.assertIn('cannot be read', self.browser.text('main'))
        errors = self.browser.log('browser')
        self.assertEqual(len(errors), 1)
        self.assertIn('SyntaxError', errors[0]['message'])

    def test_names_with_html_stay_text(self):
        attack = '</script><img src=x onerror=hacked=1><!--<script>"\'&amp;\u2028'
        doc = json.loads(json.dumps(explore_document.document(layers=2, plans=2, name=attack)))
        for component in doc['components']:
            component['name'] = attack
        for point in doc['points']:
            point['label'] = attack
        doc['formats'][3]['name'] = attack
        doc['measured'].update(command=attack, encoder=attack)
        doc['continuations'][0]['reference'][0] = attack
        self.open(doc, title=attack, fragment='#plan=0&with=1')
        for table in ('components', 'costs'):
            self.browser.click(f'#table-{table} summary')
        self.browser.run('showCell(3)')
        self.assertEqual(self.browser.texts('h1'), [attack])
        self.assertEqual(self.browser.run('return document.title'), attack)
        self.assertEqual(self.browser.run('return [typeof hacked, document.images.length]'), ['undefined', 0])
        self.assertIn(attack, self.browser.texts('#how code'))
        self.assertEqual(self.browser.texts('#cell h3'), [attack])


def main():
    explore_page_case.MAKER = os.path.abspath(sys.argv[1])
    programs = webdriver.programs()
    if isinstance(programs, str):
        print(f'SKIPPED: {programs}; the page of bitbudget explore was NOT opened in a browser')
        return 77
    return 0 if unittest.main(argv=sys.argv[:1] + sys.argv[2:], exit=False).result.wasSuccessful() else 1


if __name__ == '__main__':
    sys.exit(main())
