#!/usr/bin/env python3
"""tools/results.sh writes between markers only, resumes, and keeps full runs from quick ones.

    results_test.py SOURCE_DIR
"""

import argparse
import contextlib
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv[1]).resolve()
sys.path.insert(0, str(SOURCE / 'tools/results'))
import lab  # noqa: E402
import main  # noqa: E402
import markers  # noqa: E402
import tables  # noqa: E402

PAGE = 'Before.\n<!-- results:{0} -->\n{1}<!-- /results:{0} -->\nAfter.\n'


class ResultsTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix='bitbudget-results-')
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.page = self.folder / 'page.md'

    def test_what_stands_around_the_markers_stays(self):
        self.page.write_text(PAGE.format('a', 'Old.\n') + PAGE.format('b', 'Other.\n'))
        markers.write(self.page, 'a', r'| \1 | new |')
        self.assertEqual(self.page.read_text(), PAGE.format('a', '\n| \\1 | new |\n\n') + PAGE.format('b', 'Other.\n'))
        markers.write(self.page, 'a', 'Old.')
        self.assertEqual(markers.read(self.page, 'a'), '\nOld.\n\n')

    def test_markers_must_be_there_once(self):
        for text in ('', '<!-- results:a -->\n', 2 * PAGE.format('a', '')):
            self.page.write_text(text)
            with self.assertRaises(ValueError):
                markers.write(self.page, 'a', 'new')
            self.assertEqual(self.page.read_text(), text)

    def run_main(self, *options):
        """main() with two tables of its own; what it wrote to the page and says."""
        entry = tables.Table(str(self.page), 1, 1, 'few probes', lambda bench: f'quick: {bench.quick}')
        missing = tables.Table(str(self.page), 1, 1, 'few probes', self.raise_missing)
        saved_tables, saved_argv = dict(tables.TABLES), sys.argv
        tables.TABLES.clear()
        tables.TABLES.update({'a': entry, 'b': missing} if '--missing' in options else {'a': entry})
        sys.argv = ['results', '--work', str(self.folder), '--build', 'abc',
                    *[option for option in options if option != '--missing']]
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                code = main.main()
        finally:
            tables.TABLES.clear()
            tables.TABLES.update(saved_tables)
            sys.argv = saved_argv
        return code, said.getvalue()

    @staticmethod
    def raise_missing(bench):
        raise lab.Missing('no such thing here')

    def test_a_quick_run_replaces_no_full_run(self):
        self.page.write_text(PAGE.format('a', ''))
        self.assertEqual(self.run_main('--quick')[0], 0)
        self.assertIn('*Quick run of build abc: few probes', self.page.read_text())
        self.assertIn('quick: True', self.page.read_text())
        self.assertEqual(self.run_main()[0], 0)
        full = self.page.read_text()
        self.assertIn('*Full run of build abc', full)
        self.assertIn('quick: False', full)
        self.assertEqual(self.run_main('--quick')[0], 0)
        self.assertEqual(self.page.read_text(), full)

    def test_what_cannot_be_measured_is_said_and_the_rest_is_done(self):
        self.page.write_text(PAGE.format('a', '') + PAGE.format('b', 'Old.\n'))
        code, said = self.run_main('--missing')
        self.assertEqual(code, 1)
        self.assertIn('not measured: b: no such thing here', said)
        self.assertIn('quick: False', self.page.read_text())
        self.assertIn('Old.', self.page.read_text())

    def test_nothing_runs_twice(self):
        bench = lab.Bench(argparse.Namespace(quick=True, bitbudget='none', work=self.folder / 'work', texts=None,
                                             threads=None))
        count = self.folder / 'count'
        command = ['bash', '-c', f'echo x >> {count}; wc -l < {count}']
        self.assertEqual(bench.run(*command), '1\n')
        self.assertEqual(bench.run(*command), '1\n')
        self.assertEqual(count.read_text(), 'x\n')
        with self.assertRaises(lab.Missing):
            bench.run('false')

    def test_every_table_is_listed_with_its_page(self):
        listed = subprocess.run([SOURCE / 'tools/results.sh', '--list'], capture_output=True, text=True, check=True)
        self.assertEqual([line.split()[:2] for line in listed.stdout.splitlines()],
                         [[name, table.page] for name, table in tables.TABLES.items()])
        for table in tables.TABLES.values():
            self.assertTrue(os.path.exists(SOURCE / table.page), table.page)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
