#!/usr/bin/env python3
"""The memory of a process that makes many plans does not grow with their number beyond their results.

    memory.py BINARY SOURCE_DIR [--count N] [--only SEARCH]

`explore` searches N plans in one process, of N sizes of a model of generated weights. Its resident memory
(VmRSS, VmHWM) is read at the start of every search. After the first tenth, in which caches fill, a line is
fitted: it must not rise by more than PLAN per plan, which what is kept of a plan needs. The first search goes on to
its end, where every plan is compared with every other and a page is made of it: the peak of that must not be
above that of the searches by more than ON_PAGE for every plan and PAIR for every pair. The others are killed
when the last plan is found.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

from tiny import Shape, write_model

# Bytes. The last two are what was measured and some more: they notice growth, and say nothing of need.
PLAN, ON_PAGE, PAIR = 16 << 10, 192 << 10, 2 << 10
SEARCHES = {'greedy': ['--no-run-dir'], 'random': ['--run-dir', 'run'],
            'layerwise': ['--scorer', 'zd', '--no-run-dir'], 'uniform': ['--no-run-dir']}
PROBES = ['--prefix', '8', '--completion', '4', '--seed', '3', '--threads', '1', '--probes', '2',
          '--held-out-probes', '2']
FORMATS = 'int4-g32,int8,bf16'
SMALLEST, LARGEST = 60_000, 110_000  # bytes of the model in the narrowest and nearly the widest of them


def memory_of(process):
    """(VmRSS, VmHWM) in bytes"""
    with open(f'/proc/{process.pid}/status', encoding='ascii') as file:
        fields = dict(line.split(':', 1) for line in file)
    return tuple(int(fields[name].split()[0]) << 10 for name in ('VmRSS', 'VmHWM'))


def slope(points):
    """Of the line with the least squares."""
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points))
    return (sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x)**2 for x, _ in points))


def measure(binary, folder, search, count, to_the_end):
    """([VmRSS at the start of each plan], VmHWM at the last one, VmHWM at the end or None)"""
    env = {**os.environ, 'OMP_WAIT_POLICY': 'passive', 'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1'}
    sizes = ','.join(f'{SMALLEST + i * (LARGEST - SMALLEST) // count}B' for i in range(count))
    args = ['explore', 'model', '--sizes', sizes, '--formats', FORMATS, '--rivals', 'none', '--search', search,
            *SEARCHES[search], *PROBES, '--force', '--out', 'a.html']
    samples, stages, peak = [], set(), 0
    with subprocess.Popen([binary, *args], cwd=folder, env=env, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, encoding='utf-8') as process:
        lines = []
        for line in process.stderr:
            lines = lines[-5:] + [line]
            stage = re.search(rf'\b{search} \d+B, stage (\d+) of', line)
            if stage is not None and stage[1] not in stages:
                stages.add(stage[1])
                rss, peak = memory_of(process)
                samples.append(rss)
            if len(stages) == count and stage is None and not to_the_end:
                process.kill()
                return samples, peak, None
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, f'exit code {process.returncode}\n{"".join(lines)}'
        return samples, peak, usage.ru_maxrss << 10


def check(binary, folder, search, count, to_the_end):
    samples, searched, peak = measure(binary, folder, search, count, to_the_end)
    assert len(samples) == count, f'{len(samples)} searches of {count} were seen'
    rise = slope(list(enumerate(samples))[count // 10:])
    print(f'{search}: {count} plans; VmRSS {samples[0] >> 10} KiB at the first, {samples[-1] >> 10} KiB at the last, '
          f'{rise / 1024:.2f} KiB per plan', flush=True)
    assert rise <= PLAN, f'{rise / 1024:.2f} KiB per plan, at most {PLAN >> 10}'
    if peak is not None:
        pairs = count * (count - 1) // 2
        print(f'{search}: VmHWM {searched >> 10} KiB in the searches, {peak >> 10} KiB with {pairs} comparisons',
              flush=True)
        allowed = searched + count * ON_PAGE + pairs * PAIR
        assert peak <= allowed, f'at most {allowed >> 10} KiB'


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('binary')
    parser.add_argument('source_dir')
    parser.add_argument('--count', type=int, default=1000)
    parser.add_argument('--only', choices=SEARCHES)
    args = parser.parse_args()
    folder = tempfile.mkdtemp(prefix='bitbudget-memory-')
    failures = 0
    try:
        # The program may be built anew while this runs.
        binary = shutil.copy(args.binary, os.path.join(folder, 'bitbudget'))
        write_model(os.path.join(folder, 'model'), Shape(), with_tokenizer=False)
        for i, search in enumerate(SEARCHES):
            if args.only not in (None, search):
                continue
            try:
                check(binary, folder, search, args.count, to_the_end=i == 0)
            except AssertionError as error:
                failures += 1
                print(f'FAILED --count {args.count} --only {search}: {error}', flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
