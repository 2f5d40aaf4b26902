# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Log servers for tests: real ones, and some that misbehave. Each test starts and stops its own."""

import collections
import contextlib
import ctypes
import fcntl
import gzip
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import threading
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / 'lib'))

from harness import check, equal, proc, skip, wait_for, whole_lines  # noqa: E402
import packages  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
JOURNALD = '/lib/systemd/systemd-journald'


class Server:
    """A server process, which is stopped at the end of the test."""

    def __init__(self, t, argv, env=None, **options):
        self.t = t
        self.output = t.dir / f'server-{len(list(t.dir.glob("server-*")))}'
        with open(self.output, 'wb') as file:
            self.process = subprocess.Popen([str(part) for part in argv], stdin=subprocess.DEVNULL, stdout=file,
                                            stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}, **options)
        t.stack.callback(self.stop)

    def stop(self):
        """Stops it as a service manager does."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def printed(self):
        return self.output.read_text(errors='replace')

    def wait(self, condition, what, timeout=20):
        def holds():
            check(self.process.poll() is None, f'the server has exited: {self.printed()[-2000:]}')
            return condition()
        return wait_for(holds, f'{what}; output of the server: {self.printed()[-500:]}', timeout)


# ------------------------------------------------------------------------------------------------ namespaces

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWNET = 0x20000, 0x4000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000


def _mount(source, target, kind=None, flags=0):
    if _libc.mount(str(source).encode(), str(target).encode(), kind and kind.encode(), flags, None) != 0:
        raise OSError(ctypes.get_errno(), f'mounting {target}: {os.strerror(ctypes.get_errno())}')


def _unshare(flags):
    if os.geteuid() != 0:
        skip('namespaces need root')
    if _libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), 'unshare')


def own_mounts():
    """Moves this test to a private mount namespace."""
    _unshare(CLONE_NEWNS)
    _mount('none', '/', flags=MS_REC | MS_PRIVATE)


def own_host_name(name):
    """Moves this test to a UTS namespace with this host name."""
    _unshare(CLONE_NEWUTS)
    socket.sethostname(name)


def own_network():
    """Moves this test to a new network namespace, where all ports are free."""
    _unshare(CLONE_NEWNET)
    set_flags, up = 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, set_flags, struct.pack('16sH14x', b'lo', up))


def enter_network(descriptor):
    """Moves this thread to this network namespace."""
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), 'setns')


def cover(path, other):
    """Bind-mounts `other` over a file (call own_mounts first)."""
    _mount(other, path, flags=MS_BIND)


def hide_run():
    """Mounts an empty /run for this test."""
    own_mounts()
    _mount('none', '/run', 'tmpfs')
    os.makedirs('/run/systemd/journal')
    os.makedirs('/run/log/journal')


def bind_dev_log(path):
    """Bind-mounts a socket over /dev/log for this test (call hide_run first)."""
    shadow = pathlib.Path('/run/dev')
    shadow.mkdir()
    _mount('/dev', shadow, flags=MS_BIND | MS_REC)
    _mount('none', '/dev', 'tmpfs')
    for name in os.listdir(shadow):
        if name != 'log':
            os.symlink(shadow / name, f'/dev/{name}')
    os.symlink(path, '/dev/log')


class Journald(Server):
    """systemd-journald in the private /run (call hide_run first)."""

    CONFIGURATION = '''[Journal]
Storage=volatile
RuntimeMaxUse=256M
RateLimitIntervalSec=0
ReadKMsg=no
Audit=no
ForwardToSyslog=no
ForwardToKMsg=no
ForwardToConsole=no
ForwardToWall=no
'''

    def __init__(self, t):
        configuration = pathlib.Path('/run/journald.conf')
        if not configuration.exists():
            configuration.write_text(self.CONFIGURATION)
            cover('/etc/systemd/journald.conf', configuration)
        super().__init__(t, [JOURNALD])
        self.wait(lambda: os.path.exists('/run/systemd/journal/socket') and self._answers(), 'the journal')

    def _answers(self):
        return subprocess.run(['journalctl', '--sync'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              check=False).returncode == 0

    @staticmethod
    def entries(*match):
        """The output of journalctl after a flush, oldest first; fields that occur more than once are lists."""
        subprocess.run(['journalctl', '--sync'], check=True)
        done = subprocess.run(['journalctl', '--no-pager', '-q', '-o', 'json', '--all', *match], check=True,
                              stdout=subprocess.PIPE)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def stop(self):
        super().stop()
        with contextlib.suppress(FileNotFoundError):
            os.unlink('/run/systemd/journal/socket')


# ---------------------------------------------------------------------------------------------------- syslog

def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def is_bound(port):
    """Whether a process receives datagrams on this port."""
    return f':{port:04X} ' in pathlib.Path('/proc/net/udp').read_text()


class Rsyslog(Server):
    """The distribution's rsyslog. It writes each message to `log` as a JSON object."""

    arguments = ()

    CONFIGURATION = '''
global(workDirectory="{dir}" maxMessageSize="64k" localHostname="here"
       parser.escapeControlCharactersOnReceive="off" net.enableDNS="off" processInternalMessages="on")
module(load="imudp") module(load="imptcp") module(load="imuxsock" SysSock.Use="off")
input(type="imudp" address="127.0.0.1" port="{udp}" ruleset="all")
input(type="imptcp" address="127.0.0.1" port="{tcp}" ruleset="all")
input(type="imptcp" path="{dir}/stream" ruleset="all")
input(type="imuxsock" Socket="{dir}/dgram" UseSysTimeStamp="off" UsePIDFromSystem="off" Ruleset="all" RateLimit.Interval="0"
      ParseHostname="{parse}")
template(name="json" type="list" option.jsonf="on") {{
    property(outname="pri" name="pri" format="jsonf") property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
    property(outname="host" name="hostname" format="jsonf") property(outname="tag" name="syslogtag" format="jsonf")
    property(outname="app" name="app-name" format="jsonf") property(outname="proc" name="procid" format="jsonf")
    property(outname="msgid" name="msgid" format="jsonf") property(outname="data" name="structured-data" format="jsonf")
    property(outname="msg" name="msg" format="jsonf") }}
ruleset(name="all") {{ action(type="omfile" file="{dir}/received" template="json" asyncWriting="off" flushOnTXEnd="on") }}
'''

    def __init__(self, t, parse_hostname=False):
        self.dir = t.dir / 'rsyslog'
        self.dir.mkdir(exist_ok=True)
        self.udp, self.tcp = free_port(socket.SOCK_DGRAM), free_port()
        configuration = self.dir / 'rsyslog.conf'
        configuration.write_text(self.CONFIGURATION.format(dir=self.dir, udp=self.udp, tcp=self.tcp,
                                                           parse='on' if parse_hostname else 'off'))
        path = os.environ['PATH'] + ':/usr/sbin'
        super().__init__(t, [shutil.which('rsyslogd', path=path), '-n', '-f', configuration, '-i', self.dir / 'pid',
                             *self.arguments])
        self.wait(self._listens, 'rsyslog to listen')

    def _listens(self):
        with socket.socket() as s:
            return s.connect_ex(('127.0.0.1', self.tcp)) == 0 and is_bound(self.udp) and (self.dir / 'dgram').exists()

    def address(self, kind):
        return {'udp': f'udp://127.0.0.1:{self.udp}', 'tcp': f'tcp://localhost:{self.tcp}',
                'unix': f'unix://{self.dir}/stream', 'unixgram': f'unixgram://{self.dir}/dgram'}[kind]

    def received(self, n):
        """Waits for n messages and returns them."""
        path = self.dir / 'received'

        def all_there():
            lines = whole_lines(path)
            return lines if len(lines) >= n else None
        return [json.loads(line) for line in self.wait(all_there, f'{n} messages in {path}')]


class SyslogNg(Server):
    """syslog-ng, which conflicts with rsyslog: its packages are unpacked, not installed. `framed` is the port
    for RFC 5424 with octet counting, `plain` the one for lines."""

    CONFIGURATION = '''@version: 3.38
options {{ keep-hostname(yes); use-dns(no); log-msg-size(65536); stats-freq(0); }};
source all {{
    network(ip("127.0.0.1") port({plain}) transport("tcp") flags(no-multi-line));
    syslog(ip("127.0.0.1") port({framed}) transport("tcp"));
    network(ip("127.0.0.1") port({udp}) transport("udp"));
    unix-stream("{dir}/stream"); unix-dgram("{dir}/dgram");
}};
destination out {{ file("{dir}/received" template("$(format-json pri=$PRI time=$ISODATE host=$HOST app=$PROGRAM proc=$PID msgid=$MSGID msg=$MSG partial=${{.SDATA.partial@32473.ordinal}} last=${{.SDATA.partial@32473.last}} a=${{.SDATA.attributes@32473.A}})\\n")); }};
log {{ source(all); destination(out); }};
'''

    def __init__(self, t):
        root = packages.unpacked('syslog-ng', 'syslog-ng-core', 'libivykis0', 'libnet1', 'libwrap0')
        self.dir = t.dir / 'syslog-ng'
        self.dir.mkdir()
        self.plain, self.framed, self.udp = free_port(), free_port(), free_port(socket.SOCK_DGRAM)
        configuration = self.dir / 'conf'
        configuration.write_text(self.CONFIGURATION.format(dir=self.dir, plain=self.plain, framed=self.framed, udp=self.udp))
        libraries = [str(p.parent) for p in root.glob('usr/lib/**/libsyslog-ng-*.so.0')]
        libraries += [str(p.parent) for p in root.glob('usr/lib/**/libivykis.so.0')]
        modules = next(root.glob('usr/lib/syslog-ng/*/libaffile.so')).parent
        super().__init__(t, [root / 'usr/sbin/syslog-ng', '-F', '-f', configuration, '--module-path', modules,
                             '-R', self.dir / 'persist', '-p', self.dir / 'pid', '-c', self.dir / 'ctl', '--no-caps'],
                         env={'LD_LIBRARY_PATH': ':'.join(libraries)})
        self.wait(self._listens, 'syslog-ng to listen')

    def _listens(self):
        with socket.socket() as s:
            return s.connect_ex(('127.0.0.1', self.framed)) == 0 and is_bound(self.udp) and (self.dir / 'dgram').exists()

    def address(self, kind):
        return {'udp': f'udp://127.0.0.1:{self.udp}', 'tcp': f'tcp://127.0.0.1:{self.plain}',
                'framed': f'tcp://127.0.0.1:{self.framed}', 'unix': f'unix://{self.dir}/stream',
                'unixgram': f'unixgram://{self.dir}/dgram'}[kind]

    received = Rsyslog.received

    def stop(self):
        self.process.kill()
        self.process.wait()


# ------------------------------------------------------------------------------------------------------ node

class NodeServer(Server):
    """A server in JavaScript that prints a line `listening ADDRESS` and then each record as a JSON object."""

    def __init__(self, t, script, *arguments, modules):
        super().__init__(t, ['node', HERE / script, *map(str, arguments)], env={'NODE_PATH': str(modules)})
        self.wait(lambda: whole_lines(self.output), 'the server to listen')
        self.listening = whole_lines(self.output)[0].decode().split()[1]

    def so_far(self):
        """The records received so far, also of a server that has exited."""
        return [json.loads(line) for line in whole_lines(self.output)[1:]]

    def records(self, n):
        """Waits for n records."""
        self.wait(lambda: len(whole_lines(self.output)) > n, f'{n} records')
        return self.so_far()


def fluent_server(t, **options):
    """A server of the forward protocol from npm's @fluent-org/logger."""
    return NodeServer(t, 'fluent-server.js', json.dumps(options), modules=packages.node_modules('@fluent-org/logger'))


def graygelf_server(t):
    """A GELF server from npm's graygelf."""
    return NodeServer(t, 'gelf-server.js', free_port(socket.SOCK_DGRAM), modules=packages.node_modules('graygelf'))


# ------------------------------------------------------------------------------------------------------ GELF

class GelfUdp:
    """Reassembles chunks and decompresses with Python's zlib. `messages` are dicts."""

    def __init__(self, t, port=0):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind(('127.0.0.1', port))
        self.socket.settimeout(0.05)
        t.stack.callback(self.socket.close)
        self.port = self.socket.getsockname()[1]
        self.messages, self.chunks = [], collections.defaultdict(dict)
        self.formats = collections.Counter()

    def _take(self, data):
        if data[:2] == b'\x1e\x0f':
            parts = self.chunks[data[2:10]]
            check(data[11] <= 128 and data[10] < data[11], f'header of a chunk {data[:12]!r}')
            parts[data[10]] = data[12:]
            if len(parts) < data[11]:
                return
            data = b''.join(parts[i] for i in range(data[11]))
        if data[:2] == b'\x1f\x8b':
            self.formats['gzip'] += 1
            data = gzip.decompress(data)
        elif data[0] & 15 == 8:
            self.formats['zlib'] += 1
            data = zlib.decompress(data)
        else:
            self.formats['none'] += 1
        self.messages.append(json.loads(data))

    def receive(self, n):
        def enough():
            with contextlib.suppress(socket.timeout):
                while len(self.messages) < n:
                    self._take(self.socket.recv(65536))
            return len(self.messages) >= n
        wait_for(enough, f'{n} messages')
        return self.messages


# ------------------------------------------------------------------------------------------- misbehavior

class Peer:
    """A TCP or unix server that calls a function for each connection; `data` is what all of them have read. A
    connection stays open when the function returns."""

    kind = socket.SOCK_STREAM

    def __init__(self, t, handle=None, address=('127.0.0.1', 0)):
        self.handle = handle or Peer.read_all
        self.address = address
        self.data, self.connections, self.lock = [], 0, threading.Lock()
        self.closed, self.open, self.threads = False, [], []
        self.socket = self._bind()
        self.port = self.socket.getsockname()[1] if isinstance(address, tuple) else None
        self._start(self._serve)
        t.stack.callback(self.close)

    def _start(self, function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _bind(self):
        local = not isinstance(self.address, tuple)
        family = socket.AF_UNIX if local else socket.AF_INET6 if ':' in self.address[0] else socket.AF_INET
        bound = socket.socket(family, self.kind)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if local:
            pathlib.Path(self.address).unlink(missing_ok=True)
        bound.bind(str(self.address) if local else self.address)
        if self.kind == socket.SOCK_STREAM:
            bound.listen(16)
        return bound

    def _serve(self):
        while not self.closed:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self._start(self._run, connection, self._note(connection))

    def _note(self, connection):
        with self.lock:
            self.connections += 1
            self.open.append(connection)
            parts = []
            self.data.append(parts)
        return parts

    def _run(self, connection, parts):
        with contextlib.suppress(OSError):
            self.handle(self, connection, parts)

    def read_all(self, connection, parts):
        while True:
            data = connection.recv(1 << 16)
            if not data:
                return
            parts.append(data)

    def received(self):
        """The data received on each connection."""
        with self.lock:
            return [b''.join(parts) for parts in self.data]

    def close(self):
        """Refuses new connections and resets open ones."""
        self.closed = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for connection in self.open:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
                # Interrupts a read in another thread, which would keep the socket open. The method of ssl.SSLSocket
                # would also let that thread take encrypted bytes for data.
                socket.socket.shutdown(connection, socket.SHUT_RD)
            connection.close()
        for thread in self.threads:
            thread.join(5)


class DatagramPeer(Peer):
    """The same for datagrams; a bound socket counts as one connection. When the function has closed it, a new
    socket is bound."""

    kind = socket.SOCK_DGRAM

    def _serve(self):
        while not self.closed:
            parts = self._note(self.socket)
            self._run(self.socket, parts)
            if self.socket.fileno() >= 0 or self.closed:
                return
            with contextlib.suppress(OSError):
                self.socket = self._bind()

    def read_all(self, connection, parts):
        while not self.closed:
            parts.append(connection.recv(1 << 16))


def vanish(connection):
    """Drops all incoming packets of this socket in the kernel, as if the host were unreachable."""
    drop = ctypes.create_string_buffer(struct.pack('HBBI', 0x06, 0, 0, 0))  # BPF_RET | BPF_K
    attach_filter = 26
    try:
        connection.setsockopt(socket.SOL_SOCKET, attach_filter, struct.pack('HP', 1, ctypes.addressof(drop)))
    except PermissionError:
        skip('socket filters are not permitted')


def silent(t, address=('127.0.0.1', 0)):
    """The port of a server with a full backlog: it does not answer further connections."""
    listener = socket.socket()
    listener.bind(address)
    listener.listen(0)
    t.stack.callback(listener.close)
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        t.stack.callback(filler.close)
    return listener.getsockname()[1]


class NameServer:
    """The only name server of this test. It resolves each name to 127.0.0.1, or, without `exists`, none, and answers only
    after `answer` is set."""

    def __init__(self, t, exists=True):
        own_network()
        own_mounts()
        configuration = t.dir / 'resolv.conf'
        configuration.write_text('nameserver 127.0.0.1\noptions timeout:30\n')
        cover('/etc/resolv.conf', configuration)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(('127.0.0.1', 53))
        self.exists, self.answer = exists, threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            query, sender = self.socket.recvfrom(512)
            if not query:
                self.socket.close()
                return
            self.answer.wait()
            question = query[12:query.index(b'\0', 12) + 5]
            found = self.exists and question[-4:] == b'\0\1\0\1'
            head = query[:2] + struct.pack('>5H', 0x8180 if self.exists else 0x8183, 1, found, 0, 0)
            record = b'\xc0\x0c\0\1\0\1' + struct.pack('>IH4B', 60, 4, 127, 0, 0, 1)
            self.socket.sendto(head + question + record * found, sender)

    def close(self):
        """Stops the name server."""
        self.socket.sendto(b'', self.socket.getsockname())
        self.thread.join(10)


# ------------------------------------------------------------------------------------------------- monitors

def launch(t, script, driver, *options, log='none', words=(), **kwargs):
    """Starts a container with an additional log driver; `options` are for --log-opt, `words` are further
    arguments. drain-timeout is the maximum unless `options` set it."""
    for option in ('drain-timeout=12s', *options):
        words = (*words, '--log-opt', option)
    return t.create(script, '--log-driver', driver, *words, log=log, **kwargs)


def status(m, at_end=True):
    """The status of the sink that --log-driver added, which is the last one."""
    path = (m.persist if at_end else m.bundle) / 'log-status.json'
    return json.loads(path.read_text())['sinks'][-1]


def status_now(m):
    """Requests the status from a running monitor."""
    path = m.bundle / 'log-status.json'
    path.unlink(missing_ok=True)
    m.control('3 0 0\n')
    wait_for(path.exists, 'the status file')
    return status(m, at_end=False)


def sockets(m):
    """The number of sockets of the monitor."""
    return sum(target.startswith('socket:') for target in proc.descriptors(m.pid).values())


def check_sums(sink):
    """Checks that in = out + queued + dropped, in records and in bytes. Returns the number of dropped bytes."""
    for unit in ('records', 'bytes'):
        dropped = sum(cause[unit] for cause in sink['dropped'].values())
        equal(sink['in'][unit], sink['out'][unit] + sink['queued'][unit] + dropped, f'sum of {unit} of {sink}')
    return dropped


def finish(m, code=0, timeout=25):
    """Waits for the end of the monitor; checks the sums in the sink's last status, and returns it."""
    m.finish(code, timeout)
    sink = status(m)
    check_sums(sink)
    equal(sink['queued'], {'records': 0, 'bytes': 0}, 'queued records at the end')
    return sink
