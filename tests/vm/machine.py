# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""podman in the guest of run.py: with cgroup v2 and systemd, as root or as an ordinary user."""

import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / 'lib'), str(HERE.parent / 'interop/system')]
import harness  # noqa: E402
import oci  # noqa: E402
import podman  # noqa: E402
from harness import equal, proc, wait_for  # noqa: E402
from harness.check import scaled  # noqa: E402

ROOT = pathlib.Path('/var/lib/containers/busybox')
UNITS = pathlib.Path('/run/systemd/system')
USER = 1000
SLOW = 120  # seconds for a test: a system call takes a hundred times as long as on the host

# Mounts for containers that run the guest's programs.
PROGRAMS = [word for place in ('/usr', '/lib', '/lib64') for word in ('-v', f'{place}:{place}:ro')]


def sh(*argv, status=0, **options):
    """Runs a command and checks its status; returns its stdout as stripped text."""
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, **options)
    equal(done.returncode, status, f'status of {argv} ({done.stdout[-1500:]}{done.stderr[-1500:]})')
    return done.stdout.strip()


class Machine(podman.Podman):
    """A test can set `runtime`, `manager` (of cgroups) and `user` before it runs a command."""

    runtime, manager, user = 'crun', 'cgroupfs', 0

    def __init__(self, name, reference=False):
        super().__init__(name, reference)
        self.units = []
        self.environment |= {name: os.environ[name] for name in ('GOMAXPROCS', 'GOGC') if name in os.environ}
        if not ROOT.exists():
            oci.make_root(ROOT)
            (ROOT / 'usr').mkdir()
            (ROOT / 'lib').mkdir(exist_ok=True)
            (ROOT / 'lib64').mkdir(exist_ok=True)

    def argv(self, *args):
        return [*self._become(), 'podman', '--root', f'{self.dir}/root', '--runroot', f'{self.dir}/run', '--tmpdir',
                f'{self.dir}/tmp', '--storage-driver', 'vfs', '--conmon', self.conmon, '--runtime', self.runtime,
                '--cgroup-manager', self.manager, *map(str, args)]

    def __call__(self, *args, timeout=60, **options):
        return super().__call__(*args, timeout=scaled(timeout), **options)

    def _become(self):
        return ['setpriv', f'--reuid={self.user}', f'--regid={self.user}', '--clear-groups'] if self.user else []

    def as_user(self):
        """Runs podman as an ordinary user from now on. It adds files to the containers' root directory."""
        runtime_dir = pathlib.Path(f'/run/user/{USER}')
        runtime_dir.mkdir(parents=True, exist_ok=True)
        for path in (runtime_dir, ROOT, ROOT / 'etc', self.dir, *self.dir.rglob('*')):
            shutil.chown(path, USER, USER)
        runtime_dir.chmod(0o700)
        self.environment['XDG_RUNTIME_DIR'] = str(runtime_dir)
        self.user = USER

    def run(self, *options, script, status=0, **more):
        """Runs a shell script in a container to its end; returns its stdout."""
        return self.must('run', *options, '--rootfs', ROOT, 'sh', '-c', script, status=status, **more)

    def service(self, name, script, *options, section='', command=None):
        """Installs a systemd unit that runs a container of the same name in the foreground."""
        argv = command or self.argv('run', '--rm', '--name', name, *options, '--rootfs', ROOT, 'sh', '-c', script)
        words = ' '.join('"' + word.replace('\\', '\\\\').replace('"', '\\"').replace('$', '$$').replace('%', '%%') + '"'
                         for word in argv)
        environment = '\n'.join(f'Environment="{key}={value}"' for key, value in self.environment.items())
        self.unit(f'{name}.service', f'[Unit]\nDescription={name}\n[Service]\n{environment}\nExecStart={words}\n'
                                     f'TimeoutStartSec=60\nTimeoutStopSec=60\n{section}\n')

    def unit(self, name, text):
        UNITS.mkdir(parents=True, exist_ok=True)
        (UNITS / name).write_text(text)
        self.units.append(name)
        sh('systemctl', 'daemon-reload')

    def show(self, unit, field):
        return sh('systemctl', 'show', '--value', '-p', field, unit)

    def wait_unit(self, unit, state, timeout=60):
        wait_for(lambda: self.show(unit, 'ActiveState') == state, f'{unit} to be {state}, not {self.show(unit, "SubState")}',
                 timeout)

    def cgroup_of(self, pid):
        return pathlib.Path(f'/proc/{pid}/cgroup').read_text().strip().partition('::')[2]

    def describe(self):
        parts = [super().describe()]
        for unit in self.units:
            parts += [subprocess.run(['journalctl', '--no-pager', '-n', '30', '-u', unit], capture_output=True,
                                     text=True).stdout]
        return '\n'.join(parts)

    def close(self, strict):
        """Kills running containers without podman, which is slow; the guest is discarded anyway."""
        for pid in self.own_monitors():
            for child in proc.descendants(pid):
                proc.kill(child)
        for unit in self.units:
            subprocess.run(['systemctl', 'stop', unit], capture_output=True)
            subprocess.run(['systemctl', 'reset-failed', unit], capture_output=True)
            (UNITS / unit).unlink(missing_ok=True)
        try:
            if strict:
                self.no_monitors()
        finally:
            self._sweep()


def main():
    """Runs the tests of the calling file in the guest."""
    for name, function in vars(sys.modules['__main__']).items():
        if name.startswith('test_'):
            function.timeout = max(SLOW, getattr(function, 'timeout', 0))
    if pathlib.Path('/proc/1/comm').read_text() != 'systemd\n' or not os.path.exists('/sys/fs/cgroup/cgroup.controllers'):
        print('1..0 # SKIP runs only in the guest of tests/vm/run.py')
        return
    harness.main(case=Machine)
