#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The relay of service notifications."""

import array
import os
import socket
import stat
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import check, descriptors, differs, equal, main  # noqa: E402


class Service:
    """A monitor with --sdnotify-socket, a fake service manager, and a sender in place of the container."""

    def __init__(self, t, address=None, container='pause'):
        self.m = t.monitor(f'm{len(t.monitors)}')
        (self.m.bundle / 'notify').mkdir()
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        host = str(t.dir / f'host{len(t.monitors)}')
        self.manager.bind(address.replace('@', '\0') if address else host)
        self.manager.settimeout(5)
        self.path = self.m.bundle / 'notify/notify.sock'
        t.create(container, '--sdnotify-socket', address or host, monitor=self.m)
        self.sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sender.connect(str(self.path))

    def send(self, text):
        self.sender.send(text if isinstance(text, bytes) else text.encode())

    def receive(self):
        return self.manager.recv(65536).decode()


def test_ready(t):
    service = Service(t)
    service.send('READY=1')
    equal(service.receive().strip('\n'), 'READY=1')


def test_mode_of_the_socket(t):
    """The container may run as any user."""
    service = Service(t)
    equal(oct(stat.S_IMODE(service.path.stat().st_mode)), '0o777')


def test_sender_is_the_monitor(t):
    """The service manager accepts messages only from the monitor, which is the main process."""
    service = Service(t)
    service.send('READY=1')
    _, ancillary, _, _ = service.manager.recvmsg(4096, socket.CMSG_SPACE(12))
    equal(array.array('i', ancillary[0][2])[0], service.m.pid)


@differs('more lines are relayed since release 2.1.9')
def test_allowed_lines(t):
    """Each alone."""
    service = Service(t)
    for line in ('READY=1', 'RELOADING=1', 'STOPPING=1', 'WATCHDOG=1', 'WATCHDOG=trigger', 'STATUS=all is well',
                 'STATUS=', 'ERRNO=5', 'BUSERROR=org.x', 'MONOTONIC_USEC=123', 'EXTEND_TIMEOUT_USEC=5000'):
        service.send(line)
        equal(service.receive().rstrip('\n'), line)


@differs('whole lines are compared since release 2.1.9')
def test_forbidden_lines(t):
    """Lines that would affect the monitor's service are dropped."""
    service = Service(t)
    for line in ('MAINPID=1', 'FDSTORE=1', 'FDNAME=x', 'BARRIER=1', 'NOTIFYACCESS=all', 'READY=0', 'READY=11',
                 'ready=1', ' READY=1', 'X_READY=1', 'garbage', '', '=', 'WATCHDOG=2', 'WATCHDOG_USEC=1'):
        service.send(line)
    service.send('READY=1')
    equal(service.receive().rstrip('\n'), 'READY=1')


@differs('more lines are relayed since release 2.1.9')
def test_mixed_lines(t):
    """The allowed lines of a datagram are sent as one datagram."""
    service = Service(t)
    service.send('MAINPID=7\nREADY=1\r\nFDSTORE=1\nSTATUS=ok\n\n')
    equal(service.receive().rstrip('\n'), 'READY=1\nSTATUS=ok')


@differs('more lines are relayed since release 2.1.9')
def test_large_datagrams(t):
    """Any datagram up to 64 KiB is handled."""
    service = Service(t)
    service.send('READY=1')
    service.receive()
    before = service.m.stable_descriptors()
    service.sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    for _ in range(10):
        service.send(b'x' * 65536)
        service.send(os.urandom(60000))
        service.send(b'STATUS=' + b'y' * 20000)
        service.receive()
    service.send('READY=1')
    equal(service.receive().rstrip('\n'), 'READY=1')
    equal(descriptors(service.m.pid), before)


def test_passed_descriptors_are_dropped(t):
    """The sender's barrier completes when its descriptor is closed."""
    service = Service(t)
    service.send('READY=1')
    service.receive()
    before = service.m.stable_descriptors()
    read, write = os.pipe()
    socket.send_fds(service.sender, [b'BARRIER=1'], [write])
    os.close(write)
    service.send('READY=1')
    service.receive()
    os.set_blocking(read, False)
    equal(os.read(read, 1), b'', 'the barrier')
    equal(descriptors(service.m.pid), before)


@differs('the reference does not relay it')
def test_abstract_socket(t):
    service = Service(t, f'@conmon-test-{os.getpid()}')
    service.send('READY=1')
    equal(service.receive().rstrip('\n'), 'READY=1')


@differs('a failed send ends the relay of the reference')
def test_manager_is_absent(t):
    """A failed send does not end the relay."""
    service = Service(t)
    path = service.manager.getsockname()
    service.manager.close()
    os.unlink(path)
    for _ in range(5):
        service.send('READY=1')
    time.sleep(0.05)
    service.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    service.manager.bind(path)
    service.manager.settimeout(5)
    service.send('RELOADING=1')
    equal(service.receive().rstrip('\n'), 'RELOADING=1')


@differs('the reference drops messages that it could not send')
def test_manager_that_does_not_read(t):
    """A full socket buffer does not block the monitor."""
    service = Service(t, container='wait @/go\nexit 3')
    service.sender.setblocking(False)
    for _ in range(3000):
        try:
            service.send('STATUS=x')
        except BlockingIOError:
            time.sleep(0.0005)
    t.touch('go')
    service.m.finish(3)


def test_container_that_never_notifies(t):
    """The monitor does not wait for a notification."""
    service = Service(t, container='wait @/go\nexit 3')
    t.touch('go')
    service.m.finish(3)


def test_missing_notify_directory(t):
    """The caller creates it; without it the container does not start."""
    m = t.launch('exit 0', '--sdnotify-socket', '/run/x').go()
    messages = m.sync.messages()
    equal((m.wait(), m.exit_file.exists()), (1, False), 'status, and whether there is an exit file')
    if not t.reference:
        equal([message['data'] for message in messages], [-1], 'messages')
        check('Failed to create the notification socket' in messages[0]['message'], messages[0])


def test_stale_socket(t):
    m = t.monitor('m0')
    (m.bundle / 'notify').mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
        stale.bind(str(m.bundle / 'notify/notify.sock'))
    t.create('exit 3', '--sdnotify-socket', '/run/x', monitor=m).finish(3)


if __name__ == '__main__':
    main()
