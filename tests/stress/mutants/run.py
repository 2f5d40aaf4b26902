#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Mutation tests: builds the monitor with one deliberate bug at a time, and checks that the named tests fail.

    run.py [NAME...]       these mutants, or all
    run.py --all           each with all unit and integration tests; prints how many of them fail

A mutant is a patch for src/ that begins with a description of the bug and

    Test: FILE CASE | CASE...     a file in tests/ and its cases (default all), of which at least one must fail

First all of these tests must succeed without a patch.
"""

import argparse
import concurrent.futures
import glob
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[2]


class Mutant:
    def __init__(self, path):
        self.name, self.path = path.stem, path
        text = path.read_text()
        self.what = text.partition('\n')[0]
        self.tests = re.findall(r'^Test: (\S+) ?(.*)$', text, re.M)
        if not self.tests:
            sys.exit(f'{path} names no test')


class Tree:
    """A copy of the sources with its own build directory."""

    def __init__(self, directory):
        self.top = pathlib.Path(directory)
        self.build = self.top / 'build'
        for name in ('src', 'tests', 'man', 'contrib'):
            shutil.copytree(TOP / name, self.top / name, symlinks=True)
        for name in glob.glob(str(TOP / 'meson*')):
            shutil.copy(name, self.top)
        self.run(['meson', 'setup', '-Dbuildtype=debug', str(self.build), str(self.top)])

    def run(self, argv, **kwargs):
        done = subprocess.run(argv, cwd=self.top, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **kwargs)
        if done.returncode != 0:
            sys.exit(f'{" ".join(argv)}:\n{done.stdout.decode(errors="replace")}')

    def compile(self, tests):
        targets = ['src/conmon', 'tests/lib/runtime/fake-runtime', 'tests/stress/faults/interpose.so']
        self.run(['ninja', '-C', str(self.build), *targets, *(f'tests/{file}' for file, _ in tests
                                                              if not file.endswith('.py'))])

    def patch(self, mutant, *options):
        self.run(['patch', '-p1', '-s', '-N', '-r', '-', '--no-backup-if-mismatch', *options, '-i', str(mutant.path)])

    def test(self, file, cases):
        """Runs one test. Returns whether it succeeded."""
        if file.endswith('.py'):
            argv = ['python3', str(self.top / 'tests' / file), *(cases.split(' | ') if cases else ())]
        else:
            argv = [str(self.build / 'tests' / file), '--tap', '-k']
        environment = {name: value for name, value in os.environ.items() if not name.startswith('CONMON')}
        try:
            done = subprocess.run(argv, cwd=self.top, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=300, check=False)
        except subprocess.TimeoutExpired:
            return False
        output = done.stdout.decode(errors='replace')
        if not re.search(r'^(not )?ok ', output, re.M) and 'Bail out' not in output:
            sys.exit(f'{" ".join(argv)} ran no test:\n{output}')
        return done.returncode == 0

    def all_tests(self):
        """The number of failing tests of the suites."""
        self.run(['ninja', '-C', str(self.build)])
        done = subprocess.run(['meson', 'test', '-C', str(self.build), '--no-rebuild', '--suite', 'unit', '--suite',
                               'integration'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        return sum(int(n) for n in re.findall(r'^(?:Fail|Timeout): +(\d+)', done.stdout.decode(), re.M))


def check(tree, mutant):
    """Builds the mutant. Returns the test that failed, or None."""
    tree.patch(mutant)
    try:
        tree.compile(mutant.tests)
        for file, cases in mutant.tests:
            if not tree.test(file, cases):
                return f'{file} {cases}'.strip()
        return None
    finally:
        tree.patch(mutant, '-R')


def count(tree, mutant):
    tree.patch(mutant)
    try:
        failed = tree.all_tests()
        return f'{failed} tests fail' if failed else None
    finally:
        tree.patch(mutant, '-R')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('names', nargs='*')
    parser.add_argument('--all', action='store_true')
    options = parser.parse_args()
    mutants = [Mutant(path) for path in sorted(HERE.glob('*.patch')) if not options.names or path.stem in options.names]
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    print(f'1..{len(mutants) + 1}', flush=True)
    failed = 0
    with tempfile.TemporaryDirectory(prefix='conmon-mutants.') as directory:
        tree = Tree(directory)
        tree.compile(tests)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            broken = [file for (file, _), good in zip(tests, pool.map(lambda test: tree.test(*test), tests)) if not good]
        print(f'{"not " if broken else ""}ok 1 - the tests succeed without a bug')
        for name in broken:
            print(f'# {name} failed')
        failed += bool(broken)
        for number, mutant in enumerate(mutants, 2):
            noticed = (count if options.all else check)(tree, mutant)
            print(f'{"" if noticed else "not "}ok {number} - {mutant.name}: {noticed or "nothing fails"}', flush=True)
            failed += not noticed
    sys.exit(1 if failed else 0)


main()
