#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Standard input of the container: no loss, no deadlock, and closed in time."""

import hashlib
import os
import random
import select
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import alive, check, content, cpu_seconds, differs, equal, kill, main, slow, wait_for  # noqa: E402
from harness.attach import STDOUT


def pump(client, data, limit=60):
    """Sends the data and reads the answer at the same time, until the end of the connection."""
    at, deadline = 0, time.monotonic() + limit
    client.socket.setblocking(False)
    poller = select.poll()
    while True:
        poller.register(client.socket, select.POLLIN | (select.POLLOUT if at < len(data) else 0))
        check(poller.poll((deadline - time.monotonic()) * 1000), f'stuck after {at} bytes; {client.describe()}')
        try:
            while at < len(data):
                at += client.socket.send(data[at:at + 32768])
            if at == len(data):
                client.half_close()
                at += 1
        except BlockingIOError:
            pass
        while client.poll():
            if client.packet() is None:
                return bytes(client.data[STDOUT])


def test_echo(t):
    m = t.create('cat\nexit 3', '-i')
    client = m.attach()
    client.send(b'hello\n')
    client.until(b'hello\n')
    client.half_close()
    client.to_end()
    m.finish(3)


@slow(60)
def test_large_input_comes_back(t):
    """Both directions at the same time."""
    data = random.Random(1).randbytes(24 << 20)
    m = t.create('cat', '-i', log='none')
    back = pump(m.attach(), data)
    equal((len(back), hashlib.sha256(back).digest()), (len(data), hashlib.sha256(data).digest()))
    m.finish(0)


def test_packets_of_every_size(t):
    """Sizes around buffer limits."""
    m = t.create('cat', '-i')
    client, sent = m.attach(), b''
    for size in (1, 2, 4095, 4096, 4097, 8191, 8192, 8193, 32767, 32768):
        chunk = os.urandom(size)
        client.socket.send(chunk)
        sent += chunk
        wait_for(lambda: client.packet() and len(client.data[STDOUT]) == len(sent), f'{size} bytes to come back')
    client.half_close()
    equal(client.to_end(), sent)
    m.finish(0)


def test_container_that_reads_slowly(t):
    """A full pipe blocks the client, not the monitor."""
    m = t.create('wait @/go\ncat', '-i')
    client = m.attach()
    client.socket.setblocking(False)
    sent = 0
    try:
        while sent < 100 << 20:
            sent += client.socket.send(b'x' * 32768)
    except BlockingIOError:
        pass
    check(sent >= 65536, f'only {sent} bytes were accepted')
    m.control('1 10 10\n')
    t.touch('go')
    client.socket.setblocking(True)
    client.half_close()
    equal(len(client.to_end()), sent)
    m.finish(0)


def test_input_before_the_container_reads(t):
    m = t.create('sleep 100\ncat', '-i')
    client = m.attach()
    client.send(b'early')
    client.half_close()
    equal(client.to_end(), b'early')
    m.finish(0)


def test_input_before_the_runtime_has_started(t):
    """Input that arrives before the terminal is not lost."""
    m = t.launch('cat', '--exec-attach', '-i', mode='exec', pipes=('sync', 'start', 'attach')).go()
    equal(m.attach_pipe.message(), {'data': 0})
    client = m.attach()
    client.send(b'early')
    client.half_close()
    m.start.go()
    m.created()
    equal(client.to_end(), b'early')
    m.finish(0)


def test_half_close_closes_the_input(t):
    m = t.create('discard\nprint end\\n\nwait @/go', '-i')
    client = m.attach()
    client.half_close()
    client.until(b'end\n')
    t.touch('go')
    client.to_end()
    m.finish(0)


@differs("the reference does not pass the end of a client's input to a terminal")
def test_half_close_ends_the_input_of_a_terminal(t):
    """As in "echo test | podman run -i -t IMAGE cat"; also after a line without a newline."""
    for text, extra in ((b'', []), (b'test\n', ['-i']), (b'begin', ['-i']), (b'test\nbegin', [])):
        m = t.create('cat', '-t', *extra)
        client = m.attach()
        client.send(text)
        client.half_close()
        # The terminal's echo and cat's output; cat may answer to a line before the rest is echoed.
        equal(sorted(client.to_end().replace(b'begin', b'begin\r\n').splitlines()),
              sorted(2 * text.splitlines()), 'what has come back')
        m.finish(0)


def test_detaching_does_not_end_the_input_of_a_terminal(t):
    """podman shuts down its sending side before it closes the connection. The input of another client ends later."""
    m = t.create('cat', '-t')
    client, other = m.attach(), m.attach()
    client.send(b'one\n')
    other.until(b'one\r\none\r\n')
    client.half_close()
    time.sleep(0.1)
    client.close()
    time.sleep(1.5)
    check(not m.ended(), 'the container has ended')
    other.send(b'two\n')
    other.until(b'two\r\ntwo\r\n')
    begin = time.monotonic()
    other.half_close()
    other.to_end()
    check(time.monotonic() - begin > 0.9, 'it did not wait whether the client closes the connection')
    m.finish(0)


def test_terminal_stays_open_after_clients(t):
    """A client that disconnects does not end the input, nor does a half-close if stdin is left open or the
    terminal is in raw mode."""
    for script, extra, leave in (('cat', [], 'close'), ('cat', ['--leave-stdin-open'], 'half_close'),
                                 ('raw\nprint raw\ncat', [], 'half_close')):
        m = t.create('wait @/go\n' + script, '-t', *extra)
        client, other = m.attach(), m.attach()
        t.touch('go')
        if script != 'cat':
            client.until(b'raw')
        client.send(b'one\n')
        other.until(b'one')
        getattr(client, leave)()
        time.sleep(1.2 if leave == 'half_close' else 0)
        other.send(b'two\n')
        other.until(b'two')
        (t.dir / 'go').unlink()


def test_close_closes_the_input(t):
    m = t.create('discard\nprint end\\n', '-i')
    m.attach().close()
    m.finish(0)
    equal(content(m.records()), b'end\n')


def test_any_client_closes_it_for_all(t):
    m = t.create('discard\nprint end\\n', '-i')
    first = m.attach()
    m.attach().close()
    equal(first.to_end(), b'end\n')
    m.finish(0)


def test_leave_stdin_open(t):
    """The input stays open when clients disconnect."""
    m = t.create('cat', '-i', '--leave-stdin-open')
    for number in range(3):
        client = m.attach()
        text = f'line {number}\n'.encode()
        client.send(text)
        client.until(text)
        (client.half_close if number == 1 else client.close)()
    check(alive(m.container), 'the input was closed')
    kill(m.container)
    m.finish(137)
    equal(content(m.records()), b'line 0\nline 1\nline 2\n')


def test_input_of_several_clients(t):
    m = t.create('cat', '-i')
    clients = [m.attach() for _ in range(3)]
    for number, client in enumerate(clients):
        client.send(f'{number}\n'.encode())
        clients[0].until(f'{number}\n'.encode())
    equal(sorted(clients[0].data[STDOUT].split()), [b'0', b'1', b'2'])


def test_without_stdin(t):
    """The container reads end of file at once; input from clients is discarded."""
    m = t.create('discard\nprint end\\n\nwait @/go')
    client = m.attach()
    client.send(b'x')
    m.wait_log(b'end')
    t.touch('go')
    client.to_end()
    m.finish(0)


@differs('the reference ends the connection of a client that sends to a container without stdin')
def test_sending_without_stdin_keeps_the_connection(t):
    m = t.create('wait @/go\nprint out\\n')
    client = m.attach()
    for _ in range(50):
        client.send(b'x' * 1000)
    t.touch('go')
    equal(client.to_end(), b'out\n')
    check(not client.data[3], 'unexpected data')
    m.finish(0)


@differs('the reference uses all processor time')
def test_container_that_closed_its_input(t):
    """Writes to the closed pipe fail; the monitor continues and does not use processor time."""
    m = t.create('close 0\nprint closed\\n\nwait @/go\nprint out\\n\nexit 3', '-i')
    client = m.attach()
    m.wait_log(b'closed')
    for _ in range(20):
        client.send(b'x' * 10000)
    time.sleep(0.05)
    before = cpu_seconds(m.pid)
    time.sleep(0.3)
    check(cpu_seconds(m.pid) - before < 0.05, 'the monitor uses processor time')
    t.touch('go')
    check(client.to_end().endswith(b'out\n'), client.describe())
    m.finish(3)


def test_container_that_never_reads(t):
    """The end is recorded even if there is unread input."""
    m = t.create('wait @/go\nexit 3', '-i')
    client = m.attach()
    client.socket.setblocking(False)
    try:
        while True:
            client.socket.send(b'x' * 32768)
    except BlockingIOError:
        pass
    t.touch('go')
    m.finish(3)


def test_many_small_packets(t):
    data = b''.join(f'{number}\n'.encode() for number in range(20000))
    m = t.create('cat', '-i', log='none')
    client = m.attach()
    client.socket.setblocking(False)
    back, at, poller = b'', 0, select.poll()
    lines = data.splitlines(True)
    poller.register(client.socket, select.POLLIN | select.POLLOUT)
    while len(client.data[STDOUT]) < len(data):
        check(poller.poll(10000), 'stuck')
        try:
            while at < len(lines):
                client.socket.send(lines[at])
                at += 1
        except BlockingIOError:
            pass
        while client.poll():
            client.packet()
    equal(client.data[STDOUT], data)
    client.half_close()
    m.finish(0)


if __name__ == '__main__':
    main()
