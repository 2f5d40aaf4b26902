# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""A syslog server that takes RFC 5424 messages over TCP and UDP on the same port."""

import re
import select
import socket
import threading

from .check import check, wait_for

_MESSAGE = re.compile(rb'<(\d+)>1 \S+ \S+ (\S+) \S+ \S+ (?:-|(?:\[.*?\])+)(?: (.*))?', re.S)


class Syslog:
    """It listens on `address` and `port`; `lines(tag)` has what was received, as (stream, bytes) in order."""

    def __init__(self):
        self.messages, self.lock = [], threading.Lock()
        self.server = socket.create_server(('127.0.0.1', 0))
        self.port = self.server.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(('127.0.0.1', self.port))
        self.address = f'tcp://127.0.0.1:{self.port}'
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        buffers = {}
        while True:
            ready, _, _ = select.select([self.server, self.udp, *buffers], [], [])
            for peer in ready:
                if peer is self.server:
                    buffers[peer.accept()[0]] = b''
                elif peer is self.udp:
                    self._take(peer.recv(1 << 16))
                else:
                    data = peer.recv(1 << 16)
                    buffers[peer] = self._cut(buffers[peer] + data)
                    if not data:
                        del buffers[peer]
                        peer.close()

    def _cut(self, data):
        """Splits messages with octet counting (RFC 6587, 3.4.1). Returns the incomplete rest."""
        while True:
            digits, blank, rest = data.partition(b' ')
            if not blank or len(rest) < int(digits):
                return data
            self._take(rest[:int(digits)])
            data = rest[int(digits):]

    def _take(self, message):
        found = _MESSAGE.fullmatch(message.rstrip(b'\n'))
        with self.lock:
            self.messages.append(found.groups() if found else (b'', b'', message))

    def lines(self, tag=None):
        with self.lock:
            return [('stderr' if int(priority or 0) % 8 == 3 else 'stdout', text or b'')
                    for priority, name, text in self.messages if tag is None or name == tag.encode()]

    def expect_lines(self, tag, wanted):
        """Waits until exactly these lines of a container were received, in order within each stream."""
        def complete():
            return all([text for stream, text in self.lines(tag) if stream == name] == texts
                       for name, texts in wanted.items())
        wait_for(lambda: len(self.lines(tag)) >= sum(map(len, wanted.values())), f'the lines of {tag}; got '
                 f'{self.messages}')
        check(complete(), f'the lines of {tag}: {self.lines(tag)}')
