#!/usr/bin/env python3
"""Checks that every #include respects the order between folders (CONTRIBUTING.md, "The ladder").

A folder may include itself and what the table gives it, and third-party headers only where the
table says so. Also checks that every header's guard is BITBUDGET_<PATH>_H_.

    layering_test.py [--root DIR]     checks the tree
    layering_test.py --self-check     checks that wrong includes and guards are found
"""

import argparse
import os
import re
import sys
import tempfile

# Folder -> the project folders to its left that it may include. A folder stands for what is below
# it as far as that has no line of its own.
MAY_INCLUDE = {}
_chain = ['runtime/base', 'runtime/tensor', 'runtime/kernels', 'runtime/model/checkpoint',
          'runtime/model/tokenizer', 'runtime/model/architecture', 'runtime/model/decoder',
          'runtime/quantize', 'runtime/training', 'runtime/eval', 'scoring', 'search']
for _i, _folder in enumerate(_chain):
    MAY_INCLUDE[_folder] = set(_chain[:_i])
MAY_INCLUDE['plans'] = {'runtime/base', 'runtime/tensor'}
MAY_INCLUDE['plans/targets'] = {'runtime/base', 'runtime/tensor', 'plans'}
MAY_INCLUDE['planner/workspace'] = set(_chain) | {'plans', 'plans/targets'}
MAY_INCLUDE['planner/runs'] = MAY_INCLUDE['planner/workspace'] | {'planner/workspace'}
MAY_INCLUDE['planner/output'] = MAY_INCLUDE['planner/workspace'] | {'planner/workspace'}
MAY_INCLUDE['planner/jobs'] = MAY_INCLUDE['planner/runs'] | {'planner/runs', 'planner/output'}
MAY_INCLUDE['tools'] = MAY_INCLUDE['planner/jobs'] | {'planner/jobs'}
MAY_INCLUDE['tests'] = None  # may include anything

# First part of a third-party include -> the folders that may use it. Abseil, glog and OpenMP are
# for all.
THIRD_PARTY = {
    'absl': None,
    'glog': None,
    'omp.h': None,
    'openssl': {'runtime/base'},
    'nlohmann': {'runtime/base', 'runtime/model/checkpoint', 'runtime/model/tokenizer',
                 'runtime/model/architecture', 'plans/targets', 'planner/output', 'tools'},
    'pcre2.h': {'runtime/base'},
    'utf8proc.h': {'runtime/base'},
    'sqlite3.h': {'runtime/base'},
    'immintrin.h': {'runtime/kernels'},
    'cpuid.h': {'runtime/kernels'},
    'sentencepiece_processor.h': {'runtime/model/tokenizer'},
    'Eigen': {'runtime/quantize', 'runtime/training', 'scoring'},
    'ceres': {'runtime/quantize', 'search'},
    'google': {'plans', 'planner/jobs', 'planner/output', 'planner/runs', 'tools'},  # protobuf
    'mpi.h': {'planner/runs'},
    'CLI': {'tools'},
    'toml++': {'tools'},
    'bitbudget': {'tools'},  # the public header, as users include it
    'pybind11': {'tools'},
    'gflags': {'tools'},  # glog's switches
    'benchmark': {'tools'},
    'cblas.h': {'tools'},  # what bitbudget-bench compares with
}

SYSTEM = re.compile(r'(sys|netinet|arpa)/\w+\.h|\w+(\.h)?')  # the C, C++ and POSIX libraries
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.MULTILINE)
SOURCES = ('.h', '.cc', '.inc')


def folder_of(path):
    """The innermost folder of the table that holds `path`, or None."""
    holders = [folder for folder in MAY_INCLUDE if path.startswith(folder + '/')]
    return max(holders, key=len, default=None)


def check_include(folder, quote, target):
    """What is wrong with one include, or None."""
    target_folder = folder_of(target)
    if target_folder is not None:
        allowed = MAY_INCLUDE[folder]
        if allowed is None or target_folder == folder or target_folder in allowed:
            return None
        return f'{folder} must not include {target_folder}'
    first = target.split('/')[0]
    if first in THIRD_PARTY:
        allowed = THIRD_PARTY[first]
        if allowed is None or folder == 'tests' or folder in allowed:
            return None
        return f'{folder} must not use {first}'
    if quote == '"':
        return 'not a path from the root'
    if SYSTEM.fullmatch(target) or folder == 'tests':
        return None
    return f'{folder} uses {first}, which is not in the table of third-party headers'


def check_guard(path, text):
    guard = 'BITBUDGET_' + re.sub(r'[^A-Z0-9]', '_', path.upper()) + '_'
    lines = [line for line in text.splitlines() if line.startswith('#')]
    if (len(lines) >= 3 and lines[0] == f'#ifndef {guard}' and lines[1] == f'#define {guard}'
            and lines[-1].startswith('#endif')):
        return None
    return f'include guard is not {guard}'


def check_tree(root):
    """(number of files, problems as "path: what" lines)."""
    problems = []
    count = 0
    for top in sorted({folder.split('/')[0] for folder in MAY_INCLUDE}):
        for directory, _, names in sorted(os.walk(os.path.join(root, top))):
            for name in sorted(names):
                if not name.endswith(SOURCES):
                    continue
                count += 1
                full = os.path.join(directory, name)
                path = os.path.relpath(full, root).replace(os.sep, '/')
                folder = folder_of(path)
                if folder is None:
                    problems.append(f'{path}: in no folder of the table')
                    continue
                with open(full, encoding='utf-8') as file:
                    text = file.read()
                for match in INCLUDE.finditer(text):
                    problem = check_include(folder, match[1], match[2])
                    if problem:
                        line = text.count('\n', 0, match.start(2)) + 1
                        problems.append(f'{path}:{line}: {match[2]}: {problem}')
                if name.endswith('.h'):
                    problem = check_guard(path, text)
                    if problem:
                        problems.append(f'{path}: {problem}')
    return count, problems


def self_check():
    """Every wrong file must be reported, no right one."""
    def header(path, body=''):
        guard = 'BITBUDGET_' + path.upper().replace('/', '_').replace('.', '_') + '_'
        return f'#ifndef {guard}\n#define {guard}\n{body}\n#endif  // {guard}\n'

    right = {
        'runtime/base/a.h': header('runtime/base/a.h', '#include <openssl/sha.h>'),
        'runtime/kernels/a.cc': '#include <immintrin.h>\n#include "runtime/tensor/a.h"\n',
        'search/a.cc': '#include <sys/mman.h>\n#include <vector>\n#include "scoring/a.h"\n',
        'plans/a.cc': '#include <google/protobuf/message.h>\n#include "plans/plan.pb.h"\n',
        'tools/a.cc': '#include "planner/jobs/a.h"\n#include "CLI/CLI.hpp"\n#include "absl/a.h"\n',
        'planner/jobs/a.cc': '#include "planner/output/a.h"\n#include "planner/runs/a.h"\n',
        'runtime/model/decoder/a.cc': '#include "runtime/model/checkpoint/a.h"\n',
        'tests/model/a.cc': '#include <gtest/gtest.h>\n#include "planner/jobs/a.h"\n',
    }
    wrong = {
        'runtime/base/b.cc': '#include "runtime/tensor/b.h"\n',
        'runtime/tensor/b.cc': '#include "plans/plan.pb.h"\n',
        'runtime/model/decoder/b.cc': '  #  include "runtime/eval/b.h"\n',
        'runtime/model/checkpoint/b.cc': '#include "runtime/model/tokenizer/b.h"\n',
        'runtime/quantize/b.cc': '#include "runtime/eval/b.h"\n',
        'scoring/b.cc': '#include "search/b.h"\n',
        'search/b.cc': '#include "plans/validate.h"\n',
        'search/c.cc': '#include <google/protobuf/message.h>\n',
        'plans/b.cc': '#include "runtime/model/decoder/b.h"\n',
        'plans/c.cc': '#include "search/b.h"\n',
        'plans/d.cc': '#include "plans/targets/b.h"\n',
        'planner/jobs/b.cc': '#include "tools/b.h"\n',
        'planner/jobs/c.cc': '#include <CLI/CLI.hpp>\n',
        'planner/runs/b.cc': '#include "planner/jobs/b.h"\n',
        'planner/output/b.cc': '#include "planner/runs/b.h"\n',
        'planner/b.cc': '\n',
        'runtime/kernels/b.cc': '#include <boost/any.hpp>\n',
        'runtime/eval/b.cc': '#include "b.h"\n',
        'tools/b.cc': '#include "tests/support/b.h"\n',
        'runtime/other/b.cc': '\n',
        'plans/b.h': '#ifndef PLANS_B_H\n#define PLANS_B_H\n#endif\n',
        'plans/c.h': '#pragma once\n',
    }
    with tempfile.TemporaryDirectory() as root:
        for path, text in {**right, **wrong}.items():
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, 'w', encoding='utf-8') as file:
                file.write(text)
        count, problems = check_tree(root)
    reported = {problem.split(':')[0] for problem in problems}
    failures = [f'{path}: wrong, but not reported' for path in wrong if path not in reported]
    failures += [f'{path}: right, but reported' for path in right if path in reported]
    if count != len(right) + len(wrong):
        failures.append(f'{count} files read, {len(right) + len(wrong)} written')
    return failures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--root', default=os.path.join(os.path.dirname(__file__), '..', '..'))
    parser.add_argument('--self-check', action='store_true')
    args = parser.parse_args()
    if args.self_check:
        problems, what = self_check(), 'layering self-check'
    else:
        count, problems = check_tree(args.root)
        if count == 0:
            problems = [f'{args.root}: no sources found']
        what = f'layering of {count} files'
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f'{what}: {"ok" if not problems else f"{len(problems)} problems"}')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
