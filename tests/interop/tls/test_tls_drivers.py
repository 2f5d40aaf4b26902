#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Log drivers over TLS, through conmon-tls."""

import os
import pathlib
import re
import socket
import ssl
import sys
import threading
import time

TESTS = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / 'lib'), str(TESTS / 'interop/receivers')]

from certificates import Authority, CLIENT, EXPIRED  # noqa: E402
from harness import check, equal, main, matches, needs_root, proc, skip, wait_for  # noqa: E402
from harness.case import ROOT  # noqa: E402
from harness.check import scaled  # noqa: E402
import packages  # noqa: E402
from receivers import finish, free_port, launch, NameServer, Peer, Rsyslog, status_now, SyslogNg, vanish  # noqa: E402
from servers import GnuTLS, OpenSSL  # noqa: E402

PROGRAM = pathlib.Path(os.environ.setdefault('CONMON_TLS', str(ROOT / 'build/src/tls/conmon-tls')))
WHO = os.environ.get('CONMON_TEST_TLS', 'kernel|proxy')
SCRIPT = 'print one\\n\nprint two\\n'

# The driver, the scheme of its address, and the data of the two lines.
DRIVERS = {
    'syslog': ('tcp+tls', rb'\d+ <30>\S+ +\d+ \S+ name\[\d+\]: one\d+ <30>\S+ +\d+ \S+ name\[\d+\]: two'),
    'gelf': ('tls', rb'\{[^\0]*"short_message":"one"[^\0]*\}\0\{[^\0]*"short_message":"two"[^\0]*\}\0'),
    'fluentd': ('tls', rb'\x93\xa4name(?s:.*)\xa3log\xa3one(?s:.*)\xa3log\xa3two(?s:.*)'),
}


class TlsPeer(Peer):
    """A TLS server; `data` is the decrypted data."""

    delay = 0  # seconds before the handshake

    def __init__(self, t, identity, handle=None, authority=None, address=('127.0.0.1', 0)):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*identity)
        if authority:
            self.context.load_verify_locations(authority.certificate)
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.errors = []
        super().__init__(t, handle, address)

    def _run(self, connection, parts):
        time.sleep(self.delay)
        try:
            encrypted = self.context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False)
            self.open.append(encrypted)
            (self.handle or Peer.read_all)(self, encrypted, parts)
        except OSError as error:
            self.errors.append(error)


def authority(t):
    PROGRAM.exists() or skip('this build has no TLS')
    return Authority(t.dir)


def helpers():
    return [pid for pid in proc.descendants(os.getpid()) if 'conmon-tls' in proc.command(pid)]


def start(t, driver, port, *options, host='localhost', script=SCRIPT, **more):
    scheme = DRIVERS[driver][0]
    return launch(t, script, driver, f'{driver}-address={scheme}://{host}:{port}', 'tag={{.Name}}', *options, **more)


def verified(driver, a):
    return f'{driver}-tls-ca-cert={a.certificate}'


def delivers(driver):
    def test(t):
        a = authority(t)
        peer = TlsPeer(t, a.issue('server'))
        m = start(t, driver, peer.port, verified(driver, a))
        sink = finish(m)
        equal(sink['out'], {'records': 2, 'bytes': 8}, 'delivered records')
        matches(WHO, sink['tls'], 'who encrypts')
        matches(r'TLS1\.[23]', sink['tls_version'])
        matches('AES-(128|256)-GCM|CHACHA20-POLY1305', sink['tls_cipher'])
        wait_for(lambda: not peer.threads[-1].is_alive(), 'the end of the connection')
        data = peer.received()
        check(len(data) == 1 and re.fullmatch(DRIVERS[driver][1], data[0]), f'received data: {data}')
        equal(peer.errors, [], 'errors, such as a missing close_notify')
    return test


test_syslog, test_gelf, test_fluentd = (delivers(driver) for driver in DRIVERS)


def take_requests(peer, connection, parts):
    """Answers HTTP requests; appends their bodies to `parts`."""
    with connection.makefile('rb') as file:
        while file.readline():
            length = 0
            while (field := file.readline()) not in (b'\r\n', b''):
                length = int(field.split(b':')[1]) if field.lower().startswith(b'content-length:') else length
            parts.append(file.read(length))
            connection.sendall(b'HTTP/1.1 204 No Content\r\n\r\n')


def test_https(t):
    """Two batches over one connection."""
    a = authority(t)
    peer = TlsPeer(t, a.issue('server'), take_requests)
    m = launch(t, 'print one\\n\nwait @/go\nprint two\\n', 'http', f'http-url=https://localhost:{peer.port}/in',
               f'http-tls-ca-cert={a.certificate}', 'batch-wait=0')
    wait_for(lambda: status_now(m)['out']['records'] == 1, 'the first answer')
    matches('kernel|proxy', status_now(m)['tls'], 'who encrypts')
    t.touch('go')
    sink = finish(m)
    equal((sink['out']['records'], sink['target']), (2, f'https://localhost:{peer.port}/in'))
    equal([part.count(text) for part, text in zip(peer.data[0], (b'"log":"one"', b'"log":"two"'))], [1, 1], f'{peer.data}')
    equal(peer.connections, 1, 'connections')
    wait_for(lambda: not peer.threads[-1].is_alive(), 'the end of the connection')
    equal(peer.errors, [], 'errors, such as a missing close_notify')


def test_https_with_another_server(t):
    """The token is not sent to a server with the wrong certificate."""
    a = authority(t)
    peer = TlsPeer(t, a.issue('other', names='dns_name = "elsewhere"\n'), take_requests)
    m = launch(t, 'print one\\n', 'otlp', f'otlp-endpoint=https://localhost:{peer.port}', f'otlp-tls-ca-cert={a.certificate}',
               'otlp-token-env=TOKEN', 'drain-timeout=500ms', env={'TOKEN': 'abc'})
    sink = finish(m)
    equal((sink['out']['records'], b''.join(b''.join(part) for part in peer.data)), (0, b''))
    matches(".*is not for 'localhost'.*", sink['errors']['last'])


def refused(t, reason, identity, *options, host='localhost', **settings):
    """Checks that the server is not used, and that the status has the reason."""
    peer = TlsPeer(t, identity, **settings)
    m = start(t, 'syslog', peer.port, *options, 'drain-timeout=1s', host=host, script='print one\\n\nwait @/go')
    last = wait_for(lambda: status_now(m)['errors']['last'], 'an error')
    matches(rf'(at 127\.0\.0\.1: )?{reason}', last, 'the reason, with the address if localhost has another one')
    equal(status_now(m)['tls'], None, 'TLS in the status')
    t.touch('go')
    sink = finish(m)
    equal(sink['dropped']['at-end'], {'records': 1, 'bytes': 4}, 'dropped records')
    equal(peer.received(), [b''] * peer.connections, 'data at the server')


def test_expired(t):
    a = authority(t)
    refused(t, r"the server's certificate \(CN=old\) expired on 2021-02-03 04:05 UTC", a.issue('old', times=EXPIRED),
            verified('syslog', a))


def test_wrong_name(t):
    a = authority(t)
    refused(t, "the server's certificate is not for 'localhost' but for 'loghost', 'other'",
            a.issue('other', names='dns_name = "loghost"\ndns_name = "other"\n'), verified('syslog', a))


def test_unknown_authority(t):
    other = Authority(t.dir, 'stranger')
    refused(t, r"the server's certificate was issued by an unknown authority: 'CN=stranger' is not in \S+", other.issue('server'),
            verified('syslog', authority(t)))


def test_client_without_certificate(t):
    a = authority(t)
    refused(t, 'the server refused the handshake: .*; it (requires|requested) a client certificate.*', a.issue('server'),
            verified('syslog', a), authority=a)


def test_unknown_host(t):
    a = authority(t)
    refused(t, "the (host name|name server gave no answer for) 'nowhere.invalid'( was not found)?", a.issue('server'),
            verified('syslog', a), host='nowhere.invalid')


def test_client_certificate(t):
    """With a key that only its owner can read."""
    a = authority(t)
    cert, key = a.issue('client', names='', purpose=CLIENT)
    key.chmod(0o400)
    if os.geteuid() == 0:
        os.chown(key, 65534, 65534)
    peer = TlsPeer(t, a.issue('server'), authority=a)
    sink = finish(start(t, 'gelf', peer.port, verified('gelf', a), f'gelf-tls-cert={cert}', f'gelf-tls-key={key}'))
    equal(sink['out']['records'], 2, 'delivered records')


def test_skip_verify(t):
    """Any certificate is accepted, with one warning."""
    a = authority(t)
    peer = TlsPeer(t, a.issue('old', names='', times=EXPIRED))
    m = start(t, 'fluentd', peer.port, 'fluentd-tls-skip-verify=true')
    equal(finish(m)['out']['records'], 2, 'delivered records')
    equal(m.stderr.read_text().count('TLS without verification'), 1, 'warnings')


def test_reconnect(t):
    """When the server is replaced the monitor reconnects, and no record is lost."""
    a = authority(t)
    identity = a.issue('server')
    peer = TlsPeer(t, identity)
    m = start(t, 'syslog', peer.port, verified('syslog', a), script='print one\\n\nwait @/go\nprint two\\n\nwait @/end')
    wait_for(lambda: b': one' in b''.join(peer.received()), 'the first line')
    peer.close()
    successor = TlsPeer(t, identity, address=('127.0.0.1', peer.port))
    t.touch('go')
    wait_for(lambda: b': two' in b''.join(successor.received()), 'the second line', 20)
    t.touch('end')
    equal(finish(m)['out']['records'], 2, 'delivered records')


def test_server_ends(t):
    """The server ends each connection with close_notify after a line; the next line goes over a new one."""
    a = authority(t)
    end = threading.Semaphore(0)

    def take_a_line(peer, connection, parts):
        parts.append(connection.recv(1 << 16))
        end.acquire()
        connection.unwrap()
    peer = TlsPeer(t, a.issue('server'), take_a_line)
    m = start(t, 'syslog', peer.port, verified('syslog', a),
              script='print one\\n\nwait @/1\nprint two\\n\nwait @/2\nprint three\\n\nwait @/3')
    for n in range(1, 4):
        wait_for(lambda n=n: status_now(m)['out']['records'] == n, f'line {n}')
        matches(WHO, status_now(m)['tls'], 'who encrypts')
        end.release()
        wait_for(lambda: not peer.threads[-1].is_alive(), 'the end of the connection')
        t.touch(str(n))
    sink = finish(m)
    equal((sink['in'], sink['out'], sink['errors']['count']), ({'records': 3, 'bytes': 14}, sink['in'], 0))
    equal([data.split(b': ')[-1] for data in peer.received()], [b'one', b'two', b'three'], 'lines of each connection')
    equal(peer.errors, [], 'errors of the server')


def outage(stop):
    """A server that ends while there is no name server is looked for where it was."""
    @needs_root
    def test(t):
        a = authority(t)
        names = NameServer(t)
        names.answer.set()
        identity = a.issue('server', names='dns_name = "the-server.test"\n')
        peer = TlsPeer(t, identity)
        m = start(t, 'syslog', peer.port, verified('syslog', a), host='the-server.test',
                  script='print one\\n\nwait @/go\nprint two\\n\nwait @/end')
        wait_for(lambda: b': one' in b''.join(peer.received()), 'the first line')
        stop(names)
        peer.close()
        successor = TlsPeer(t, identity, address=('127.0.0.1', peer.port))
        t.touch('go')
        wait_for(lambda: b': two' in b''.join(successor.received()), 'the second line', 20)
        t.touch('end')
        equal(finish(m)['out']['records'], 2, 'what was delivered')
    return test


test_no_name_server = outage(NameServer.close)
test_silent_name_server = outage(lambda names: names.answer.clear())


def test_far_server(t):
    """The container waits for a handshake that takes long, as it waits for a slow server."""
    a = authority(t)
    peer = TlsPeer(t, a.issue('server'))
    peer.delay = 1
    m = start(t, 'syslog', peer.port, verified('syslog', a), 'max-buffer-size=64k', script='fill 1 500000 100\n')
    sink = finish(m)
    equal(sink['out']['records'], 5000, f'delivered records; {sink}')


def test_silent_server(t):
    """A server that stalls in the handshake delays neither the container nor its end."""
    a = authority(t)
    peer = Peer(t)
    m = start(t, 'syslog', peer.port, verified('syslog', a), 'drain-timeout=500ms')
    before = time.monotonic()
    sink = finish(m)
    check(time.monotonic() - before < scaled(8), 'the end was delayed')
    equal(sink['dropped']['at-end']['records'], 2, 'dropped records')
    wait_for(lambda: not helpers(), 'the end of conmon-tls')


def test_server_vanishes(t):
    """Unacknowledged records are sent to the new server, with the proxy as with kernel TLS."""
    a = authority(t)
    peer = TlsPeer(t, a.issue('server'))
    m = start(t, 'syslog', peer.port, verified('syslog', a), 'peer-timeout=1s',
              script='print one\\n\nwait @/go\nprint two\\n\nwait @/end')
    wait_for(lambda: b': one' in b''.join(peer.received()), 'the first line')
    wait_for(lambda: status_now(m)['out']['records'] == 1, 'its acknowledgement')
    vanish(peer.open[-1])
    t.touch('go')
    wait_for(lambda: b': two' in peer.received()[-1], 'the second line', 20)
    equal(status_now(m)['errors']['last'], 'the server has not responded for 1 seconds', 'the error')
    t.touch('end')
    equal(finish(m)['out']['records'], 2, 'delivered records')


def test_proxy_is_killed(t):
    """The monitor starts another proxy, and loses no record that it had sent to the old one."""
    a = authority(t)
    peer = TlsPeer(t, a.issue('server'))
    m = start(t, 'gelf', peer.port, verified('gelf', a), script='print one\\n\nwait @/go\nprint two\\n\nwait @/end')
    wait_for(lambda: b'"one"' in b''.join(peer.received()), 'the first line')
    if status_now(m)['tls'] == 'kernel':
        skip('this kernel has TLS, so there is no proxy')
    t.touch('go')
    proc.kill(*helpers())
    wait_for(lambda: b'"two"' in b''.join(peer.received()), 'the second line', 20)
    t.touch('end')
    equal(finish(m)['out']['records'], 2, 'delivered records')


def test_openssl(t):
    """The server updates its keys: with kernel TLS the monitor reconnects."""
    a = authority(t)
    server = OpenSSL(t, a.issue('server'))
    m = start(t, 'syslog', server.port, verified('syslog', a), script='print one\\n\nwait @/go\nprint two\\n\nwait @/end')
    server.until(': one')
    server.type(b'K\n')
    t.touch('go')
    server.until(': two')
    t.touch('end')
    equal(finish(m)['out']['records'], 2, 'delivered records')


def test_gnutls(t):
    """The server echoes each line; the monitor discards the answers."""
    a = authority(t)
    server = GnuTLS(t, a.issue('server'), '--echo')
    m = start(t, 'gelf', server.port, verified('gelf', a), script='sh i=0; while [ $i -lt 500 ]; do echo $i; i=$((i+1)); done')
    equal(finish(m)['out']['records'], 500, 'delivered records')


def test_slow_reader(t):
    """The server pauses after each read: all records arrive, and the container waits."""
    a = authority(t)

    def read_slowly(peer, connection, parts):
        while data := connection.recv(1 << 16):
            parts.append(data)
            time.sleep(0.01)
    peer = TlsPeer(t, a.issue('server'), read_slowly)
    lines = 20000
    m = start(t, 'gelf', peer.port, verified('gelf', a), 'mode=blocking',
              script=f'sh seq -f "line %g of the container" 0 {lines - 1}')
    equal(finish(m, timeout=60)['out']['records'], lines, 'delivered records')
    wait_for(lambda: not peer.threads[-1].is_alive(), 'the end of the connection')
    found = [int(number) for number in re.findall(rb'"line (\d+) of the', b''.join(peer.received()))]
    equal(found, list(range(lines)), 'lines')


def rsyslog(module):
    """A test with the distribution's rsyslog and one of its TLS libraries."""
    def test(t):
        a = authority(t)
        cert, key = a.issue('server')
        server = TlsRsyslog(t, module, a, cert, key)
        sink = finish(start(t, 'syslog', server.tls, verified('syslog', a), 'syslog-format=rfc5424'))
        equal(sink['out']['records'], 2, 'delivered records')
        equal([message['msg'] for message in server.received(2)], ['one', 'two'])
    return test


test_rsyslog_gtls, test_rsyslog_ossl = needs_root(rsyslog('gtls')), needs_root(rsyslog('ossl'))


class TlsRsyslog(Rsyslog):
    """`tls` is the TLS port. The TLS modules of rsyslog are in separate packages."""

    def __init__(self, t, module, a, cert, key):
        root = packages.unpacked('rsyslog-tls', 'rsyslog-gnutls', 'rsyslog-openssl')
        places = [*root.glob('usr/lib/*/rsyslog'), *pathlib.Path('/usr/lib').glob('*/rsyslog')]
        self.arguments = '-M', ':'.join(map(str, places))
        self.tls = free_port()
        self.CONFIGURATION = (
            f'global(defaultNetstreamDriver="{module}" defaultNetstreamDriverCAFile="{a.certificate}" '
            f'defaultNetstreamDriverCertFile="{cert}" defaultNetstreamDriverKeyFile="{key}")\n'
            'module(load="imtcp" streamDriver.name="' + module + '" streamDriver.mode="1" streamDriver.authMode="anon")\n'
            + Rsyslog.CONFIGURATION
            + f'input(type="imtcp" address="127.0.0.1" port="{self.tls}" ruleset="all")\n')
        super().__init__(t)
        self.wait(self._listens_for_tls, 'rsyslog to listen for TLS')

    def _listens_for_tls(self):
        with socket.socket() as s:
            return s.connect_ex(('127.0.0.1', self.tls)) == 0


@needs_root
def test_syslog_ng(t):
    a = authority(t)
    cert, key = a.issue('server')
    server = TlsSyslogNg(t, cert, key)
    sink = finish(start(t, 'syslog', server.tls, verified('syslog', a), 'syslog-format=rfc5424'))
    equal(sink['out']['records'], 2, 'delivered records')
    equal([message['msg'] for message in server.received(2)], ['one', 'two'])


class TlsSyslogNg(SyslogNg):
    def __init__(self, t, cert, key):
        self.tls = free_port()
        source = (f'syslog(ip("127.0.0.1") port({self.tls}) transport("tls") tls(key-file("{key}") cert-file("{cert}") '
                  'peer-verify(optional-untrusted)));')
        self.CONFIGURATION = SyslogNg.CONFIGURATION.replace('    unix-stream', f'    {source}\n    unix-stream'
                                                            .replace('{', '{{').replace('}', '}}'), 1)
        super().__init__(t)


def test_missing_program(t):
    """The launcher fails: a container with a log over TLS does not start without conmon-tls."""
    authority(t)
    m = t.launch('exit 0', '--log-driver', 'syslog', '--log-opt', 'syslog-address=tcp+tls://localhost:1', log='none',
                 env={'CONMON_TLS': str(t.dir / 'missing')})
    equal(m.wait_launcher(), 1, 'status')
    matches('(?s).*Log driver syslog: TLS needs the package conmon-tls: .*/missing can.t be executed: No such file or directory\n',
            m.stderr.read_text())


def test_options_are_checked(t):
    def sentence(address, *options):
        m = t.launch('exit 0', '--log-driver', 'gelf', '--log-opt', f'gelf-address={address}',
                     *(word for option in options for word in ('--log-opt', option)), log='none',
                     monitor=t.monitor(str(len(t.monitors))))
        equal(m.wait_launcher(), 1, 'status')
        return m.stderr.read_text()
    matches('(?s).*only for addresses that begin with tls://\n', sentence('tcp://localhost:1', 'gelf-tls-ca-cert=/x'))
    matches('(?s).*there is only the certificate\n', sentence('tls://localhost:1', 'gelf-tls-cert=/x'))


if __name__ == '__main__':
    main()
