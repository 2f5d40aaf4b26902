# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Scenarios: containers with one fault, and the checks for all of them.

After any fault one of two results is correct:

    the container was refused   the caller got a message and an error status, and no container ran
    the container ran           its exit code was recorded once, correctly and within a second of its
                                end; the monitor has exited with that status; lost output is counted

and nothing is left: no process, no file that should be removed, no descriptor. From the state RUNNING on only
the second result is allowed.
"""

import contextlib
import ctypes
import json
import os
import re
import select
import socket
import tempfile
import threading
import time

from harness import alive, check, content, descriptors, equal, Failure, Inotify, kill, parse, wait_for  # noqa: E402
from harness.case import Case, ROOT

# States of interpose.c in which the start may still fail.
EARLY = ('start', 'launched', 'launch', 'creating', 'runtime-child')

INTERPOSE = os.environ.get('CONMON_INTERPOSE', str(ROOT / 'build/tests/stress/faults/interpose.so'))

# The time limit for the exit code: one second is promised; a slow build needs more.
ON_TIME = float(os.environ.get('CONMON_FAULTS_SECONDS', '1'))

MARKER = re.compile(rb'conmon: (\d+) records? dropped: .*')


# mount(2)
READ_ONLY, RECURSIVE, PRIVATE, DETACH, NEW_NAMESPACE = 1, 16384, 1 << 18, 2, 0x20000

libc = ctypes.CDLL(None, use_errno=True)


def mount(source, target, kind, data, flags=0):
    encoded = [os.fsencode(text) if text else None for text in (source, target, kind)]
    if libc.mount(*encoded, ctypes.c_ulong(flags), os.fsencode(data) if data else None) < 0:
        raise OSError(ctypes.get_errno(), f'mount {target}')


def become_alone():
    """Moves this process to a private mount namespace."""
    if libc.unshare(NEW_NAMESPACE) < 0:
        raise OSError(ctypes.get_errno(), 'unshare')
    mount('none', '/', None, None, RECURSIVE | PRIVATE)


class Tally:
    """Counts, across the processes of the tests, how many cases ran and passed."""

    def __init__(self):
        self.file = tempfile.TemporaryFile()

    def count(self, what):
        os.write(self.file.fileno(), what)

    def ran(self):
        self.count(b'+')

    def held(self):
        self.count(b'=')

    def did_not_run(self):
        self.count(b'-')

    def report(self):
        self.file.seek(0)
        counted = self.file.read()
        print(f'# {counted.count(b"+") - counted.count(b"-")} cases of a state and a fault ran, {counted.count(b"=")} passed')


class Late(Failure):
    """The exit code was recorded too late. On a busy machine that may happen once, but not twice."""


def starved(pid):
    """Seconds during which the process was runnable, but not running (see the kernel's sched-stats.txt)."""
    with contextlib.suppress(OSError), open(f'/proc/{pid}/schedstat') as file:
        return int(file.read().split()[1]) / 1e9
    return 0


class Fault:
    """The fault: the N-th call of `function` on `object` in `state` fails as `how` says."""

    def __init__(self, state, function, object, number, how, name):
        self.state, self.function, self.object, self.number = state, function, object, number
        self.how, self.name = how, name

    def plan(self):
        return f'{self.state}|{self.function}|{self.object}|{self.number}|{self.how}'

    def is_about(self, *words):
        return any(word in (self.function, self.object) for word in words)


NONE = Fault('', '', '', 0, 0, '')


class FaultCase(Case):
    """A case that preloads interpose.c into its monitors."""

    late = False

    def environment(self, *args, **kwargs):
        table = super().environment(*args, **kwargs)
        if not hasattr(self, 'interpose'):
            return table
        preload = os.environ.get('CONMON_FAULTS_PRELOAD', '')
        table['LD_PRELOAD'] = f'{preload} {INTERPOSE}'.strip()
        table['G_DEBUG'] = 'fatal-criticals'
        table.update(self.interpose)
        table['ASAN_OPTIONS'] = 'verify_asan_link_order=0'
        return table

    def trace(self):
        self.interpose = {'FAULT_TRACE': f'{self.dir}/trace'}

    def inject(self, fault):
        """Sets the fault for monitors that are started from now on. Removes files of an earlier attempt."""
        for name in ('go', 'write', 'flood', 'more', 'again', 'exited'):
            (self.dir / name).unlink(missing_ok=True)
        self.interpose = {'FAULT': fault.plan(), 'FAULT_HIT': f'{self.dir}/hit'}

    def calls(self):
        return [tuple(line.split('|')) for path in sorted(self.dir.glob('trace*')) for line in path.read_text().splitlines()]

    def was_hit(self):
        return (self.dir / 'hit').exists()


class Life:
    """One container from its start to the clean-up. Subclasses define the scenario."""

    name = ''
    needs_root = False
    arguments = ()
    mode, pipes, terminal = 'create', ('sync', 'start'), False
    options = {}
    code = 7
    out, err = b'', b''  # the complete output of the container
    script, runtime = '', None
    foster = False  # another process is the parent of the container
    usual = 0  # descriptors of the monitor in a run without a fault, shortly before the container's end

    def __init__(self, t, fault=NONE):
        self.t, self.fault, self.refused, self.client = t, fault, None, None
        self.early = fault.state in EARLY
        # After a failure of PR_SET_CHILD_SUBREAPER (36) this process adopts the container, and does not reap it before the end.
        adopted = fault.state == 'launch' and fault.is_about('option 36')
        if adopted or (self.foster and not t.has_exit_info()):
            self.code = -1

    # The steps

    def run(self):
        m = self.m = self.t.monitor(str(len(self.t.monitors) + 1))
        self.prepare()
        self.launch()
        self.events = Inotify(m.exits)
        try:
            self.begin()
            if self.refused is None:
                self.live()
                self.end()
                self.check_record()
            else:
                self.check_refusal()
            self.check_rest()
        finally:
            self.events.close()
            if self.client:
                self.client.close()

    @staticmethod
    def wants(state, is_new):
        """Whether calls in this state are to fail; `is_new`: no earlier scenario makes the call."""
        return True

    def prepare(self):
        """Prepares files before the monitor starts."""

    def launch(self):
        self.t.launch(self.script, *self.all_arguments(), mode=self.mode, pipes=self.pipes, runtime=self.runtime,
                      monitor=self.m, **self.options)

    def all_arguments(self):
        exit_command = ['--exit-command', self.t.runtime]
        for arg in ('script', 'append @/exited .'):
            exit_command += ['--exit-command-arg', arg]
        return [*self.arguments, *exit_command]

    def begin(self):
        """Runs up to the answer to the caller: sets `refused` to the reason if there is no container."""
        m = self.m
        self.permit()
        status = m.wait_launcher(20)
        if status != 0 and self.fault.state != 'launched':
            self.refuse_early(status)
            return
        m.find()
        self.create()
        if self.mode == 'exec':
            self.meet_exec()
        data = m.sync.read(20)
        message = json.loads(data) if data else {}
        self.pid = message.get('data', 0)
        if self.pid > 0:
            m.container = self.pid
        elif data:
            check(message.get('message'), f'no reason was given: {message}')
            self.refused = message['message']
        else:
            self.continue_without_message()

    def create(self):
        """Called while the runtime works."""

    def continue_without_message(self):
        """The message to the caller was lost."""
        check(self.fault.is_about('write', 'send', 'poll'), 'the sync pipe ended without a message')
        wait_for(self.m.pidfile.exists, 'the pid file', 2)
        self.pid = self.m.container = int(self.m.pidfile.read_text())

    def refuse_early(self, status):
        equal(status, 1, 'status of the launcher')
        self.m.pid = self.m.launcher
        self.refused = self.m.stderr.read_text()
        check(self.refused.startswith('[conmon:e]: ') or self.fault.is_about('write', 'dup2'),
              f'no message on standard error but {self.refused!r}')

    def permit(self):
        """Sends the start byte to a launcher that may have exited already."""
        with contextlib.suppress(BrokenPipeError):
            self.m.start.go()

    def meet_exec(self):
        """Reads the attach message, which may be an error."""
        m = self.m
        data = m.attach_pipe.read(20)
        if data:
            equal(json.loads(data), {'data': 0}, 'attach message')
            self.attach()
        self.permit()

    def attach(self):
        """Connects a client, which the fault may prevent."""
        try:
            self.client = self.m.attach()
        except OSError:
            check(self.early or self.fault.is_about('accept4'), 'the attach socket does not exist')

    def control(self, text, fifo='ctl'):
        with contextlib.suppress(OSError):
            self.m.control(text, fifo)

    def live(self):
        """Called while the container runs."""

    def wait_log(self, text):
        """Waits for the log, which may be late or incomplete because of the fault."""
        with contextlib.suppress(Failure):
            self.m.wait_log(text, 1.5)

    def release(self):
        """Lets the container end."""
        self.t.touch('go')

    def end(self):
        m = self.m
        self.check_descriptors()
        self.release()
        wait_for(lambda: not alive(self.pid), 'the end of the container')
        gone, before = time.time(), starved(m.pid)
        wait_for(m.exit_file.exists, 'the exit file')
        # The kernel's timestamp: this process may notice the file late.
        took = m.exit_file.stat().st_ctime - gone - max(starved(m.pid) - before, 0)
        if took >= ON_TIME:
            raise Late(f'the exit code was recorded after {took:.2f} s')

    def check_descriptors(self):
        """Not more than in a run without a fault, plus one if a pipe replaces an eventfd."""
        def settled():
            first = self.count_descriptors()
            time.sleep(0.005)
            return first == self.count_descriptors() and (not self.usual or first <= self.usual + 1)
        wait_for(settled, f'at most {self.usual} descriptors (now {self.count_descriptors()})', 10)
        self.descriptors = self.count_descriptors()

    def count_descriptors(self):
        return len(descriptors(self.m.pid)) if alive(self.m.pid) else 0

    # Checks

    def check_record(self):
        m = self.m
        status = m.wait(20)
        text = m.exit_file.read_bytes()
        equal(text, str(self.code).encode(), 'exit file')
        equal(m.persist_exit.read_bytes(), text, 'persistent exit file')
        equal(status, self.code & 255, 'exit status of the monitor')
        self.events.read()
        equal(self.events.seen.count(('moved-to', m.cid)), 1, 'number of exit files written')
        if self.log_is_checked():
            self.check_log()

    def log_is_checked(self):
        return not self.terminal and 'log' not in self.options and self.fault.state != 'runtime-child'

    def check_log(self):
        """Every byte of the container is in the log or counted as lost."""
        m = self.m
        if self.fault.is_about('log-status.json'):
            return
        sink = self.status()['sinks'][0]
        lost = sum(count['bytes'] for count in sink['dropped'].values()) + sink['queued']['bytes']
        files = sorted(m.root.glob('ctr.log*'), reverse=True)
        records = [record for path in files for record in parse(path.read_bytes())]
        text = {stream: content([r for r in records if not MARKER.fullmatch(r.content)], stream)
                for stream in ('stdout', 'stderr')}
        received = sink['in']['bytes']
        written = len(self.out) + len(self.err)
        equal(received, written, 'bytes received by the log, as it counts them')
        equal(len(text['stdout']) + len(text['stderr']) + lost, written, f'bytes in the log and {lost} lost')
        if lost == 0:
            equal(text['stdout'], self.out, 'standard output in the log')
            equal(text['stderr'], self.err, 'standard error in the log')

    def status(self):
        return json.loads((self.m.persist / 'log-status.json').read_text())

    def check_refusal(self):
        m = self.m
        self.delete_container()
        check(self.early, f'refused in state {self.fault.state}: {self.refused}')
        equal(m.wait(20), 1, 'exit status of the monitor')
        check(not m.exit_file.exists() and not m.persist_exit.exists(), 'an exit file of a container that was not started')

    def delete_container(self):
        """Clean-up by the caller for a container that could not be created."""
        m = self.m
        with contextlib.suppress(FileNotFoundError, ValueError):
            kill(int(m.pidfile.read_text()))

    def check_rest(self):
        exited = self.t.dir / 'exited'
        runs = len(exited.read_bytes()) if exited.exists() else 0
        may_be_missing = self.refused is not None or self.fault.state == 'exit-child'
        check(runs == 1 or (runs == 0 and may_be_missing), f'the exit command ran {runs} times')
        allowed = {'ctl', 'winsz', 'notify', 'log-status.json', 'config.json'}
        left = [self.m.bundle / name for name in set(os.listdir(self.m.bundle)) - allowed]
        left += self.m.sockets.iterdir()
        for path in left:
            # Only files whose removal failed may be left.
            check(self.fault.is_about('unlink'), f'{path} was left behind')
            path.unlink()
        if self.client:
            self.client.to_end()


class Create(Life):
    """podman run -i -d, then attach, rename and reopen of the log, resize."""

    name = 'create'
    arguments = ('-i',)
    out = b'hello\nrest\n'
    err = b'error\n'
    script = 'print hello\\n\neprint error\\n\nfork discard 5\nwait @/go\nprint rest\\n\nexit 7'

    def live(self):
        m = self.m
        self.attach()
        self.wait_log(b'hello')
        with contextlib.suppress(OSError):
            self.client.send(b'12345')
        self.control('1 20 30\n')
        with contextlib.suppress(OSError):
            os.rename(m.log, f'{m.log}.1')
        self.control('2 0 0\n3 0 0\n')
        with contextlib.suppress(Failure):
            wait_for(lambda: m.log.exists() and (m.bundle / 'log-status.json').exists(), 'the new log', 1)


class Watched(Life):
    """A container whose output is logged and sent to a client."""

    name = 'watched'
    out = b'hello\n'
    script = 'wait @/write\nprint hello\\n\nwait @/go\nexit 7'

    def live(self):
        self.attach()
        self.t.touch('write')
        self.client.until(self.out)


class Replaced(Life):
    """A live upgrade, or its failure, after which the guard continues."""

    name = 'replaced'
    arguments = ('-i',)
    out = b'hello\nnot finished\n'
    script = 'print hello\\n\nprint not \nfork discard 5\nwait @/write\nprint finished\\n\nwait @/go\nexit 7'

    @staticmethod
    def wants(state, is_new):
        return state in ('check-child', 'checking', 'resumed') or (is_new and state in ('running', 'child'))

    def live(self):
        m, t = self.m, self.t
        self.attach()
        self.wait_log(b'not')
        self.control('4 0 0\n3 0 0\n')
        answer = None
        with contextlib.suppress(Failure):
            answer = wait_for(self.answer, 'the answer', 2)
        if answer:
            self.check_answer(answer)
        t.touch('write')
        self.wait_log(b'finished')

    def answer(self):
        """The status with the result of the upgrade. Another test, which lists monitors, may have asked for one before."""
        path = self.m.bundle / 'log-status.json'
        status = json.loads(path.read_text()) if path.exists() else {}
        return status if 'request' in status else None

    def check_answer(self, status):
        """The guard has another pid, and is not the parent of the container."""
        m, request = self.m, status['request']
        check(request['result'] == 'ok' or request['message'], f'no reason: {request}')
        if status['monitor']['pid'] == m.pid:
            return
        check(self.fault.state in ('resumed', 'child'), f'another monitor in state {self.fault.state}: {request}')
        m.pid = status['monitor']['pid']
        self.code = -1


class Terminal(Life):
    """podman run -it."""

    name = 'terminal'
    arguments = ('-i', '-t')
    terminal = True
    script = ('print hello\\n\nwinsize\n'
              'sh exec 3<&0; (read a <&3; echo got $a) & while [ ! -e @/go ]; do sleep 0.01; done; exit 7')

    def live(self):
        self.attach()
        self.wait_log(b'hello')
        self.control('1 20 30\n')
        with contextlib.suppress(OSError):
            self.client.send(b'word\n')
        self.wait_log(b'got word')


class Exec(Life):
    """podman exec -i with a client."""

    name = 'exec'
    arguments = ('--exec-attach', '-i')
    mode, pipes = 'exec', ('sync', 'start', 'attach')
    options = {'log': 'none'}
    script = 'print hello\\n\nfill 1 100000 80\nfork discard 5\nwait @/go\nexit 7'

    def live(self):
        with contextlib.suppress(Failure, OSError, AttributeError):
            self.client.until(b'hello', timeout=2)
            self.client.send(b'12345')

    def release(self):
        super().release()
        if self.client:
            self.client.to_end()


class Rotated(Life):
    """A container that writes more than the size limit, with rotation, and a slow client."""

    name = 'rotated'
    arguments = ('--log-rotate', '--log-max-files', '100', '--log-size-max', '20000')
    out = (b'x' * 99 + b'\n') * 1000
    script = 'fill 1 100000 100\nwait @/go\nexit 7'

    def live(self):
        def size():
            return sum(path.stat().st_size for path in self.m.root.glob('ctr.log*'))
        with contextlib.suppress(Failure, FileNotFoundError):
            wait_for(lambda: size() > len(self.out), 'all output in the logs', 1.5)


class Direct(Life):
    """CRI-O: --sync with the old API version, a symlink to the bundle, several logs."""

    name = 'sync'
    arguments = ('--sync', '-T', '100')
    options = {'full_attach': False}
    out = b'hello\n'
    script = 'print hello\\n\nwait @/go\nexit 7'

    def begin(self):
        m = self.m
        self.permit()
        data = m.sync.read(20)
        message = json.loads(data) if data else {}
        self.pid = message.get('data', 0)
        if self.pid > 0:
            m.container = self.pid
        elif data:
            check(message.get('message'), f'no reason was given: {message}')
            self.refused = message['message']
        elif self.fault.is_about('write', 'send', 'poll'):
            self.continue_without_message()
        else:
            self.refuse_early(m.wait_launcher(20))


class Flooding(Life):
    """A container that writes as fast as it can on both streams during the fault, and a client."""

    name = 'flooding'
    arguments = ('-i',)
    out = b'hello\n' + (b'x' * 99 + b'\n') * 4000 + b'over\n'
    err = (b'x' * 99 + b'\n') * 4000
    script = ('print hello\\n\nwait @/flood\n' + 'fill 1 40000 100\nfill 2 40000 100\n' * 10 +
              'print over\\n\nwait @/go\nexit 7')

    @staticmethod
    def wants(state, is_new):
        return state in ('creating', 'running', 'ended', 'recorded')

    def live(self):
        self.wait_log(b'hello')
        self.attach()
        self.control('1 20 30\n3 0 0\n')
        self.t.touch('flood')
        with contextlib.suppress(Failure, OSError, AttributeError):
            self.client.until(b'over', timeout=2)
        self.wait_log(b'over')


class Servers:
    """Servers that read everything."""

    def __init__(self, path):
        self.tcp = socket.create_server(('127.0.0.1', 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(('127.0.0.1', self.port))
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(path)
        self.taken = 0  # bytes
        self.ended, self.end = os.pipe()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        peers = [self.ended, self.tcp, self.udp, self.manager]
        while True:
            ready = select.select(peers, [], [])[0]
            if self.ended in ready:
                return
            for peer in ready:
                if peer is self.tcp:
                    peers.append(peer.accept()[0])
                elif not self.take(peer):
                    peers.remove(peer)
                    peer.close()

    def take(self, peer):
        with contextlib.suppress(ConnectionError):
            data = peer.recv(1 << 16)
            self.taken += len(data)
            return data

    def close(self):
        os.write(self.end, b'.')
        self.thread.join()


LOGGER = """#!/bin/sh
exec 5>&-
cat <&3 >/dev/null &
cat <&4 >/dev/null &
wait
"""


class Sinks(Life):
    """A sink of each driver in addition to the first log, and a service manager that gets notifications."""

    name = 'sinks'
    records = 601
    out = (b'x' * 99 + b'\n') * (records - 1)
    err = b'error\n'
    script = 'eprint error\\n\nfill 1 30000 100\nwait @/more\nfill 1 30000 100\nwait @/go\nexit 7'

    @staticmethod
    def wants(state, is_new):
        return is_new

    def run(self):
        address, logger = self.t.dir / 'manager', self.t.dir / 'logger'
        for path in (address, *self.t.dir.glob('json.log*')):
            path.unlink(missing_ok=True)
        logger.write_text(LOGGER)
        logger.chmod(0o755)
        self.servers = Servers(str(address))
        self.arguments = ['--sdnotify-socket', address, *self.sinks(logger, self.servers.port)]
        try:
            super().run()
        finally:
            self.servers.close()

    @staticmethod
    def sinks(logger, port):
        drivers = {f'binary://{logger}': (), 'json-file:@/json.log': ('max-size=8k', 'max-file=3', 'compress=true'),
                   'fluentd': (f'fluentd-address=tcp://localhost:{port}',),
                   'syslog': (f'syslog-address=udp://127.0.0.1:{port}',),
                   'gelf': (f'gelf-address=tcp://127.0.0.1:{port}',)}
        for driver, options in drivers.items():
            yield from ('--log-driver', driver)
            for option in options:
                yield from ('--log-opt', f'{driver.partition(":")[0]}.{option}')

    def prepare(self):
        (self.m.bundle / 'notify').mkdir()

    def live(self):
        self.delivered(self.records // 2)
        self.control('3 0 0\n')
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(str(self.m.bundle / 'notify/notify.sock'))
            sender.send(b'READY=1')
        self.t.touch('more')
        self.delivered(self.records)

        with contextlib.suppress(Failure):
            wait_for(lambda: list(self.t.dir.glob('json.log*.gz')), 'a compressed file',
                     1.5 if self.fault.state in ('', 'child') else 0.3)

    def delivered(self, n):
        """Waits until the servers have n records, unless the fault loses one."""
        with contextlib.suppress(Failure):
            wait_for(lambda: self.servers.taken >= n * 3 * 99, 'the records at each server', 1.5)

    def check_log(self):
        super().check_log()
        for sink in self.status()['sinks'] if not self.fault.is_about('log-status.json') else ():
            lost = sum(count['records'] for count in sink['dropped'].values())
            equal(sink['out']['records'] + sink['queued']['records'] + lost, sink['in']['records'],
                  f'sum of written, queued and dropped records of {sink}')


class Journal(Life):
    """A line that is too long for a datagram is passed to the journal as a file."""

    name = 'journal'
    needs_root = True
    arguments = ('--log-driver', 'journald', '--log-opt', 'journald.max-record=1m')
    out = b'x' * 299999 + b'\n'
    script = 'fill 1 299999\nprint \\n\nwait @/go\nexit 7'
    wants = staticmethod(Sinks.wants)

    def run(self):
        become_alone()
        mount('tmpfs', '/run', 'tmpfs', None)
        os.makedirs('/run/systemd/journal')
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
            journal.bind('/run/systemd/journal/socket')
            super().run()


class Hangup(Life):
    """A container that closes its terminal and opens it again later; the exit command is delayed."""

    name = 'hangup'
    arguments = ('-t', '--exit-delay', '1')
    terminal = True
    script = 'sh t=$(tty); exec 0<&- 1>&- 2>&-; while [ ! -e @/again ]; do sleep 0.01; done; echo hello >$t; ' \
             'while [ ! -e @/go ]; do sleep 0.01; done; exit 7'
    wants = staticmethod(Sinks.wants)

    def live(self):
        self.t.touch('again')
        self.wait_log(b'hello')


LIVES = (Create, Replaced, Terminal, Exec, Rotated, Direct, Flooding, Sinks, Journal, Hangup)
