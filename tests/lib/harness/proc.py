# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Information on processes from /proc."""

import os
import signal


def _stat(pid):
    """The fields of /proc/PID/stat from the state on, or None if there is no such process."""
    try:
        with open(f'/proc/{pid}/stat', 'rb') as file:
            return file.read().rpartition(b')')[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def parent(pid):
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def group(pid):
    fields = _stat(pid)
    return int(fields[2]) if fields else None


def session(pid):
    fields = _stat(pid)
    return int(fields[3]) if fields else None


def alive(pid):
    """Whether the process runs; a zombie does not."""
    fields = _stat(pid)
    return fields is not None and fields[0] not in (b'Z', b'X')


def zombie(pid):
    fields = _stat(pid)
    return fields is not None and fields[0] == b'Z'


def cpu_seconds(pid):
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK') if fields else None


def _parents():
    table = {}
    for name in os.listdir('/proc'):
        if name.isdigit():
            fields = _stat(name)
            if fields:
                table[int(name)] = int(fields[1])
    return table


def children(pid):
    return sorted(child for child, above in _parents().items() if above == pid)


def descendants(pid):
    table, found, front = _parents(), [], {pid}
    while front:
        front = {child for child, above in table.items() if above in front}
        found += front
    return sorted(found)


def status_field(pid, name):
    """One field of /proc/PID/status as text."""
    with open(f'/proc/{pid}/status') as file:
        for line in file:
            key, _, value = line.partition(':')
            if key == name:
                return value.strip()
    raise KeyError(name)


def context_switches(pid):
    return sum(int(status_field(pid, f'{kind}_ctxt_switches')) for kind in ('voluntary', 'nonvoluntary'))


def descriptors(pid):
    """{number: target} of the open descriptors."""
    table = {}
    for name in os.listdir(f'/proc/{pid}/fd'):
        try:
            table[int(name)] = os.readlink(f'/proc/{pid}/fd/{name}')
        except FileNotFoundError:
            pass
    return table


def environ(pid):
    with open(f'/proc/{pid}/environ', 'rb') as file:
        pairs = [item.partition(b'=') for item in file.read().split(b'\0') if item]
    return {os.fsdecode(key): os.fsdecode(value) for key, _, value in pairs}


def command(pid):
    try:
        with open(f'/proc/{pid}/cmdline', 'rb') as file:
            return file.read().replace(b'\0', b' ').decode(errors='replace').strip()
    except (FileNotFoundError, ProcessLookupError):
        return ''


def kill(pid, number=signal.SIGKILL):
    """Sends a signal; it is no error if the process does not exist."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
