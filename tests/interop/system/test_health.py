#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""podman's health checks without systemd: the monitor is their timer."""

import json
import os
import time

from podman import IMAGE, main
from harness import check, children, equal, proc, skip, slow, wait_for

OPTIONS = ('--health-interval', '1s', '--health-timeout', '10s', '--health-retries', '2')


def container(p, command, *options, script='sleep 1000', name='c'):
    if os.path.exists('/run/systemd/system'):
        skip('podman creates timers if systemd runs')
    p.must('run', '-d', '--name', name, *OPTIONS, *options, '--health-cmd', command, IMAGE, 'sh', '-c', script)


def health(p, name='c'):
    return json.loads(p.must('container', 'inspect', '--format', '{{json .State.Health}}', name))


def wait_health(p, status, timeout=30, name='c'):
    wait_for(lambda: health(p, name)['Status'] == status, f'{name} to be {status}', timeout)
    return health(p, name)


def idle(p, name='c'):
    """Waits until the container has no other process."""
    pid = p.conmon_pid(name)
    # /proc is not read at once: a process that gets another parent meanwhile may be missing.
    wait_for(lambda: all(len(children(pid)) == 1 for _ in range(3)), 'the end of the check')


def test_healthy(p):
    """podman records the exit code and output of each check."""
    container(p, 'echo well')
    wait_health(p, 'healthy')
    wait_for(lambda: len(health(p)['Log']) >= 3, 'three checks', 30)
    equal({(entry['ExitCode'], entry['Output']) for entry in health(p)['Log']}, {(0, 'well')}, 'codes and outputs')
    p.must('kill', 'c')
    p.no_monitors()


def test_unhealthy_and_healthy_again(p):
    container(p, 'test ! -e /tmp/ill')
    wait_health(p, 'healthy')
    p.must('exec', 'c', 'touch', '/tmp/ill')
    wait_health(p, 'unhealthy')
    p.must('exec', 'c', 'rm', '/tmp/ill')
    wait_health(p, 'healthy')


def test_start_period(p):
    """podman does not count failures during the start period."""
    container(p, 'test -e /tmp/up', '--health-start-period', '1000s')
    wait_for(lambda: len(health(p)['Log'] or ()) >= 3, 'three checks', 30)
    equal((health(p)['Status'], health(p)['FailingStreak']), ('starting', 0), 'status and failures')
    p.must('exec', 'c', 'touch', '/tmp/up')
    wait_health(p, 'healthy')


@slow(120)
def test_check_that_hangs(p):
    """podman of this release waits forever. The monitor kills the process, podman records the timeout, and
    the next check begins."""
    container(p, 'echo begun >>/tmp/checks; sleep 100000', '--health-timeout', '1s')
    wait_health(p, 'unhealthy', 60)
    log = health(p)['Log']
    equal({entry['ExitCode'] for entry in log}, {-1}, 'recorded codes')
    idle_or_one = p.must('exec', 'c', 'sh', '-c', 'ps | grep -c "[s]leep 100000" || true')
    check(int(idle_or_one) <= 2, f'{idle_or_one} processes of checks')
    p.must('kill', 'c')
    p.no_monitors()


def test_action_on_failure(p):
    container(p, 'false', '--health-on-failure', 'kill')
    p.wait_status('c', 'exited', 30)
    equal(p.inspect('c', 'State.ExitCode'), '137', 'recorded code')
    p.no_monitors()


def test_restart_policy(p):
    """Checks run after each restart of the container."""
    container(p, 'echo well', '--restart', 'always', script='sleep 4; exit 1')
    wait_health(p, 'healthy')
    wait_for(lambda: int(p.inspect('c', 'RestartCount')) >= 1, 'a restart', 30)
    since = len(health(p)['Log'] or ())
    wait_for(lambda: len(health(p)['Log'] or ()) != since, 'another check', 30)


def test_removed_during_a_check(p):
    container(p, 'touch /tmp/busy; sleep 1000', '--health-timeout', '1000s')
    wait_for(lambda: p('exec', 'c', 'test', '-e', '/tmp/busy').status == 0, 'the check', 30)
    p.must('rm', '--force', '--time', '0', 'c')
    p.no_monitors()


def test_paused(p):
    container(p, 'echo well')
    wait_health(p, 'healthy')
    pid = p.conmon_pid('c')
    p.must('pause', 'c')
    idle(p)
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        found = [proc.command(child) for child in children(pid)]
        check(len(found) == 1, f'children of the monitor while the container is paused: {found}')
        time.sleep(0.05)
    p.must('unpause', 'c')
    before = health(p)['Log'][-1]['Start']
    wait_for(lambda: health(p)['Log'][-1]['Start'] != before, 'another check', 30)


def test_none(p):
    """No check is configured, or its interval disables it."""
    container(p, 'echo well', '--health-interval', 'disable', name='a')
    p.must('run', '-d', '--name', 'b', IMAGE, 'sleep', '1000')
    pids = [p.conmon_pid(name) for name in 'ab']
    before = [proc.cpu_seconds(pid) for pid in pids]
    time.sleep(4)
    equal([len(children(pid)) for pid in pids], [1, 1], 'children')
    equal(health(p, 'a')['Status'], 'starting', 'status')
    check(all(after - used < 0.1 for used, after in zip(before, [proc.cpu_seconds(pid) for pid in pids])), 'processor time')


if __name__ == '__main__':
    main()
