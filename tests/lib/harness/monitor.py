# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""One monitor process, its files and its pipes."""

import fcntl
import os
import pathlib
import select
import signal
import time

from . import proc
from .attach import Attach
from .check import check, equal, scaled, wait_for
from .logs import parse
from .pipes import Channel, StartPipe, pair

VARIABLES = {'sync': '_OCI_SYNCPIPE', 'start': '_OCI_STARTPIPE', 'attach': '_OCI_ATTACHPIPE'}


def _high(fd):
    """A copy with a number above those that the monitor gets."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100)


class Monitor:
    """The files and directories that a caller chooses, the pipes that it holds, and the process.

    `bundle`, `exits`, `persist`, `sockets` are directories, `log`, `pidfile`, `conmon_pidfile`,
    `exit_file`, `persist_exit` are files (pathlib). `launcher` is the process that was started, `pid`
    the monitor that runs on after it, `container` the pid that was reported. `sync`, `start`, `attach_pipe`
    are our ends of the pipes, or None.
    """

    def __init__(self, root, cid, bundle=None):
        self.root, self.cid = pathlib.Path(root), cid
        self.bundle = pathlib.Path(bundle or self.root / 'bundle')
        self.exits, self.persist, self.sockets = (self.root / name for name in ('exits', 'persist', 'sockets'))
        for directory in (self.bundle, self.exits, self.persist, self.sockets):
            directory.mkdir(parents=True, exist_ok=True)
        self.log = self.root / 'ctr.log'
        self.pidfile, self.conmon_pidfile = self.root / 'pidfile', self.root / 'conmon.pid'
        self.exit_file, self.persist_exit = self.exits / cid, self.persist / 'exit'
        self.stdout, self.stderr = self.root / 'monitor.out', self.root / 'monitor.err'
        self.argv, self.environment = [], {}
        self.launcher = self.pid = self.container = None
        self.statuses = {}
        self.sync = self.start = self.attach_pipe = None

    # Starting

    def spawn(self, argv, environment, pipes=None, kind='seqpacket', first_fd=3, fds=None, stdio=None,
              cwd=None, umask=0o022, mask=()):
        """Starts the process. `pipes` is a tuple of names in VARIABLES, given numbers from `first_fd` on;
        `fds` maps further numbers to descriptors, `stdio` 0 to 2 to descriptors (else /dev/null and files)."""
        table = {number: _high(fd) for number, fd in (fds or {}).items()}
        environment = dict(environment)
        for number, name in enumerate(pipes or (), first_fd):
            table[number] = self._pipe(name, kind)
            environment[VARIABLES[name]] = str(number)
        self.argv, self.environment = argv, environment
        given = {number: _high(fd) for number, fd in (stdio or {}).items()}
        actions = self._stdio(given)
        actions += [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in table.items()]
        before = os.getcwd(), os.umask(umask)
        os.chdir(cwd or self.bundle)
        try:
            self.launcher = os.posix_spawn(argv[0], argv, environment, file_actions=actions, setpgroup=0,
                                           setsigmask=mask, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])
        finally:
            os.chdir(before[0])
            os.umask(before[1])
            for fd in (*table.values(), *given.values()):
                os.close(fd)
        if '--sync' in argv:
            self.pid = self.launcher
        return self

    def _pipe(self, name, kind):
        if name == 'start' and kind == 'pipe':
            theirs, ours = os.pipe()
        else:
            ours, theirs = pair(kind)
        if name == 'start':
            self.start = StartPipe(ours)
        elif name == 'sync':
            self.sync = Channel(ours, 'sync')
        else:
            self.attach_pipe = Channel(ours, 'attach')
        far = _high(theirs)
        os.close(theirs)
        return far

    def _stdio(self, given):
        files = {0: '/dev/null', 1: str(self.stdout), 2: str(self.stderr)}
        out = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        flags = {0: os.O_RDONLY, 1: out, 2: out}
        return [(os.POSIX_SPAWN_DUP2, given[number], number) if number in given else
                (os.POSIX_SPAWN_OPEN, number, files[number], flags[number], 0o644) for number in files]

    def go(self):
        """Writes to the start pipe and waits until the launcher has returned success, as podman does."""
        if self.start:
            self.start.go()
        if self.pid is None:
            equal(self.wait_launcher(), 0, 'status of the launcher')
            self.find()
        return self

    def find(self):
        """Finds the pid of the monitor, which runs on after the launcher."""
        if self.conmon_pidfile.exists():
            self.pid = int(self.conmon_pidfile.read_text())
        elif self.pid is None:
            self.pid = wait_for(lambda: self._orphan(), 'the monitor to become an orphan')
        return self.pid

    def _orphan(self):
        for pid in proc.children(os.getpid()):
            if pid != self.launcher and proc.command(pid) in ('', ' '.join(self.argv).strip()):
                with open(f'/proc/{pid}/comm') as file:
                    if file.read().strip() == 'conmon':
                        return pid
        return None

    def created(self):
        """Reads the message that reports the container's pid."""
        message = self.sync.message()
        pid = message.get('data', message.get('pid'))
        check(pid is not None and pid > 0, f'no pid was reported: {message}')
        self.container = pid
        return self

    # The end

    def wait_launcher(self, timeout=10):
        return self._reap(self.launcher, timeout, 'the launcher')

    def wait(self, timeout=10):
        """The exit status of the monitor; negative if a signal ended it."""
        return self._reap(self.find(), timeout, 'the monitor')

    def _reap(self, pid, timeout, who):
        if pid not in self.statuses:
            descriptor = os.pidfd_open(pid)
            try:
                poller = select.poll()
                poller.register(descriptor, select.POLLIN)
                check(poller.poll(scaled(timeout) * 1000), f'{who} ({pid}) did not end within {scaled(timeout)} s')
            finally:
                os.close(descriptor)
            self.statuses[pid] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return self.statuses[pid]

    def ended(self):
        """Whether the monitor has exited."""
        return self.pid in self.statuses or not proc.alive(self.pid)

    def finish(self, code, timeout=10):
        """Waits for the end of the monitor and checks the exit code that it recorded."""
        equal(self.wait(timeout), code & 255, 'exit status of the monitor')
        equal(self.exit_code(), code, 'recorded exit code')
        return self

    def exit_code(self):
        text = self.exit_file.read_bytes()
        equal(text, text.strip(), 'exit file without a newline')
        if self.persist_exit.exists():
            equal(self.persist_exit.read_bytes(), text, 'persistent exit file')
        return int(text)

    # Around the container

    @property
    def attach_path(self):
        return self.bundle / 'attach'

    def attach(self):
        return Attach(self.attach_path)

    def control(self, text, fifo='ctl'):
        """Writes to the ctl or winsz FIFO as podman does."""
        fd = os.open(self.bundle / fifo, os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(fd, text if isinstance(text, bytes) else text.encode())
        finally:
            os.close(fd)

    def records(self):
        return parse(self.log.read_bytes())

    def wait_log(self, wanted, timeout=10):
        """Waits until the log file contains `wanted`."""
        wait_for(lambda: self.log.exists() and wanted in self.log.read_bytes(), f'{wanted!r} in the log', timeout)

    def stable_descriptors(self):
        """The descriptors of the monitor when they have stopped changing after the start."""
        seen = []

        def unchanged():
            seen.append(proc.descriptors(self.pid))
            time.sleep(0.03)
            return len(seen) > 2 and seen[-1] == seen[-2] == seen[-3]
        wait_for(unchanged, 'the descriptors of the monitor to stay the same')
        return seen[-1]

    def close_pipes(self):
        for end in (self.sync, self.start, self.attach_pipe):
            if end:
                end.close()

    def describe(self):
        """The state of the monitor, for the report of a failure."""
        lines = [f'monitor {self.pid}, launcher {self.launcher}, container {self.container}, '
                 f'ended {self.statuses}', '  argv: ' + ' '.join(map(repr, self.argv)),
                 '  environment: ' + ' '.join(f'{key}={value!r}' for key, value in self.environment.items())]
        for channel in (self.sync, self.attach_pipe):
            if channel:
                lines.append(f'  {channel.name} pipe: {channel.records}{", ended" if channel.ended else ""}')
        for path in (self.stdout, self.stderr, self.log, self.exit_file):
            if path.is_file():
                data = path.read_bytes()
                lines.append(f'  {path.name} ({len(data)} bytes): {data[:600]!r}'
                             + (f' ... {data[-600:]!r}' if len(data) > 600 else ''))
        return '\n'.join(lines)
