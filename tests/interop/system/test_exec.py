#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""podman exec."""

import concurrent.futures
import hashlib
import os

from podman import IMAGE, main
from harness import check, equal, slow, wait_for


def container(p, name='c'):
    p.must('run', '-d', '--name', name, IMAGE, 'sleep', '1000')


def test_output(p):
    container(p)
    result = p('exec', 'c', 'sh', '-c', 'echo out; echo err >&2; exit 3')
    equal((result.status, result.out, result.err), (3, b'out\n', b'err\n'), 'status, stdout, stderr')


def test_exit_statuses(p):
    """In several containers, because podman runs one session at a time in each."""
    statuses = sorted({*range(0, 256, 6), 1, 2, 125, 127, 128, 129, 137, 143, 254, 255})
    for worker in range(4):
        container(p, f'c{worker}')

    def seen_by(worker):
        return [(status, p('exec', f'c{worker}', 'sh', '-c', f'exit {status}').status) for status in statuses[worker::4]]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        seen = [pair for pairs in pool.map(seen_by, range(4)) for pair in pairs]
    equal(len(seen), len(statuses), 'number of sessions')
    equal([pair for pair in seen if pair[0] != pair[1]], [], 'wrong statuses (expected, got)')


def test_killed_by_signal(p):
    container(p)
    for number in (9, 15, 6):
        p.must('exec', 'c', 'sh', '-c', f'kill -{number} $$', status=128 + number)


def test_missing_executable(p):
    container(p)
    result = p('exec', 'c', 'no-such-program')
    equal(result.status, 127, f'status of {result}')
    check(b'executable file not found' in result.err, f'the reason is missing: {result}')
    check(b'conmon' not in result.err, f'unexpected message: {result}')


def test_not_executable(p):
    container(p)
    result = p('exec', 'c', '/etc/passwd')
    equal(result.status, 126, f'status of {result}')
    check(b'permission denied' in result.err.lower(), f'the reason is missing: {result}')


def test_detached(p):
    container(p)
    p.must('exec', '-d', 'c', 'sh', '-c', 'echo done >/tmp/mark; while [ ! -e /end ]; do sleep 0.05; done')
    wait_for(lambda: p('exec', 'c', 'cat', '/tmp/mark').out == b'done\n', 'the mark')
    wait_for(lambda: len(p.own_monitors()) == 2, 'the monitors of the container and of this session')
    p.end('c', '/end')
    p.only_monitor('c')


def test_stdin(p):
    """10 MB through stdin and back."""
    container(p)
    data = os.urandom(10000000)
    result = p('exec', '-i', 'c', 'cat', input=data)
    equal(result.status, 0, 'status')
    equal(hashlib.sha256(result.out).hexdigest(), hashlib.sha256(data).hexdigest(), 'hash')


def test_stdin_end(p):
    container(p)
    result = p('exec', '-i', 'c', 'sh', '-c', 'cat; exit 4', input=b'text')
    equal((result.status, result.out), (4, b'text'), 'status and output')


def test_no_stdin(p):
    """Without -i there is no input, even if the caller has some."""
    container(p)
    result = p('exec', 'c', 'cat', input=b'unseen')
    equal((result.status, result.out), (0, b''), 'status and output')


@slow(120)
def test_much_output(p):
    """The first bytes are not lost either: the client connects before the process starts."""
    container(p)
    result = p('exec', 'c', 'seq', '1000000')
    equal(hashlib.sha256(result.out).hexdigest(),
          hashlib.sha256(b''.join(b'%d\n' % i for i in range(1, 1000001))).hexdigest(), 'hash')


def test_short_output(p):
    """The process may exit before its output is read."""
    container(p)
    for i in range(10):
        equal(p('exec', 'c', 'echo', i).out, b'%d\n' % i, 'output')


def test_container_ends(p):
    """The sessions of a container end with it."""
    container(p)
    session = p.start('exec', 'c', 'sh', '-c', 'echo up; sleep 1000')
    equal(session.stdout.readline(), b'up\n', 'first line')
    p.must('kill', 'c')
    equal(session.wait(30), 137, 'status of exec')
    p.no_monitors()


def test_preserve_fds(p):
    container(p)
    reader, writer = os.pipe()
    os.write(writer, b'given\n')
    os.close(writer)
    result = p('exec', '--preserve-fds', '1', 'c', 'cat', '/proc/self/fd/3',
               preexec_fn=lambda: os.dup2(reader, 3), close_fds=False)
    os.close(reader)
    equal((result.status, result.out), (0, b'given\n'), f'status and output of {result}')


def test_ended_sessions_leave_nothing(p):
    container(p)
    for _ in range(3):
        p.must('exec', 'c', 'true')
    equal(p.inspect('c', 'ExecIDs'), '[]', 'sessions known to podman')
    p.must('exec', 'c', 'no-such-program', status=127)
    p.only_monitor('c')
    sessions = [entry.name for entry in p.bundle('c').iterdir() if entry.is_dir() and len(entry.name) == 64]
    equal(sessions, [], 'directories of sessions')


def test_many_at_once(p):
    container(p)
    running = [p.start('exec', 'c', 'sh', '-c', f'echo {i}; exit {i}') for i in range(12)]
    for i, process in enumerate(running):
        out, err = process.communicate(timeout=60)
        equal((process.returncode, out), (i, b'%d\n' % i), f'session {i}, stderr {err!r}')


if __name__ == '__main__':
    main()
