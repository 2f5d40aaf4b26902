#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Rules of the coding style that a program can check."""

import fnmatch
import json
import os
import re
import subprocess

from rules import numbered, rule, run
from harness import check, skip

MOST_LINES = 60
CODE = {'below': ('src', 'tests')}

# Files that may use conditional compilation, because they handle differences between systems or builds.
CONDITIONALS = set()

# Objects with state that there is once in a process: the monitor's own messages, and the main loop.
MUTABLE = {'base_diag.c.o', 'base_watch.c.o'}


@rule({'src/base/a.c': 'void\nf(void)\n{\n' + '        g();\n' * (MOST_LINES - 2) + '}\n'})
def functions_are_short(tree):
    paths = [str(tree.top / path) for path in tree.paths('*.[ch]', **CODE)]
    done = subprocess.run(['ctags', '--output-format=json', '--c-kinds=f', '--fields=+ne', '-o', '-', *paths],
                          capture_output=True, check=True, text=True).stdout
    functions = [json.loads(line) for line in done.splitlines()]
    check(functions, 'ctags finds no functions')
    return [f"{os.path.relpath(f['path'], tree.top)}: {f['name']} has {f['end'] - f['line'] + 1} lines"
            for f in functions if f['end'] - f['line'] + 1 > MOST_LINES]


def variables(listing):
    """(object, symbol) of all variables in nm's output for a library that are writable at run time."""
    member = ''
    for line in listing.splitlines():
        fields = [field.strip() for field in line.split('|')]
        if line.startswith('Symbols from'):
            member = re.sub(r'.*[/\[]|[\]:]+$', '', line)
        elif len(fields) == 7 and re.match(r'\.(data|bss|tdata|tbss)(?!\.rel\.ro)|\*COM\*', fields[6]):
            yield member, fields[0].split('.')[0]


def mutable(library):
    """Mutable variables of a library, except in the files that may have some."""
    listing = subprocess.run(['nm', '--format=sysv', library], capture_output=True, check=True, text=True).stdout
    return [f'{member}: {name}' for member, name in variables(listing) if member not in MUTABLE]


@rule({'src/base/a.c': 'static int counter;\nint next(void) { return counter++; }\n'},
      {'src/base/a.c': 'int counter = 1;\n'}, {'src/base/a.c': '__thread int counter;\n'})
def state_lives_in_structs(tree):
    library = os.environ.get('CONMON_LIBRARY') or skip('CONMON_LIBRARY is not set')
    if not (tree.top / 'meson.build').exists():  # an example
        library = tree.top / 'a.a'
        subprocess.run(['cc', '-c', tree.top / 'src/base/a.c', '-o', tree.top / 'a.o'], check=True)
        subprocess.run(['ar', 'rc', library, tree.top / 'a.o'], check=True)
    tree.seen += 1  # the library
    return mutable(library)


@rule({'src/base/a.c': 'int x;\n#ifdef __linux__\nint y;\n#endif\n'})
def no_conditional_compilation(tree):
    return [f'{path}:{number}' for path, text in tree.texts('*.c', **CODE) for number, line in numbered(text)
            if re.match(r'\s*#\s*(if|ifdef|ifndef|elif|else)\b', line) and path.as_posix() not in CONDITIONALS]


# The first lines of each source file, after an optional #! line.
SOURCES = ('*.[ch]', '*.py', '*.sh', '*.js', 'meson.build', 'meson_options.txt', '*.[1-9]', '_*ctl', '*.bash', '*.fish')
LICENSE = re.compile(r'(#!?\S.*\n)?\S+ SPDX-License-Identifier: Apache-2\.0( \*/)?\n\S+ Copyright The conmon 3 authors( \*/)?\n')


@rule({'src/a.c': 'int x;\n'}, {'a.py': '#!/usr/bin/python3\n'}, {'contrib/a': '#!/bin/sh\n'},
      {'meson.build': '# SPDX-License-Identifier: GPL-2.0\n# Copyright The conmon 3 authors\n'})
def sources_name_their_license(tree):
    return [path.as_posix() for path, text in tree.texts()
            if (text.startswith('#!') or any(fnmatch.fnmatchcase(path.name, pattern) for pattern in SOURCES))
            and not LICENSE.match(text)]


@rule({'src/base/a.h': '#ifndef A_H\n#define A_H\n#endif\n'}, {'src/base/a.h': '#pragma once\nextern int a;\n'},
      {'src/base/a.h': '#pragma once\nextern const char *a;\n'})
def headers_are_guarded_and_declare_no_variable(tree):
    """Constant tables are allowed."""
    wrong = []
    for path, text in tree.texts('*.h', **CODE):
        if not re.match(r'(/\*.*\*/\n)*\n?#pragma once\n', text):
            wrong.append(f'{path} does not begin with #pragma once')
        wrong += [f'{path} declares {line}' for line in re.findall(r'^extern (?!const [A-Z]\w+ \w+;)[^(\n]*;', text, re.M)]
    return wrong


@rule({'src/base/alone.c': ''}, {'src/base/a_b.c': '', 'src/base/b.h': '', 'src/base/a.c.h': ''})
def modules_have_headers(tree):
    """x.c needs x.h; a variant such as x_stub.c uses that of x.c. Log drivers need none."""
    def is_driver(path):
        return path.parent.name == 'drivers' or path.match(f'drivers/{path.stem}/{path.stem}.c')

    def headers(path):
        yield path.with_suffix('.h')
        if '_' in path.stem:
            yield path.with_name(path.stem.rpartition('_')[0] + '.h')
    return [path.as_posix() for path, text in tree.texts('*.c', below=('src',))
            if not re.search(r'^main\(', text, re.M) and not is_driver(path)
            and not any((tree.top / header).exists() for header in headers(path))]


@rule({'src/base/a.c.orig': ''})
def only_sources_in_src(tree):
    """Nothing that an editor or patch(1) left behind."""
    return [path.as_posix() for path in tree.paths(below=('src',))
            if path.suffix not in ('.c', '.h', '.md') and path.name != 'meson.build']


@rule({'a': 'x \n'}, {'a': 'x'}, {'a': 'x\n\n'}, {'a.c': '\tx;\n'})
def white_space(tree):
    wrong = []
    for path, text in tree.texts():
        if not text.endswith('\n') or text.endswith('\n\n'):
            wrong.append(f'{path} does not end with exactly one newline')
        wrong += [f'{path}:{number}' for number, line in numbered(text) if line != line.rstrip()]
        if path.suffix in ('.c', '.h'):
            wrong += [f'{path}:{number} (tab)' for number, line in numbered(text) if '\t' in line]
    return wrong


@rule({'.clang-format': 'ColumnLimit: 20\n', 'src/a.c': '/* more than 20 characters */\n'})
def lines_are_short(tree):
    """The limit is that of .clang-format."""
    limit = int(re.search(r'^ColumnLimit: (\d+)$', tree.read('.clang-format'), re.M).group(1))
    return [f'{path}:{number}' for path, text in tree.texts('*.[ch]', **CODE) for number, line in numbered(text)
            if len(line) > limit]


@rule({'src/a.c': 'const char *text = "the name \u201cx\u201d";\n'})
def messages_have_ascii_quotes(tree):
    """Messages may be shown with any character set."""
    return [f'{path}:{number}' for path, text in tree.texts('*.[ch]', below=('src',))
            for number, line in numbered(text) if re.search('[\u2018\u2019\u201c\u201d]', line)]


PATCH = ('What goes wrong.\n\nTest: unit/test-a\n\n--- a/src/a.c\n+++ b/src/a.c\n'
         '@@ -1,3 +1,3 @@\n int a;\n-int b;\n+int c;\n int d;\n')


@rule({'src/a.c': 'int a;\nint x;\nint d;\n', 'tests/stress/mutants/a.patch': PATCH})
def mutants_can_be_applied(tree):
    """To the current code; the mutants themselves are tested less often."""
    def fails(path):
        return subprocess.run(['patch', '--dry-run', '-p1', '-s', '-N', '-r', '-', '-i', str(path.resolve())], cwd=tree.top,
                              capture_output=True, check=False).returncode != 0
    return [str(path) for path in tree.paths('*.patch', below=('tests/stress/mutants',)) if fails(tree.top / path)]


@rule({'tests/expected-skips': '# about\nunit-*: all # no tool\n'})
def expected_skips_have_a_reason(tree):
    return [line for line in tree.read('tests/expected-skips').splitlines()
            if line and not line.startswith('#') and not re.fullmatch(r'\S.* -- \S.*', line)]


@rule({'tests/unit/test-a.c': 'int x;\n', 'tests/unit/meson.build': "tests = ['b']\n"},
      {'tests/integration/test_a_b.py': '', 'tests/integration/meson.build': "tests = ['b']\n"})
def tests_are_listed(tree):
    """A test that meson.build does not name never runs. tests/vm/run.py finds its tests itself."""
    tests = [path for path in tree.paths('test[-_]*.py', 'test-*.c', 'fuzz-*.c', below=('tests',)) if path.parts[1] != 'vm']
    names = {path: path.stem[5:].removeprefix(f'{path.parent.name}_') for path in tests}
    return [str(path) for path, name in names.items()
            if not re.search(rf"[-_']{name}(\.c|\.py)?'", tree.read(path.parent / 'meson.build'))]


@rule({'contrib/a': '#!/bin/sh\nif true; then\n'}, {'a.sh': 'case x in\n'})
def shell_scripts_can_be_parsed(tree):
    wrong = []
    for path, text in tree.texts():
        if text.startswith('#!/bin/sh\n') or path.suffix == '.sh':
            done = subprocess.run(['sh', '-n', tree.top / path], capture_output=True, text=True)
            if done.returncode or done.stderr:
                wrong.append(f'{path}: {done.stderr}')
    return wrong


@rule({'tests/test_a.py': '#!/usr/bin/python3\n'}, {'contrib/a': '#!/bin/sh\n'})
def scripts_can_be_executed(tree):
    return [str(path) for path, text in tree.texts() if text.startswith('#!') and not os.access(tree.top / path, os.X_OK)]


if __name__ == '__main__':
    run(globals())
