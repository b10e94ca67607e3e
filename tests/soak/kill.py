#!/usr/bin/env python3
"""A job that is killed at any moment leaves nothing half-written, and ends as if it had not been killed.

    kill.py BINARY SOURCE_DIR [--count N] [--seed S]

plan, recover and apply are each killed N times (SIGKILL) at moments drawn
from the seed, each time in the folder that the last kill left. After a kill every output is absent or
whole; a job that then comes to its end has the outputs of one that was never killed, and leaves no
other file.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time

from jobs import PROBES, Job, Workplace, files

JOBS = (
    Job('plan', ['a.pb'], 'plan', 'model', '--budget', '6bpw', '--probes', '8', '--held-out-probes', '8',
        '--formats', 'int4-g64,int8', *PROBES, '--out', 'a.pb'),
    Job('recover', ['r.pb', 'r.pb.weights.safetensors'], 'recover', 'model', '--plan', 'plan.pb', '--out',
        'r.pb', '--steps', '20', '--sequences', '16', '--held-out-probes', '2', *PROBES,
        inputs=['plan.pb']),
    Job('apply', ['a.gguf'], 'apply', 'model', '--plan', 'gguf.pb', '--out', 'a.gguf', '--threads', '2',
        inputs=['gguf.pb']),
    Job('apply-folder', ['folder'], 'apply', 'model', '--plan', 'plan.pb', '--out', 'folder',
        '--threads', '2', inputs=['plan.pb']),
)


def kill(place, job, count, draw):
    """Returns (kills, times that the job ended between them)."""
    folder = place.prepare(job)
    begin = time.monotonic()
    code, err = place.run(folder, *job.args)
    assert code == 0, err
    whole_s = time.monotonic() - begin
    whole, whole_files = place.outputs(job, folder), files(folder)
    folder = place.prepare(job)
    kills = ends = 0
    while kills < count:
        with place.start(folder, *job.args) as process:
            time.sleep(draw.uniform(0, 1.1 * whole_s))
            process.kill()
            err = process.communicate(timeout=60)[1].decode('utf-8', 'replace')
            code = process.returncode
        now = place.outputs(job, folder)
        for name in job.outputs:
            assert now[name] in (None, whole[name]), f'{name} is half-written'
        if code == -signal.SIGKILL:
            kills += 1
            if None in now.values():
                continue
            place.prepare(job)
            continue
        assert code == 0, f'exit code {code}\n{err}'
        ends += 1
        assert now == whole, 'other outputs'
        left = sorted(set(files(folder)) - set(whole_files))
        assert not left, f'left behind: {left}'
        place.prepare(job)
    code, err = place.run(folder, *job.args)
    assert code == 0 and place.outputs(job, folder) == whole, f'in the end: exit code {code}\n{err}'
    left = sorted(set(files(folder)) - set(whole_files))
    assert not left, f'left behind: {left}'
    return kills, ends + 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('binary')
    parser.add_argument('source_dir')
    parser.add_argument('--count', type=int, default=100)
    parser.add_argument('--seed', type=int, default=1)
    args = parser.parse_args()
    folder = tempfile.mkdtemp(prefix='bitbudget-kill-')
    failures = 0
    try:
        place = Workplace(args.binary, args.source_dir, folder)
        for job in JOBS:
            try:
                kills, ends = kill(place, job, args.count, random.Random(f'{args.seed} {job.name}'))
                print(f'{job.name}: killed {kills} times, ended {ends} times as if it had not been',
                      flush=True)
            except AssertionError as error:
                failures += 1
                print(f'FAILED {job.name}: {error}', flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
