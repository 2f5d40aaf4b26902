#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""passthrough.tee: the container's output goes to the monitor's own stdout and stderr and to other logs."""

import json
import os
import pty
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import check, content, equal, main, needs_root, wait_for  # noqa: E402

TEE = ('-l', 'passthrough', '--log-opt', 'passthrough.tee=yes')
SCRIPT = 'print out\\n\neprint err\\n\nfill 1 3000000 100\nprint tail\nexit 3'


def read_all(fd):
    parts = []
    while True:
        part = os.read(fd, 65536)
        if not part:
            return b''.join(parts)
        parts.append(part)


def check_output(m, out, err):
    records = m.records()
    equal(content(records), out, 'the log of stdout')
    equal(content(records, 'stderr'), err, 'the log of stderr')
    check(out.startswith(b'out\n') and out.endswith(b'tail') and len(out) == 3000008, 'the output')
    equal(err, b'err\n', 'stderr')


def run(t, out, err, stdin=None, script=SCRIPT):
    """Starts a monitor with `out` and `err` as stdout and stderr."""
    stdio = {1: out, 2: err}
    if stdin is not None:
        stdio[0] = stdin
    m = t.launch(script, *TEE, spawn={'stdio': stdio})
    for fd in stdio.values():
        os.close(fd)
    return m


def test_pipes(t):
    ends = [os.pipe() for _ in range(2)]
    m = run(t, ends[0][1], ends[1][1])
    m.go().created()
    out, err = read_all(ends[0][0]), read_all(ends[1][0])
    m.finish(3)
    check_output(m, out, err)


def test_files(t):
    out, err = t.dir / 'out', t.dir / 'err'
    flags = os.O_WRONLY | os.O_CREAT
    m = run(t, os.open(out, flags), os.open(err, flags))
    m.go().created().finish(3)
    check_output(m, out.read_bytes(), err.read_bytes())


def test_sockets(t):
    """As a service manager passes them."""
    pairs = [socket.socketpair() for _ in range(2)]
    m = run(t, pairs[0][1].detach(), pairs[1][1].detach())
    m.go().created()
    out, err = read_all(pairs[0][0].fileno()), read_all(pairs[1][0].fileno())
    m.finish(3)
    check_output(m, out, err)


def test_stdin(t):
    """The container reads the monitor's stdin."""
    source, sink, err = os.pipe(), os.pipe(), os.open('/dev/null', os.O_WRONLY)
    m = run(t, sink[1], err, source[0], 'cat')
    m.go().created()
    os.write(source[1], b'hello\n')
    equal(os.read(sink[0], 100), b'hello\n')
    os.close(source[1])
    m.finish(0)
    equal(content(m.records()), b'hello\n')


def test_slow_reader(t):
    """The container waits for the reader of its output, and the flags of the shared pipe are not changed."""
    reader, writer = os.pipe()
    m = run(t, os.dup(writer), os.open('/dev/null', os.O_WRONLY), script='fill 1 3000000 100')
    m.go().created()
    check(os.get_blocking(writer), 'O_NONBLOCK was set on the shared pipe')
    os.close(writer)
    equal(len(read_all(reader)), 3000000)
    m.finish(0)


@needs_root
def test_terminal_of_another_user(t):
    """It can't be opened again, and nobody reads it: writing blocks, but the end is recorded."""
    program, t.runtime = t.for_another_user(t.program, t.runtime)
    m = t.monitor()
    master, slave = pty.openpty()
    os.fchmod(slave, 0o600)
    for directory in (t.tmp, m.root, m.bundle, m.exits, m.persist):
        directory.chmod(0o777)
    argv = [*t.arguments(m, log='passthrough', conmon_pidfile=False), *TEE[2:], '-l', f'k8s-file:{m.log}', '--sync']
    m.spawn(['/usr/bin/setpriv', '--reuid', '12345', '--regid', '12345', '--clear-groups', program, *argv],
            t.environment('fill 1 30000 100\nexit 3'), ('sync', 'start'), stdio={1: slave, 2: slave})
    os.close(slave)
    m.go().created()
    wait_for(m.exit_file.exists, 'the exit file')
    check(not m.ended(), 'writing did not block')
    os.close(master)
    m.finish(3)


def test_reader_that_leaves(t):
    reader, writer = os.pipe()
    m = run(t, writer, os.open('/dev/null', os.O_WRONLY), script='wait @/go\nfill 1 3000000 100')
    m.go().created()
    os.close(reader)
    t.touch('go')
    m.finish(0)
    equal(len(content(m.records())), 3000000)


def test_one_of_two_readers_leaves(t):
    """Lost bytes are counted, and the other reader gets all output."""
    out, err = os.pipe(), os.pipe()
    m = run(t, out[1], err[1], script='wait @/go\nfill 1 300000 100\nprint end\neprint alive\\n\nfill 2 3000 100\n')
    m.go().created()
    os.close(out[0])
    t.touch('go')
    text = read_all(err[0])
    m.finish(0)
    check(text.startswith(b'alive\n') and len(text) == 3006, f'stderr: {text[:100]!r}')
    sink, = [sink for sink in json.loads((m.persist / 'log-status.json').read_text())['sinks']
             if sink['driver'] == 'passthrough']
    equal(sink['dropped']['at-end']['bytes'], 300003, 'bytes of the stream without a reader')
    equal(sink['out']['bytes'], 3006, 'bytes of the stream with a reader')
    equal(sink['in']['records'], sink['out']['records'] + sink['dropped']['at-end']['records'], 'records')


if __name__ == '__main__':
    main()
