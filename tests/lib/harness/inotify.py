# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Events in directories, in the order in which they happened."""

import collections
import ctypes
import os
import select
import struct

from .check import Failure, scaled

_libc = ctypes.CDLL(None, use_errno=True)

Event = collections.namedtuple('Event', 'kind name')

_OPEN = 0x20
_KINDS = {0x2: 'modify', 0x8: 'close-write', _OPEN: 'open', 0x40: 'moved-from', 0x80: 'moved-to', 0x100: 'create',
          0x200: 'delete'}


class Inotify:
    """Watches directories, with `opens` also for opened files. There are no events after the removal of the
    directory."""

    def __init__(self, *paths, opens=False):
        kinds = sum(_KINDS) if opens else sum(_KINDS) - _OPEN
        self.fd = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self.seen = []
        for path in paths:
            if _libc.inotify_add_watch(self.fd, os.fsencode(path), kinds) < 0:
                raise OSError(ctypes.get_errno(), f'inotify_add_watch {path}')

    def read(self, timeout=0):
        """The events that are available; waits up to `timeout` for the first one."""
        poller = select.poll()
        poller.register(self.fd, select.POLLIN)
        if not poller.poll(scaled(timeout) * 1000):
            return []
        data, at, events = os.read(self.fd, 65536), 0, []
        while at < len(data):
            _, mask, _, length = struct.unpack_from('iIII', data, at)
            name = data[at + 16:at + 16 + length].rstrip(b'\0').decode()
            at += 16 + length
            events += [Event(kind, name) for bit, kind in _KINDS.items() if mask & bit]
        self.seen += events
        return events

    def until(self, kind, name, timeout=10):
        """Waits for one event; `seen` then has all events up to it."""
        while not any(event == (kind, name) for event in self.seen):
            if not self.read(timeout):
                raise Failure(f'no event {kind} {name} within {timeout} s; seen: {self.seen}')

    def close(self):
        os.close(self.fd)
