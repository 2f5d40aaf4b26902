#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Servers that are absent, late or don't read, that hang up, restart or send garbage, for each driver with a
server: the container runs at full speed, its end is recorded in time, and the counters are exact."""

import contextlib
import os
import re
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from receivers import (  # noqa: E402
    bind_dev_log, DatagramPeer, finish, free_port, hide_run, launch, NameServer, own_network, Peer, sockets,
    status_now, vanish)
from harness import check, equal, main, proc, wait_for  # noqa: E402

# The line in a message.
LINE = re.compile(rb'line (\d+) of the container')

# The transport of each driver, the option for the address, and further options.
DRIVERS = {
    'fluentd': ('tcp', 'fluentd-address'),
    'fluentd-ack': ('tcp', 'fluentd-address', 'fluentd-request-ack=true'),
    'fluentd-unix': ('unix', 'fluentd-address'),
    'syslog': ('tcp', 'syslog-address'),
    'syslog-counted': ('tcp', 'syslog-address', 'syslog-format=rfc5424'),
    'syslog-unix': ('unix', 'syslog-address'),
    'syslog-unixgram': ('unixgram', 'syslog-address'),
    'syslog-udp': ('udp', 'syslog-address'),
    'gelf': ('tcp', 'gelf-address'),
    'otlp': ('tcp', 'otlp-endpoint', 'batch-wait=20ms'),
    'http': ('tcp', 'http-url', 'batch-wait=20ms'),
    'gelf-udp': ('udp', 'gelf-address', 'gelf-compression-type=none'),
}
STREAMS, LOCAL, HTTP = ('tcp', 'unix'), ('unix', 'unixgram'), ('otlp', 'http')
tests = {}


def for_drivers(*transports):
    """Creates a test for each driver that uses one of these transports, or for all."""
    def register(function):
        def make(name):
            return lambda t: function(t, Target(t, name))
        for name, (transport, *_) in DRIVERS.items():
            if not transports or transport in transports:
                tests[f'{function.__name__}_{name.replace("-", "_")}'] = make(name)
        return function
    return register


class Target:
    """A driver and the address of its server, which may be absent."""

    def __init__(self, t, name):
        self.t, self.name = t, name
        self.transport, self.option, *self.more = DRIVERS[name]
        if self.transport in LOCAL:
            self.address = str(t.dir / 'server')
        else:
            self.address = '127.0.0.1', free_port(socket.SOCK_DGRAM if self.transport == 'udp' else socket.SOCK_STREAM)

    # For datagrams few enough for the socket buffer, because the kernel silently drops the rest.
    @property
    def count(self):
        return 40 if self.transport == 'udp' else 500

    def launch(self, script, *options):
        where = self.address if self.transport in LOCAL else '%s:%d' % self.address
        scheme = 'http' if self.name in HTTP else self.transport
        return launch(self.t, script, self.name.split('-')[0], f'{self.option}={scheme}://{where}', *self.more,
                      *options)

    def serve(self, handle=None):
        kind = Peer if self.transport in STREAMS else DatagramPeer
        usual = acknowledge if self.name == 'fluentd-ack' else answer if self.name in HTTP else None
        return kind(self.t, handle or usual, self.address)


def acknowledge(peer, connection, parts):
    """Reads all data and acknowledges each complete message of fluentd's protocol that asks for it."""
    data, answered = b'', 0
    while piece := connection.recv(1 << 16):
        parts.append(piece)
        data += piece
        chunks = re.findall(rb'\xa5chunk(\xb8[A-Za-z0-9+/=]{24})', data)
        for chunk in chunks[answered:]:
            connection.sendall(b'\x81\xa3ack' + chunk)
        answered = len(chunks)


def answer(peer, connection, parts):
    """Reads HTTP requests and answers each."""
    with connection.makefile('rb') as file:
        while file.readline():
            length = 0
            while (field := file.readline()) not in (b'\r\n', b''):
                length = int(field.split(b':')[1]) if field.lower().startswith(b'content-length:') else length
            parts.append(file.read(length))
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')


def lines(first, end):
    """Shell commands that print these lines."""
    return f'i={first}; while [ $i -lt {end} ]; do echo "line $i of the container"; i=$((i+1)); done'


def wait_in_shell(name):
    return f'while [ ! -e @/{name} ]; do sleep 0.02; done'


def shell(*commands):
    return 'sh ' + '; '.join(commands)


def size(count):
    return {'records': count, 'bytes': sum(len(f'line {i} of the container\n') for i in range(count))}


def numbers(*data):
    return [int(found) for found in LINE.findall(b''.join(data))]


def got(peer):
    return numbers(*peer.received())


def read_one(peer, connection, parts):
    """Closes the connection after one read."""
    parts.append(connection.recv(200))
    connection.close()


def read_all_in_vain(peer, connection, parts):
    """Closes the connection when it has read everything, without an answer."""
    connection.settimeout(0.05)
    with contextlib.suppress(OSError):
        while piece := connection.recv(1 << 16):
            parts.append(piece)
    connection.close()


def test_no_answer(t, target):
    """What the server reads in vain does not prolong the end."""
    target.serve(read_all_in_vain)
    m = target.launch(shell(lines(0, 100), 'touch @/written'), 'drain-timeout=2s')
    t.wait_file('written')
    begin = time.monotonic()
    sink = finish(m, timeout=30)
    took = time.monotonic() - begin
    check(1.8 < took < 10, f'the end took {took:.1f} s')
    equal(sink['dropped']['at-end'], size(100))


tests.update({f'test_no_answer_{name.replace("-", "_")}': lambda t, name=name: test_no_answer(t, Target(t, name))
              for name in ('http', 'otlp', 'fluentd-ack')})


UNTIL_ENOUGH = shell('i=0', 'while [ ! -e @/enough ]; do echo "line $i of the container"; i=$((i+1)); sleep 0.005; done',
                     'echo $i >@/count')


def check_order(m, drain):
    """Checks that the exit file was written before the monitor waited for the server."""
    waited = (m.persist / 'log-status.json').stat().st_mtime - m.exit_file.stat().st_mtime
    check(waited > 0.8 * drain, f'the exit file was written {waited:.3f} s before the end of the logs')


@for_drivers(*STREAMS, 'unixgram')
def test_absent(t, target):
    m = target.launch(shell(lines(0, target.count), 'head -c 2000000 /dev/zero'), 'drain-timeout=300ms')
    sink = finish(m)
    check_order(m, 0.3)
    equal(sink['in']['bytes'], size(target.count)['bytes'] + 2000000, 'output of the container')
    equal(sink['out'], {'records': 0, 'bytes': 0}, 'records delivered without a server')
    check(sink['errors']['count'] > 0, 'no error was counted')


@for_drivers('udp')
def test_refused(t, target):
    """Datagrams are not acknowledged, but the refusal of one is reported when the next one is sent."""
    m = target.launch(shell(lines(0, 20), wait_in_shell('go'), lines(20, 40)), 'drain-timeout=100ms')
    wait_for(lambda: status_now(m)['in']['records'] == 20, 'the first lines')
    t.touch('go')
    sink = finish(m)
    equal(sink['in'], size(40), 'output of the container')
    check(sink['errors']['count'] > 0, 'no refusal was counted')


@for_drivers('udp')
def test_refusal_is_reported(t, target):
    """A server that returns gets the rest of the queue, and then the number of records that were dropped."""
    target.serve().close()
    m = target.launch(shell(lines(0, 10), wait_in_shell('more'), lines(10, 100), wait_in_shell('go'), lines(100, 110)),
                      'max-buffer-size=4k')
    wait_for(lambda: status_now(m)['errors']['count'] > 0, 'a refusal')
    t.touch('more')
    wait_for(lambda: status_now(m)['in']['records'] == 100, 'the first lines')
    lost = status_now(m)['dropped']['refused']['records']
    check(lost > 0, 'nothing was dropped')
    peer = target.serve()
    report = f'conmon: {lost} records dropped: refused'.encode()
    wait_for(lambda: any(report in data for data in peer.received()), 'the report')
    t.touch('go')
    sink = finish(m)
    wait_for(lambda: got(peer)[-1:] == [109], 'the last line')
    equal((sink['dropped']['refused']['records'], sink['markers']), (lost, 1), 'refused records, reports')
    equal(b''.join(peer.received()).count(b'dropped'), 1, 'reports')


@for_drivers()
def test_late(t, target):
    """When the server appears, it gets the records from the queue, in order and once."""
    half, count = target.count // 2, target.count
    m = target.launch(shell(lines(0, half), 'touch @/written', wait_in_shell('go'), lines(half, count)),
                      'max-buffer-size=4m')
    t.wait_file('written')
    peer = target.serve()
    t.touch('go')
    wait_for(lambda: got(peer)[-1:] == [count - 1], 'the last line')
    seen = got(peer)
    # The network reports the refusal of the first datagrams only later.
    equal(seen, list(range(seen[0] if target.transport == 'udp' else 0, count)), 'lines')
    check(seen[0] <= half, f'the first line is {seen[0]}')
    sink = finish(m)
    equal((sink['in'], sink['out']), (size(count), size(count)))


@for_drivers()
def test_does_not_read(t, target):
    """The server accepts connections and never reads."""
    amount = 30000000 if target.transport in STREAMS else 2000000
    peer = target.serve(lambda *_: None)
    m = target.launch(f'fill 1 {amount} 100', 'drain-timeout=300ms')
    sink = finish(m)
    equal(sink['in'], {'records': amount // 100, 'bytes': amount}, 'output of the container')
    if target.transport != 'udp':
        check_order(m, 0.3)
        check(sink['dropped']['queue-full']['records'] > 0, f'nothing was dropped: {sink}')
    wait_for(lambda: peer.connections == 1, f'one connection; got {peer.connections}')


@for_drivers()
def test_hangs_up(t, target):
    """The server closes the connection after each read. The container writes until that has happened several times."""
    peer = target.serve(read_one)
    m = target.launch(UNTIL_ENOUGH, 'drain-timeout=300ms')
    wait_for(lambda: peer.connections > 3, 'the fourth connection', 20)
    t.touch('enough')
    sink = finish(m)
    equal(sink['in'], size(int((t.dir / 'count').read_text())), 'output of the container')


@for_drivers()
def test_restarts(t, target):
    """The server is restarted: records written during and after the restart arrive in order and once."""
    third, count = target.count, 3 * target.count
    peer = target.serve()
    m = target.launch(shell(lines(0, third), wait_in_shell('two'), lines(third, 2 * third), 'touch @/written',
                            wait_in_shell('three'), lines(2 * third, count)), 'max-buffer-size=4m')
    wait_for(lambda: got(peer) == list(range(third)), 'the first third')
    wait_for(lambda: status_now(m)['out']['records'] == third, 'its acknowledgements')
    connected = sockets(m)
    peer.close()
    if target.transport in STREAMS:
        wait_for(lambda: sockets(m) < connected, 'an error in the status')
    t.touch('two')
    t.wait_file('written')
    peer = target.serve()
    t.touch('three')
    sink = finish(m)
    wait_for(lambda: got(peer)[-1:] == [count - 1], 'the last line')
    seen = got(peer)
    equal(seen, list(range(seen[0] if target.transport == 'udp' else third, count)), 'lines after the restart')
    equal((sink['in'], sink['out']), (size(count), size(count)))


@for_drivers(*STREAMS, 'udp')
def test_garbage(t, target):
    """The server sends data without a request. Drivers that expect an answer close the connection."""
    def send_garbage(peer, connection, parts):
        connection.sendall(os.urandom(100000) + b'{"ack": 1}' * 100)
        t.touch('said')
        peer.read_all(connection, parts)

    def send_garbage_to_each(peer, connection, parts):
        while not peer.closed:
            data, sender = connection.recvfrom(1 << 16)
            parts.append(data)
            if sender:
                connection.sendto(os.urandom(1000), sender)
                t.touch('said')
    half, count = target.count // 2, target.count
    peer = target.serve(send_garbage if target.transport in STREAMS else send_garbage_to_each)
    m = target.launch(shell(lines(0, half), wait_in_shell('go'), lines(half, count)), 'drain-timeout=300ms')
    if target.name.startswith('fluentd') or target.name in HTTP:
        wait_for(lambda: status_now(m)['errors']['count'] > 0, 'an error')
        t.touch('go')
        equal(finish(m)['in'], size(count), 'output of the container')
        return
    t.wait_file('said')
    t.touch('go')
    wait_for(lambda: got(peer) == list(range(count)), 'all lines')
    sink = finish(m)
    equal((sink['in'], sink['out']), (size(count), size(count)))


def test_unresolvable(t):
    """A host name that does not exist; the resolver process has exited at the end."""
    m = launch(t, shell(lines(0, 500)), 'syslog', 'syslog-address=tcp://does-not-exist.invalid:514', 'drain-timeout=100ms')
    sink = finish(m)
    equal((sink['in'], sink['out']['bytes']), (size(500), 0))


def test_messages(t):
    """Failures of a server are reported at most once a minute."""
    hide_run()
    said = DatagramPeer(t, address='/run/messages')
    bind_dev_log('/run/messages')
    peer = Peer(t, read_one)
    m = launch(t, UNTIL_ENOUGH, 'gelf', f'gelf-address=tcp://127.0.0.1:{peer.port}', 'drain-timeout=300ms',
               words=('--syslog',))
    wait_for(lambda: peer.connections > 5, 'the sixth connection', 20)
    peer.close()
    wait_for(lambda: status_now(m)['state'] == 'failing', 'the failure')
    t.touch('enough')
    lost = finish(m)['dropped']['at-end']['records']
    last = f'Logging to tcp://127.0.0.1:{peer.port}: {lost} records could not be delivered before the end'.encode()
    wait_for(lambda: last in said.received()[0], f'the last message in {said.received()[0]}')
    equal(said.received()[0].count(b' failed: '), 1, f'messages of failure in {said.received()[0]}')


def test_slow_name_server(t):
    """The container does not wait for the name server; records in the queue are sent after its answer."""
    names = NameServer(t)
    peer = Peer(t)
    m = launch(t, shell(lines(0, 500), 'touch @/written', wait_in_shell('go')), 'syslog',
               f'syslog-address=tcp://the-server.test:{peer.port}', 'max-buffer-size=4m')
    t.wait_file('written')
    wait_for(lambda: status_now(m)['queued'] == size(500), 'all lines in the queue')
    asks, = (pid for pid in proc.children(m.pid) if pid != m.container)
    names.answer.set()
    wait_for(lambda: got(peer) == list(range(500)), 'all lines')
    wait_for(lambda: not proc.alive(asks), 'the end of the resolver process')
    t.touch('go')
    equal(finish(m)['out'], size(500))


def name_server_outage(t, stop):
    """Without a name server the monitor reconnects to the last known address."""
    names = NameServer(t)
    names.answer.set()
    peer = Peer(t)
    m = launch(t, shell(lines(0, 1), wait_in_shell('go'), lines(1, 2), wait_in_shell('end')), 'syslog',
               f'syslog-address=tcp://the-server.test:{peer.port}')
    wait_for(lambda: got(peer) == [0], 'the first line')
    stop(names)
    peer.close()
    successor = Peer(t, address=('127.0.0.1', peer.port))
    t.touch('go')
    wait_for(lambda: got(successor) == [1], 'the second line', 20)
    t.touch('end')
    equal(finish(m)['out'], size(2))


def test_no_name_server(t):
    name_server_outage(t, NameServer.close)


def test_silent_name_server(t):
    name_server_outage(t, lambda names: names.answer.clear())


def test_idle_peer_vanishes(t):
    """TCP keepalive detects that an idle peer is gone."""
    peer = Peer(t)
    m = launch(t, shell(lines(0, 1), wait_in_shell('go'), lines(1, 2)), 'syslog', 'peer-timeout=1s',
               f'syslog-address=tcp://127.0.0.1:{peer.port}')
    wait_for(lambda: status_now(m)['out'] == size(1), 'the first line')
    before = sockets(m)
    vanish(wait_for(lambda: peer.open, 'the connection')[0])
    wait_for(lambda: sockets(m) == before - 1, 'the end of the connection', 20)
    t.touch('go')
    equal(finish(m)['out'], size(2))
    wait_for(lambda: got(peer) == [0, 1], 'both lines at the peer, whose kernel had acknowledged them')


def test_name_server_that_never_answers(t):
    """The resolver process is killed when the monitor exits."""
    NameServer(t)
    m = launch(t, shell(lines(0, 500)), 'syslog', 'syslog-address=tcp://the-server.test', 'drain-timeout=300ms')
    sink = finish(m)
    check_order(m, 0.3)
    equal(sink['dropped']['at-end'], size(500))


def test_drain_timeout(t):
    """The default is 2 s, the maximum 12 s."""
    m = t.create(shell(lines(0, 10)), '--log-driver', 'syslog', '--log-opt', f'syslog-address=tcp://127.0.0.1:{free_port()}',
                 log='none')
    finish(m)
    check_order(m, 2)
    waited = (m.persist / 'log-status.json').stat().st_mtime - m.exit_file.stat().st_mtime
    check(waited < 12, f'it was {waited:.1f} s')
    m = t.launch('exit 0', '--log-driver', 'syslog', '--log-opt', 'drain-timeout=13s', log='none')
    equal(m.wait_launcher(), 1)
    check("option drain-timeout can't be '13s'" in m.stderr.read_text(), m.stderr.read_text())


def test_default_ports(t):
    own_network()
    for n, (driver, option, port) in enumerate((('syslog', 'syslog-address=tcp://127.0.0.1', 514),
                                                ('fluentd', 'fluentd-address=127.0.0.1', 24224),
                                                ('fluentd', 'tag=x', 24224))):
        peer = Peer(t, address=('127.0.0.1', port))
        finish(launch(t, shell(lines(0, 10)), driver, option, monitor=t.monitor(str(n))))
        wait_for(lambda: got(peer) == list(range(10)), f'lines at port {port}')
        peer.close()


def test_blocking(t):
    """With mode=blocking the container waits, and all lines arrive."""
    go = threading.Event()

    def wait_and_read(peer, connection, parts):
        go.wait()
        peer.read_all(connection, parts)
    peer = Peer(t, wait_and_read)
    m = launch(t, 'fill 1 30000000 100\ntouch @/written', 'syslog', f'syslog-address=tcp://127.0.0.1:{peer.port}',
               'mode=blocking')
    wait_for(lambda: status_now(m)['queue']['bytes'] > 256 * 1024, 'a full queue')
    time.sleep(0.5)
    check(not (t.dir / 'written').exists(), 'the container did not wait')
    go.set()
    sink = finish(m)
    equal(sink['out'], {'records': 300000, 'bytes': 30000000})
    wait_for(lambda: b''.join(peer.received()).count(b'\n') == 300000, 'all lines')


if __name__ == '__main__':
    tests.update({name: function for name, function in list(globals().items())
                  if name.startswith('test_') and function.__code__.co_varnames[:2] != ('t', 'target')})
    main(tests)
