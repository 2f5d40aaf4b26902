#!/usr/bin/python3
"""Servers that are absent, late, deaf, that hang up, restart or talk nonsense, for each driver that keeps a connection: the
container runs at full speed, its end is recorded on time, and the sums are right to the byte."""

import os
import re
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from receivers import *  # noqa
from harness import *  # noqa

# What a message of one line has in it, whatever is around.
LINE = re.compile(rb'line (\d+) of the container')
COUNT = 2000
LOOP = 'i=0; while [ $i -lt %d ]; do echo "line $i of the container"; i=$((i+1)); %s done' % (COUNT, '%s')
ALL_AT_ONCE = 'sh ' + LOOP % ''
IN_PIECES = 'sh ' + LOOP % '[ $((i % 200)) = 0 ] && sleep 0.1;'

DRIVERS = {
    'fluentd': ('fluentd-address=tcp://127.0.0.1:{}',),
    'fluentd-ack': ('fluentd-address=tcp://127.0.0.1:{}', 'fluentd-request-ack=true'),
    'syslog': ('syslog-address=tcp://127.0.0.1:{}',),
    'syslog-counted': ('syslog-address=tcp://127.0.0.1:{}', 'syslog-format=rfc5424'),
    'gelf': ('gelf-address=tcp://127.0.0.1:{}',),
}
tests = {}


def for_each_driver(function):
    def make(name):
        def test(t):
            function(t, name)
        if hasattr(function, 'timeout'):
            test.timeout = function.timeout
        return test
    for name in DRIVERS:
        tests[f'{function.__name__}_{name.replace("-", "_")}'] = make(name)
    return function


def start(t, name, port, script, *options):
    words = [option.format(port) for option in DRIVERS[name]] + ['drain-timeout=300ms', *options]
    return launch(t, script, name.split('-')[0], *words)


def end_on_time(m):
    """Waits for the container's end, then looks how long the exit file takes."""
    wait_for(lambda: not proc.alive(m.container), 'the end of the container')
    begin = time.monotonic()
    wait_for(m.exit_file.exists, 'the exit file')
    check(time.monotonic() - begin < 0.5, f'the exit file came {time.monotonic() - begin:.2f} s late')
    return finish(m)


def acknowledge(peer, connection, parts):
    """Reads all, and answers each message of fluentd's protocol that asks for it, as soon as its end is there."""
    data, answered = b'', 0
    while piece := connection.recv(1 << 16):
        parts.append(piece)
        data += piece
        chunks = re.findall(rb'\xa5chunk(\xb8[A-Za-z0-9+/=]{24})', data)
        for chunk in chunks[answered:]:
            connection.sendall(b'\x81\xa3ack' + chunk)
        answered = len(chunks)


def server(t, name, port):
    return Peer(t, acknowledge if name == 'fluentd-ack' else None, address=('127.0.0.1', port))


def numbers(data):
    return [int(found) for found in LINE.findall(data)]


@for_each_driver
def test_absent(t, name):
    m = start(t, name, free_port(), f'{ALL_AT_ONCE}; head -c 2000000 /dev/zero')
    sink = end_on_time(m)
    equal(sink['out'], {'records': 0, 'bytes': 0}, 'what was delivered to nobody')
    check(sink['errors']['count'] > 0, 'no error was counted')


@for_each_driver
def test_late(t, name):
    """What fits into the queue is there when the server is, in order and once."""
    port = free_port()
    m = start(t, name, port, f'{ALL_AT_ONCE}; touch {t.dir}/written; while [ ! -e {t.dir}/go ]; do sleep 0.05; done',
              'max-buffer-size=4m')
    t.exists('written')
    peer = server(t, name, port)
    wait_for(lambda: len(numbers(b''.join(peer.received()))) >= COUNT, 'all lines')
    equal(numbers(b''.join(peer.received())), list(range(COUNT)), 'lines')
    t.touch('go')
    sink = end_on_time(m)
    equal(sink['out']['records'], COUNT)


@for_each_driver
def test_deaf(t, name):
    """It accepts and never reads."""
    peer = Peer(t, handle=lambda *_: time.sleep(30))
    m = start(t, name, peer.port, f'fill 1 30000000 100\ntouch @/written')
    begin = time.monotonic()
    t.exists('written')
    check(time.monotonic() - begin < 5, 'the container was held up')
    sink = end_on_time(m)
    check(sink['dropped']['queue-full']['records'] > 0, 'nothing was dropped')
    equal(sink['in']['bytes'], 30000000)


@for_each_driver
def test_hangs_up(t, name):
    """It closes after each piece that it has read."""
    def read_one(peer, connection, parts):
        parts.append(connection.recv(200))
        connection.close()
    peer = Peer(t, handle=read_one)
    m = start(t, name, peer.port, IN_PIECES)
    sink = end_on_time(m)
    equal(sink['in']['records'], COUNT)
    check(peer.connections > 2, f'{peer.connections} connections')
    check(m.stderr.read_text().count('\n') < 5, f'too many messages: {m.stderr.read_text()}')


@for_each_driver
def test_restarts(t, name):
    """It goes away in the middle and comes back; no line comes twice over one connection, and none is torn."""
    port = free_port()
    peers = [server(t, name, port)]
    m = start(t, name, port, IN_PIECES, 'max-buffer-size=4m')
    wait_for(lambda: numbers(b''.join(peers[0].received())), 'the first lines')
    peers[0].close()
    time.sleep(0.3)
    peers.append(server(t, name, port))
    sink = end_on_time(m)
    for data in (data for peer in peers for data in peer.received()):
        seen = numbers(data)
        equal(seen, list(range(seen[0], seen[0] + len(seen))) if seen else [], 'lines of one connection')
    last = numbers(peers[1].received()[-1])
    equal(last[-1] if last else None, COUNT - 1, 'the last line')
    equal(check_sums(sink), 0, 'bytes dropped')


@for_each_driver
def test_garbage(t, name):
    """It talks without having been asked."""
    def babble(peer, connection, parts):
        connection.sendall(os.urandom(100000) + b'{"ack": 1}' * 100)
        peer.read_all(connection, parts)
    peer = Peer(t, handle=babble)
    m = start(t, name, peer.port, IN_PIECES)
    sink = end_on_time(m)
    equal(sink['in']['records'], COUNT)


def test_unresolvable(t):
    """A name that nobody knows: the process that asked is gone at the end."""
    m = launch(t, ALL_AT_ONCE, 'syslog', 'syslog-address=tcp://does-not-exist.invalid:514', 'drain-timeout=100ms')
    sink = end_on_time(m)
    equal(sink['out']['bytes'], 0)


def test_udp_absent(t):
    """Nobody can know what becomes of a datagram, but a refusal is heard."""
    m = launch(t, IN_PIECES, 'syslog', f'syslog-address=udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}',
               'drain-timeout=100ms')
    sink = end_on_time(m)
    check(sink['errors']['count'] > 0, 'no refusal was counted')


def test_blocking(t):
    """With mode=blocking the container waits, and everything arrives."""
    go = threading.Event()

    def wait_and_read(peer, connection, parts):
        go.wait()
        peer.read_all(connection, parts)
    peer = Peer(t, handle=wait_and_read)
    m = start(t, 'syslog', peer.port, 'fill 1 30000000 100\ntouch @/written', 'mode=blocking', 'drain-timeout=10s')
    time.sleep(0.5)
    check(not (t.dir / 'written').exists(), 'the container did not wait')
    go.set()
    sink = finish(m)
    equal(sink['out'], {'records': 300000, 'bytes': 30000000})
    wait_for(lambda: b''.join(peer.received()).count(b'\n') == 300000, 'all lines')


if __name__ == '__main__':
    tests.update({name: function for name, function in list(globals().items())
                  if name in ('test_unresolvable', 'test_udp_absent', 'test_blocking')})
    main(tests)
