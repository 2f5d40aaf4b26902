#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The journal as the log of a container that runs as a service, found by name and by unit with the fields of
both; and as an additional log."""

import json
import pathlib

from machine import main, sh
from harness import equal, wait_for

CONFIGURATION = pathlib.Path('/etc/containers/conmon.conf')


def entries(*match):
    """The container's output as (message, priority), where a message keeps its newline; and the entries."""
    sh('journalctl', '--sync')
    lines = sh('journalctl', '-o', 'json', '--no-pager', *match).splitlines()
    found = [entry for entry in map(json.loads, lines) if 'CONTAINER_ID' in entry]
    return [(entry['MESSAGE'], entry['PRIORITY']) for entry in found], found


def test_container_of_a_service(t):
    t.service('journal', 'echo out; echo err >&2; exec sleep 1000', '--log-driver', 'journald', '--cgroups', 'no-conmon')
    sh('systemctl', 'start', 'journal.service')
    expected = [('err\n', '3'), ('out\n', '6')]
    wait_for(lambda: len(entries('CONTAINER_NAME=journal')[0]) >= 2, 'both lines', 60)
    equal(sorted(entries('CONTAINER_NAME=journal')[0]), expected, 'entries of the container')
    by_unit, found = entries('_SYSTEMD_UNIT=journal.service')
    equal(sorted(by_unit), expected, 'entries of the unit')
    monitor, = t.own_monitors()
    equal({entry['_PID'] for entry in found}, {str(monitor)}, 'sender of the entries')
    equal({entry['CONTAINER_ID_FULL'][:12] == entry['CONTAINER_ID'] for entry in found}, {True}, 'identifiers')
    out, err = t.logs('journal')
    equal((out, err), (b'out\n', b'err\n'), 'podman logs')


def test_journal_beside_a_log_file(t):
    """The administrator's configuration adds the driver; podman still reads its own log."""
    CONFIGURATION.write_text('[match added]\ndriver = journald\n')
    try:
        t.run('--name', 'added', '--log-driver', 'k8s-file', script='echo out; echo err >&2')
    finally:
        CONFIGURATION.unlink()
    t.no_monitors()
    equal(sorted(entries('CONTAINER_NAME=added')[0]), [('err\n', '3'), ('out\n', '6')], 'entries of the container')
    equal(t.logs('added'), (b'out\n', b'err\n'), 'podman logs')


if __name__ == '__main__':
    main()
