#!/usr/bin/python3
"""Checks regressions.toml: each number is there, and each test that it names exists."""

import os
import re
import sys
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from harness import check, main  # noqa

NUMBERS = [f'B{number:02}' for number in range(1, 103)]


def table():
    with open(os.path.join(HERE, 'regressions.toml'), 'rb') as file:
        return tomllib.load(file)


def exists(reference):
    """Whether the test "FILE: NAME" is there: a function in a Python test, else the name as text."""
    path, _, name = reference.partition(': ')
    try:
        with open(os.path.join(HERE, path)) as file:
            text = file.read()
    except FileNotFoundError:
        return False
    if path.endswith('.py') and name.startswith('test_'):
        return re.search(rf'^def {re.escape(name)}\(', text, re.M) is not None
    return name in text


def test_of(row):
    def test(t):
        check(row.get('held') or row.get('because'), 'neither a test nor a reason')
        missing = [reference for reference in row.get('held', ()) if not exists(reference)]
        check(not missing, 'no such test: ' + ', '.join(missing))
    return test


def collect():
    rows = table()
    tests = {f'{number} {rows[number]["what"] if number in rows else ""}': test_of(rows.get(number, {}))
             for number in NUMBERS}
    for number in set(rows) - set(NUMBERS):
        tests[f'{number} is not in the list'] = test_of({})
    held = sum(bool(row.get('held')) for row in rows.values())
    print(f'# {held} of {len(NUMBERS)} numbers are held by tests, {len(rows) - held} by the reason that is given')
    return tests


if __name__ == '__main__':
    main(collect())
