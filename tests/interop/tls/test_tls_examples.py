#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The recipes of contrib/examples/receivers that use TLS, with receivers from the distribution."""

import glob
import os
import pathlib
import shutil
import sys

TESTS = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / 'lib'), str(TESTS / 'interop/receivers')]

from certificates import Authority  # noqa: E402
from harness import check, equal, main, matches, skip, wait_for  # noqa: E402
from harness.case import ROOT  # noqa: E402
from receivers import finish, free_port, Server  # noqa: E402

PROGRAM = pathlib.Path(os.environ.get('CONMON_TLS', ROOT / 'build/src/tls/conmon-tls'))
RECIPES = TESTS.parent / 'contrib/examples/receivers'


def recipe(t, folder, name, replaced):
    """A file of a recipe with paths and ports replaced. Checks that the file contains each of them."""
    text = (RECIPES / folder / name).read_text()
    for place, own in replaced.items():
        check(place in text, f'{folder}/{name} does not have {place}')
        text = text.replace(place, str(own))
    path = t.dir / name
    path.write_text(text)
    return path


def test_rsyslog(t):
    PROGRAM.exists() or skip('this build has no TLS')
    if not glob.glob('/usr/lib*/rsyslog/lmnsd_ossl.so') + glob.glob('/usr/lib/*/rsyslog/lmnsd_ossl.so'):
        skip('rsyslog has no TLS (package rsyslog-openssl)')
    a = Authority(t.dir)
    cert, key = a.issue('loghost')
    port = free_port()
    config = recipe(t, 'rsyslog-tls', 'rsyslog.conf', {
        '/etc/ssl/certs/logs-authority.pem': a.certificate, '/etc/ssl/certs/loghost.pem': cert,
        '/etc/ssl/private/loghost.key': key, '"6514"': f'"{port}"', '/var/log/containers': t.dir})
    server = Server(t, [shutil.which('rsyslogd', path=os.environ['PATH'] + ':/usr/sbin'), '-n', '-f', config, '-i',
                        t.dir / 'rsyslog.pid'])
    server.wait(lambda: f':{port:04X} ' in ''.join(pathlib.Path(f).read_text() for f in ('/proc/net/tcp', '/proc/net/tcp6')),
                'rsyslog to listen')
    own = recipe(t, 'rsyslog-tls', 'conmon.conf', {
        'loghost.example.com:6514': f'localhost:{port}', '/etc/ssl/certs/logs-authority.pem': a.certificate})
    sink = finish(t.create('print one\\n\nprint <3>two\\n\neprint three\\n', '--config', own, '-n', 'web'))
    equal(sink['out'], sink['in'])
    lines = wait_for(lambda: (found := (t.dir / 'web.log')).exists() and found.read_text().count('\n') == 3 and
                     found.read_text().splitlines(), f'three lines; output of rsyslog: {server.printed()}')
    for line, (severity, text) in zip(lines, (('info', 'one'), ('err', 'two'), ('err', 'three'))):
        matches(rf'\d{{4}}-\d\d-\d\dT\S+ \S+ {severity} {text}', line)


if __name__ == '__main__':
    main()
