#!/usr/bin/python3
"""The attach socket: what clients receive, and that none of them can do harm."""

import os
import signal
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from harness import *  # noqa
from harness.attach import LARGEST, STDERR, STDOUT


def test_streams(t):
    """Standard output is stream 2, standard error 3."""
    m = t.create('wait @/go\nprint hi\\n\nwait @/more\neprint err\\n')
    client = m.attach()
    t.touch('go')
    equal(client.packet(), (STDOUT, b'hi\n'))
    t.touch('more')
    equal(client.packet(), (STDERR, b'err\n'))
    equal(client.packet(), None)
    m.finish(0)


def test_packet_sizes(t):
    """At most 8193 bytes, the size of the callers' buffers. B46"""
    m = t.create('wait @/go\nfill 1 20000 20000\nfill 1 8192\nfill 1 8193\nfill 1 1')
    client = m.attach()
    t.touch('go')
    equal(len(client.to_end()), 20000 + 8192 + 8193 + 1)
    check(max(client.sizes) == LARGEST, f'sizes {client.sizes}')
    m.finish(0)


def test_large_output(t):
    """B45: nothing is missing when a client reads."""
    size = 64 << 20
    m = t.create(f'wait @/go\nfill 1 {size} 1000', log='none')
    client = m.attach()
    t.touch('go')
    total, last = 0, b''
    while True:
        packet = client.packet()
        if packet is None:
            break
        total, last = total + len(packet[1]), packet[1]
        client.data[STDOUT].clear()
    equal(total, size)
    m.finish(0)


def test_slow_reader(t):
    """B45: slower than the container, but reading: nothing is missing. 22.4"""
    m = t.create('wait @/go\nfill 1 4000000 100')
    client = m.attach()
    t.touch('go')
    for number in range(600):
        if client.packet() is None:
            break
        if number % 10 == 0:
            time.sleep(0.005)
    equal(len(client.to_end()), 4000000)
    m.finish(0)
    equal(len(content(m.records())), 4000000)


def test_several_clients(t):
    """B42: all get all bytes."""
    m = t.create('wait @/go\nfill 1 300000 100\neprint end\\n')
    clients = [m.attach() for _ in range(8)]
    t.touch('go')
    drain(clients)
    for number in range(8):
        equal(len(clients[number].data[STDOUT]), 300000, f'client {number}')
        equal(clients[number].data[STDERR], b'end\n', f'client {number}')
    m.finish(0)


def test_no_history(t):
    """A client gets what comes after it connected."""
    m = t.create('print early\\n\nwait @/go\nprint late\\n')
    m.logged(b'early')
    client = m.attach()
    client.send(b'')
    time.sleep(0.02)
    t.touch('go')
    equal(client.to_end(), b'late\n')
    m.finish(0)


def test_connected_before_the_start(t):
    """B37: a client that connected before the container ran gets its first byte."""
    for number in range(30):
        m = t.launch('print first\\n', '--exec-attach', mode='exec', pipes=('sync', 'start', 'attach'),
                     places=t.monitor(str(number))).go()
        equal(m.attach_pipe.message(), {'data': 0})
        client = m.attach()
        m.start.go()
        m.created()
        equal(client.to_end(), b'first\n')
        m.finish(0)


def test_connected_late_to_exec(t):
    """B37: the caller takes its time before it connects."""
    m = t.launch('print first\\n', '--exec-attach', mode='exec', pipes=('sync', 'start', 'attach')).go()
    equal(m.attach_pipe.message(), {'data': 0})
    time.sleep(0.3)
    client = m.attach()
    m.start.go()
    m.created()
    equal(client.to_end(), b'first\n')
    m.finish(0)


def test_connected_while_the_monitor_was_stopped(t):
    """B37: however late the monitor gets to run, the client that was there first misses nothing."""
    for extra in ([], ['-t']):
        name = 'm' + ''.join(extra)
        m = t.launch(f'print first\\n\ntouch @/printed{name}\nwait @/go{name}', '--exec-attach', *extra, mode='exec',
                     runtime=f'touch @/running{name}\nwait @/on{name}\nconsole\ncontainer\npidfile',
                     pipes=('sync', 'start', 'attach'), places=t.monitor(name)).go()
        equal(m.attach_pipe.message(), {'data': 0})
        m.start.go()
        t.exists(f'running{name}')
        kill(m.pid, signal.SIGSTOP)
        client = m.attach()
        t.touch(f'on{name}')
        t.exists(f'printed{name}')
        kill(m.pid, signal.SIGCONT)
        m.created()
        t.touch(f'go{name}')
        check(client.to_end().startswith(b'first'), 'the first output is missing')
        m.finish(0)


def test_log_comes_first(t):
    """What a client has seen is in the log."""
    m = t.create('wait @/go\nprint one\\n\nsleep 20\nprint two\\n\nsleep 20\nprint three\\n\nwait @/end')
    client = m.attach()
    t.touch('go')
    for line in (b'one\n', b'two\n', b'three\n'):
        client.until(line)
        check(line.strip() in m.log.read_bytes(), f'{line} was seen before it was logged')
    t.touch('end')
    client.to_end()
    m.finish(0)


def test_half_closed_client_still_receives(t):
    """It may be done with its input and still want the output."""
    for extra in ([], ['-i']):
        name = 'm' + ''.join(extra)
        m = t.create(f'wait @/{name}\nprint out\\n', *extra, places=t.monitor(name + 'x'))
        client = m.attach()
        client.half_close()
        time.sleep(0.02)
        t.touch(name)
        equal(client.to_end(), b'out\n')
        m.finish(0)


def test_client_that_leaves(t):
    """B12: at any time, also with unread data in its socket; the others go on."""
    m = t.create('wait @/go\nfill 1 2000000 100')
    stays, leaves = m.attach(), m.attach()
    t.touch('go')
    leaves.packet()
    leaves.close()
    equal(len(stays.to_end()), 2000000)
    m.finish(0)


def test_client_killed_in_the_middle(t):
    """B12"""
    for _ in range(20):
        m = t.monitors[0] if t.monitors else t.create('fill 1 99999999999 100', log='none')
        client = m.attach()
        client.packet()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        client.close()
    check(alive(m.pid) and alive(m.container), 'monitor or container died')


@differs('section 6: the reference keeps the connection of a client that sent what nobody wants')
def test_clients_come_and_go(t):
    """R03, A08: no descriptor stays behind."""
    m = t.create('sh while :; do echo x; sleep 0.01; done', log='none')
    before = len(m.settled())
    for _ in range(10):
        clients = [m.attach() for _ in range(15)]
        clients[3].until(b'x')
        for number, client in enumerate(clients):
            if number % 3:
                client.send(b'data')
            client.close()
    wait_for(lambda: len(descriptors(m.pid)) == before, 'the descriptors of the clients to be closed')


@slow(60)
def test_many_clients(t):
    """A08"""
    m = t.create('wait @/go\nprint hello\\n')
    clients = [m.attach() for _ in range(200)]
    wait_for(lambda: len(descriptors(m.pid)) > 200, 'all to be accepted')
    t.touch('go')
    for client in clients:
        equal(client.to_end(), b'hello\n')
    m.finish(0)


def test_connections_that_are_given_up(t):
    """B49: clients that are gone before they were accepted block nothing."""
    m = t.create('wait @/go\nprint hello\\n')
    for _ in range(300):
        m.attach().close()
    client = m.attach()
    client.send(b'')
    t.touch('go')
    equal(client.to_end(), b'hello\n')
    m.finish(0)


@differs('22.4: a client that takes nothing pauses its stream, not the monitor')
def test_stuck_client_does_not_block_the_monitor(t):
    """A01: signals, exit and other clients are served while one takes nothing."""
    m = t.create('wait @/go\nfill 1 30000000 100\nexit 3')
    stuck = m.attach()
    t.touch('go')
    time.sleep(0.3)
    kill(m.pid, 15)
    m.finish(143, timeout=5)
    stuck.close()


@differs('22.4: a client that came late and takes nothing is disconnected after 2 s')
def test_late_stuck_client_is_disconnected(t):
    """A01"""
    m = t.create('print early\\n\nwait @/go\nfill 1 20000000 100\nexit 3')
    m.logged(b'early')
    stuck = m.attach()
    reader = m.attach()
    stuck.send(b'')
    t.touch('go')
    before = time.monotonic()
    while reader.packet() is not None:
        reader.data[STDOUT].clear()
    m.finish(3)
    check(time.monotonic() - before < 25, 'it was not disconnected in time')
    stuck.to_end()
    check(len(stuck.data[STDOUT]) < 20000000, 'it was not disconnected')
    equal(len(content(m.records())), 20000000 + len(b'early\n'), 'what was logged')


def test_first_client_is_waited_for(t):
    """22.4: the client that runs the container may pause for as long as it likes, nothing is lost."""
    m = t.create('wait @/go\nfill 1 5000000 100\nexit 3', log='none')
    client = m.attach()
    client.send(b'')
    wait_for(lambda: any('socket' in target for target in descriptors(m.pid).values()), 'the connection')
    t.touch('go')
    time.sleep(3)
    equal(len(client.to_end()), 5000000)
    m.finish(3)


def test_large_packets_from_clients(t):
    """32 KiB, the size that callers send, without -i: read and thrown away."""
    if t.reference:
        skip('section 6: the reference ends the connection')
    m = t.create('wait @/go\nprint hello\\n')
    client = m.attach()
    for _ in range(20):
        client.send(b'x' * 32768)
    t.touch('go')
    equal(client.to_end(), b'hello\n')
    m.finish(0)


def test_empty_packets_from_clients(t):
    """An empty packet can't be told from the end of a half-closed client; the output goes on."""
    m = t.create('wait @/go\nprint hello\\n', '-i')
    client = m.attach()
    client.socket.send(b'')
    t.touch('go')
    equal(client.to_end(), b'hello\n')
    m.finish(0)


def test_no_attach_without_a_bundle(t):
    """An exec without a bundle has no socket and no FIFOs."""
    m = t.launch('exit 3', mode='exec', api=0, bundle=False).go()
    m.finish(3)
    equal(os.listdir(m.bundle), [])


def test_attach_by_a_relative_bundle(t):
    m = t.create('wait @/go\nprint hello\\n', '-b', '.', bundle=False)
    client = m.attach()
    t.touch('go')
    equal(client.to_end(), b'hello\n')
    m.finish(0)


def test_socket_is_of_the_right_type(t):
    m = t.create('pause')
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_UNIX, kind) as other:
            try:
                other.connect(str(m.attach_path))
                check(False, f'a socket of type {kind} was accepted')
            except OSError as error:
                check(error.errno == 91, f'{error}')


def test_end_of_exec(t):
    """The end of the connection comes before the exit code on the sync pipe."""
    m = t.exec('exit 5', client=True)
    equal(m.sync.message(), {'data': 5})
    check(m.client.poll(), 'the exit code came before the end of the connection')
    equal(m.client.packet(), None)
    m.finish(5)


if __name__ == '__main__':
    main()
