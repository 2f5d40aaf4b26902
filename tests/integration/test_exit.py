#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The end of a container: exit codes, the order of the records, and when the monitor itself exits."""

import ctypes
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import (  # noqa: E402
    alive, Attach, check, children, CID, content, differs, equal, Inotify, kill, main, needs_no_root,
    needs_root, skip, slow, wait_for)


def test_exit_codes(t):
    """Both files contain the number without a newline; the monitor exits with the same status."""
    for code in (0, 1, 2, 3, 100, 125, 126, 127, 128, 137, 143, 200, 254, 255):
        t.create(f'exit {code}', monitor=t.monitor(str(code))).finish(code)


def test_exit_by_signal(t):
    """128 plus the number of the signal."""
    for number in (1, 2, 3, 6, 9, 11, 14, 15, 34, 64):
        t.create(f'die {number}', monitor=t.monitor(str(number))).finish(128 + number)


def test_sync_mode(t):
    for code in (0, 3, 255):
        m = t.launch(f'exit {code}', '--sync', monitor=t.monitor(str(code))).go().created()
        m.finish(code)


def test_exec_exit_codes(t):
    """Every exit code of an exec session is reported, and not taken for a failure of the runtime."""
    for code in range(0, 256, 15):
        t.exec(f'exit {code}', monitor=t.monitor(str(code))).finish(code)
    for number in (9, 15):
        t.exec(f'die {number}', monitor=t.monitor(f's{number}')).finish(128 + number)


@slow(60)
def test_very_short_containers(t):
    """Containers that end at once."""
    for number in range(150):
        m = t.create(f'exit {number % 256}', monitor=t.monitor('m'))
        m.finish(number % 256)
        m.exit_file.unlink()
        m.conmon_pidfile.unlink()
        t.monitors.clear()


@slow(60)
def test_very_short_exec_sessions(t):
    """Exec sessions that end at once, with and without a terminal."""
    for number in range(100):
        m = t.exec(f'exit {number}', *(['-t'] if number % 2 else []), monitor=t.monitor('m'))
        m.finish(number)
        for path in (m.exit_file, m.conmon_pidfile, m.pidfile):
            path.unlink()
        m.close_pipes()
        t.monitors.clear()


def test_exit_files_are_atomic(t):
    """Both are written to a temporary file and renamed, the persistent one first."""
    prepared = t.monitor()
    watch = Inotify(prepared.exits, prepared.persist)
    t.create('exit 3', monitor=prepared).finish(3)
    watch.read()
    moved = [event.name for event in watch.seen if event.kind == 'moved-to' and event.name in ('exit', CID)]
    equal(moved, ['exit', CID], 'files in the order in which they appeared')
    created = [event.name for event in watch.seen if event.kind == 'create']
    check(CID not in created and 'exit' not in created, f'created in place: {watch.seen}')


def test_persist_comes_first(t):
    """When the exit file appears, the persistent one exists."""
    for number in range(20):
        prepared = t.monitor(str(number))
        watch = Inotify(prepared.exits)
        m = t.create('exit 3', monitor=prepared)
        watch.until('moved-to', CID)
        check(prepared.persist_exit.exists(), 'no persistent exit file when the exit file appeared')
        watch.close()
        m.finish(3)


def test_without_persist_dir(t):
    m = t.create('exit 3', persist=False).finish(3)
    equal(os.listdir(m.persist), [])


def test_without_exit_dir(t):
    m = t.create('exit 3', exit_dir=False)
    equal(m.wait(), 3)
    equal((os.listdir(m.exits), m.persist_exit.read_text()), ([], '3'))


def test_without_both(t):
    m = t.create('exit 3', exit_dir=False, persist=False)
    equal(m.wait(), 3)


@differs('the reference gives up if one of the two exit files cannot be written')
def test_exit_records_are_independent(t):
    """If one of the two can't be written, the other one still is."""
    m = t.create('exit 3', '--persist-dir', '/nonexistent/persist')
    m.wait()
    equal(m.exit_file.read_text(), '3')
    m = t.create('exit 3', '--exit-dir', '/nonexistent/exits', monitor=t.monitor('other'))
    m.wait()
    equal(m.persist_exit.read_text(), '3')


@differs('the reference gives up if one of the two exit files cannot be written')
def test_exit_dir_removed(t):
    m = t.create('wait @/go\nexit 3')
    os.rename(m.exits, t.dir / 'moved')
    t.touch('go')
    m.wait()
    equal(m.persist_exit.read_text(), '3')


@differs('the reference gives up if one of the two exit files cannot be written')
@needs_no_root
def test_read_only_exit_dir(t):
    m = t.create('wait @/go\nexit 3')
    m.exits.chmod(0o500)
    t.touch('go')
    m.wait()
    m.exits.chmod(0o700)
    equal((m.persist_exit.read_text(), os.listdir(m.exits)), ('3', []))


@differs('the reference gives up if one of the two exit files cannot be written')
@needs_root
def test_full_exit_dir(t):
    """There is no truncated exit file, and the other file is written."""
    m = t.monitor()
    script = 'mount -t tmpfs -o size=4k,nr_inodes=2 none "$0" && : >"$0/fill" && "$@"; s=$?; ls "$0" >"$0/../list"; exit $s'
    m.spawn(['/usr/bin/unshare', '-m', '/bin/sh', '-c', script, str(m.exits), t.program,
             *t.arguments(m, conmon_pidfile=False), '--sync'], t.environment('exit 3'), ('sync', 'start'))
    m.start.go()
    m.wait()
    equal((m.persist_exit.read_text(), (m.root / 'list').read_text()), ('3', 'fill\n'))


def test_symlinked_directories(t):
    """Every directory that the caller passes may be a symbolic link."""
    real, m = t.monitor('real'), t.monitor('links')
    for name in ('bundle', 'exits', 'persist', 'sockets'):
        os.rmdir(m.root / name)
        os.symlink(real.root / name, m.root / name)
    t.create('wait @/go\nprint out\\n\nexit 3', full_attach=False, monitor=m)
    client = Attach(m.sockets / CID / 'attach')
    t.touch('go')
    equal(client.to_end(), b'out\n')
    m.finish(3)
    equal((real.exit_file.read_text(), real.persist_exit.read_text()), ('3', '3'))


def test_existing_exit_files_are_replaced(t):
    prepared = t.monitor()
    prepared.exit_file.write_text('77')
    prepared.persist_exit.write_text('77')
    t.create('exit 3', monitor=prepared).finish(3)


def test_clients_see_the_end_before_the_exit_file(t):
    """Callers wait for the exit file after the end of the connection."""
    for number in range(20):
        prepared = t.monitor(str(number))
        watch = Inotify(prepared.exits)
        m = t.create(f'wait @/go{number}\nexit 3', monitor=prepared)
        client = m.attach()
        t.touch(f'go{number}')
        watch.until('moved-to', CID)
        check(client.poll(), 'the exit file appeared before the end of the connection')
        equal(client.packet(), None)
        watch.close()
        m.finish(3)


def test_attach_socket_is_removed(t):
    m = t.create('exit 0')
    m.finish(0)
    check(not m.attach_path.exists(), 'the attach socket still exists')
    check((m.bundle / 'ctl').exists() and (m.bundle / 'winsz').exists(), 'ctl or winsz was removed')


def test_bundle_removed(t):
    """Callers may remove the bundle while the monitor is ending."""
    m = t.create('wait @/go\nexit 3')
    os.rename(m.bundle, t.dir / 'moved')
    t.touch('go')
    m.finish(3)


def test_output_is_complete_at_the_end(t):
    """When the end is recorded, all output of the container is in the log and was sent to the client."""
    size = 50000
    for number in range(10):
        prepared = t.monitor(str(number))
        m = t.create(f'wait @/go{number}\nfill 1 {size} 100\nfill 2 {size} 100\nexit 0', monitor=prepared)
        client = m.attach()
        t.touch(f'go{number}')
        client.to_end()
        m.finish(0)
        for name, stream in (('stdout', 2), ('stderr', 3)):
            equal(len(content(m.records(), name)), size, f'{name} in the log')
            equal(len(client.data[stream]), size, f'{name} at the client')


def test_background_process_does_not_delay_the_end(t):
    """The monitor waits for the end of the container, not of its streams."""
    m = t.create('fork pause\nprint hello\\n\nexit 3')
    m.finish(3, timeout=5)
    equal(content(m.records()), b'hello\n')
    t.end_orphans()


def test_background_writer_does_not_delay_the_end(t):
    """Even if it never stops writing."""
    m = t.create('fork fill 1 99999999999 80\nsleep 50\nexit 3', log='none')
    m.finish(3, timeout=5)


def test_background_process_with_nonblocking_streams(t):
    """Also if the container has set O_NONBLOCK on its streams."""
    m = t.create('nonblock 0\nnonblock 1\nnonblock 2\nfork pause\nfill 1 300000 80\nexit 3', '-i')
    m.finish(3, timeout=5)
    equal(len(content(m.records())), 300000)
    t.end_orphans()


def test_orphans_are_reaped(t):
    """Zombies would keep their namespaces alive."""
    m = t.create("sh (sleep 0; exit 1) & (sleep 0) & sleep 0; exec sleep 100")
    time.sleep(0.1)
    wait_for(lambda: children(m.pid) == [m.container], 'the monitor to have no other child', 2)
    kill(m.container)
    m.finish(137)


def test_orphans_do_not_delay_the_end(t):
    """Without an exit command the monitor exits when the container has ended."""
    m = t.create('fork sleep 100000\nexit 3')
    m.finish(3, timeout=5)
    t.end_orphans()


def test_runtime_that_forks(t):
    """The runtime leaves another child behind."""
    m = t.create('wait @/go\nexit 3', runtime='container\npidfile\nfork sleep 20\nfork exit 0')
    wait_for(lambda: children(m.pid) == [m.container], 'the other children to be reaped', 3)
    t.touch('go')
    m.finish(3)


@differs('an unknown status is recorded as -1, not as 0')
def test_container_is_not_a_child(t):
    """The end is noticed. The status is -1 if the kernel can't report it, never 0."""
    m = t.create('wait @/go\nexit 42', runtime='container foster\npidfile')
    check(alive(m.pid), 'the monitor ended early')
    t.touch('go')
    m.finish(42 if t.has_exit_info() else -1)


@differs('an unknown status is recorded as -1, not as 0')
def test_exec_is_not_a_child(t):
    m = t.exec('wait @/go\nexit 42', runtime='container foster\npidfile')
    t.touch('go')
    code = 42 if t.has_exit_info() else -1
    equal(m.sync.messages(), [{'data': code}])
    m.finish(code)


@differs('an unknown status is recorded as -1, not as 0')
def test_container_that_the_runtime_reaped(t):
    """The status is unknown then."""
    m = t.launch('exit 7', runtime='container reap\npidfile').go()
    m.created()
    m.finish(-1)


def test_runtime_that_lingers(t):
    """The container may end after the pid file is written and before the runtime exits."""
    m = t.create('exit 5', runtime='container\npidfile\nsleep 200')
    m.finish(5)


def test_traced_container(t):
    """A tracer is notified of the end first, then the monitor."""
    libc, seize = ctypes.CDLL(None, use_errno=True), 0x4206
    m = t.create('wait @/go\nexit 3')
    equal(libc.ptrace(seize, m.container, 0, 0), 0, f'error {ctypes.get_errno()} of ptrace')
    t.touch('go')
    os.waitid(os.P_PID, m.container, os.WEXITED | os.WNOWAIT)
    time.sleep(0.1)
    check(not m.exit_file.exists(), 'an exit code was recorded before the tracer released the process')
    os.waitpid(m.container, 0)
    m.finish(3)


# Timeout

def test_timeout(t):
    before = time.monotonic()
    m = t.create('pause', '-T', '1')
    m.wait(30)
    took = time.monotonic() - before
    check(1 <= took < 10, f'a timeout of 1 s took {took:.2f} s')
    m.finish(-1)
    wait_for(lambda: not alive(m.container), 'the end of the container', 2)


def test_timeout_of_a_container_that_ignores_term(t):
    t.create('ignore 15\npause', '-T', '1').finish(-1)


def test_timeout_kills_the_whole_group(t):
    """All processes of the group are killed, not only the first one."""
    m = t.create('fork pause\nfork pause\npause', '-T', '1')
    wait_for(lambda: len(children(m.container)) == 2, 'both children')
    group = [m.container, *children(m.container)]
    m.finish(-1)
    wait_for(lambda: not any(alive(pid) for pid in group), 'the end of the whole group', 2)


@differs('the reference kills only the group')
def test_timeout_kills_other_sessions(t):
    """Also processes that have created their own session, and orphans."""
    tell = 'echo $$ >@/{0}.new; mv @/{0}.new @/{0}; exec sleep 987'
    script = f"sh setsid sh -c '{tell.format('child')}' & (setsid sh -c '{tell.format('orphan')}' &) ; wait"
    m = t.exec(script, '-T', '2')
    m.finish(-1)
    for name in ('child', 'orphan'):
        pid = int((t.dir / name).read_text())
        wait_for(lambda: not alive(pid), f'the end of the {name}', 2)


@differs('the reference does not kill processes left by a failed runtime')
def test_failed_runtime_and_other_children(t):
    """The process may have had children before it executed the monitor. They are not killed."""
    m = t.monitor()
    shell = f'setsid sleep 1000 & echo $! >{t.dir}/other; exec "$@"'
    argv = ['/bin/sh', '-c', shell, 'sh', t.program, *map(str, t.arguments(m, conmon_pidfile=False)), '--sync']
    m.spawn(argv, t.environment('exit 0', runtime='exit 1'), ('sync', 'start'))
    m.go()
    check(m.sync.message(60)['data'] < 0, 'the container was created')
    equal(m.wait(60), 1)
    pid = int((t.dir / 'other').read_text())
    check(alive(pid), 'the other child was killed')
    kill(pid)


def test_timeout_under_output(t):
    """A flood of output does not delay the timeout."""
    m = t.create('fill 1 999999999999 80', '-T', '1', log='none')
    m.finish(-1)


def test_timeout_with_a_slow_client(t):
    """The monitor waits for the client after the timeout, which does not change the recorded code."""
    m = t.create('wait @/go\nfill 1 500000 100\npause', '-T', '2')
    client = m.attach()
    t.touch('go')
    m.finish(-1)
    client.close()


def test_exit_before_the_timeout(t):
    """A container that ends before its timeout is not reported as timed out."""
    t.create('sleep 100\nexit 3', '-T', '5').finish(3)


def test_no_timeout(t):
    for value in ('0', '-5'):
        m = t.create('sleep 100\nexit 3', '-T', value, monitor=t.monitor(value))
        m.finish(3)


def test_long_timeout(t):
    """More microseconds than fit in 32 bits."""
    for value in ('2148', '3600', '2147483647'):
        t.create('sleep 100\nexit 3', '-T', value, monitor=t.monitor(value)).finish(3)


@differs("the reference kills its own process group")
def test_timeout_of_a_container_in_the_group_of_the_monitor(t):
    """Only the container is killed."""
    m = t.create('pause', '-T', '1', runtime='container member\npidfile')
    m.finish(-1)
    wait_for(lambda: not alive(m.container), 'the end of the container', 2)


def test_timeout_of_a_container_that_is_not_a_child(t):
    if t.reference:
        skip('an unknown status is recorded as -1, not as 0')
    m = t.create('pause', '-T', '1', runtime='container foster\npidfile')
    m.finish(-1)


if __name__ == '__main__':
    main()
