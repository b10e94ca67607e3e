#!/usr/bin/env python3
"""A loss of power leaves every output whole, new or old, and the same command ends as if nothing had been.

    power.py BINARY SOURCE_DIR LIBRARY [--count N] [--seed S] [--only JOB/N]

LIBRARY is liblog_writes.so, which logs what small jobs (plan, apply, export, equalize, recover) do to
their folder. From the log, states are built that the folder may be found in when power is lost at a
moment drawn from the seed (disk.py says which): N states, of every job in turn. In each of them an output
under its final name must be whole, and `show` must read it if it is a plan; then the same command must
give the outputs of the job and leave no other file. A store of evaluations may be refused in one
line instead. One state in eight is that of a loss after the end: then nothing of the outputs may be lost.
"""

import argparse
import collections
import os
import random
import shutil
import subprocess
import sys
import tempfile

from disk import Disk, read_log
from jobs import JOBS, Job, Workplace, files, read

# SQLite's shared memory is mapped, not written, and worth nothing without the processes that shared it.
NOT_KEPT = '-shm'
# What equalize writes does not depend on how well it searches.
QUICK = [job if job.name != 'equalize' else
         Job(job.name, job.outputs, *job.args, '--iterations', '0', older=False) for job in JOBS]


def make(folder, contents):
    for name, what in contents.items():
        path = os.path.join(folder, name)
        if isinstance(what, dict):
            os.mkdir(path)
            make(path, what)
        elif not name.endswith(NOT_KEPT):
            with open(path, 'wb') as file:
                file.write(what)


def without(contents):
    return {name: without(what) if isinstance(what, dict) else what for name, what in contents.items()
            if not name.endswith(NOT_KEPT)}


class Recorded:
    """A job, what it did to its folder, and what it left there."""

    def __init__(self, place, library, job, older):
        self.place, self.job = place, job
        self.folder = place.prepare(job, older)
        self.older = {name: contents for name, contents in place.outputs(job, self.folder).items()
                      if contents is not None}
        log = os.path.join(place.folder, 'log')
        if os.path.exists(log):
            os.unlink(log)
        code, err = place.run(self.folder, *job.args, LD_PRELOAD=library, BITBUDGET_LOG=log)
        assert code == 0, (job.args, code, err)
        self.clean, self.files = place.outputs(job, self.folder), files(self.folder)
        self.records = read_log(log)
        self.moments = {kind: [i + 1 for i, (words, _) in enumerate(self.records) if words[0] == kind]
                        for kind in {words[0] for words, _ in self.records}}
        links = {'model', *job.inputs}
        found = {name: what for name, what in read(self.folder).items() if name not in links}
        disk = self.disk(len(self.records))
        assert without(disk.now()) == without(found), f'{job.name}: the log is not complete'

    def disk(self, end):
        disk = Disk(self.folder, self.older)
        for words, data in self.records[:end]:
            disk.do(words, data)
        return disk

    def trial(self, i, draw):
        """What came of a loss of power: 'same outputs' or 'refused'."""
        ended = i % 8 == 7
        # As often behind the few renames as between the many writes.
        moment = draw.choice(self.moments[draw.choice(sorted(self.moments))])
        end = len(self.records) if ended else min(len(self.records), moment + draw.choice((0, 0, 1, 2, 5)))
        state = self.disk(end).after_loss(draw)
        self.place.prepare(self.job)
        make(self.folder, state)
        about = f'after {end} of {len(self.records)} calls, {sorted(state)}'
        now = self.place.outputs(self.job, self.folder)
        for name in self.job.outputs:
            allowed = [self.clean[name]] if ended else [self.clean[name], self.older.get(name)]
            require(now[name] in allowed, f'{name} is {"lost" if now[name] is None else "not whole"}', about)
            if name.endswith('.pb') and now[name] == self.clean[name]:
                code, err = self.place.run(self.folder, 'show', name)
                require(code == 0, f'show: exit code {code}', f'{about}\n{err}')
        if not self.job.older and now == self.clean:
            return 'same outputs'  # a folder that is finished stands in the way of itself
        code, err = self.place.run(self.folder, *self.job.args)
        if code == 3 and self.job.name == 'plan':
            lines = [line for line in err.splitlines() if line.startswith('bitbudget: ')]
            require(len(lines) == 1 and 'run.sqlite' in lines[0], 'no refusal of the store', f'{about}\n{err}')
            return 'refused'
        require(code == 0, f'exit code {code}', f'{about}\n{err}')
        require(self.place.outputs(self.job, self.folder) == self.clean, 'other outputs', f'{about}\n{err}')
        left = sorted(set(files(self.folder)) - set(self.files))
        require(not left, f'left behind: {left}', about)
        return 'same outputs'


def require(condition, what, about):
    if not condition:
        raise AssertionError(f'{what}\n{about[-1500:]}')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('binary')
    parser.add_argument('source_dir')
    parser.add_argument('library')
    parser.add_argument('--count', type=int, default=500)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--only', help='JOB or JOB/N')
    args = parser.parse_args()
    folder = tempfile.mkdtemp(prefix='bitbudget-power-')
    failures = count = 0
    ends = collections.Counter()
    try:
        place = Workplace(args.binary, args.source_dir, folder)
        for job in QUICK:
            if args.only is not None and args.only.split('/')[0] != job.name:
                continue
            recorded = {}
            for i in range(-(-args.count // len(QUICK))):
                if args.only not in (None, job.name, f'{job.name}/{i}'):
                    continue
                count += 1
                older = i % 2 == 1
                if older not in recorded:
                    recorded[older] = Recorded(place, os.path.abspath(args.library), job, older)
                try:
                    end = recorded[older].trial(i // 2, random.Random(f'{args.seed} {job.name} {i}'))
                    ends[job.name, end] += 1
                except (AssertionError, subprocess.TimeoutExpired) as error:
                    failures += 1
                    print(f'FAILED --seed {args.seed} --only {job.name}/{i}: {error}', flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for (job, end), times in sorted(ends.items()):
        print(f'{job}: {end} {times}')
    print(f'{count} losses of power, {failures} failures')
    return 1 if failures or count == 0 else 0


if __name__ == '__main__':
    sys.exit(main())
