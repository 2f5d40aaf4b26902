# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""A client of the attach socket."""

import os
import select
import socket
import time

from .check import Failure, check, scaled

STDOUT, STDERR = 2, 3
LARGEST = 1 + 8192  # callers read with a buffer of this size


class Attach:
    """Connects as podman does: through an O_PATH descriptor, because the path may be too long for sun_path."""

    def __init__(self, path, connect=True):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sizes, self.data, self.ended = [], {STDOUT: bytearray(), STDERR: bytearray()}, False
        if connect:
            self.connect()

    def connect(self):
        fd = os.open(self.path, os.O_PATH)
        try:
            self.socket.connect(f'/proc/self/fd/{fd}')
        finally:
            os.close(fd)

    def poll(self, timeout=0):
        poller = select.poll()
        poller.register(self.socket, select.POLLIN)
        return bool(poller.poll(scaled(timeout) * 1000))

    def packet(self, timeout=10):
        """The next packet as (stream, bytes), or None at the end."""
        if not self.poll(timeout):
            raise Failure(f'no packet for {timeout} s; so far {self.describe()}')
        try:
            data, _, flags, _ = self.socket.recvmsg(1 << 17)
        except ConnectionResetError:
            data, flags = b'', 0
        if not data:
            self.ended = True
            return None
        check(len(data) <= LARGEST and not flags & socket.MSG_TRUNC, f'a packet of {len(data)} bytes')
        check(data[0] in self.data, f'a packet for stream {data[0]}')
        check(len(data) > 1, 'a packet without content')
        self.sizes.append(len(data))
        self.data[data[0]] += data[1:]
        return data[0], data[1:]

    def until(self, wanted, stream=STDOUT, timeout=10):
        """Reads until the data of the stream contains `wanted`."""
        deadline = time.monotonic() + scaled(timeout)
        while wanted not in self.data[stream]:
            if self.packet(max(deadline - time.monotonic(), 0)) is None:
                raise Failure(f'the connection ended before {wanted!r} was received; {self.describe()}')

    def to_end(self, timeout=10):
        """Reads until the monitor closes the connection; returns the data of standard output."""
        deadline = time.monotonic() + scaled(timeout)
        while self.packet(max(deadline - time.monotonic(), 0)) is not None:
            pass
        return bytes(self.data[STDOUT])

    def describe(self):
        return ', '.join(f'stream {stream}: {len(data)} bytes ending {bytes(data[-80:])!r}'
                         for stream, data in self.data.items())

    def send(self, data):
        """Sends in packets of 32 KiB, as podman and CRI-O do."""
        for at in range(0, len(data), 32768):
            self.socket.send(data[at:at + 32768])

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def close(self):
        self.socket.close()


def drain(clients, timeout=20):
    """Reads from all clients in turn until the monitor has closed every connection."""
    deadline = time.monotonic() + scaled(timeout)
    poller, open_clients = select.poll(), {client.socket.fileno(): client for client in clients}
    for fd in open_clients:
        poller.register(fd, select.POLLIN)
    while open_clients:
        ready = poller.poll(max(deadline - time.monotonic(), 0) * 1000)
        check(ready, f'{len(open_clients)} connections did not end within {timeout} s')
        for fd, _ in ready:
            if open_clients[fd].packet() is None:
                poller.unregister(fd)
                del open_clients[fd]
