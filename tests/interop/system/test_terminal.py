#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Containers and sessions with a terminal, used through a pty like an interactive user."""

from podman import IMAGE, main
from harness import equal, wait_for


def test_run(p):
    t = p.terminal('run', '-it', '--name', 'c', IMAGE, 'sh')
    t.until('# ')
    t.type('echo $((6 * 7)); test -t 0 && test -t 1 && test -t 2 && echo all three\n')
    t.until('42\r\nall three\r\n')
    t.type('exit 5\n')
    equal(t.end(), 5, 'status')
    equal(p.inspect('c', 'State.ExitCode'), '5', 'recorded status')
    p.no_monitors()


def test_size(p):
    """The terminal has the size of the user's terminal, from the start and after each change."""
    t = p.terminal('run', '-it', '--rm', IMAGE, 'sh', rows=33, columns=111)
    t.until('# ')
    wait_size(t, 33, 111)
    for rows, columns in ((50, 132), (10, 20)):
        t.resize(rows, columns)
        wait_size(t, rows, columns)
    t.type('exit\n')
    equal(t.end(), 0, 'status')


def wait_size(t, rows, columns):
    """podman sends the size a little later; polls the shell until it is right."""
    def asked():
        t.type('echo size $(stty size).\n')
        return t.until(r'\nsize (\d+ \d+)\.').group(1) == b'%d %d' % (rows, columns)
    wait_for(asked, f'the size {rows} x {columns}')


def test_resize_sends_a_signal(p):
    t = p.terminal('run', '-it', '--rm', IMAGE, 'sh', '-c',
                   'trap "echo resized" WINCH; echo up; while [ ! -e /end ]; do sleep 0.05; done')
    t.until('up\r\n')
    t.resize(40, 90)
    t.until('resized')


def test_interrupt(p):
    """Ctrl-c is passed as a byte, which the container's terminal turns into a signal."""
    t = p.terminal('run', '-it', '--rm', IMAGE, 'sh', '-c', 'trap "echo stopped; exit 9" INT; echo up; while :; do sleep 0.05; done')
    t.until('up\r\n')
    t.type('\x03')
    t.until('stopped')
    equal(t.end(), 9, 'status')


def test_end_of_input(p):
    """Ctrl-d ends the shell; the connection stays open."""
    t = p.terminal('run', '-it', '--rm', IMAGE, 'sh')
    t.until('# ')
    t.type('\x04')
    equal(t.end(), 0, 'status')


def test_log_of_terminal(p):
    t = p.terminal('run', '-it', '--name', 'c', IMAGE, 'sh', '-c', 'echo out; echo err >&2')
    equal(t.end(), 0, 'status')
    equal(p.logs('c'), (b'out\r\nerr\r\n', b''), 'log')


def test_much_output(p):
    t = p.terminal('run', '-it', '--rm', IMAGE, 'seq', '100000')
    equal(t.end(40), 0, 'status')
    equal(t.output, b''.join(b'%d\r\n' % i for i in range(1, 100001)), 'output')


def test_terminal_without_stdin(p):
    result = p('run', '-t', '--rm', IMAGE, 'sh', '-c', 'test -t 1 && echo tty; exit 3')
    equal((result.status, result.out), (3, b'tty\r\n'), 'status and output')


def test_missing_executable(p):
    t = p.terminal('run', '-it', '--rm', IMAGE, 'no-such-program')
    equal(t.end(), 127, 'status')
    t.until('executable file not found')


def test_detach_and_attach(p):
    t = p.terminal('run', '-it', '--name', 'c', IMAGE, 'sh')
    t.until('# ')
    t.type('cd /tmp\n')
    t.until('# ')
    equal(t.detach(), 0, 'status after detaching')
    equal(p.inspect('c', 'State.Running'), 'true', 'running')
    for again in range(2):
        t = p.terminal('attach', 'c')
        t.type('\n')
        t.until('# ')
        t.type(f'echo {again} $PWD\n')
        t.until(f'\n{again} /tmp\r\n')
        equal(t.detach(), 0, 'status after detaching')
    t = p.terminal('attach', 'c')
    t.type('exit 4\n')
    t.end()
    equal(p.inspect('c', 'State.ExitCode'), '4', 'recorded status')


def test_detach_in_line_mode(p):
    """The shell above reads single keys, but this reads lines: nothing is typed when the user detaches."""
    t = p.terminal('run', '-it', '--name', 'c', IMAGE, 'cat')
    for line in ('one', 'two', 'three', 'four', 'five', 'six'):
        t.type(f'{line}\n')
        t.until(f'{line}\r\n{line}\r\n')
        equal(t.detach(), 0, 'status after detaching')
        t = p.terminal('attach', 'c')
    t.type('end\n')
    t.until('end\r\nend\r\n')


def test_own_detach_keys(p):
    p.must('run', '-dt', '--name', 'c', IMAGE, 'sh')
    t = p.terminal('attach', '--detach-keys', 'ctrl-x,x', 'c')
    t.type('\n')
    t.until('# ')
    equal(t.detach('\x18x'), 0, 'status after detaching')
    equal(p.inspect('c', 'State.Running'), 'true', 'running')


def test_two_terminals(p):
    """Both get the same output, and both can send input."""
    p.must('run', '-dit', '--name', 'c', IMAGE, 'sh')
    first, second = p.terminal('attach', 'c'), p.terminal('attach', 'c')
    for t in (first, second):
        t.type('\n')
        t.until('# ')
    for typing, watching in ((first, second), (second, first)):
        typing.type('echo $((1000 + 234))\n')
        typing.until('1234\r\n')
        watching.until('1234\r\n')
    equal(first.detach(), 0, 'status after detaching')
    second.type('echo $((50 * 50))\n')
    second.until('2500\r\n')
    second.type('exit 8\n')
    second.end()
    equal(p.inspect('c', 'State.ExitCode'), '8', 'recorded status')


def test_terminal_lost(p):
    """When the user's terminal is closed, the container runs on, and clients can attach."""
    t = p.terminal('run', '-it', '--name', 'c', IMAGE, 'sh')
    t.until('# ')
    t.process.kill()
    t.process.wait()
    equal(p.inspect('c', 'State.Running'), 'true', 'running')
    t = p.terminal('attach', 'c')
    t.type('exit 3\n')
    t.end()
    equal(p.inspect('c', 'State.ExitCode'), '3', 'recorded status')


def test_exec(p):
    p.must('run', '-d', '--name', 'c', IMAGE, 'sleep', '1000')
    t = p.terminal('exec', '-it', 'c', 'sh', rows=44, columns=99)
    t.until('# ')
    wait_size(t, 44, 99)
    t.resize(20, 60)
    wait_size(t, 20, 60)
    t.type('exit 200\n')
    equal(t.end(), 200, 'status')


def test_exec_detach(p):
    """The session runs on. (podman 4 still waits for its end for a while, and fails.)"""
    p.must('run', '-d', '--name', 'c', IMAGE, 'sleep', '1000')
    t = p.terminal('exec', '-it', 'c', 'sh', '-c', 'echo up; cat; sleep 1000')
    t.until('up\r\n')
    t.detach()
    wait_for(lambda: len(p.own_monitors()) == 2, 'the monitors of the container and of the session')


def test_exec_missing_executable(p):
    p.must('run', '-d', '--name', 'c', IMAGE, 'sleep', '1000')
    t = p.terminal('exec', '-it', 'c', 'no-such-program')
    equal(t.end(), 127, 'status')
    t.until('executable file not found')


if __name__ == '__main__':
    main()
