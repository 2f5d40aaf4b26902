#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The output of conmonctl metrics, checked with Prometheus's promtool."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from receivers import free_port  # noqa: E402
from packages import unpacked  # noqa: E402
from harness import CONMON, equal, main  # noqa: E402

CONMONCTL = os.path.join(os.path.dirname(CONMON), 'conmonctl/conmonctl')


def complaints(text):
    """The output of promtool, including hints on names, types and help texts."""
    promtool = unpacked('prometheus', 'prometheus') / 'usr/bin/promtool'
    done = subprocess.run([promtool, 'check', 'metrics'], input=text, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_promtool(t):
    m = t.create('print out\\n\neprint err\\n\nwait @/end', '--log-driver', 'syslog', '--log-opt',
                 f'syslog-address=tcp://127.0.0.1:{free_port()}', '--log-opt', 'drain-timeout=10ms')
    m.wait_log(b'err')
    text = subprocess.run([CONMONCTL, 'metrics', m.cid], capture_output=True, text=True, check=True).stdout
    t.touch('end')
    m.finish(0)
    equal(complaints(text), (0, ''), 'output of promtool')


def test_promtool_complains(_):
    """promtool reports a wrong name."""
    status, said = complaints('# TYPE conmon_lines counter\nconmon_lines 1\n')
    equal((status != 0, '_total' in said), (True, True), said)


if __name__ == '__main__':
    main()
