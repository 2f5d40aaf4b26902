#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""podman stop, kill, remove, restart and timeouts."""

import os
import signal
import time

from podman import IMAGE, main
from harness import alive, check, equal, wait_for

# Exits with 7 on SIGTERM.
POLITE = 'trap "echo bye; exit 7" TERM; echo up; while :; do sleep 0.1; done'
# The init process of a container gets only signals that it handles.
DEAF = 'echo up; sleep 1000'


def up(p, *args, script, name='c'):
    """Starts a detached container and waits until its script runs."""
    p.must('run', '-d', '--name', name, *args, IMAGE, 'sh', '-c', script)
    p.wait_logs(name, b'up\n')


def gone(p, container, pid):
    """Waits for the end of the container's monitor, and so of podman's clean-up."""
    wait_for(lambda: not alive(pid), f'the end of the monitor of {container}')


def test_stop(p):
    up(p, script=POLITE)
    pid = p.conmon_pid('c')
    p.must('stop', '--time', '20', 'c')
    equal(p.inspect('c', 'State.ExitCode'), '7', 'exit status')
    equal(p.logs('c')[0], b'up\nbye\n', 'log')
    gone(p, 'c', pid)


def test_stop_by_force(p):
    up(p, script=DEAF)
    p.must('stop', '--time', '1', 'c')
    equal(p.inspect('c', 'State.ExitCode'), '137', 'exit status')
    p.no_monitors()


def test_wait(p):
    up(p, script=POLITE)
    waiting = p.start('wait', 'c')
    p.must('kill', '--signal', 'TERM', 'c')
    equal(waiting.communicate(timeout=20)[0], b'7\n', 'output of podman wait')


def test_kill(p):
    up(p, script=DEAF)
    p.must('kill', 'c')
    equal(p.must('wait', 'c'), '137', 'exit status')
    p.no_monitors()


def test_kill_with_handled_signal(p):
    up(p, script='trap "echo got" USR1; echo up; while :; do sleep 0.1; done')
    p.must('kill', '--signal', 'USR1', 'c')
    p.wait_logs('c', b'got\n')
    equal(p.inspect('c', 'State.Running'), 'true', 'running')


def test_remove_by_force(p):
    up(p, script=DEAF)
    pid, bundle, log = p.conmon_pid('c'), p.bundle('c'), p.log_path('c')
    p.must('rm', '--force', '--time', '0', 'c')
    gone(p, 'c', pid)
    check(not bundle.exists() and not log.exists(), 'files of the container were not removed')
    p.must('container', 'exists', 'c', status=1)


def test_restart(p):
    script = 'echo x >>/count; echo run $(wc -l </count); trap "exit 0" TERM; while :; do sleep 0.1; done'
    p.must('run', '-d', '--name', 'c', IMAGE, 'sh', '-c', script)
    first = p.conmon_pid('c')
    for run in (2, 3):
        p.wait_logs('c', b'run %d\n' % (run - 1))
        p.must('restart', '--time', '20', 'c')
        p.wait_logs('c', b'run %d\n' % run)
    equal(p.logs('c')[0], b'run 1\nrun 2\nrun 3\n', 'log of all runs')
    check(p.conmon_pid('c') != first and not alive(first), 'the first monitor still runs')
    equal(p.own_monitors(), [p.conmon_pid('c')], 'monitors')


def test_restart_by_exit_command(p):
    """The clean-up command of the old monitor starts a new monitor, and must not wait for its end."""
    p.must('run', '-d', '--name', 'c', '--restart', 'on-failure:2', IMAGE, 'sh', '-c', 'echo once; exit 4')
    wait_for(lambda: p.inspect('c', 'RestartCount') == '2' and p.inspect('c', 'State.Status') == 'exited',
             'two restarts')
    equal(p.inspect('c', 'State.ExitCode'), '4', 'exit status')
    equal(p.logs('c')[0], b'once\n' * 3, 'log')
    p.no_monitors()


def test_create_and_start(p):
    p.must('create', '--name', 'c', IMAGE, 'sh', '-c', 'echo hello; exit 5')
    equal(p.inspect('c', 'State.Status'), 'created', 'state')
    result = p('start', '--attach', 'c')
    equal((result.status, result.out), (5, b'hello\n'), 'status and output')
    result = p('start', '--attach', 'c')
    equal((result.status, result.out), (5, b'hello\n'), 'status and output of the second run')


def test_removed_after_the_end(p):
    """With --rm a detached container is removed by the monitor's exit command."""
    p.must('run', '-d', '--rm', '--name', 'c', IMAGE, 'sh', '-c', 'while [ ! -e /go ]; do sleep 0.05; done')
    bundle = p.bundle('c')
    p.end('c', '/go')
    wait_for(lambda: p('container', 'exists', 'c').status == 1, 'the removal of the container')
    p.no_monitors()
    check(not bundle.exists(), 'the bundle was not removed')


def test_removed_at_the_end(p):
    p.shell('--rm', '--name', 'c', script='exit 0')
    p.must('container', 'exists', 'c', status=1)
    p.no_monitors()


def test_timeout(p):
    started = time.monotonic()
    result = p('run', '--name', 'c', '--timeout', '2', IMAGE, 'sleep', '1000')
    took = time.monotonic() - started
    equal(result.status, 255, f'status of {result}')
    check(1 < took < 15, f'it took {took} s')
    equal(p.inspect('c', 'State.ExitCode'), '-1', 'recorded status')
    p.no_monitors()


def test_timeout_not_reached(p):
    p.shell('--rm', '--timeout', '60', script='exit 6', status=6)
    p.no_monitors()


def test_signal_to_monitor(p):
    """SIGTERM to the monitor stops the container; the monitor runs on to record the end."""
    up(p, script=POLITE)
    os.kill(p.conmon_pid('c'), signal.SIGTERM)
    equal(p.must('wait', 'c'), '7', 'exit status')


def test_harmless_signals_to_monitor(p):
    up(p, script=POLITE)
    pid = p.conmon_pid('c')
    for number in (signal.SIGPIPE, signal.SIGUSR1, signal.SIGCHLD):
        os.kill(pid, number)
    p.must('kill', '--signal', 'TERM', 'c')
    equal(p.must('wait', 'c'), '7', 'exit status')


def test_recorded_without_podman(p):
    """Without a waiting podman the exit command makes podman record the end."""
    p.must('run', '-d', '--name', 'c', IMAGE, 'sh', '-c', 'exit 9')
    p.no_monitors()
    equal(p.inspect('c', 'State.Status'), 'exited', 'state')
    equal(p.inspect('c', 'State.ExitCode'), '9', 'exit status')


def test_background_process_does_not_delay(p):
    """A process that keeps stdout open does not delay the end of the container."""
    started = time.monotonic()
    result = p('run', '--name', 'c', '--pid', 'host', IMAGE, 'sh', '-c', 'sleep 20 & echo done; exit 2')
    check(time.monotonic() - started < 15, 'it took too long')
    equal((result.status, result.out), (2, b'done\n'), 'status and output')


if __name__ == '__main__':
    main()
