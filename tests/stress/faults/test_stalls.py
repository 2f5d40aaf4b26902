#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""A stalled disk does not delay the record of the end.

Every call on a file between the end of a container and its exit file is delayed by five seconds in turn. The
exit file must still be written within a second, unless it is the delayed file itself; at the end nothing may
be missing or left behind.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../lib'))
from harness import CID, check, Failure, main  # noqa: E402
from harness.runner import reset_inherited_state
from scenario import Create, Direct, Exec, Fault, FaultCase, Late, Tally
from test_calls import make_test, record

# Functions that access files.
FUNCTIONS = {'open', 'openat', 'mkostemp', 'fchmod', 'write', 'pwrite', 'rename', 'renameat', 'unlink', 'unlinkat', 'fsync',
             'ftruncate', 'symlink', 'mkfifoat', 'bind', 'stat'}

# Descriptors that are not files, and virtual file systems, which can't stall.
NO_DISK = ('socket', 'pipe', 'eventfd', 'ptmx', 'memory', 'cgroup', 'children', 'oom_score_adj')

# Written by the main loop during output.
LOG = ('write', 'ctr.log')


def stalls(calls, life):
    """A case for each call on a file before the exit file in a run without a fault."""
    wanted = {call for call in calls if call[0] == 'ended' and call[1] in FUNCTIONS and call[1:] != LOG and
              not call[2].startswith(NO_DISK)}
    for state, function, about in sorted(wanted):
        if about != CID:  # the exit file itself
            yield Fault(state, function, about, 1, 'slow', f'{life.name}: {function} ({about}) takes 5 s')


def test_stalls_are_noticed(t):
    """These tests fail if a call of the main thread takes five seconds."""
    t.inject(Fault('ended', 'waitpid', 'any 0', 1, 'slow', ''))
    try:
        Create(t).run()
    except Late:
        return
    raise Failure('the record was not delayed')


def main_with_stalls():
    tests, tally = {'stalls are noticed': test_stalls_are_noticed}, Tally()
    reset_inherited_state()
    for life in (Create, Exec, Direct):
        calls = record(life)
        for fault in stalls(calls, life):
            tests[fault.name] = make_test(life, fault, tally)
    check(any('attach' in name for name in tests), f'no call on the attach socket: {sorted(tests)}')
    check(any('exit' in name for name in tests), f'no call on the persistent exit file: {sorted(tests)}')
    try:
        main(tests, FaultCase)
    finally:
        tally.report()


main_with_stalls()
