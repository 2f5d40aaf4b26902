#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The complete commands of conmon-log-drivers(7), word for word: in namespaces where their hosts and directories are the
test's own, each delivers what the container writes."""

import json
import os
import pathlib
import re
import ssl
import subprocess
import sys

TESTS = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / name) for name in ('lib', 'interop/receivers', 'interop/tls')]

from certificates import Authority  # noqa: E402
from http_server import HttpPeer  # noqa: E402
from receivers import (  # noqa: E402
    cover, fluent_server, GelfUdp, hide_run, Journald, own_network, Server, HERE, _mount as mount)
from strict_servers import Loki, Otlp, Splunk  # noqa: E402
from harness.case import ROOT  # noqa: E402
from harness import check, equal, listing, main, manual, needs_root, parse, parse_json, skip, wait_for  # noqa: E402
import packages  # noqa: E402
import servers  # noqa: E402

PAGE = (TESTS.parent / 'man/conmon-log-drivers.7').read_text()
CID = '4f1c6a0d2b7e93'
TRUST = pathlib.Path('/etc/ssl/certs/ca-certificates.crt')
PROGRAM = pathlib.Path(os.environ.get('CONMON_TLS', ROOT / 'build/src/tls/conmon-tls'))


def own_world(t, *hosts):
    """A network and directories in which the words of an example mean something."""
    own_network()
    hide_run()
    mount('none', '/var/log', 'tmpfs')
    os.makedirs('/run/crio')
    file = t.dir / 'hosts'
    file.write_text('127.0.0.1 localhost ' + ' '.join(hosts) + '\n')
    cover('/etc/hosts', file)


def run(t, name, places=None):
    """The command of this driver, until the container has ended."""
    places = {'/usr/bin/crun': t.runtime, **(places or {})}
    words = manual.arguments(PAGE, name)
    for place, own in places.items():
        check(any(place in word for word in words), f'the example of {name} does not have {place}')
        words = [word.replace(place, str(own)) for word in words]
    m = t.monitor(cid=CID)
    m.spawn([t.program, *words], t.environment('print one\\n\neprint two\\n', CONMON_TLS=str(PROGRAM)), ('sync', 'start'))
    m.go().created()
    equal(m.wait(25), 0, 'exit status')
    equal(m.stderr.read_text(), '', 'messages')
    return m


def lines(records):
    """The lines of both streams, each in its order: a file has them in any order."""
    return sorted((record.stream, record.content) for record in records)


WANTED = [('stderr', b'two'), ('stdout', b'one')]


def with_tls(t, host):
    """A certificate for the host, and its authority in the system's trust store."""
    PROGRAM.exists() or skip('this build has no TLS')
    TRUST.exists() or skip(f'there is no {TRUST}')
    a = Authority(t.dir)
    cover(TRUST, a.certificate)
    return a.issue('server', f'dns_name = "{host}"\n')


@needs_root
def test_k8s_file(t):
    own_world(t)
    m = run(t, 'k8s-file')
    equal(lines(parse((m.bundle / 'ctr.log').read_bytes())), WANTED)


@needs_root
def test_json_file(t):
    own_world(t)
    m = run(t, 'json-file')
    equal(lines(parse((m.bundle / 'ctr.log').read_bytes())), WANTED)
    equal(lines(parse_json(pathlib.Path('/var/log/web.json').read_bytes())), WANTED)


@needs_root
def test_none(t):
    own_world(t)
    m = run(t, 'none')
    # Another test's conmonctl may ask all monitors for their status.
    equal([path.name for path in m.bundle.iterdir() if 'log' in path.name and path.name != 'log-status.json'], [])


@needs_root
def test_passthrough(t):
    own_world(t)
    words = manual.arguments(PAGE, 'passthrough')
    m = t.monitor(cid=CID)
    read, write = os.pipe()
    m.spawn([t.program, *(word.replace('/usr/bin/crun', t.runtime) for word in words)],
            t.environment('print one\\n\neprint two\\n'), ('sync', 'start'), stdio={1: write})
    os.close(write)
    m.go().created()
    equal(m.wait(), 0)
    equal(os.read(read, 99), b'one\n', 'the own output of the monitor')
    equal(m.stderr.read_text(), 'two\n')
    equal(lines(parse(pathlib.Path('/var/log/web.log').read_bytes())), WANTED)


@needs_root
def test_journald(t):
    own_world(t)
    Journald(t)
    run(t, 'journald')
    command, = re.findall('^journalctl .*', manual.complete_commands(PAGE)['journald'], re.M)
    shown = subprocess.run(f'journalctl --sync && {command} -o cat', shell=True, capture_output=True, text=True).stdout
    equal(sorted(shown.split()), ['one', 'two'])


@needs_root
def test_journald_without_a_journal(t):
    """As the example says, the container does not start."""
    own_world(t)
    m = t.monitor(cid=CID)
    words = [word.replace('/usr/bin/crun', t.runtime) for word in manual.arguments(PAGE, 'journald')]
    m.spawn([t.program, *words], t.environment())
    m.pid = m.launcher
    equal(m.wait_launcher(), 1)
    check('there is no journal at' in m.stderr.read_text(), m.stderr.read_text())


def read_to_the_end(connection):
    return b''.join(iter(lambda: connection.recv(65536), b''))


@needs_root
def test_syslog(t):
    own_world(t, 'logs.example.net')
    server = servers.Python(t, read_to_the_end, with_tls(t, 'logs.example.net'), address=('127.0.0.1', 6514))
    run(t, 'syslog')
    text = server.wait().decode()
    for severity, line in ((30, 'one'), (27, 'two')):
        check(re.search(rf'\d+ <{severity}>1 \S+ \S+ web \d+ web - {line}', text), text)


@needs_root
def test_fluentd(t):
    packages.node_modules('@fluent-org/logger')  # before the network is left
    own_world(t, 'logs.example.net')
    server = fluent_server(t, port=24224)
    run(t, 'fluentd')
    equal(sorted((r['tag'], r['record']['log']) for r in server.records(2)), [('podman.web', 'one'), ('podman.web', 'two')])


@needs_root
def test_gelf(t):
    own_world(t, 'graylog.example.net')
    server = GelfUdp(t, 12201)
    run(t, 'gelf')
    equal(sorted(message['short_message'] for message in server.receive(2)), ['one', 'two'])


@needs_root
def test_otlp(t):
    own_world(t, 'collector.example.net')
    server = Otlp(t, port=4318)
    run(t, 'otlp')
    equal((server.faults, sorted(record['body'] for record in server.records)), ([], ['one', 'two']))
    equal(set(server.encodings), {'gzip'})


@needs_root
def test_splunk(t):
    own_world(t, 'splunk.example.net')
    token = t.dir / 'token'
    token.write_text('12345678-1234-1234-1234-1234567890ab\n')
    identity = with_tls(t, 'splunk.example.net')
    server = Splunk(t, token.read_text().strip(), port=8088)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*identity)
    server.tcp.socket = context.wrap_socket(server.tcp.socket, server_side=True)
    run(t, 'splunk', {'/etc/containers/splunk-token': token})
    equal((server.faults, sorted(record['event']['line'] for record in server.records)), ([], ['one', 'two']))


@needs_root
def test_loki(t):
    own_world(t, 'loki.example.net')
    server = Loki(t, port=3100)
    run(t, 'loki')
    equal((server.faults, sorted(record[2] for record in server.records)), ([], ['one', 'two']))


@needs_root
def test_http(t):
    own_world(t, 'vector.example.net')
    server = HttpPeer(t, 'http', address=('127.0.0.1', 8080))
    run(t, 'http')
    found = [(request.path, record['log']) for request in server.finished() for record in request.objects()]
    equal(sorted(found), [('/logs', 'one'), ('/logs', 'two')])


@needs_root
def test_plugin(t):
    own_world(t)
    os.makedirs('/run/docker/plugins')
    plugin = Server(t, [HERE / 'log-plugin.py', '/run/docker/plugins/loki.sock', t.dir / 'received'])
    plugin.wait(lambda: os.path.exists('/run/docker/plugins/loki.sock'), 'the socket')
    run(t, 'plugin')
    wait_for(lambda: (t.dir / 'received').read_text().count('\n') == 2, 'two records')
    equal(sorted(json.loads(line)['line'] for line in (t.dir / 'received').read_text().splitlines()), ['one', 'two'])
    calls = (t.dir / 'received.calls').read_text()
    check('http://loki.example.net:3100/loki/api/v1/push' in calls, calls)


@needs_root
def test_binary(t):
    """With the logger that the page shows."""
    own_world(t)
    logger = t.dir / 'logger'
    logger.write_text(re.search(r'^(#!/bin/sh\n.*?)^\.Ed', PAGE, re.S | re.M).group(1).replace('\\e', '\\'))
    logger.chmod(0o755)
    run(t, 'binary', {'/usr/local/libexec/logger': logger})
    equal(sorted(pathlib.Path('/var/log/containers.log').read_text().splitlines()), [f'{CID} err two', f'{CID} out one'])


def test_each_driver_has_one(t):
    equal(sorted(manual.complete_commands(PAGE)), sorted(listing.drivers(t.program)), 'examples')


if __name__ == '__main__':
    main()
