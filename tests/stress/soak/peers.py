# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Log servers as threads of the process of a life. They can crash, restart, or stop reading for a while."""

import array
import contextlib
import errno
import os
import re
import select
import socket
import struct
import threading
import time

CHUNK = re.compile(rb'\xa5chunk(\xb8[A-Za-z0-9+/=]{24})')
JOURNAL = '/run/systemd/journal/socket'


class _Connection:
    def __init__(self, sock):
        self.socket, self.data, self.answered = sock, bytearray(), 0


class Peer:
    """A TCP server. `connections` has the data received on each connection. With `ack` it acknowledges as
    fluentd does."""

    def __init__(self, address, ack=False):
        self.address, self.ack = address, ack
        self.connections, self.lock = [], threading.Lock()
        self.open, self.stalled, self.listener, self.deaths = {}, False, None, 0
        self.wake, self.waker = socket.socketpair()
        self._listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _listen(self):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._bind(listener)
        listener.listen(16)
        self.address = listener.getsockname()
        self.listener = listener

    def _bind(self, listener):
        """Retries, because the thread may still hold the previous socket."""
        for _ in range(500):
            try:
                listener.bind(self.address)
                return
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            time.sleep(0.01)
        raise OSError(errno.EADDRINUSE, f'{self.address} is in use')

    def kill(self):
        """Refuses new connections and resets open ones."""
        with self.lock:
            if self.listener:
                self.deaths += 1
                with contextlib.suppress(OSError):
                    self.listener.shutdown(socket.SHUT_RDWR)
                self.listener.close()
                self.listener = None
                for sock in self.open:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                    sock.close()
                self.open = {}
        self.waker.send(b'x')

    def restart(self):
        with self.lock:
            if not self.listener:
                self._listen()
            self.stalled = False
        self.waker.send(b'x')

    def set_stalled(self, stalled):
        with self.lock:
            self.stalled = stalled
        self.waker.send(b'x')

    def received(self):
        """The data received on each connection."""
        with self.lock:
            return [bytes(connection.data) for connection in self.connections]

    def forget(self):
        """Forgets received data, except that of open connections."""
        with self.lock:
            self.connections = [connection for connection in self.connections if connection.socket in self.open]

    def _serve(self):
        while True:
            with self.lock:
                watched = [self.wake] + ([self.listener] if self.listener else [])
                watched += [] if self.stalled else list(self.open)
            with contextlib.suppress(OSError, ValueError):
                ready = select.select(watched, [], [])[0]
                for sock in ready:
                    if sock is self.wake:
                        sock.recv(4096)
                with self.lock:
                    for sock in ready:
                        self._handle(sock)

    def _handle(self, sock):
        if sock is self.listener:
            accepted = sock.accept()[0]
            self.open[accepted] = _Connection(accepted)
            self.connections.append(self.open[accepted])
        elif sock in self.open:
            self._read(self.open[sock])

    def _read(self, connection):
        data = b''
        with contextlib.suppress(OSError):
            data = connection.socket.recv(1 << 16)
        if not data:
            del self.open[connection.socket]
            connection.socket.close()
            return
        connection.data += data
        if self.ack:
            chunks = CHUNK.findall(connection.data)
            with contextlib.suppress(OSError):
                for chunk in chunks[connection.answered:]:
                    connection.socket.sendall(b'\x81\xa3ack' + chunk)
            connection.answered = len(chunks)


class Journal:
    """A fake journal. `entries` are dicts of fields; needs a private /run."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(JOURNAL)
        self.entries, self.lock = [], threading.Lock()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            data, control, _, _ = self.socket.recvmsg(1 << 18, socket.CMSG_SPACE(4))
            for _, _, content in control:  # an entry that is too long for a datagram is passed as a file
                fd = array.array('i', content)[0]
                data = os.pread(fd, os.fstat(fd).st_size, 0)
                os.close(fd)
            with self.lock:
                self.entries.append(_fields(data))

    def texts(self, priority):
        with self.lock:
            return [entry.get(b'MESSAGE', b'') for entry in self.entries if entry.get(b'PRIORITY') == priority]

    def count(self):
        with self.lock:
            return len(self.entries)


def _fields(data):
    """The journal's native protocol: NAME=text, or NAME, a length of 8 bytes and that many bytes."""
    fields, at = {}, 0
    while at < len(data):
        end = data.index(b'\n', at)
        name, equals, text = data[at:end].partition(b'=')
        at = end + 1
        if not equals:
            length = struct.unpack_from('<Q', data, at)[0]
            text, at = data[at + 8:at + 8 + length], at + 8 + length + 1
        fields[name] = text
    return fields
