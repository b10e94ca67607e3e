#!/usr/bin/env python3
"""A damaged run store never changes a plan: the command refuses it in one line, or writes the same plan.

    damage.py BINARY SOURCE_DIR [--count N] [--seed S]

Stores are damaged in N ways, drawn from the seed: bits, sectors and pages of the file and of its
write-ahead log, and rows and tables by way of SQLite, as another program would. `plan` must then write
the plan of the whole store or end with exit code 3 and one line that names the store; `runs show` must
end in one of these ways as well. The time limit and the limit of memory are part of it.
"""

import argparse
import collections
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile

from jobs import TIMEOUT_S, read

OPTIONS = ['--budget', '6bpw', '--prefix', '18', '--completion', '8', '--probes', '3',
           '--held-out-probes', '3', '--formats', 'int4-g64,int8', '--seed', '3', '--threads', '1',
           '--out', 'a.pb']
TABLES = ('identity', 'components', 'probes', 'candidates', 'results', 'jobs', 'trace', 'blobs')
NUMBERS = (0, 1, -1, 2, 2**31 - 1, 2**31, 2**53, 2**63 - 1, -2**63, 1e308, float('inf'), 0.5, None, '',
           'x\ny')
SCRIPTS = ('CREATE TABLE more (x)', 'DROP TABLE trace', 'DROP TABLE results',
           'CREATE VIEW more AS SELECT 1', 'ALTER TABLE results RENAME COLUMN fdt TO "f\nd"',
           'ALTER TABLE blobs ADD COLUMN more', 'PRAGMA application_id = 1', 'PRAGMA user_version = 3',
           'CREATE TRIGGER t BEFORE INSERT ON results BEGIN SELECT RAISE(IGNORE); END',
           'CREATE INDEX i ON results (tokens)')
MEMORY = 4 << 30


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


class Damage:

    def __init__(self, binary, model, folder):
        self.model, self.folder = model, folder
        # The program may be built anew while this runs.
        self.binary = shutil.copy(binary, os.path.join(folder, 'bitbudget'))
        self.env = {k: v for k, v in os.environ.items() if k != 'BITBUDGET_CPU'}
        self.env['OMP_WAIT_POLICY'] = 'passive'
        self.store = None
        code, err = self.plan()
        assert code == 0, err
        self.plan_bytes = read(self.path('a.pb'))
        run, = os.listdir(self.path('a.pb.run'))
        self.store = self.path('a.pb.run', run, 'run.sqlite')
        self.whole = {'': read(self.store)}
        self.killed = self.as_after_a_kill()

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def run(self, *args):
        done = subprocess.run([self.binary, *args], cwd=self.folder, env=self.env, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TIMEOUT_S,
                              preexec_fn=limit_memory)
        return done.returncode, done.stderr.decode('utf-8', 'replace')

    def plan(self):
        return self.run('plan', self.model, *OPTIONS)

    def as_after_a_kill(self):
        """The store with most of its rows in the log, in one transaction for every table."""
        self.put(self.whole)
        database = sqlite3.connect(self.store, isolation_level=None)
        rows = {table: database.execute(f'SELECT * FROM {table}').fetchall() for table in TABLES}
        for table in TABLES[1:]:
            database.execute(f'DELETE FROM {table}')
        database.execute('VACUUM')
        database.execute('PRAGMA journal_mode = WAL')
        database.execute('PRAGMA wal_checkpoint(TRUNCATE)')
        database.execute('PRAGMA wal_autocheckpoint = 0')
        for table in TABLES[1:]:
            database.execute('BEGIN')
            for row in rows[table]:
                database.execute(f'INSERT INTO {table} VALUES ({",".join("?" * len(row))})', row)
            database.execute('COMMIT')
        files = {'': read(self.store), '-wal': read(self.store + '-wal')}
        database.close()
        assert len(files['-wal']) > 10000
        return files

    def put(self, files):
        for suffix in ('', '-wal', '-shm', '-journal'):
            if suffix in files:
                write(self.store + suffix, files[suffix])
            elif os.path.exists(self.store + suffix):
                os.unlink(self.store + suffix)

    def check(self, what):
        """What came of the damage that lies in the folder: 'refused' or 'same plan'."""
        os.unlink(self.path('a.pb'))
        shown, err = self.run('runs', 'show', 'a.pb.run', '--json')
        self.require(shown in (0, 3), what, shown, err)
        if shown == 3:
            self.require_one_line(what, shown, err)
        code, err = self.plan()
        if code == 0:
            self.require(read(self.path('a.pb')) == self.plan_bytes, what, 'another plan', err)
            return 'same plan'
        self.require(code == 3 and not os.path.exists(self.path('a.pb')), what, code, err)
        self.require_one_line(what, code, err)
        write(self.path('a.pb'), self.plan_bytes)
        return 'refused'

    def require_one_line(self, what, code, err):
        lines = [line for line in err.splitlines() if line.startswith('bitbudget: ')]
        self.require(len(lines) == 1 and 'run.sqlite' in lines[0] and
                     any(part in lines[0] for part in ('remove it', 'move it away', 'cannot')),
                     what, code, err)

    def require(self, condition, what, code, err):
        if not condition:
            raise AssertionError(f'{what}: {code}\n{err}')

    # Kinds of damage. Each leaves a damaged store in the folder and says what it did.

    def flip_bits(self, draw):
        files = {suffix: bytearray(contents) for suffix, contents in
                 draw.choice((self.whole, self.killed)).items()}
        suffix = draw.choice(sorted(files))
        places = [bit_of(files[suffix], draw) for _ in range(draw.choice((1, 1, 1, 4)))]
        for place in places:
            files[suffix][place // 8] ^= 1 << place % 8
        self.put(files)
        state = 'killed' if files.keys() == self.killed.keys() else 'whole'
        return f'bits {places} of run.sqlite{suffix}, {state}'

    def flip_bit_of_header(self, draw):
        files = {suffix: bytearray(contents) for suffix, contents in
                 draw.choice((self.whole, self.killed)).items()}
        suffix = draw.choice(sorted(files))
        place = draw.randrange(8 * 108)
        files[suffix][place // 8] ^= 1 << place % 8
        self.put(files)
        return f'bit {place} of run.sqlite{suffix}'

    def lose_or_misplace(self, draw):
        files = {suffix: bytearray(contents) for suffix, contents in
                 draw.choice((self.whole, self.killed)).items()}
        suffix = draw.choice(sorted(files))
        contents = files[suffix]
        unit = draw.choice((512, 4096))
        units = len(contents) // unit
        to, source = draw.randrange(units), draw.randrange(units)
        kind = draw.choice(('zeros', 'another', 'cut', 'without'))
        if kind == 'zeros':
            contents[to * unit:(to + 1) * unit] = bytes(unit)
        elif kind == 'another':
            contents[to * unit:(to + 1) * unit] = contents[source * unit:(source + 1) * unit]
        elif kind == 'cut':
            del contents[to * unit:]
        else:
            suffix = '-wal'
            files.pop(suffix, None)
        self.put(files)
        return f'{kind} {unit} {to} {source} of run.sqlite{suffix}'

    def garbage_beside(self, draw):
        suffix = draw.choice(('-wal', '-shm', '-journal'))
        self.put({**self.whole, suffix: draw.randbytes(draw.choice((0, 40, 40000)))})
        return f'garbage in run.sqlite{suffix}'

    def change_row(self, draw):
        self.put(self.whole)
        database = sqlite3.connect(self.store, isolation_level=None)
        database.execute('PRAGMA foreign_keys = OFF')
        table = draw.choice(TABLES)
        columns = [row[1] for row in database.execute(f'PRAGMA table_info({table})')]
        key = ' AND '.join(f'{name} IS ?' for name in columns)
        rows = database.execute(f'SELECT * FROM {table}').fetchall()
        row, other = draw.choice(rows), draw.choice(rows)
        at = draw.randrange(len(columns))
        kind = draw.choice(('value', 'value', 'number', 'swap', 'delete', 'bit', 'bit', 'empty'))
        if kind == 'empty' and draw.random() < 0.7:
            kind = 'bit'
        value = row[at]
        if kind == 'value':
            value = other[at]
        elif kind == 'number':
            value = draw.choice(NUMBERS)
        elif kind == 'bit' and isinstance(value, (str, bytes)) and value:
            changed = bytearray(value.encode() if isinstance(value, str) else value)
            place = draw.randrange(8 * len(changed))
            changed[place // 8] ^= 1 << place % 8
            value = bytes(changed) if isinstance(value, bytes) else changed.decode('utf-8', 'replace')
        elif kind == 'bit' and isinstance(value, int):
            value ^= 1 << draw.randrange(62)
        try:
            if kind == 'swap' and row != other:
                # All but what they are found by.
                for whose, values in ((row, other), (other, row)):
                    database.execute(f'UPDATE {table} SET ' + ', '.join(f'{n} = ?' for n in columns[1:]) +
                                     f' WHERE {columns[0]} = ? AND {columns[1]} IS ?',
                                     (*values[1:], *whose[:2]))
            elif kind == 'delete':
                database.execute(f'DELETE FROM {table} WHERE {key}', row)
            elif kind == 'empty':
                database.execute(f'DELETE FROM {table}')
            else:
                database.execute(f'UPDATE {table} SET {columns[at]} = ? WHERE {key}', (value, *row))
        except (sqlite3.IntegrityError, OverflowError):
            pass  # what the table does not take leaves it whole
        database.close()
        return f'{kind} of {table}.{columns[at]}, {row[:2]!r} {value!r}'

    def change_tables(self, draw):
        self.put(self.whole)
        database = sqlite3.connect(self.store, isolation_level=None)
        script = draw.choice(SCRIPTS)
        database.execute(script)
        database.close()
        return script


KINDS = (Damage.flip_bits, Damage.flip_bits, Damage.flip_bits, Damage.flip_bit_of_header,
         Damage.lose_or_misplace, Damage.garbage_beside, Damage.change_row, Damage.change_row,
         Damage.change_row, Damage.change_tables)


def bit_of(contents, draw):
    """Any bit, but most often one of a byte that is not zero: much of a small store is empty."""
    for _ in range(draw.choice((1, 100, 100, 100))):
        place = draw.randrange(8 * len(contents))
        if contents[place // 8] != 0:
            break
    return place


def write(path, contents):
    with open(path, 'wb') as file:
        file.write(contents)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('binary')
    parser.add_argument('source_dir')
    parser.add_argument('--count', type=int, default=1000)
    parser.add_argument('--seed', type=int, default=1)
    args = parser.parse_args()
    model = os.path.abspath(os.path.join(args.source_dir, 'tools', 'demo', 'models', 'novel-1m'))
    folder = tempfile.mkdtemp(prefix='bitbudget-damage-')
    failures = 0
    ends = collections.Counter()
    try:
        damage = Damage(args.binary, model, folder)
        for i in range(args.count):
            kind = KINDS[i % len(KINDS)]
            what = f'--seed {args.seed}, {i}: ' + kind(damage, random.Random(f'{args.seed} {i}'))
            try:
                ends[kind.__name__, damage.check(what)] += 1
            except (AssertionError, subprocess.TimeoutExpired) as error:
                failures += 1
                print(f'FAILED {what}\n{error}', flush=True)
                write(damage.path('a.pb'), damage.plan_bytes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for (kind, end), count in sorted(ends.items()):
        print(f'{kind}: {end} {count}')
    print(f'{args.count} damaged stores, {failures} failures')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
