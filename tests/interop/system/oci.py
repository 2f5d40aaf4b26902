# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Containers of an OCI runtime without podman: bundles, the runtime's commands, and clean-up.

    OCI_RUNTIME   the runtime: runc (default) or crun
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / 'lib'))

import harness  # noqa: E402
from harness import Case, equal, proc  # noqa: E402

OCI_RUNTIME = os.environ.get('OCI_RUNTIME', 'runc')
PATH = os.environ['PATH'] + ':/usr/sbin:/sbin'

root = None  # the root file system of all containers, once it is created


def missing(*programs):
    """Why containers can't run here, or None."""
    if os.geteuid() != 0:
        return 'these tests need root'
    for program in (*programs, 'busybox', OCI_RUNTIME, harness.case.CONMON):
        if not shutil.which(program, path=PATH):
            return f'{program} is not installed'
    return None


def make_root(root):
    """Creates a small root file system in a new directory: busybox, its applets, two users."""
    busybox = shutil.which('busybox', path=PATH)
    for name in ('bin', 'dev', 'etc', 'proc', 'sys', 'tmp'):
        (root / name).mkdir(parents=True)
    root.chmod(0o755)
    (root / 'tmp').chmod(0o1777)
    (root / 'etc/passwd').write_text('root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n')
    (root / 'etc/group').write_text('root:x:0:\nuser:x:1000:\n')
    applets = subprocess.run([busybox, '--list'], capture_output=True, text=True, check=True).stdout.split()
    for applet in set(applets) - {'busybox'}:
        (root / 'bin' / applet).symlink_to('busybox')
    shutil.copy(busybox, root / 'bin/busybox')
    libraries = subprocess.run(['ldd', busybox], capture_output=True, text=True, check=False).stdout
    for library in re.findall(r'(/\S+) \(0x', libraries):
        (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / library[1:])


def remove_cgroups(path):
    """Removes an empty cgroup and its descendants, in every hierarchy."""
    for top in ('/sys/fs/cgroup', *pathlib.Path('/sys/fs/cgroup').glob('*/')):
        for directory in sorted(pathlib.Path(f'{top}{path}').glob('**/'), reverse=True):
            _remove_cgroup(directory)


def _remove_cgroup(directory):
    """Retries for a moment, because processes may still be exiting."""
    deadline = time.monotonic() + 2
    while directory.is_dir() and time.monotonic() < deadline:
        try:
            directory.rmdir()
        except OSError:
            time.sleep(0.02)


class Oci(Case):
    """One test's containers. `container` prepares one, `create` (of Case) and `start` run it."""

    def __init__(self, name, reference=False):
        super().__init__(name, reference)
        self.runtime = shutil.which(OCI_RUNTIME, path=PATH)
        self.state = ['--root', str(self.dir / 'state')]
        self.cgroup = f'/conmon-test-{os.getpid()}'
        self.stack.callback(remove_cgroups, self.cgroup)

    def command(self, *args, status=0):
        """Runs the runtime; returns its stdout."""
        done = subprocess.run([self.runtime, *self.state, *args], capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL)
        equal(done.returncode, status, f'status of {args}, output {done.stdout + done.stderr!r}')
        return done.stdout

    def container(self, *argv, terminal=False):
        """Creates a bundle for the command; returns a prepared monitor."""
        number = len(self.monitors) + 1
        m = self.monitor(str(number), cid=f'conmon-test-{os.getpid()}-{number}')
        subprocess.run([self.runtime, 'spec'], cwd=m.bundle, check=True)
        spec = json.loads((m.bundle / 'config.json').read_text())
        spec['process'].update(args=argv, terminal=terminal)
        spec['process'].pop('rlimits', None)
        spec['root'] = {'path': str(root), 'readonly': True}
        spec['linux']['cgroupsPath'] = f'{self.cgroup}/{m.cid}'
        (m.bundle / 'config.json').write_text(json.dumps(spec))
        self.stack.callback(subprocess.run, [self.runtime, *self.state, 'delete', '--force', m.cid],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return m

    def reap(self):
        """Reaps processes of containers whose monitor has exited: a container can't end while its pid
        namespace has a zombie."""
        for pid in proc.children(os.getpid()):
            if proc.zombie(pid) and pid not in [m.pid for m in self.monitors]:
                os.waitpid(pid, 0)

    def runtime_options(self):
        return [word for argument in self.state for word in ('--runtime-arg', argument)]

    def created(self, m, *extra, **options):
        """Creates the container under a monitor and waits for the message with its pid."""
        return self.create(None, *self.runtime_options(), *extra, monitor=m, **options)

    def started(self, m, *extra, **options):
        self.created(m, *extra, **options)
        self.command('start', m.cid)
        return m

    def session(self, m, *argv, terminal=False):
        """A prepared monitor for an exec session in the container of `m`, with the process specification."""
        s = self.monitor(f'{m.root.name}-exec{len(self.monitors)}', cid=m.cid)
        process = {'terminal': terminal, 'user': {'uid': 0, 'gid': 0}, 'args': argv, 'cwd': '/',
                   'env': ['PATH=/bin', 'TERM=dumb']}
        (s.root / 'process.json').write_text(json.dumps(process))
        return s


def refusal():
    """Why the runtime does not work on this machine with any monitor, or None."""
    if OCI_RUNTIME != 'crun':
        return None
    case = Oci('refusal')
    try:
        m = case.launch(None, *case.runtime_options(), monitor=case.container('true')).go()
        return 'crun refuses hybrid cgroups' if 'hybrid' in m.sync.message().get('message', '') else None
    finally:
        case.close(strict=False)


def main():
    """Runs the tests of the calling file."""
    global root
    with tempfile.TemporaryDirectory(prefix='conmon-root.') as directory:
        reason = missing()
        if not reason:
            root = pathlib.Path(directory) / 'root'
            make_root(root)
            reason = refusal()
        if reason:
            print(f'1..0 # SKIP {reason}')
        else:
            harness.main(case=Oci)
