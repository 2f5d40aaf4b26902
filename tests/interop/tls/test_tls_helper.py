#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""conmon-tls with servers based on OpenSSL and GnuTLS; see src/tls/protocol.h."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import signal
import socket
import ssl
import struct
import sys
import termios
import threading
import time

TESTS = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / 'lib'), str(TESTS / 'interop/receivers')]

from certificates import Authority, CLIENT, EXPIRED, FUTURE  # noqa: E402
from harness import check, descriptors, equal, main, matches, needs_root, skip, slow, wait_for  # noqa: E402
from harness.case import ROOT  # noqa: E402
from harness.check import scaled  # noqa: E402
from harness.proc import descendants  # noqa: E402
from receivers import NameServer, silent  # noqa: E402
from servers import free_port, GnuTLS, OpenSSL, Python  # noqa: E402

PROGRAM = pathlib.Path(os.environ.get('CONMON_TLS', ROOT / 'build/src/tls/conmon-tls'))
ANSWER = 1024
FAILED, KERNEL, PROXY, CONNECTED = range(4)
MEGABYTE = 1 << 20


class Helper:
    """conmon-tls, and the monitor's end of its socketpair."""

    def __init__(self, t, port=None, host='localhost', request=None, **fields):
        self.socket, other = socket.socketpair()
        self.socket.settimeout(scaled(40))
        null = os.open(os.devnull, os.O_RDWR)
        actions = [(os.POSIX_SPAWN_DUP2, null, n) for n in range(3)]
        actions.append((os.POSIX_SPAWN_DUP2, other.fileno(), 3))
        self.tcp, self.accepted = None, 0
        self.pid = os.posix_spawn(PROGRAM, [str(PROGRAM)], {}, file_actions=actions)
        self.status = None
        t.stack.callback(self.close)
        os.close(null)
        other.close()
        fields = {'protocol': 1, 'host': host, 'port': port, **fields}
        text = ''.join(f'{key}={value}\0' for key, value in fields.items() if value is not None) + '\0'
        self.socket.sendall(text.encode() if request is None else request)

    def answer(self):
        """Reads the last answer: mode, error, version, cipher, and the reason or the addresses."""
        data, ancillary, _, _ = self.socket.recvmsg(ANSWER, 100)
        while data == struct.pack('I', CONNECTED).ljust(ANSWER, b'\0'):
            self.accepted += 1
            data, ancillary, _, _ = self.socket.recvmsg(ANSWER, 100)
        equal(len(data), ANSWER, 'length of the answer')
        mode, error, *texts = struct.unpack('II16s48s952s', data)
        equal(len(ancillary), mode != FAILED, 'descriptors')
        if mode != FAILED:
            self.tcp = socket.socket(fileno=struct.unpack('i', ancillary[0][2])[0])
        return mode, error, *(text.split(b'\0')[0].decode() for text in texts)

    def reason(self):
        """Why it failed; without the address, which is named if localhost has another one."""
        mode, _, _, _, reason = self.answer()
        equal(mode, FAILED, 'mode')
        equal(self.wait(), 1, 'exit status')
        return reason.removeprefix('at 127.0.0.1: ')

    def connected(self, version='TLS1.3'):
        """Waits for the connection. Skips the test if the kernel has TLS, so that there is no proxy."""
        answer = self.answer()
        if answer[0] == KERNEL:
            skip('this kernel has TLS, so there is no proxy')
        equal((self.accepted > 0, answer[0], answer[2]), (True, PROXY, version), 'the answers')
        check('127.0.0.1' in answer[4].split(), f'addresses: {answer[4]}')
        matches('AES-(128|256)-GCM|CHACHA20-POLY1305', answer[3], 'cipher')
        return self

    def read(self, length):
        data = bytearray()
        while len(data) < length:
            more = self.socket.recv(min(length - len(data), 1 << 16))
            check(more, f'the connection ended after {len(data)} of {length} bytes')
            data += more
        return bytes(data)

    def wait(self, timeout=20):
        def waited():
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
            return pid
        if self.status is None:
            wait_for(waited, 'the end of conmon-tls', timeout)
        return self.status

    def close(self):
        self.socket.close()
        if self.tcp:
            self.tcp.close()
        if self.status is None:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)


def authority(t):
    PROGRAM.exists() or skip('this build has no TLS')
    return Authority(t.dir)


def echo(connection):
    while data := connection.recv(1 << 16):
        connection.sendall(data)
    return 'ended'


# ------------------------------------------------------------------------------------------------- certificates

def test_good(t):
    ca = authority(t)
    server = Python(t, echo, ca.issue('good'))
    helper = Helper(t, server.port, ca=ca.certificate).connected()
    helper.socket.sendall(b'hello')
    equal(helper.read(5), b'hello')
    helper.socket.close()
    equal(server.wait(), 'ended', 'close_notify at the server')
    equal(helper.wait(), 0, 'exit status')


def test_addresses(t):
    """An address must be among the IP addresses of the certificate."""
    ca = authority(t)
    named = ca.issue('named', 'dns_name = "localhost"\n')
    Helper(t, Python(t, echo, ca.issue('good')).port, '127.0.0.1', ca=ca.certificate).connected()
    equal(Helper(t, Python(t, echo, named).port, '127.0.0.1', ca=ca.certificate).reason(),
          "the server's certificate is not for '127.0.0.1' but for 'localhost'")


def test_intermediate(t):
    """The server sends intermediate certificates, in any order."""
    ca = authority(t)
    middle = Authority(t.dir, 'middle', ca)
    cert, key = middle.issue('good')
    chain = t.dir / 'chain'
    for order in ((cert, middle.certificate), (cert, ca.certificate, middle.certificate)):
        chain.write_text(''.join(path.read_text() for path in order))
        Helper(t, Python(t, echo, (chain, key)).port, ca=ca.certificate).connected()
    matches("the server's certificate was issued by an unknown authority: 'CN=middle' is not in .*/authority.crt",
            Helper(t, Python(t, echo, (cert, key)).port, ca=ca.certificate).reason())


def test_times(t):
    ca = authority(t)
    for name, times, wanted in (('expired', EXPIRED, 'expired on 2021-02-03'),
                                ('future', FUTURE, 'is not valid before 2048-02-03')):
        server = Python(t, echo, ca.issue(name, times=times))
        matches(rf"the server's certificate \(CN={name}\) {wanted} ..:05 UTC",
                Helper(t, server.port, ca=ca.certificate).reason())
        server.wait()
        check(server.error, 'the server got no alert')


def test_wrong_name(t):
    ca = authority(t)
    names = 'dns_name = "a.example.org"\ndns_name = "*.b.example.org"\nip_address = "192.0.2.1"\n'
    equal(Helper(t, Python(t, echo, ca.issue('other', names)).port, ca=ca.certificate).reason(),
          "the server's certificate is not for 'localhost' but for 'a.example.org', '*.b.example.org', '192.0.2.1'")
    many = ''.join(f'dns_name = "host-number-{n}.example.org"\n' for n in range(100))
    matches(r".* but for 'host-number-0.example.org', .* and \d\d more",
            Helper(t, Python(t, echo, ca.issue('many', many)).port, ca=ca.certificate).reason())


def test_common_name(t):
    """The common name is not used to verify the host."""
    ca = authority(t)
    matches("the server's certificate names no host .* can't be for 'localhost'",
            Helper(t, Python(t, echo, ca.issue('localhost', '')).port, ca=ca.certificate).reason())


def test_purpose(t):
    ca = authority(t)
    equal(Helper(t, Python(t, echo, ca.issue('client', purpose=CLIENT)).port, ca=ca.certificate).reason(),
          "the server's certificate is not for a TLS server (extended key usage)")


def test_revoked(t):
    """The server sends an OCSP response that says so."""
    ca = authority(t)
    cert, key = ca.issue('good')
    response = t.dir / 'response'
    ca.revoke(cert, response)
    equal(Helper(t, OpenSSL(t, (cert, key), '-status_file', response).port, ca=ca.certificate).reason(),
          "the server's certificate was revoked")


def test_unknown_authority(t):
    ca = authority(t)
    other = Authority(t.dir, 'other')
    cert = ca.issue('good')
    matches("the server's certificate was issued by an unknown authority: 'CN=authority' is not in .*/other.crt",
            Helper(t, Python(t, echo, cert).port, ca=other.certificate).reason())
    equal(Helper(t, Python(t, echo, cert).port).reason(),
          "the server's certificate was issued by an unknown authority: 'CN=authority' is not in the system's trust store")


def test_no_verification(t):
    ca = authority(t)
    cert = ca.issue('expired', 'dns_name = "a.example.org"\n', EXPIRED)
    Helper(t, Python(t, echo, cert).port, verify='no').connected()


def test_client_certificate(t):
    """In TLS 1.3 the server refuses a certificate after the client's handshake is complete."""
    ca = authority(t)
    server, (cert, key) = ca.issue('good'), ca.issue('client', '', purpose=CLIENT)
    stranger = Authority(t.dir, 'other').issue('stranger', '', purpose=CLIENT)
    for version in ('1.3', '1.2'):
        def start():
            return OpenSSL(t, server, '-Verify', '1', '-verify_return_error', '-CAfile', ca.certificate,
                           f'-tls{version.replace(".", "_")}').port
        Helper(t, start(), ca=ca.certificate, cert=cert, key=key).connected(f'TLS{version}')
        matches('the server refused the handshake: .* (requires a client certificate|but there is none)',
                Helper(t, start(), ca=ca.certificate).reason())
        matches('the server refused the handshake: .* does not accept the one it got',
                Helper(t, start(), ca=ca.certificate, cert=stranger[0], key=stranger[1]).reason())


def test_early_data_from_the_server(t):
    """Data that the server sends at once is not taken for an alert, even if it has the same length."""
    ca = authority(t)
    server, (cert, key) = ca.issue('good'), ca.issue('client', '', purpose=CLIENT)
    for text in (b'HELO', b'ok'):
        def serve(connection, text=text):
            connection.sendall(text)
            return echo(connection)
        port = Python(t, serve, server, ca, num_tickets=0).port
        helper = Helper(t, port, ca=ca.certificate, cert=cert, key=key).connected()
        equal(helper.read(len(text)), text)


def test_files(t):
    """Errors of files are reported with the file name."""
    ca = authority(t)
    cert, key = ca.issue('client', '', purpose=CLIENT)
    empty = t.dir / 'empty'
    empty.touch()
    for fields, wanted in (
            ({'ca': '/none'}, "the CA certificates can't be read from '/none': No such file or directory"),
            ({'ca': empty}, f".*CA certificates in {empty}.*"),
            ({'ca': ca.certificate, 'cert': cert, 'key': '/none'},
             "the client's key can't be read from '/none': No such file or directory"),
            ({'ca': ca.certificate, 'cert': cert, 'key': ca.key},
             f"the key '{ca.key}' does not belong to the certificate '{cert}'"),
            ({'ca': ca.certificate, 'cert': cert, 'key': empty}, f"the client's certificate .*{empty}' can't be used: .*"),
            ({'ca': ca.certificate, 'cert': cert}, ".*there is only the certificate"),
            ({'ca': ca.certificate, 'key': key}, ".*there is only the key")):
        matches(wanted, Helper(t, 1, **fields).reason(), f'the reason for {fields}')


# --------------------------------------------------------------------------------------------------- the server

def test_no_server(t):
    authority(t)
    port = free_port()
    equal(Helper(t, port, '127.0.0.1', verify='no').reason(),
          f'connecting to 127.0.0.1, port {port}: Connection refused')
    matches(rf"connecting to 'localhost' \(127.0.0.1\), port {port}: Connection refused",
            Helper(t, port, verify='no').reason())


def test_unknown_host(t):
    authority(t)
    matches("the host name 'no.such.host.invalid' was not found|"
            "the name server gave no answer for 'no.such.host.invalid'|"
            "the host name 'no.such.host.invalid' was not resolved within 10 seconds",
            Helper(t, 1, 'no.such.host.invalid', verify='no').reason())


NAME = 'the-server.test'


@needs_root
def test_no_name_server(t):
    """The addresses of an earlier answer are used, in their order."""
    authority(t)
    NameServer(t).close()
    port = Python(t, echo, authority(t).issue('good')).port
    equal(Helper(t, port, NAME, verify='no').reason(), f"the name server gave no answer for '{NAME}'")
    answer = Helper(t, port, NAME, verify='no', addresses='127.0.0.9 127.0.0.1').answer()
    check(answer[0] != FAILED, f'the answer: {answer}')
    equal(answer[4], '127.0.0.9 127.0.0.1', 'addresses for the next time')


@needs_root
def test_slow_name_server(t):
    """It is not waited for longer than 2 seconds; but when the server is not at the old address, its answer counts."""
    cert = authority(t).issue('good')
    names = NameServer(t)
    Helper(t, Python(t, echo, cert).port, NAME, verify='no', addresses='127.0.0.1').connected()
    helper = Helper(t, Python(t, echo, cert).port, NAME, verify='no', addresses='127.0.0.9')
    time.sleep(2.5)
    names.answer.set()
    helper.connected()


@slow(120)
@needs_root
def test_name_server_and_bad_servers(t):
    """What it says while a handshake fails counts; if it says nothing, that failure is reported."""
    ca, names = authority(t), NameServer(t)
    cert, expired = ca.issue('good'), ca.issue('expired', times=EXPIRED)

    def stop(connection):
        names.answer.set()
        time.sleep(60)
    port = Python(t, stop, address=('127.0.0.9', 0)).port
    Python(t, echo, cert, address=('127.0.0.1', port))
    moved = Helper(t, port, NAME, verify='no', addresses='127.0.0.9')
    names.answer.wait(60)
    wait_for(lambda: not descendants(moved.pid), 'the end of the look-up')
    names.answer.clear()
    lost = Helper(t, Python(t, echo, expired).port, NAME, ca=ca.certificate, addresses='127.0.0.1')
    matches(r"the server's certificate \(CN=expired\) expired on .*", lost.reason())
    answer = moved.answer()
    check(answer[0] != FAILED, f'the answer: {answer}')


@needs_root
def test_unknown_to_the_name_server(t):
    """What it does not know any more is not looked for at an old address."""
    authority(t)
    NameServer(t, exists=False).answer.set()
    equal(Helper(t, 1, NAME, verify='no', addresses='127.0.0.1').reason(), f"the host name '{NAME}' was not found")


@needs_root
@slow(60)
def test_next_address(t):
    """The first one never answers."""
    cert = authority(t).issue('good')
    NameServer(t).close()
    port = silent(t)
    server = Python(t, echo, cert, address=('127.0.0.2', port))
    start = time.monotonic()
    answer = Helper(t, server.port, NAME, verify='no', addresses='127.0.0.1 127.0.0.2').answer()
    check(answer[0] != FAILED, f'the answer: {answer}')
    check(time.monotonic() - start < scaled(8), 'it was waited for')


@needs_root
def test_next_server(t):
    """Each address is tried until a handshake succeeds. If none does, the reason of the first one is reported."""
    ca = authority(t)
    good, (cert, key) = ca.issue('good'), ca.issue('client', '', purpose=CLIENT)
    expired = ca.issue('expired', times=EXPIRED)
    NameServer(t).close()

    def choose(*servers, **fields):
        """The answer about a host whose servers have these functions, identities and authorities for clients; None:
        there is none at this address."""
        port, started = free_port(), []
        for number, server in enumerate(servers, 1):
            started += [server and Python(t, *server, address=(f'127.0.0.{number}', port))]
        addresses = ' '.join(f'127.0.0.{number}' for number in range(1, len(servers) + 1))
        helper = Helper(t, port, NAME, ca=ca.certificate, addresses=addresses, **fields)
        return helper, helper.answer(), started
    named = ca.issue('named', f'dns_name = "{NAME}"\n')
    stranger = Authority(t.dir, 'other')
    for first in ((echo, expired), (lambda c: c.recv(1 << 16),), (echo, good), (echo, named, stranger)):
        helper, answer, (bad, _) = choose(first, (echo, named), cert=cert, key=key)
        check(answer[0] != FAILED, f'the answer: {answer}')
        equal((helper.accepted, answer[4]), (2, '127.0.0.1 127.0.0.2'))
        bad.wait()
    for servers in ([(echo, expired), (echo, good)], [(echo, expired), None], [None, (echo, expired)]):
        _, answer, _ = choose(*servers)
        address = servers.index((echo, expired)) + 1
        matches(rf"at 127.0.0.{address}: the server's certificate \(CN=expired\) expired on .*", answer[4])


@slow(120)
def test_silence(t):
    """A server that does not accept, one that sends nothing, and one that stops within the handshake."""
    ca = authority(t)
    full = Helper(t, silent(t), '127.0.0.1', verify='no')
    quiet = Helper(t, Python(t, lambda c: c.recv(1) and time.sleep(60)).port, verify='no')

    def half(connection):
        connection.recv(1 << 16)
        connection.sendall(b'\x16\x03\x03\x00\x40\x02\x00\x00\x3c\x03\x03')
        time.sleep(60)
    middle = Helper(t, Python(t, half).port, ca=ca.certificate)
    matches('connecting to 127.0.0.1, port .*: Connection timed out', full.reason())
    for helper in (quiet, middle):
        equal(helper.reason(), 'the server did not complete the TLS handshake within 15 seconds')


def test_not_tls(t):
    authority(t)
    server = Python(t, lambda c: c.recv(1) and c.sendall(b'220 mail.example.org ESMTP\r\n') or c.recv(1 << 16))
    equal(Helper(t, server.port, verify='no').reason(), f'the server at port {server.port} does not speak TLS')
    server = Python(t, lambda c: c.recv(1 << 16))
    equal(Helper(t, server.port, verify='no').reason(), 'the server closed the connection during the handshake')


def test_old_versions(t):
    ca = authority(t)
    cert = ca.issue('good')
    old = OpenSSL(t, cert, '-tls1_1', '-cipher', 'ALL:@SECLEVEL=0').port
    matches('the server refused the handshake: .*does not speak TLS 1.2 or later|'
            'the server does not speak TLS 1.2 or later', Helper(t, old, ca=ca.certificate).reason())
    old = GnuTLS(t, cert, '--priority', 'NORMAL:-VERS-ALL:+VERS-TLS1.1').port
    matches('the server refused the handshake: .*does not speak TLS 1.2 or later|'
            'the server does not speak TLS 1.2 or later', Helper(t, old, ca=ca.certificate).reason())


def test_versions_and_ciphers(t):
    ca = authority(t)
    cert = ca.issue('good')
    for version, cipher, name in (('1.2', 'ECDHE-ECDSA-AES128-GCM-SHA256', 'AES-128-GCM'),
                                  ('1.2', 'ECDHE-ECDSA-AES256-GCM-SHA384', 'AES-256-GCM'),
                                  ('1.2', 'ECDHE-ECDSA-CHACHA20-POLY1305', 'CHACHA20-POLY1305'),
                                  ('1.3', 'TLS_AES_128_GCM_SHA256', 'AES-128-GCM'),
                                  ('1.3', 'TLS_CHACHA20_POLY1305_SHA256', 'CHACHA20-POLY1305')):
        server = OpenSSL(t, cert, '-cipher' if version == '1.2' else '-ciphersuites', cipher,
                         f'-tls{version.replace(".", "_")}')
        helper = Helper(t, server.port, ca=ca.certificate)
        equal(helper.answer()[2:4], (f'TLS{version}', name), 'version and cipher')


# -------------------------------------------------------------------------------------------------- a connection

@slow(120)
def test_bulk(t):
    """10 MB in both directions at the same time."""
    ca = authority(t)
    up, down = os.urandom(10 * MEGABYTE), os.urandom(10 * MEGABYTE)

    def serve(connection):
        sender = threading.Thread(target=connection.sendall, args=(down,))
        sender.start()
        digest = hashlib.sha256()
        while data := connection.recv(1 << 16):
            digest.update(data)
        sender.join()
        return digest.hexdigest()
    for maximum, version in ((ssl.TLSVersion.TLSv1_3, 'TLS1.3'), (ssl.TLSVersion.TLSv1_2, 'TLS1.2')):
        server = Python(t, serve, ca.issue('good'), maximum_version=maximum)
        helper = Helper(t, server.port, ca=ca.certificate).connected(version)
        sender = threading.Thread(target=helper.socket.sendall, args=(up,))
        sender.start()
        check(helper.read(len(down)) == down, 'data from the server was changed')
        sender.join()
        helper.socket.close()
        equal(server.wait(), hashlib.sha256(up).hexdigest(), 'data at the server')


def test_slow_server(t):
    """A server that does not read blocks the monitor; no data is lost when it reads again."""
    ca = authority(t)
    go = threading.Event()

    def serve(connection):
        go.wait(60)
        total = 0
        while data := connection.recv(1 << 16):
            total += len(data)
        return total
    server = Python(t, serve, ca.issue('good'))
    helper = Helper(t, server.port, ca=ca.certificate).connected()
    helper.socket.setblocking(False)
    sent, last = 0, time.monotonic()
    while time.monotonic() - last < 1:
        try:
            sent += helper.socket.send(bytes(1 << 16))
            last = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
        check(sent < 100 * MEGABYTE, 'the monitor was not blocked')
    idle = cpu_ticks(helper.pid)
    time.sleep(1)
    check(cpu_ticks(helper.pid) - idle < 20, 'conmon-tls uses processor time while it waits')
    helper.socket.close()
    go.set()
    equal(server.wait(), sent, 'bytes at the server')
    equal(helper.wait(), 0, 'exit status')


def cpu_ticks(pid):
    return sum(map(int, pathlib.Path(f'/proc/{pid}/stat').read_text().split()[13:15]))


def test_slow_monitor(t):
    """A monitor that does not read blocks the server, and can still send."""
    ca = authority(t)

    def serve(connection):
        sender = threading.Thread(target=connection.sendall, args=(bytes(24 * MEGABYTE),))
        sender.start()
        equal(connection.recv(5), b'hello')
        held = sender.is_alive()
        sender.join()
        return held
    server = Python(t, serve, ca.issue('good'))
    helper = Helper(t, server.port, ca=ca.certificate).connected()
    time.sleep(1)
    helper.socket.sendall(b'hello')
    time.sleep(1)
    helper.read(24 * MEGABYTE)
    equal(server.wait(), True, 'the server was blocked')


def test_server_ends(t):
    """The monitor reads end of file after all data, with or without close_notify."""
    ca = authority(t)
    cert = ca.issue('good')

    def notify(connection):
        connection.sendall(b'bye')
        return connection.unwrap().recv(1)

    def cut(connection):
        connection.sendall(b'bye')
        connection.shutdown(socket.SHUT_RDWR)
    for end in (notify, cut):
        helper = Helper(t, Python(t, end, cert).port, ca=ca.certificate).connected()
        equal(helper.read(3), b'bye')
        equal(helper.socket.recv(1), b'', 'after the end')
        helper.socket.close()
        equal(helper.wait(), 0, 'exit status')


def test_last_words(t):
    """What the server has sent before it resets the connection is passed on, although data for it is left."""
    ca = authority(t)
    go, words = threading.Event(), os.urandom(20000)

    def serve(connection):
        go.wait(60)
        connection.sendall(words)
        wait_for(lambda: fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)) == bytes(4), 'the arrival of the last words')
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
    server = Python(t, serve, ca.issue('good'))
    helper = Helper(t, server.port, ca=ca.certificate).connected()
    helper.socket.setblocking(False)
    last = time.monotonic()
    while time.monotonic() - last < 0.5:
        with contextlib.suppress(BlockingIOError):
            helper.socket.send(bytes(1 << 16))
            last = time.monotonic()
    os.kill(helper.pid, signal.SIGSTOP)
    go.set()
    server.wait()
    os.kill(helper.pid, signal.SIGCONT)
    helper.socket.setblocking(True)
    check(helper.read(len(words)) == words, 'the last words were changed')
    helper.wait()


def test_half_close(t):
    """A monitor that has shut down its sending side still receives data."""
    ca = authority(t)

    def serve(connection):
        text = b''
        while data := connection.recv(100):
            text += data
        connection.sendall(b'got ' + text)
        connection.unwrap()
    helper = Helper(t, Python(t, serve, ca.issue('good')).port, ca=ca.certificate).connected()
    helper.socket.sendall(b'this')
    helper.socket.shutdown(socket.SHUT_WR)
    equal(helper.read(8), b'got this')
    equal(helper.socket.recv(1), b'')
    equal(helper.wait(), 0, 'exit status')


@slow(60)
def test_end_has_a_limit(t):
    """If the server does not read after the monitor has closed its end, conmon-tls exits after 10 s."""
    ca = authority(t)
    server = Python(t, lambda c: time.sleep(40), ca.issue('good'))
    helper = Helper(t, server.port, ca=ca.certificate).connected()
    helper.socket.settimeout(0.5)
    try:
        while True:
            helper.socket.send(bytes(1 << 16))
    except TimeoutError:
        pass
    start = time.monotonic()
    helper.socket.close()
    helper.wait(30)
    check(9 < time.monotonic() - start, 'conmon-tls did not wait')


def test_key_update(t):
    """The server updates its keys, and requests an update from the client."""
    ca = authority(t)
    server = OpenSSL(t, ca.issue('good'), '-tls1_3')
    helper = Helper(t, server.port, ca=ca.certificate).connected()
    for number, command in enumerate((b'k\n', b'K\n', b'k\n')):
        server.type(command)
        helper.socket.sendall(f'before {number}\n'.encode())
        server.until(f'before {number}')
        server.type(b'line\n')
        equal(helper.read(5), b'line\n')
        helper.socket.sendall(f'after {number}\n'.encode())
        server.until(f'after {number}')
    equal(server.printed().count('SSL_do_handshake -> 1'), 3, 'updates of keys')


def test_renegotiation(t):
    """A TLS 1.2 server that requests renegotiation is ignored. OpenSSL's server then closes the connection."""
    ca = authority(t)
    server = OpenSSL(t, ca.issue('good'), '-tls1_2')
    helper = Helper(t, server.port, ca=ca.certificate).connected('TLS1.2')
    helper.socket.sendall(b'before\n')
    server.until('before')
    server.type(b'r\n')
    server.until('no renegotiation')
    equal(helper.socket.recv(1), b'')


def test_gnutls_server(t):
    ca = authority(t)
    for version in ('1.3', '1.2'):
        server = GnuTLS(t, ca.issue('good'), '--echo', '--disable-client-cert', '--priority',
                        f'NORMAL:-VERS-ALL:+VERS-TLS{version}')
        helper = Helper(t, server.port, ca=ca.certificate).connected(f'TLS{version}')
        helper.socket.sendall(b'one line\n')
        equal(helper.read(9), b'one line\n')
        helper.socket.close()
        equal(helper.wait(), 0, 'exit status')


# ------------------------------------------------------------------------------------------------------ the kernel

SOL_TLS, SET_RECORD_TYPE, GET_RECORD_TYPE = 282, 1, 2
ALERT, HANDSHAKE, DATA = 21, 22, 23


def in_kernel(helper, version):
    """The socket of a connection with kernel TLS, after conmon-tls has exited."""
    mode, _, spoken, _, addresses = helper.answer()
    if mode == PROXY:
        skip('the kernel has no TLS')
    equal((mode, spoken), (KERNEL, version), 'the answer')
    check('127.0.0.1' in addresses.split(), f'addresses: {addresses}')
    equal(helper.wait(), 0, 'exit status')
    equal(helper.socket.recv(1), b'', 'the socketpair')
    helper.tcp.setblocking(True)
    return helper.tcp


def record(tcp):
    """The type and content of the next record that is not a session ticket."""
    while True:
        data, ancillary, _, _ = tcp.recvmsg(1 << 14, 100)
        kinds = [value[0] for level, kind, value in ancillary if (level, kind) == (SOL_TLS, GET_RECORD_TYPE)]
        if kinds != [HANDSHAKE]:
            return kinds[0] if kinds else None, data


@slow(120)
def test_kernel(t):
    """Each cipher, with 128 kB in both directions, tickets, and close_notify."""
    ca = authority(t)
    data = os.urandom(MEGABYTE // 8)
    for version, cipher in (('1.3', None), ('1.2', 'ECDHE-ECDSA-AES128-GCM-SHA256'),
                            ('1.2', 'ECDHE-ECDSA-AES256-GCM-SHA384'), ('1.2', 'ECDHE-ECDSA-CHACHA20-POLY1305')):
        for own_end in (True, False):
            def serve(connection, own_end=own_end):
                total = 0
                while total < len(data):
                    total += len(piece := connection.recv(1 << 16))
                    connection.sendall(piece)
                return connection.recv(1) if own_end else connection.unwrap()
            limit = ssl.TLSVersion.TLSv1_3 if version == '1.3' else ssl.TLSVersion.TLSv1_2
            server = Python(t, serve, ca.issue('good'), **({'ciphers': cipher} if cipher else {}), maximum_version=limit)
            tcp = in_kernel(Helper(t, server.port, ca=ca.certificate), f'TLS{version}')
            sender = threading.Thread(target=tcp.sendall, args=(data,))
            sender.start()
            got = bytearray()
            while len(got) < len(data):
                kind, piece = record(tcp)
                equal(kind, DATA, 'type of a record')
                got += piece
            sender.join()
            check(got == data, 'the echoed data was changed')
            if not own_end:
                equal(record(tcp), (ALERT, b'\x01\x00'), 'close_notify of the server')
            tcp.sendmsg([b'\x01\x00'], [(SOL_TLS, SET_RECORD_TYPE, bytes([ALERT]))])
            server.wait()
            equal((server.error, own_end and server.result), (None, own_end and b''), 'close_notify at the server')


# ---------------------------------------------------------------------------------------------------- the process

def test_rights(t):
    """A proxy has no capabilities and can't gain any, a seccomp filter, and only its two sockets."""
    ca = authority(t)
    helper = Helper(t, Python(t, echo, ca.issue('good')).port, ca=ca.certificate).connected()
    helper.socket.sendall(b'hello')
    helper.read(5)
    status = dict(line.split(':\t', 1) for line in pathlib.Path(f'/proc/{helper.pid}/status').read_text().split('\n')
                  if ':\t' in line)
    equal([int(status[name], 16) for name in ('CapEff', 'CapPrm', 'CapInh')], [0, 0, 0], 'capabilities')
    equal(status['NoNewPrivs'], '1', 'NoNewPrivs')
    if b'sandbox' in PROGRAM.read_bytes():
        equal(status['Seccomp'], '2', 'Seccomp')
    equal(sorted(descriptors(helper.pid)), [0, 1, 2, 3, 4], 'descriptors')


def test_wrong_requests(t):
    authority(t)
    for request, wanted in (
            (b'\0\0', 'conmon and conmon-tls are not of the same version; .*'),
            (b'protocol=99\0host=a\0port=1\0\0', 'conmon and conmon-tls are not of the same version; .*'),
            (b'protocol=1\0host=\0port=1\0\0', 'the request lacks a host or a port'),
            (b'protocol=1\0host=a\0port=1\0verify=yes\0\0', "the request's 'verify' can't be 'yes'"),
            (b'protocol=1\0color=red\0\0', "unknown field 'color=red' in the request"),
            (b'protocol=1\0host\0\0', "unknown field 'host' in the request"),
            (b'x' * 20000, 'the request is longer than 16384 bytes')):
        matches(wanted, Helper(t, request=request).reason(), f'the reason for {request[:40]}')


def test_monitor_exits(t):
    """conmon-tls exits if the monitor does so before the answer."""
    authority(t)
    helper = Helper(t, Python(t, lambda c: time.sleep(30)).port, verify='no')
    time.sleep(0.3)
    helper.socket.close()
    equal(helper.wait(5), 1, 'exit status')


if __name__ == '__main__':
    main()
