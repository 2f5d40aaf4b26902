#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Every scenario of scenarios.toml with the distribution's monitor and with this one: what can be observed
is the same, or the difference is in differences.toml with its reason."""

import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '../../lib'), HERE]
from harness import Case, check, Failure, last, main, needs_root  # noqa
from harness.toml import load  # noqa: E402
import compare  # noqa
import observe  # noqa

# Numbers of the rows that explained something, written by the process of each test.
SCRATCH = tempfile.TemporaryFile()
USED = SCRATCH.fileno()

REFERENCE = os.environ.get('CONMON_TEST_REFERENCE', '/usr/bin/conmon')


def rows(name, key):
    return load(os.path.join(HERE, name))[key]


def version():
    output = subprocess.run([REFERENCE, '--version'], stdout=subprocess.PIPE, check=True).stdout.decode()
    return tuple(map(int, re.findall(r'\d+', output.split()[2])))[:3]


def replaced(value, word):
    """`{}` anywhere in a row stands for one of its `each`."""
    if isinstance(value, str):
        return value.replace('{}', word)
    if isinstance(value, list):
        return [replaced(item, word) for item in value]
    if isinstance(value, dict):
        return {replaced(key, word): replaced(item, word) for key, item in value.items()}
    return value


def scenarios():
    for row in rows('scenarios.toml', 'scenario'):
        for word in row.pop('each', [None]):
            yield observe.Scenario(row if word is None else replaced(row, word))


def look(scenario, program):
    case = Case(scenario.name, reference=program == REFERENCE)
    if program:
        case.program = program
    try:
        run = observe.Run(case, scenario)
        return run.observe()
    except Exception:
        print(f'with {case.program}:')
        print(case.describe())
        raise
    finally:
        case.close(strict=False)


def look_at_reference(scenario):
    """On a busy machine the reference sometimes ends too early, and has done so before."""
    for _ in range(2):
        try:
            return look(scenario(), REFERENCE)
        except (Failure, OSError):
            print('again:')
    return look(scenario(), REFERENCE)


def test_of(scenario, table):
    def test(t):
        """The same scenario object is changed by a run with a real runtime: each run gets its own."""
        first, second = look_at_reference(scenario), look(scenario(), None)
        lines = compare.unexplained(scenario().name, first, second, table)
        used = [number for number, row in enumerate(table) if row.used]
        os.write(USED, b''.join(b'%d\n' % number for number in used))
        check(not lines, '\n'.join(lines))
    return needs_root(test) if scenario().root_only else test


def test_of_table(table):
    @last
    @needs_root
    def test(t):
        """A row that explains nothing any more must go."""
        os.lseek(USED, 0, os.SEEK_SET)
        used = set(map(int, os.read(USED, 1 << 24).split()))
        stale = [f'{row.scenario} {row.field}: {row.why}' for number, row in enumerate(table)
                 if row.due and not row.sometimes and number not in used]
        print(f'{len(used)} known differences')
        check(not stale, 'rows that explain nothing:\n' + '\n'.join(stale))
    return test


def collect():
    table = [compare.Difference(row, version()) for row in rows('differences.toml', 'difference')]
    tests = {}
    for position, example in enumerate(scenarios()):
        check(example.name not in tests, f'two scenarios of the name {example.name}')
        tests[example.name] = test_of(lambda position=position: list(scenarios())[position], table)
    print(f'# {len(tests)} scenarios')
    tests['every_known_difference_is_seen'] = test_of_table(table)
    return tests


if __name__ == '__main__':
    main(collect())
