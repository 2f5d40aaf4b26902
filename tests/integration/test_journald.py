#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Entries of the journal, received by a fake journal. Needs root for a private /run."""

import os
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import CID, content, differs, equal, main, needs_root, parse, SHORT_CID  # noqa: E402

# Executes the remaining arguments with a private /run that has the journal's socket $1.
PRIVATE_RUN = '''set -e
socket=$1; shift
mount -t tmpfs none /run
mkdir -p /run/systemd/journal
touch /run/systemd/journal/socket
mount --bind "$socket" /run/systemd/journal/socket
exec "$@"
'''


def fields(data):
    """The fields of one entry in order, from NAME=VALUE lines or from the form with a length."""
    entry = []
    while data:
        line, _, rest = data.partition(b'\n')
        name, equals, value = line.partition(b'=')
        if equals:
            entry.append((name.decode(), value))
            data = rest
        else:
            size = struct.unpack_from('<Q', rest)[0]
            entry.append((name.decode(), rest[8:8 + size]))
            data = rest[9 + size:]
    return entry


class Journal:
    def __init__(self, t):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.path = str(t.dir / 'journal.sock')
        self.socket.bind(self.path)
        self.socket.setblocking(False)

    def entries(self, t, container, *extra, log='journald', **options):
        """The entries of a container from its start to its end."""
        m = t.monitor(f'j{len(t.monitors)}')
        argv = t.arguments(m, log=log, conmon_pidfile=False, **options)
        m.spawn(['/usr/bin/unshare', '-m', '/bin/sh', '-c', PRIVATE_RUN, 'sh', self.path, t.program, *argv, '--sync',
                 *map(str, extra)], t.environment(container), ('sync', 'start'))
        m.start.go()
        m.wait()
        found = []
        try:
            while True:
                found.append(fields(self.socket.recv(1 << 20)))
        except BlockingIOError:
            return found


def without_code(entry):
    return [field for field in entry if not field[0].startswith('CODE_')]


def values(entries, name='MESSAGE'):
    return [dict(entry).get(name) for entry in entries]


@needs_root
def test_fields(t):
    """All fields, in order; the message keeps its newline."""
    entries = Journal(t).entries(t, 'print hello\\n')
    equal(len(entries), 1)
    equal(without_code(entries[0]), [
        ('MESSAGE', b'hello\n'), ('CONTAINER_ID_FULL', CID.encode()), ('PRIORITY', b'6'),
        ('CONTAINER_ID', SHORT_CID.encode()), ('CONTAINER_NAME', b'name'), ('SYSLOG_IDENTIFIER', b'name')])


@needs_root
def test_tag(t):
    """The tag becomes the identifier of entries."""
    entries = Journal(t).entries(t, 'print hello\\n', '--log-tag', 'mytag')
    equal(without_code(entries[0])[3:], [
        ('CONTAINER_ID', SHORT_CID.encode()), ('CONTAINER_TAG', b'mytag'), ('CONTAINER_NAME', b'name'),
        ('SYSLOG_IDENTIFIER', b'mytag')])


@needs_root
def test_without_a_name(t):
    """Entries of a container without a name."""
    entries = Journal(t).entries(t, 'print hello\\n', name=None)
    equal(without_code(entries[0])[3:],
          [('CONTAINER_ID', SHORT_CID.encode()), ('SYSLOG_IDENTIFIER', SHORT_CID.encode())])


@needs_root
@differs('options of release 2.2.0')
def test_labels(t):
    entries = Journal(t).entries(t, 'print hello\\n', '--log-label', 'IMAGE=busybox', '--log-label', 'A_1=')
    equal(values(entries, 'IMAGE'), [b'busybox'])
    equal(values(entries, 'A_1'), [b''])


@needs_root
def test_priorities_of_the_streams(t):
    entries = Journal(t).entries(t, 'print out\\n\nsleep 30\neprint err\\n')
    equal(sorted(zip(values(entries), values(entries, 'PRIORITY'))), [(b'err\n', b'3'), (b'out\n', b'6')])


@needs_root
@differs('priority prefixes since release 2.2.0')
def test_priority_prefixes(t):
    """<0> to <7> at the beginning of a line, but not in the rest of a partial line."""
    journal = Journal(t)
    for text, message, priority in [(f'<{number}>x', b'x\n', str(number)) for number in range(8)] + [
            ('<8>x', b'<8>x\n', '6'), ('<>x', b'<>x\n', '6'), ('x<3>', b'x<3>\n', '6'), ('<3>', b'\n', '3')]:
        entries = journal.entries(t, f'print {text}\\n')
        equal((values(entries), values(entries, 'PRIORITY')), ([message], [priority.encode()]), text)
    entries = journal.entries(t, 'print <3>sp\nsleep 50\nprint lit\\n')
    equal(b''.join(values(entries)).replace(b'<3>', b''), b'split\n')


@needs_root
def test_nul_and_other_bytes(t):
    """Messages are written with their length and may contain NUL."""
    entries = Journal(t).entries(t, 'print a\\x00b\\xff\\r\\n')
    equal(values(entries), [b'a\0b\xff\r\n'])


@needs_root
def test_one_byte_at_a_time(t):
    """One line is one entry, regardless of the number of writes."""
    entries = Journal(t).entries(t, 'sh for c in a b c d; do printf $c; sleep 0.03; done; echo')
    equal(values(entries), [b'abcd\n'])
    equal(values(entries, 'CONTAINER_PARTIAL_MESSAGE'), [None])


@needs_root
def test_unfinished_line(t):
    entries = Journal(t).entries(t, 'print partial')
    equal(values(entries), [b'partial'])
    equal(values(entries, 'CONTAINER_PARTIAL_MESSAGE'), [b'true'])


@needs_root
def test_long_line(t):
    entries = Journal(t).entries(t, 'fill 1 20000 20000')
    equal(b''.join(values(entries)), b'x' * 19999 + b'\n')
    flags = values(entries, 'CONTAINER_PARTIAL_MESSAGE')
    equal(flags, [b'true'] * (len(entries) - 1) + [None])


@needs_root
def test_with_a_file(t):
    """CRI-O passes both drivers; both get all records."""
    m_log = t.dir / 'both.log'
    entries = Journal(t).entries(t, 'print hello\\n', '-l', f'k8s-file:{m_log}')
    equal(values(entries), [b'hello\n'])
    equal(content(parse(m_log.read_bytes())), b'hello\n')


if __name__ == '__main__':
    main()
