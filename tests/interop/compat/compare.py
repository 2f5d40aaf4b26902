# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The table of known differences and the comparison of two observations."""

import fnmatch

from harness.check import show


class Difference:
    """A row of differences.toml. It explains a difference in a field (a shell pattern; `scenario` is a list
    of patterns) if the values match `reference` and `ours`, where given. `why` is the reason. A row with
    `release` applies only if the reference is older than that; one with `sometimes` depends on the machine
    and may be unused."""

    def __init__(self, row, version):
        self.why, self.field, self.scenario = row['why'], row['field'], row.get('scenario', ['*'])
        self.reference, self.ours = row.get('reference'), row.get('ours')
        self.due = 'release' not in row or version < tuple(map(int, row['release'].split('.')))
        self.sometimes, self.used = row.get('sometimes', False), 0

    def explains(self, scenario, field, reference, ours):
        if not self.due or not fnmatch.fnmatchcase(field, self.field):
            return False
        if not any(fnmatch.fnmatchcase(scenario, pattern) for pattern in self.scenario):
            return False
        if not self._fits(self.reference, reference) or not self._fits(self.ours, ours):
            return False
        self.used += 1
        return True

    @staticmethod
    def _fits(pattern, value):
        return pattern is None or fnmatch.fnmatchcase(text(value), pattern)


def text(value):
    return '(nothing)' if value is None else value if isinstance(value, str) else repr(value)


def unexplained(scenario, reference, ours, table):
    """The differences that no row of the table explains, as text."""
    lines = []
    for field in sorted(set(reference) | set(ours)):
        left, right = reference.get(field), ours.get(field)
        if left != right and not any(row.explains(scenario, field, left, right) for row in table):
            lines.append(f'{field}:\n    reference {show(left)}\n    ours      {show(right)}')
    return lines
