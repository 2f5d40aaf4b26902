#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Readiness notifications to systemd, and socket activation of a container."""

import socket

from machine import PROGRAMS, main, sh
from harness import check, equal, wait_for

NOTIFY = 'Type=notify\nNotifyAccess=all'


def test_ready_with_the_monitor(t):
    """podman reports readiness when the container runs, with the monitor as the main process."""
    t.service('up', 'exec sleep 1000', '-d', '--sdnotify', 'conmon', '--cgroups', 'no-conmon', section=NOTIFY)
    sh('systemctl', 'start', 'up.service')
    equal(t.show('up.service', 'MainPID'), str(t.own_monitors()[0]), 'main process')
    equal(t.show('up.service', 'ActiveState'), 'active', 'state')


def test_container_reports_itself(t):
    """The monitor relays readiness, a status and watchdog notifications."""
    script = 'systemd-notify --ready --status=inside; systemd-notify WATCHDOG=1; exec sleep 1000'
    t.service('own', script, '-d', '--sdnotify', 'container', '--cgroups', 'no-conmon', *PROGRAMS,
              section=NOTIFY + '\nWatchdogSec=300')
    sh('systemctl', 'start', 'own.service')
    equal(t.show('own.service', 'MainPID'), str(t.own_monitors()[0]), 'main process')
    wait_for(lambda: t.show('own.service', 'StatusText') == 'inside', 'the status')

    def watchdog_timestamp():
        ready, alive = (int(t.show('own.service', f'{name}TimestampMonotonic')) for name in ('ActiveEnter', 'Watchdog'))
        return alive > ready
    wait_for(watchdog_timestamp, 'a watchdog notification', 60)


def test_socket_activation(t):
    """A unit's socket becomes descriptor 3 of the container."""
    server = 'import os, socket; s = socket.socket(fileno=3); c = s.accept()[0]; c.send(os.environ["LISTEN_FDS"].encode())'
    t.service('served', f"exec python3 -c '{server}'", *PROGRAMS, '--cgroups', 'no-conmon')
    t.unit('served.socket', '[Socket]\nListenStream=/run/served.sock\n')
    sh('systemctl', 'start', 'served.socket')
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(300)
        client.connect('/run/served.sock')
        equal(client.recv(100), b'1', 'answer of the container')
    check(t.show('served.service', 'ActiveState') in ('active', 'deactivating', 'inactive'), 'the service has failed')


if __name__ == '__main__':
    main()
