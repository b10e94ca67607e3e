#!/usr/bin/env python3
"""Runs `bitbudget plan` to death and to its end: SIGKILL at any moment, a full disk, several ranks.

    run_dir_test.py BINARY SOURCE_DIR MPIRUN [unittest arguments]

MPIRUN is empty where the build has no MPI; the tests of ranks are skipped then, and say so.
The environment's BITBUDGET_KILLS is how often a run is killed at random.
"""

import glob
import json
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

BINARY = ''
MODEL = ''
MPIRUN = ''
KILLS = int(os.environ.get('BITBUDGET_KILLS', 20))

OPTIONS = {'--prefix': '18', '--completion': '12', '--probes': '8', '--held-out-probes': '9',
           '--formats': 'int4-g64,int8', '--seed': '3', '--threads': '1'}


def ranks(count):
    """mpirun for one small machine and any user; its ranks are few and short-lived."""
    return [MPIRUN, '--allow-run-as-root', '--oversubscribe', '--bind-to', 'none', '-n', str(count)]


def environment():
    env = {k: v for k, v in os.environ.items() if k != 'BITBUDGET_CPU'}
    env['OMP_WAIT_POLICY'] = 'passive'
    # Open MPI itself leaves memory behind, which sanitizer builds would report at every exit.
    env['ASAN_OPTIONS'] = ':'.join(filter(None, [env.get('ASAN_OPTIONS'), 'detect_leaks=0']))
    return env


class RunDirTest(unittest.TestCase):

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='bitbudget-run-')
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def file(self, name):
        return os.path.join(self.folder, name)

    def command(self, out, *args, budget='6bpw', launcher=()):
        options = [word for name, value in OPTIONS.items() if name not in args
                   for word in (name, value)]
        return [*launcher, BINARY, 'plan', MODEL, '--budget', budget, *options, '--out',
                self.file(out), *args]

    def start(self, out, *args, **kwargs):
        preparation = {k: kwargs.pop(k) for k in ('preexec_fn',) if k in kwargs}
        return subprocess.Popen(self.command(out, *args, **kwargs), env=environment(),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                **preparation)

    def end(self, process):
        """(exit code, stdout, stderr)"""
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    def plan(self, out, *args, **kwargs):
        """The bytes of the plan, and what was said on standard error."""
        code, _, err = self.end(self.start(out, *args, **kwargs))
        self.assertEqual(code, 0, err)
        return self.read(out), err

    def read(self, name):
        with open(self.file(name), 'rb') as file:
            return file.read()

    def stores(self, directory):
        """The databases in a run directory."""
        return sorted(glob.glob(os.path.join(glob.escape(directory), '*', 'run.sqlite')))

    def results(self, directory):
        """The number of results in a run directory's only store."""
        store, = self.stores(directory)
        database = sqlite3.connect(store)
        try:
            self.assertEqual(database.execute('PRAGMA integrity_check').fetchone(), ('ok',))
            return database.execute('SELECT count(*) FROM results').fetchone()[0]
        finally:
            database.close()

    def show(self, directory):
        shown = subprocess.run([BINARY, 'runs', 'show', directory, '--json'], capture_output=True,
                               check=True, text=True)
        return json.loads(shown.stdout)['runs']

    def refuse(self, code, parts, process):
        returned, out, err = self.end(process)
        self.assertEqual(returned, code, err)
        self.assertEqual(out, '')
        line = err.splitlines()[-1]
        self.assertTrue(line.startswith('bitbudget: '), err)
        for part in parts:
            self.assertIn(part, line)


class ResumeTest(RunDirTest):

    def test_killed_at_random_moments(self):
        begin = time.monotonic()
        whole, _ = self.plan('whole.pb', '--no-run-dir')
        whole_s = time.monotonic() - begin
        self.assertFalse(os.path.exists(self.file('whole.pb.run')))
        moments = random.Random(20)
        killed = 0
        seen = 0
        attempt = 0
        out = 'a0.pb'
        while killed < KILLS:
            attempt += 1
            self.assertLess(attempt, 3 * KILLS, 'the command ends before it can be killed')
            process = self.start(out)
            # A resumed run is soon at its end: it is killed early; a new one anywhere.
            fresh = not os.path.exists(self.file(out + '.run'))
            time.sleep(moments.uniform(0, whole_s if fresh else whole_s / 3))
            process.send_signal(signal.SIGKILL)
            if self.end(process)[0] != -signal.SIGKILL:
                self.assertEqual(self.read(out), whole)  # it was faster
                out = f'a{attempt}.pb'
                continue
            if os.path.exists(self.file(out)):  # killed on its way out
                self.assertEqual(self.read(out), whole)
                out = f'a{attempt}.pb'
                continue
            killed += 1
            if self.stores(self.file(out + '.run')):
                seen += 1
        self.assertGreater(seen, KILLS // 4)
        self.assertEqual(self.plan(out)[0], whole)
        # What was killed has measured what an uninterrupted run does, once.
        self.plan('kept.pb')
        self.assertEqual(self.results(self.file(out + '.run')),
                         self.results(self.file('kept.pb.run')))
        # And once more with everything there.
        before = self.results(self.file(out + '.run'))
        again, err = self.plan(out)
        self.assertEqual(again, whole)
        self.assertNotIn('reference completions', err)
        self.assertEqual(self.results(self.file(out + '.run')), before)

    def test_another_budget_reuses_the_evaluations(self):
        for search in ((), ('--exhaustive',)):
            with self.subTest(search=search):
                self.check_reuse(*search)

    def check_reuse(self, *search):
        name = '-'.join(('run', *search))
        self.plan('a.pb', *search, '--run-dir', self.file(name))
        first = self.results(self.file(name))
        shared, _ = self.plan('b.pb', *search, '--run-dir', self.file(name), budget='7bpw')
        added = self.results(self.file(name)) - first
        fresh = self.file('fresh' + name)
        alone, _ = self.plan('c.pb', *search, '--run-dir', fresh, budget='7bpw')
        self.assertEqual(shared, alone)
        self.assertLess(added, self.results(fresh))
        if search:  # every component alone, in every format, on every search probe
            self.assertLess(added, self.results(fresh) - 2 * 29 * 8 + 29)
        report, = self.show(self.file(name))
        self.assertEqual([job['state'] for job in report['jobs']], ['complete'] * 2)
        self.assertIn('budget 7bpw', report['jobs'][1]['options'])
        self.assertEqual(report['results'], first + added)
        if search:
            self.assertEqual(len(report['alone']), 2 * 29)
        self.assertEqual(report['identity']['seed'], '3')
        self.assertGreater(len(report['jobs'][0]['trace']), 0)
        sizes = [candidate['size_bytes'] for candidate in report['best']]
        divergences = [candidate['loss'] for candidate in report['best']]
        self.assertEqual(sizes, sorted(sizes))
        self.assertEqual(divergences, sorted(divergences, reverse=True))

    def test_what_another_search_measured_changes_nothing(self):
        for first, second in (((), ('--exhaustive',)), (('--exhaustive',), ())):
            with self.subTest(first=first, second=second):
                shared = self.file('shared' + ''.join(first))
                self.plan('a.pb', *first, '--run-dir', shared)
                self.assertEqual(self.plan('b.pb', *second, '--run-dir', shared)[0],
                                 self.plan('c.pb', *second, '--no-run-dir')[0])

    def test_another_number_of_probes_estimates_on_its_own(self):
        """Costs and slopes are of the probes: 8 and 10 of them in one run are not taken for each other."""
        shared = self.file('shared')
        self.plan('a.pb', '--run-dir', shared)
        for probes in ('10', '12'):
            self.assertEqual(self.plan('b.pb', '--probes', probes, '--run-dir', shared)[0],
                             self.plan('c.pb', '--probes', probes, '--no-run-dir')[0])

    def test_commands_with_other_options_have_runs_of_their_own(self):
        """Nothing is refused, and every command resumes its own run."""
        variants = {'encoder': ('--encoder', 'rtn'), 'activations': ('--activations', 'f32'),
                    'seed': ('--seed', '4'), 'completion length': ('--completion', '13')}
        alone = {(): self.plan('alone.pb', '--no-run-dir')[0]}
        for args in variants.values():
            alone[args] = self.plan('alone.pb', '--no-run-dir', *args)[0]
        for time_ in range(2):
            for args, expected in alone.items():
                with self.subTest(time=time_, args=args):
                    plan, err = self.plan('a.pb', *args)
                    self.assertEqual(plan, expected)
                    self.assertEqual('reference completions' in err, time_ == 0)
        reports = self.show(self.file('a.pb.run'))
        self.assertEqual(len(reports), 1 + len(variants))
        for field, (_, value) in variants.items():
            own = [report for report in reports if report['identity'][field] == value]
            self.assertEqual(len(own), 1, field)
            self.assertEqual([job['state'] for job in own[0]['jobs']], ['complete'])
            self.assertTrue(os.path.exists(os.path.join(own[0]['directory'], 'run.sqlite')))
        shown = subprocess.run([BINARY, 'runs', 'show', self.file('a.pb.run')],
                               capture_output=True, check=True, text=True).stdout
        for report in reports:
            self.assertIn(report['directory'], shown)

    def test_a_run_of_an_earlier_version_is_left_alone(self):
        os.mkdir(self.file('a.pb.run'))
        old = os.path.join('a.pb.run', 'run.sqlite')
        with open(self.file(old), 'wb') as file:
            file.write(b'old')
        expected, _ = self.plan('b.pb')
        for time_ in range(2):
            plan, err = self.plan('a.pb')
            self.assertEqual(plan, expected)
            self.assertEqual(err.count(f'{self.file(old)} is a run of an earlier version'), 1, err)
            self.assertEqual('reference completions' in err, time_ == 0)
        self.assertEqual(self.read(old), b'old')

    def test_a_damaged_file_is_refused(self):
        self.plan('a.pb')
        store, = self.stores(self.file('a.pb.run'))
        with open(store, 'r+b') as file:
            file.write(b'garbage' * 20)
        self.refuse(3, [store, 'damaged'], self.start('a.pb'))

    def test_two_at_once(self):
        first = self.start('a.pb', '--probes', '400')
        while not self.stores(self.file('a.pb.run')):
            self.assertIsNone(first.poll())
            time.sleep(0.01)
        self.refuse(3, [f'locked by another process ({first.pid})'], self.start('a.pb'))
        # Another run in the same directory is not locked.
        self.plan('b.pb', '--seed', '4', '--run-dir', self.file('a.pb.run'))
        # Reading is allowed meanwhile (there may be nothing to read yet).
        subprocess.run([BINARY, 'runs', 'show', self.file('a.pb.run')], capture_output=True,
                       check=True, text=True)
        first.kill()
        self.end(first)

    def test_a_full_disk(self):
        whole, _ = self.plan('whole.pb', '--no-run-dir')
        limit = 64 << 10  # bytes per file

        def limited():
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        # Too little to begin with, until there is room for the first evaluations.
        while not (self.stores(self.file('a.pb.run')) and self.results(self.file('a.pb.run'))):
            limit += 64 << 10
            self.refuse(3, ['run.sqlite', 'cannot be written', 'start the same command again'],
                        self.start('a.pb', preexec_fn=limited))
            self.assertFalse(os.path.exists(self.file('a.pb')))
        self.assertEqual(self.plan('a.pb')[0], whole)

    def test_nothing_to_show(self):
        for name in ('missing', ''):
            shown = subprocess.run([BINARY, 'runs', 'show', self.file(name)], capture_output=True,
                                   check=False, text=True)
            self.assertEqual(shown.returncode, 3)
            self.assertEqual(shown.stderr.count('\n'), 1)
            self.assertIn('run.sqlite', shown.stderr)


class RanksTest(RunDirTest):

    def setUp(self):
        super().setUp()
        if not MPIRUN:
            print('\nNO MPI IN THIS BUILD: several ranks are not tested', file=sys.stderr)
            self.skipTest('no MPI in this build')

    def test_the_same_plan_from_any_number_of_ranks(self):
        whole, _ = self.plan('whole.pb', '--no-run-dir')
        for count in (1, 2, 3):
            kept, err = self.plan(f'{count}.pb', launcher=ranks(count))
            self.assertEqual(kept, whole, count)
            self.assertEqual(len(re.findall(r'^reference distributions: \d+ steps(?:;|$)', err, re.M)), 2,
                             err)  # the search's and the held-out ones, of one rank
            fresh, _ = self.plan(f'n{count}.pb', '--no-run-dir', launcher=ranks(count))
            self.assertEqual(fresh, whole, count)

    def test_a_lost_rank_ends_the_job_and_the_run_resumes(self):
        whole, _ = self.plan('whole.pb', '--no-run-dir')
        process = self.start('a.pb', launcher=ranks(3))
        lost = self.rank_of(process.pid, '2')
        while not self.stores(self.file('a.pb.run')):
            self.assertIsNone(process.poll())
            time.sleep(0.01)
        os.kill(lost, signal.SIGKILL)
        code, _, err = self.end(process)
        self.assertNotEqual(code, 0)
        self.assertIn('signal 9', err)
        self.assertIn(f'the same command resumes from {self.file("a.pb")}.run', err)
        self.assertFalse(os.path.exists(self.file('a.pb')))
        self.assertEqual(self.plan('a.pb', launcher=ranks(2))[0], whole)

    def rank_of(self, launcher, rank):
        """The process that mpirun started as this rank."""
        for _ in range(1000):
            for name in os.listdir('/proc'):
                try:
                    with open(f'/proc/{name}/stat', encoding='ascii') as file:
                        parent = file.read().rsplit(')', 1)[1].split()[1]
                    with open(f'/proc/{name}/environ', 'rb') as file:
                        variables = file.read().split(b'\0')
                except OSError:
                    continue
                if parent == str(launcher) and (b'OMPI_COMM_WORLD_RANK=' +
                                                rank.encode()) in variables:
                    return int(name)
            time.sleep(0.01)
        return self.fail('no such rank')

    def test_an_error_of_the_job_is_printed_once(self):
        self.plan('a.pb')
        store, = self.stores(self.file('a.pb.run'))
        with open(store, 'r+b') as file:
            file.write(b'garbage' * 20)
        code, out, err = self.end(self.start('a.pb', launcher=ranks(2)))
        self.assertEqual(code, 3, err)
        self.assertEqual(out, '')
        self.assertEqual(err.count('damaged'), 1, err)


if __name__ == '__main__':
    BINARY = os.path.abspath(sys.argv[1])
    MODEL = os.path.join(sys.argv[2], 'tools', 'demo', 'models', 'novel-1m')
    MPIRUN = sys.argv[3]
    unittest.main(argv=sys.argv[:1] + sys.argv[4:])
