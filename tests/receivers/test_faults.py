#!/usr/bin/python3
"""Servers that are absent, late, deaf, that hang up, restart or talk nonsense, for each driver that sends to one: the
container runs at full speed, its end is recorded on time, and the sums are right to the byte."""

import os
import re
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from receivers import *  # noqa
from harness import *  # noqa

# What a message of one line has in it, whatever is around.
LINE = re.compile(rb'line (\d+) of the container')

# How the driver's server is reached, the option for its address, and further ones.
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
    'gelf-udp': ('udp', 'gelf-address', 'gelf-compression-type=none'),
}
STREAMS, LOCAL = ('tcp', 'unix'), ('unix', 'unixgram')
tests = {}


def for_drivers(*transports):
    """A test for each driver that uses one of these transports, or for all."""
    def register(function):
        def make(name):
            return lambda t: function(t, Target(t, name))
        for name, (transport, *_) in DRIVERS.items():
            if not transports or transport in transports:
                tests[f'{function.__name__}_{name.replace("-", "_")}'] = make(name)
        return function
    return register


class Target:
    """A driver, and the place where its server is or is not."""

    def __init__(self, t, name):
        self.t, self.name = t, name
        self.transport, self.option, *self.more = DRIVERS[name]
        if self.transport in LOCAL:
            self.address = str(t.dir / 'server')
        else:
            self.address = '127.0.0.1', free_port(socket.SOCK_DGRAM if self.transport == 'udp' else socket.SOCK_STREAM)

    # Of datagrams few enough for the buffer of a socket, which silently loses what is too much.
    @property
    def count(self):
        return 40 if self.transport == 'udp' else 500

    def launch(self, script, *options):
        where = self.address if self.transport in LOCAL else '%s:%d' % self.address
        return launch(self.t, script, self.name.split('-')[0], f'{self.option}={self.transport}://{where}', *self.more,
                      *options)

    def serve(self, handle=None):
        kind = Peer if self.transport in STREAMS else DatagramPeer
        return kind(self.t, handle or (acknowledge if self.name == 'fluentd-ack' else None), self.address)


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


def lines(first, end):
    """Shell commands that print these."""
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
    """Hangs up after a piece."""
    parts.append(connection.recv(200))
    connection.close()


UNTIL_ENOUGH = shell('i=0', 'while [ ! -e @/enough ]; do echo "line $i of the container"; i=$((i+1)); sleep 0.005; done',
                     'echo $i >@/count')


def check_order(m, drain):
    """The exit file was there before the monitor began to wait for the server."""
    waited = (m.persist / 'log-status.json').stat().st_mtime - m.exit_file.stat().st_mtime
    check(waited > 0.8 * drain, f'the exit file came {waited:.3f} s before the end of the logs')


@for_drivers(*STREAMS, 'unixgram')
def test_absent(t, target):
    m = target.launch(shell(lines(0, target.count), 'head -c 2000000 /dev/zero'), 'drain-timeout=300ms')
    sink = finish(m)
    check_order(m, 0.3)
    equal(sink['in']['bytes'], size(target.count)['bytes'] + 2000000, 'what the container wrote')
    equal(sink['out'], {'records': 0, 'bytes': 0}, 'what was delivered to nobody')
    check(sink['errors']['count'] > 0, 'no error was counted')


@for_drivers('udp')
def test_refused(t, target):
    """Nobody can know what becomes of a datagram, but a refusal is heard when the next ones are sent."""
    m = target.launch(shell(lines(0, 20), wait_in_shell('go'), lines(20, 40)), 'drain-timeout=100ms')
    wait_for(lambda: status_now(m)['in']['records'] == 20, 'the first lines')
    t.touch('go')
    sink = finish(m)
    equal(sink['in'], size(40), 'what the container wrote')
    check(sink['errors']['count'] > 0, 'no refusal was counted')


@for_drivers()
def test_late(t, target):
    """What fits into the queue is there when the server is, in order and once."""
    half, count = target.count // 2, target.count
    m = target.launch(shell(lines(0, half), 'touch @/written', wait_in_shell('go'), lines(half, count)),
                      'max-buffer-size=4m')
    t.exists('written')
    peer = target.serve()
    t.touch('go')
    wait_for(lambda: got(peer)[-1:] == [count - 1], 'the last line')
    seen = got(peer)
    # Of datagrams that were sent too early the network says so only later.
    equal(seen, list(range(seen[0] if target.transport == 'udp' else 0, count)), 'lines')
    check(seen[0] <= half, f'the first line is {seen[0]}')
    sink = finish(m)
    equal((sink['in'], sink['out']), (size(count), size(count)))


@for_drivers()
def test_deaf(t, target):
    """It takes connections and never reads."""
    amount = 30000000 if target.transport in STREAMS else 2000000
    peer = target.serve(lambda *_: None)
    m = target.launch(f'fill 1 {amount} 100', 'drain-timeout=300ms')
    sink = finish(m)
    equal(sink['in'], {'records': amount // 100, 'bytes': amount}, 'what the container wrote')
    if target.transport != 'udp':
        check_order(m, 0.3)
        check(sink['dropped']['queue-full']['records'] > 0, 'nothing was dropped')
    wait_for(lambda: peer.connections == 1, f'one connection; there are {peer.connections}')


@for_drivers()
def test_hangs_up(t, target):
    """It closes after each piece that it has read. The container writes until this has been seen often enough."""
    peer = target.serve(read_one)
    m = target.launch(UNTIL_ENOUGH, 'drain-timeout=300ms')
    wait_for(lambda: peer.connections > 3, 'the fourth connection', 20)
    t.touch('enough')
    sink = finish(m)
    equal(sink['in'], size(int((t.dir / 'count').read_text())), 'what the container wrote')


@for_drivers()
def test_restarts(t, target):
    """It goes away in the middle and comes back: what is written in between, and after that, arrives, in order and once."""
    third, count = target.count, 3 * target.count
    peer = target.serve()
    m = target.launch(shell(lines(0, third), wait_in_shell('two'), lines(third, 2 * third), 'touch @/written',
                            wait_in_shell('three'), lines(2 * third, count)), 'max-buffer-size=4m')
    wait_for(lambda: got(peer) == list(range(third)), 'the first third')
    wait_for(lambda: status_now(m)['out']['records'] == third, 'its acknowledgements')
    connected = sockets(m)
    peer.close()
    if target.transport in STREAMS:
        wait_for(lambda: sockets(m) < connected, 'the monitor to notice')
    t.touch('two')
    t.exists('written')
    peer = target.serve()
    t.touch('three')
    sink = finish(m)
    wait_for(lambda: got(peer)[-1:] == [count - 1], 'the last line')
    seen = got(peer)
    equal(seen, list(range(seen[0] if target.transport == 'udp' else third, count)), 'lines after the restart')
    equal((sink['in'], sink['out']), (size(count), size(count)))


@for_drivers(*STREAMS, 'udp')
def test_garbage(t, target):
    """It talks without having been asked. Only fluentd's driver listens, and hangs up."""
    def babble(peer, connection, parts):
        connection.sendall(os.urandom(100000) + b'{"ack": 1}' * 100)
        t.touch('said')
        peer.read_all(connection, parts)

    def babble_to_each(peer, connection, parts):
        while not peer.closed:
            data, sender = connection.recvfrom(1 << 16)
            parts.append(data)
            if sender:
                connection.sendto(os.urandom(1000), sender)
                t.touch('said')
    half, count = target.count // 2, target.count
    peer = target.serve(babble if target.transport in STREAMS else babble_to_each)
    m = target.launch(shell(lines(0, half), wait_in_shell('go'), lines(half, count)), 'drain-timeout=300ms')
    if target.name.startswith('fluentd'):
        wait_for(lambda: status_now(m)['errors']['count'] > 0, 'an error')
        t.touch('go')
        equal(finish(m)['in'], size(count), 'what the container wrote')
        return
    t.exists('said')
    t.touch('go')
    wait_for(lambda: got(peer) == list(range(count)), 'all lines')
    sink = finish(m)
    equal((sink['in'], sink['out']), (size(count), size(count)))


def test_unresolvable(t):
    """A name that nobody knows: the process that asked is gone at the end."""
    m = launch(t, shell(lines(0, 500)), 'syslog', 'syslog-address=tcp://does-not-exist.invalid:514', 'drain-timeout=100ms')
    sink = finish(m)
    equal((sink['in'], sink['out']['bytes']), (size(500), 0))


def test_messages(t):
    """However often a server fails, it is told once a minute at most."""
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
    """The container does not wait for a host's name to be known; when it is, what fits into the queue arrives."""
    names = NameServer(t)
    peer = Peer(t)
    m = launch(t, shell(lines(0, 500), 'touch @/written', wait_in_shell('go')), 'syslog',
               f'syslog-address=tcp://the-server.test:{peer.port}', 'max-buffer-size=4m')
    t.exists('written')
    wait_for(lambda: status_now(m)['queued'] == size(500), 'all lines in the queue')
    asks, = (pid for pid in proc.children(m.pid) if pid != m.container)
    names.answer.set()
    wait_for(lambda: got(peer) == list(range(500)), 'all lines')
    wait_for(lambda: not proc.alive(asks), 'the end of the process that asked')
    t.touch('go')
    equal(finish(m)['out'], size(500))


def test_name_server_that_never_answers(t):
    """The process that asked is ended with the monitor."""
    NameServer(t)
    m = launch(t, shell(lines(0, 500)), 'syslog', 'syslog-address=tcp://the-server.test', 'drain-timeout=300ms')
    sink = finish(m)
    check_order(m, 0.3)
    equal(sink['dropped']['at-end'], size(500))


def test_drain_timeout(t):
    """It is 2 s if nobody says otherwise, and at most 12 s."""
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
        finish(launch(t, shell(lines(0, 10)), driver, option, places=t.monitor(str(n))))
        wait_for(lambda: got(peer) == list(range(10)), f'lines at port {port}')
        peer.close()


def test_blocking(t):
    """With mode=blocking the container waits, and everything arrives."""
    go = threading.Event()

    def wait_and_read(peer, connection, parts):
        go.wait()
        peer.read_all(connection, parts)
    peer = Peer(t, wait_and_read)
    m = launch(t, 'fill 1 30000000 100\ntouch @/written', 'syslog', f'syslog-address=tcp://127.0.0.1:{peer.port}',
               'mode=blocking')
    wait_for(lambda: status_now(m)['queue']['bytes'] > 256 * 1024, 'the queue to be full')
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
