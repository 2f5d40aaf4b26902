#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Live upgrade: the state that is kept, refused upgrades, and failures."""

import datetime
import fcntl
import gzip
import http.server
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../../lib'))
sys.path.insert(0, os.path.join(HERE, '../soak'))
sys.path.insert(0, os.path.join(HERE, '../../integration'))
from harness import (  # noqa: E402
    CONMON, alive, check, content, descriptors, equal, kill, main, matches, needs_root, parse, slow, status_field, wait_for)
from harness.case import ROOT  # noqa: E402
from harness.check import scaled  # noqa: E402
from test_exec_exits import container, own_bytes, ran, session  # noqa: E402
from test_health import behave, calls, check_of, podman, wait_runs  # noqa: E402
from test_log_files import small_disk  # noqa: E402
from versions import Installed  # noqa: E402

PAUSES = int(os.environ.get('CONMON_UPGRADE_PAUSES', '40'))
GOLDEN = pathlib.Path(HERE) / 'golden'
F_ADD_SEALS, SEALS = 1033, 15  # fcntl(2)
CONMONCTL = pathlib.Path(CONMON).parent / 'conmonctl/conmonctl'
BROKEN = os.environ.get('CONMON_BROKEN', ROOT / 'build/tests/stress/upgrade/broken-upgrade')


class Upgraded:
    """A monitor whose program is a file in the test's directory."""

    def __init__(self, t):
        self.t = t
        self.installed = Installed(t.program, t.dir / 'conmon')
        t.program = str(self.installed.path)

    def create(self, *args, **kwargs):
        self.m = self.t.create(*args, **kwargs)
        return self.m

    def request(self, m=None):
        """Requests an upgrade. Returns the status that is written after the answer."""
        m = m or self.m
        path = m.bundle / 'log-status.json'
        path.unlink(missing_ok=True)
        m.control('4 0 0\n3 0 0\n')
        wait_for(path.exists, 'the answer of the upgrade', 20)
        return json.loads(path.read_text())

    def upgrade(self, m=None):
        """Upgrades to the other version; checks that it succeeds."""
        m = m or self.m
        self.installed.swap()
        status = self.request(m)
        equal((status['request']['result'], status['request'].get('message')), ('ok', None), 'the answer')
        equal(status['monitor'], {'version': self.installed.version, 'pid': m.pid}, 'the continuing process')
        return status

    def refused(self, m=None):
        """Checks that an upgrade is refused. Returns the reason."""
        status = self.request(m)
        equal(status['request']['result'], 'failed', 'the answer')
        return status['request']['message']


# State that is kept

def identity(m):
    """The attributes by which callers identify a monitor, and its rights."""
    proc = pathlib.Path(f'/proc/{m.pid}')
    fields = (proc / 'stat').read_text().rpartition(')')[2].split()
    names = ('Umask', 'NoNewPrivs', 'Seccomp', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'SigBlk', 'SigIgn')
    return {
        'name': (proc / 'comm').read_text(), 'command line': (proc / 'cmdline').read_bytes(),
        'parent, group, session': fields[1:4], 'started': fields[19], 'directory': os.readlink(proc / 'cwd'),
        'oom score': (proc / 'oom_score_adj').read_text(), 'owner of its files': os.stat(proc).st_uid,
        **{name: status_field(m.pid, name) for name in names}}


def kinds(pid):
    """The sorted targets of a monitor's descriptors, without the inode numbers of anonymous files."""
    return sorted(re.sub(r'\d+\]', ']', target) for target in descriptors(pid).values())


def test_identity_is_kept(t):
    """Name, start time, rights and descriptors, also after several upgrades."""
    u = Upgraded(t)
    m = u.create('print hello\\n\nwait @/go\nexit 3', '--exit-command', '/bin/true')
    m.wait_log(b'hello')
    before, files = identity(m), kinds(m.pid)
    for _ in range(5):
        u.upgrade()
        m.stable_descriptors()
        equal(identity(m), before, 'identity of the monitor')
        equal(kinds(m.pid), files, 'descriptors')
    t.touch('go')
    m.finish(3)


def test_lines_and_partial_lines(t):
    """A partial line is continued."""
    u = Upgraded(t)
    m = u.create('print one\\ntw\nwait @/a\nprint o\\nthree\nwait @/b\neprint err\nwait @/c\nexit 0')
    m.wait_log(b'tw')
    u.upgrade()
    t.touch('a')
    m.wait_log(b'three')
    u.upgrade()
    t.touch('b')
    m.wait_log(b'err')
    u.upgrade()
    t.touch('c')
    m.finish(0)
    equal(content(m.records(), 'stdout'), b'one\ntwo\nthree', 'standard output')
    equal(content(m.records(), 'stderr'), b'err', 'standard error')


def test_client_and_input(t):
    """A client stays connected, gets all output once, and its input arrives."""
    u = Upgraded(t)
    m = u.create('print hello\\n\ncat\nexit 4', '-i')
    client = m.attach()
    u.upgrade()
    for word in (b'one\n', b'two\n', b'three\n'):
        client.send(word)
        client.until(word)
        u.upgrade()
    client.half_close()
    client.to_end()
    m.finish(4)
    equal(content(m.records(), 'stdout'), b'hello\none\ntwo\nthree\n', 'the log')


def test_end_of_the_input_of_a_terminal(t):
    """The upgrade comes before the end of input is written."""
    for extra in ([], ['-i']):
        u = Upgraded(t)
        m = u.create('cat\nexit 4', '-t', *extra)
        client = m.attach()
        client.send(b'one\n')
        client.until(b'one\r\none\r\n')
        client.half_close()
        u.upgrade()
        client.to_end()
        m.finish(4)


def test_client_that_does_not_read(t):
    """Its queue is kept."""
    u = Upgraded(t)
    m = u.create('wait @/go\nfill 1 900000 100\ntouch @/written\nwait @/end\nexit 0')
    client = m.attach()
    t.touch('go')
    t.wait_file('written')
    u.upgrade()
    u.upgrade()
    t.touch('end')
    client.to_end()
    equal(len(client.data[2]), 900000, 'bytes received by the client')
    m.finish(0)


@slow(60)
def test_memory_after_slow_clients(t):
    """The memory of their queues is freed, as without an upgrade."""
    t.skip_with(sanitizer='it needs memory of its own', valgrind='it needs memory of its own')
    u = Upgraded(t)
    m = u.create('wait @/go\nfill 1 900000 100\ntouch @/written\nwait @/end\nexit 0')
    clients = [m.attach() for _ in range(20)]
    t.touch('go')
    t.wait_file('written')
    u.upgrade()
    check(own_bytes(m.pid) > 10_000_000, 'nothing is queued')
    for client in clients:
        while len(client.data[2]) < 900000:
            client.packet(10)
    wait_for(lambda: own_bytes(m.pid) < 2_000_000, 'the memory to be freed')
    t.touch('end')
    m.finish(0)


def test_client_that_connects_meanwhile(t):
    """It gets what the container writes after it has connected."""
    u = Upgraded(t)
    m = u.create('wait @/go\nprint first\\n\ntouch @/written\nwait @/end\nprint second\\n\nexit 0')
    install_broken(u, 'stop in check')
    m.control('4 0 0\n')
    wait_for(lambda: any(status_field(child, 'State')[0] == 'T' for child in children(m)), 'the check')
    client = m.attach()
    t.touch('go')
    t.wait_file('written')
    for child in children(m):
        kill(int(child), signal.SIGCONT)
    m.wait_log(b'first')
    t.touch('end')
    equal(client.to_end(), b'first\nsecond\n', 'output for the client')
    m.finish(0)


def test_terminal(t):
    u = Upgraded(t)
    m = u.create('winch', '-t', '-i', runtime='console\ncontainer\npidfile')
    u.upgrade()
    m.control('1 20 30\n')
    m.wait_log(b'20x30')
    u.upgrade()
    m.control('41 42\n', 'winsz')
    m.wait_log(b'41x42')
    kill(m.container)
    m.finish(137)


def test_exec_session(t):
    u = Upgraded(t)
    m = t.exec('print hello\\n\nwait @/go\nexit 5', client=True)
    m.client.until(b'hello\n')
    u.upgrade(m)
    t.touch('go')
    equal(m.sync.message()['data'], 5, 'message to the caller')
    m.client.to_end()
    m.finish(5)


def test_monitor_in_the_foreground(t):
    u = Upgraded(t)
    m = u.create('print hello\\n\nwait @/go\nexit 6', '--sync')
    m.wait_log(b'hello')
    u.upgrade()
    t.touch('go')
    m.finish(6)


def test_timeout(t):
    """The timeout is not restarted."""
    u = Upgraded(t)
    begin = time.monotonic()
    m = u.create('pause', '-T', '3')
    u.upgrade()
    m.finish(-1)
    check(2.5 < time.monotonic() - begin, 'the timeout expired too early')


def test_exit_command_and_signals(t):
    u = Upgraded(t)
    words = ('--exit-command', t.runtime, '--exit-command-arg', 'script', '--exit-command-arg', 'append @/ran .')
    m = u.create('pause', *words)
    u.upgrade()
    kill(m.pid, signal.SIGTERM)
    m.finish(143)
    equal((t.dir / 'ran').read_bytes(), b'.', 'runs of the exit command')
    status = json.loads((m.persist / 'log-status.json').read_text())
    equal((status['end']['signal'], status['end']['stop_signal']), (15, 15), 'how it ended')


@slow(60)
def test_exit_commands_of_sessions(t):
    """Waiting commands, a running one, and the socket for new ones are kept."""
    u, c = Upgraded(t), container(t)
    for delay in (4, 3600):
        session(t, c, delay, f'append @/ran {delay}\\n').finish(0, timeout=3)
    session(t, c, 1, 'touch @/runs', 'wait @/go').finish(0, timeout=3)
    t.wait_file('runs')
    u.upgrade(c)
    t.touch('go')
    session(t, c, 1, 'append @/ran 1\\n').finish(0, timeout=3)
    wait_for(lambda: ran(t) == ['1', '4'], 'two commands when they are due')
    wait_for(lambda: children(c) == [str(c.container)], 'the commands to be reaped')
    u.upgrade(c)
    kill(c.container)
    c.finish(137)
    equal(ran(t), ['1', '4', '3600', 'container'], 'commands')


@slow(60)
def test_health_checks(t):
    """Checks continue, one at a time."""
    u = Upgraded(t)
    m = u.create('pause', *podman(t, check_of(0.2, 30), 'sleep 0.5'))
    wait_runs(t, 1)
    for _ in range(4):
        wait_for(lambda: len(calls(t, 'run')) > len(calls(t, 'run', 'end')), 'a check')
        u.upgrade()
        number = len(calls(t, 'run', 'end'))
        wait_runs(t, number + 2)
    times = sorted([(at, 1) for at, _ in calls(t, 'run')] + [(at, -1) for at, _ in calls(t, 'run', 'end')])
    running = 0
    for _, step in times:
        running += step
        check(running <= 1, 'two checks at the same time')
    kill(m.container)
    m.finish(137)


def test_container_ends_meanwhile(t):
    """At any moment of the upgrade."""
    u = Upgraded(t)
    for ms in range(0, 12, 2):
        m = u.create(f'wait @/go{ms}\nsleep {ms}\nexit 9')
        u.installed.swap()
        t.touch(f'go{ms}')
        m.control('4 0 0\n')
        m.finish(9)


def test_counters_and_losses(t):
    """All counters are kept exactly."""
    u = Upgraded(t)
    m = u.create('fill 1 20000 100\nwait @/more\nfill 1 20000 100\nwait @/go\nexit 0', '--log-driver', 'syslog', '--log-opt',
                 'syslog.syslog-address=tcp://127.0.0.1:1', '--log-opt', 'syslog.max-buffer-size=1k',
                 '--log-opt', 'syslog.mode=non-blocking')

    def syslog(status):
        return next(sink for sink in status['sinks'] if sink['driver'] == 'syslog')
    wait_for(lambda: syslog(u.upgrade())['state'] == 'failing', 'the failure')
    t.touch('more')
    wait_for(lambda: syslog(u.upgrade())['in']['records'] == 400, 'all records')
    first = syslog(u.upgrade())
    second = syslog(u.upgrade())
    for key in ('in', 'out', 'dropped', 'queued', 'queue', 'markers'):
        equal(second[key], first[key], key)
    equal(first['dropped']['not-connected']['records'], 200, 'lost records')
    check(second['errors']['count'] >= first['errors']['count'] > 0, f'no error was counted: {first}')
    t.touch('go')
    m.finish(0)


@needs_root
def test_withdrawn_reopening(t):
    """There is no room for a new file; the old one gets its name back just before the upgrade, and stays."""
    u, disk = Upgraded(t), small_disk(t, '4m,nr_inodes=3')
    log, old, blocker = disk / 'ctr.log', disk / 'ctr.log.old', disk / 'one'
    m = u.create('print one\\n\nwait @/go\nprint two\\n\nwait @/more\nprint three\\n\nwait @/end', log=f'k8s-file:{log}')
    wait_for(lambda: log.read_bytes(), 'the first line')
    blocker.touch()
    log.rename(old)
    m.control('2 0 0\n')
    t.touch('go')
    wait_for(lambda: content(parse(old.read_bytes())) == b'one\ntwo\n', 'the second line in the old file')
    old.rename(log)
    blocker.unlink()
    u.upgrade()
    t.touch('more')
    wait_for(lambda: b'three' in log.read_bytes(), 'the third line')
    equal(content(parse(log.read_bytes())), b'one\ntwo\nthree\n', 'the log')
    log.rename(old)
    m.control('2 0 0\n')
    wait_for(log.exists, 'the new file')
    t.touch('end')
    m.finish(0)


@slow(60)
@needs_root
def test_address_without_an_answer(t):
    """The next address of a host is tried, also after an upgrade, and if that comes while there is no answer."""
    u = Upgraded(t)
    private_hosts(t, '127.0.0.2 logs\n127.0.0.3 logs\n')
    server = t.stack.enter_context(socket.create_server(('127.0.0.3', 0)))
    server.settimeout(scaled(12))  # the kernel waits for 15 seconds
    port = server.getsockname()[1]
    m = u.create('print one\\n\nwait @/go\nprint two\\n\nwait @/more\nprint three\\n\nwait @/end', '--log-driver',
                 'syslog', '--log-opt', f'syslog-address=tcp://logs:{port}')
    with server.accept()[0] as connection:
        check(b'one' in connection.recv(1000), 'the first line')
        u.upgrade()
        deaf = t.stack.enter_context(socket.create_server(('127.0.0.2', port), backlog=0))
        for _ in range(4):  # the kernel answers no more than it can queue
            client = t.stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(deaf.getsockname())
    t.touch('go')
    with server.accept()[0] as connection:
        check(b'two' in connection.recv(1000), 'the second line')
    before = unanswered(port)
    t.touch('more')
    wait_for(lambda: unanswered(port) > before, 'an attempt')
    u.upgrade()
    with server.accept()[0] as connection:
        check(b'three' in connection.recv(1000), 'the third line')
    t.touch('end')
    m.finish(0)


def unanswered(port):
    """The number of connections to 127.0.0.2 that are being made (SYN_SENT)."""
    lines = pathlib.Path('/proc/net/tcp').read_text().splitlines()
    return sum(line.split()[2:4] == [f'0200007F:{port:04X}', '02'] for line in lines)


def private_hosts(t, text):
    """Replaces /etc/hosts for this process and its children."""
    small_disk(t, '1m')  # in a mount namespace of its own
    (t.dir / 'hosts').write_text(text)
    subprocess.run(['mount', '--bind', t.dir / 'hosts', '/etc/hosts'], check=True)
    t.stack.callback(subprocess.run, ['umount', '/etc/hosts'], check=True)


class Collector:
    """A server that answers each request slowly."""

    def __init__(self, t):
        bodies = self.bodies = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_POST(self):
                body = self.rfile.read(int(self.headers['Content-Length']))
                bodies.append(gzip.decompress(body) if self.headers['Content-Encoding'] == 'gzip' else body)
                time.sleep(0.03)
                answer = b'{"text":"Success","code":0}'
                self.send_response(200)
                self.send_header('Content-Length', str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args):
                pass
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        thread.start()
        t.stack.callback(self.server.shutdown)

    @property
    def url(self):
        return f'http://127.0.0.1:{self.server.server_address[1]}'

    def numbers(self):
        return [int(number) for body in self.bodies for number in re.findall(rb'line (\d+)!', body)]


def test_requests_in_flight(t):
    """Unanswered requests are neither lost nor sent again."""
    u = Upgraded(t)
    servers = {driver: Collector(t) for driver in ('http', 'loki', 'otlp', 'splunk')}
    words = []
    for driver, server in servers.items():
        option = 'otlp-endpoint' if driver == 'otlp' else f'{driver}-url'
        words += ['--log-driver', driver, '--log-opt', f'{option}={server.url}', '--log-opt', f'{driver}.batch-wait=10ms']
    (t.dir / 'token').write_text('secret')
    words += ['--log-opt', f'splunk.splunk-token-file={t.dir}/token']
    lines = b''.join(b'line %06d!\n' % i for i in range(400))
    (t.dir / 'tape').write_bytes(lines)
    m = u.create(f'copy 1 @/tape 0 {len(lines)} 65 10\nwait @/go\nexit 0', *words)
    for _ in range(20):
        u.upgrade()
        time.sleep(0.017)
    for driver, server in servers.items():
        wait_for(lambda: len(server.numbers()) >= 400, f'all lines at {driver}; got {len(server.numbers())}')
    t.touch('go')
    m.finish(0)
    for driver, server in servers.items():
        equal(server.numbers(), list(range(400)), f'lines at {driver}')


def stamps(m):
    """The timestamps of all lines in the log, in seconds since the epoch."""
    for line in m.log.read_text().splitlines():
        when, _, _ = line.partition(' ')
        yield datetime.datetime.fromisoformat(when[:26] + when[29:]).timestamp()


@slow(100)
def test_pause_of_the_output(t):
    """Measures the longest pause of the output around each upgrade, with one line per millisecond. It is only
    printed, because it depends on the machine; but no line may be lost."""
    u = Upgraded(t)
    lines = b''.join(b'%07d\n' % i for i in range(PAUSES * 200))
    (t.dir / 'tape').write_bytes(lines)
    m = u.create(f'copy 1 @/tape 0 {len(lines)} 8 1\nwait @/go\nexit 0')
    moments = []
    while len(moments) < PAUSES:
        begin = time.time()
        u.upgrade()
        moments.append((begin, time.time()))
        time.sleep(0.02)
    wait_for(lambda: m.log.read_bytes().count(b'\n') == lines.count(b'\n'), 'all lines', 60)
    t.touch('go')
    m.finish(0)
    equal(content(m.records(), 'stdout'), lines, 'the log')
    times = list(stamps(m))
    gaps = [max((b - a for a, b in zip(times, times[1:]) if b > begin and a < end), default=0) for begin, end in moments]
    gaps.sort()
    print(f'{len(gaps)} upgrades, pause of the output: p50 {gaps[len(gaps) // 2] * 1000:.1f} ms, '
          f'p99 {gaps[len(gaps) * 99 // 100] * 1000:.1f} ms, longest {gaps[-1] * 1000:.1f} ms')


def test_path_of_the_program(t):
    """`..` after a symbolic link, as in the path of the program, is resolved by the kernel."""
    u = Upgraded(t)
    (t.dir / 'real/deep').mkdir(parents=True)
    (t.dir / 'links').mkdir()
    (t.dir / 'links/deep').symlink_to('../real/deep')
    (t.dir / 'real/conmon').symlink_to('../conmon')
    t.program = f'{t.dir}/links/deep/../conmon'
    m = u.create('wait @/go\nexit 1')
    u.upgrade()
    t.touch('go')
    m.finish(1)


# Refused upgrades

def test_program_that_is_not_trusted(t):
    u = Upgraded(t)
    m = u.create('wait @/go\nexit 1')
    path = u.installed.path
    path.chmod(0o757)
    matches(rf'the program {path} is not trusted: everybody may write to it \(.*, mode 0757\)', u.refused(), 'the reason')
    path.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(path, 12345, 0)
        matches('.* is not trusted: it belongs to another user .*', u.refused(), 'the reason')
        os.chown(path, 0, 0)
    path.unlink()
    matches(f'failed to open the program {path}: No such file or directory', u.refused(), 'the reason')
    path.mkdir()
    matches('.* is not trusted: it is not a regular file .*', u.refused(), 'the reason')
    path.rmdir()
    u.upgrade()
    t.touch('go')
    m.finish(1)


def children(m):
    return pathlib.Path(f'/proc/{m.pid}/task/{m.pid}/children').read_text().split()


def test_program_is_not_a_monitor(t):
    """Another file at the path, or a version without live upgrade."""
    u = Upgraded(t)
    m = u.create('print hello\\n\nwait @/go\nexit 1')
    m.wait_log(b'hello')
    before, path = identity(m), u.installed.path
    silent = '.* did not report that it can continue: .*'
    for text, mode, reason in (
            ('#!/bin/sh\necho "conmon: option parsing failed" >&2\nexit 1\n', 0o755, silent),
            ('#!/bin/sh\necho "it is too late"\n', 0o755, f'the program {path} can\'t continue: it is too late'),
            ('#!/bin/sh\nkill -9 $$\n', 0o755, silent),
            ('no program\n', 0o755, '.* can\'t check the state: failed to execute it: Exec format error'),
            ('#!/bin/sh\n', 0o644, '.* can\'t check the state: failed to execute it: Permission denied')):
        path.unlink()
        path.write_text(text)
        path.chmod(mode)
        matches(reason, u.refused(), 'the reason')
        equal(identity(m), before, 'identity of the monitor')
    wait_for(lambda: len(children(m)) == 1, 'the end of all children but the container')
    t.touch('go')
    m.finish(1)


def test_limits(t):
    """Without free descriptors, processes or address space the upgrade is refused, and it succeeds later."""
    u = Upgraded(t)
    m = u.create('print hello\\n\nwait @/go\nexit 1')
    m.wait_log(b'hello')
    # The kernel assigns the lowest free number; all numbers up to the limit are in use.
    for limit, most in ((resource.RLIMIT_NOFILE, max(descriptors(m.pid)) + 1), (resource.RLIMIT_FSIZE, 100)):
        usual = resource.prlimit(m.pid, limit)
        resource.prlimit(m.pid, limit, (most, usual[1]))
        m.control('4 0 0\n')
        time.sleep(0.1)
        resource.prlimit(m.pid, limit, usual)
        u.upgrade()
    t.touch('go')
    m.finish(1)
    equal(content(m.records(), 'stdout'), b'hello\n', 'standard output')


OLDER = """#!/usr/bin/python3
import fcntl, os, sys
data = bytearray(os.pread(3, 1 << 24, 0))
data[8] += 1
fd = os.memfd_create('state', os.MFD_ALLOW_SEALING)
os.write(fd, data)
fcntl.fcntl(fd, 1033, 15)
os.dup2(fd, 3)
os.execv(PROGRAM, sys.argv)
"""


def test_older_program(t):
    """It refuses a state of a newer version, with a message."""
    u = Upgraded(t)
    m = u.create('wait @/go\nexit 1')
    u.installed.path.unlink()
    u.installed.path.write_text(OLDER.replace('PROGRAM', repr(str(u.installed.files[1]))))
    u.installed.path.chmod(0o755)
    matches('.* can\'t continue: The state has version 2, but this program knows only up to version 1: .*',
            u.refused(), 'the reason')
    t.touch('go')
    m.finish(1)


# States of earlier versions

COPIER = """#!/usr/bin/python3
import os
with open(PATH, 'wb') as file:
    file.write(os.pread(3, 1 << 24, 0))
print('it is only copied')
"""


def states_to_keep(t):
    """Monitors whose states together have all kinds of items, by file name."""
    u = Upgraded(t)
    t.runtime = shutil.copy(t.runtime, t.dir / 'runtime')
    deaf = socket.create_server(('127.0.0.1', 0))
    t.stack.callback(deaf.close)
    port = deaf.getsockname()[1]
    logger = t.dir / 'logger'
    logger.write_text('#!/bin/sh\nexec 5>&-\nexec sleep 1000\n')
    logger.chmod(0o755)
    (t.dir / 'secrets').write_text('hello\nworld\n')
    words = ['--log-driver', 'json-file:@/json.log', '--log-opt', 'max-size=100k', '--log-opt', 'max-file=3', '--log-opt',
             'compress=yes', '--log-opt', 'redact-file=@/secrets', '--log-driver', 'syslog', '--log-opt',
             'syslog-address=tcp://127.0.0.1:1', '--log-opt', 'rate-limit-burst=100', '--log-opt', 'max-buffer-size=4k',
             '--log-driver', 'fluentd', '--log-opt', f'fluentd-address=tcp://127.0.0.1:{port}', '--log-opt',
             'fluentd-request-ack=yes', '--log-driver', 'gelf', '--log-opt', f'gelf-address=tcp://127.0.0.1:{port}',
             '--log-driver', f'binary://{logger}']
    m = u.create('wait @/go\nfill 1 30000 100\nprint not fin\ntouch @/full\npause', '-i', '--exit-command', '/bin/true', *words)
    client = m.attach()
    client.send(b'x' * 1000)
    t.touch('go')
    t.wait_file('full')
    terminal = t.create('winch', '-t', '-i', '-T', '1000', log='none', runtime='console\ncontainer\npidfile')
    yield 'pipes', u, m
    yield 'terminal', u, terminal
    for one in (m, terminal):
        kill(one.container)
        one.finish(137)


def test_states_of_released_versions(t):
    """Their states can be read. CONMON_MAKE_GOLDEN=1 recreates those of this version, which is forbidden
    after its release."""
    program = t.program
    if os.environ.get('CONMON_MAKE_GOLDEN'):
        GOLDEN.mkdir(exist_ok=True)
        for name, u, m in states_to_keep(t):
            u.installed.path.unlink(missing_ok=True)
            u.installed.path.write_text(COPIER.replace('PATH', repr(str(GOLDEN / f'1-{name}'))))
            u.installed.path.chmod(0o755)
            matches('.* it is only copied', u.refused(m), 'the reason')
    files = sorted(GOLDEN.iterdir())
    check(files, 'no states')
    for file in files:
        equal(check_state(program, file.read_bytes()), 'ok\n', file.name)
    whole = files[0].read_bytes()
    matches('The state is damaged\n', check_state(program, whole[:200] + b'!' + whole[201:]), 'the answer')


def test_counters_that_do_not_add_up(t):
    """The number of received records is one higher than the sum of delivered, queued and dropped ones."""
    whole = sorted(GOLDEN.iterdir())[0].read_bytes()
    at = whole.index(b'{\2inu\7records') + len(b'{\2inu\7records')
    count = struct.unpack('<Q', whole[at:at + 8])[0]
    changed = with_sum(whole[:at] + struct.pack('<Q', count + 1) + whole[at + 8:])
    matches('The counters of the log .* do not add up\n', check_state(t.program, changed), 'the answer')


def with_sum(data):
    """Recalculates the checksum of a changed state."""
    total = 0
    for at in range(40, len(data), 8):
        total = (total ^ int.from_bytes(data[at:at + 8], 'little')) * 0x9e3779b97f4a7c15 & 0xffffffffffffffff
        total ^= total >> 29
    return data[:32] + struct.pack('<Q', total) + data[40:]


def check_state(program, data):
    """Lets a program check a state as if it were that of this process."""
    started = pathlib.Path('/proc/self/stat').read_text().rpartition(')')[2].split()[19]
    fd = os.memfd_create('state', os.MFD_ALLOW_SEALING)
    os.write(fd, data[:12] + struct.pack('<IQ', os.getpid(), int(started)) + data[24:])
    fcntl.fcntl(fd, F_ADD_SEALS, SEALS)
    try:
        return subprocess.run([program, '--check-state', str(fd)], pass_fds=(fd,), capture_output=True, text=True).stdout
    finally:
        os.close(fd)


# Failures after the check

def install_broken(u, how):
    path = u.installed.path
    for suffix, text in (('-how', how), ('-real', str(u.installed.files[1]))):
        path.with_name(path.name + suffix).write_text(text)
    new = path.with_name(path.name + '.new')
    shutil.copy(BROKEN, new)
    os.rename(new, path)


def reaped(pid):
    """Reaps the container, which has no monitor as its parent any more."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return not alive(pid)


def continue_in_guard(t, how, reason):
    """The guard continues without losing output, and records the end."""
    u = Upgraded(t)
    words = ('--exit-command', t.runtime, '--exit-command-arg', 'script', '--exit-command-arg', 'append @/ran .')
    m = u.create('print hello\\n\neprint not fin\nwait @/a\neprint ished\\n\nprint more\\n\nwait @/b\nexit 7', *words)
    client = m.attach()
    m.wait_log(b'not fin')
    wait_for(lambda: kinds(m.pid).count('socket:[]') == 3, 'the client to be accepted')
    before = kinds(m.pid)
    install_broken(u, how)
    status = u.request()
    matches(f'the program {u.installed.path} {reason}; a copy of the old one continues as process [0-9]+',
            status['request']['message'], 'the reason')
    old, m.pid = m.pid, status['monitor']['pid']
    check(m.pid != old, 'the process id is that of the program that ended')
    wait_for(lambda: reaped(old), 'the end of the old process')
    equal(m.conmon_pidfile.read_text(), str(m.pid), 'pid file')
    m.stable_descriptors()
    equal(kinds(m.pid), before, 'descriptors of the guard')
    t.touch('a')
    client.until(b'more\n')
    # then an upgrade to a working program
    os.unlink(u.installed.path)
    os.link(u.installed.files[1], u.installed.path)
    u.installed.current = 0
    u.upgrade()
    t.touch('b')
    wait_for(lambda: reaped(m.container), 'the end of the container')
    m.finish(7 if t.has_exit_info() else -1)
    equal((t.dir / 'ran').read_bytes(), b'.', 'runs of the exit command')
    equal(content(m.records(), 'stdout'), b'hello\nmore\n', 'standard output')
    equal(content(m.records(), 'stderr'), b'not finished\n', 'standard error')


def test_health_check_of_a_guard(t):
    """Checks continue, although the guard cannot know when the one that was running ends."""
    u = Upgraded(t)
    m = u.create('pause', *podman(t, check_of(0.2, 30), 'while [ ! -e @/go ]; do sleep 0.05; done'))
    wait_for(lambda: calls(t, 'run'), 'a check')
    install_broken(u, 'exit')
    behave(t, 'return 0')
    old, m.pid = m.pid, u.request()['monitor']['pid']
    wait_runs(t, 2)
    t.touch('go')
    wait_for(lambda: reaped(old), 'the end of the old process')
    kill(m.container)
    wait_for(lambda: reaped(m.container), 'the end of the container')
    m.finish(137 if t.has_exit_info() else -1)


@slow(60)
def test_exit_commands_of_a_guard(t):
    """The guard does not wait for the commands that were running: those of later sessions run before the container's,
    as always."""
    u, c = Upgraded(t), container(t)
    for _ in range(4):
        session(t, c, 1, 'append @/running .', 'wait @/go').finish(0, timeout=3)
    session(t, c, 3600, 'append @/ran late\\n', 'touch @/late').finish(0, timeout=3)
    wait_for(lambda: (t.dir / 'running').exists() and len((t.dir / 'running').read_bytes()) == 4, 'four commands')
    install_broken(u, 'exit')
    old, c.pid = c.pid, u.request(c)['monitor']['pid']
    check(c.pid != old, 'there is no guard')
    wait_for(lambda: reaped(old), 'the end of the old process')
    t.program = str(u.installed.files[0])
    session(t, c, 1, 'touch @/own', 'wait @/late').finish(0, timeout=3)
    t.wait_file('own')
    kill(c.container)
    wait_for(lambda: reaped(c.container), 'the end of the container')
    c.finish(137 if t.has_exit_info() else -1)
    equal(ran(t), ['late', 'container'], 'commands')
    t.touch('go')


def test_conmonctl_waits_for_the_guard(t):
    """It reports who continues, also if the new program hangs."""
    u = Upgraded(t)
    cid = os.urandom(32).hex()
    m = u.create('pause', monitor=t.monitor('1', cid))
    install_broken(u, 'hang')
    done = subprocess.run([CONMONCTL, 'upgrade', cid], capture_output=True, text=True)
    said = re.search(r' a copy of the old one continues as process (\d+)$', done.stderr)
    check(said, f'said: {done.stderr}')
    old, m.pid = m.pid, int(said[1])
    wait_for(lambda: reaped(old), 'the end of the old process')
    kill(m.container)
    wait_for(lambda: reaped(m.container), 'the end of the container')
    m.finish(137 if t.has_exit_info() else -1)


def test_program_that_hangs(t):
    continue_in_guard(t, 'hang', 'exited before it had taken over')


def test_program_that_hangs_in_the_check(t):
    u = Upgraded(t)
    m = u.create('wait @/go\nexit 2')
    install_broken(u, 'hang in check')
    matches('.* did not report that it can continue: .*', u.refused(), 'the reason')
    t.touch('go')
    m.finish(2)


def test_program_that_exits(t):
    continue_in_guard(t, 'exit', 'exited before it had taken over')


def test_program_that_crashes(t):
    continue_in_guard(t, 'crash', 'exited before it had taken over')


def test_program_that_is_killed(t):
    continue_in_guard(t, 'kill', 'exited before it had taken over')


def test_program_that_closes_everything(t):
    continue_in_guard(t, 'close all', 'exited before it had taken over')


def test_guard_that_is_killed(t):
    """If the guard is killed during the upgrade, the new program continues."""
    u = Upgraded(t)
    m = u.create('print hello\\n\nwait @/go\nprint more\\n\nexit 5')
    m.wait_log(b'hello')
    install_broken(u, 'kill the guard')
    status = u.request()
    equal((status['request']['result'], status['monitor']['pid']), ('ok', m.pid), 'answer, and the pid of the monitor')
    t.touch('go')
    m.finish(5)
    equal(content(m.records(), 'stdout'), b'hello\nmore\n', 'standard output')


if __name__ == '__main__':
    main()
