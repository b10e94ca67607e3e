#!/usr/bin/env python3
"""Checks README.md, CONTRIBUTING.md and docs/*.md: no placeholder, no dead link, no path to a file that
is not there, no table of measurements that no script can make again, no command or option that the
program does not know.

    docs_test.py BINARY SOURCE_DIR               checks the pages
    docs_test.py BINARY SOURCE_DIR --self-check  checks that pages with each fault are reported
"""

import functools
import glob
import os
import re
import shlex
import subprocess
import sys
import tempfile

# Options of other programs that the pages mention.
FOREIGN_OPTIONS = {
    '--tensor-type', '--tensor-type-file', '--custom-q', '--pure',  # llama-quantize
    '--preset', '--build', '--target', '--output-on-failure',  # cmake, ctest
    '--bind-to', '--map-by', '--signal', '--requeue',  # mpirun, sbatch
}
FOLDERS = ('runtime', 'scoring', 'search', 'plans', 'planner', 'tools', 'tests', 'docs', 'cmake', '.ci')
SUFFIXES = ('', '.h', '.cc', '.py', '.sh')
# A column of one of these is measured; a table that has it stands between result markers.
MEASURED = re.compile(r'\b(KL|FDT|SDT|perplexity|top-1|GMAC/s|GB/s|tokens/s|weights/s|seconds)\b')
MARKER = re.compile(r'<!--\s*(/?)results:(\S*)\s*-->')
FENCE = re.compile(r'^[ \t]*```(.*)$')


def pages(root):
    names = ['README.md', 'CONTRIBUTING.md']
    names += sorted(os.path.relpath(path, root) for path in glob.glob(os.path.join(root, 'docs/*.md')))
    return [name for name in names if os.path.exists(os.path.join(root, name))]


class Page:
    """A Markdown file as numbered lines of prose, and its blocks of code."""

    def __init__(self, root, name):
        self.root, self.name = root, name
        with open(os.path.join(root, name), encoding='utf-8') as file:
            self.text = file.read()
        self.prose, self.code = [], []  # (number, line)
        fenced = False
        before_is_text = False
        for number, line in enumerate(self.text.splitlines(), 1):
            if FENCE.match(line):
                fenced = not fenced
                continue
            # Four spaces are code, unless they continue a paragraph or an item of a list.
            indented = line.startswith('    ') and not before_is_text
            (self.code if fenced or indented else self.prose).append((number, line))
            before_is_text = bool(line.strip()) and not indented
        self.problems = []

    def report(self, number, what):
        self.problems.append(f'{self.name}:{number}: {what}')

    def path(self, relative):
        return os.path.normpath(os.path.join(self.root, os.path.dirname(self.name), relative))


def check_placeholders(page):
    for number, line in page.prose + page.code:
        if re.search(r'\b(TODO|FIXME|XXX|TBD)\b', line):
            page.report(number, 'a placeholder')
    for number, line in page.prose:
        if re.fullmatch(r'[\s*_]*[A-Z]{3,}[\s*_.:]*', line):
            page.report(number, f'{line.strip()} alone on a line: a placeholder?')


@functools.lru_cache(None)
def anchors(path):
    """The fragments of a Markdown file's headings, as GitHub makes them."""
    found = set()
    with open(path, encoding='utf-8') as file:
        for line in file:
            match = re.match(r'#{1,6} +(.*?)#*\s*$', line)
            if match:
                text = re.sub(r'[`*]|\[|\]\([^)]*\)', '', match[1]).strip().lower()
                found.add(re.sub(r' ', '-', re.sub(r'[^\w\- ]', '', text)))
    return found


def check_links(page):
    for number, line in page.prose:
        for target in re.findall(r'\]\(([^)\s]+)\)', re.sub(r'`[^`]*`', '', line)):
            if re.match(r'(https?|mailto):', target):
                continue
            path, _, fragment = target.partition('#')
            full = page.path(path) if path else os.path.join(page.root, page.name)
            if not os.path.exists(full):
                page.report(number, f'dead link {target}')
            elif fragment and fragment not in anchors(full):
                page.report(number, f'dead link {target}: no such heading')


def spellings(path):
    """The paths that `a/b.{h,cc}` stands for."""
    match = re.search(r'\{([^}]*)\}', path)
    if match is None:
        return [path]
    return [path[:match.start()] + part + path[match.end():] for part in match[1].split(',')]


@functools.lru_cache(None)
def basenames(root):
    names = set()
    for folder in FOLDERS:
        for _, _, files in os.walk(os.path.join(root, folder)):
            names.update(files)
    return names


def check_paths(page):
    for number, line in page.prose:
        for code in re.findall(r'`([^`]+)`', line):
            word = code.strip().rstrip('/')
            if re.fullmatch(r'[\w.\-]+(/[\w.\-*{},]+)+', word) and word.split('/')[0] in FOLDERS:
                for path in spellings(word):
                    if 'my_' in path or 'NAME' in path:  # what a guide tells the reader to write
                        continue
                    if not any(glob.glob(os.path.join(page.root, path + suffix))
                               for suffix in SUFFIXES):
                        page.report(number, f'no file {path}')
            elif re.fullmatch(r'[a-z_0-9]+\.(h|cc|proto|sh)', word) and not word.startswith('my_'):
                if word not in basenames(page.root) and word.replace('.pb.h', '') == word:
                    page.report(number, f'no file {word}')


def tables(page):
    """(number of the first line, headings, inside a marker) of every table of a page."""
    inside = False
    before = None
    for number, line in page.prose:
        for closing, _ in MARKER.findall(re.sub(r'`[^`]*`', '', line)):
            inside = not closing
        if re.fullmatch(r'\s*\|(\s*:?-+:?\s*\|)+\s*', line) and before is not None:
            yield before[0], before[1], inside
        before = (number, line)


def check_tables(page):
    for number, headings, inside in tables(page):
        measured = MEASURED.search(headings)
        if measured and not inside:
            page.report(number, f'a table with {measured[1]} outside of result markers')


def check_markers(page, known):
    """`known`: name -> page that it belongs to. Returns the names found."""
    found = []
    opened = None
    for number, line in page.prose:
        for closing, name in MARKER.findall(re.sub(r'`[^`]*`', '', line)):
            if closing:
                if name != opened:
                    page.report(number, f'marker /results:{name} closes results:{opened}')
                opened = None
                continue
            if opened is not None:
                page.report(number, f'marker results:{opened} is not closed')
            opened = name
            found.append(name)
            if known.get(name) != page.name:
                page.report(number, f'marker results:{name}: tools/results.sh writes no such table here')
    if opened is not None:
        page.report(0, f'marker results:{opened} is not closed')
    return found


class Program:
    """What a program's --help knows."""

    def __init__(self, command):
        self.command = command

    @functools.lru_cache(None)
    def help(self, *words):
        done = subprocess.run([*self.command, *words, '--help'], capture_output=True, text=True,
                              check=False)
        return done.stdout if done.returncode == 0 else None

    def options(self, *words):
        return set(re.findall(r'(?<![\w-])--?[a-zA-Z][\w-]*', self.help(*words) or ''))

    def subcommands(self, *words):
        listed = re.search(r'^Subcommands:\n((?:  .*\n)+)', self.help(*words) or '', re.MULTILINE)
        return re.findall(r'^  (\w+)', listed[1], re.MULTILINE) if listed else []

    def check(self, words):
        """What is wrong with the words behind the program's name, or None."""
        if self.help() is None:
            return 'has no --help'
        if words[:1] == ['help']:
            words = [*words[1:], '--help']
        chosen = []
        while True:
            names = self.subcommands(*chosen)
            rest = words[len(chosen):]
            if not names or not rest or rest[0].startswith('-') or not re.fullmatch(r'[a-z]+', rest[0]):
                break
            if rest[0] not in names:
                return f'unknown command {" ".join(chosen + rest[:1])}'
            chosen.append(rest[0])
        known = self.options(*chosen) | {'--help', '-h'}
        for word in words[len(chosen):]:
            option = re.match(r'--?[a-zA-Z][\w-]*', word)
            if option and option[0] not in known:
                return f'{" ".join(chosen)} has no option {option[0]}'
        return None

    def every_option(self):
        found = self.options()
        for name in self.subcommands():
            found |= self.options(name)
            for inner in self.subcommands(name):
                found |= self.options(name, inner)
        return found


class Script(Program):
    """A shell script: its options are those that its text names."""

    def help(self, *words):
        with open(self.command[0], encoding='utf-8') as file:
            return file.read()


def command_lines(page):
    """(number, words) of every line of code that calls a program, comments and pipes left out."""
    lines = list(page.code)
    for number, line in page.prose:
        lines += [(number, code) for code in re.findall(r'`([^`]+)`', line)]
    joined = []
    for number, line in lines:
        if joined and joined[-1][1].endswith('\\'):
            joined[-1] = (joined[-1][0], joined[-1][1][:-1] + line)
        else:
            joined.append((number, line))
    for number, line in joined:
        lexer = shlex.shlex(line.replace('…', ''), posix=True, punctuation_chars='|&;()<>')
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:
            continue
        command = []
        for word in words + [';']:
            if re.fullmatch(r'[|&;()<>]+', word):
                if command:
                    yield number, command
                command = []
            else:
                command.append(word)


def programs(binary, root):
    """Name as pages write it -> Program."""
    found = {'bitbudget': Program([binary])}
    bench = os.path.join(os.path.dirname(binary), 'bitbudget-bench')
    if os.path.exists(bench):
        found['bitbudget-bench'] = Program([bench])
    for pattern in ('tools/*.py', 'tools/reproduce/*.py', 'tools/peer/*.py'):
        for path in glob.glob(os.path.join(root, pattern)):
            with open(path, encoding='utf-8') as file:
                if 'argparse' in file.read() or 'reproduce' in pattern:
                    found[os.path.relpath(path, root)] = Program([sys.executable, '-B', path])
    for path in glob.glob(os.path.join(root, 'tools/*.sh')):
        found[os.path.relpath(path, root)] = Script([path])
    return found


def check_commands(page, known):
    options = set(FOREIGN_OPTIONS)
    for program in known.values():
        options |= program.every_option()
    for number, words in command_lines(page):
        while words and re.match(r'\w+=', words[0]):  # variables that are set for the command
            words = words[1:]
        for index, word in enumerate(words):
            if word in known and (index == 0 or words[0] == 'mpirun'):
                problem = known[word].check(words[index + 1:])
                if problem:
                    page.report(number, f'{word}: {problem}')
                break
    for number, line in page.prose:
        for code in re.findall(r'`(--[a-z][\w-]*)', line):
            if code not in options:
                page.report(number, f'no program has the option {code}')


def result_tables(root):
    """Name -> page of every table that tools/results.sh writes."""
    done = subprocess.run([os.path.join(root, 'tools', 'results.sh'), '--list'],
                          capture_output=True, text=True, check=True)
    return dict(line.split()[:2] for line in done.stdout.splitlines())


def check(root, names, known_programs, known_tables):
    problems, found = [], []
    for name in names:
        page = Page(root, name)
        check_placeholders(page)
        check_links(page)
        check_paths(page)
        check_tables(page)
        found += check_markers(page, known_tables)
        check_commands(page, known_programs)
        problems += page.problems
    problems += [f'tools/results.sh: results:{name} has {found.count(name)} markers in {page}'
                 for name, page in known_tables.items() if found.count(name) != 1]
    return problems


# One fault each, and a part of the message that must say so.
FAULTS = [
    ('CLAIMS\n', 'placeholder'),
    ('Here a table is TODO.\n', 'placeholder'),
    ('See [this](docs/nothing.md).\n', 'dead link'),
    ('See [this](#nowhere).\n', 'no such heading'),
    ('In `runtime/nowhere/file.cc`.\n', 'no file'),
    ('In `no_such_file.cc`.\n', 'no file'),
    ('In `runtime/base/{json,nothing}.h`.\n', 'no file'),
    ('| format | KL |\n|---|---|\n| int8 | 0.1 |\n', 'outside of result markers'),
    ('<!-- results:nothing -->\n<!-- /results:nothing -->\n', 'no such table'),
    ('<!-- results:table -->\n', 'not closed'),
    ('    bitbudget frobnicate MODEL\n', 'unknown command'),
    ('Run `bitbudget plan MODEL --nonsense 3`.\n', 'no option --nonsense'),
    ('```sh\nbitbudget runs list\n```\n', 'unknown command runs list'),
    ('Say `--nonsense`.\n', 'no program has the option'),
    ('    tools/test.sh --nonsense\n', 'no option --nonsense'),
    ('    mpirun -n 4 bitbudget plan MODEL --rank 3\n', 'no option --rank'),
]
RIGHT = ('# A heading\n\nSee [this](#a-heading), `runtime/base/json.h`, `tests/model/` and `json.h`.\n\n'
         '    bitbudget plan MODEL --budget 4bpw --out plan.pb | less -R\n\n'
         '<!-- results:table -->\n| format | KL |\n|---|---|\n| int8 | 0.1 |\n<!-- /results:table -->\n')


def self_check(root, known_programs):
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        for name in FOLDERS:
            if os.path.isdir(os.path.join(root, name)):
                os.symlink(os.path.join(root, name), os.path.join(folder, name))

        def problems_of(text):
            with open(os.path.join(folder, 'README.md'), 'w', encoding='utf-8') as file:
                file.write(text)
            anchors.cache_clear()
            return check(folder, ['README.md'], known_programs, {'table': 'README.md'})

        failures += [f'a right page is reported: {problem}' for problem in problems_of(RIGHT)]
        for fault, part in FAULTS:
            problems = problems_of(RIGHT + '\n' + fault)
            if not any(part in problem for problem in problems):
                failures.append(f'not reported as "{part}": {fault!r}, but {problems}')
        problems = problems_of('Nothing.\n')
        if not any('has 0 markers' in problem for problem in problems):
            failures.append('a table of tools/results.sh without its marker is not reported')
    return failures


def main():
    binary, root = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    known_programs = programs(binary, root)
    if '--self-check' in sys.argv:
        problems = self_check(root, known_programs)
    else:
        problems = check(root, pages(root), known_programs, result_tables(root))
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f'docs: {"ok" if not problems else f"{len(problems)} problems"}')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
