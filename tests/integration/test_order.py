#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The order of the monitor's system calls at the end of a container."""

import os
import pathlib
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import check, CID, equal, Failure, main, tool  # noqa: E402

CALLS = 'read,write,writev,sendto,sendmsg,sendmmsg,close,close_range,shutdown,rename,renameat,renameat2,unlink,unlinkat,' \
        'fsync,fdatasync,execve,prctl,fork,vfork,clone,clone3,wait4,waitid,exit_group,socket,openat'


# System calls that older kernels do not have.
NEW = ('openat2', 'close_range', 'pidfd_open', 'pidfd_send_signal')


def traced(t, container, *extra, mode='create', missing=()):
    """The system calls of the monitor and its threads, but of no other process, as lines. Descriptors are
    shown with their targets."""
    tool('strace')
    m = t.monitor()
    spare, far = os.pipe()
    trace = t.dir / 'trace'
    pipes = ('sync', 'start', 'attach') if mode == 'exec' else ('sync', 'start')
    argv = t.arguments(m, mode, conmon_pidfile=False) + [t.expand(str(word)) for word in extra]
    if mode == 'exec':
        argv.append('--exec-attach')
    calls = ','.join((CALLS, *missing))
    strace = ['/usr/bin/strace', '-ff', '-ttt', '-yy', '-qq', '-s', '300', '-o', str(trace), '-e', f'trace={calls}']
    if missing:
        strace += ['-e', f'inject={",".join(missing)}:error=ENOSYS']
    m.spawn([*strace, t.program, *argv, '--sync'], t.traced_environment(container), pipes, fds={9: far})
    os.close(far)
    m.start.go()
    if mode == 'exec':
        equal(m.attach_pipe.message(), {'data': 0})
        client = m.attach()
        m.start.go()
    else:
        m.created()
        client = m.attach()
    t.touch('go')
    client.to_end()
    m.wait()
    first = min(int(path.suffix[1:]) for path in t.dir.glob('trace.*'))
    return m, [line.partition(' ')[2] for line in sorted(of_process(trace, first))]


def of_process(trace, thread):
    """The lines of a thread and of the threads that it created."""
    lines = pathlib.Path(f'{trace}.{thread}').read_text().splitlines()
    created = [re.search(r'=> \{parent_tid=.*\} = (\d+)|CLONE_THREAD.* = (\d+)', line) for line in lines]
    return lines + [line for match in created if match for line in of_process(trace, match.group(1) or match.group(2))]


def position(lines, pattern, after=-1):
    """The number of the first line after `after` that matches the pattern."""
    for number, line in enumerate(lines):
        if number > after and re.search(pattern, line):
            return number
    raise Failure(f'{pattern!r} is not in the trace after line {after}:\n' + '\n'.join(lines[-60:]))


def in_order(lines, *steps):
    """Checks that each step (what, pattern) comes after the previous one."""
    at, before = -1, 'the start'
    for what, pattern in steps:
        first = at
        try:
            at = position(lines, pattern, at)
        except Failure:
            raise Failure(f'"{what}" does not come after "{before}":\n' + '\n'.join(lines[-60:])) from None
        before = what


def test_end_of_exec(t):
    """The order is: output, log, inherited descriptors, clients, exit files, exit code, sync of the log, exit."""
    m, lines = traced(t, 'wait @/go\nprint last words\\n\nexit 3', '--exit-command', '/bin/true', '-l',
                      f'k8s-file:{t.dir}/exec.log', mode='exec')
    in_order(lines,
             ('last words are read', r'read\(.*last words'),
             ('last words are logged', r'(write|writev)\(.*exec\.log.*last words'),
             ('last words are sent', r'(write|send\w+)\(.*\\2.*last words'),
             ("the caller's descriptor is closed", r'close\(9<'),
             ('the client is closed', r'close\(\d+<UNIX.*SEQPACKET|close\(\d+<socket|close\(\d+<UNIX'),
             ('the persistent exit file', r'rename.*persist.*exit"|rename.*"exit"'),
             ('the exit file', rf'rename.*{CID}"'),
             ('the exit code', r'(write|sendto)\(.*data.*: 3'),
             ('the log is synced', r'(fsync|fdatasync)\(.*exec\.log'),
             ('the exit command', r'(clone|clone3|fork|vfork)\('),
             ('the end', r'exit_group\(3\)'))


def test_subreaper_ends_before_the_exit_command(t):
    """Processes that the exit command leaves behind are not reparented to the monitor."""
    m, lines = traced(t, 'wait @/go\nexit 3', '--exit-command', '/bin/true')
    in_order(lines, ('exit file', rf'rename.*{CID}"'), ('no subreaper', r'prctl\(PR_SET_CHILD_SUBREAPER, 0\)'),
             ('the exit command', r'(clone|clone3|fork|vfork)\('), ('the end', r'exit_group\(3\)'))


def test_sync_pipe_ends_before_the_exit_command(t):
    """The exit command may wait for the caller, which waits for the end of the sync pipe."""
    m, lines = traced(t, 'wait @/go\nexit 3', '--exit-command', '/bin/true')
    in_order(lines, ('exit file', rf'rename.*{CID}"'), ('sync pipe', r'close\(3<|close_range\(3,'),
             ('the exit command', r'(clone|clone3|fork|vfork)\('))


def test_old_kernel(t):
    """Without close_range(2) and pidfds the end of a container is handled in the same way."""
    t.skip_with(valgrind='it makes other system calls')
    m, lines = traced(t, 'wait @/go\nprint last words\n\nexit 3', '--exit-command', t.runtime, '--exit-command-arg', 'script',
                      '--exit-command-arg', t.expand('dump @/exit'), missing=NEW)
    in_order(lines, ('last words are logged', r'(write|writev)\(.*last words'),
             ('exit file', rf'rename.*{CID}"'), ('sync pipe', r'close\(3<'),
             ('the exit command', r'(clone|clone3|fork|vfork)\('), ('the end', r'exit_group\(3\)'))
    for call in ('close_range', 'pidfd_open'):
        check(any(line.startswith(call) and 'ENOSYS' in line for line in lines), f'{call}(2) did not fail')
    equal(sorted(t.dump('exit')['fds']), ['0', '1', '2'])
    equal(m.exit_file.read_text(), '3')


def test_filter_that_allows_only_pidfd_open(t):
    """Signals reach the container if pidfd_open(2) works and pidfd_send_signal(2) does not."""
    t.skip_with(valgrind='it makes other system calls')
    m, lines = traced(t, 'wait @/go\nsh kill -TERM $PPID; exec sleep 100', missing=['pidfd_send_signal'])
    check(any('ENOSYS' in line for line in lines if line.startswith('pidfd_send_signal')), 'no call failed')
    equal(m.exit_file.read_text(), '143')


def test_chmod_fails(t):
    """The exit code is recorded even if chmod fails."""
    t.skip_with(valgrind='it makes other system calls')
    m, lines = traced(t, 'wait @/go\nexit 3', missing=('chmod', 'fchmod', 'fchmodat'))
    check(any('fchmod' in line and 'exit' in line and 'ENOSYS' in line for line in lines), 'fchmod(2) did not fail')
    equal((m.exit_file.read_text(), m.persist_exit.read_text()), ('3', '3'))


if __name__ == '__main__':
    main()
