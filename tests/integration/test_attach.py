#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The attach socket: what clients receive, and that no client can disturb the monitor or other clients."""

import os
import signal
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import (  # noqa: E402
    alive, check, content, descriptors, differs, drain, equal, kill, main, skip, slow, tool, wait_for)
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
    """At most 8193 bytes, the size of the buffers of podman and CRI-O."""
    m = t.create('wait @/go\nfill 1 20000 20000\nfill 1 8192\nfill 1 8193\nfill 1 1')
    client = m.attach()
    t.touch('go')
    equal(len(client.to_end()), 20000 + 8192 + 8193 + 1)
    check(max(client.sizes) == LARGEST, f'sizes {client.sizes}')
    m.finish(0)


def test_write_is_one_packet(t):
    """Lines and a prompt that were written at once, and so is their time in the log."""
    m = t.create('wait @/go\nprint one\\ntwo\nwait @/end\nprint three\\nfour')
    client = m.attach()
    t.touch('go')
    equal(client.packet(), (STDOUT, b'one\ntwo'))
    t.touch('end')
    equal(client.packet(), (STDOUT, b'three\nfour'))
    m.finish(0)
    times = [record.time for record in m.records()]
    equal(len(times), 4)
    check(times[0] == times[1] and times[2] == times[3], f'times {times}')


def test_large_output(t):
    """A client that reads gets all output."""
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
    """A client that reads more slowly than the container writes still gets all output."""
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
    """Each client gets all output."""
    m = t.create('wait @/go\nfill 1 300000 100\neprint end\\n')
    clients = [m.attach() for _ in range(8)]
    t.touch('go')
    drain(clients)
    for number in range(8):
        equal(len(clients[number].data[STDOUT]), 300000, f'client {number}')
        equal(clients[number].data[STDERR], b'end\n', f'client {number}')
    m.finish(0)


def test_no_history(t):
    """A client gets only the output written after it connected."""
    m = t.create('print early\\n\nwait @/go\nprint late\\n')
    m.wait_log(b'early')
    client = m.attach()
    time.sleep(0.02)
    t.touch('go')
    equal(client.to_end(), b'late\n')
    m.finish(0)


def test_connected_before_the_start(t):
    """A client that connected before the container ran gets its first byte."""
    for number in range(30):
        m = t.launch('print first\\n', '--exec-attach', mode='exec', pipes=('sync', 'start', 'attach'),
                     monitor=t.monitor(str(number))).go()
        equal(m.attach_pipe.message(), {'data': 0})
        client = m.attach()
        m.start.go()
        m.created()
        equal(client.to_end(), b'first\n')
        m.finish(0)


def test_connected_late_to_exec(t):
    """The caller connects some time after the attach message."""
    m = t.launch('print first\\n', '--exec-attach', mode='exec', pipes=('sync', 'start', 'attach')).go()
    equal(m.attach_pipe.message(), {'data': 0})
    time.sleep(0.3)
    client = m.attach()
    m.start.go()
    m.created()
    equal(client.to_end(), b'first\n')
    m.finish(0)


def test_connected_while_the_monitor_is_stopped(t):
    """A client that connected before the output gets all of it, even if the monitor is scheduled late."""
    for extra in ([], ['-t']):
        name = 'm' + ''.join(extra)
        m = t.launch(f'print first\\n\ntouch @/printed{name}\nwait @/go{name}', '--exec-attach', *extra, mode='exec',
                     runtime=f'touch @/running{name}\nwait @/on{name}\nconsole\ncontainer\npidfile',
                     pipes=('sync', 'start', 'attach'), monitor=t.monitor(name)).go()
        equal(m.attach_pipe.message(), {'data': 0})
        m.start.go()
        t.wait_file(f'running{name}')
        kill(m.pid, signal.SIGSTOP)
        client = m.attach()
        t.touch(f'on{name}')
        t.wait_file(f'printed{name}')
        kill(m.pid, signal.SIGCONT)
        m.created()
        t.touch(f'go{name}')
        check(client.to_end().startswith(b'first'), 'the first output is missing')
        m.finish(0)


def test_log_is_written_before_clients(t):
    """Output that a client has received is already in the log."""
    m = t.create('wait @/go\nprint one\\n\nsleep 20\nprint two\\n\nsleep 20\nprint three\\n\nwait @/end')
    client = m.attach()
    t.touch('go')
    for line in (b'one\n', b'two\n', b'three\n'):
        client.until(line)
        check(line.strip() in m.log.read_bytes(), f'a client received {line} before it was logged')
    t.touch('end')
    client.to_end()
    m.finish(0)


def test_half_closed_client_still_receives(t):
    """A client that has shut down its sending side still gets the output."""
    for extra in ([], ['-i']):
        name = 'm' + ''.join(extra)
        m = t.create(f'wait @/{name}\nprint out\\n', *extra, monitor=t.monitor(name + 'x'))
        client = m.attach()
        client.half_close()
        time.sleep(0.02)
        t.touch(name)
        equal(client.to_end(), b'out\n')
        m.finish(0)


def test_client_disconnects(t):
    """At any time, also with unread data in its socket; other clients are not affected."""
    m = t.create('wait @/go\nfill 1 2000000 100')
    stays, leaves = m.attach(), m.attach()
    t.touch('go')
    leaves.packet()
    leaves.close()
    equal(len(stays.to_end()), 2000000)
    m.finish(0)


def test_client_is_killed(t):
    """The monitor does not die from SIGPIPE when a client goes away."""
    for _ in range(20):
        m = t.monitors[0] if t.monitors else t.create('fill 1 99999999999 100', log='none')
        client = m.attach()
        client.packet()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        client.close()
    check(alive(m.pid) and alive(m.container), 'monitor or container died')


@differs('the reference keeps the connection of a client that sent input to a container without stdin')
def test_clients_come_and_go(t):
    """No descriptor is leaked."""
    m = t.create('sh while :; do echo x; sleep 0.01; done', log='none')
    before = len(m.stable_descriptors())
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
    m = t.create('wait @/go\nprint hello\\n')
    clients = [m.attach() for _ in range(200)]
    wait_for(lambda: len(descriptors(m.pid)) > 200, 'all to be accepted')
    t.touch('go')
    for client in clients:
        equal(client.to_end(), b'hello\n')
    m.finish(0)


def test_connections_closed_before_accept(t):
    """Clients that disconnect before they are accepted do no harm."""
    m = t.create('wait @/go\nprint hello\\n')
    for _ in range(300):
        m.attach()
    client = m.attach()
    t.touch('go')
    equal(client.to_end(), b'hello\n')
    m.finish(0)


@differs('a client that does not read pauses its stream, not the monitor')
def test_stuck_client_does_not_block_the_monitor(t):
    """Signals, the exit and other clients are handled while one client does not read."""
    m = t.create('wait @/go\nfill 1 30000000 100\nexit 3')
    stuck = m.attach()
    t.touch('go')
    time.sleep(0.3)
    kill(m.pid, 15)
    m.finish(143, timeout=5)
    stuck.close()


@differs('a client that connected late and does not read is disconnected after 2 s')
def test_late_client_that_does_not_read_is_disconnected(t):
    """The others get everything, and so does the log."""
    m = t.create('print early\\n\nwait @/go\nfill 1 20000000 100\nexit 3')
    m.wait_log(b'early')
    stuck = m.attach()
    reader = m.attach()
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
    """The client that was attached at the start may pause for any time without losing output."""
    m = t.create('wait @/go\nfill 1 5000000 100\nexit 3', log='none')
    before = len(m.stable_descriptors())
    client = m.attach()
    wait_for(lambda: len(descriptors(m.pid)) > before, 'the connection')
    t.touch('go')
    time.sleep(3)
    equal(len(client.to_end()), 5000000)
    m.finish(3)


def test_large_packets_from_clients(t):
    """Packets of 32 KiB, as callers send them, without -i: read and discarded."""
    if t.reference:
        skip('the reference ends the connection')
    m = t.create('wait @/go\nprint hello\\n')
    client = m.attach()
    for _ in range(20):
        client.send(b'x' * 32768)
    t.touch('go')
    equal(client.to_end(), b'hello\n')
    m.finish(0)


def test_empty_packets_from_clients(t):
    """An empty packet looks like a half-close; the client still gets the output."""
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


@differs('the reference does not answer')
def test_exec_attach_without_a_socket(t):
    """The caller waits for the message even if there is nothing to attach to."""
    for number, options in enumerate(({'bundle': False}, {'log': 'passthrough'})):
        m = t.launch('exit 3', '--exec-attach', mode='exec', pipes=('sync', 'start', 'attach'),
                     monitor=t.monitor(str(number)), **options).go()
        equal(m.attach_pipe.message(), {'data': 0})
        m.start.go()
        m.created().finish(3)
        check(not m.attach_path.exists(), 'there is a socket')


def test_relative_bundle_path(t):
    m = t.create('wait @/go\nprint hello\\n', '-b', '.', bundle=False)
    client = m.attach()
    t.touch('go')
    equal(client.to_end(), b'hello\n')
    m.finish(0)


def test_only_seqpacket_connections(t):
    m = t.create('pause')
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_UNIX, kind) as other:
            try:
                other.connect(str(m.attach_path))
                check(False, f'a socket of type {kind} was accepted')
            except OSError as error:
                check(error.errno == 91, f'{error}')


@differs('a client that connects at once may be refused')
def test_listens_before_the_name_appears(t):
    """A client that waits for the socket's name and connects at once is never refused."""
    tool('strace')
    t.skip_with(valgrind='runs under strace')
    m = t.monitor()
    strace = ['/usr/bin/strace', '-ff', '-qq', '-o', str(t.dir / 'trace'), '-e', 'trace=listen',
              '-e', 'inject=listen:delay_enter=300000']
    m.spawn([*strace, t.program, *t.arguments(m, conmon_pidfile=False), '--sync'], t.traced_environment('wait @/go'),
            ('sync', 'start'))
    m.start.go()
    wait_for(m.attach_path.exists, 'the attach socket')
    m.attach()
    m.created()
    t.touch('go')
    m.wait()


def test_end_of_exec(t):
    """The connection is closed before the exit code is written to the sync pipe."""
    m = t.exec('exit 5', client=True)
    equal(m.sync.message(), {'data': 5})
    check(m.client.poll(), 'the exit code was written before the connection was closed')
    equal(m.client.packet(), None)
    m.finish(5)


if __name__ == '__main__':
    main()
