"""Counts the cases of a `meson test` run: report.py BUILD-DIR [--log NAME] [--findings DIR] [--counts FILE] [--again]

`--log` is the run's --logbase. A file in DIR that has a line without "--" in front is a report of a tool, and a
failure; it is removed. FILE gets a line "PASSED FAILED SKIPPED" instead of the last line of the output. With `--again`
a few tests that failed get a second run.

Every case of a TAP test counts, and every other test counts as one. A test that ended otherwise than its
cases say (crash, timeout, wrong exit status, missing cases, no case at all) is one failure more. A skip that
tests/expected-skips does not name is a failure.
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


def count_tap(count, result):
    """Reads the TAP of one test, and holds the way it ended against it."""
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
    """A test whose exit status is all it says."""
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


# More failures than this are no matter of timing.
AGAIN_MAX = 6


def read_log(build, name):
    log = os.path.join(build, 'meson-logs', name + '.json')
    if not os.path.exists(log):
        return []
    with open(log, encoding='utf-8') as file:
        return [json.loads(line) for line in file]


def run_failed_again(build, log, results):
    """Many tests hold the monitor against a clock, and the machine may be busy with the other tests: a few that failed
    get one more run, alone. What fails then has failed; what does not is named."""
    failed = [result['name'].split(' / ')[-1] for result in results if result['result'] not in ('OK', 'SKIP')]
    if not 0 < len(failed) <= AGAIN_MAX:
        return results
    subprocess.run(['meson', 'test', '-C', build, '--no-rebuild', '-t', '5', '--num-processes', '1',
                    '--logbase', log + '-again', *failed], check=False,
                   env={**os.environ, 'CONMON_SOAK_SECONDS': '120'})
    again = {result['name']: result for result in read_log(build, log + '-again')}
    for name, result in again.items():
        print('unsteady: %s failed, then, alone: %s' % (name, result['result']))
    return [again.get(result['name'], result) for result in results]


def read_results(build, log, again):
    """What the run left in its log, and the protocol of each test."""
    results = read_log(build, log)
    if not results:
        return [], {}
    if again:
        results = run_failed_again(build, log, results)
    told = subprocess.run(['meson', 'introspect', '--tests', build], check=True, capture_output=True)
    return results, {test['name']: test['protocol'] for test in json.loads(told.stdout)}


def take_findings(directory):
    """Reports that a tool wrote into files."""
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
    parser.add_argument('build')
    parser.add_argument('--log', default='testlog')
    parser.add_argument('--findings')
    parser.add_argument('--counts')
    parser.add_argument('--again', action='store_true')
    return parser.parse_args()


def main():
    options = parse()
    sys.stdout.reconfigure(errors='backslashreplace')
    results, protocols = read_results(options.build, options.log, options.again)
    expected = expected_skips()
    passed = failed = 0
    skipped = []
    for result in results:
        name = result['name'].split(' / ')[-1]
        count = Count(name)
        result['stdout'] = result.get('stdout') or ''
        tap = protocols.get(name) == 'tap'
        (count_tap if tap else count_plain)(count, result)
        skipped += sort_skips(count, expected)
        passed += count.passed
        failed += len(count.failed)
        if count.failed:
            show_failure(count, result)
    for name, text in take_findings(options.findings):
        failed += 1
        print('\n---- report %s:\n%s' % (name, text.rstrip()))
    for skip, reason in skipped:
        print('skipped: %s\n  expected: %s' % (skip, reason))
    if not results:
        print('No test ran.')
        failed += 1
    if options.counts:
        with open(options.counts, 'a', encoding='utf-8') as file:
            file.write('%d %d %d\n' % (passed, failed, len(skipped)))
        return
    print('%d passed, %d failed, %d skipped' % (passed, failed, len(skipped)))
    sys.exit(0 if passed and not failed else 1)


if __name__ == '__main__':
    main()
