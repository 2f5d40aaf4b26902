#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""podman as an ordinary user with both runtimes and cgroup v2, and podman's restart policy. test_oom.py tests root."""

from machine import ROOT, main
from harness import equal, wait_for


def test_crun_rootless(t):
    """Both streams in the log, an exec session, and the end by a signal."""
    t.as_user()
    t.must('run', '-d', '--name', 'a', '--rootfs', ROOT, 'sh', '-c', 'echo out; echo err >&2; exec sleep 1000')
    t.wait_logs('a', b'err')
    equal(t.logs('a'), (b'out\n', b'err\n'), 'log')
    equal(t.must('exec', 'a', 'sh', '-c', 'echo inside; exit 4', status=4), 'inside', 'output of exec')
    t.must('kill', 'a')
    t.no_monitors()
    equal(t.inspect('a', 'State.ExitCode}} {{.State.OOMKilled'), '137 false', 'state in podman inspect')


def test_runc_rootless(t):
    t.as_user()
    t.runtime = 'runc'
    equal(t.run('--name', 'a', script='echo out; exit 3', status=3), 'out', 'output')


def test_terminal(t):
    terminal = t.terminal('run', '-it', '--rm', '--rootfs', ROOT, 'sh', '-c', 'stty size; read line; echo "<$line>"',
                          rows=30, columns=100)
    terminal.until('30 100', 60)
    terminal.type('typed\n')
    terminal.until('<typed>')
    equal(terminal.end(60), 0, 'status')


def test_restart_policy(t):
    """The exit command restarts the container, each time with a new monitor."""
    t.must('run', '-d', '--name', 'a', '--restart', 'on-failure:1', '--rootfs', ROOT, 'sh', '-c', 'echo run; exit 5')
    wait_for(lambda: t.log_path('a').read_bytes().count(b'run\n') == 2, 'two runs', 60)
    t.no_monitors()
    equal(t.inspect('a', 'RestartCount}} {{.State.ExitCode'), '1 5', 'state in podman inspect')


if __name__ == '__main__':
    main()
