#!/usr/bin/python3
"""The relay of service notifications."""

import array
import os
import socket
import stat
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from harness import *  # noqa


class Service:
    """A monitor with --sdnotify-socket, the service manager above it, and a sender in the container's place."""

    def __init__(self, t, address=None, container='pause'):
        self.m = t.monitor(f'm{len(t.monitors)}')
        (self.m.bundle / 'notify').mkdir()
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        host = str(t.dir / f'host{len(t.monitors)}')
        self.manager.bind(address.replace('@', '\0') if address else host)
        self.manager.settimeout(5)
        self.path = self.m.bundle / 'notify/notify.sock'
        t.create(container, '--sdnotify-socket', address or host, places=self.m)
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
    """Whatever user the container runs as may notify."""
    service = Service(t)
    equal(oct(stat.S_IMODE(service.path.stat().st_mode)), '0o777')


def test_sender_is_the_monitor(t):
    """The manager was told that the monitor is the main process and believes only it."""
    service = Service(t)
    service.send('READY=1')
    _, ancillary, _, _ = service.manager.recvmsg(4096, socket.CMSG_SPACE(12))
    equal(array.array('i', ancillary[0][2])[0], service.m.pid)


@differs('more lines pass since release 2.1.9 (21)')
def test_allowed_lines(t):
    """B88: each alone."""
    service = Service(t)
    for line in ('READY=1', 'RELOADING=1', 'STOPPING=1', 'WATCHDOG=1', 'WATCHDOG=trigger', 'STATUS=all is well',
                 'STATUS=', 'ERRNO=5', 'BUSERROR=org.x', 'MONOTONIC_USEC=123', 'EXTEND_TIMEOUT_USEC=5000'):
        service.send(line)
        equal(service.receive().rstrip('\n'), line)


@differs('lines are compared as a whole since release 2.1.9 (21)')
def test_forbidden_lines(t):
    """B88: a container must not speak for the monitor."""
    service = Service(t)
    for line in ('MAINPID=1', 'FDSTORE=1', 'FDNAME=x', 'BARRIER=1', 'NOTIFYACCESS=all', 'READY=0', 'READY=11',
                 'ready=1', ' READY=1', 'X_READY=1', 'garbage', '', '=', 'WATCHDOG=2', 'WATCHDOG_USEC=1'):
        service.send(line)
    service.send('READY=1')
    equal(service.receive().rstrip('\n'), 'READY=1')


@differs('more lines pass since release 2.1.9 (21)')
def test_mixed_lines(t):
    """What is allowed of one datagram goes on in one datagram."""
    service = Service(t)
    service.send('MAINPID=7\nREADY=1\r\nFDSTORE=1\nSTATUS=ok\n\n')
    equal(service.receive().rstrip('\n'), 'READY=1\nSTATUS=ok')


@differs('more lines pass since release 2.1.9 (21)')
def test_large_datagrams(t):
    """64 KiB of anything does no harm."""
    service = Service(t)
    service.send('READY=1')
    service.receive()
    before = service.m.settled()
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
    """A barrier of the sender completes when its descriptor is closed."""
    service = Service(t)
    service.send('READY=1')
    service.receive()
    before = service.m.settled()
    read, write = os.pipe()
    socket.send_fds(service.sender, [b'BARRIER=1'], [write])
    os.close(write)
    service.send('READY=1')
    service.receive()
    os.set_blocking(read, False)
    equal(os.read(read, 1), b'', 'the barrier')
    equal(descriptors(service.m.pid), before)


@differs('22.8')
def test_abstract_socket(t):
    service = Service(t, f'@conmon-test-{os.getpid()}')
    service.send('READY=1')
    equal(service.receive().rstrip('\n'), 'READY=1')


@differs('section 11: a failed send ends the relay of the reference')
def test_manager_that_is_away(t):
    """A failed send is not the end of the relay."""
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


@differs('section 11')
def test_manager_that_does_not_read(t):
    """A full queue must not block the monitor."""
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
    """B87"""
    service = Service(t, container='wait @/go\nexit 3')
    t.touch('go')
    service.m.finish(3)


def test_missing_notify_directory(t):
    """The caller is to create it; without it nothing hangs."""
    m = t.launch('exit 0', '--sdnotify-socket', '/run/x').go()
    m.sync.messages()
    m.wait()


def test_stale_socket(t):
    m = t.monitor('m0')
    (m.bundle / 'notify').mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
        stale.bind(str(m.bundle / 'notify/notify.sock'))
    t.create('exit 3', '--sdnotify-socket', '/run/x', places=m).finish(3)


if __name__ == '__main__':
    main()
