#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""From the start of the program to the first message: pipes, launcher, and files."""

import contextlib
import os
import re
import signal
import stat
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import (  # noqa: E402
    alive, Attach, check, children, CID, descendants, descriptors, differs, environ, equal, Inotify, kill,
    main, matches, parent, wait_for)


def check_waiting(t, m, milliseconds=50):
    """Checks that nothing is forked, sent or created before the start byte."""
    time.sleep(milliseconds / 1000)
    check(alive(m.launcher), 'the launcher ended before the start byte')
    equal(children(m.launcher), [], 'children before the start byte')
    check(not m.sync.poll(), 'a message came before the start byte')
    for path in (m.conmon_pidfile, m.attach_path, m.bundle / 'ctl', m.pidfile):
        check(not path.exists(), f'{path} exists before the start byte')


def test_nothing_happens_before_the_start_byte(t):
    """The caller moves the process into a cgroup before it sends the byte."""
    m = t.launch('exit 0')
    wait_for(m.log.exists, 'the log file')
    check_waiting(t, m)
    m.go().created().finish(0)


def test_any_data_starts(t):
    for kind in ('seqpacket', 'stream', 'pipe'):
        for number, data in enumerate((b'\0', b'x', b'start now please')):
            m = t.launch('exit 0', kind=kind, monitor=t.monitor(f'{kind}{number}'))
            os.write(m.start.fd, data)
            equal(m.wait_launcher(), 0)
            m.find()
            m.created().finish(0)


def test_end_of_start_pipe_starts(t):
    """Closing the pipe has the effect of a byte; the death of the caller is noticed on the sync pipe."""
    m = t.launch('exit 0')
    m.start.close()
    equal(m.wait_launcher(), 0)
    m.find()
    m.created().finish(0)


def test_term_before_the_start_byte(t):
    """The launcher exits at once, with status 1 and no message."""
    for number in (signal.SIGTERM,):
        m = t.launch('exit 0')
        wait_for(m.log.exists, 'the log file')
        check_waiting(t, m, 20)
        kill(m.launcher, number)
        equal(m.wait_launcher(), 1)
        m.pid = m.launcher
        equal(m.stderr.read_text(), '')
        m.sync.expect_end()


def test_without_start_pipe(t):
    m = t.launch('exit 5', pipes=('sync',)).go().created()
    m.finish(5)


def test_without_any_pipe(t):
    """Scripts use --sync without pipes: the exit status is the container's."""
    m = t.launch('exit 5', '--sync', pipes=()).go()
    m.finish(5)


def test_without_pipes_in_the_background(t):
    m = t.launch('exit 5', pipes=()).go()
    m.finish(5)


def test_launcher_succeeds_if_the_runtime_fails(t):
    m = t.launch('exit 0', runtime='exit 1').go()
    equal(m.wait(), 1)


def stale(t, variable, *extra):
    """Starts a monitor with this variable, but without the descriptor, whose number the log would get."""
    m = t.launch('print hello\\n', '--sync', *extra, pipes=(), env={variable: '3'}, monitor=t.monitor(variable))
    equal((m.wait(), m.exit_file.exists()), (1, False), f'status and exit file with {variable}')
    matches(rf'\[conmon:e\]:? unable to make {variable} CLOEXEC Bad file descriptor\n', m.stderr.read_text())
    equal(m.log.read_bytes(), b'', f'log with {variable}')


@differs('here the output of the container is in the log, without anything else')
def test_variables_of_another_monitor(t):
    """Exit commands and hooks inherit the variables without the descriptors."""
    stale(t, '_OCI_STARTPIPE')
    stale(t, '_OCI_SYNCPIPE')
    stale(t, '_OCI_ATTACHPIPE', '-e', '--exec-attach', '--exec-process-spec', '/x')


def test_pids(t):
    """The pid file has the pid of the monitor, without a newline; the monitor leads its own session."""
    m = t.create('pause')
    equal(m.conmon_pidfile.read_text(), str(m.pid))
    check(m.pid != m.launcher, 'the launcher still runs')
    equal(stat.S_IMODE(m.conmon_pidfile.stat().st_mode), 0o644)
    with open(f'/proc/{m.pid}/stat') as file:
        fields = file.read().rpartition(')')[2].split()
    equal((int(fields[2]), int(fields[3])), (m.pid, m.pid), 'process group and session')
    equal(parent(m.container), m.pid, 'parent of the container')
    equal(int(m.pidfile.read_text()), m.container)


def test_pidfile_is_atomic(t):
    """It is written to a temporary file and renamed."""
    watch = Inotify(t.monitor('1').root)
    m = t.create('exit 0', monitor=t.monitors[0])
    watch.until('moved-to', m.conmon_pidfile.name)
    check(('create', m.conmon_pidfile.name) not in watch.seen, f'created in place: {watch.seen}')
    watch.close()
    m.finish(0)


def test_pidfile_exists_when_the_launcher_returns(t):
    for number in range(10):
        m = t.launch('exit 0', monitor=t.monitor(str(number)))
        m.start.go()
        equal(m.wait_launcher(), 0)
        check(m.conmon_pidfile.exists(), 'no pid file when the launcher had ended')
        m.find()
        m.created().finish(0)


def test_unwritable_pidfile(t):
    m = t.launch('exit 0', '--conmon-pidfile', '/nonexistent/pid')
    m.start.go()
    equal(m.wait_launcher(), 1)
    matches(r'\[conmon:e\]:? Failed to write conmon pidfile: .*\n', m.stderr.read_text())
    wait_for(lambda: not descendants(os.getpid()) or not alive(descendants(os.getpid())[0]), 'the monitor to end')


@differs('here --sync writes the pid file, too')
def test_sync_writes_the_pidfile(t):
    m = t.launch('exit 0', '--sync').go().created()
    m.finish(0)
    equal(m.conmon_pidfile.read_text(), str(m.launcher))


def test_default_container_pidfile(t):
    """Without --container-pidfile it is pidfile-CID in the working directory."""
    m = t.create('exit 0', pidfile=False)
    m.finish(0)
    check((m.bundle / f'pidfile-{CID}').exists(), 'no pidfile-CID in the working directory')


def test_old_name_of_the_container_pidfile(t):
    m = t.create('exit 0', '--pidfile', '@/other', pidfile=False)
    m.finish(0)
    check((t.dir / 'other').exists(), '--pidfile was not used')


def test_relative_pidfile(t):
    m = t.create('exit 0', '-p', 'relative', pidfile=False)
    m.finish(0)
    check((m.bundle / 'relative').exists(), 'not relative to the working directory')


def test_bundle_defaults_to_the_working_directory(t):
    m = t.create('pause', bundle=False)
    check(m.attach_path.is_socket(), 'no attach socket in the working directory')


@differs('umask is 0022 since release 2.1.8')
def test_modes(t):
    """The modes do not depend on the caller's umask."""
    for umask in (0, 0o022, 0o077):
        m = t.create('pause', '-i', spawn={'umask': umask}, monitor=t.monitor(f'{umask:o}'))
        modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in
                 (m.attach_path, m.bundle / 'ctl', m.bundle / 'winsz', m.conmon_pidfile)}
        equal(modes, {'attach': '0o700', 'ctl': '0o640', 'winsz': '0o640', 'conmon.pid': '0o644'}, f'umask {umask:o}')
        kill(m.container)
        m.finish(137)
        equal({oct(stat.S_IMODE(path.stat().st_mode)) for path in (m.exit_file, m.persist_exit)}, {'0o644'})


@differs('log mode since release 2.1.13')
def test_mode_of_the_log(t):
    """It does not depend on the caller's umask."""
    for umask in (0, 0o022, 0o077):
        m = t.create('exit 0', spawn={'umask': umask}, monitor=t.monitor(f'{umask:o}'))
        m.finish(0)
        equal(oct(stat.S_IMODE(m.log.stat().st_mode)), '0o640', f'umask {umask:o}')


@differs('umask is 0022 since release 2.1.8')
def test_umask_of_the_runtime(t):
    """It does not depend on the caller's umask."""
    m = t.create('exit 0', runtime='dump @/runtime\ncontainer\npidfile', spawn={'umask': 0o077})
    m.finish(0)
    equal(t.dump('runtime')['umask'], '0022')


def test_kinds_of_files(t):
    m = t.create('pause')
    check(m.attach_path.is_socket(), 'attach is no socket')
    for name in ('ctl', 'winsz'):
        check((m.bundle / name).is_fifo(), f'{name} is no FIFO')


def test_stale_files_are_replaced(t):
    """Files left behind by a crash are replaced."""
    m = t.monitor()
    m.attach_path.write_text('stale')
    (m.bundle / 'ctl').write_text('stale')
    (m.bundle / 'winsz').write_text('stale')
    t.create('pause', monitor=m)
    check(m.attach_path.is_socket() and (m.bundle / 'ctl').is_fifo() and (m.bundle / 'winsz').is_fifo(), 'kinds')


def test_second_monitor_over_the_files_of_a_killed_one(t):
    """The files of a killed monitor do not prevent the next start."""
    m = t.create('pause')
    kill(m.pid)
    equal(m.wait(), -9)
    kill(m.container)
    again = t.create('wait @/go\nexit 6', monitor=t.monitor('2', bundle=m.bundle))
    client = again.attach()
    t.touch('go')
    client.to_end()
    again.finish(6)


def test_standard_streams_are_closed(t):
    """The caller reads them to their end: the monitor and its children must not keep them open."""
    for extra in ([], ['-i'], ['-t']):
        read, write = os.pipe()
        prepared = t.monitor('x' + ''.join(extra))
        m = t.launch('pause', *extra, monitor=prepared, spawn={'stdio': {1: write, 2: write}})
        os.close(write)
        m.go().created()
        equal(os.read(read, 4096), b'', 'standard output and error of the launcher')
        os.close(read)
        targets = descriptors(m.pid)
        equal([targets[number] for number in (0, 1, 2)], ['/dev/null'] * 3)


def test_no_output_in_a_successful_run(t):
    """Also for an ordinary user."""
    m = t.create('exit 0')
    m.finish(0)
    equal((m.stdout.read_bytes(), m.stderr.read_bytes()), (b'', b''))


def test_working_directory_stays_clean(t):
    """No file is created there."""
    cwd = t.dir / 'cwd'
    cwd.mkdir()
    m = t.create('exit 0', spawn={'cwd': cwd})
    m.finish(0)
    equal(os.listdir(cwd), [])


def in_directory(t, script, directory, env=None, **options):
    """Starts a monitor in a directory after a line of shell."""
    directory.mkdir()
    m = t.monitor(directory.name)
    argv = t.arguments(m, conmon_pidfile=False, **options) + ['--sync']
    m.spawn(['/bin/sh', '-c', f'{script}; exec "$0" "$@"', t.program, *argv], t.environment('exit 3', **(env or {})),
            ('sync', 'start'), cwd=directory)
    with contextlib.suppress(BrokenPipeError):  # the launcher may have exited
        m.start.go()
    return m


def test_working_directory_removed(t):
    """The monitor fails instead of using another directory."""
    for number, options in enumerate(({'bundle': False}, {'pidfile': False})):
        m = in_directory(t, 'rmdir "$PWD"', t.dir / f'gone{number}', **options)
        equal((m.wait(), m.exit_file.exists()), (1, False), f'status and exit file with {options}')
        matches(r'\[conmon:e\]:? Failed to get working directory.*\n', m.stderr.read_text())
        m.sync.expect_end()


@differs('the reference fails even if it does not need the directory')
def test_removed_working_directory_is_not_needed(t):
    m = in_directory(t, 'rmdir "$PWD"', t.dir / 'gone')
    m.created().finish(3)


def test_working_directory_is_physical(t):
    """The path is that of getcwd(3), not $PWD."""
    m = in_directory(t, 'ln -s "$PWD" "$PWD-link"; cd "$PWD-link"', t.dir / 'place', bundle=False, pidfile=False,
                     env={'FAKE_RUNTIME': f'dump {t.dir}/runtime\ncontainer\npidfile'})
    m.created().finish(3)
    argv = t.dump('runtime')['argv']
    equal(argv[argv.index('--bundle') + 1], str(t.dir / 'place'), 'bundle')
    equal(argv[argv.index('--pid-file') + 1], f'{t.dir}/place/pidfile-{CID}', 'pid file')


def test_environment_is_kept(t):
    """Callers check the monitor's environment in /proc."""
    m = t.create('pause', env={'SOME_VARIABLE': 'some value', 'NOTIFY_SOCKET': '/run/x', 'XDG_RUNTIME_DIR': ''})
    seen = environ(m.pid)
    for key, value in m.environment.items():
        equal(seen.get(key), value, key)


def test_bad_pipe_variables(t):
    """A start pipe that is not a number is an error before anything is created."""
    m = t.launch('exit 0', pipes=('sync',), env={'_OCI_STARTPIPE': 'x'})
    equal(m.wait_launcher(), 1)
    m.pid = m.launcher
    check(m.stderr.read_text().startswith('[conmon:e]'), f'no message: {m.stderr.read_text()!r}')
    m.sync.expect_end()


def test_start_pipe_that_cannot_be_read(t):
    """The caller's permission can't arrive, so nothing is started."""
    fd = os.open('/dev/null', os.O_WRONLY)
    m = t.launch('exit 0', pipes=('sync',), env={'_OCI_STARTPIPE': '9'}, spawn={'fds': {9: fd}})
    os.close(fd)
    equal(m.wait_launcher(), 1)
    m.pid = m.launcher
    matches(r'\[conmon:e\]:? start-pipe read failed Bad file descriptor\n', m.stderr.read_text())
    m.sync.expect_end()


def standard_stream_as_pipe(t, variable, number, stdio=None):
    """Starts a monitor with a standard stream as a pipe. The runtime and the exit command must have all three streams."""
    name = f'{variable}{number}'
    pipes = ('start',) if variable == '_OCI_SYNCPIPE' else ('sync',)
    m = t.launch('exit 3', '--exit-command', t.runtime, '--exit-command-arg', 'script', '--exit-command-arg',
                 f'dump @/{name}.end', runtime=f'dump @/{name}\ncontainer\npidfile', pipes=pipes, env={variable: number},
                 spawn={'stdio': stdio}, monitor=t.monitor(name))
    m.go().finish(3)
    for dump in (name, f'{name}.end'):
        equal([number for number in '012' if number not in t.dump(dump)['fds']], [], f'closed in {dump}')
    return m


def test_standard_input_as_start_pipe(t):
    """Standard input is not taken for a pipe: it is neither waited for nor closed."""
    read, write = os.pipe()
    standard_stream_as_pipe(t, '_OCI_STARTPIPE', '0', stdio={0: read})
    os.close(read)
    os.close(write)


@differs('the messages get lost')
def test_standard_streams_as_sync_pipe(t):
    standard_stream_as_pipe(t, '_OCI_SYNCPIPE', '0')
    equal(re.sub(r'\d+', 'N', standard_stream_as_pipe(t, '_OCI_SYNCPIPE', '1').stdout.read_text()), '{"data": N}\n')
    equal(re.sub(r'\d+', 'N', standard_stream_as_pipe(t, '_OCI_SYNCPIPE', '2').stderr.read_text()), '{"data": N}\n')


def test_bad_sync_pipe_variable(t):
    m = t.launch('exit 0', '--sync', pipes=(), env={'_OCI_SYNCPIPE': 'x'})
    equal(m.wait_launcher(), 1)
    matches(r'\[conmon:e\]:? unable to parse _OCI_SYNCPIPE .*\n', m.stderr.read_text())


def test_closed_sync_pipe_number(t):
    m = t.launch('exit 0', '--sync', pipes=(), env={'_OCI_SYNCPIPE': '77'})
    equal(m.wait_launcher(), 1)
    matches(r'\[conmon:e\]:? unable to make _OCI_SYNCPIPE CLOEXEC Bad file descriptor\n', m.stderr.read_text())


def test_exec_attach_without_attach_pipe(t):
    m = t.launch('exit 0', '--sync', '--exec-attach', mode='exec')
    m.start.go()
    equal(m.wait_launcher(), 1)
    matches(r'\[conmon:e\]:? --attach specified but _OCI_ATTACHPIPE was not .*\n', m.stderr.read_text())


def test_socket_directory(t):
    """Without --full-attach the socket directory has a link to the bundle, which is removed at the end."""
    m = t.create('wait @/go\nprint hi\\n\nexit 0', full_attach=False)
    equal(os.path.realpath(m.sockets / CID), os.path.realpath(m.bundle))
    client = Attach(m.sockets / CID / 'attach')
    t.touch('go')
    equal(client.to_end(), b'hi\n')
    m.finish(0)


@differs('links removed at the end since release 2.1.7')
def test_socket_directory_is_clean_after_failure(t):
    """The link is removed after a failure."""
    m = t.launch('', runtime='exit 1', full_attach=False).go()
    equal(m.wait(), 1)
    equal(os.listdir(m.sockets), [])


@differs('the reference removes the link last')
def test_socket_link_is_removed_before_the_exit_file(t):
    """A caller that restarts the container after the exit file creates the link again."""
    prepared = t.monitor('1')
    watch = Inotify(prepared.sockets, prepared.exits)
    t.create('exit 0', full_attach=False, monitor=prepared).finish(0)
    watch.until('moved-to', CID)
    check(('delete', CID) in watch.seen[:watch.seen.index(('moved-to', CID))], f'files of the directories: {watch.seen}')
    watch.close()


def test_stale_socket_link_is_replaced(t):
    m = t.monitor()
    os.symlink('/nonexistent', m.sockets / CID)
    t.create('exit 0', full_attach=False, monitor=m).finish(0)


def test_missing_socket_directory(t):
    m = t.launch('exit 0', '--socket-dir-path', '/nonexistent/dir', full_attach=False).go()
    equal(m.wait(), 1)
    m.sync.messages()


def test_long_bundle_paths(t):
    """Bundle paths may be longer than the 107 bytes of a socket address."""
    for length in (90, 107, 108, 109, 200, 3900):
        bundle = str(t.dir / f'b{length}')
        while len(bundle) < length:
            bundle += '/' + 'x' * min(200, length - len(bundle) - 1) if length - len(bundle) > 1 else 'x'
        os.makedirs(bundle)
        for full in (True, False):
            prepared = t.monitor(f'{length}{full}', bundle=bundle)
            m = t.create(f'wait @/go{length}{full}\nprint long\\n', '-u', 'short', cuuid=False, full_attach=full,
                         monitor=prepared)
            client = Attach(bundle + '/attach' if full else m.sockets / 'short/attach')
            t.touch(f'go{length}{full}')
            equal(client.to_end(), b'long\n', f'{length} {full}')
            m.finish(0)


def test_link_names_of_every_length(t):
    """The last character of a link path of 107 characters is kept."""
    for length in range(100, 112):
        prepared = t.monitor(f'n{length}')
        cuuid = 'u' * (length - len(str(prepared.sockets)) - 1)
        m = t.create('pause', '-u', cuuid, full_attach=False, cuuid=False, monitor=prepared)
        names = os.listdir(m.sockets)
        check(names == [cuuid] or t.reference, f'link of {length} characters: {names}')
        kill(m.container)
        m.finish(137)


if __name__ == '__main__':
    main()
