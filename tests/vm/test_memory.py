#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Memory charged to the cgroup of monitors, as Kubernetes counts it.

As with CRI-O, a monitor is moved to the cgroup before the start byte; pages that it touched earlier stay charged to the
engine."""

import os
import pathlib
import signal
import subprocess
import time

from machine import main
from harness import alive, check, kill, wait_for

GROUPS = pathlib.Path('/sys/fs/cgroup')
REFERENCE = pathlib.Path('/usr/bin/conmon')
MONITORS = 20

# Bytes per monitor. Two thirds are kernel memory, which differs a little between kernels.
MOST = 230_000
RATIO = 0.85

# A runtime whose containers do nothing, in a separate cgroup, to which their first process is charged from
# the fork.
RUNTIME = '''#!/bin/sh
echo $$ >/sys/fs/cgroup/boxes/cgroup.procs
while [ $# -gt 0 ]; do [ "$1" = --pid-file ] && pidfile=$2; shift; done
busybox sleep 1000 &
echo $! >$pidfile
'''

# The reported values of memory.stat.
PARTS = ('anon', 'file', 'kernel', 'kernel_stack', 'pagetables', 'percpu', 'sock', 'slab_reclaimable',
         'slab_unreclaimable')


def stat(group):
    lines = (group / 'memory.stat').read_text().splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines) if name in PARTS}


def start(t, program, group, name):
    """Starts a monitor as podman does; returns its pid."""
    place = t.dir / group.name / name
    for directory in ('bundle', 'exits', 'persist'):
        (place / directory).mkdir(parents=True)
    cid = f'{name:0>64}'
    argv = [program, '--api-version', '1', '-c', cid, '-u', cid, '-r', t.dir / 'runtime', '-b', place / 'bundle',
            '-p', place / 'pidfile', '-n', name, '--exit-dir', place / 'exits', '--persist-dir', place / 'persist',
            '--full-attach', '-l', f'k8s-file:{place}/ctr.log', '--log-level', 'warning', '--conmon-pidfile',
            place / 'conmon.pid']
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    launcher = subprocess.Popen([str(word) for word in argv], pass_fds=[reader],
                                env={**os.environ, '_OCI_STARTPIPE': str(reader)})
    os.close(reader)
    adjusted = pathlib.Path(f'/proc/{launcher.pid}/oom_score_adj')
    wait_for(lambda: adjusted.read_text() == '-1000\n', 'the launcher to lower its OOM score, which it does before it waits', 60)
    (group / 'cgroup.procs').write_text(str(launcher.pid))
    os.write(writer, b'x')
    os.close(writer)
    launcher.wait()
    wait_for((place / 'pidfile').exists, 'a container', 60)
    return int((place / 'conmon.pid').read_text()), place


def measure(t, program, kind):
    """Bytes per monitor, and their composition."""
    group, warm = GROUPS / f'monitors-{kind}', GROUPS / f'warm-{kind}'
    for directory in (group, warm):
        directory.mkdir()
    places = [start(t, program, warm, 'first')] + [start(t, program, group, str(i)) for i in range(MONITORS)]
    time.sleep(5)
    used, parts = int((group / 'memory.current').read_text()), stat(group)
    for pid, place in places:
        kill(int((place / 'pidfile').read_text()), signal.SIGKILL)
        wait_for(lambda pid=pid: not alive(pid), 'the end of a monitor', 60)
    return used // MONITORS, {name: value // MONITORS for name, value in parts.items()}


def test_each_of_many(t):
    (GROUPS / 'boxes').mkdir()
    (t.dir / 'runtime').write_text(RUNTIME)
    (t.dir / 'runtime').chmod(0o755)
    own, parts = measure(t, t.conmon, 'own')
    print(f'{own} bytes for each of {MONITORS}: {parts}')
    check(own <= MOST, f'{own} bytes; the limit is {MOST}')
    if REFERENCE.exists():
        other, parts = measure(t, REFERENCE, 'reference')
        print(f'the reference: {other} bytes: {parts}')
        check(own <= other * RATIO, f'{own} bytes; the reference has {other}')


if __name__ == '__main__':
    main()
