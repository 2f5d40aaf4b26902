#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Health checks with systemd: only podman's timers run; if podman is configured not to use systemd, the
monitor's timer runs, with cgroup v2."""

import json
import time

from machine import ROOT, main, sh
from harness import check, children, equal, wait_for

COMMAND = ('--health-cmd', 'echo well', '--health-interval', '2s')


def container(t):
    t.must('run', '-d', '--name', 'a', *COMMAND, '--rootfs', ROOT, 'sleep', '1000')
    return t.conmon_pid('a')


def log(t):
    return json.loads(t.must('container', 'inspect', '--format', '{{json .State.Health.Log}}', 'a')) or []


def without_children(pid, seconds):
    """Whether the monitor has no child but the container for this time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if len(children(pid)) != 1:
            return False
        time.sleep(0.1)
    return True


def test_timers_of_systemd(t):
    """The command of the timer does not find the container here, because this release of podman omits its
    global options."""
    t.manager = 'systemd'
    pid = container(t)
    identity = t.inspect('a', 'Id')
    equal(t.show(f'{identity}.timer', 'ActiveState'), 'active', 'state of the timer')
    check(without_children(pid, 7), 'the monitor has run a check')
    wait_for(lambda: t.show(f'{identity}.timer', 'LastTriggerUSec'), 'the timer to run', 60)
    sh('systemctl', 'stop', f'{identity}.timer')


def test_timer_of_the_monitor(t):
    """The timer stops while the container is paused."""
    with open(t.environment['CONTAINERS_CONF'], 'a') as file:
        file.write('conmon_env_vars = ["DISABLE_HC_SYSTEMD=true"]\n')
    t.environment['DISABLE_HC_SYSTEMD'] = 'true'
    pid = container(t)
    wait_for(lambda: len(log(t)) > 1, 'two checks', 60)
    t.must('pause', 'a')
    # a running check may end, and leave a process to reap
    wait_for(lambda: without_children(pid, 5), 'five seconds without a check', 40)
    t.must('unpause', 'a')
    before = log(t)[-1]['Start']
    wait_for(lambda: log(t)[-1]['Start'] != before, 'another check', 60)


if __name__ == '__main__':
    main()
