#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""podman with systemd's cgroup manager: the scopes of monitor and container are stopped in either order."""

from machine import ROOT, main, sh
from harness import equal, wait_for
from harness.proc import children

SCRIPT = 'trap "exit 7" TERM; echo ready; sleep 1000 & wait'


def start(t):
    """Starts a container; returns its id and the pid of its monitor."""
    t.manager = 'systemd'
    cid = t.must('run', '-d', '--name', 'a', '--rootfs', ROOT, 'sh', '-c', SCRIPT)
    monitor, = t.own_monitors()
    equal(t.cgroup_of(monitor).split('/')[-1], f'libpod-conmon-{cid}.scope', 'cgroup of the monitor')
    container, = children(monitor)
    equal(t.cgroup_of(container).split('/')[2], f'libpod-{cid}.scope', 'cgroup of the container')
    wait_for(lambda: b'ready' in t.log_path('a').read_bytes(), 'the container')
    return cid


def test_container_is_stopped_first(t):
    cid = start(t)
    sh('systemctl', 'stop', f'libpod-{cid}.scope')
    t.no_monitors()
    equal(t.inspect('a', 'State.ExitCode}} {{.State.Status'), '7 exited', 'state in podman inspect')


def test_monitor_is_stopped_first(t):
    """The monitor forwards the signal and records the end of the container. Its exit command, podman's
    clean-up, is in the stopping scope, and may be killed."""
    cid = start(t)
    sh('systemctl', 'stop', f'libpod-conmon-{cid}.scope')
    t.no_monitors()
    equal(t.inspect('a', 'State.ExitCode'), '7', 'state in podman inspect')


if __name__ == '__main__':
    main()
