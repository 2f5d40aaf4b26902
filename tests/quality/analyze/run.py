#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Runs a static analyzer over src/: run.py gcc|clang. Each source file is a case, which fails on a finding
that is not listed in the file `accepted`. Environment:

    CONMON_TEST_BUILD   the build directory with compile_commands.json
"""

import fnmatch
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / 'tests/lib'))
from harness import check, main, skip, slow  # noqa: E402

BUILD = pathlib.Path(os.environ.get('CONMON_TEST_BUILD', TOP / 'build'))
# Without optimization, so that the code is analyzed as written.
ARGUMENTS = {'gcc': ['-O0', '-fanalyzer', '-fdiagnostics-plain-output', '-S', '-o', '/dev/null'],
             'clang': ['--analyze', '--analyzer-output', 'text', '-fno-caret-diagnostics']}
WARNING = re.compile(r'\S*?(src/[^:]+):\d+:\d+: (?:warning|error): (.*)')


def accepted():
    lines = (TOP / 'tests/quality/analyze/accepted').read_text().splitlines()
    return [line.split(' -- ')[0] for line in lines if line and not line.startswith('#')]


def sources():
    """{path in the tree: (directory, compiler arguments that affect preprocessing)}"""
    table = {}
    for entry in json.loads((BUILD / 'compile_commands.json').read_text()):
        path = os.path.relpath(os.path.join(entry['directory'], entry['file']), TOP)
        words = shlex.split(entry['command'])
        kept = [word for word in words if word.startswith(('-I', '-D', '-std=')) and 'FORTIFY' not in word]
        if path.startswith('src/'):
            table[path] = entry['directory'], [*kept, entry['file']]
    return table


def findings(tool, output):
    """The findings that are not accepted, each with the notes that explain it."""
    found, patterns = [], accepted()
    for path, message in dict.fromkeys(WARNING.findall(output)):
        text = f'{tool}: {path}: {message}'
        if not any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns):
            found.append(text)
    return found


def analysis(tool, directory, arguments):
    @slow(120)
    def analyze(_):
        if not shutil.which(tool):
            skip(f'{tool} is missing')
        done = subprocess.run([tool, *ARGUMENTS[tool], *arguments], cwd=directory, check=False,
                              capture_output=True, text=True)
        found = findings(tool, done.stderr)
        check(not found, '\n'.join([*found, done.stderr]))
        check(done.returncode == 0, f'{tool} ended with status {done.returncode}: {done.stderr}')
    return analyze


if __name__ == '__main__':
    name = sys.argv.pop(1)
    main({path: analysis(name, *how) for path, how in sources().items()})
