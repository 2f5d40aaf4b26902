# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The environment of one test: a directory, monitors, and a check that they leave nothing behind."""

import contextlib
import functools
import json
import os
import pathlib
import re
import shutil
import signal
import stat
import tempfile
import time

from . import proc
from .check import check, scaled, skip, wait_for
from .monitor import Monitor

ROOT = pathlib.Path(__file__).resolve().parents[3]
CONMON = os.path.abspath(os.environ.get('CONMON', ROOT / 'build/src/conmon'))
RUNTIME = os.path.abspath(os.environ.get('CONMON_TEST_RUNTIME', ROOT / 'build/tests/lib/runtime/fake-runtime'))
CID = '0123456789abcdef' * 4
SHORT_CID = CID[:12]


# Byte strings that show that a program was built with, or runs under, one of these tools.
MARKS = {'sanitizer': b'__asan_init', 'valgrind': b'exec valgrind ', 'qemu': b'# qemu-user'}


@functools.cache
def _tools(program):
    data = pathlib.Path(program).read_bytes()
    return {tool for tool, mark in MARKS.items() if mark in data}


class Case:
    """`dir` is the test's own directory; `@/` in scripts and arguments means `dir/`. `reference` is set if
    the monitor under test is older than 3.0: the tests themselves are checked against such monitors."""

    def __init__(self, name, reference=False):
        self.name, self.reference = name, reference
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='conmon-test.'))
        self.tmp = self.dir / 'tmp'
        self.tmp.mkdir()
        self.program, self.runtime = CONMON, RUNTIME
        self.monitors, self.stack = [], contextlib.ExitStack()
        self.leftovers = ()  # names in tmp that the test expects to stay

    # Starting monitors

    def expand(self, text):
        return text.replace('@/', f'{self.dir}/')

    def environment(self, container=None, runtime=None, **extra):
        """A minimal environment, the same on every machine. None removes a variable."""
        table = {'PATH': '/usr/local/bin:/usr/bin:/bin', 'LANG': 'C.UTF-8', 'TMPDIR': str(self.tmp),
                 'HOME': str(self.dir), 'CONMON_TLS': os.environ.get('CONMON_TLS')}
        if container is not None:
            table['FAKE_CONTAINER'] = self.expand(container)
        if runtime is not None:
            table['FAKE_RUNTIME'] = self.expand(runtime)
        table.update(extra)
        return {key: value for key, value in table.items() if value is not None}

    def traced_environment(self, *args, **kwargs):
        """The same for a monitor under strace, where LeakSanitizer does not work."""
        return self.environment(*args, ASAN_OPTIONS='detect_leaks=0', **kwargs)

    def has_exit_info(self):
        """Whether the exit status of a process that another one has reaped is known: PIDFD_GET_INFO of Linux
        6.15, which valgrind does not support."""
        release = re.match(r'(\d+)\.(\d+)', os.uname().release).groups()
        return not self.runs_with('valgrind') and tuple(map(int, release)) >= (6, 15)

    def skip_with(self, **reasons):
        """Skips the test if the monitor was built with or runs under one of these tools: sanitizer, valgrind, qemu."""
        for tool, reason in reasons.items():
            if self.runs_with(tool):
                skip(f'{tool}: {reason}')

    def runs_with(self, tool):
        return tool in _tools(self.program)

    def monitor(self, name='1', cid=CID, bundle=None):
        """The files and directories for a monitor that is not started yet."""
        monitor = Monitor(self.dir / 'monitors' / name, cid, bundle)
        self.monitors.append(monitor)
        return monitor

    def arguments(self, m, mode='create', api=1, log=None, full_attach=True, cuuid=True, bundle=True,
                  exit_dir=True, persist=True, pidfile=True, conmon_pidfile=True, name='name', level='warning'):
        """podman's command line with the files and directories of `m`; each part can be left out."""
        argv = ['--api-version', '1'] if api else []
        argv += ['-c', m.cid] + (['-u', m.cid] if cuuid else []) + ['-r', self.runtime]
        argv += ['-b', str(m.bundle)] if bundle else []
        argv += ['-p', str(m.pidfile)] if pidfile else []
        argv += ['-n', name] if name else []
        argv += ['--exit-dir', str(m.exits)] if exit_dir else []
        argv += ['--persist-dir', str(m.persist)] if persist else []
        argv += ['--full-attach'] if full_attach else ['--socket-dir-path', str(m.sockets)]
        argv += ['-l', log or f'k8s-file:{m.log}', '--log-level', level]
        argv += ['--conmon-pidfile', str(m.conmon_pidfile)] if conmon_pidfile else []
        # The daemon, after fork(2), would not become the parent of orphans in qemu-user.
        argv += ['--sync'] if self.runs_with('qemu') else []
        if mode == 'exec':
            argv += ['-e', '--exec-process-spec', str(m.root / 'process.json')]
        return argv

    def launch(self, container='exit 0', *extra, runtime=None, mode='create', monitor=None, env=None,
               pipes=('sync', 'start'), kind='seqpacket', spawn=None, **options):
        """Starts a monitor as a caller does, without the rest of the handshake. `monitor`: the result of that method, if
        its files are prepared; `spawn`: further arguments of Monitor.spawn; `options`: of `arguments`."""
        m = monitor or self.monitor(str(len(self.monitors) + 1))
        argv = [self.program] + self.arguments(m, mode, **options) + [self.expand(str(arg)) for arg in extra]
        return m.spawn(argv, self.environment(container, runtime, **(env or {})), pipes, kind, **(spawn or {}))

    def create(self, *args, **kwargs):
        """Starts a container and waits for the message with its pid."""
        return self.launch(*args, **kwargs).go().created()

    def exec(self, container='exit 0', *extra, client=False, **kwargs):
        """Starts an exec session with attach as podman does, and waits for the message with its pid."""
        m = self.launch(container, '--exec-attach', *extra, mode='exec', pipes=('sync', 'start', 'attach'), **kwargs)
        m.go()
        check(m.attach_pipe.message() == {'data': 0}, 'the message on the attach pipe is not 0')
        m.client = m.attach() if client else None
        m.start.go()
        return m.created()

    def run(self, *argv, env=None, **spawn):
        """Runs the monitor with exactly these arguments and waits for it: (status, stdout, stderr)."""
        m = self.monitor(str(len(self.monitors) + 1))
        m.spawn([self.program, *map(str, argv)], self.environment(**(env or {})), **spawn)
        status = m.wait_launcher()
        m.pid = m.launcher
        out, err = m.stdout.read_text(), m.stderr.read_text()
        if self.reference:
            out, err = _as_later(out, err)
        return status, out, err

    def for_another_user(self, *programs):
        """Copies of the programs that any user can execute. Not with coverage: programs write their counters
        to the build directory, which another user can't write to."""
        if b'GCOV_PREFIX' in pathlib.Path(self.program).read_bytes():
            skip('coverage is recorded for one user only')
        self.dir.chmod(0o755)
        return [shutil.copy(program, self.dir / pathlib.Path(program).name) for program in programs]

    # Synchronizing with the container

    def touch(self, name):
        (self.dir / name).touch()

    def wait_file(self, name, timeout=10):
        return wait_for(lambda: (self.dir / name).exists(), f'{name} to appear', timeout)

    def dump(self, name):
        """The JSON object that `dump @/name` in a script wrote."""
        self.wait_file(name)
        return json.loads((self.dir / name).read_text())

    def end_orphans(self):
        """Kills what containers left behind on purpose, after their monitors have ended."""
        for pid in proc.descendants(os.getpid()):
            proc.kill(pid)

    # The end

    def close(self, strict):
        """Ends what still runs. With `strict`, fails if the monitor has left a process or file behind."""
        try:
            self.stack.close()
            for m in self.monitors:
                self._end(m, strict)
            if strict:
                self._check_processes()
                self._check_files()
        finally:
            self._kill_all()
            shutil.rmtree(self.dir, onerror=_make_writable)

    def _end(self, m, strict):
        m.close_pipes()
        if m.pid and m.container and m.pid not in m.statuses:
            proc.kill(m.container)
        if strict and m.pid:
            m.wait(5)

    def _check_processes(self):
        def remaining():
            self._reap()
            return proc.descendants(os.getpid())
        deadline = time.monotonic() + scaled(2)
        while remaining() and time.monotonic() < deadline:
            time.sleep(0.005)
        check(not remaining(), 'processes left behind: ' + self.processes())

    def _check_files(self):
        left = set(os.listdir(self.tmp)) - set(self.leftovers)
        check(not left, f'files left in TMPDIR: {sorted(left)}')
        for m in self.monitors:
            check(self.reference or not os.path.isdir(m.sockets) or not os.listdir(m.sockets),
                  f'left in the socket directory: {os.listdir(m.sockets) if m.sockets.is_dir() else None}')
            for directory in (m.exits, m.persist, m.root):
                names = os.listdir(directory) if directory.is_dir() else []
                odd = [name for name in names if name.startswith((f'{m.cid}.', 'exit.', 'conmon.pid.'))]
                check(not odd, f'temporary files left in {directory}: {odd}')

    def _reap(self):
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    def _kill_all(self):
        for _ in range(100):
            for pid in proc.descendants(os.getpid()):
                proc.kill(pid, signal.SIGKILL)
            self._reap()
            if not proc.descendants(os.getpid()):
                return
            time.sleep(0.01)

    def processes(self):
        lines = []
        for pid in proc.descendants(os.getpid()):
            state = 'zombie' if proc.zombie(pid) else 'running'
            lines.append(f'{pid} ({state}, parent {proc.parent(pid)}): {proc.command(pid)}')
        return '\n'.join(lines) or 'none'

    def describe(self):
        lines = [m.describe() for m in self.monitors[-2:]] + ['processes:', self.processes(), 'files:']
        files = sorted(self.dir.rglob('*'))
        for path in files[:100]:
            with contextlib.suppress(OSError):
                info = path.lstat()
                lines.append(f'  {stat.filemode(info.st_mode)} {info.st_size:8} {path.relative_to(self.dir)}')
        if len(files) > 100:
            lines.append(f'  and {len(files) - 100} more')
        return '\n'.join(lines)


def ignored(dump):
    """The mask of ignored signals, without the two that the C library reserves."""
    return int(dump['ignored'], 16) & ~(3 << 31)


def _as_later(out, err):
    """Release 2.1.8 moved parse errors to standard error, 2.2.0 added a colon to the prefix of messages."""
    if out.startswith('conmon: option parsing'):
        out, err = '', out + err
    return out, re.sub(r'^\[conmon:([ewid])\] ', r'[conmon:\1]: ', err, flags=re.M)


def _make_writable(function, path, _):
    """A test may have removed the permissions of one of its directories."""
    parent = os.path.dirname(path)
    if parent == tempfile.gettempdir():
        return
    with contextlib.suppress(OSError):
        os.chmod(parent, 0o700)
        function(path)
