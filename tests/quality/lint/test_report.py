#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The summary of contrib/check: a failed run must not look successful."""

import importlib.util
import json
import subprocess
import sys

from rules import TOP
from harness import equal, main

spec = importlib.util.spec_from_file_location('report', TOP / 'contrib/lib/report.py')
report = importlib.util.module_from_spec(spec)
sys.dont_write_bytecode = True
spec.loader.exec_module(report)


def counted(output, result='OK', returncode=0, tap=True):
    """(passed, failed, skipped) of one test as Meson logs it."""
    count = report.Count('x')
    entry = {'stdout': output, 'result': result, 'returncode': returncode, 'duration': 1}
    (report.count_tap if tap else report.count_plain)(count, entry)
    return count.passed, len(count.failed), len(count.skipped)


def test_cases(t):
    equal(counted('1..2\nok 1 - a\nok 2 /b/c\n'), (2, 0, 0), 'two cases')
    equal(counted('ok 1 a\n# words: ok 7\nnot okay\nok 2 b\n1..2\n'), (2, 0, 0), 'plan at the end, and other lines')
    equal(counted('1..2\nok 1 - a\nnot ok 2 - b\n', 'ERROR', 1), (1, 1, 0), 'one fails')
    equal(counted('1..2\nok 1 - a\nnot ok 2 - b\n'), (1, 1, 0), 'a failing case with a successful result')
    equal(counted('1..1\nok 1 - a # TODO later\n'), (0, 1, 0), 'a TODO does not count as passed')


def test_skips(t):
    equal(counted('1..2\nok 1 - a # SKIP no tool\nok 2 - b\n'), (1, 0, 1), 'one case')
    equal(counted('1..0 # SKIP no tool\n', 'SKIP'), (0, 0, 1), 'all')
    equal(counted('1..1\nnot ok 1 - a # SKIP no tool\n'), (0, 1, 0), 'a failure marked as a skip')


def test_endings(t):
    equal(counted('1..3\nok 1\n', 'ERROR', -11), (1, 1, 0), 'crash')
    equal(counted('1..3\nok 1\nBail out! reason\n', 'ERROR', -6), (1, 1, 0), 'abort')
    equal(counted('1..3\nok 1\n', 'TIMEOUT', -15), (1, 1, 0), 'timeout')
    equal(counted('1..1\nok 1\n', 'ERROR', 1), (1, 1, 0), 'exit status')
    equal(counted('1..1\nok 1\n', 'OK', 77), (1, 1, 0), 'a crash with an exit status that Meson takes for a skip')
    equal(counted('1..2\nok 1\n'), (1, 1, 0), 'a case is missing')
    equal(counted('ok 1\n'), (1, 1, 0), 'no plan')
    equal(counted('1..0\n'), (0, 1, 0), 'nothing to do')
    equal(counted(''), (0, 1, 0), 'nothing said')


def test_names(t):
    for name in 'conmon:unit / unit-x', 'unit - conmon:unit-x', 'unit-x':
        equal(report.name_of({'name': name}), 'unit-x', name)


def test_plain_tests(t):
    equal(counted('', tap=False), (1, 0, 0), 'success')
    equal(counted('', 'FAIL', 1, tap=False), (0, 1, 0), 'failure')
    equal(counted('', 'SKIP', 77, tap=False), (0, 0, 1), 'skip')
    equal(counted('', 'TIMEOUT', -15, tap=False), (0, 1, 0), 'timeout')


def test_only_expected_skips_are_accepted(t):
    count = report.Count('x')
    report.count_tap(count, {'stdout': '1..2\nok 1 - a # SKIP no tool\nok 2 - b # SKIP no tool\n', 'result': 'OK',
                             'returncode': 0, 'duration': 1})
    accepted = report.sort_skips(count, [['x: a # no *', 'there is none']])
    equal(accepted, [('x: a # no tool', 'there is none')], 'accepted skips')
    equal(len(count.failed), 1, 'failures')


def run_report(t, lines, *options):
    """Runs the program on a log with these entries; returns its status and its last line."""
    build = t.dir / 'build'
    (build / 'meson-logs').mkdir(parents=True, exist_ok=True)
    (build / 'meson-info').mkdir(exist_ok=True)
    (build / 'meson-logs/testlog.json').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    tests = [{'name': 'tap', 'protocol': 'tap'}, {'name': 'plain', 'protocol': 'exitcode'}]
    path = t.dir / 'bin'
    path.mkdir(exist_ok=True)
    (path / 'meson').write_text(f"#!/bin/sh\necho '{json.dumps(tests)}'\n")
    (path / 'meson').chmod(0o755)
    findings = t.dir / 'findings'
    findings.mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, TOP / 'contrib/lib/report.py', build, '--findings', findings, *options],
                          capture_output=True, text=True, env={'PATH': f'{path}:/usr/bin:/bin'})
    return done.returncode, (done.stdout.splitlines() or [''])[-1]


def entry(name, stdout, result='OK', returncode=0):
    return {'name': f'conmon:suite / {name}', 'stdout': stdout, 'result': result, 'returncode': returncode,
            'duration': 1}


def test_last_line(t):
    good = [entry('tap', '1..2\nok 1\nok 2\n'), entry('plain', 'words')]
    equal(run_report(t, good), (0, '3 passed, 0 failed, 0 skipped'), 'a good run')
    equal(run_report(t, good + [entry('plain', '', 'FAIL', 1)]), (1, '3 passed, 1 failed, 0 skipped'), 'a bad run')
    equal(run_report(t, []), (1, '0 passed, 1 failed, 0 skipped'), 'an empty run')
    (t.dir / 'findings/valgrind.1').write_text('--1-- WARNING: what it can not do\n')
    equal(run_report(t, good), (0, '3 passed, 0 failed, 0 skipped'), 'a run without findings of valgrind')
    (t.dir / 'findings/asan.1').write_text('heap-use-after-free')
    equal(run_report(t, good), (1, '3 passed, 1 failed, 0 skipped'), 'a run with a finding of a sanitizer')


def test_sum_of_several_runs(t):
    """The slowest tests, the command that repeats failed tests, and the sum, in this order."""
    scratch = t.dir / 'scratch'
    scratch.mkdir()
    run_report(t, [entry('tap', '1..2\nok 1\nok 2\n'), entry('plain', 'words')], '--scratch', scratch)
    run_report(t, [{**entry('plain', '', 'FAIL', 1), 'duration': 7.5}], '--scratch', scratch)
    done = subprocess.run([sys.executable, TOP / 'contrib/lib/report.py', '--sum', scratch], capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line]
    equal(lines[:2], ['The slowest tests:', '     7.5 s  plain (testlog)'], 'the slowest')
    equal(lines[4:], ['To repeat failed tests:', f'    meson test -C {t.dir}/build --no-rebuild -t 5 plain',
                      '3 passed, 1 failed, 0 skipped'], 'the end')
    equal(done.returncode, 1, 'status')


def test_missing_tools(t):
    """They are accepted only in a quick run."""
    lines = [entry('tap', '1..2\nok 1\nok 2 - x # SKIP nm is missing (package binutils)\n')]
    equal(run_report(t, lines), (1, '1 passed, 1 failed, 0 skipped'), 'a usual run')
    equal(run_report(t, lines, '--without-tools'), (0, '1 passed, 0 failed, 1 skipped'), 'a quick run')


if __name__ == '__main__':
    main()
