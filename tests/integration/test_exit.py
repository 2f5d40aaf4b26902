#!/usr/bin/python3
"""How a container ended: what is recorded, in which order, and when the monitor itself ends."""

import ctypes
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from harness import *  # noqa


def test_exit_codes(t):
    """The number without a newline in both files; the monitor ends with the same status."""
    for code in (0, 1, 2, 3, 100, 125, 126, 127, 128, 137, 143, 200, 254, 255):
        t.create(f'exit {code}', places=t.monitor(str(code))).finish(code)


def test_exit_by_signal(t):
    """B22: 128 and the number of the signal."""
    for number in (1, 2, 3, 6, 9, 11, 14, 15, 34, 64):
        t.create(f'die {number}', places=t.monitor(str(number))).finish(128 + number)


def test_sync_mode(t):
    for code in (0, 3, 255):
        m = t.launch(f'exit {code}', '--sync', places=t.monitor(str(code))).go().created()
        m.finish(code)


def test_exec_exit_codes(t):
    """B36, B38"""
    for code in range(0, 256, 15):
        t.exec(f'exit {code}', places=t.monitor(str(code))).finish(code)
    for number in (9, 15):
        t.exec(f'die {number}', places=t.monitor(f's{number}')).finish(128 + number)


@slow(60)
def test_very_short_containers(t):
    """B18: a container that ends before anybody looks."""
    for number in range(150):
        m = t.create(f'exit {number % 256}', places=t.monitor('m'))
        m.finish(number % 256)
        m.exit_file.unlink()
        m.conmon_pidfile.unlink()
        t.monitors.clear()


@slow(60)
def test_very_short_exec_sessions(t):
    """B19, B20: with and without a terminal."""
    for number in range(100):
        m = t.exec(f'exit {number}', *(['-t'] if number % 2 else []), places=t.monitor('m'))
        m.finish(number)
        for path in (m.exit_file, m.conmon_pidfile, m.pidfile):
            path.unlink()
        m.close_pipes()
        t.monitors.clear()


def test_files_appear_complete(t):
    """Both are written beside and renamed, the persistent one first. B28"""
    places = t.monitor()
    watch = Inotify(places.exits, places.persist)
    t.create('exit 3', places=places).finish(3)
    watch.read()
    moved = [event.name for event in watch.seen if event.kind == 'moved-to' and event.name in ('exit', CID)]
    equal(moved, ['exit', CID], 'files in the order in which they appeared')
    created = [event.name for event in watch.seen if event.kind == 'create']
    check(CID not in created and 'exit' not in created, f'created in place: {watch.seen}')


def test_persist_comes_first(t):
    """B28: when a caller sees the exit file, the persistent one is there."""
    for number in range(20):
        places = t.monitor(str(number))
        watch = Inotify(places.exits)
        m = t.create('exit 3', places=places)
        watch.until('moved-to', CID)
        check(places.persist_exit.exists(), 'no persistent exit file when the exit file had appeared')
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


@differs('22.5')
def test_exit_records_are_independent(t):
    """If one of the two can't be written the other one is."""
    m = t.create('exit 3', '--persist-dir', '/nonexistent/persist')
    m.wait()
    equal(m.exit_file.read_text(), '3')
    m = t.create('exit 3', '--exit-dir', '/nonexistent/exits', places=t.monitor('other'))
    m.wait()
    equal(m.persist_exit.read_text(), '3')


@differs('22.5')
def test_exit_dir_that_vanished(t):
    m = t.create('wait @/go\nexit 3')
    os.rename(m.exits, t.dir / 'moved')
    t.touch('go')
    m.wait()
    equal(m.persist_exit.read_text(), '3')


@differs('22.5')
@needs_no_root
def test_exit_dir_that_is_read_only(t):
    m = t.create('wait @/go\nexit 3')
    m.exits.chmod(0o500)
    t.touch('go')
    m.wait()
    m.exits.chmod(0o700)
    equal((m.persist_exit.read_text(), os.listdir(m.exits)), ('3', []))


@differs('22.5')
@needs_root
def test_exit_dir_that_is_full(t):
    """Nothing half-written appears under the name, and the other file is there."""
    m = t.monitor()
    script = 'mount -t tmpfs -o size=4k,nr_inodes=2 none "$0" && : >"$0/fill" && "$@"; s=$?; ls "$0" >"$0/../list"; exit $s'
    m.spawn(['/usr/bin/unshare', '-m', '/bin/sh', '-c', script, str(m.exits), t.program,
             *t.arguments(m, conmon_pidfile=False), '--sync'], t.environment('exit 3'), ('sync', 'start'))
    m.start.go()
    m.wait()
    equal((m.persist_exit.read_text(), (m.root / 'list').read_text()), ('3', 'fill\n'))


def test_directories_behind_links(t):
    """Every directory of the caller may be a symbolic link."""
    real, m = t.monitor('real'), t.monitor('links')
    for name in ('bundle', 'exits', 'persist', 'sockets'):
        os.rmdir(m.root / name)
        os.symlink(real.root / name, m.root / name)
    t.create('wait @/go\nprint out\\n\nexit 3', full_attach=False, places=m)
    client = Attach(m.sockets / CID / 'attach')
    t.touch('go')
    equal(client.to_end(), b'out\n')
    m.finish(3)
    equal((real.exit_file.read_text(), real.persist_exit.read_text()), ('3', '3'))


def test_existing_exit_files_are_replaced(t):
    places = t.monitor()
    places.exit_file.write_text('77')
    places.persist_exit.write_text('77')
    t.create('exit 3', places=places).finish(3)


def test_clients_see_the_end_before_the_exit_file(t):
    """Callers that saw the end of the connection wait for the file, not the other way round."""
    for number in range(20):
        places = t.monitor(str(number))
        watch = Inotify(places.exits)
        m = t.create(f'wait @/go{number}\nexit 3', places=places)
        client = m.attach()
        t.touch(f'go{number}')
        watch.until('moved-to', CID)
        check(client.poll(), 'the exit file appeared before the end of the connection')
        equal(client.packet(), None)
        watch.close()
        m.finish(3)


def test_attach_socket_is_gone_at_the_end(t):
    m = t.create('exit 0')
    m.finish(0)
    check(not m.attach_path.exists(), 'the attach socket is still there')
    check((m.bundle / 'ctl').exists() and (m.bundle / 'winsz').exists(), 'ctl and winsz stay')


def test_bundle_that_vanished(t):
    """Callers may remove the bundle while the monitor is on its way out."""
    m = t.create('wait @/go\nexit 3')
    os.rename(m.bundle, t.dir / 'moved')
    t.touch('go')
    m.finish(3)


def test_output_is_complete_at_the_end(t):
    """What the container wrote before it ended is in the log and at the client when the end is recorded."""
    size = 50000
    for number in range(10):
        places = t.monitor(str(number))
        m = t.create(f'wait @/go{number}\nfill 1 {size} 100\nfill 2 {size} 100\nexit 0', places=places)
        client = m.attach()
        t.touch(f'go{number}')
        client.to_end()
        m.finish(0)
        for name, stream in (('stdout', 2), ('stderr', 3)):
            equal(len(content(m.records(), name)), size, f'{name} in the log')
            equal(len(client.data[stream]), size, f'{name} at the client')


def test_background_process_does_not_delay_the_end(t):
    """B07: the end of the container counts, not the end of its streams."""
    m = t.create('fork pause\nprint hello\\n\nexit 3')
    m.finish(3, timeout=5)
    equal(content(m.records()), b'hello\n')
    t.end_orphans()


def test_background_writer_does_not_delay_the_end(t):
    """B07: not even one that never stops writing."""
    m = t.create('fork fill 1 99999999999 80\nsleep 50\nexit 3', log='none')
    m.finish(3, timeout=5)


def test_background_process_with_nonblocking_streams(t):
    """B08"""
    m = t.create('nonblock 0\nnonblock 1\nnonblock 2\nfork pause\nfill 1 300000 80\nexit 3', '-i')
    m.finish(3, timeout=5)
    equal(len(content(m.records())), 300000)
    t.end_orphans()


def test_orphans_are_reaped(t):
    """B16: a zombie would keep its namespaces alive."""
    m = t.create("sh (sleep 0; exit 1) & (sleep 0) & sleep 0; exec sleep 100")
    time.sleep(0.1)
    wait_for(lambda: children(m.pid) == [m.container], 'the monitor to have no other child', 2)
    kill(m.container)
    m.finish(137)


def test_orphans_do_not_delay_the_end(t):
    """Without an exit command the monitor ends when the container has ended."""
    m = t.create('fork sleep 100000\nexit 3')
    m.finish(3, timeout=5)
    t.end_orphans()


def test_runtime_that_forks(t):
    """B16: the runtime leaves another child of its own."""
    m = t.create('wait @/go\nexit 3', runtime='container\npidfile\nfork sleep 20\nfork exit 0')
    wait_for(lambda: children(m.pid) == [m.container], 'the other children to be reaped', 3)
    t.touch('go')
    m.finish(3)


@differs('22.2')
def test_container_that_is_no_child(t):
    """B21: the end is noticed, but the status can't be known: -1, never 0."""
    m = t.create('wait @/go\nexit 42', runtime='container foster\npidfile')
    check(alive(m.pid), 'the monitor ended early')
    t.touch('go')
    m.finish(-1)


@differs('22.2')
def test_exec_that_is_no_child(t):
    m = t.exec('wait @/go\nexit 42', runtime='container foster\npidfile')
    t.touch('go')
    equal(m.sync.messages(), [{'data': -1}])
    m.finish(-1)


@differs('22.2')
def test_container_that_the_runtime_reaped(t):
    """Whoever took the status keeps it."""
    m = t.launch('exit 7', runtime='container reap\npidfile').go()
    m.created()
    m.finish(-1)


def test_runtime_that_lingers(t):
    """The pid file may be there and the container gone before the runtime has ended."""
    m = t.create('exit 5', runtime='container\npidfile\nsleep 200')
    m.finish(5)


def test_traced_container(t):
    """A debugger learns of the end first, and then the monitor."""
    libc, seize = ctypes.CDLL(None, use_errno=True), 0x4206
    m = t.create('wait @/go\nexit 3')
    equal(libc.ptrace(seize, m.container, 0, 0), 0, f'error {ctypes.get_errno()} of ptrace')
    t.touch('go')
    os.waitid(os.P_PID, m.container, os.WEXITED | os.WNOWAIT)
    time.sleep(0.1)
    check(not m.exit_file.exists(), 'an exit code is recorded before it can be known')
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
    check(not alive(m.container), 'the container lives')


def test_timeout_of_a_container_that_ignores_term(t):
    t.create('ignore 15\npause', '-T', '1').finish(-1)


def test_timeout_kills_the_whole_group(t):
    """B34"""
    m = t.create('fork pause\nfork pause\npause', '-T', '1')
    wait_for(lambda: len(children(m.container)) == 2, 'both children')
    group = [m.container, *children(m.container)]
    m.finish(-1)
    wait_for(lambda: not any(alive(pid) for pid in group), 'the whole group to die', 2)


def test_timeout_under_output(t):
    """A flood of output does not delay it."""
    m = t.create('fill 1 999999999999 80', '-T', '1', log='none')
    m.finish(-1)


def test_timeout_with_a_slow_client(t):
    """The end that the timeout brings about comes while the client is waited for, and changes nothing."""
    m = t.create('wait @/go\nfill 1 500000 100\npause', '-T', '2')
    client = m.attach()
    t.touch('go')
    m.finish(-1)
    client.close()


def test_exit_before_the_timeout(t):
    """B35"""
    t.create('sleep 100\nexit 3', '-T', '5').finish(3)


def test_no_timeout(t):
    for value in ('0', '-5'):
        m = t.create('sleep 100\nexit 3', '-T', value, places=t.monitor(value))
        m.finish(3)


def test_long_timeout(t):
    """More microseconds than 32 bits hold."""
    for value in ('2148', '3600', '2147483647'):
        t.create('sleep 100\nexit 3', '-T', value, places=t.monitor(value)).finish(3)


@differs('the reference kills the group that it is in itself')
def test_timeout_of_a_container_in_the_group_of_the_monitor(t):
    """B15: only the container dies."""
    m = t.create('pause', '-T', '1', runtime='container member\npidfile')
    m.finish(-1)
    check(not alive(m.container), 'the container lives')


def test_timeout_of_a_container_that_is_no_child(t):
    if t.reference:
        skip('22.2')
    m = t.create('pause', '-T', '1', runtime='container foster\npidfile')
    m.finish(-1)


if __name__ == '__main__':
    main()
