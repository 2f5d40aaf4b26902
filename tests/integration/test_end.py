#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The end of a container: what the record does not wait for, and what the caller can rely on once it is reported."""

import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import check, differs, equal, Inotify, main, needs_root, skip, tool, wait_for  # noqa: E402
from harness.case import RUNTIME
from harness.check import scaled
from test_journald import PRIVATE_RUN

PLUGIN = pathlib.Path(RUNTIME).parent / '../../unit/seccomp-plugin-1.so'

# A server that does not exist: the monitor retries until drain-timeout expires.
UNREACHABLE = ('--log-driver', 'gelf', '--log-opt', 'gelf.gelf-address=tcp://127.0.0.1:1', '--log-opt',
               'gelf.drain-timeout=2s')


def with_strace(t, m, calls, delay, argv, environment, path=None):
    """Starts a monitor in which strace delays these calls, or those for one path."""
    tool('strace')
    only = ['-P', str(path)] if path else []
    m.spawn(['/usr/bin/strace', '-f', '-qq', '-o', '/dev/null', *only, '-e', f'trace={calls}', '-e',
             f'inject={calls}:delay_enter={delay}', t.program, *argv, '--sync'], environment, ('sync', 'start'))
    m.start.go()


@differs('the reference removes what the caller has created')
def test_names_are_free_once_a_failure_is_reported(t):
    """The caller retries in the same bundle at once. Here unlink takes 0.1 s."""
    m = t.monitor()
    argv = t.arguments(m, full_attach=False, conmon_pidfile=False)
    with_strace(t, m, 'unlink,unlinkat', '100ms', argv, t.traced_environment(runtime='eprint no\nexit 1'))
    link = m.sockets / m.cid
    check(m.sync.message()['data'] < 0, 'the container was created')
    check(not os.path.lexists(link) and not os.path.lexists(m.attach_path), 'the old names still exist')
    m.attach_path.write_text('mine')
    link.symlink_to('mine')
    m.wait()
    equal(m.attach_path.read_text(), 'mine', 'the new attach')
    equal(os.readlink(link), 'mine', 'the new link')
    link.unlink()


@differs('the reference has no log drivers')
def test_bundle_is_free_once_the_exit_file_exists(t):
    """The caller replaces the bundle while the monitor still waits for a log server."""
    m = t.monitor()
    exits = Inotify(m.exits)
    t.create('print hello\\n\nexit 3', *UNREACHABLE, persist=False, monitor=m)
    exits.until('moved-to', m.cid)
    shutil.rmtree(m.bundle)
    m.bundle.mkdir()
    (m.bundle / 'log-status.json').write_text('mine')
    check(not m.ended(), 'the monitor has not waited for the log server')
    m.finish(3)
    equal(os.listdir(m.bundle), ['log-status.json'], 'files in the new bundle')
    equal((m.bundle / 'log-status.json').read_text(), 'mine', 'the new status')
    exits.close()


@differs('the reference has no log drivers')
def test_requests_after_the_end(t):
    """None is served while the monitor still waits for a log server: the names may belong to another container."""
    m = t.create('print hello\\n\nwait @/go\nexit 3', *UNREACHABLE, '--exit-command', '/bin/true')
    ctl = os.open(m.bundle / 'ctl', os.O_RDWR)
    m.wait_log(b'hello')
    exits = Inotify(m.exits)
    t.touch('go')
    exits.until('moved-to', m.cid)
    # Another test's conmonctl may have asked for the status before.
    log, files = m.log.stat().st_ino, os.listdir(m.bundle)
    os.write(ctl, b'2 0 0\n3 0 0\n5 0 0\n6 0 0\n')
    check(not m.ended(), 'the monitor has not waited for the log server')
    m.finish(3)
    equal(m.log.stat().st_ino, log, 'the log file')
    equal(os.listdir(m.bundle), files, 'files in the bundle')
    for sink in json.loads((m.persist / 'log-status.json').read_text())['sinks']:
        equal(sink['queued']['records'], 0, f'what is queued in the end: {sink}')
    exits.close()
    os.close(ctl)


@differs('the reference has no log drivers')
def test_seccomp_socket_is_gone_before_the_exit_file(t):
    if not PLUGIN.exists():
        skip('built without seccomp')
    m = t.monitor()
    path = m.root / 'seccomp.sock'
    t.create('print hello\\n\nwait @/go\nexit 3', *UNREACHABLE, '--seccomp-notify-socket', path,
             '--seccomp-notify-plugins', PLUGIN, monitor=m, env={'TEST_PLUGIN_LOG': str(t.dir / 'plugin')})
    check(path.is_socket(), 'there is no socket')
    exits = Inotify(m.exits)
    t.touch('go')
    exits.until('moved-to', m.cid)
    check(not path.exists(), 'the socket exists beside the exit file')
    m.finish(3)
    exits.close()


@differs('the reference waits forever')
def test_full_sync_pipe(t):
    """The pipe is in blocking mode and has no reader."""
    m = t.launch('exit 3', kind='pipe')
    fd = os.open(f'/proc/self/fd/{m.sync.fd}', os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, bytes(4096))
    os.close(fd)
    begin = time.monotonic()
    m.go()
    wait_for(m.exit_file.exists, 'the exit file', 8)
    check(time.monotonic() - begin < scaled(6), f'the exit file came after {time.monotonic() - begin:.1f} s')
    m.finish(3)


class SlowJournal:
    """Reads a datagram every 40 ms."""

    def __init__(self, t):
        self.path = str(t.dir / 'journal.sock')
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.taken = 0
        self.over = threading.Event()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while not self.over.wait(0.04):
            with contextlib.suppress(BlockingIOError):
                self.socket.recv(1 << 16, socket.MSG_DONTWAIT)
                self.taken += 1


@needs_root
@differs('the reference waits forever')
def test_slow_journal(t):
    """Progress does not extend the time limit of a slow journal."""
    journal = SlowJournal(t)
    m = t.monitor()
    script = 'fill 1 40000 100\ntouch @/written\nwait @/go\nexit 3'
    argv = t.arguments(m, log='journald', conmon_pidfile=False)
    m.spawn(['/usr/bin/unshare', '-m', '/bin/sh', '-c', PRIVATE_RUN, 'sh', journal.path, t.program, *argv, '--sync'],
            t.environment(script), ('sync', 'start'))
    m.start.go()
    t.wait_file('written')
    begin = time.monotonic()
    t.touch('go')
    wait_for(m.exit_file.exists, 'the exit file', 40)
    took = time.monotonic() - begin
    check(took < scaled(3), f'the exit file came after {took:.1f} s')
    check(journal.taken < 300, 'the journal was not slow')
    m.wait(40)
    journal.over.set()


def test_refused_datagrams(t):
    """Refused datagrams that are sent again are no progress: the monitor stops after drain-timeout."""
    monitors = [t.create('print out\\n\neprint err\\n\nprint end\\n', '--log-driver', driver, '--log-opt',
                         f'{driver}-address=udp://127.0.0.1:1', '--log-opt', 'drain-timeout=2s', monitor=t.monitor(driver))
                for driver in ('gelf', 'syslog')]
    start = time.monotonic()
    for m in monitors:
        m.finish(0)
    check(time.monotonic() - start < scaled(5), f'{time.monotonic() - start:.1f} s')


@differs('the reference syncs the log before the exit file')
def test_slow_sync_of_the_log(t):
    """fsync takes 6 s."""
    m = t.monitor()
    argv = t.arguments(m, 'exec', conmon_pidfile=False)
    with_strace(t, m, 'fsync,fdatasync', '6s', argv, t.traced_environment('print hello\\n\nwait @/go\nexit 3'))
    m.created()
    m.wait_log(b'hello')
    begin = time.monotonic()
    t.touch('go')
    equal(m.sync.message(), {'data': 3})
    took = time.monotonic() - begin
    check(took < scaled(2), f'the exit code was reported after {took:.1f} s')
    equal(m.exit_file.read_text(), '3')
    m.wait(30)
    check(time.monotonic() - begin > 5, 'there was no slow sync')


@differs('the reference has no log drivers')
def test_logger_on_a_stalled_disk(t):
    """Executing an external logger takes 4 s: at the start, and again at the end."""
    m = t.monitor()
    logger = shutil.copy(t.runtime, t.dir / 'logger')
    argv = t.arguments(m, conmon_pidfile=False)
    with_strace(t, m, 'execve', '4s', [*argv, '--log-driver', f'binary://{logger}?script=exit+1'],
                t.traced_environment('print hello\\n\nwait @/go\nexit 3'), logger)
    begin = time.monotonic()
    m.created()
    m.wait_log(b'hello')
    t.touch('go')
    wait_for(m.exit_file.exists, 'the exit file')
    took = time.monotonic() - begin
    check(took < scaled(2), f'the exit file came after {took:.1f} s')
    equal(m.exit_file.read_text(), '3')
    m.wait(60)


def mount_disk(t):
    """A new file system for this test."""
    image, place = t.dir / 'image', t.dir / 'disk'
    place.mkdir()
    with open(image, 'wb') as file:
        file.truncate(16 << 20)
    for command in (['mkfs.ext4', '-q', '-F', image], ['mount', '-o', 'loop,noatime', image, place]):
        try:
            subprocess.run(command, check=True, stderr=subprocess.PIPE)
        except (OSError, subprocess.CalledProcessError) as error:
            skip(f'no disk can be mounted here: {error}')
    t.stack.callback(subprocess.run, ['umount', '-l', place], check=True)
    return place


@needs_root
@differs('the reference has no status file')
def test_frozen_bundle(t):
    """The file system of the bundle is frozen; the exit directory is on another one."""
    disk = mount_disk(t)
    m = t.monitor(bundle=disk / 'bundle')
    t.create('wait @/go\nexit 3', monitor=m, persist=False)
    subprocess.run(['fsfreeze', '-f', disk], check=True)
    try:
        begin = time.monotonic()
        t.touch('go')
        wait_for(m.exit_file.exists, 'the exit file')
        took = time.monotonic() - begin
        check(m.attach_path.exists() and not m.ended(), 'the disk was not frozen')
    finally:
        subprocess.run(['fsfreeze', '-u', disk], check=True)
    check(took < scaled(2), f'the exit file came after {took:.1f} s')
    m.finish(3)
    check(not m.attach_path.exists(), 'attach exists after the thaw')
    check((m.bundle / 'log-status.json').exists(), 'no status after the thaw')


@needs_root
@differs('the reference knows no status')
def test_final_counters_on_a_frozen_disk(t):
    """The exit command waits a second for them; they are written when the disk responds again."""
    disk = mount_disk(t)
    m = t.monitor(bundle=disk / 'bundle')
    t.create('print lost\\n\nwait @/go\nexit 3', *UNREACHABLE[:-1], 'gelf.drain-timeout=100ms', '--exit-command',
             '/usr/bin/touch', '--exit-command-arg', '@/cleaned', monitor=m, persist=False, log='none')
    subprocess.run(['fsfreeze', '-f', disk], check=True)
    try:
        t.touch('go')
        wait_for((t.dir / 'cleaned').exists, 'the exit command')
        waited = (t.dir / 'cleaned').stat().st_mtime - m.exit_file.stat().st_mtime
        check(not m.ended(), 'the disk was not frozen')
    finally:
        subprocess.run(['fsfreeze', '-u', disk], check=True)
    m.finish(3)
    status = json.loads((m.bundle / 'log-status.json').read_text())
    sink = status['sinks'][0]
    equal((sink['queued']['records'], sink['dropped']['at-end']['records']), (0, 1), 'queued and dropped')
    check(0.9 < waited < scaled(3), f'the exit command came {waited:.1f} s after the record')
    check(status['end']['record_usec'] < scaled(0.6) * 1e6, f'the record took {status["end"]["record_usec"]} us')


def end_of(m):
    """Why the container ended, without members that differ between runs."""
    status = json.loads((m.persist / 'log-status.json').read_text())
    equal(status['monitor']['pid'], m.pid, 'the pid of the monitor')
    check(re.fullmatch(r'\d+\.\d+\.\d+.*', status['monitor']['version']), f'no version: {status["monitor"]}')
    end = status['end']
    check(re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z', end.pop('at')), 'no time')
    check(0 < end.pop('record_usec') < scaled(2) * 1e6, 'record_usec')
    return end


USUAL = {'oom': False, 'timed_out': False, 'reaped_by': 'monitor'}


@differs('the reference has no status file')
def test_reason_is_recorded(t):
    m = t.create('exit 3')
    m.finish(3)
    equal(end_of(m), {**USUAL, 'code': 3})
    m = t.create('die 9')
    m.finish(137)
    equal(end_of(m), {**USUAL, 'code': 137, 'signal': 9, 'core_dumped': False})


def dumps_core(directory):
    """Whether processes on this machine write a core file."""
    pid = os.fork()
    if pid == 0:
        os.chdir(directory)
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        os.abort()
    return os.WCOREDUMP(os.waitpid(pid, 0)[1])


@differs('the reference has no status file')
def test_reason_is_a_signal_with_a_core(t):
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY or not dumps_core(t.dir):
        skip('this machine writes no core files')
    for limit, dumped in ((resource.RLIM_INFINITY, True), (0, False)):
        m = t.create(f'wait @/go{dumped}\ndie 6', spawn={'cwd': t.dir})
        resource.prlimit(m.container, resource.RLIMIT_CORE, (limit, limit))
        t.touch(f'go{dumped}')
        m.finish(134)
        equal(end_of(m), {**USUAL, 'code': 134, 'signal': 6, 'core_dumped': dumped})


@differs('the reference has no status file')
def test_reason_is_a_request(t):
    m = t.create('pause')
    os.kill(m.pid, signal.SIGTERM)
    m.finish(143)
    equal(end_of(m), {**USUAL, 'code': 143, 'signal': 15, 'core_dumped': False, 'stop_signal': 15})


@differs('the reference has no status file')
def test_reason_is_the_timeout(t):
    m = t.create('pause', '-T', '1')
    m.finish(-1)
    end = end_of(m)
    end.pop('reaped_by', None)
    equal(end, {'oom': False, 'timed_out': True, 'code': -1})


@differs('the reference has no status file')
def test_reason_when_another_process_reaped(t):
    m = t.create('wait @/go\nexit 5', runtime='container foster\npidfile')
    t.touch('go')
    code = 5 if t.has_exit_info() else -1
    m.finish(code)
    equal(end_of(m), {**USUAL, 'code': code, 'reaped_by': 'others'})


@differs('the reference has no status file')
def test_status_while_it_runs_has_no_end(t):
    m = t.create('wait @/go\nexit 0')
    m.control('3 0 0\n')
    path = m.bundle / 'log-status.json'
    wait_for(path.exists, 'the status')
    status = json.loads(path.read_text())
    equal((status['ended'], status['monitor']['pid'], 'end' in status), (False, m.pid, False))
    t.touch('go')
    m.finish(0)


if __name__ == '__main__':
    main()
