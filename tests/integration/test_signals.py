#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Signals to the monitor, in each of its states."""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import alive, check, children, differs, equal, kill, main, skip, wait_for  # noqa: E402
from harness.proc import zombie  # noqa: E402

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
TRAPS = '; '.join(f'trap "echo {number}; exit {number}" {number}' for number in (15, 2, 3))


def test_forwarded_to_the_container(t):
    """With the same number; the monitor runs on until the container ends."""
    for number in FORWARDED:
        m = t.create(f'sh {TRAPS}; echo ready; while :; do sleep 0.01; done', monitor=t.monitor(str(int(number))))
        m.wait_log(b'ready')
        kill(m.pid, number)
        m.finish(int(number))


def test_container_may_ignore_them(t):
    m = t.create('ignore 15\nignore 2\nignore 3\ntouch @/ready\nwait @/go\nexit 4')
    t.wait_file('ready')
    for number in FORWARDED * 5:
        kill(m.pid, number)
    t.touch('go')
    m.finish(4)


def test_default_action_kills_the_container(t):
    for number in FORWARDED:
        m = t.create('pause', monitor=t.monitor(str(int(number))))
        kill(m.pid, number)
        m.finish(128 + number)


def test_forwarded_to_the_runtime(t):
    """Before the container's pid is known, the runtime gets them."""
    for number in FORWARDED:
        m = t.launch('', runtime=f'touch @/ready{int(number)}\npause', monitor=t.monitor(str(int(number)))).go()
        t.wait_file(f'ready{int(number)}')
        kill(m.pid, number)
        equal(m.wait(), 1)
        if not t.reference:
            message = m.sync.message()
            equal(message['data'], -1)
            check(f'killed by signal {int(number)}' in message['message'], f'{message}')
        check(not m.exit_file.exists(), 'an exit file')


@differs('the reference loses them')
def test_forwarded_to_a_runtime_that_succeeds(t):
    """It ignores them, or has exited and was not reaped yet: the container gets them."""
    for number in FORWARDED:
        m = t.launch('pause', runtime=f'container\nignore {int(number)}\ntouch @/ready{int(number)}\n'
                     f'wait @/go{int(number)}\npidfile', monitor=t.monitor(f'ignored{int(number)}')).go()
        t.wait_file(f'ready{int(number)}')
        kill(m.pid, number)
        t.touch(f'go{int(number)}')
        m.created().finish(128 + number)
        m = t.launch('pause', runtime='container\npidfile\nwait @/end', monitor=t.monitor(f'late{int(number)}')).go()
        runtime, = wait_for(lambda m=m: m.pidfile.exists() and children(m.pid), 'the runtime')
        kill(m.pid, signal.SIGSTOP)
        t.touch('end')
        wait_for(lambda pid=runtime: zombie(pid), 'the end of the runtime')
        kill(m.pid, number)
        kill(m.pid, signal.SIGCONT)
        m.created().finish(128 + number)
        (t.dir / 'end').unlink()


def test_forwarded_to_the_runtime_with_a_terminal(t):
    if t.reference:
        skip('the reference leaves a file in TMPDIR')
    m = t.launch('', '-t', runtime='touch @/ready\npause').go()
    t.wait_file('ready')
    kill(m.pid, signal.SIGTERM)
    equal(m.wait(), 1)


def test_before_an_attached_process_is_started(t):
    """While the monitor waits for the second start message there is nothing to forward them to."""
    for number in FORWARDED:
        m = t.launch('', '--exec-attach', '--exit-command', t.runtime, '--exit-command-arg', 'script', '--exit-command-arg',
                     f'touch @/ran{int(number)}', mode='exec', pipes=('sync', 'start', 'attach'),
                     monitor=t.monitor(str(int(number)))).go()
        m.attach_pipe.message()
        kill(m.pid, number)
        equal(m.wait(), 1)
        check(t.reference or (t.dir / f'ran{int(number)}').exists(), 'the exit command has not run')
        check(not m.exit_file.exists() and not m.pidfile.exists(), 'the process was started')
        if not t.reference:
            equal(m.sync.message(), {'data': -1, 'message': f'Signal {int(number)} arrived before the process was started'})


def test_harmless_before_an_attached_process_is_started(t):
    m = t.launch('exit 3', '--exec-attach', mode='exec', pipes=('sync', 'start', 'attach')).go()
    m.attach_pipe.message()
    for number in (signal.SIGUSR1, signal.SIGPIPE, signal.SIGCHLD):
        kill(m.pid, number)
    m.start.go()
    m.created()
    m.finish(3)


def test_harmless_signals(t):
    """SIGUSR1 and SIGCHLD make the monitor check its children, SIGPIPE is ignored."""
    m = t.create('wait @/go\nexit 3')
    for _ in range(20):
        for number in (signal.SIGUSR1, signal.SIGCHLD, signal.SIGPIPE):
            kill(m.pid, number)
    t.touch('go')
    m.finish(3)


def test_harmless_signals_while_the_runtime_works(t):
    """They do not kill the monitor."""
    m = t.launch('exit 3', runtime='touch @/ready\nwait @/go\ncontainer\npidfile').go()
    t.wait_file('ready')
    for _ in range(20):
        for number in (signal.SIGUSR1, signal.SIGCHLD, signal.SIGPIPE):
            kill(m.pid, number)
    t.touch('go')
    m.created().finish(3)


def test_harmless_signals_during_the_exit_command(t):
    """They do not kill the monitor."""
    m = t.create('exit 3', '--exit-command', t.runtime, '--exit-command-arg', 'script', '--exit-command-arg',
                 'touch @/ready', '--exit-command-arg', 'wait @/go')
    t.wait_file('ready')
    for _ in range(20):
        for number in (signal.SIGUSR1, signal.SIGCHLD, signal.SIGPIPE):
            kill(m.pid, number)
    check(alive(m.pid), 'the monitor died during the exit command')
    t.touch('go')
    m.finish(3)


@differs('here signals that terminate by default do not prevent the record of the end')
def test_signals_that_terminate_by_default(t):
    m = t.create('wait @/go\nexit 3')
    for number in (signal.SIGHUP, signal.SIGALRM, signal.SIGUSR2):
        kill(m.pid, number)
    t.touch('go')
    m.finish(3)


def test_stop_and_continue(t):
    m = t.create('exit 3')
    kill(m.pid, signal.SIGSTOP)
    kill(m.pid, signal.SIGCONT)
    m.finish(3)


def test_stopped_container_is_not_taken_for_ended(t):
    m = t.create('wait @/go\nexit 3')
    kill(m.container, signal.SIGSTOP)
    time.sleep(0.05)
    check(not m.ended() and not m.exit_file.exists(), 'a stopped container was taken for an ended one')
    t.touch('go')
    kill(m.container, signal.SIGCONT)
    m.finish(3)


def test_storm(t):
    """Any number of signals, also after the container has died."""
    m = t.create('exit 3', '--exit-command', '/bin/sleep', '--exit-command-arg', '0.2')
    for _ in range(300):
        for number in (*FORWARDED, signal.SIGUSR1, signal.SIGCHLD):
            kill(m.pid, number)
    check(m.wait() in (3, -15, -2, -3, 128 + 15, 128 + 2, 128 + 3), f'status {m.wait()}')


def test_term_after_the_end(t):
    """After the end of the container no process is signaled, and the monitor does not wait."""
    m = t.create('exit 3', '--exit-command', t.runtime, '--exit-command-arg', 'script', '--exit-command-arg',
                 'touch @/ready', '--exit-command-arg', 'wait @/go', '--exit-command-arg', 'touch @/done')
    t.wait_file('ready')
    kill(m.pid, signal.SIGTERM)
    t.touch('go')
    m.wait()
    equal(m.exit_file.read_text(), '3')
    t.wait_file('done')


def test_forwarded_to_a_container_that_is_not_a_child(t):
    if t.reference:
        skip('an unknown status is recorded as -1, not as 0')
    m = t.create('pause', runtime='container foster\npidfile')
    kill(m.pid, signal.SIGTERM)
    m.finish(128 + signal.SIGTERM if t.has_exit_info() else -1)
    wait_for(lambda: not alive(m.container), 'the end of the container', 2)


def test_signals_never_reach_an_unrelated_process(t):
    """The pid of the runtime may have been reused when the signal arrives."""
    m = t.create('ignore 15\ntouch @/ready\npause', runtime='dump @/runtime\ncontainer\npidfile')
    t.wait_file('ready')
    kill(m.pid, signal.SIGTERM)
    time.sleep(0.02)
    check(alive(m.container) and alive(m.pid), 'monitor or container died')
    kill(m.container)
    m.finish(137)


if __name__ == '__main__':
    main()
