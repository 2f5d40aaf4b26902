# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The caller's ends of the pipes that it passes to the monitor."""

import json
import os
import select
import socket

from .check import Failure, check, scaled

READ_SIZE = 4096  # podman's buffer for one message


def pair(kind):
    """Returns the descriptors (our end, the monitor's end) of a pipe to which the monitor writes."""
    if kind == 'pipe':
        return os.pipe()
    ours, theirs = socket.socketpair(socket.AF_UNIX, {'seqpacket': socket.SOCK_SEQPACKET,
                                                      'stream': socket.SOCK_STREAM}[kind])
    return ours.detach(), theirs.detach()


class Channel:
    """A pipe on which the monitor sends messages. `records` keeps every read, as bytes."""

    def __init__(self, fd, name):
        self.fd, self.name, self.records, self.ended = fd, name, [], False

    def poll(self, timeout=0):
        """Whether a read would not block."""
        poller = select.poll()
        poller.register(self.fd, select.POLLIN)
        return bool(poller.poll(timeout * 1000))

    def read(self, timeout=10):
        """One read as podman does it: a record, or b'' at the end."""
        if not self.poll(scaled(timeout)):
            raise Failure(f'nothing on the {self.name} pipe for {timeout} s; before: {self.records}')
        try:
            data = os.read(self.fd, READ_SIZE)
        except ConnectionResetError:
            data = b''
        if data:
            self.records.append(data)
        else:
            self.ended = True
        return data

    def message(self, timeout=10):
        """The next message, decoded."""
        data = self.read(timeout)
        check(data, f'expected a message, got the end of the {self.name} pipe; before: {self.records}')
        check(data.endswith(b'\n') and data.count(b'\n') == 1, f'not one line: {data!r}')
        return json.loads(data)

    def messages(self, timeout=10):
        """All messages until the pipe is closed, decoded."""
        text = b''.join(iter(lambda: self.read(timeout), b''))
        return [json.loads(line) for line in text.splitlines()]

    def expect_end(self, timeout=10):
        data = self.read(timeout)
        check(data == b'', f'expected the end of the {self.name} pipe, got {data!r}')

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


class StartPipe:
    """The pipe from which the monitor reads the caller's permission to continue."""

    def __init__(self, fd):
        self.fd = fd

    def go(self):
        os.write(self.fd, b'\0')

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1
