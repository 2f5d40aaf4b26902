#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Exec sessions of podman's API, which keeps them for five minutes after their end."""

import contextlib
import http.client
import json
import socket
import time

from podman import IMAGE, main
from harness import check, equal, wait_for

SESSIONS = 6


class Api(http.client.HTTPConnection):
    """podman's API service on a unix socket."""

    def __init__(self, path):
        super().__init__('localhost')
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def ask(self, method, path, body=None, status=200):
        """Sends a request; returns the body of the answer."""
        self.request(method, '/v4.0.0/libpod/' + path, json.dumps(body) if body is not None else None,
                     {'Content-Type': 'application/json'})
        answer = self.getresponse()
        data = answer.read()
        equal(answer.status, status, f'status of {method} {path}, answer {data[:300]!r}')
        return data


def service(p):
    path = p.dir / 'api'
    p.start('system', 'service', '--time', '0', f'unix://{path}')

    def answers():
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            return Api(path).ask('GET', '_ping')
    wait_for(answers, "the service's answer", 30)
    return lambda: Api(path)


def run(api, code):
    """Runs one session; returns its id and output."""
    body = {'AttachStdout': True, 'AttachStderr': True, 'Cmd': ['sh', '-c', f'echo {code}; exit {code}']}
    session = json.loads(api().ask('POST', 'containers/c/exec', body, 201))['Id']
    return session, api().ask('POST', f'exec/{session}/start', {'Detach': False, 'Tty': False})


def test_sessions_leave_no_monitor(p):
    """Ended sessions can be inspected for five minutes without a monitor process; they are removed with the
    container."""
    p.must('run', '-d', '--name', 'c', IMAGE, 'sleep', '1000')
    api = service(p)
    sessions = {}
    for code in range(SESSIONS):
        session, out = run(api, code)
        equal(out[8:], b'%d\n' % code, 'output')
        sessions[session] = code
    deadline = time.monotonic() + 20
    while p.own_monitors() != [p.conmon_pid('c')] and time.monotonic() < deadline:
        time.sleep(0.05)
    p.only_monitor('c')
    for session, code in sessions.items():
        equal(json.loads(api().ask('GET', f'exec/{session}/json'))['ExitCode'], code, 'recorded exit code')
    equal(len(p.inspect('c', 'ExecIDs').split()), SESSIONS, 'sessions known to podman')
    p.must('kill', 'c')
    p.no_monitors()
    left = [entry.name for entry in p.bundle('c').iterdir() if entry.is_dir() and len(entry.name) == 64]
    equal(left, [], 'directories of sessions')
    equal(p.inspect('c', 'ExecIDs'), '[]', 'sessions known to podman')
    check(not (p.bundle('c') / 'exec-exits').exists(), 'the socket was not removed')


if __name__ == '__main__':
    main()
