#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Checks regressions.toml: each bug has a test or a reason, and each named test exists."""

import re

from rules import TOP, rule, run
from harness import check
from harness.toml import load

TABLE = 'tests/quality/lint/regressions.toml'


def exists(reference):
    """Whether the test "FILE: NAME" exists: a function in a Python test, else the name as text."""
    path, _, name = reference.partition(': ')
    if not (TOP / 'tests' / path).is_file():
        return False
    text = (TOP / 'tests' / path).read_text()
    if path.endswith('.py') and name.startswith('test_'):
        return re.search(rf'^def {re.escape(name)}\(', text, re.M) is not None
    return name in text


@rule({TABLE: '[[bug]]\nwhat = "a"\n'}, {TABLE: '[[bug]]\nwhat = "a"\nheld = ["integration/test_idle.py: test_one"]\n'},
      {TABLE: '[[bug]]\nwhat = "a"\nheld = ["unit/test-oom-watch.c: /oom-watch/no-such-case"]\n'},
      {TABLE: '[[bug]]\nwhat = "a"\nheld = ["unit/test-nothing.c: x"]\n'})
def bugs_have_tests(tree):
    tree.read(TABLE)
    bugs = load(tree.top / TABLE)['bug']
    return [f'{bug["what"]}: neither a test nor a reason' for bug in bugs
            if not (bug.get('held') or bug.get('because'))] + [
        f'{bug["what"]}: no such test: {reference}' for bug in bugs for reference in bug.get('held', ())
        if not exists(reference)]


def test_table_is_complete(t):
    check(len(load(TOP / TABLE)['bug']) > 100, 'bugs are missing')


if __name__ == '__main__':
    run(globals())
