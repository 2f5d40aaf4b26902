# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Counts the cases of a `meson test` run: report.py BUILD-DIR [--log NAME] [--findings DIR] [--scratch DIR]
[--again [--by COMMAND]]

`--log` is the run's --logbase. A file in the findings directory with a line that does not begin with "--" is
the report of a tool and counts as a failure; it is removed. With `--scratch` results are added to files in
that directory, from which `report.py --sum DIR` prints the sum of several runs; the sum of this run is not
printed. With `--again` failed tests are repeated, unless there are many. With `--without-tools` a case that
lacks a program is not a failure.

Each case of a TAP test counts, and every other test counts as one. A test whose end contradicts its cases
(crash, timeout, wrong exit status, missing cases, no case) counts as another failure. A skip that is not in
tests/expected-skips is a failure.
"""

import argparse
import fnmatch
import json
import os
import re
import subprocess
import sys

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
CASE = re.compile(r'(?P<not>not )?ok\b\s*(?P<number>\d+)?\s*(?:- )?(?P<name>[^#]*?)\s*'
                  r'(?:#\s*(?P<directive>SKIP\S*|TODO)\s*(?P<message>.*))?$', re.IGNORECASE)
PLAN = re.compile(r'1\.\.(?P<count>\d+)\s*(?:#\s*SKIP\S*\s*(?P<message>.*))?$', re.IGNORECASE)


class Count:
    """The outcome of one test: names of passed cases, failures with a reason, skips with a message."""

    def __init__(self, test):
        self.test = test
        self.passed = 0
        self.failed = []
        self.skipped = []

    def case(self, match):
        name = '%s: %s' % (self.test, match['name'] or 'case %s' % match['number'])
        directive = (match['directive'] or '').upper()
        if directive.startswith('SKIP') and not match['not']:
            self.skipped.append('%s # %s' % (name, match['message']))
        elif match['not'] or directive:
            self.failed.append(name)
        else:
            self.passed += 1


def name_of(result):
    """The name of a test without its project and suites, which Meson puts before it: "conmon:unit / x", or in newer releases
    "unit - conmon:x"."""
    return re.split(r' / | - [^ :]+:', result['name'])[-1]


def count_tap(count, result):
    """Parses the TAP of one test, and checks it against the result of the test."""
    planned, seen, ended = None, 0, True
    for line in result['stdout'].splitlines():
        plan = PLAN.match(line)
        if plan:
            planned = int(plan['count'])
            if planned == 0 and plan['message'] is not None:
                count.skipped.append('%s: all # %s' % (count.test, plan['message']))
        elif line.startswith('Bail out!'):
            count.failed.append('%s: %s' % (count.test, line))
            ended = False
        elif CASE.match(line):
            seen += 1
            count.case(CASE.match(line))
    if result['result'] == 'TIMEOUT':
        count.failed.append('%s: timed out after %d s' % (count.test, result['duration']))
    elif ended and planned != seen:
        count.failed.append('%s: %s cases announced, %d seen' % (count.test, planned, seen))
    elif seen == 0 and not count.skipped:
        count.failed.append('%s: no case ran' % count.test)
    elif result['returncode'] != 0 and not count.failed:
        count.failed.append('%s: exit status %s' % (count.test, result['returncode']))
    elif result['result'] not in ('OK', 'SKIP') and not count.failed:
        count.failed.append('%s: %s' % (count.test, result['result']))


def count_plain(count, result):
    """A test without TAP, which has only an exit status."""
    if result['result'] == 'OK':
        count.passed += 1
    elif result['result'] == 'SKIP':
        count.skipped.append('%s: all # %s' % (count.test, ' '.join(result['stdout'].split())))
    else:
        count.failed.append('%s: %s, exit status %s' % (count.test, result['result'], result['returncode']))


def expected_skips():
    """The patterns of tests/expected-skips with their reasons."""
    with open(os.path.join(TOP, 'tests', 'expected-skips'), encoding='utf-8') as file:
        lines = [line.strip() for line in file if line.strip() and not line.startswith('#')]
    return [line.split(' -- ', 1) for line in lines]


def sort_skips(count, expected):
    """Moves unexpected skips to the failures; returns (skip, reason) of the others."""
    accepted = []
    for skip in count.skipped:
        reasons = [reason for pattern, reason in expected if fnmatch.fnmatchcase(skip, pattern)]
        if reasons:
            accepted.append((skip, reasons[0]))
        else:
            count.failed.append('%s (this skip is not expected)' % skip)
    return accepted


# More failures than this are not caused by timing.
AGAIN_MAX = 6


def read_log(build, name):
    log = os.path.join(build, 'meson-logs', name + '.json')
    if not os.path.exists(log):
        return []
    with open(log, encoding='utf-8') as file:
        return [json.loads(line) for line in file]


def run_failed_again(build, log, results, command):
    """Many tests have time limits, and the machine may be busy with other tests: if only a few failed, they
    are repeated alone. Tests that pass then are reported as unsteady."""
    failed = [name_of(result) for result in results if result['result'] not in ('OK', 'SKIP')]
    if not 0 < len(failed) <= AGAIN_MAX:
        return results
    subprocess.run([*command.split(), 'meson', 'test', '-C', build, '--no-rebuild', '-t', '5', '--num-processes', '1',
                    '--logbase', log + '-again', *failed], check=False,
                   env={**os.environ, 'CONMON_SOAK_SECONDS': '120'})
    again = {result['name']: result for result in read_log(build, log + '-again')}
    for name, result in again.items():
        print('unsteady: %s failed, then, alone: %s' % (name, result['result']))
    return [again.get(result['name'], result) for result in results]


def read_results(build, log, again, command=''):
    """The results in the log of a run, and the protocol of each test."""
    results = read_log(build, log)
    if not results:
        return [], {}
    if again:
        results = run_failed_again(build, log, results, command)
    done = subprocess.run(['meson', 'introspect', '--tests', build], check=True, capture_output=True)
    return results, {test['name']: test['protocol'] for test in json.loads(done.stdout)}


def take_findings(directory):
    """Yields and removes the report files of tools."""
    for name in sorted(os.listdir(directory)) if directory else []:
        path = os.path.join(directory, name)
        with open(path, encoding='utf-8', errors='replace') as file:
            text = file.read()
        os.unlink(path)
        if re.search(r'^(?!--).', text, re.MULTILINE):
            yield name, text


def show_failure(count, result):
    print('\n---- %s failed:' % count.test)
    for failure in count.failed:
        print('  ' + failure)
    print('---- its output:')
    print(result['stdout'].rstrip())
    if result.get('stderr'):
        print('---- its stderr:')
        print(result['stderr'].rstrip())
    print('----')


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument('build', nargs='?')
    parser.add_argument('--log', default='testlog')
    parser.add_argument('--findings')
    parser.add_argument('--scratch')
    parser.add_argument('--again', action='store_true')
    parser.add_argument('--by', default='', help='a command that runs the second run, such as setpriv')
    parser.add_argument('--without-tools', action='store_true')
    parser.add_argument('--sum', metavar='DIR')
    return parser.parse_args()


# The number of slowest tests that are shown.
SLOWEST = 10


def sum_line(passed, failed, skipped):
    return '%d passed, %d failed, %d skipped' % (passed, failed, skipped)


def sum_up(directory):
    """Prints the results of several runs: the slowest tests, commands that repeat failed tests, and the
    sum."""
    def lines(name):
        path = os.path.join(directory, name)
        if not os.path.exists(path):
            return []
        with open(path, encoding='utf-8') as file:
            return file.read().splitlines()
    slowest = sorted((line.split(' ', 1) for line in lines('times')), key=lambda pair: -float(pair[0]))[:SLOWEST]
    if slowest:
        print('\nThe slowest tests:')
    for seconds, name in slowest:
        print('%8.1f s  %s' % (float(seconds), name))
    if lines('repeat'):
        print('\nTo repeat failed tests:')
    for command in lines('repeat'):
        print('    ' + command)
    passed, failed, skipped = (sum(column) for column in zip((0, 0, 0), *(map(int, line.split()) for line in lines('counts'))))
    print('\n' + sum_line(passed, failed, skipped))
    return 0 if passed and not failed else 1


def leave(options, results, bad, sums):
    """Adds results to the files for sum_up. `bad` are the names of failed tests."""
    def add(name, lines):
        with open(os.path.join(options.scratch, name), 'a', encoding='utf-8') as file:
            file.writelines(line + '\n' for line in lines)
    add('counts', ['%d %d %d' % sums])
    add('times', ['%f %s (%s)' % (result['duration'], name_of(result), options.log) for result in results])
    add('repeat', ['meson test -C %s --no-rebuild -t 5 %s' % (options.build, ' '.join(bad))] if bad else [])


def count_result(result, protocols, expected):
    """The Count of one test, and its accepted skips."""
    name = name_of(result)
    count = Count(name)
    result['stdout'] = result.get('stdout') or ''
    (count_tap if protocols.get(name) == 'tap' else count_plain)(count, result)
    accepted = sort_skips(count, expected)
    if count.failed:
        show_failure(count, result)
    return count, accepted


def main():
    options = parse()
    sys.stdout.reconfigure(errors='backslashreplace')
    if options.sum:
        sys.exit(sum_up(options.sum))
    results, protocols = read_results(options.build, options.log, options.again, options.by)
    expected = expected_skips()
    if options.without_tools:
        expected.append(['* # * is missing*', 'missing tools are accepted'])
    counted = [count_result(result, protocols, expected) for result in results]
    passed = sum(count.passed for count, _ in counted)
    failed = sum(len(count.failed) for count, _ in counted)
    skipped = [skip for _, accepted in counted for skip in accepted]
    for name, text in take_findings(options.findings):
        failed += 1
        print('\n---- report %s:\n%s' % (name, text.rstrip()))
    for skip, reason in skipped:
        print('skipped: %s\n  expected: %s' % (skip, reason))
    if not results:
        print('No test ran.')
        failed += 1
    sums = passed, failed, len(skipped)
    if options.scratch:
        leave(options, results, [count.test for count, _ in counted if count.failed], sums)
        return
    print(sum_line(*sums))
    sys.exit(0 if passed and not failed else 1)


if __name__ == '__main__':
    main()
