#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Arguments, environment, descriptors, signals and OOM scores of the runtime and the container."""

import os
import signal
import socket
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import (  # noqa: E402
    alive, check, CID, content, descriptors, differs, equal, ignored, kill, main, needs_root, wait_for)

DUMP = 'dump @/runtime\nconsole\ncontainer\npidfile'


def argv_of(t, *extra, **kwargs):
    """The runtime's arguments, with variable parts replaced by letters."""
    m = t.launch('exit 0', *extra, runtime=DUMP, monitor=t.monitor(f'm{len(t.monitors)}'), **kwargs).go()
    m.wait()
    argv = t.dump('runtime')['argv']
    (t.dir / 'runtime').unlink()
    names = {t.runtime: 'RT', str(m.bundle): 'B', str(m.pidfile): 'P', CID: 'CID',
             str(m.root / 'process.json'): 'SPEC'}
    return [names.get(word, 'S' if word.startswith(f'{t.tmp}/conmon-term.') else word) for word in argv]


def test_arguments_of_create(t):
    equal(argv_of(t), 'RT create --bundle B --pid-file P CID'.split())
    equal(argv_of(t, '-t'), 'RT create --bundle B --pid-file P --console-socket S CID'.split())
    equal(argv_of(t, '-s', '--no-pivot', '--no-new-keyring', '--runtime-arg', 'a', '--runtime-arg', '-b',
                  '--runtime-opt', 'c', '--runtime-opt', '--d=e', '-t'),
          'RT --systemd-cgroup a -b create --bundle B --pid-file P --no-pivot --no-new-keyring c --d=e '
          '--console-socket S CID'.split())


def test_arguments_of_restore(t):
    equal(argv_of(t, '--restore', '/ckpt'),
          'RT restore --bundle B --pid-file P --detach --image-path /ckpt --work-path B CID'.split())
    equal(argv_of(t, '--restore', '/ckpt', '-s', '--no-pivot', '--no-new-keyring', '--runtime-arg', 'a',
                  '--runtime-opt', '--tcp-established', '--restore-arg', '--file-locks', '-t'),
          'RT --systemd-cgroup a restore --bundle B --pid-file P --no-pivot --no-new-keyring --detach '
          '--image-path /ckpt --work-path B --tcp-established --file-locks --console-socket S CID'.split())


def test_arguments_of_exec(t):
    for api in (0, 1):
        equal(argv_of(t, mode='exec', api=api), 'RT exec --pid-file P --process SPEC --detach CID'.split())
    equal(argv_of(t, '-s', '--no-pivot', '--no-new-keyring', '--runtime-arg', 'a', '--runtime-opt', 'b',
                  mode='exec'), 'RT a exec --pid-file P --process SPEC --detach b CID'.split())


@differs('no --tty for exec since release 2.1.11')
def test_arguments_of_exec_with_a_terminal(t):
    """Without options that some runtimes do not have."""
    equal(argv_of(t, '-t', mode='exec'),
          'RT exec --pid-file P --process SPEC --detach --console-socket S CID'.split())


def test_name_of_the_runtime(t):
    """argv[0] is the path from the command line."""
    link = t.dir / 'some-runtime'
    link.symlink_to(t.runtime)
    m = t.create('exit 0', '-r', link, runtime=DUMP)
    m.finish(0)
    equal(t.dump('runtime')['argv'][0], str(link))


def test_runtime_is_not_searched_in_path(t):
    status, _, err = t.run('-c', CID, '-u', CID, '-r', 'sh', '-l', 'none')
    equal((status, err), (1, '[conmon:e]: Runtime path sh is not valid No such file or directory\n'))


def test_environment(t):
    """All variables are passed on, including those of the pipes; none is added."""
    t.skip_with(valgrind='it adds variables')
    m = t.create('dump @/container', runtime=DUMP, env={'NOTIFY_SOCKET': '/x', 'EMPTY': '', 'ODD': 'a=b'})
    m.finish(0)
    expected = sorted(f'{key}={value}' for key, value in m.environment.items())
    shown = [line.replace('\n', '\n') for line in expected]
    equal(sorted(t.dump('runtime')['env']), shown, 'environment of the runtime')
    equal(sorted(t.dump('container')['env']), shown, 'environment of the container')


def test_working_directory(t):
    m = t.create('exit 0', runtime=DUMP, spawn={'cwd': '/usr'})
    m.finish(0)
    equal(t.dump('runtime')['cwd'], '/usr')


def streams(dump):
    """The targets of descriptors 0 to 2. Checks that there are no others."""
    kinds = {stat.S_IFIFO: 'pipe', stat.S_IFSOCK: 'socket', stat.S_IFREG: 'file'}
    shown = []
    for number in ('0', '1', '2'):
        entry = dump['fds'][number]
        shown.append(kinds.get(entry['type'], entry['target']))
    return shown


def test_standard_streams(t):
    """They are pipes, so that /dev/stdout can be opened; never sockets."""
    for extra, runtime, container in (
            ([], ['/dev/null', 'pipe', 'pipe'], ['/dev/null', 'pipe', 'pipe']),
            (['-i'], ['pipe', 'pipe', 'pipe'], ['pipe', 'pipe', 'pipe']),
            (['-t'], ['/dev/null', '/dev/null', 'pipe'], None),
            (['-t', '-i'], ['/dev/null', '/dev/null', 'pipe'], None)):
        prepared = t.monitor('m' + ''.join(extra))
        m = t.create('dump @/container', *extra, runtime=DUMP, monitor=prepared).finish(0)
        seen = t.dump('runtime'), t.dump('container')
        equal(streams(seen[0]), runtime, f'runtime {extra}')
        if container:
            equal(streams(seen[1]), container, f'container {extra}')
        else:
            check(all(target.startswith('/dev/pts/') for target in streams(seen[1])), 'no terminal')
        (t.dir / 'runtime').unlink()
        (t.dir / 'container').unlink()


def test_no_descriptor_leaks_into_the_runtime(t):
    """It gets only its standard streams."""
    t.skip_with(valgrind='it adds descriptors')
    for extra in (['-i'], ['-t'], ['--sdnotify-socket', '/x'], ['-l', 'journald']):
        prepared = t.monitor('m' + ''.join(extra).replace('/', ''))
        (prepared.bundle / 'notify').mkdir()
        m = t.create('exit 0', *extra, runtime=DUMP, monitor=prepared).finish(0)
        dump = t.dump('runtime')
        equal(sorted(dump['fds']), ['0', '1', '2'], f'descriptors of the runtime with {extra}')
        (t.dir / 'runtime').unlink()


def test_no_descriptor_leaks_into_exec(t):
    """It gets only its standard streams."""
    t.skip_with(valgrind='it adds descriptors')
    t.exec('exit 0', '-i', runtime=DUMP, client=True).finish(0)
    equal(sorted(t.dump('runtime')['fds']), ['0', '1', '2'])


@differs('releases 2.1.3 to 2.1.7 did not change the mode of pipes')
def test_modes_of_the_pipes(t):
    """An ordinary user in the container can open /dev/stdout."""
    t.create('dump @/container', '-i').finish(0)
    fds = t.dump('container')['fds']
    equal([oct(fds[number]['mode']) for number in '012'], ['0o777'] * 3)


@differs('releases 2.1.3 to 2.1.7 did not change the mode of pipes')
@needs_root
def test_reopen_as_an_ordinary_user(t):
    """An ordinary user in the container cannot write to /dev/stdout."""
    t.create('user 1000\nreopen 1\nprint hello\\n').finish(0)
    equal(content(t.monitors[0].records()), b'hello\n')


def test_null_device_keeps_its_mode(t):
    """An ordinary user in the container cannot write to /dev/stdout."""
    before = os.stat('/dev/null').st_mode
    for extra in ([], ['-t'], ['-i']):
        t.create('exit 0', *extra, monitor=t.monitor('m' + ''.join(extra))).finish(0)
    equal(os.stat('/dev/null').st_mode, before)


def test_reopen_of_standard_output(t):
    """/dev/stdout can be opened, which fails for sockets."""
    t.create('reopen 1\nprint one\\n\nreopen 2\neprint two\\n').finish(0)
    records = t.monitors[0].records()
    equal((content(records), content(records, 'stderr')), (b'one\n', b'two\n'))


def test_preserved_descriptors(t):
    """--preserve-fds: descriptors 3 to N+2 keep their numbers, also if some are closed."""
    t.skip_with(valgrind='it adds descriptors')
    read, write = os.pipe()
    m = t.create('dump @/container\nsh echo kept >&5', '--runtime-opt', '--preserve-fds', '--runtime-opt', '3',
                 runtime=DUMP, spawn={'fds': {3: write, 5: write}, 'first_fd': 6})
    os.close(write)
    m.finish(0)
    equal(sorted(t.dump('runtime')['fds']), ['0', '1', '2', '3', '5'])
    equal(sorted(t.dump('container')['fds']), ['0', '1', '2', '3', '5'])
    equal(os.read(read, 100), b'kept\n')


def test_leaked_descriptors_reach_the_runtime(t):
    """Descriptors after those of the pipes are inherited unchanged."""
    t.skip_with(valgrind='it adds descriptors')
    port = socket.socket()
    port.bind(('127.0.0.1', 0))
    m = t.create('exit 0', runtime=DUMP, spawn={'fds': {9: port.fileno()}})
    m.finish(0)
    equal(sorted(t.dump('runtime')['fds']), ['0', '1', '2', '9'])


def test_signal_mask_and_dispositions(t):
    """The mask is the caller's; SIGPIPE may be ignored, as with the reference."""
    for mask in ((), (signal.SIGUSR2, signal.SIGHUP)):
        prepared = t.monitor(f'm{len(mask)}')
        t.create('exit 0', runtime=DUMP, spawn={'mask': mask}, monitor=prepared).finish(0)
        dump = t.dump('runtime')
        (t.dir / 'runtime').unlink()
        equal(int(dump['blocked'], 16), sum(1 << (number - 1) for number in mask), 'blocked signals')


@differs('dispositions are restored')
def test_sigpipe_is_restored(t):
    t.create('dump @/container', runtime=DUMP).finish(0)
    for name in ('runtime', 'container'):
        equal(ignored(t.dump(name)), 0, f'ignored signals of the {name}')


def test_runtime_session(t):
    m = t.create('exit 0', runtime=DUMP)
    m.finish(0)
    dump = t.dump('runtime')
    equal((dump['pgid'], dump['sid'], dump['ppid']), (m.pid, m.pid, m.pid), 'group, session, parent')


def scores(t, own, *extra):
    with open('/proc/self/oom_score_adj', 'w') as file:
        file.write(str(own))
    m = t.create('dump @/container\npause', *extra, runtime=DUMP)
    with open(f'/proc/{m.pid}/oom_score_adj') as file:
        monitor = int(file.read())
    return m, monitor, t.dump('runtime')['oom_score_adj'], t.dump('container')['oom_score_adj']


@differs("the caller's score since release 2.1.8")
def test_oom_score(t):
    """The monitor's score is lowered if permitted; all processes that it starts have the caller's score."""
    with open('/proc/self/oom_score_adj') as file:
        own = max(int(file.read()), 0) + 100
    m, monitor, runtime, container = scores(t, own)
    equal((runtime, container), (own, own), 'scores of runtime and container')
    check(monitor in (-1000, own), f'score of the monitor: {monitor}')


@needs_root
def test_oom_score_of_the_monitor(t):
    """The monitor's score is lowered, so that the OOM killer does not choose it first."""
    try:
        with open('/proc/self/oom_score_adj', 'w') as file:
            file.write('-1')
        with open('/proc/self/oom_score_adj', 'w') as file:
            file.write('0')
    except PermissionError:
        return  # lowering the score needs CAP_SYS_RESOURCE
    m = t.create('pause')
    with open(f'/proc/{m.pid}/oom_score_adj') as file:
        equal(int(file.read()), -1000)


def test_runtime_dies_with_the_monitor(t):
    """If the monitor is killed while the runtime runs, the runtime is killed, too."""
    m = t.launch('exit 0', runtime='append @/pid x\ndump @/runtime\npause').go()
    pid = t.dump('runtime')['pid']
    kill(m.pid)
    equal(m.wait(), -9)
    wait_for(lambda: not alive(pid), 'the end of the runtime')


# LISTEN_PID

def listen_pid(t, value, *extra):
    m = t.create('exit 0', *extra, runtime=DUMP, env={'LISTEN_PID': value, 'LISTEN_FDS': '2', 'LISTEN_FDNAMES': 'a:b'})
    m.finish(0)
    dump = t.dump('runtime')
    env = dict(item.partition('=')[::2] for item in dump['env'])
    equal((env['LISTEN_FDS'], env['LISTEN_FDNAMES']), ('2', 'a:b'))
    return env['LISTEN_PID'], str(dump['pid'])


def test_listen_pid_of_another_process_stays(t):
    equal(listen_pid(t, '77')[0], '77')


def test_listen_pid_is_replaced_on_request(t):
    """LISTEN_PID."""
    value, pid = listen_pid(t, '77', '--replace-listen-pid')
    equal(value, pid)


def test_listen_pid_of_the_monitor_is_replaced(t):
    """With --sync the caller can set LISTEN_PID to the monitor's pid, which is replaced by the runtime's."""
    script = t.dir / 'with-listen-pid'
    script.write_text('#!/bin/sh\nexport LISTEN_PID=$$\nexec "$@"\n')
    script.chmod(0o755)
    m = t.monitor()
    m.spawn([str(script), t.program, *t.arguments(m), '--sync'], t.environment('exit 0', DUMP), ('sync', 'start'))
    m.go().created().finish(0)
    dump = t.dump('runtime')
    check(f'LISTEN_PID={dump["pid"]}' in dump['env'], 'LISTEN_PID was not replaced')


def test_listen_pid_with_other_text(t):
    """Text after the number is ignored, and passed on like the number."""
    for value in ('77 ', '77\n', '77x'):
        m = t.create('exit 0', env={'LISTEN_PID': value}, monitor=t.monitor(f'v{value}'), runtime=DUMP)
        m.finish(0)
        check(f'LISTEN_PID={value}' in t.dump('runtime')['env'], f'LISTEN_PID={value!r} was changed')
        os.unlink(t.dir / 'runtime')


def test_bad_listen_pid(t):
    for value in ('x', '0', '-1', '', '12345678901234567890'):
        m = t.launch('exit 0', env={'LISTEN_PID': value}, monitor=t.monitor(f'v{value}'), runtime=DUMP).go()
        message = m.sync.message()
        equal(message['data'], -1, repr(value))
        check('Invalid LISTEN_PID' in message['message'], f'{value!r}: {message}')
        equal(m.wait(), 1)


# Passthrough

def test_passthrough(t):
    """The container gets the caller's streams; there is no attach socket."""
    read, write = os.pipe()
    m = t.create('dump @/container\nprint out\\n\neprint err\\n', log='passthrough', runtime=DUMP,
                 spawn={'stdio': {1: write, 2: write}})
    os.close(write)
    m.finish(0)
    equal(os.read(read, 100), b'out\nerr\n')
    equal(os.listdir(m.bundle), [], 'files in the bundle')
    equal(sorted(t.dump('container')['fds']), ['0', '1', '2'])
    equal(os.read(read, 100), b'', 'end of the stream')


def test_passthrough_releases_the_streams(t):
    m = t.create('pause', log='passthrough')
    targets = descriptors(m.pid)
    equal([targets[number] for number in (0, 1, 2)], ['/dev/null'] * 3)


@differs('a silent failure is reported since release 2.2.0')
def test_passthrough_failure(t):
    """The runtime's message has gone to the caller's standard error."""
    m = t.launch('', log='passthrough', runtime='eprint boom\\n\nexit 1').go()
    equal(m.sync.messages(), [{'data': -1}])
    equal(m.wait(), 1)
    equal(m.stderr.read_text(), 'boom\n')


def test_passthrough_with_terminal(t):
    """The runtime gets a console socket, because it refuses the container without one; the output is discarded."""
    m = t.create('fill 1 100000 100\ndump @/container\nexit 3', '-t', log='passthrough', runtime=DUMP)
    m.finish(3)
    check('--console-socket' in t.dump('runtime')['argv'], t.dump('runtime')['argv'])
    targets = {entry['target'] for number, entry in t.dump('container')['fds'].items() if number in '012'}
    check(all('/pts/' in target for target in targets), f'streams of the container: {targets}')
    equal(m.stdout.read_text() + m.stderr.read_text(), '')
    equal(os.listdir(m.bundle), [], 'files in the bundle')


@differs('a missing console is reported since release 2.2.0')
def test_passthrough_without_the_terminal(t):
    m = t.launch('', '-t', log='passthrough', runtime='exit 0').go()
    equal(m.sync.messages(), [{'data': -1}])
    equal(m.wait(), 1)


if __name__ == '__main__':
    main()
