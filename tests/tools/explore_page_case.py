"""What the tests of the page of `bitbudget explore` share: a browser, pages of made-up documents, and what
holds after each test."""

import functools
import json
import math
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import explore_document
import webdriver

MAKER = ''
METRICS = ('text_kl', 'text_top1', 'fdt_mean', 'text_ppl', 'kl_mean')
HIGHER = {'fdt_mean'}


def number(value):
    """As data.js writes a number."""
    if value is None:
        return '–'
    if value == 0:
        return '0'
    size = abs(value)
    if size < 1e-4:
        mantissa, exponent = f'{value:.2e}'.split('e')
        return f'{mantissa}e{int(exponent):+d}'
    if size >= 1e4:
        return f'{round(value):,}'
    return f'{value:.{3 - math.floor(math.log10(float(f"{size:.3e}")))}f}'


def y_of(point, metric):
    """(value, low, high) as the chart draws them."""
    values = [point[metric], *point[metric + '_ci']]
    if metric == 'text_top1':
        values = [1 - value for value in (values[0], values[2], values[1])]
    return values


class PageTest(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='bitbudget-page-')
        cls.pictures = os.environ.get('BITBUDGET_SCREENSHOTS') or cls.folder
        os.makedirs(cls.pictures, exist_ok=True)
        cls.browser = webdriver.Browser(*webdriver.programs())

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        shutil.rmtree(cls.folder, ignore_errors=True)

    @functools.lru_cache(None)
    def made(self, name):
        return {
            'full': explore_document.document,
            'many': lambda: explore_document.document(layers=40, plans=60),
            'one': lambda: explore_document.document(plans=1, rivals=(), continuations=0, memory=False),
            'none': lambda: explore_document.document(plans=0, rivals=(), continuations=0),
            'nulls': explore_document.with_nulls,
        }[name]()

    def open(self, doc, title='novel-8m', fragment='', width=1400):
        """Opens the page of a document, or of the named one. Returns the document."""
        doc = self.made(doc) if isinstance(doc, str) else doc
        data = os.path.join(self.folder, 'data.json')
        self.page = os.path.join(self.folder, 'page.html')
        with open(data, 'w', encoding='utf-8') as file:
            json.dump(doc, file, ensure_ascii=False)
        with open(self.page, 'wb') as file:
            subprocess.run([MAKER, title, data], stdout=file, check=True)
        self.browser.size(width)
        self.browser.open(self.page, fragment)
        self.browser.size(width)
        return doc

    def tearDown(self):
        """Whatever a test did: no error in the console, nothing loaded but the page itself."""
        errors = [
            entry['message']
            for entry in self.browser.log('browser')
            if entry['level'] in ('SEVERE', 'WARNING')
        ]
        self.assertEqual(errors, [])
        urls = set()
        for entry in self.browser.log('performance'):
            message = json.loads(entry['message'])['message']
            if message['method'] in ('Network.requestWillBeSent', 'Network.webSocketCreated'):
                parameters = message['params']
                urls.add(parameters['request']['url'] if 'request' in parameters else parameters['url'])
        allowed = re.compile(
            r'about:blank|data:,?|blob:null/.*|' + re.escape('file://' + self.page) + r'(#.*)?'
        )
        self.assertEqual([url for url in urls if not allowed.fullmatch(url)], [])
        self.assertTrue(any(url.startswith('file://') for url in urls), 'the log of requests is empty')

    def copied(self):
        """The clipboard's text."""
        self.browser.devtools(
            'Browser.grantPermissions', permissions=['clipboardReadWrite', 'clipboardSanitizedWrite']
        )
        return self.browser.call(
            'POST',
            '/execute/async',
            {
                'script': 'navigator.clipboard.readText().then(arguments[0], e => arguments[0](String(e)))',
                'args': [],
            },
        )

    def positions(self):
        """id -> (x, y) of the points in the chart."""
        found = self.browser.run(
            'return [...document.querySelectorAll(".points path")].map(e => [e.dataset.id, e.getAttribute("transform")])'
        )
        return {int(i): tuple(map(float, re.findall(r'-?[\d.]+', place))) for i, place in found}
