#!/usr/bin/env python3
"""Runs every benchmark of bitbudget-bench on small sizes and checks what its JSON holds.

    bench_test.py BITBUDGET_BENCH
"""

import json
import math
import os
import subprocess
import sys

FIELDS = ['bench', 'path', 'format', 'm', 'n', 'k', 'threads', 'gmac_per_s', 'tokens_per_s',
          'baseline', 'ratio', 'spread']
QUICK = ['--repetitions', '1', '--min-seconds', '0']
SMALL = ['--m', '1,13', '--n', '48', '--k', '96']
ONE_CASE = ['--formats', 'int4-g32', '--activations', 'int8', '--threads', '1']


def run(bench, args, tier=None):
    env = dict(os.environ)
    for name in ('OPENBLAS_CORETYPE', 'OPENBLAS_NUM_THREADS', 'BITBUDGET_CPU'):
        env.pop(name, None)
    if tier:
        env['BITBUDGET_CPU'] = tier
    return subprocess.run([bench, *args], env=env, capture_output=True, text=True, check=False)


def check_results(bench, name, args, tier=None):
    done = run(bench, [name, *args, *QUICK, '--json'], tier)
    assert done.returncode == 0, (name, args, done.stderr)
    report = json.loads(done.stdout)
    machine = report['machine']
    for field in ('cpu', 'compiler', 'flags', 'kernels', 'openblas_core'):
        assert machine[field], field
    if tier:
        assert machine['kernels'] == tier
    assert report['results']
    for result in report['results']:
        assert list(field for field in result if field in FIELDS) == FIELDS, result
        assert result['bench'] == name
        assert result['ratio'] > 0 and math.isfinite(result['ratio']), result
        speeds = [result[f] for f in ('gmac_per_s', 'tokens_per_s', 'gb_per_s', 'per_s')]
        assert any(speed is not None and speed > 0 for speed in speeds), result
    return report


def main():
    bench = sys.argv[1]
    for tier in (None, 'portable'):
        report = check_results(bench, 'linear', SMALL, tier)
        paths = {result['path'] for result in report['results']}
        assert paths == {'sgemm', 'F', 'I', 'U', 'V'}, paths
        assert {result['m'] for result in report['results']} == {1, 13}
        check_results(bench, 'kernels', SMALL, tier)
    if check_results(bench, 'kernels', SMALL)['machine']['kernels'] == 'avx2':
        report = check_results(bench, 'linear', ['--m', '24', '--n', '1920', *ONE_CASE])
        assert report['machine']['openblas_core'] == 'Haswell', report['machine']
        assert [r['target'] for r in report['results']] == [None, 2.5], report['results']
    model = os.path.join(os.path.dirname(__file__), '..', '..', 'tools', 'demo', 'models',
                         'novel-1m')
    report = check_results(bench, 'prefill', ['--model', model, '--tokens', '20', *ONE_CASE])
    assert [r['target'] for r in report['results']] == [0.8], report['results']
    report = check_results(bench, 'decode', ['--model', model, *ONE_CASE])
    assert [r['path'] for r in report['results']] == ['U', 'U matrices', 'read']
    check_results(bench, 'search', ['--probes', '4'])

    done = run(bench, ['linear', '--formats', 'int5', *QUICK])
    assert done.returncode == 1 and 'int5' in done.stderr, done
    assert run(bench, ['linear', '--m', '0']).returncode == 2
    assert run(bench, ['nothing']).returncode == 2
    assert run(bench, ['linear'], 'fast').returncode == 2
    print('bench: ok')


if __name__ == '__main__':
    main()
