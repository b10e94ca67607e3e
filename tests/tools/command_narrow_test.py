#!/usr/bin/env python3
"""What is printed for people fits a terminal of 60 columns, and so does the progress bar.

    command_narrow_test.py BINARY SOURCE_DIR [unittest arguments]
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading

import command_case
from command_case import FEW_FORMATS, PLAN_PROBES, PROBES, CommandTest, main

WIDTH = 60


class Terminal:
    """A pseudo-terminal of WIDTH columns; what was written to it, once all writers have closed it."""

    def __init__(self):
        self.main, self.end = pty.openpty()
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack('HHHH', 24, WIDTH, 0, 0))
        self.chunks = []
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        while True:
            try:
                chunk = os.read(self.main, 1 << 16)
            except OSError:  # Linux's end of file
                return
            if not chunk:
                return
            self.chunks.append(chunk)

    def text(self):
        os.close(self.end)
        self.reader.join()
        os.close(self.main)
        return b''.join(self.chunks).decode()


class NarrowTest(CommandTest):

    def on_terminal(self, *args):
        """(standard output, standard error), each of which is a terminal."""
        out, err = Terminal(), Terminal()
        environment = dict(os.environ, TERM='xterm', OMP_WAIT_POLICY='passive')
        done = subprocess.run([command_case.BINARY, *map(str, args)], stdin=subprocess.DEVNULL, stdout=out.end,
                              stderr=err.end, cwd=self.folder, env=environment, timeout=300, check=False)
        shown, progress = out.text(), err.text()
        self.assertEqual(done.returncode, 0, f'{args}: {progress}')
        return shown.replace('\r\n', '\n'), progress

    def check(self, *args):
        shown, progress = self.on_terminal(*args)
        self.assertTrue(shown.strip(), args)
        for line in shown.splitlines():
            # A word that is too long for a line, as a fingerprint is, stays whole.
            longest = max(map(len, line.split()), default=0)
            self.assertTrue(len(line) <= WIDTH or longest > WIDTH - 12, f'{args}: {len(line)}: {line}')
        # The bar is redrawn in place: everything behind a "clear the line" up to the end of the line.
        for drawn in re.findall(r'\r\x1b\[K([^\r\n]*)', progress):
            if not drawn.startswith('memory: '):  # a message, which stays
                self.assertLess(len(drawn), WIDTH, f'{args}: {drawn}')
        return shown, progress

    def test_tables_fit_and_wide_ones_say_the_same(self):
        a, b = self.make_plan(out='a.pb'), self.file('b.pb')
        self.succeed('plan', self.model, '--budget', '6bpw', '--exhaustive', '-o', b, *FEW_FORMATS, *PLAN_PROBES)
        few = (*PROBES, '--probes', 4)
        text = self.text_file()
        # Commands, and what begins lines of a table that is too wide: its parts all begin with the first column.
        for args, first in ((['show', a], '  KL mean'),
                            (['diff', a, b], '  KL mean'),
                            (['diff', b, b], '  KL mean'),
                            (['runs', 'show', b + '.run'], '  component '),
                            (['formats'], None),
                            (['formats', '--formats', 'int4-g64,q4_k', '--rows', 16777216, '--cols', 16777216], None),
                            (['eval', self.model, '--plan', a, *few], '  KL mean'),
                            (['eval', self.model, '--uniform', 'int2-g64', '--fdt-only', *few], None),
                            (['eval', self.model, '--uniform', 'int4-g64', '-t', text, '--against', 'int8', *few],
                             '  text KL '),
                            (['score', self.model, '--scorer', 'lim', *few], None),
                            (['score', self.model, '--scorer', 'zd'], '  layer'),
                            (['score', self.model, '--scorer', 'kfac', '--formats',
                              'int2-g64,int3-g64,int4-g64,int8', *few], '  component'),
                            (['score', self.model, '--scorer', 'signal', *few], '  type')):
            with self.subTest(args=args):
                shown, _ = self.check(*args)
                wide = self.succeed(*args).stdout
                if first is not None:
                    self.assertGreater(self.count(first, shown), self.count(first, wide))
                # Nothing is lost: every word of the wide form is there.
                self.assertEqual(set(wide.split()) - set(shown.split()), set())

    @staticmethod
    def count(first, shown):
        return sum(line.startswith(first) for line in shown.splitlines())

    def test_explore_fits(self):
        args = ['explore', self.model, '--sizes', '5bpw,6bpw,7bpw', '--rivals', 'additive', '-o', 'page.html',
                *FEW_FORMATS, *PLAN_PROBES]
        self.check(*args, '--dry-run')
        shown, progress = self.check(*args)
        for word in ('method', 'additive', 'uniform', 'text KL', 'FDT', 'page.html'):
            self.assertIn(word, shown)
        self.assertGreater(self.count('method', shown), 1)
        self.assertIn(' left', progress)  # of the whole job, not cut off


if __name__ == '__main__':
    main()
