#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Containers with a terminal."""

import contextlib
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import (  # noqa: E402
    alive, check, content, cpu_seconds, descriptors, differs, equal, kill, main, matches, needs_root, wait_for)


def test_output(t):
    """All output is stream 2; the terminal turns LF into CR LF, and the log keeps that."""
    m = t.create('wait @/go\nprint out\\n\neprint err\\n', '-t')
    client = m.attach()
    t.touch('go')
    equal(client.to_end(), b'out\r\nerr\r\n')
    equal(client.data[3], b'')
    m.finish(0)
    equal([(record.stream, record.content) for record in m.records()],
          [('stdout', b'out\r'), ('stdout', b'err\r')])


def test_input(t):
    for extra in (['-t'], ['-t', '-i']):
        name = ''.join(extra)
        m = t.create('raw\ncat', *extra, monitor=t.monitor(name))
        client = m.attach()
        time.sleep(0.05)
        client.send(b'typed')
        client.until(b'typed')
        kill(m.container)
        m.finish(137)


def test_early_input(t):
    """Input that arrives before the terminal is not lost."""
    m = t.launch('raw\ndiscard 5\nprint got it', '--exec-attach', '-t', '-i', mode='exec',
                 pipes=('sync', 'start', 'attach'), runtime='wait @/go\nconsole\ncontainer\npidfile').go()
    equal(m.attach_pipe.message(), {'data': 0})
    client = m.attach()
    client.send(b'early\n')
    m.start.go()
    time.sleep(0.05)
    t.touch('go')
    m.created()
    client.until(b'got it')
    client.to_end()
    m.finish(0)


def test_client_disconnects_before_the_terminal(t):
    """The input ends; data from other clients is then discarded without blocking them."""
    m = t.launch('pause', '--exec-attach', '-t', '-i', mode='exec', pipes=('sync', 'start', 'attach'),
                 runtime='wait @/go\nconsole\ncontainer\npidfile').go()
    equal(m.attach_pipe.message(), {'data': 0})
    m.start.go()

    def sockets():
        return sum(target.startswith('socket') for target in descriptors(m.pid).values())

    before = sockets()
    client = m.attach()
    wait_for(lambda: sockets() == before + 1, 'the client to be accepted')
    client.close()
    wait_for(lambda: sockets() == before, 'the end of the connection')
    client = m.attach()
    client.socket.settimeout(10)
    t.touch('go')
    m.created()
    client.send(b'x' * (4 << 20))
    kill(m.container)
    m.finish(137)


def test_disconnect_does_not_end_the_input(t):
    """-t without -i: the next client can use the terminal."""
    m = t.create('raw\ntouch @/ready\ncat', '-t')
    t.wait_file('ready')
    for how in ('half_close', 'close', 'close'):
        client = m.attach()
        client.send(b'typed')
        client.until(b'typed')
        getattr(client, how)()
    kill(m.container)
    m.finish(137)


def test_disconnect_ends_the_input_of_exec(t):
    """-t with -i: the output continues, but later clients can't send input."""
    m = t.create('raw\ntouch @/ready\nwait @/go\nprint out', '-t', '-i')
    t.wait_file('ready')
    m.attach().close()
    time.sleep(0.05)
    before = cpu_seconds(m.pid)
    time.sleep(0.3)
    check(cpu_seconds(m.pid) - before < 0.05, 'the monitor is busy')
    client = m.attach()
    t.touch('go')
    client.until(b'out')
    m.finish(0)


def test_control_characters(t):
    """The terminal turns them into signals."""
    m = t.create('touch @/ready\npause', '-t')
    t.wait_file('ready')
    m.attach().send(b'\x03')
    m.finish(130)


def test_console_socket(t):
    """In TMPDIR, mode 0700, removed as soon as the runtime has connected."""
    m = t.launch('exit 0', '-t', runtime='dump @/runtime\nsh ls -l "$TMPDIR" >@/list; exit 1').go()
    m.wait()
    argv = t.dump('runtime')['argv']
    path = argv[argv.index('--console-socket') + 1]
    matches(f'{t.tmp}/conmon-term\\.[A-Za-z0-9]{{6}}', path)
    line = [line for line in (t.dir / 'list').read_text().splitlines() if 'conmon-term' in line]
    check(len(line) == 1 and line[0].startswith('srwx------'), f'{line}')
    t.leftovers = os.listdir(t.tmp) if t.reference else ()


def test_console_socket_without_tmpdir(t):
    m = t.create('exit 0', '-t', env={'TMPDIR': None}, runtime='dump @/runtime\nconsole\ncontainer\npidfile')
    m.finish(0)
    argv = t.dump('runtime')['argv']
    matches(r'/tmp/conmon-term\.[A-Za-z0-9]{6}', argv[argv.index('--console-socket') + 1])


@needs_root
@differs('the reference fails')
def test_read_only_tmp(t):
    """The console socket is created in the bundle, and removed after the connection."""
    for name, bundle in (('1', None), ('2', t.dir / ('b' * 120))):
        m = t.monitor(name, bundle=bundle)
        script = ('mount --bind "$0" /mnt && mount --rbind /tmp /tmp && mount -o remount,bind,ro /tmp && '
                  'mount --bind /mnt "$0" && exec "$@"')
        runtime = f'dump @/runtime{name}\nconsole\ncontainer\npidfile'
        argv = ['/usr/bin/unshare', '-m', '/bin/sh', '-c', script, str(t.dir), t.program, *t.arguments(m), '-t']
        m.spawn(argv, t.environment(f'print out{name}', runtime=runtime, TMPDIR=None), ('sync', 'start'))
        m.start.go()
        m.created()
        m.finish(0)
        argv = t.dump(f'runtime{name}')['argv']
        path = argv[argv.index('--console-socket') + 1]
        matches(r'/proc/\d+/fd/\d+/conmon-term\.[A-Z0-9]{6}' if bundle else
                f'{m.bundle}/conmon-term\\.[A-Z0-9]{{6}}', path)
        equal((content(m.records()), [n for n in os.listdir(m.bundle) if 'conmon-term' in n]),
              (f'out{name}'.encode(), []))


@differs('the reference fails if TMPDIR is too long')
def test_long_tmpdir(t):
    long = t.dir / ('x' * 120)
    long.mkdir()
    m = t.create('print out', '-t', env={'TMPDIR': str(long)})
    m.finish(0)
    equal((os.listdir(long), content(m.records())), ([], b'out'))


@differs('the reference fails if TMPDIR does not exist')
def test_missing_tmpdir(t):
    """Either it works or the caller gets an error; nothing hangs."""
    t.skip_with(valgrind='it needs a directory for temporary files')
    m = t.launch('exit 0', '-t', env={'TMPDIR': '/nonexistent/tmp'}).go()
    messages = m.sync.messages()
    check(len(messages) == 1, f'{messages}')
    m.wait()


@differs('the socket is removed in all cases')
def test_console_socket_is_removed_after_failure(t):
    for runtime in ('exit 1', 'eprint x\nexit 1', 'die 9', 'exit 0', 'console nofd\nexit 1'):
        m = t.launch('exit 0', '-t', runtime=runtime, monitor=t.monitor(runtime.replace('\n', '-'))).go()
        m.wait()
        equal(os.listdir(t.tmp), [], runtime)


def failed(t, runtime, **kwargs):
    m = t.launch('exit 0', '-t', runtime=runtime, monitor=t.monitor(f'm{len(t.monitors)}'), **kwargs).go()
    messages = m.sync.messages()
    check(len(messages) == 1 and messages[0]['data'] == -1, f'{runtime!r}: {messages}')
    equal(m.wait(), 1)
    return messages[0].get('message', '')


@differs('reported since release 2.2.0')
def test_runtime_without_console(t):
    """The runtime succeeds without having sent a terminal."""
    equal(failed(t, 'container\npidfile'), 'Runtime did not set up terminal')
    equal(failed(t, 'console connect\ncontainer\npidfile'), 'Runtime did not set up terminal')
    t.end_orphans()


@differs('the reference accepts any message')
def test_console_without_descriptor(t):
    check(failed(t, 'console nofd\ncontainer\npidfile') != '', 'no reason given')


@differs('the reference accepts any message')
def test_console_is_not_a_terminal(t):
    """It may be refused or used, but the end is recorded, and no processor time is used."""
    m = t.launch('exit 0', '-t', runtime='console file\ncontainer\npidfile').go()
    message = m.sync.message()
    if message['data'] == -1:
        check(message.get('message'), 'no reason given')
        equal(m.wait(), 1)
    else:
        m.wait()
        check(m.exit_file.exists(), 'the end was not recorded')


@differs('the reference accepts any message')
def test_two_consoles(t):
    """The first one is used."""
    m = t.create('print out', '-t', runtime='console twice\ncontainer\npidfile')
    m.finish(0)
    equal(content(m.records()), b'out')


@differs('the reference accepts any message')
def test_bad_consoles_leak_nothing(t):
    for how in ('twice', 'pair', ''):
        m = t.create('wait @/go', '-t', runtime=f'console {how}\ncontainer\npidfile', monitor=t.monitor(f'm{how}'))
        targets = list(descriptors(m.pid).values())
        equal(len([target for target in targets if 'ptmx' in target]), 2, f'{how}: {targets}')
    t.touch('go')


def test_terminal_without_open_slave(t):
    """The container may close all descriptors of its terminal and open it again."""
    m = t.create('sh tty=$(tty); exec </dev/null >/dev/null 2>&1; sleep 0.4; echo back >$tty; sleep 0.2', '-t')
    time.sleep(0.15)
    before = cpu_seconds(m.pid)
    time.sleep(0.2)
    check(cpu_seconds(m.pid) - before < 0.05, 'the monitor is busy')
    m.finish(0)
    equal(content(m.records()), b'back\r\n')


def write_calls(pid):
    with open(f'/proc/{pid}/io', encoding='ascii') as file:
        return int(next(line.split()[1] for line in file if line.startswith('syscw:')))


@differs('the reference uses the processor')
def test_input_without_open_slave(t):
    """More input than the kernel holds waits, without using the processor, until the terminal is opened again."""
    m = t.create('sh tty=$(tty); exec </dev/null >/dev/null 2>&1; touch @/closed; while ! [ -e @/go ]; do sleep 0.05; done; '
                 'exec cat <$tty >$tty', '-t')
    client = m.attach()
    t.wait_file('closed')
    client.socket.settimeout(0.2)
    with contextlib.suppress(OSError):
        while True:
            client.send(b'line\n' * 800)
    client.socket.settimeout(None)
    before = write_calls(m.pid)
    time.sleep(0.5)
    check(write_calls(m.pid) - before < 20, f'{write_calls(m.pid) - before} writes')
    t.touch('go')
    client.send(b'marker\n')
    client.until(b'marker')
    kill(m.container)
    m.finish(137)


def test_end_of_terminal_is_no_error(t):
    """EIO at the end of a terminal is not reported as an error."""
    m = t.create('print out\\n\nclose 0\nclose 1\nclose 2\nsleep 100\nexit 3', '-t')
    m.finish(3)
    equal(content(m.records()), b'out\r\n')


def test_last_output_of_a_terminal(t):
    """Output written right before the end is not lost."""
    for number in range(20):
        m = t.create('fill 1 3000 100\nprint last', '-t', monitor=t.monitor(str(number)))
        m.finish(0)
        check(content(m.records()).endswith(b'last'), f'the end is missing: {content(m.records())[-50:]}')


def test_runtime_messages_are_logged_as_errors(t):
    m = t.create('print out\\n', '-t', runtime='eprint warning\\n\nconsole\ncontainer\npidfile')
    m.finish(0)
    equal(content(m.records(), 'stderr'), b'warning\n')
    equal(content(m.records()), b'out\r\n')


def test_hangup_of_the_monitor(t):
    """The container's terminal hangs up when the monitor dies, not before."""
    m = t.create('touch @/ready\npause', '-t')
    t.wait_file('ready')
    kill(m.pid, signal.SIGKILL)
    m.wait()
    wait_for(lambda: not alive(m.container), 'the end of the container by SIGHUP')


def test_slow_runtime_with_terminal(t):
    m = t.create('print out', '-t', runtime='console\nsleep 50\ncontainer\nsleep 50\npidfile\nsleep 50')
    m.finish(0)
    equal(content(m.records()), b'out')


def test_terminal_container_ends_before_the_runtime(t):
    """A short session with a terminal is not taken for a failure of the runtime."""
    for number in range(30):
        m = t.create('exit 5', '-t', runtime='console\ncontainer\npidfile\nsleep 20', monitor=t.monitor(str(number)))
        m.finish(5)


if __name__ == '__main__':
    main()
