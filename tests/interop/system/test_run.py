#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""podman run: exit statuses, output, and errors when a container can't start."""

import hashlib
import os
import time

from podman import IMAGE, main
from harness import check, differs, equal, matches, proc, slow


def test_success(p):
    result = p('run', '--rm', IMAGE, 'sh', '-c', 'echo out; echo err >&2')
    equal((result.status, result.out, result.err), (0, b'out\n', b'err\n'), 'status, stdout, stderr')


def test_exit_statuses(p):
    for status in (0, 1, 3, 42, 125, 126, 127, 128, 137, 255):
        p.shell('--rm', script=f'exit {status}', status=status)


def test_exit_status_stays(p):
    """podman learns the exit status from the exit file and the clean-up command."""
    p.shell('--name', 'c', script='exit 3', status=3)
    equal(p.inspect('c', 'State.ExitCode'), '3', 'recorded status')
    equal(p.inspect('c', 'State.Status'), 'exited', 'recorded state')
    p.no_monitors()


def test_killed_by_signal(p):
    """In the host's pid namespace, because the init process of a namespace ignores its own signals."""
    for number in (9, 15, 11):
        p.shell('--rm', '--pid', 'host', script=f'kill -{number} $$', status=128 + number)


def test_missing_executable(p):
    result = p('run', '--name', 'c', IMAGE, 'no-such-program')
    equal(result.status, 127, f'status of {result}')
    check(b'executable file not found' in result.err, f'the reason is missing: {result}')
    check(b'conmon' not in result.err, f'unexpected message: {result}')
    p.no_monitors()


def test_not_executable(p):
    result = p('run', '--rm', IMAGE, '/etc/passwd')
    equal(result.status, 126, f'status of {result}')
    check(b'permission denied' in result.err.lower(), f'the reason is missing: {result}')


def test_missing_directory(p):
    result = p('run', '--rm', '--workdir', '/no/such/place', IMAGE, 'true')
    check(result.status in (126, 127), f'status of {result}')
    check(b'/no/such/place' in result.err, f'the reason is missing: {result}')


@slow(120)
def test_much_output(p):
    """5 MB of short lines through podman and in the log."""
    expected = hashlib.sha256(b''.join(b'%d\n' % i for i in range(1, 700001))).hexdigest()
    result = p('run', '--name', 'c', IMAGE, 'seq', '700000')
    equal(result.status, 0, 'status')
    equal(hashlib.sha256(result.out).hexdigest(), expected, 'hash of the output')
    equal(hashlib.sha256(p.logs('c')[0]).hexdigest(), expected, 'hash of the log')


def test_output_of_both_streams(p):
    script = 'i=0; while [ $i -lt 2000 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done'
    result = p('run', '--name', 'c', IMAGE, 'sh', '-c', script)
    for letter, got in ((b'o', result.out), (b'e', result.err)):
        equal(got, b''.join(b'%c%d\n' % (letter[0], i) for i in range(2000)), f'stream {letter}')
    equal(p.logs('c'), (result.out, result.err), 'log')


def test_output_at_the_end(p):
    """An unfinished last line is neither lost nor completed."""
    for _ in range(5):
        result = p('run', '--rm', IMAGE, 'printf', 'no newline')
        equal(result.out, b'no newline', 'output')


def test_detached_returns(p):
    """The monitor and its children must not keep the caller's descriptors open."""
    started = time.monotonic()
    cid = p.must('run', '-d', IMAGE, 'sleep', '1000')
    check(time.monotonic() - started < 10, 'podman run -d waited')
    matches('[0-9a-f]{64}', cid, 'output of run -d')
    equal(p.inspect(cid, 'State.Running'), 'true', 'running')


def test_monitor_process(p):
    """The configured monitor is used, and its name and command line are as callers expect."""
    p.must('run', '-d', '--name', 'c', IMAGE, 'sleep', '1000')
    pid = p.conmon_pid('c')
    equal(os.readlink(f'/proc/{pid}/exe'), os.path.realpath(p.conmon), 'executable')
    equal(proc.status_field(pid, 'Name'), 'conmon', 'name of the process')
    check(p.inspect('c', 'Id') in proc.command(pid), 'the command line of the monitor has changed')
    equal(os.getsid(pid), pid, 'session')
    equal({proc.descriptors(pid)[fd] for fd in (0, 1, 2)}, {'/dev/null'}, 'stdio')
    equal(proc.parent(int(p.inspect('c', 'State.Pid'))), pid, 'parent of the container')


def test_info(p):
    output = p.must('info', '--format', '{{.Host.Conmon.Path}} {{.Host.Conmon.Version}}')
    matches(rf'{p.conmon} conmon version \d+\.\d+\.\d+, commit: \S+', output, 'podman info')


def test_reopen_standard_streams(p):
    """/dev/stdout can be opened."""
    result = p('run', '--rm', IMAGE, 'sh', '-c', 'echo out >/dev/stdout; echo err >/dev/stderr')
    equal((result.status, result.out, result.err), (0, b'out\n', b'err\n'), 'status, stdout, stderr')


@differs('in 2.1.3 to 2.1.7 only root can open the pipes')
def test_reopen_standard_streams_as_user(p):
    result = p('run', '--rm', '--user', 'user', IMAGE, 'sh', '-c', 'echo out >/dev/stdout; echo err >/dev/stderr')
    equal((result.status, result.out, result.err), (0, b'out\n', b'err\n'), 'status, stdout, stderr')


def test_preserve_fds(p):
    reader, writer = os.pipe()
    os.write(writer, b'given\n')
    os.close(writer)
    os.set_inheritable(reader, True)
    # podman passes descriptor 3, and subprocess can't choose numbers.
    result = p('run', '--rm', '--preserve-fds', '1', IMAGE, 'cat', '/proc/self/fd/3',
               preexec_fn=lambda: os.dup2(reader, 3), close_fds=False)
    os.close(reader)
    equal((result.status, result.out), (0, b'given\n'), f'status and stdout of {result}')


def test_no_descriptors_leak(p):
    """The container has its standard streams and no descriptors of the monitor."""
    output = p.shell('--rm', script='ls -l /proc/self/fd | grep -v "/proc/"')
    numbers = {line.split(' -> ')[0].split()[-1] for line in output.splitlines() if ' -> ' in line}
    equal(numbers, {'0', '1', '2'}, f'descriptors in {output}')


@differs('2.1.6 writes the file where podman does not look for it')
def test_out_of_memory(p):
    result = p('run', '--name', 'c', '--memory', '16m', IMAGE, 'tail', '/dev/zero')
    equal(result.status, 137, f'status of {result}')
    equal(p.inspect('c', 'State.OOMKilled'), 'true', 'OOMKilled')


def test_health_check(p):
    p.must('run', '-d', '--name', 'c', '--health-cmd', 'test -e /good', '--health-interval', 'disable', IMAGE,
           'sleep', '1000')
    p.must('healthcheck', 'run', 'c', status=1)
    p.must('exec', 'c', 'touch', '/good')
    p.must('healthcheck', 'run', 'c', status=0)


def test_many_at_once(p):
    """Ten containers with different statuses."""
    started = [p.start('run', '--rm', IMAGE, 'sh', '-c', f'echo {i}; exit {i}') for i in range(10)]
    for i, process in enumerate(started):
        out, err = process.communicate(timeout=60)
        equal((process.returncode, out), (i, b'%d\n' % i), f'container {i}, stderr {err!r}')


if __name__ == '__main__':
    main()
