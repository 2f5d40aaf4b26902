#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Standard input, and clients that connect and disconnect."""

import hashlib
import os
import signal
import subprocess
import threading

from podman import IMAGE, main
from harness import check, differs, equal, slow, wait_for

# Prints a line for each line of its stdin.
ECHO = 'echo up; while read line; do echo "got $line"; done; echo end'


def expect(client, line):
    """The next line of a client's output."""
    equal(client.stdout.readline(), line, 'next line')


@slow(120)
def test_100_mib(p):
    """Through stdin and back at the same time."""
    block = os.urandom(1 << 20)
    sent, received = hashlib.sha256(block * 100).hexdigest(), hashlib.sha256()
    process = p.start('run', '-i', '--rm', '--log-driver', 'none', IMAGE, 'cat', stdin=subprocess.PIPE,
                      stderr=subprocess.STDOUT)

    def feed():
        with process.stdin as pipe:
            for _ in range(100):
                pipe.write(block)
    feeder = threading.Thread(target=feed)
    feeder.start()
    while data := process.stdout.read(1 << 16):
        received.update(data)
    feeder.join()
    equal(process.wait(60), 0, 'status')
    equal(received.hexdigest(), sent, 'hash of the output')


def test_end_of_stdin(p):
    result = p('run', '-i', '--rm', IMAGE, 'sh', '-c', 'cat; echo end; exit 3', input=b'text\n')
    equal((result.status, result.out), (3, b'text\nend\n'), 'status and output')


def test_empty_stdin(p):
    p.must('run', '-i', '--rm', IMAGE, 'cat', input=b'')


def test_unread_stdin(p):
    """A container that ignores or has closed its input blocks neither podman nor the monitor. podman's output
    is not checked: it stops reading when it can't send."""
    data = bytes(5000000)
    for name, script in (('c', 'echo out; exit 3'), ('d', 'exec <&-; seq 1000; echo out; exit 3')):
        result = p('run', '-i', '--name', name, IMAGE, 'sh', '-c', script, input=data)
        equal(result.status, 3, f'status of {result}')
        check(p.logs(name)[0].endswith(b'out\n'), 'the log is not complete')


def test_no_stdin(p):
    result = p('run', '--rm', IMAGE, 'cat', input=b'unseen')
    equal((result.status, result.out), (0, b''), 'status and output')


def test_two_clients(p):
    """Both get all output after they connected; input from both arrives."""
    p.must('run', '-d', '-i', '--name', 'c', IMAGE, 'sh', '-c', ECHO)
    p.wait_logs('c', b'up\n')
    clients = [attach(p)]
    clients.append(attach(p))
    expect(clients[0], b'got sync\n')
    for number, client in enumerate(clients):
        client.stdin.write(b'line %d\n' % number)
        for other in clients:
            expect(other, b'got line %d\n' % number)
    clients[0].stdin.close()
    for client in clients:
        expect(client, b'end\n')
        equal(client.wait(20), 0, 'status of a client')
    equal(p.logs('c')[0], b'up\n' + b'got sync\n' * 2 + b'got line 0\ngot line 1\nend\n', 'log')


def attach(p):
    """Attaches a client and waits for the echo of a line."""
    client = p.start('attach', 'c', stdin=subprocess.PIPE)
    client.stdin.write(b'sync\n')
    expect(client, b'got sync\n')
    return client


def test_client_killed(p):
    """Another client, the log and the container are not affected."""
    p.must('run', '-d', '--name', 'c', IMAGE, 'sh', '-c', 'while [ ! -e /end ]; do echo tick; sleep 0.02; done; exit 5')
    first, second = (p.start('attach', '--no-stdin', 'c') for _ in range(2))
    expect(first, b'tick\n')
    expect(second, b'tick\n')
    first.kill()
    for _ in range(20):
        expect(second, b'tick\n')
    p.end('c', '/end')
    out, _ = second.communicate(timeout=20)
    check(set(out.split()) <= {b'tick'}, 'unexpected output')
    equal(p.must('wait', 'c'), '5', 'exit status')


def test_signals_are_forwarded(p):
    """podman run and podman attach forward signals to the container."""
    script = 'trap "echo term; exit 7" TERM; trap "touch /passing" WINCH; while :; do sleep 0.05; done'
    client = p.start('run', '--name', 'c', IMAGE, 'sh', '-c', script)
    wait_for(lambda: passing(p, client), 'podman to forward signals')
    client.send_signal(signal.SIGTERM)
    out, _ = client.communicate(timeout=20)
    equal((client.returncode, out), (7, b'term\n'), 'status and output')


def passing(p, client):
    """Whether podman forwards signals yet. Before, it handles them itself; SIGWINCH is harmless then."""
    client.send_signal(signal.SIGWINCH)
    return p('exec', 'c', 'test', '-e', '/passing').status == 0


def test_slow_reader(p):
    """A client that reads slowly gets all output."""
    client = p.start('run', '--rm', IMAGE, 'seq', '300000')
    expect(client, b'1\n')
    # The pipes and sockets in between fill up, and the container has to wait.
    wait_for(lambda: container_waits(p), 'the container to wait')
    out, _ = client.communicate(timeout=60)
    equal((client.returncode, out), (0, b''.join(b'%d\n' % i for i in range(2, 300001))), 'status and output')


def container_waits(p):
    """Whether the only container makes no progress for a moment."""
    pid = p.inspect(p.must('ps', '--quiet'), 'State.Pid')
    with open(f'/proc/{pid}/wchan') as file:
        return 'pipe' in file.read()


@differs('the reference stops the container if a client does not read')
def test_stopped_client(p):
    """A client that connected later and stops reading affects nothing else."""
    script = 'while [ ! -e /go ]; do sleep 0.05; done; seq 1000000; exit 3'
    p.must('run', '-d', '--name', 'c', IMAGE, 'sh', '-c', f'echo up; {script}')
    p.wait_logs('c', b'up\n')
    client = p.start('attach', '--no-stdin', 'c')
    client.send_signal(signal.SIGSTOP)
    p.end('c', '/go')
    equal(p.must('wait', 'c', timeout=25), '3', 'exit status')
    equal(p.logs('c')[0].count(b'\n'), 1000001, 'lines in the log')


if __name__ == '__main__':
    main()
