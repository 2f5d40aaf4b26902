#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Destinations that are slow, stalled or intermittent, for each driver with a queue: by default the container
waits for a slow one, for a stalled one only once, and in all cases the counters are exact.

CONMON_TEST_SECONDS is the duration of the test with an intermittent destination. The default is short; 60 is
a thorough test.
"""

import os
import random
import re
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from receivers import DatagramPeer, finish, HERE, hide_run, launch, Peer, status_now  # noqa: E402
from test_faults import numbers, shell  # noqa: E402
from test_plugin import Plugins  # noqa: E402
from harness import check, equal, main, slow, wait_for  # noqa: E402

SECONDS = float(os.environ.get('CONMON_TEST_SECONDS', '0.8'))
LINE = re.compile(rb'line \d+ of the container')

# More than fit into kernel buffers; a shell writes more than ten times as many in a second.
COUNT = 60000
# For a plugin, which reads them one at a time.
FEW = 4000
TEXT = 'line %s of the container ' + 'x' * 100
QUEUE = 'max-buffer-size=64k'
BATCHES = 'batch-wait=20ms', 'batch-size=16k'

# An external logger, which reads standard output of the container at a pace.
LOGGER = '''#!/usr/bin/python3 -B
import os, sys
os.close(5)
sys.path.insert(0, {here!r})
from test_slow import Pace
pace = Pace(**{pace!r})
while data := os.read(3, 1 << 14):
    with open({file!r}, 'ab') as file:
        file.write(data)
    pace(data)
# Lines about dropped records.
while os.read(4, 1 << 14):
    pass
'''

# The transport of each driver, the option for the address, and further options.
DRIVERS = {
    'binary': ('binary', None),
    'fluentd': ('tcp', 'fluentd-address'),
    'fluentd-ack': ('tcp', 'fluentd-address', 'fluentd-request-ack=true'),
    'gelf': ('tcp', 'gelf-address'),
    'http': ('http', 'http-url', *BATCHES),
    'journald': ('journal', None),
    'loki': ('http', 'loki-url', *BATCHES),
    'otlp': ('http', 'otlp-endpoint', *BATCHES),
    'plugin': ('plugin', None),
    'splunk': ('http', 'splunk-url', *BATCHES),
    'syslog': ('tcp', 'syslog-address'),
    'syslog-unix': ('unix', 'syslog-address'),
    'syslog-unixgram': ('unixgram', 'syslog-address'),
}
tests = {}


def for_drivers(function):
    """Creates a test for each driver."""
    def make(name):
        return slow(60 + SECONDS)(lambda t: function(t, Target(t, name)))
    for name in DRIVERS:
        tests[f'{function.__name__}_{name.replace("-", "_")}'] = make(name)
    return function


def lines(count):
    return f'i=0; while [ $i -lt {count} ]; do echo "{TEXT % "$i"}"; i=$((i+1)); done'


def size(found):
    return {'records': len(found), 'bytes': sum(len(TEXT % i) + 1 for i in found)}


class Pace:
    """The pace of a server: called with the data of each read, and delays the next one."""

    def __init__(self, per_second=None, stop_after=None, intermittent=0, delay=0):
        self.per_second, self.stop_after, self.delay = per_second, stop_after, delay
        self.end = time.monotonic() + intermittent
        self.count, self.random, self.over = 0, random.Random(intermittent), threading.Event()

    def __call__(self, data):
        n = len(LINE.findall(data))
        self.count += n
        time.sleep(n / self.per_second if self.per_second else self.delay)
        if self.stop_after is not None and self.count > self.stop_after:
            self.over.wait()
        if time.monotonic() < self.end:
            time.sleep(self.random.choice((0, 0, 0.01, self.random.uniform(0, 0.5))))


class Target:
    """A driver and its destination, which reads at a given pace."""

    def __init__(self, t, name):
        self.t, self.name = t, name
        self.transport, self.option, *self.more = DRIVERS[name]
        self.plugins = self.peer = None
        self.count = FEW if self.transport in ('journal', 'plugin', 'unixgram') else COUNT

    def serve(self, **pace):
        """Starts the destination: sets `peer` or `plugins`."""
        if self.transport == 'plugin':
            options = {'per_second': 'wait=0.00005', 'stop_after': 'stalled=yes', 'intermittent': f'intermittent={SECONDS}'}
            self.plugins = Plugins(self.t)
            self.plugins.serve(options[next(iter(pace))])
            return
        if self.transport == 'binary':
            path, file = self.t.dir / 'logger', self.t.dir / 'read'
            path.write_text(LOGGER.format(here=str(HERE), pace=pace, file=str(file)))
            path.chmod(0o755)
            return
        handlers = {'http': self.answer, 'unixgram': self.read_messages, 'journal': self.read_messages}
        handle = self.acknowledge if self.name == 'fluentd-ack' else handlers.get(self.transport, self.read)
        self.pace = Pace(**pace)
        if self.transport == 'journal':
            hide_run()
        address = {'unix': str(self.t.dir / 'server'), 'unixgram': str(self.t.dir / 'server'),
                   'journal': '/run/systemd/journal/socket'}.get(self.transport, ('127.0.0.1', 0))
        kind = DatagramPeer if self.transport in ('unixgram', 'journal') else Peer
        self.peer = kind(self.t, handle, address)
        self.peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        self.t.stack.callback(self.pace.over.set)

    def read(self, peer, connection, parts):
        while data := connection.recv(1 << 14):
            parts.append(data)
            self.pace(data)

    def read_messages(self, peer, connection, parts):
        while not peer.closed:
            parts.append(connection.recv(1 << 16))
            self.pace(parts[-1])

    def acknowledge(self, peer, connection, parts):
        data, answered = b'', set()
        while piece := connection.recv(1 << 14):
            parts.append(piece)
            self.pace(piece)
            data = data[-64:] + piece
            for chunk in re.findall(rb'\xa5chunk(\xb8[A-Za-z0-9+/=]{24})', data):
                if chunk not in answered:
                    connection.sendall(b'\x81\xa3ack' + chunk)
                answered.add(chunk)

    def answer(self, peer, connection, parts):
        """Reads HTTP requests with a Content-Length and answers them."""
        data = b''
        while True:
            while b'\r\n\r\n' not in data:
                piece = connection.recv(1 << 14)
                if not piece:
                    return
                data += piece
            head, data = data.split(b'\r\n\r\n', 1)
            length = int(re.search(rb'(?i)\r\ncontent-length: *(\d+)', head).group(1))
            while len(data) < length:
                data += connection.recv(1 << 14)
            self.pace(data[:length])
            parts.append(data[:length])
            data = data[length:]
            body = b'{"text":"Success","code":0}' if self.name == 'splunk' else b''
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s' % (
                len(body), body))

    def launch(self, script, *options):
        env = {}
        driver, options = self.name.split('-')[0], (QUEUE, *self.more, *options)
        if self.transport == 'plugin':
            driver, env = 'plugin:shipper', self.plugins.env
        elif self.transport == 'binary':
            driver = f'binary://{self.t.dir}/logger'
        elif self.transport != 'journal':
            local = self.transport in ('unix', 'unixgram')
            where = self.t.dir / 'server' if local else f'127.0.0.1:{self.peer.port}'
            options = f'{self.option}={self.transport}://{where}', *options
        if self.name == 'splunk':
            env, options = {'TOKEN': 'x'}, ('splunk-token-env=TOKEN', *options)
        return launch(self.t, script, driver, *options, env=env)

    def got(self):
        if self.plugins:
            return numbers(*(line.encode() for line in self.plugins.lines()))
        if self.transport == 'binary':
            return numbers((self.t.dir / 'read').read_bytes())
        return numbers(*self.peer.received())


@for_drivers
def test_slow(t, target):
    """The container waits, and nothing is lost."""
    target.serve(per_second=1.5 * target.count)
    begin = time.monotonic()
    m = target.launch(shell(lines(target.count), 'touch @/written'))
    t.wait_file('written', timeout=60)
    check(time.monotonic() - begin > 0.25, f'the container took {time.monotonic() - begin:.2f} s')
    sink = finish(m, timeout=60)
    everything = range(target.count)
    equal((sink['in'], sink['out']), (size(everything), size(everything)))
    wait_for(lambda: len(target.got()) >= target.count, 'all lines')
    equal(target.got(), list(everything))


def late_answers(name):
    def test(t):
        """Nothing is lost if a server takes its time for each answer, also for the first one."""
        target, everything = Target(t, name), range(6000)
        target.more = ()
        target.serve(delay=0.5)
        sink = finish(target.launch(shell(lines(len(everything)))), timeout=60)
        equal((sink['in'], sink['out']), (size(everything), size(everything)))
        equal(target.got(), list(everything))
    return slow(60)(test)


tests.update({f'test_late_answers_{name}': late_answers(name) for name in DRIVERS if DRIVERS[name][0] == 'http'})


@for_drivers
def test_stalled(t, target):
    """The container is delayed once, by stall-timeout."""
    target.serve(stop_after=1500)
    m = target.launch(shell(lines(COUNT), 'touch @/written'), 'stall-timeout=300ms', 'drain-timeout=100ms')
    begin = time.monotonic()
    t.wait_file('written', timeout=30)
    took = time.monotonic() - begin
    # The queue is full a hundred times; each further delay would take as long.
    check(0.25 < took < 10, f'the container took {took:.2f} s')
    sink = finish(m)
    equal(sink['in'], size(range(COUNT)))
    check(sink['dropped']['queue-full']['records'] > COUNT / 10, sink)


@slow(60)
def test_no_acknowledgement(t):
    """A server that reads and never acknowledges delays the container once, not again after each reconnection."""
    target = Target(t, 'fluentd-ack')
    target.pace, target.peer = Pace(), Peer(t, target.read)
    m = target.launch(shell('i=0', f'while [ ! -e @/enough ]; do echo "{TEXT % "$i"}"; i=$((i+1)); done'),
                      'stall-timeout=500ms', 'fluentd-read-timeout=1s', 'drain-timeout=100ms')
    delays, moved, seen, end = 0, time.monotonic(), 0, time.monotonic() + 6
    while time.monotonic() < end:
        now = status_now(m)['in']['records']
        if now > seen:
            delays += time.monotonic() - moved > 0.3
            moved, seen = time.monotonic(), now
        time.sleep(0.02)
    t.touch('enough')
    finish(m)
    equal((delays, target.peer.connections > 2), (1, True))


tests['test_no_acknowledgement'] = test_no_acknowledgement


@for_drivers
def test_intermittent(t, target):
    """It stops and continues at random: delivered records are exactly those that it has read."""
    target.serve(intermittent=SECONDS)
    m = target.launch(shell('i=0', f'while [ ! -e @/enough ]; do echo "{TEXT % "$i"}"; i=$((i+1)); done',
                            'echo $i >@/count'), 'stall-timeout=200ms')
    time.sleep(SECONDS)
    t.touch('enough')
    sink = finish(m, timeout=60)
    equal(sink['in'], size(range(int((t.dir / 'count').read_text()))))
    wait_for(lambda: len(target.got()) >= sink['out']['records'], 'delivered records')
    found = target.got()
    equal(found, sorted(set(found)), 'each once, in order')
    equal(size(found), sink['out'])


if __name__ == '__main__':
    main(tests)
