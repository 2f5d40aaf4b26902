#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Incidents caused by callers, runtimes, clients, containers and disks, at each moment of a monitor's life.

Every case is a scenario (scenario.py) with one incident at one moment, and ends with the same checks: the
exit code is recorded once, correctly and in time, nothing is left, lost output is counted. Most cases are run
with an idle container and with one that writes as fast as it can on both streams.
"""

import contextlib
import os
import shutil
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../lib'))
from harness import (  # noqa: E402
    Attach, check, children, descriptors, equal, Failure, kill, main, status_field, wait_for)
from scenario import DETACH, NONE, READ_ONLY, FaultCase, Life, Tally, become_alone, libc, mount

STORM = 200  # signals
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE)
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

# Lines on both streams, as fast as possible.
ROUNDS = 20
FLOOD = 'fill 1 150000 100\nfill 2 150000 100\n' * ROUNDS
FLOODED = (b'x' * 99 + b'\n') * 1500 * ROUNDS

TESTS, TALLY = {}, Tally()


class Story(Life):
    """A scenario with an incident: `moment` is start, create, run, end (while the exit command runs) or delay
    (before the exit command). `busy` containers write continuously."""

    moment, busy, refusal = 'run', False, None
    clients = 0  # whose connections are open when the container ends
    first = ''  # first lines of the container's script
    before_end = 'wait @/go\n'
    arguments = ('-i',)
    runtime_script = 'container\npidfile'

    def __init__(self, t):
        super().__init__(t, NONE)
        self.script = self.first + (FLOOD if self.busy else 'print hello\\n\n') + self.before_end + 'exit 7'
        self.out, self.err = (FLOODED, FLOODED) if self.busy else (b'hello\n', b'')
        if self.moment == 'create':
            self.runtime = 'touch @/creating\nwait @/create\n' + self.runtime_script
        elif self.runtime_script != Story.runtime_script:
            self.runtime = self.runtime_script
        self.early = self.refusal is not None

    def incident(self):
        """The incident."""

    def all_arguments(self):
        lines = ['append @/exited .']
        if self.moment == 'end':
            lines += ['touch @/ending', 'wait @/finish']
        argv = [*self.arguments, '--exit-command', self.t.runtime]
        if self.moment == 'delay':
            argv += ['--exit-delay', '1']
        for arg in ('script', *lines):
            argv += ['--exit-command-arg', arg]
        return argv

    def happen(self, moment):
        if self.moment == moment:
            self.incident()

    def permit(self):
        self.happen('start')
        super().permit()

    def create(self):
        if self.moment == 'create':
            self.t.wait_file('creating')
            self.happen('create')
            if not self.refusal:  # else the incident ends the runtime, maybe late
                self.t.touch('create')

    def live(self):
        self.note_descriptors()
        self.happen('run')

    def note_descriptors(self):
        """Counts the monitor's descriptors before the incident; there must not be many more after it."""
        if self.moment == 'run':
            # The monitor reports the container's pid before it opens the pidfd.
            with contextlib.suppress(Failure):
                wait_for(lambda: any('pidfd' in target for target in descriptors(self.m.pid).values()), 'the pidfd', 2)
            # While the log of a busy container is reopened, a count may miss a descriptor.
            counts = []
            for _ in range(10):
                self.check_descriptors()
                counts.append(self.descriptors)
            self.usual = max(counts) + self.clients

    def end(self):
        super().end()
        if self.moment == 'end':
            self.t.wait_file('ending')
        self.happen('end')
        self.happen('delay')
        self.t.touch('finish')

    def check_refusal(self):
        check(self.refusal, f'refused: {self.refused}')
        super().check_refusal()


def case(name, *bases, **attributes):
    """One more test: a Story with these attributes."""
    story = type('Case', (*bases, Story), attributes)
    assert name not in TESTS, name

    def test(t):
        TALLY.ran()
        story(t).run()
        TALLY.held()
    test.timeout = 60
    if attributes.get('needs_root'):
        test.needs_root = True
    TESTS[name] = test


def both(name, *bases, **attributes):
    case(f'{name}, idle', *bases, **attributes)
    case(f'{name}, busy', *bases, **attributes, busy=True)


# ---- signals ----

def storm(*numbers):
    def incident(self):
        pid = self.m.pid or self.m.launcher
        for _ in range(STORM):
            for number in numbers:
                kill(pid, number)
        self.ignored = True
    return incident


class IgnoresSignals:
    """A container that ignores the signals that the monitor forwards."""

    first = ''.join(f'ignore {int(number)}\n' for number in FORWARDED) + 'touch @/ignoring\n'

    def live(self):
        self.t.wait_file('ignoring')
        super().live()


class Dies:
    """A container that the signal kills after it has written all output, and that never ends otherwise."""

    before_end = 'pause\n'

    def live(self):
        self.wait_log(b'hello')
        super().live()


class Waits:
    """The signals are sent before the start byte."""

    def permit(self):
        self.m.wait_log(b'')
        wait_for(lambda: status_field(self.m.launcher, 'State').startswith('S'), 'the launcher to wait for the start byte')
        super().permit()


def begin_and_die(self):
    """Before the start byte the monitor just exits."""
    self.incident()
    status = self.m.wait_launcher()
    check(status in (1, -self.number), f'status of the launcher: {status}')
    self.m.pid, self.refused = self.m.launcher, 'a signal'


def check_nothing(self):
    check(not self.m.exit_file.exists(), 'an exit file')
    check(not os.listdir(self.m.bundle), f'files in the bundle: {os.listdir(self.m.bundle)}')


for number in SIGNALS:
    name = number.name
    if number == signal.SIGPIPE:
        case(f'{name} before the start', Waits, moment='start', incident=storm(number))
    else:
        case(f'{name} before the start', number=number, begin=begin_and_die, incident=storm(number),
             check_refusal=check_nothing)
    if number in FORWARDED:
        for terminal in (False, True):
            case(f'{name} while the runtime works{", terminal" * terminal}', moment='create', refusal=True,
                 incident=storm(number), arguments=('-t',) if terminal else ('-i',))
        case(f'{name} ends the container', Dies, incident=storm(number), code=128 + number)
    else:
        for terminal in (False, True):
            case(f'{name} while the runtime works{", terminal" * terminal}', moment='create', incident=storm(number),
                 terminal=terminal, arguments=('-t',) if terminal else ('-i',),
                 runtime_script='console\ncontainer\npidfile')
    both(f'{name} while the container runs', IgnoresSignals, incident=storm(number))
    both(f'{name} while the exit command runs', moment='end', incident=storm(number))
    case(f'{name} before the exit command', moment='delay', incident=storm(number))
both('all signals while the container runs', IgnoresSignals, incident=storm(*SIGNALS))
both('all signals while the exit command runs', moment='end', incident=storm(*SIGNALS))


def stop_and_continue(self):
    kill(self.m.pid, signal.SIGSTOP)
    time.sleep(0.1)
    kill(self.m.pid, signal.SIGCONT)


for moment in ('create', 'run', 'end'):
    both(f'monitor stopped and continued, {moment}', moment=moment, incident=stop_and_continue)


# ---- the caller ----

def hang_up(*names):
    """Closes the caller's ends, as when it is killed."""
    def incident(self):
        for name in names:
            end = {'sync': self.m.sync, 'start': self.m.start, 'attach': self.m.attach_pipe}[name]
            end.close()
    return incident


class Abandoned:
    """A caller that does not wait for the message with the pid."""

    def begin(self):
        m = self.m
        self.happen('start')
        if m.start.fd >= 0:
            m.start.go()
        self.happen('after start')
        equal(m.wait_launcher(), 0, 'status of the launcher')
        m.find()
        self.happen('after launch')
        if self.mode == 'exec':
            self.hand_shake()
        self.create()
        wait_for(lambda: m.pidfile.exists() and m.pidfile.read_text(), 'the pid file')
        self.pid = m.container = int(m.pidfile.read_text())

    def hand_shake(self):
        if self.m.attach_pipe.fd >= 0:
            self.m.attach_pipe.read()
        self.happen('after attach')
        if self.m.start.fd >= 0:
            self.m.start.go()
        self.happen('after permission')


for kind in ('seqpacket', 'stream', 'pipe'):
    for moment in ('start', 'after start', 'after launch', 'create'):
        both(f'caller with a {kind} exits, {moment}', Abandoned, moment=moment, incident=hang_up('sync', 'start'),
             options={'kind': kind})
    for moment in ('start', 'after start', 'after launch', 'after attach', 'after permission', 'create'):
        both(f'caller of exec with a {kind} exits, {moment}', Abandoned, moment=moment, mode='exec',
             pipes=('sync', 'start', 'attach'), incident=hang_up('sync', 'start', 'attach'),
             options={'kind': kind, 'log': 'none'}, arguments=('-i', '--exec-attach'))
    both(f'caller with a {kind} exits after the message', incident=hang_up('sync', 'start'), options={'kind': kind})


class Killed:
    """The caller is a process that is killed after `steps`."""

    runtime_script = 'touch @/creating\nwait @/create\n' + Story.runtime_script

    def launch(self):
        reader, writer = os.pipe()
        caller = os.fork()
        if caller == 0:
            with contextlib.suppress(BaseException):
                super().launch()
                for step in self.steps:
                    step(self)
                os.write(writer, b'x')
                signal.pause()
            os._exit(1)
        os.close(writer)
        check(os.read(reader, 1), 'the caller failed')
        os.close(reader)
        kill(caller)
        os.waitpid(caller, 0)

    def begin(self):
        m = self.m
        wait_for(lambda: m.conmon_pidfile.exists() and m.conmon_pidfile.read_text(), 'the pid file of the monitor')
        m.find()
        self.t.wait_file('creating')
        self.t.touch('create')
        wait_for(lambda: m.pidfile.exists() and m.pidfile.read_text(), 'the pid file')
        self.pid = m.container = int(m.pidfile.read_text())


def launcher_ends(self):
    equal(self.m.wait_launcher(), 0, 'status of the launcher')


def start_byte(self):
    self.m.start.go()


def runtime_works(self):
    self.t.wait_file('creating')


def message(self):
    self.t.touch('create')
    self.m.created()


def attach_message(self):
    equal(self.m.attach_pipe.message(), {'data': 0}, 'attach message')


STEPS = {'create': (start_byte, launcher_ends, runtime_works, message),
         'exec': (start_byte, launcher_ends, attach_message, start_byte, runtime_works, message)}
for mode, steps in STEPS.items():
    for n in range(len(steps) + 1):
        options = {'mode': 'exec', 'pipes': ('sync', 'start', 'attach'), 'options': {'log': 'none'},
                   'arguments': ('-i', '--exec-attach')} if mode == 'exec' else {}
        after = f'{n} after {steps[n - 1].__name__.replace("_", " ")}' if n else 'at once'
        both(f'caller of {mode} killed, {after}', Killed, steps=steps[:n], **options)


# ---- the runtime ----

def runtime_pid(self):
    return [pid for pid in children(self.m.pid) if 'fake-runtime' in command_of(pid)][0]


def command_of(pid):
    with contextlib.suppress(OSError), open(f'/proc/{pid}/cmdline', 'rb') as file:
        return file.read().decode(errors='replace')
    return ''


def to_runtime(*numbers, pause=0.05):
    def incident(self):
        for number in numbers:
            kill(runtime_pid(self), number)
            time.sleep(pause)
    return incident


for terminal in ('', ', terminal'):
    options = {'arguments': ('-t',) if terminal else ('-i',), 'terminal': bool(terminal), 'moment': 'create',
               'runtime_script': 'console\ncontainer\npidfile'}
    case(f'runtime killed{terminal}', incident=to_runtime(signal.SIGKILL), refusal=True, **options)
    case(f'runtime stopped and continued{terminal}', incident=to_runtime(signal.SIGSTOP, signal.SIGCONT), **options)
    case(f'runtime stopped and killed{terminal}', incident=to_runtime(signal.SIGSTOP, signal.SIGKILL), refusal=True,
         **options)

case('runtime killed after the container was started', refusal=True, runtime_script='container\npidfile\ndie 9')
case('runtime killed after a long message', refusal=True, runtime_script='fill 2 1000000 100\ndie 9')
case('runtime ends with a status after the container was started', refusal=True,
     runtime_script='container\npidfile\nexit 3')
case('runtime that leaves no pid file', refusal=True, runtime_script='container\nexit 0')
case('runtime with an empty pid file', refusal=True, runtime_script='container\nrawpid')
case('runtime with a wrong pid file', refusal=True, runtime_script='container\nrawpid 12x')
both('runtime reaps the container', runtime_script='container reap\npidfile', code=-1, before_end='')
both('runtime gives the container another parent', runtime_script='container foster\npidfile', foster=True)
case('runtime keeps its pipes open in a daemon',
     runtime_script='container\npidfile\nfork sh while [ ! -e @/go ]; do sleep 0.01; done')
case('runtime sends two terminals', arguments=('-t',), terminal=True, runtime_script='console twice\ncontainer\npidfile')
case('runtime sends a file', code=98, arguments=('-t',), terminal=True, runtime_script='console file\ncontainer\npidfile')
case('runtime sends no terminal', arguments=('-t',), refusal=True, runtime_script='console nofd\ncontainer\npidfile')
case('runtime only connects', arguments=('-t',), refusal=True, runtime_script='console connect\ncontainer\npidfile')


# ---- clients ----

class WithClients:
    """Clients in separate processes, which can be killed."""

    def connect(self, work, n=1):
        """Starts n processes that do `work` with a connection, and returns when they have begun."""
        pids, (reader, writer) = [], os.pipe()
        for _ in range(n):
            pid = os.fork()
            if pid == 0:
                with contextlib.suppress(BaseException):
                    client = Attach(self.m.attach_path)
                    os.write(writer, b'x')
                    work(client)
                os._exit(0)
            pids.append(pid)
        os.close(writer)
        for _ in range(n):
            check(os.read(reader, 1), 'a client could not connect')
        os.close(reader)
        return pids

    def kill_all(self, pids):
        for pid in pids:
            kill(pid)
            os.waitpid(pid, 0)


def read_for_ever(client):
    while client.packet(60):
        client.data[2].clear()
        client.data[3].clear()


def write_for_ever(client):
    while True:
        client.socket.send(b'y' * 32768)


def both_for_ever(client):
    if os.fork() == 0:
        read_for_ever(client)
        os._exit(0)
    write_for_ever(client)


def nothing(client):
    time.sleep(60)


def killed(work, n, after):
    def incident(self):
        pids = self.connect(work, n)
        time.sleep(after)
        self.kill_all(pids)
    return incident


for work in (read_for_ever, write_for_ever, nothing):
    for n in (1, 20):
        for after in (0, 0.02):
            # Their input stays queued until the container reads it, and so do their connections.
            both(f'{n} clients that {work.__name__.replace("_", " ")} killed after {after} s', WithClients,
                 incident=killed(work, n, after), first='nonblock 0\n', clients=n if work is write_for_ever else 0)


def stopped(work, n):
    """Clients that are stopped until the container has ended."""
    def incident(self):
        self.pids = self.connect(work, n)
        for pid in self.pids:
            kill(pid, signal.SIGSTOP)
    return incident


class Stopped(WithClients):
    """The container writes before the clients connect; otherwise they would block it. They disconnect after
    the record."""

    first = 'print early\\n\n'

    def __init__(self, t):
        super().__init__(t)
        self.out = b'early\n' + self.out
        self.script = self.script.replace('early\\n\n', 'early\\n\nwait @/stopped\n')

    def live(self):
        self.wait_log(b'early')
        super().live()
        self.t.touch('stopped')

    def check_rest(self):
        self.kill_all(self.pids)
        super().check_rest()


for work in (read_for_ever, write_for_ever):
    for n in (1, 20):
        both(f'{n} clients that {work.__name__.replace("_", " ")} stopped', Stopped, incident=stopped(work, n), clients=n)


def first_client_stopped(self):
    """The first client may block the container for any time, but not the monitor."""
    self.pids = self.connect(nothing)


class HeldUp(WithClients):
    moment = 'create'

    def live(self):
        kill(self.m.pid, signal.SIGTERM)

    def log_is_checked(self):
        return False

    def check_rest(self):
        self.kill_all(self.pids)
        super().check_rest()


case('first client does not read, container ended by a signal', HeldUp, busy=True, code=143,
     incident=first_client_stopped)


class HalfTaken(WithClients):
    """The container has read part of a packet when its sender is killed; the rest is not lost."""

    first = 'discard 10000\ntouch @/half\nwait @/killed\ncat\n'

    def __init__(self, t):
        super().__init__(t)
        self.out = b'z' * 22768 + self.out

    def live(self):
        pids = self.connect(lambda client: (client.send(b'z' * 32768), client.poll(60)))
        self.t.wait_file('half')
        self.kill_all(pids)
        self.t.touch('killed')


both('client killed when half of its packet was read', HalfTaken)


def odd_packets(self):
    """Empty packets, the largest ones, immediate closing."""
    for size in (0, 1, 65536, 131072):
        client = Attach(self.m.attach_path)
        with contextlib.suppress(OSError):
            client.socket.send(b'z' * size)
        if size % 2:
            client.half_close()
        client.close()


both('odd packets', incident=odd_packets, first='nonblock 0\n')


def many_connections(n):
    def incident(self):
        for _ in range(n):
            with contextlib.suppress(BlockingIOError):
                Attach(self.m.attach_path).close()
    return incident


both('10000 connections', incident=many_connections(10000))


def connections_at_a_time(n):
    def incident(self):
        connections = []
        with contextlib.suppress(BlockingIOError):
            for _ in range(n):
                client = Attach(self.m.attach_path, connect=False)
                client.socket.setblocking(False)
                connections.append(client)
                for _ in range(200):
                    try:
                        client.connect()
                        break
                    except BlockingIOError:
                        time.sleep(0.005)
                else:
                    break
        for client in connections:
            client.close()
    return incident


both('1200 connections at a time', incident=connections_at_a_time(1200))


def sent_descriptors(self):
    """The monitor does not expect descriptors."""
    client = Attach(self.m.attach_path)
    for _ in range(20):
        with contextlib.suppress(OSError):
            socket.send_fds(client.socket, [b'x'], [0, 1, 2])
    client.close()


both('clients send descriptors', incident=sent_descriptors, first='nonblock 0\n')


# ---- control ----

def control(data, fifo='ctl'):
    def incident(self):
        for _ in range(50):
            with contextlib.suppress(BlockingIOError):
                self.m.control(data, fifo)
    return incident


for fifo in ('ctl', 'winsz'):
    for name, data in {'garbage': b'\xff\0\n' * 500, 'one long line': b'1' * 4000, 'a line without end': b'1 2',
                       'resizes': b'1 20 30\n' * 100, 'large numbers': b'1 99999999999999999999 1\n' * 10}.items():
        case(f'{name} on {fifo}', incident=control(data, fifo))
both('logs reopened continuously', incident=control(b'2 0 0\n'), log_is_checked=lambda self: False)
both('status requested continuously', incident=control(b'3 0 0\n'))


def remove_fifos(self):
    for name in ('ctl', 'winsz', 'attach'):
        os.unlink(self.m.bundle / name)


both('control files removed', incident=remove_fifos)


# ---- the container's descriptors ----

case('container closes its output', before_end='close 1\nclose 2\nwait @/go\n')
for fd in (1, 2):
    both(f'container opens {fd} again', first=f'reopen {fd}\n')
    both(f'container makes {fd} non-blocking', first=f'nonblock {fd}\n')
for fd in (0, 1, 2):
    case(f'container closes {fd}', before_end=f'close {fd}\nwait @/go\n')
both('container makes 0 non-blocking', first='nonblock 0\n')
both('container starts a daemon that keeps its output',
     first='fork sh trap "" HUP; while [ ! -e @/go ]; do sleep 0.01; done; sleep 0.2\n')
both('container starts a daemon in its own session that keeps its output',
     first='fork sh exec setsid sh -c "while [ ! -e @/go ]; do sleep 0.01; done; sleep 0.2"\n')


class Held:
    """A process that is not a child of the container has its output open."""

    def incident(self):
        self.held = [os.open(f'/proc/{self.pid}/fd/{number}', os.O_WRONLY) for number in (1, 2)]

    def check_rest(self):
        for fd in self.held:
            os.close(fd)
        super().check_rest()


both('container passes its output to an unrelated process', Held)


class Passed:
    """A daemon writes after the container's end: its output need not be logged."""

    def log_is_checked(self):
        return False


both('container starts a daemon that continues to write', Passed,
     first='fork sh while [ ! -e @/go ]; do echo daemon; sleep 0.001; done; for i in 1 2 3; do echo x; sleep 0.1; done\n')
case('container starts a daemon that never stops writing', Passed,
     first='fork sh trap "" PIPE; while echo daemon && [ ! -e @/end ]; do :; done\n')
for which in (0, 1, 2):
    case(f'container leaves {which} as it is and dies', code=137, before_end='wait @/go\ndie 9\n')


def flood_stdin(self):
    client = Attach(self.m.attach_path)
    client.socket.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        for _ in range(1000):
            client.socket.send(b'y' * 32768)
    self.client = client


class NeverReads:
    def check_rest(self):
        self.client.close()
        self.client = None
        super().check_rest()


case('container never reads its input', NeverReads, incident=flood_stdin, clients=1)


# ---- the directory of the log ----

class Counted:
    """Lost output is counted; the content of the files is not checked."""

    def check_log(self):
        sink = self.status()['sinks'][0]
        received = sink['in']['bytes']
        gone = sink['out']['bytes'] + sum(count['bytes'] for count in sink['dropped'].values()) + sink['queued']['bytes']
        equal(received, len(self.out) + len(self.err), 'bytes received by the log')
        equal(gone, received, 'bytes written, dropped or queued')


class OwnDirectory(Counted):
    """The log has its own directory."""

    def __init__(self, t):
        super().__init__(t)
        self.place = t.dir / 'logs'
        self.place.mkdir()
        self.options = {**self.options, 'log': f'k8s-file:{self.place}/ctr.log'}

    def log_is_checked(self):
        return True


def on_place(action):
    def incident(self):
        action(self)
        with contextlib.suppress(OSError):
            self.m.control('2 0 0\n')
    return incident


class Rotating:
    arguments = ('-i', '--log-rotate', '--log-max-files', '3', '--log-size-max', '20000')


class Limited:
    arguments = ('-i', '--log-size-max', '20000')


def remove(directory):
    """Retries, because the monitor may create files at the same time."""
    while directory.exists():
        shutil.rmtree(directory, ignore_errors=True)


def replace_log(self, make):
    """Retries, because the monitor may create a new file between the steps."""
    log = self.place / 'ctr.log'
    while True:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(log)
        with contextlib.suppress(FileExistsError):
            make(log)
            return


def gone(self):
    remove(self.place)


def gone_and_back(self):
    remove(self.place)
    self.place.mkdir()


def file_gone(self):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(self.place / 'ctr.log')


def directory_instead(self):
    replace_log(self, os.mkdir)


def link_instead(self):
    replace_log(self, lambda log: os.symlink('/nowhere/at/all', log))


def fifo_instead(self):
    replace_log(self, os.mkfifo)


def no_permission(self):
    os.chmod(self.place, 0)


for action in (gone, gone_and_back, file_gone, directory_instead, link_instead, fifo_instead, no_permission):
    name = f'log: {action.__name__.replace("_", " ")}'
    both(name, OwnDirectory, incident=on_place(action))
    both(f'{name}, with backups', OwnDirectory, Rotating, incident=on_place(action))
    case(f'{name}, with a limit', OwnDirectory, Limited, incident=on_place(action), busy=True)
    case(f'{name}, while the runtime works', OwnDirectory, moment='create', incident=on_place(action), busy=True)


class Fifo(Counted):
    """The log is a FIFO, whose reader the test defines."""

    def __init__(self, t):
        super().__init__(t)
        self.fifo = t.dir / 'fifo'
        os.mkfifo(self.fifo)
        self.options = {'log': f'k8s-file:{self.fifo}'}

    def log_is_checked(self):
        return True


both('log is a FIFO without a reader', Fifo)


def reader_goes(self):
    reader = os.open(self.fifo, os.O_RDONLY | os.O_NONBLOCK)
    time.sleep(0.02)
    os.close(reader)


both('log is a FIFO whose reader exits', Fifo, incident=reader_goes)
for path in ('/dev/full', '/dev/null'):
    both(f'log is {path}', Counted, options={'log': f'k8s-file:{path}'}, log_is_checked=lambda self: True)


class SmallDisk(OwnDirectory):
    """The directory of the log is a file system of 64 KiB in a private mount namespace."""

    def __init__(self, t):
        super().__init__(t)
        become_alone()
        mount('tmpfs', self.place, 'tmpfs', 'size=64k')


def fill_disk(self):
    with contextlib.suppress(OSError), open(self.place / 'other', 'wb') as file:
        file.write(b'x' * (1 << 17))


def fill_and_free_disk(self):
    fill_disk(self)
    time.sleep(0.05)
    os.unlink(self.place / 'other')


def read_only(self):
    """An open file remains writable on a read-only file system; new files are refused."""
    mount('tmpfs', self.place, 'tmpfs', 'size=64k', READ_ONLY)
    self.m.control('2 0 0\n')


def read_only_for_a_while(self):
    read_only(self)
    time.sleep(0.05)
    libc.umount2(os.fsencode(self.place), DETACH)


for name, incident in {'full': fill_disk, 'full for a while': fill_and_free_disk, 'read-only': read_only,
                       'read-only for a while': read_only_for_a_while}.items():
    both(f'disk {name}', SmallDisk, incident=incident, needs_root=True)
    both(f'disk {name}, with backups', SmallDisk, Rotating, incident=incident, needs_root=True)
    case(f'disk {name}, with a limit', SmallDisk, Limited, incident=incident, needs_root=True, busy=True)


# ---- the directories of the records ----

class OneRecord:
    """One of the two exit files can't be written."""

    def check_record(self):
        m = self.m
        equal(m.wait(20), 7, 'exit status of the monitor')
        equal((m.exit_file if self.kept == 'exits' else m.persist_exit).read_bytes(), b'7', 'exit file')


def without(directory):
    def incident(self):
        remove(getattr(self.m, directory))
    return incident


def wait_for_record(self):
    """Like Life.end, but waits for the remaining record."""
    self.release()
    wait_for((self.m.exit_file if self.kept == 'exits' else self.m.persist_exit).exists, 'the exit record', 3)


for kept, removed in (('exits', 'persist'), ('persist', 'exits')):
    case(f'directory {removed} removed', OneRecord, kept=kept, incident=without(removed), end=wait_for_record)


def bundle_gone(self):
    remove(self.m.bundle)


class NoBundle:
    def check_rest(self):
        check(not self.m.bundle.exists(), 'the bundle was created again')


both('bundle removed', NoBundle, incident=bundle_gone)


try:
    main(TESTS, FaultCase)
finally:
    TALLY.report()
