#!/usr/bin/env python3
"""Runs the commands of README.md, docs/usage.md and docs/questions.md as they stand, in order, each page in an empty folder.

    readme_test.py BINARY SOURCE_DIR [MPIRUN]

A block that begins with ```sh runs in the empty folder; one that begins with ```sh checkout belongs to
the checkout: its scripts must be there and parse, what it exports holds for the blocks that follow.
"""

import os
import re
import subprocess
import sys
import tempfile

PAGES = ('README.md', 'docs/usage.md', 'docs/questions.md')
BLOCK = re.compile(r'^```sh([^\n]*)\n(.*?)^```', re.DOTALL | re.MULTILINE)


def blocks(text):
    """(of the checkout, commands) of every shell block."""
    return [(info.strip() == 'checkout', body) for info, body in BLOCK.findall(text)]


def exports(body):
    return [line for line in body.splitlines() if line.startswith('export ')]


def check_scripts(source, body):
    """The scripts that a checkout block names exist, are executable and parse."""
    problems = []
    for script in re.findall(r'^\s*(tools/[\w./-]+)', body, re.MULTILINE):
        path = os.path.join(source, script)
        if not os.access(path, os.X_OK):
            problems.append(f'{script} is no executable file')
        elif subprocess.run(['bash', '-n', path], check=False).returncode != 0:
            problems.append(f'{script} does not parse')
    return problems


def run_page(name, text, binary, source, mpirun):
    problems = []
    script = ['set -euo pipefail', f'cd {source!r}']
    usage = []
    for of_checkout, body in blocks(text):
        if of_checkout:
            problems += check_scripts(source, body)
            script += exports(body)
        elif mpirun or 'mpirun' not in body:
            usage.append(body)
    # The binary under test goes first, whatever folder the page names.
    script += [f'export PATH={os.path.dirname(binary)!r}:"$PATH"', 'cd "$1"', 'set -x', *usage]
    environment = {key: value for key, value in os.environ.items() if key != 'BITBUDGET_CPU'}
    environment.update(OMPI_ALLOW_RUN_AS_ROOT='1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM='1',
                       OMPI_MCA_rmaps_base_oversubscribe='1', OMP_WAIT_POLICY='passive')
    with tempfile.TemporaryDirectory(prefix='bitbudget-readme-') as folder:
        done = subprocess.run(['bash', '-c', '\n'.join(script), name, folder], env=environment,
                              capture_output=True, text=True, errors='replace', check=False)
    if done.returncode != 0:
        commands = [line for line in done.stderr.splitlines() if line.startswith('+')]
        problems.append(f'exit code {done.returncode} of {commands[-1] if commands else "set-up"}\n'
                        + '\n'.join(done.stderr.splitlines()[-5:]))
    if not usage:
        problems.append('no commands to run')
    return problems


def main():
    binary, source = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    mpirun = len(sys.argv) > 3 and bool(sys.argv[3])  # else blocks with mpirun are left out
    failed = False
    for name in PAGES:
        with open(os.path.join(source, name), encoding='utf-8') as file:
            text = file.read()
        for problem in run_page(name, text, binary, source, mpirun):
            print(f'{name}: {problem}', file=sys.stderr)
            failed = True
    # A page with a command that fails, or with a script that is not there, must be noticed.
    for wrong in ('```sh\nbitbudget show nothing.pb\ntrue\n```\n',
                  '```sh checkout\ntools/nothing.sh\n```\n```sh\ntrue\n```\n', 'No commands.\n'):
        if not run_page('wrong', wrong, binary, source, mpirun):
            print(f'not noticed: {wrong!r}', file=sys.stderr)
            failed = True
    print(f'readme: {"failed" if failed else "ok"}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
