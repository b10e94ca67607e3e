#!/usr/bin/env python3
"""A call that fails never leaves anything half-written: the command ends in one line or has not noticed.

    inject.py BINARY SOURCE_DIR LIBRARY [--count N] [--all] [--seed S] [--only JOB/KIND[:N]]

LIBRARY is libfail_call.so, which makes one call of a command fail: a write (a full disk), a short write,
fsync, rename, open, ftruncate, read, mmap, memory, a thread. Small jobs (plan, apply, export, equalize,
recover) run with the n-th call of a kind failing, and all later ones as well in every other trial; N
trials are drawn from the seed, or every call of every kind is taken (for memory: --count of them).

Each trial must end by itself, not by a signal, and with the outputs of the job without a failure, or with
an error: one line "bitbudget: ...", exit code 3, and every output as it was before, or as it would
have been. Then the same command without a failure must give the outputs of the job, and leave no other
file than it does otherwise.
"""

import argparse
import collections
import os
import random
import shutil
import subprocess
import sys
import tempfile

from jobs import JOBS, Workplace, files, read

MEMORY = ('allocate', 'allocate-large')
# What these say for themselves: the OpenMP library ends the program.
FOREIGN = 'libgomp: '


class Injector:

    def __init__(self, workplace, library):
        self.place, self.library = workplace, library
        self.clean = {}

    def run_clean(self, job):
        """Runs a job without failures; how many calls of each kind it makes."""
        folder = self.place.prepare(job)
        counts = os.path.join(self.place.folder, 'counts')
        code, err = self.place.run(folder, *job.args, LD_PRELOAD=self.library, BITBUDGET_FAIL_COUNTS=counts)
        assert code == 0, (job.args, code, err)
        self.clean[job.name] = (self.place.outputs(job, folder), files(folder))
        assert None not in self.clean[job.name][0].values()
        return {kind: int(calls) for kind, calls in
                (line.split() for line in read(counts).decode().splitlines())}

    def trial(self, job, fail, older):
        """What a failing call came to: 'harmless' or 'refused'."""
        folder = self.place.prepare(job, older)
        before = self.place.outputs(job, folder)
        clean, clean_files = self.clean[job.name]
        code, err = self.place.run(folder, *job.args, LD_PRELOAD=self.library, BITBUDGET_FAIL=fail)
        self.require(code >= 0, f'signal {-code}', err)
        now = self.place.outputs(job, folder)
        if code == 0:
            self.require(now == clean, 'other outputs', err)
        else:
            own = [line for line in err.splitlines() if line.startswith('bitbudget: ')]
            foreign = [line for line in err.splitlines() if line.startswith(FOREIGN)]
            self.require((len(own) == 1 and code == 3) or (not own and len(foreign) == 1),
                         f'exit code {code}', err)
            for name in job.outputs:
                self.require(now[name] in (before[name], clean[name]), f'{name} is half-written', err)
        # A folder that is finished stands in the way of itself.
        if job.older or now != clean:
            again, again_err = self.place.run(folder, *job.args)
            self.require(again == 0, f'then exit code {again}', f'{err}\n{again_err}')
        self.require(self.place.outputs(job, folder) == clean, 'other outputs at the second time', err)
        left = sorted(set(files(folder)) - set(clean_files))
        self.require(not left, f'left behind: {left}', err)
        return 'harmless' if code == 0 else 'refused'

    def require(self, condition, what, err):
        if not condition:
            raise AssertionError(f'{what}\n{err[-1500:]}')


def trials_of(counts, args):
    """(job, kind, n) to try."""
    everything = [(job, kind, n) for job in JOBS for kind, calls in counts[job.name].items()
                  for n in range(1, calls + 1)
                  if args.only in (None, job.name, f'{job.name}/{kind}', f'{job.name}/{kind}:{n}')]
    if args.only is not None and ':' in args.only:
        return 4 * everything  # alone and with all later ones, over nothing and over older files
    draw = random.Random(args.seed)
    by_kind = collections.defaultdict(list)
    for one in everything:
        by_kind[one[0].name, one[1]].append(one)
    for trials in by_kind.values():
        draw.shuffle(trials)
    if args.all:
        return [one for (_, kind), trials in by_kind.items()
                for one in (trials[:args.count] if kind in MEMORY else trials)]
    # Every kind of every job in turn.
    groups = sorted(by_kind.items())
    draw.shuffle(groups)
    chosen = []
    while len(chosen) < args.count and any(trials for _, trials in groups):
        chosen += [trials.pop() for _, trials in groups if trials]
    return chosen[:args.count]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('binary')
    parser.add_argument('source_dir')
    parser.add_argument('library')
    parser.add_argument('--count', type=int, default=500)
    parser.add_argument('--all', action='store_true')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--only', help='JOB, JOB/KIND or JOB/KIND:N')
    args = parser.parse_args()
    folder = tempfile.mkdtemp(prefix='bitbudget-inject-')
    failures = 0
    ends = collections.Counter()
    try:
        injector = Injector(Workplace(args.binary, args.source_dir, folder), os.path.abspath(args.library))
        counts = {job.name: injector.run_clean(job) for job in JOBS}
        chosen = trials_of(counts, args)
        for i, (job, kind, n) in enumerate(chosen):
            fail = f'{kind}:{n}' + ('+' if i // 2 % 2 else '')
            try:
                ends[kind, injector.trial(job, fail, older=i % 2 == 1)] += 1
            except (AssertionError, subprocess.TimeoutExpired) as error:
                failures += 1
                print(f'FAILED {job.name}/{fail}{" over older files" if i % 2 else ""}: {error}', flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for (kind, end), count in sorted(ends.items()):
        print(f'{kind}: {end} {count}')
    print(f'{len(chosen)} failing calls, {failures} failures')
    return 1 if failures or not chosen else 0


if __name__ == '__main__':
    sys.exit(main())
