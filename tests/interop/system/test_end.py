#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The end of podman's containers in log-status.json."""

import json
import os
import resource
import signal

from podman import IMAGE, main
from harness import check, equal, matches, skip, wait_for


def end(p, *options, script, act=None, name='c'):
    """Runs a container and returns how it ended; `act` is called with podman when it runs."""
    p.must('run', '-d', '--name', name, *options, IMAGE, 'sh', '-c', f'echo up; {script}')
    pid = p.conmon_pid(name)
    if act:
        p.wait_logs(name, b'up')
        act(p)
    p.wait_status(name, 'exited', 30)
    p.no_monitors()
    status = json.loads((p.bundle(name) / 'log-status.json').read_text())
    check(status['ended'], 'the container has not ended')
    check(pid in (0, status['monitor']['pid']), 'another monitor')  # status 0: podman has noticed the end
    found = status['end']
    check(found.pop('record_usec') > 0, 'no record_usec')
    matches(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z', found.pop('at'), 'time')
    equal(p.inspect(name, 'State.ExitCode'), str(found['code']), 'exit code in podman inspect')
    return found


USUAL = {'oom': False, 'timed_out': False, 'reaped_by': 'monitor'}


def test_exit_code(p):
    equal(end(p, script='exit 5'), {**USUAL, 'code': 5})


def test_stop(p):
    """podman lets the runtime send the signal: the monitor sees only how the program ended."""
    equal(end(p, script='trap "exit 7" TERM; sleep 1000 & wait', act=lambda p: p.must('stop', 'c')), {**USUAL, 'code': 7})
    equal(end(p, script='exec sleep 1000', act=lambda p: p.must('stop', '--time', '1', 'd'), name='d'),
          {**USUAL, 'code': 137, 'signal': 9, 'core_dumped': False})


def test_stop_by_a_service_manager(p):
    """A service manager signals the monitor, which forwards the signal."""
    found = end(p, script='trap "exit 0" TERM; sleep 1000 & wait', act=lambda p: os.kill(p.conmon_pid('c'), signal.SIGTERM))
    equal(found, {**USUAL, 'code': 0, 'stop_signal': 15})


def test_timeout(p):
    found = end(p, '--timeout', '2', script='sleep 1000')
    found.pop('reaped_by', None)  # podman may be killed and not reaped yet
    equal(found, {'oom': False, 'timed_out': True, 'code': -1})


def test_out_of_memory(p):
    """For cgroup v1; tests/vm tests v2."""
    if not os.path.isdir('/sys/fs/cgroup/memory'):
        skip('no cgroup v1; tests/vm tests v2')
    found = end(p, '--memory', '20m', '--memory-swap', '20m', script='exec tail /dev/zero')
    equal(found, {**USUAL, 'code': 137, 'signal': 9, 'core_dumped': False, 'oom': True})
    wait_for(lambda: p.inspect('c', 'State.OOMKilled') == 'true', 'podman to notice the end')


def test_core(p):
    """A core dump of the init process, which signals from its own namespace don't kill."""
    with open('/proc/sys/kernel/core_pattern') as file:
        if file.read().startswith('/') or resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY:
            skip('containers write no core files on this machine')
    limits = [word for limit in ('core=-1:-1', 'nofile=1000:1000', 'nproc=1000:1000') for word in ('--ulimit', limit)]
    found = end(p, '--pid', 'host', *limits, script='cd /tmp; kill -ABRT $$')
    equal(found, {**USUAL, 'code': 134, 'signal': 6, 'core_dumped': True})


if __name__ == '__main__':
    main()
