#!/usr/bin/env python3
"""Checks the picture of folders in docs/design.md against the table of layering_test.py and the includes.

    picture_test.py [--root DIR]     checks the tree
    picture_test.py --write          draws the picture again from the includes
    picture_test.py --self-check     checks that wrong pictures are found

The picture is a Mermaid flowchart with one line per folder: `name["folder"] --> name & name`. An arrow
means "includes". Arrows that follow from others are left out, so that every one says something.
"""

import argparse
import os
import re
import sys

from layering_test import INCLUDE, MAY_INCLUDE, SOURCES, folder_of

FOLDERS = {folder for folder in MAY_INCLUDE if folder != 'tests'}
NODE = r'\w+(?:\["[^"]+"\])?'
LINE = re.compile(rf'\s*({NODE})(?:\s*-->\s*({NODE}(?:\s*&\s*{NODE})*))?\s*')


def parse(document):
    """The arrows and the problems of the first Mermaid flowchart in a Markdown text."""
    block = re.search(r'^```mermaid\n(.*?)^```', document, re.DOTALL | re.MULTILINE)
    if block is None:
        return set(), ['no Mermaid flowchart']
    folders, named, problems = {}, [], []
    for line in block[1].splitlines():
        if not line.strip() or line.startswith('flowchart'):
            continue
        match = LINE.fullmatch(line)
        if match is None:
            problems.append(f'not understood: {line.strip()}')
            continue
        nodes = [re.fullmatch(r'(\w+)(?:\["([^"]+)"\])?', node.strip())
                 for node in [match[1]] + (match[2].split('&') if match[2] else [])]
        folders.update({node[1]: node[2] for node in nodes if node[2]})
        named.append([node[1] for node in nodes])
    arrows = set()
    for first, *others in named:
        for name in [first, *others]:
            if name not in folders:
                problems.append(f'{name} stands for no folder')
        arrows.update((folders.get(first), folders.get(other)) for other in others)
    problems += [f'{folder} is missing' for folder in sorted(FOLDERS - set(folders.values()))]
    problems += [f'{folder} is no folder of the table'
                 for folder in sorted(set(folders.values()) - FOLDERS)]
    return arrows, problems


def includes(root):
    """Every pair of folders of which the first includes the second."""
    pairs = set()
    for top in sorted({folder.split('/')[0] for folder in FOLDERS}):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in names:
                if not name.endswith(SOURCES):
                    continue
                path = os.path.join(folder, name)
                source = folder_of(os.path.relpath(path, root).replace(os.sep, '/'))
                with open(path, encoding='utf-8') as file:
                    text = file.read()
                pairs |= {(source, folder_of(match[2])) for match in INCLUDE.finditer(text)}
    return {(a, b) for a, b in pairs if a and b and a != b}


def reachable(arrows):
    """Every pair (a, b) with a way from a to b."""
    pairs = set(arrows)
    while True:
        more = {(a, d) for a, b in pairs for c, d in pairs if b == c} - pairs
        if not more:
            return pairs
        pairs |= more


def reduced(arrows):
    """The arrows that do not follow from others."""
    closure = reachable(arrows)
    return {(a, b) for a, b in arrows
            if not any((a, c) in closure and (c, b) in closure for c in FOLDERS - {a, b})}


def compare(arrows, real):
    """What is wrong with a picture's arrows, given the real includes."""
    closure = reachable(arrows)
    problems = [f'{a} lies on a circle' for a in sorted(FOLDERS) if (a, a) in closure]
    problems += [f'{a} --> {b}: {a} does not include {b}' for a, b in sorted(arrows - real)]
    problems += [f'{a} --> {b}: the table does not allow it'
                 for a, b in sorted(arrows) if b not in MAY_INCLUDE.get(a, ())]
    problems += [f'{a} includes {b}, and no way leads there' for a, b in sorted(real - closure)]
    if not problems:
        problems += [f'{a} --> {b}: follows from the other arrows'
                     for a, b in sorted(arrows - reduced(arrows))]
    return problems


def drawing(real):
    """The lines of the picture, from the top of the tree down."""
    arrows = reduced(real)
    depth = {folder: sum(1 for pair in reachable(real) if pair[0] == folder) for folder in FOLDERS}

    def name(folder):
        return re.sub(r'\W', '_', folder.removeprefix('runtime/').removeprefix('model/'))

    lines = []
    for folder in sorted(FOLDERS, key=lambda f: (-depth[f], f)):
        targets = sorted((b for a, b in arrows if a == folder), key=lambda f: (-depth[f], f))
        lines.append(f'  {name(folder)}["{folder}"]'
                     + (' --> ' + ' & '.join(map(name, targets)) if targets else ''))
    return lines


def self_check():
    real = {(a, b) for a in FOLDERS for b in MAY_INCLUDE[a]}
    right = '```mermaid\nflowchart TD\n' + '\n'.join(drawing(real)) + '\n```\n'

    def problems_of(text):
        arrows, problems = parse(text)
        return problems or compare(arrows, real)

    failures = [f'a right picture is reported: {problem}' for problem in problems_of(right)]
    wrong = {
        'no picture': '',
        'an arrow upwards': right.replace('\n```\n', '\n  base --> tools\n```\n'),
        'an arrow too many': right.replace('\n```\n', '\n  tools --> base\n```\n'),
        'an unknown folder': right.replace('"search"', '"searching"'),
        'an unknown name': right.replace('\n```\n', '\n  nothing --> base\n```\n'),
        'a missing arrow': re.sub(r'(  tensor\["runtime/tensor"\]).*', r'\1', right),
        'a line that means nothing': right.replace('\n```\n', '\n  a -> b\n```\n'),
    }
    failures += [f'{name} is not reported' for name, text in wrong.items() if not problems_of(text)]
    return failures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--root', default=os.path.join(os.path.dirname(__file__), '..', '..'))
    parser.add_argument('--write', action='store_true')
    parser.add_argument('--self-check', action='store_true')
    args = parser.parse_args()
    if args.self_check:
        problems = self_check()
    else:
        real = includes(args.root)
        page = os.path.join(args.root, 'docs', 'design.md')
        with open(page, encoding='utf-8') as file:
            text = file.read()
        if args.write:
            lines = '\n'.join(['```mermaid', 'flowchart TD', *drawing(real), ''])
            text = re.sub(r'^```mermaid\n.*?(?=^```)', lambda match: lines, text,
                          flags=re.DOTALL | re.MULTILINE)
            with open(page, 'w', encoding='utf-8') as file:
                file.write(text)
        arrows, problems = parse(text)
        problems = problems or compare(arrows, real)
    for problem in problems:
        print(f'docs/design.md: {problem}', file=sys.stderr)
    print(f'picture: {"ok" if not problems else f"{len(problems)} problems"}')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
