#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Boots virtual machines with systemd and cgroup v2, runs the test files of this directory in them, and prints
their TAP.

    run.py [NAME...] [--case PATTERN] [--keep]      NAME: test_NAME.py; default all

A machine is a user-mode Linux, a kernel that runs as a process with the host's file tree: it needs no
privileges and no image. Its system calls are slow, so these tests check behavior, not speed. It uses one
processor; with more there are two machines, each of which takes the next file when it is done with one."""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parent
sys.path.insert(0, str(TESTS / 'lib'))
from harness.check import TIMEOUT_FACTOR, scaled  # noqa: E402
from harness.tools import package_of  # noqa: E402

BUILD = TESTS.parent / 'build'
MODULES = pathlib.Path('/usr/lib/uml/modules')
XSTATE = pathlib.Path(os.environ.get('CONMON_VM_XSTATE', BUILD / 'tests/vm/xstate.so'))

# In the order of their dependencies.
NEEDED_MODULES = ('fs/overlayfs/overlay', 'fs/fuse/fuse', 'crypto/gf128mul', 'crypto/ghash-generic', 'crypto/ctr',
                  'crypto/gcm', 'lib/crypto/libchacha', 'crypto/chacha_generic', 'lib/crypto/libpoly1305',
                  'crypto/poly1305_generic', 'crypto/chacha20poly1305', 'net/tls/tls')

# Files that take long are taken first, so that both machines end at about the same time.
LONG = ('health', 'podman', 'runtime')

# The host's units that the guest's systemd can start.
UNITS = ('dbus.service', 'dbus.socket', 'systemd-journald.service', 'systemd-journald.socket',
         'systemd-journald-dev-log.socket', 'shutdown.target', 'final.target', 'umount.target', 'sockets.target',
         'systemd-poweroff.service', 'poweroff.target', 'machine.slice', 'user.slice')


def missing():
    """Why the machine can't be booted, or None."""
    for program in ('linux.uml', 'podman', 'crun', 'runc', 'busybox', 'switch_root', 'dbus-daemon'):
        if not shutil.which(program, path=os.environ['PATH'] + ':/usr/sbin:/sbin'):
            return f'{program} is missing{package_of(program)}'
    if not os.path.exists('/lib/systemd/systemd'):
        return 'systemd is missing'
    return None if list(MODULES.glob('*/kernel')) else f'no modules in {MODULES}'


def make_share(share, names, case):
    """Creates the directory that host and guests share."""
    share.chmod(0o755)  # accessible to the guest's ordinary users, too
    (share / 'out').mkdir()
    (share / 'taken').mkdir()
    shutil.copytree(HERE / 'guest', share / 'guest')
    shutil.move(share / 'guest/units', share / 'units')
    shutil.move(share / 'guest/users', share / 'users')
    for unit in UNITS:
        if os.path.exists(f'/lib/systemd/system/{unit}'):
            shutil.copy(f'/lib/systemd/system/{unit}', share / 'units')
    for part in ('lib', 'interop/receivers', 'interop/system', 'interop/tls', 'vm'):
        shutil.copytree(TESTS / part, share / 'tests' / part, ignore=shutil.ignore_patterns('__pycache__'))
    shutil.copy(TESTS / 'runtime-check', share / 'tests')
    shutil.copy(os.environ.get('CONMON', BUILD / 'src/conmon'), share / 'conmon')
    shutil.copy(os.environ.get('CONMON_TEST_RUNTIME', BUILD / 'tests/lib/runtime/fake-runtime'), share / 'fake-runtime')
    tls = pathlib.Path(os.environ.get('CONMON_TLS', BUILD / 'src/tls/conmon-tls'))
    if tls.exists():
        shutil.copy(tls, share / 'conmon-tls')
    (share / 'environment').write_text(f'export CONMON_TEST_TIMEOUT_FACTOR={TIMEOUT_FACTOR}\n')
    (share / 'modules').write_text(''.join(f'kernel/{module}.ko\n' for module in NEEDED_MODULES))
    (share / 'list').write_text(''.join(f'{name} {case}\n' for name in sorted(names, key=lambda name: name not in LONG)))


def start(share, number):
    """Starts a machine, with its console output in a file."""
    modules = max(MODULES.glob('*'))
    argv = ['linux.uml', 'mem=1500M', 'root=/dev/root', 'rootfstype=hostfs', 'rootflags=/', 'ro',
            f'init={share}/guest/init', f'vm.share={share}', f'vm.modules={modules}', 'con=null', 'con0=null,fd:1', 'quiet']
    preload = {'LD_PRELOAD': str(XSTATE)} if XSTATE.exists() else {}
    with open(share / f'console{number}', 'wb') as console:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
                                env={**os.environ, 'TMPDIR': '/dev/shm', **preload}, start_new_session=True)


def run(share, number, limit):
    """Runs machines to their ends. Returns False after a timeout."""
    deadline, in_time = time.monotonic() + limit, True
    for process in [start(share, index) for index in range(number)]:
        try:
            process.wait(max(0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            in_time = False
    return in_time


class Report:
    """Combines the TAP of all files."""

    def __init__(self):
        self.lines, self.cases, self.bad = [], 0, 0

    def case(self, text, good=True):
        self.cases += 1
        self.bad += not good
        self.lines.append(f'{"ok" if good else "not ok"} {self.cases} - {text}')

    def file(self, name, output, status):
        """Adds the output of a file; a file that did not complete is a failure."""
        plan, seen = re.search(r'^1\.\.(\d+)(?: # SKIP (.*))?$', output, re.M), 0
        for line in output.splitlines():
            found = re.match(r'(not )?ok \d+ - (.*)', line)
            if found:
                seen += 1
                self.case(f'{name}: {found[2]}', not found[1])
            elif not line.startswith('1..'):
                self.lines.append(line if line.startswith('#') else f'# {line}')
        if plan and plan[2]:
            self.case(f'{name}: all # SKIP {plan[2]}')
        elif not plan or int(plan[1]) != seen or status is None:
            self.case(f'{name}: {seen} cases ran, {plan[1] if plan else "none"} announced, status {status}', False)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument('names', nargs='*')
    parser.add_argument('--case', default='', help='only cases whose names match this shell pattern')
    parser.add_argument('--keep', action='store_true', help='keep the shared directory')
    return parser.parse_args()


def main():
    options = parse()
    names = options.names or sorted(path.stem[len('test_'):] for path in HERE.glob('test_*.py'))
    reason = missing()
    if reason:
        print(f'1..0 # SKIP {reason}')
        return
    share = pathlib.Path(tempfile.mkdtemp(prefix='conmon-vm.', dir='/var/tmp'))
    started, report = time.monotonic(), Report()
    try:
        make_share(share, names, options.case)
        in_time = run(share, min(2, len(names), len(os.sched_getaffinity(0))), scaled(480))
        for name in names:
            output, status = share / 'out' / name, share / 'out' / f'{name}.status'
            report.file(name, output.read_text(errors='replace') if output.exists() else '',
                        status.read_text().strip() if status.exists() else None)
        if report.bad or not in_time:
            for console in sorted(share.glob('console?')):
                lines = console.read_text(errors='replace').splitlines()
                report.lines += [f'# {console.name}: {line}' for line in lines[-60:]]
    finally:
        if options.keep:
            print(f'# kept {share}')
        else:
            shutil.rmtree(share)
    print('\n'.join([f'1..{report.cases}', *report.lines, f'# {time.monotonic() - started:.0f} s']))
    sys.exit(1 if report.bad else 0)


if __name__ == '__main__':
    main()
