#!/usr/bin/python3
"""What the style of this project asks for and a program can check."""

import json
import os
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'tests'))
from harness import check, equal, main, skip  # noqa: E402

MOST_LINES = 60

# Files whose subject is the difference between systems or builds may ask the preprocessor.
CONDITIONALS = set()

# GLib takes these tables without const, and does not change them.
NOT_CHANGED = {'GSourceFuncs'}


def sources(*patterns):
    """Files of the tree, without what a build made."""
    for directory in ('src', 'tests'):
        for pattern in patterns:
            yield from sorted((TOP / directory).rglob(pattern))


def texts():
    """Every text file of the tree with its lines. What git or a build made and the inputs of tests are not
    part of it."""
    for directory, names, files in os.walk(TOP):
        names[:] = [name for name in names if not re.match(r'\.git|\.cache|__pycache__|build|corpus|golden', name)]
        for name in sorted(files):
            path = pathlib.Path(directory) / name
            try:
                yield path.relative_to(TOP), path.read_text().split('\n')
            except UnicodeDecodeError:
                pass  # not a text


def test_function_length(t):
    paths = [str(path) for path in sources('*.c', '*.h')]
    told = subprocess.run(['ctags', '--output-format=json', '--c-kinds=f', '--fields=+ne', '-o', '-', *paths],
                          capture_output=True, check=True, text=True).stdout
    functions = [json.loads(line) for line in told.splitlines()]
    check(len(functions) > 10, 'ctags finds no functions')
    long = [f"{os.path.relpath(f['path'], TOP)}: {f['name']} has {f['end'] - f['line'] + 1} lines"
            for f in functions if f['end'] - f['line'] + 1 > MOST_LINES]
    equal(long, [], f'functions of more than {MOST_LINES} lines')


def variables(library):
    """(object, symbol) of everything in the library that can be written to at run time."""
    told = subprocess.run(['nm', '--format=sysv', library], capture_output=True, check=True, text=True).stdout
    member = ''
    for line in told.splitlines():
        fields = [field.strip() for field in line.split('|')]
        if line.startswith('Symbols from'):
            member = re.sub(r'.*[/\[]|[\]:]+$', '', line)
        elif len(fields) == 7 and re.match(r'\.(data|bss|tdata|tbss)(?!\.rel\.ro)|\*COM\*', fields[6]):
            yield member, fields[0].split('.')[0]


def test_mutable_globals(t):
    """State lives in structs; base/diag.c alone has some of its own."""
    library = os.environ.get('CONMON_LIBRARY') or skip('CONMON_LIBRARY is not set')
    constant = {name for path in sources('*.c') for kind in NOT_CHANGED
                for name in re.findall(rf'\b{kind}\s+(\w+)\s*=', path.read_text())}
    found = {(member, name) for member, name in variables(library)
             if member != 'base_diag.c.o' and name not in constant}
    equal(sorted(found), [], 'mutable globals')


def test_conditionals(t):
    """What differs between builds is a file of its own, chosen by Meson."""
    found = [f'{path.relative_to(TOP)}:{number}' for path in sources('*.c')
             for number, line in enumerate(path.read_text().split('\n'), 1)
             if re.match(r'\s*#\s*(if|ifdef|ifndef|elif|else)\b', line)
             and path.relative_to(TOP / 'src' if path.is_relative_to(TOP / 'src') else TOP).as_posix()
             not in CONDITIONALS]
    equal(found, [], 'conditional compilation')


def test_headers(t):
    """Guarded in one way, and without variables."""
    wrong = []
    for path in sources('*.h'):
        text = path.read_text()
        if not text.startswith('#pragma once\n'):
            wrong.append(f'{path.relative_to(TOP)} does not begin with #pragma once')
        wrong += [f'{path.relative_to(TOP)} declares {line}' for line in re.findall(r'^extern [^(\n]*;', text, re.M)]
    equal(wrong, [], 'headers')


def test_modules_have_headers(t):
    """x.c belongs to x.h; a variant such as x_stub.c belongs to that of x.c."""
    alone = [path.relative_to(TOP).as_posix() for path in sorted((TOP / 'src').rglob('*.c'))
             if path.name != 'main.c' and not path.with_suffix('.h').exists()
             and not (path.parent / re.sub(r'_[a-z]+\.c$', '.h', path.name)).exists()
             and path.parent.name != 'drivers']
    equal(alone, [], 'modules without a header')


def test_white_space(t):
    wrong = []
    for path, lines in texts():
        if lines[-1] or (len(lines) > 1 and lines[-2] == ''):
            wrong.append(f'{path} does not end with exactly one newline')
        wrong += [f'{path}:{number}' for number, line in enumerate(lines, 1) if line != line.rstrip()]
        if path.suffix in ('.c', '.h'):
            wrong += [f'{path}:{number} (tab)' for number, line in enumerate(lines, 1) if '\t' in line]
    equal(wrong, [], 'white space where none should be')


def test_line_length(t):
    """As .clang-format has it."""
    limit = int(re.search(r'^ColumnLimit: (\d+)$', (TOP / '.clang-format').read_text(), re.M).group(1))
    long = [f'{path.relative_to(TOP)}:{number}' for path in sources('*.c', '*.h')
            for number, line in enumerate(path.read_text().split('\n'), 1) if len(line) > limit]
    equal(long, [], f'lines of more than {limit} characters')


def test_expected_skips(t):
    """Every line has a pattern and a reason."""
    lines = (TOP / 'tests/expected-skips').read_text().splitlines()
    wrong = [line for line in lines if line and not line.startswith('#') and not re.fullmatch(r'\S.* -- \S.*', line)]
    equal(wrong, [], 'lines without a reason')


def test_shell_scripts(t):
    for path, lines in texts():
        if lines[0] == '#!/bin/sh' or path.suffix == '.sh':
            told = subprocess.run(['sh', '-n', TOP / path], capture_output=True, text=True)
            equal((told.returncode, told.stderr), (0, ''), f'sh -n {path}')


if __name__ == '__main__':
    main()
