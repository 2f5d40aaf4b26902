#!/usr/bin/python3
"""Runs a static analyzer over src/: run.py gcc|clang. Each source file is a case; a finding fails it, unless the file
`accepted` beside this one says why it is none. Environment:

    CONMON_TEST_BUILD   the build directory, whose compile_commands.json says how each file is compiled
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

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'tests'))
from harness import check, main, skip, slow  # noqa: E402

BUILD = pathlib.Path(os.environ.get('CONMON_TEST_BUILD', TOP / 'build'))
# Without optimisation, so that the code that is analysed is the one that was written.
ARGUMENTS = {'gcc': ['-O0', '-fanalyzer', '-fdiagnostics-plain-output', '-S', '-o', '/dev/null'],
             'clang': ['--analyze', '--analyzer-output', 'text', '-fno-caret-diagnostics']}
WARNING = re.compile(r'\S*?(src/[^:]+):\d+:\d+: (?:warning|error): (.*)')


def accepted():
    lines = (TOP / 'tests/analyze/accepted').read_text().splitlines()
    return [line.split(' -- ')[0] for line in lines if line and not line.startswith('#')]


def sources():
    """{path in the tree: (directory, arguments that say what the compiler reads)}"""
    table = {}
    for entry in json.loads((BUILD / 'compile_commands.json').read_text()):
        path = os.path.relpath(os.path.join(entry['directory'], entry['file']), TOP)
        words = shlex.split(entry['command'])
        kept = [word for word in words if word.startswith(('-I', '-D', '-std=')) and 'FORTIFY' not in word]
        if path.startswith('src/'):
            table[path] = entry['directory'], [*kept, entry['file']]
    return table


def findings(tool, output):
    """What it found, without what is accepted; notes below a finding tell how it comes about."""
    found, patterns = [], accepted()
    for path, message in dict.fromkeys(WARNING.findall(output)):
        text = f'{tool}: {path}: {message}'
        if not any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns):
            found.append(text)
    return found


def analysis(tool, directory, arguments):
    @slow(120)
    def analyse(_):
        if not shutil.which(tool):
            skip(f'{tool} is missing')
        done = subprocess.run([tool, *ARGUMENTS[tool], *arguments], cwd=directory, check=False,
                              capture_output=True, text=True)
        found = findings(tool, done.stderr)
        check(not found, '\n'.join([*found, done.stderr]))
        check(done.returncode == 0, f'{tool} ended with status {done.returncode}: {done.stderr}')
    return analyse


if __name__ == '__main__':
    name = sys.argv.pop(1)
    main({path: analysis(name, *how) for path, how in sources().items()})
