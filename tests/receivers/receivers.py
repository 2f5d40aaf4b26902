"""Log servers for tests: real ones, and some that misbehave. Each is started and ended by its test."""

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
import time
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import check, equal, proc, skip, wait_for  # noqa: E402
import packages  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
JOURNALD = '/lib/systemd/systemd-journald'


class Server:
    """A process that serves until the test ends."""

    def __init__(self, t, argv, env=None, **options):
        self.t = t
        self.output = t.dir / f'server-{len(list(t.dir.glob("server-*")))}'
        with open(self.output, 'wb') as file:
            self.process = subprocess.Popen([str(part) for part in argv], stdin=subprocess.DEVNULL, stdout=file,
                                            stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}, **options)
        t.stack.callback(self.stop)

    def stop(self):
        """Ends it as a service manager does."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def said(self):
        return self.output.read_text(errors='replace')

    def wait(self, condition, what, timeout=20):
        def holds():
            check(self.process.poll() is None, f'the server has ended: {self.said()[-2000:]}')
            return condition()
        return wait_for(holds, f'{what}; the server said: {self.said()[-500:]}', timeout)


# ------------------------------------------------------------------------------------------------ own mounts

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
    """What this test mounts from now on no other process of the machine sees."""
    _unshare(CLONE_NEWNS)
    _mount('none', '/', flags=MS_REC | MS_PRIVATE)


def own_host_name(name):
    """This test is on a host of this name."""
    _unshare(CLONE_NEWUTS)
    socket.sethostname(name)


def own_network():
    """All ports are free for this test."""
    _unshare(CLONE_NEWNET)
    set_flags, up = 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, set_flags, struct.pack('16sH14x', b'lo', up))


def cover(path, other):
    """Puts a file in the place of another (own_mounts comes first)."""
    _mount(other, path, flags=MS_BIND)


def hide_run():
    """Gives this test its own empty /run."""
    own_mounts()
    _mount('none', '/run', 'tmpfs')
    os.makedirs('/run/systemd/journal')
    os.makedirs('/run/log/journal')


def bind_dev_log(path):
    """Puts a socket in the place of /dev/log, for this test alone (hide_run comes first)."""
    shadow = pathlib.Path('/run/dev')
    shadow.mkdir()
    _mount('/dev', shadow, flags=MS_BIND | MS_REC)
    _mount('none', '/dev', 'tmpfs')
    for name in os.listdir(shadow):
        if name != 'log':
            os.symlink(shadow / name, f'/dev/{name}')
    os.symlink(path, '/dev/log')


class Journald(Server):
    """systemd-journald in this test's own /run (hide_run comes first)."""

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
        self.wait(lambda: os.path.exists('/run/systemd/journal/socket') and self._answers(), 'the journal to be there')

    def _answers(self):
        return subprocess.run(['journalctl', '--sync'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              check=False).returncode == 0

    @staticmethod
    def entries(*match):
        """What journalctl shows when the journal has read what was sent, oldest first; fields that occur more than once are
        lists."""
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
    """True if somebody receives datagrams there."""
    return f':{port:04X} ' in pathlib.Path('/proc/net/udp').read_text()


class Rsyslog(Server):
    """The distribution's rsyslog. `log` gets a JSON object a message."""

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
        super().__init__(t, [shutil.which('rsyslogd', path=path), '-n', '-f', configuration, '-i', self.dir / 'pid'])
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
            lines = path.read_bytes().splitlines() if path.exists() else []
            return lines if len(lines) >= n else None
        return [json.loads(line) for line in self.wait(all_there, f'{n} messages in {path}')]


class SyslogNg(Server):
    """syslog-ng, which can't be installed beside rsyslog: its packages are unpacked. `framed` is for RFC 5424 with octet
    counting, `plain` for lines."""

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
    """A server in JavaScript that prints its address as a line `listening ADDRESS` and then a JSON object a record."""

    def __init__(self, t, script, *arguments, modules):
        super().__init__(t, ['node', HERE / script, *map(str, arguments)], env={'NODE_PATH': str(modules)})
        self.wait(lambda: '\n' in self.said(), 'the server to listen')
        self.listening = self.said().splitlines()[0].split()[1]

    def so_far(self):
        """The records up to now, also of a server that has ended."""
        return [json.loads(line) for line in self.output.read_bytes().split(b'\n')[1:-1]]

    def records(self, n):
        """Waits for n records."""
        self.wait(lambda: self.output.read_bytes().count(b'\n') > n, f'{n} records')
        return self.so_far()


def fluent_server(t, **options):
    """A server of the forward protocol from npm's @fluent-org/logger."""
    return NodeServer(t, 'fluent-server.js', json.dumps(options), modules=packages.node_modules('@fluent-org/logger'))


def graygelf_server(t):
    """A GELF server from npm's graygelf."""
    return NodeServer(t, 'gelf-server.js', free_port(socket.SOCK_DGRAM), modules=packages.node_modules('graygelf'))


# ------------------------------------------------------------------------------------------------------ GELF

class GelfUdp:
    """Puts chunks together and unpacks, with Python's own zlib. `messages` are dicts."""

    def __init__(self, t):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind(('127.0.0.1', 0))
        self.socket.settimeout(0.05)
        t.stack.callback(self.socket.close)
        self.port = self.socket.getsockname()[1]
        self.messages, self.chunks = [], collections.defaultdict(dict)
        self.formats = collections.Counter()

    def _take(self, data):
        if data[:2] == b'\x1e\x0f':
            parts = self.chunks[data[2:10]]
            check(data[11] <= 128 and data[10] < data[11], f'head of a chunk {data[:12]!r}')
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


# ------------------------------------------------------------------------------------------- bad behaviour

class Peer:
    """A TCP or unix server that does with each connection what a function says; `data` is what all of them read. A
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
        bound = socket.socket(socket.AF_UNIX if local else socket.AF_INET, self.kind)
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
        """What came over each connection."""
        with self.lock:
            return [b''.join(parts) for parts in self.data]

    def close(self):
        """Refuses connections from now on and resets those that are there."""
        self.closed = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for connection in self.open:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
                # Ends a read in another thread, without which there is no close.
                connection.shutdown(socket.SHUT_RD)
            connection.close()
        for thread in self.threads:
            thread.join(5)


class DatagramPeer(Peer):
    """The same for datagrams; each socket in the server's place is one connection. When the function has closed it, it is
    followed by another one."""

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


class NameServer:
    """The only name server of this test: every name is 127.0.0.1, but nobody is told before `answer` is set."""

    def __init__(self, t):
        own_network()
        own_mounts()
        configuration = t.dir / 'resolv.conf'
        configuration.write_text('nameserver 127.0.0.1\noptions timeout:30\n')
        cover('/etc/resolv.conf', configuration)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(('127.0.0.1', 53))
        self.answer = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            query, sender = self.socket.recvfrom(512)
            self.answer.wait()
            question = query[12:query.index(b'\0', 12) + 5]
            found = question[-4:] == b'\0\1\0\1'
            head = query[:2] + struct.pack('>5H', 0x8180, 1, found, 0, 0)
            record = b'\xc0\x0c\0\1\0\1' + struct.pack('>IH4B', 60, 4, 127, 0, 0, 1)
            self.socket.sendto(head + question + record * found, sender)


# ------------------------------------------------------------------------------------------------- monitors

def launch(t, script, driver, *options, log='none', words=(), **kwargs):
    """A container with one more log driver; `options` are of --log-opt, `words` are further arguments. A slow server has all
    the time there is at the end, if they don't say otherwise."""
    for option in ('drain-timeout=12s', *options):
        words = (*words, '--log-opt', option)
    return t.create(script, '--log-driver', driver, *words, log=log, **kwargs)


def status(m, at_end=True):
    """The status of the sink that --log-driver added: the last one."""
    path = (m.persist if at_end else m.bundle) / 'log-status.json'
    return json.loads(path.read_text())['sinks'][-1]


def status_now(m):
    """Asks a running monitor for it."""
    path = m.bundle / 'log-status.json'
    path.unlink(missing_ok=True)
    m.control('3 0 0\n')
    wait_for(path.exists, 'the status file')
    return status(m, at_end=False)


def sockets(m):
    """How many sockets the monitor has."""
    return sum(target.startswith('socket:') for target in proc.descriptors(m.pid).values())


def check_sums(sink):
    """in = out + queued + everything dropped, in records and in bytes. Returns how many bytes were dropped."""
    for unit in ('records', 'bytes'):
        dropped = sum(cause[unit] for cause in sink['dropped'].values())
        equal(sink['in'][unit], sink['out'][unit] + sink['queued'][unit] + dropped, f'sum of {unit} of {sink}')
    return dropped


def finish(m, code=0, timeout=25):
    """Waits for the end; returns the sink's last status, whose sums are right."""
    m.finish(code, timeout)
    sink = status(m)
    check_sums(sink)
    equal(sink['queued'], {'records': 0, 'bytes': 0}, 'what is still queued')
    return sink
