#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Delayed exit commands of exec sessions, which the container's monitor runs.

CONMON_TEST_SESSIONS is the number of sessions in test_many_sessions.
"""

import contextlib
import itertools
import os
import pathlib
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import (  # noqa: E402
    CID, Monitor, alive, check, children, cpu_seconds, descriptors, differs, equal, kill, main, needs_root, skip, slow,
    status_field, wait_for, whole_lines)
from harness.check import scaled  # noqa: E402
from test_end import mount_disk, with_strace  # noqa: E402

SESSIONS = int(os.environ.get('CONMON_TEST_SESSIONS', 30))
BYTES_PER_SESSION = 300
PAGES = 16 * 1024  # the heap grows in steps of this size

counter = itertools.count()


def command(t, *lines):
    words = ['--exit-command', t.runtime, '--exit-command-arg', 'script']
    for line in lines:
        words += ['--exit-command-arg', line]
    return words


def container(t, *lines, script='pause', **options):
    """A container with a bundle as engines create it, and an exit command."""
    m = t.monitor(f'container{next(counter)}')
    (m.bundle / 'config.json').write_text('{}')
    return t.create(script, *command(t, *(lines or ('append @/ran container\\n',))), monitor=m, **options)


def session(t, c, delay, *lines, script='exit 0', **options):
    """Starts a session and waits for its pid. Its bundle is a directory in the container's, as with podman."""
    name = secrets.token_hex(32)
    m = Monitor(t.dir / 'monitors' / name, c.cid, bundle=c.bundle / name)
    t.monitors.append(m)
    return t.exec(script, *command(t, *(lines or ('append @/ran session\\n',))), '--exit-delay', str(delay), monitor=m,
                  **options)


def ran(t):
    return [line.decode() for line in whole_lines(t.dir / 'ran')]


@differs('monitors of sessions run until their exit commands are due')
def test_monitor_of_the_session_ends(t):
    c = container(t)
    start = time.monotonic()
    session(t, c, 2, script='exit 3').finish(3, timeout=1.5)
    equal(ran(t), [], 'executed commands')
    wait_for(lambda: ran(t), 'the command')
    took = time.monotonic() - start
    check(2 <= took < 4, f'a delay of 2 s took {took:.2f} s')
    wait_for(lambda: not set(children(c.pid)) - {c.container}, 'the command to be reaped')


@differs('monitors of sessions run until their exit commands are due')
def test_command_on_a_stalled_disk(t):
    """Executing the command of a session takes 4 s. The container ends meanwhile."""
    c = t.monitor('container')
    program = shutil.copy(t.runtime, t.dir / 'command')
    (c.bundle / 'config.json').write_text('{}')
    with_strace(t, c, 'execve', '4s', t.arguments(c, conmon_pidfile=False) + command(t, 'touch @/end'),
                t.traced_environment('wait @/go\nexit 3'), program)
    c.created()
    m = Monitor(t.dir / 'monitors' / 'session', c.cid, bundle=c.bundle / 'session')
    t.monitors.append(m)
    t.exec('exit 0', '--exit-command', program, '--exit-delay', '1', monitor=m).finish(0)
    monitor = children(c.pid)[0]
    wait_for(lambda: len(children(monitor)) == 2, 'the command')
    begin = time.monotonic()
    t.touch('go')
    wait_for(c.exit_file.exists, 'the exit file')
    check(time.monotonic() - begin < scaled(2), f'the exit file came after {time.monotonic() - begin:.1f} s')
    c.wait(30)


@contextlib.contextmanager
def asked_on_a_frozen_disk(t):
    """A container whose monitor is asked to listen while its bundle is frozen."""
    disk = mount_disk(t)
    c = t.monitor('container', bundle=disk / 'bundle')
    t.create('wait @/go\nexit 3', *command(t, 'touch @/end'), monitor=c, persist=False)
    subprocess.run(['fsfreeze', '-f', disk], check=True)
    try:
        c.control('6 0 0\n6 0 0\n')
        wait_for(lambda: status_field(c.pid, 'Threads') == '2', 'the thread that waits for the disk')
        yield c
    finally:
        subprocess.run(['fsfreeze', '-u', disk], check=True)


@needs_root
@differs('monitors of sessions run until their exit commands are due')
def test_container_ends_while_its_bundle_is_frozen(t):
    with asked_on_a_frozen_disk(t) as c:
        begin = time.monotonic()
        t.touch('go')
        wait_for(c.exit_file.exists, 'the exit file')
        check(time.monotonic() - begin < scaled(1.5), f'the exit file came after {time.monotonic() - begin:.1f} s')
    c.finish(3)
    check(not (c.bundle / 'exec-exits').exists(), 'exec-exits was created after the end')


@needs_root
@differs('monitors of sessions run until their exit commands are due')
def test_request_after_the_bundle_was_frozen(t):
    with asked_on_a_frozen_disk(t) as c:
        pass

    def listens():
        c.control('6 0 0\n')
        return (c.bundle / 'exec-exits').exists()
    wait_for(listens, 'the socket')
    t.touch('go')
    c.finish(3)


@differs("here the container's monitor is the parent of the command")
def test_command_gets_the_same_attributes(t):
    """Arguments, environment, directory, descriptors and signals are those of a command that the session's
    monitor runs."""
    t.skip_with(valgrind='it adds variables and descriptors')
    c = container(t, env={'OF_CONTAINER': '1'})
    m = session(t, c, 1, 'dump @/exit', env={'OF_SESSION': 'some value'})
    m.finish(0, timeout=1)
    dump = t.dump('exit')
    equal(dump['argv'], [t.runtime, 'script', f'dump {t.dir}/exit'])
    equal(sorted(dump['env']), sorted(f'{key}={value}' for key, value in m.environment.items()))
    equal({number: entry['target'] for number, entry in dump['fds'].items()},
          {'0': '/dev/null', '1': '/dev/null', '2': '/dev/null'})
    equal((dump['cwd'], dump['umask'], dump['ppid']), (str(m.bundle), '0022', c.pid))
    equal(int(dump['blocked'], 16), 0)


@differs("here the container's monitor runs the command")
def test_session_directory_removed(t):
    c = container(t)
    m = session(t, c, 1)
    m.finish(0, timeout=0.9)
    shutil.rmtree(m.bundle)
    wait_for(lambda: ran(t), 'the command')


@differs('commands of sessions are not run early')
def test_container_ends_first(t):
    """The sessions' commands run first, then the container's, with the usual arguments."""
    c = container(t, script='wait @/end\nexit 5')
    for code in range(6):
        session(t, c, 3600, script=f'exit {code}').finish(code, timeout=5)
    t.touch('end')
    c.finish(5)
    equal(ran(t), ['session'] * 6 + ['container'], 'commands in their order')


@slow(60)
@differs('commands of sessions are not run early')
def test_command_that_hangs_does_not_hold_up_the_container(t):
    """Neither while the container runs nor when it ends; the monitor waits for the command last."""
    c = container(t, script='wait @/end\nexit 5')
    session(t, c, 3600, 'touch @/hangs', 'wait @/go').finish(0)
    t.touch('end')
    t.wait_file('hangs')
    wait_for(lambda: ran(t) == ['container'], "the container's command", 20)
    t.touch('go')
    c.finish(5)


@differs("here the container's monitor runs the command")
def test_command_that_cannot_be_executed(t):
    c = container(t)
    m = session(t, c, 1, '--exit-command', '/nonexistent')
    m.finish(0)
    session(t, c, 1).finish(0)
    wait_for(lambda: ran(t), 'the command')


def test_ordered_by_due_time(t):
    """Each command runs when it is due, regardless of the order of arrival."""
    c = container(t)
    for delay in (3, 1, 2):
        session(t, c, delay, f'append @/ran {delay}\\n')
    wait_for(lambda: len(ran(t)) == 3, 'all commands')
    equal(ran(t), ['1', '2', '3'], 'commands in their order')


# Without a monitor that accepts the command

def waits(t, m, name):
    """Checks that the monitor of this session runs on and executes the command itself."""
    wait_for(m.exit_file.exists, 'the exit file')
    m.finish(0)
    check(name in ran(t), f'{name}: the monitor ended without running the command')


def test_container_without_an_exit_command(t):
    """Its monitor has set no_new_privs."""
    m = t.monitor('container')
    (m.bundle / 'config.json').write_text('{}')
    c = t.create('pause', monitor=m)
    waits(t, session(t, c, 1, 'append @/ran x\\n'), 'x')


def test_directory_is_no_bundle(t):
    """An empty directory, one with a FIFO that has no reader, and one with other files."""
    sessions = {}
    for kind in ('nothing', 'fifo', 'file', 'link', 'no-config'):
        c = Monitor(t.dir / 'monitors' / kind, CID)
        ctl = c.bundle / 'ctl'
        if kind != 'no-config':
            (c.bundle / 'config.json').write_text('{}')
        if kind in ('fifo', 'no-config'):
            os.mkfifo(ctl)
        elif kind == 'file':
            ctl.write_text('')
        elif kind == 'link':
            ctl.symlink_to(t.dir / 'target')
        if kind == 'no-config':
            reader = os.open(ctl, os.O_RDONLY | os.O_NONBLOCK)
        sessions[kind] = c, session(t, c, 1, f'append @/ran {kind}\\n')
    for kind, (c, m) in sessions.items():
        waits(t, m, kind)
    equal((sessions['file'][0].bundle / 'ctl').read_text(), '', 'data written to a file')
    check(not (t.dir / 'target').exists(), 'a file was created')
    equal(os.read(reader, 100), b'', "data written to somebody else's FIFO")
    os.close(reader)


@differs('it asks')
def test_older_monitor(t):
    """A monitor that reads `ctl`, but does not know the message, so that no socket appears."""
    c = Monitor(t.dir / 'monitors' / 'old', CID)
    (c.bundle / 'config.json').write_text('{}')
    os.mkfifo(c.bundle / 'ctl')
    reader = os.open(c.bundle / 'ctl', os.O_RDWR | os.O_NONBLOCK)
    start = time.monotonic()
    waits(t, session(t, c, 3, 'append @/ran x\\n'), 'x')
    check(3 <= time.monotonic() - start < 6, 'wrong delay')
    equal(os.read(reader, 100), b'6 0 0\n', 'message on ctl')
    os.close(reader)


def test_monitor_that_does_not_answer(t):
    """The caller gets its messages in time, and the command runs once, when it is due."""
    c = container(t)
    session(t, c, 1).finish(0)
    wait_for(lambda: ran(t) == ['session'], 'the first command')
    kill(c.pid, signal.SIGSTOP)
    start = time.monotonic()
    m = session(t, c, 2, 'append @/ran late\\n')
    wait_for(m.exit_file.exists, 'the exit file')
    check(time.monotonic() - start < 1.5, 'the exit file is late')
    m.finish(0)
    check(2 <= time.monotonic() - start < 4, 'wrong delay')
    kill(c.pid, signal.SIGCONT)
    c.control('1 20 20\n')
    time.sleep(0.3)
    equal(ran(t), ['session', 'late'], 'executed commands')


def test_another_container_with_the_same_bundle(t):
    """The session belongs to a container that has ended."""
    c = container(t)
    session(t, c, 1).finish(0)
    m = Monitor(t.dir / 'monitors' / 'other', 'f' * 64, bundle=c.bundle / 'other')
    t.monitors.append(m)
    t.exec('exit 0', *command(t, 'append @/ran other\\n'), '--exit-delay', '2', monitor=m)
    waits(t, m, 'other')


# Permissions

def offer(cid=CID, delay=0, words=('', '1', '/bin/true'), version='1'):
    return '\0'.join((version, cid, str(delay), *words, '')).encode()


ASK = '''
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
if len(sys.argv) > 3:
    os.setgroups([])
    os.setgid(int(sys.argv[3]))
    os.setuid(int(sys.argv[3]))
s.connect(sys.argv[1])
s.settimeout(5)
try:
    s.send(bytes.fromhex(sys.argv[2]))
    print(s.recv(10))
except (ConnectionError, BrokenPipeError):
    print(b'')
'''


def listening(t):
    c = container(t)
    session(t, c, 3600, 'exit 0').finish(0, timeout=5)
    return c, c.bundle / 'exec-exits'


def asks(path, *arguments, wrapper=()):
    result = subprocess.run([*wrapper, sys.executable, '-c', ASK, path, offer().hex(), *arguments],
                            stdout=subprocess.PIPE, timeout=20, check=False)
    return result.stdout.decode().strip()


@differs('the reference has no such socket')
def test_same_user_is_accepted(t):
    _, path = listening(t)
    equal(path.stat().st_mode & 0o777, 0o700, 'mode of the socket')
    equal(asks(path), "b'1'")


@differs('the reference has no such socket')
def test_other_users_are_refused(t):
    if os.geteuid() != 0:
        skip('needs root')
    c, path = listening(t)
    for directory in [t.dir, *[p for p in path.parents if t.dir in p.parents]]:
        directory.chmod(0o755)
    path.chmod(0o777)
    equal(asks(path, '65534'), "b''")
    check(alive(c.pid), 'the monitor ended')


@differs('the reference has no such socket')
def test_other_user_namespaces_are_refused(t):
    _, path = listening(t)
    if subprocess.run(['unshare', '-U', 'true'], stderr=subprocess.DEVNULL, check=False).returncode:
        skip('no user namespaces')
    equal(asks(path, wrapper=('unshare', '-U')), "b''")
    equal(asks(path, wrapper=('unshare', '-U', '-r')), "b''")


@differs('the reference has no such socket')
def test_bad_requests(t):
    """Each is refused, and the monitor runs on."""
    c, path = listening(t)
    bad = [b'', b'\0', b'x', b'1', offer()[:-1], offer(version='2'), offer(cid='other'), offer(delay='x'), offer(delay=-1),
           offer(delay=1 << 63), offer(words=()), offer(words=('', '1')), offer(words=('', '0', 'x')),
           offer(words=('', '3', 'a', 'b')), offer(words=('', 'x', 'a')), b'x' * 60000, b'\0' * 60000]
    for message in bad:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.connect(str(path))
        s.settimeout(5)
        s.send(message)
        try:
            equal(s.recv(10), b'', f'answer to {message[:100]!r}')
        except ConnectionError:
            pass
        s.close()
    equal(asks(path), "b'1'")
    check(alive(c.pid), 'the monitor ended')


@differs('the reference has no such socket')
def test_no_descriptors(t):
    """A session that can't be accepted costs no processor time, and is served later."""
    c, path = listening(t)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = resource.prlimit(c.pid, resource.RLIMIT_NOFILE, (len(descriptors(c.pid)), hard))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.connect(str(path))
        s.settimeout(10)
        s.send(offer())
        before = cpu_seconds(c.pid)
        time.sleep(0.5)
        check(cpu_seconds(c.pid) - before < 0.05, 'the monitor is busy')
        resource.prlimit(c.pid, resource.RLIMIT_NOFILE, limits)
        equal(s.recv(10), b'1', 'the answer')


# Costs

def sockets(m):
    """How many the monitor has. Its other descriptors change while it starts and serves."""
    return sum(target.startswith('socket:') for target in descriptors(m.pid).values())


@differs('the reference has no such socket')
def test_nothing_without_sessions(t):
    """A container has the socket only after a session has asked for it, or with passthrough, where there is
    no ctl to ask."""
    c = container(t)
    check(not (c.bundle / 'exec-exits').exists(), 'the socket exists')
    before = sockets(c)
    session(t, c, 0).finish(0)
    check(not (c.bundle / 'exec-exits').exists(), 'the socket exists for a session without a delay')
    session(t, c, 3600, 'exit 0').finish(0, timeout=5)
    wait_for(lambda: sockets(c) == before + 1, 'one more socket')
    kill(c.container)
    c.finish(137)
    check(not (c.bundle / 'exec-exits').exists(), 'the socket was not removed')


@differs('the reference has no such socket')
def test_with_passthrough(t):
    c = container(t, log='passthrough')
    session(t, c, 1).finish(0, timeout=0.9)
    wait_for(lambda: ran(t), 'the command')


def own_bytes(pid):
    """Anonymous memory. (Private_Dirty changes while another process shares pages.)"""
    text = pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text()
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith('Anonymous'))


@slow(900)
@differs('monitors of sessions run on')
def test_many_sessions(t):
    """Sessions leave no process and use little memory in the container's monitor; all commands run."""
    t.skip_with(sanitizer='it needs memory of its own', valgrind='it needs memory of its own')
    c = container(t, script='wait @/end\nexit 5')

    def run(number):
        session(t, c, 300, f'append @/ran {number:06}\\n', f'sh : {secrets.token_hex(32)}').finish(0)
    for number in range(5):
        run(number)
    before = own_bytes(c.pid)
    for number in range(5, SESSIONS + 5):
        run(number)
    equal([m.pid for m in t.monitors if not m.ended()], [c.pid], 'monitors still running')
    grown = own_bytes(c.pid) - before
    print(f'{SESSIONS} sessions: {grown} bytes, {grown / SESSIONS:.0f} each')
    check(grown <= BYTES_PER_SESSION * SESSIONS + PAGES, f'{SESSIONS} sessions take {grown} bytes')
    equal(children(c.pid), [c.container], 'children of the monitor')
    t.touch('end')
    c.finish(5, timeout=600)
    equal(sorted(set(ran(t)) - {'container'}), [f'{number:06}' for number in range(SESSIONS + 5)], 'commands')


if __name__ == '__main__':
    main()
