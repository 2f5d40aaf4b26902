# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""podman with the tested monitor and runtime and a private storage: nothing else on the machine is touched.

    CONMON        the monitor under test
    OCI_RUNTIME   the runtime: runc (default) or crun
"""

import fcntl
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / 'lib'))

import harness  # noqa: E402
from harness import check, equal, proc, wait_for  # noqa: E402
from oci import OCI_RUNTIME, make_root, missing, remove_cgroups  # noqa: E402

IMAGE = 'localhost/busybox'
TIMEOUT = 300  # seconds for a test: podman is slow on a busy machine

template = None  # directory of a storage with the image, once it is created

# Without CAP_SYS_RESOURCE podman's default limits are refused.
CONFIGURATION = '''
[containers]
default_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]
log_driver = "k8s-file"
netns = "none"
[engine]
cgroup_manager = "cgroupfs"
conmon_path = ["{conmon}"]
events_logger = "file"
healthcheck_events = false
lock_type = "file"
runtime = "{runtime}"
'''


class Result:
    """The result of a command: `status`, and `out` and `err` as bytes."""

    def __init__(self, argv, status, out, err):
        self.argv, self.status, self.out, self.err = argv, status, out, err

    def __str__(self):
        return f'{" ".join(map(str, self.argv))}: status {self.status}, out {self.out[-2000:]!r}, err {self.err[-2000:]!r}'

    @property
    def text(self):
        return self.out.decode().strip()


class Terminal:
    """A program on a pty. `output` is its complete output."""

    def __init__(self, argv, environment, rows=24, columns=80):
        self.output, self.status = b'', None
        self.argv = argv
        self.master, slave = os.openpty()
        self.resize(rows, columns)
        self.process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=environment,
                                        start_new_session=True, preexec_fn=self._take_terminal)
        os.close(slave)
        os.set_blocking(self.master, False)

    @staticmethod
    def _take_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def resize(self, rows, columns):
        """Sets the size of the terminal; the kernel sends SIGWINCH."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def detach(self, keys='\x10\x11'):
        """Types the detach keys, ctrl-p ctrl-q, until podman exits; returns its status. podman recognizes
        them only if it reads each with a separate read, so this is repeated."""
        deadline = time.monotonic() + 20
        while not self._ended_within(0.5):
            check(time.monotonic() < deadline, f'podman does not detach; output {self.output[-500:]!r}')
            for key in keys:
                self.type(key)
                self._ended_within(0.05)
        return self.status

    def _ended_within(self, seconds):
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read()
            time.sleep(0.005)
        self.status = self.process.returncode
        return self.status is not None

    def _read(self):
        """Reads available output. Returns False at the end."""
        try:
            self.output += os.read(self.master, 65536)
        except BlockingIOError:
            pass
        except OSError:  # EIO: no process has the terminal open
            return False
        return True

    def until(self, pattern, timeout=20):
        """Waits for the pattern in the output after the previous match; returns the match."""
        start = getattr(self, 'seen', 0)

        def found():
            self._read()
            return re.compile(pattern.encode(), re.S).search(self.output, start)
        match = wait_for(found, f'{pattern!r} on the terminal; output {self.output[-500:]!r}', timeout)
        self.seen = match.end()
        return match

    def end(self, timeout=20):
        """Waits for the program to exit and returns its exit status."""
        wait_for(lambda: not self._read() or self.process.poll() is not None,
                 f'the end of {self.argv}; output {self.output[-500:]!r}', timeout)
        self.status = self.process.wait(timeout)
        while self._read():
            if not self._readable():
                break
        return self.status

    def _readable(self):
        before = len(self.output)
        return self._read() and len(self.output) > before

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


class Podman:
    """podman for one test. A call runs a command to its end: `p('run', IMAGE, 'true').status`."""

    monitors = ()

    def __init__(self, name, reference=False):
        self.name, self.reference = name, reference
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='conmon-system.'))
        self.conmon = harness.case.CONMON
        self.cgroup = f'/conmon-test-{os.getpid()}'
        self.trace, self.running, self.terminals = [], [], []
        configuration = self.dir / 'containers.conf'
        configuration.write_text(CONFIGURATION.format(conmon=self.conmon, runtime=OCI_RUNTIME))
        self.environment = {'PATH': os.environ['PATH'] + ':/usr/sbin:/sbin', 'HOME': str(self.dir),
                            'LANG': 'C.UTF-8', 'CONTAINERS_CONF': str(configuration),
                            'TMPDIR': str(self.dir)}
        if template:
            shutil.copytree(template, self.dir / 'root', symlinks=True)

    def make_template(self):
        """Creates a storage with the image that contains no absolute path and can be copied."""
        make_root(self.dir / 'image')
        subprocess.run(['tar', '-C', self.dir / 'image', '-cf', self.dir / 'image.tar', '.'], check=True)
        imported = self('import', '--quiet', self.dir / 'image.tar', IMAGE)
        equal((imported.status, imported.err), (0, b''), f'status and errors of {imported}')
        shutil.rmtree(self.dir / 'root' / 'libpod')
        (self.dir / 'root' / 'db.sql').unlink(missing_ok=True)  # podman 4.8 and later
        return self.dir / 'root'

    def argv(self, *args):
        argv = ['podman', '--root', f'{self.dir}/root', '--runroot', f'{self.dir}/run', '--tmpdir',
                f'{self.dir}/tmp', '--storage-driver', 'vfs', '--conmon', self.conmon]
        if args[0] in ('run', 'create'):
            args = (args[0], '--cgroup-parent', self.cgroup, *args[1:])
        return argv + [str(arg) for arg in args]

    # Running podman

    def __call__(self, *args, input=b'', timeout=60, **options):
        """Runs a command to its end. `input` is its stdin, bytes or a file; `options` are Popen's."""
        process = self.start(*args, stdin=subprocess.PIPE if isinstance(input, bytes) else input, **options)
        try:
            out, err = process.communicate(input if isinstance(input, bytes) else None, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            result = Result(args, 'none', out or b'', err or b'')
            self.trace.append(str(result))
            check(False, f'podman did not end within {timeout} s: {result}')
        result = Result(args, process.returncode, out or b'', err or b'')
        self.trace.append(str(result))
        return result

    def start(self, *args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options):
        """Starts a command in the background; returns a Popen with unbuffered pipes."""
        self._reap()
        process = subprocess.Popen(self.argv(*args), bufsize=0, stdin=stdin, stdout=stdout, stderr=stderr,
                                   env={**self.environment, **options.pop('env', {})}, **options)
        self.running.append(process)
        return process

    def terminal(self, *args, **size):
        """Starts a command on a terminal."""
        self._reap()
        terminal = Terminal(self.argv(*args), self.environment, **size)
        self.terminals.append(terminal)
        self.running.append(terminal.process)
        return terminal

    def must(self, *args, status=0, **options):
        """Runs a command and checks its status; returns its stdout as stripped text."""
        result = self(*args, **options)
        equal(result.status, status, f'status of {result}')
        return result.text

    def end(self, name, path):
        """Creates the file for which the container waits. The end that this causes may kill podman's session."""
        result = self('exec', name, 'touch', path)
        check(result.status in (0, 137), f'status of {result}')

    def shell(self, *args, script, status=0, **options):
        """`podman run ARGS IMAGE sh -c SCRIPT`; returns its stdout as stripped text."""
        return self.must('run', *args, IMAGE, 'sh', '-c', script, status=status, **options)

    # Information on containers

    def inspect(self, container, field):
        return self.must('container', 'inspect', '--format', '{{.%s}}' % field, container)

    def wait_status(self, container, status, timeout=20):
        wait_for(lambda: self.inspect(container, 'State.Status') == status, f'{container} to be {status}', timeout)

    def logs(self, container, *args):
        """The output of `podman logs` as (stdout, stderr)."""
        result = self('logs', *args, container)
        equal(result.status, 0, f'status of {result}')
        return result.out, result.err

    def wait_logs(self, container, wanted, timeout=20):
        wait_for(lambda: wanted in b''.join(self.logs(container)), f'{wanted!r} in the log', timeout)

    def log_path(self, container):
        return pathlib.Path(self.inspect(container, 'HostConfig.LogConfig.Path'))

    def bundle(self, container):
        return pathlib.Path(self.inspect(container, 'OCIConfigPath')).parent

    def conmon_pid(self, container):
        """The pid of a running container's monitor."""
        return int(self.inspect(container, 'State.ConmonPid'))

    def own_monitors(self):
        """The pids of all monitors of this test's containers."""
        found = []
        for name in os.listdir('/proc'):
            if name.isdigit() and proc.alive(name) and str(self.dir) in proc.command(name) \
                    and proc.command(name).startswith(self.conmon):
                found.append(int(name))
        return found

    def no_monitors(self):
        wait_for(lambda: not self.own_monitors(), 'the end of all monitors')

    def only_monitor(self, container):
        wait_for(lambda: self.own_monitors() == [self.conmon_pid(container)], 'the end of the other monitors')

    # The end

    def _reap(self):
        """Reaps monitors that have exited: the runner makes this process a subreaper."""
        known = {process.pid for process in self.running}
        for pid in proc.children(os.getpid()):
            if pid not in known and proc.zombie(pid):
                os.waitpid(pid, 0)

    def describe(self):
        return '\n'.join(self.trace[-12:] + [f'terminal: {t.output[-2000:]!r}' for t in self.terminals])

    def close(self, strict):
        """Removes all containers and files. With `strict`, checks that no monitor outlives its container."""
        for terminal in self.terminals:
            terminal.close()
        for process in self.running:
            if process.poll() is None:
                process.kill()
                process.wait()
        try:
            removed = self('rm', '--all', '--force', '--time', '0')
            if strict:
                equal(removed.status, 0, f'status of {removed}')
                self.no_monitors()
                equal(self._mounts(), [], 'mounts left behind')
        finally:
            self._sweep()

    def _mounts(self):
        with open('/proc/self/mounts') as file:
            paths = [line.split()[1] for line in file]
        return [path for path in reversed(paths) if path.startswith(str(self.dir))]

    def _sweep(self):
        for pid in self.own_monitors():
            for child in proc.descendants(pid):
                proc.kill(child)
            proc.kill(pid, signal.SIGKILL)
        self._reap()
        for path in self._mounts():
            subprocess.run(['umount', '-l', path], check=False)
        remove_cgroups(self.cgroup)
        shutil.rmtree(self.dir, ignore_errors=True)


def refusal(podman):
    """crun does not work on every machine, whatever the monitor."""
    if OCI_RUNTIME == 'crun' and b'cgroups in hybrid mode' in podman('run', '--rm', IMAGE, 'true').err:
        return 'crun refuses hybrid cgroups'
    return None


def main(case=Podman):
    """Runs the tests of the calling file. `case` is the class of their argument."""
    global template
    for name, function in vars(sys.modules['__main__']).items():
        if name.startswith('test_'):
            function.timeout = max(TIMEOUT, getattr(function, 'timeout', 0))
    reason = missing('podman')
    if not reason:
        first = case('template')
        try:
            made = first.make_template()
            reason = refusal(first)
            if not reason:
                template = made
                harness.main(case=case)
        finally:
            first.close(strict=False)
    if reason:
        print(f'1..0 # SKIP {reason}')
