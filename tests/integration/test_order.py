#!/usr/bin/python3
"""The order of what the monitor does at the end of a container, as the kernel sees it."""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from harness import *  # noqa

CALLS = 'read,write,writev,sendto,sendmsg,sendmmsg,close,close_range,shutdown,rename,renameat,renameat2,unlink,unlinkat,' \
        'fsync,fdatasync,execve,prctl,fork,vfork,clone,clone3,wait4,waitid,exit_group,socket,openat'


# Calls that older kernels have not.
NEW = ('openat2', 'close_range', 'pidfd_open', 'pidfd_send_signal')


def traced(t, container, *extra, mode='create', missing=()):
    """The system calls of the monitor (and of no other process) as lines; descriptors with their targets."""
    if not os.path.exists('/usr/bin/strace'):
        skip('needs strace')
    m = t.monitor()
    spare, far = os.pipe()
    trace = t.dir / 'trace'
    pipes = ('sync', 'start', 'attach') if mode == 'exec' else ('sync', 'start')
    argv = t.arguments(m, mode, conmon_pidfile=False) + [t.expand(str(word)) for word in extra]
    if mode == 'exec':
        argv.append('--exec-attach')
    calls = ','.join((CALLS, *missing))
    strace = ['/usr/bin/strace', '-ff', '-yy', '-qq', '-s', '300', '-o', str(trace), '-e', f'trace={calls}']
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
    monitor = min(t.dir.glob('trace.*'), key=lambda path: int(path.suffix[1:]))
    return m, monitor.read_text().splitlines()


def position(lines, pattern, after=-1):
    """The number of the first line behind `after` that has the pattern."""
    for number, line in enumerate(lines):
        if number > after and re.search(pattern, line):
            return number
    raise Failure(f'{pattern!r} is not in the trace behind line {after}:\n' + '\n'.join(lines[-60:]))


def in_order(lines, *steps):
    """Each step (what, pattern) comes behind the one before."""
    at, before = -1, 'the start'
    for what, pattern in steps:
        first = at
        try:
            at = position(lines, pattern, at)
        except Failure:
            raise Failure(f'"{what}" does not come after "{before}":\n' + '\n'.join(lines[-60:])) from None
        before = what


def test_end_of_exec(t):
    """Output, log, sync of the log, the caller's descriptors, clients, exit files, exit code, end."""
    m, lines = traced(t, 'wait @/go\nprint last words\\n\nexit 3', '--exit-command', '/bin/true', '-l',
                      f'k8s-file:{t.dir}/exec.log', mode='exec')
    in_order(lines,
             ('last words are read', r'read\(.*last words'),
             ('last words are logged', r'(write|writev)\(.*exec\.log.*last words'),
             ('last words are sent', r'(write|send\w+)\(.*\\2.*last words'),
             ('the log is synced', r'(fsync|fdatasync)\(.*exec\.log'),
             ("the caller's descriptor is closed", r'close\(9<'),
             ('the client is closed', r'close\(\d+<UNIX.*SEQPACKET|close\(\d+<socket|close\(\d+<UNIX'),
             ('the persistent exit file', r'rename.*persist.*exit"|rename.*"exit"'),
             ('the exit file', rf'rename.*{CID}"'),
             ('the exit code', r'(write|sendto)\(.*data.*: 3'),
             ('the exit command', r'(clone|clone3|fork|vfork)\('),
             ('the end', r'exit_group\(3\)'))


def test_subreaper_ends_before_the_exit_command(t):
    """B17"""
    m, lines = traced(t, 'wait @/go\nexit 3', '--exit-command', '/bin/true')
    in_order(lines, ('exit file', rf'rename.*{CID}"'), ('no subreaper', r'prctl\(PR_SET_CHILD_SUBREAPER, 0\)'),
             ('the exit command', r'(clone|clone3|fork|vfork)\('), ('the end', r'exit_group\(3\)'))


def test_sync_pipe_ends_before_the_exit_command(t):
    """B25"""
    m, lines = traced(t, 'wait @/go\nexit 3', '--exit-command', '/bin/true')
    in_order(lines, ('exit file', rf'rename.*{CID}"'), ('sync pipe', r'close\(3<|close_range\(3,'),
             ('the exit command', r'(clone|clone3|fork|vfork)\('))


def test_old_kernel(t):
    """Without close_range(2) and pidfds the end of a container is no other."""
    t.skip_with(valgrind='it makes system calls of its own')
    m, lines = traced(t, 'wait @/go\nprint last words\n\nexit 3', '--exit-command', t.runtime, '--exit-command-arg', 'script',
                      '--exit-command-arg', t.expand('dump @/exit'), missing=NEW)
    in_order(lines, ('last words are logged', r'(write|writev)\(.*last words'),
             ('exit file', rf'rename.*{CID}"'), ('sync pipe', r'close\(3<'),
             ('the exit command', r'(clone|clone3|fork|vfork)\('), ('the end', r'exit_group\(3\)'))
    for call in ('close_range', 'pidfd_open'):
        check(any(line.startswith(call) and 'ENOSYS' in line for line in lines), f'{call}(2) did not fail')
    equal(sorted(t.dump('exit')['fds']), ['0', '1', '2'])
    equal(m.exit_file.read_text(), '3')


def test_filter_that_knows_pidfds_by_half(t):
    """Signals reach the container where pidfds can be had, but not be used to send any."""
    t.skip_with(valgrind='it makes system calls of its own')
    m, lines = traced(t, 'wait @/go\nsh kill -TERM $PPID; exec sleep 100', missing=['pidfd_send_signal'])
    check(any('ENOSYS' in line for line in lines if line.startswith('pidfd_send_signal')), 'no call failed')
    equal(m.exit_file.read_text(), '143')


def test_file_system_without_modes(t):
    """What can't be made readable for others is recorded all the same."""
    t.skip_with(valgrind='it makes system calls of its own')
    m, lines = traced(t, 'wait @/go\nexit 3', missing=('chmod', 'fchmod', 'fchmodat'))
    check(any('fchmod' in line and 'exit' in line and 'ENOSYS' in line for line in lines), 'fchmod(2) did not fail')
    equal((m.exit_file.read_text(), m.persist_exit.read_text()), ('3', '3'))


if __name__ == '__main__':
    main()
