#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The monitor's own messages: text, destination and format."""

import json
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import differs, equal, main, matches, needs_root, parse, wait_for  # noqa: E402

# Executes the remaining arguments with a private /dev in which `log` is the socket $2.
PRIVATE_DEV = '''set -e
dir=$1 log=$2; shift 2
mount -t tmpfs none "$dir"
for name in null zero full random urandom ptmx tty; do touch "$dir/$name"; mount --bind "/dev/$name" "$dir/$name"; done
mkdir "$dir/pts"; mount --rbind /dev/pts "$dir/pts"
touch "$dir/log"; mount --bind "$log" "$dir/log"
mount --rbind "$dir" /dev
exec "$@"
'''


class Syslog:
    """Receives the messages sent to /dev/log in the monitor's mount namespace."""

    def __init__(self, t, name='syslog', server=None):
        self.socket, self.name = server or socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), name
        self.path, self.dev = t.dir / f'{name}.sock', t.dir / f'{name}.dev'
        self.socket.bind(str(self.path))
        self.socket.setblocking(False)
        self.dev.mkdir()

    def start(self, t, *extra, container='exit 0', runtime=None, **options):
        m = t.monitor(self.name)
        m.spawn(['/usr/bin/unshare', '-m', '/bin/sh', '-c', PRIVATE_DEV, 'sh', str(self.dev), str(self.path),
                 t.program, *t.arguments(m, **options), '--syslog', '--sync', *extra],
                t.environment(container, runtime), ('sync', 'start'))
        return m.go()

    def run(self, *args, **kwargs):
        self.start(*args, **kwargs).wait()
        lines = []
        try:
            while True:
                lines.append(self.socket.recv(65536).decode().rstrip())
        except BlockingIOError:
            return lines


PREFIX = r'<{}>\w\w\w [ \d]\d \d\d:\d\d:\d\d conmon: conmon 0123456789abcdef0123 <{}>: '


@needs_root
def test_syslog_of_a_failure(t):
    """Messages after the start go to syslog."""
    lines = Syslog(t).run(t, runtime='eprint boom\nexit 5')
    lines.sort()
    equal(len(lines), 2, f'{lines}')
    matches(PREFIX.format(11, 'error') + 'Failed to create container: exit status 5', lines[0])
    matches(PREFIX.format(14, 'nwarn') + 'runtime stderr: boom', lines[1])


@needs_root
def test_syslog_of_an_incomplete_success(t):
    """The runtime exits with 0, but its work is incomplete: the message for the caller is also logged."""
    for number, (runtime, extra, wanted) in enumerate((
            ('exit 0', [], 'Failed to open file .*/pidfile: No such file or directory'),
            ('rawpid x', [], "The runtime left no process id in .*/pidfile, but 'x'"),
            ('exit 0', ['-t'], 'Runtime did not set up terminal'))):
        lines = Syslog(t, f'syslog{number}').run(t, *extra, runtime=runtime)
        equal(len(lines), 1, f'{lines}')
        matches(PREFIX.format(11, 'error') + wanted, lines[0])


@needs_root
def test_syslog_of_a_timeout(t):
    """The processes that it ends are not left behind."""
    equal(Syslog(t).run(t, '-T', '1', container='fork pause\npause'), [])


@needs_root
def test_syslog_of_a_success(t):
    """No message at all at the default level."""
    equal(Syslog(t).run(t), [])


@needs_root
def test_syslog_over_a_stream(t):
    """A daemon may listen on a stream socket, where a NUL ends each message."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    syslog = Syslog(t, server=server)
    server.listen(10)
    syslog.start(t, runtime='eprint boom\nexit 5').wait()
    server.settimeout(10)
    messages = b''
    while messages.count(b'\0') < 2:
        peer = server.accept()[0]
        while data := peer.recv(65536):
            messages += data
    first, second, rest = (text.rstrip() for text in messages.decode().split('\0'))
    matches(PREFIX.format(14, 'nwarn') + 'runtime stderr: boom', first)
    matches(PREFIX.format(11, 'error') + 'Failed to create container: exit status 5', second)
    equal(rest, '')


@needs_root
def test_syslog_levels(t):
    for level, wanted in (('error', 1), ('warning', 2)):
        lines = Syslog(t, level).run(t, runtime='eprint boom\nexit 5', level=level)
        equal(len(lines), wanted, f'{level}: {lines}')


@needs_root
def test_syslog_of_an_exit(t):
    lines = Syslog(t).run(t, container='exit 3', level='info')
    matches(PREFIX.format(14, 'ninfo') + r'container \d+ exited with status 3', '\n'.join(
        line for line in lines if 'exited' in line))


@needs_root
def test_syslog_of_an_exit_command(t):
    """Its status is of interest to podman, which fails when another podman has removed the exec session already."""
    command = ['--exit-command', t.runtime, '--exit-command-arg', 'script', '--exit-command-arg']
    for mode in ('create', 'exec'):
        equal(Syslog(t, mode).run(t, *command, 'exit 125', mode=mode), [], mode)


@needs_root
@differs('the reference reports neither')
def test_syslog_of_an_exit_command_that_fails(t):
    command = ['--exit-command', t.runtime, '--exit-command-arg', 'script', '--exit-command-arg']
    lines = Syslog(t, 'status').run(t, *command, 'exit 125', level='info')
    matches(PREFIX.format(14, 'ninfo') + 'The exit command .*/fake-runtime ended with status 125', lines[-1])
    lines = Syslog(t, 'signal').run(t, *command, 'die 9')
    matches(PREFIX.format(14, 'nwarn') + 'The exit command .*/fake-runtime was killed by signal 9', '\n'.join(lines))


@needs_root
@differs('the reference blocks')
def test_syslog_that_does_not_read(t):
    """The monitor drops messages instead of blocking."""
    syslog = Syslog(t)
    m = syslog.start(t, container='wait @/go\nexit 3').created()
    for _ in range(1000):
        m.control('nonsense\n')
    t.touch('go')
    m.finish(3)


def test_options_without_effect(t):
    """One warning with the reason for each; options that have another name here are applied."""
    m = t.create('exit 0', '--log-driver', 'fluentd', '--log-opt', 'fluentd-address=unix:///nowhere',
                 '--log-opt', 'fluentd-async=true', '--log-opt', 'fluentd-max-retries=3', '--log-opt', 'drain-timeout=0',
                 '--log-opt', 'fluentd-buffer-limit=8MB')
    m.finish(0)
    equal(m.stderr.read_text(),
          '[conmon:w]: Log driver fluentd: option fluentd-async has no effect: a container starts without waiting for '
          'the server\n[conmon:w]: Log driver fluentd: option fluentd-max-retries has no effect: connecting is retried '
          'indefinitely\n')
    sink = json.loads((m.persist / 'log-status.json').read_text())['sinks'][1]
    equal((sink['driver'], sink['queue']['max']), ('fluentd', 8 << 20))


def test_no_syslog_server(t):
    """Reported once, on standard error."""
    m = t.create('print x', '--log-driver', 'syslog', '--log-opt', f'syslog-address=unix://{t.dir}/nobody', '--log-opt',
                 'drain-timeout=0')
    m.finish(0)
    equal(m.stderr.read_text(), f'[conmon:w]: There is no syslog server at {t.dir}/nobody: No such file or directory; what '
                                'the container writes is lost unless one appears\n')


def test_no_messages_on_success(t):
    """At the default level, for create and for exec, with and without a terminal."""
    for extra in ([], ['-t'], ['-i']):
        for mode in ('create', 'exec'):
            m = t.create('exit 1', *extra, mode=mode, monitor=t.monitor(mode + ''.join(extra)))
            m.finish(1)
            equal((m.stdout.read_bytes(), m.stderr.read_bytes()), (b'', b''), f'{mode} {extra}')


def test_debug_messages(t):
    """Start-up messages are on standard error, each with its prefix."""
    m = t.create('exit 0', level='debug')
    m.finish(0)
    for line in filter(None, m.stderr.read_text().splitlines()):
        matches(r'\[conmon:[dwie]\]:? .+', line)


def test_no_message_reaches_the_container_log(t):
    """The monitor's messages are not written to the container's log."""
    m = t.create('print out\\n\nwait @/go', level='trace')
    m.wait_log(b'out')
    old = m.log.rename(m.root / 'old.log')
    m.control('nonsense\n2 0 0\n')  # reopens the log when it has been complained about
    wait_for(m.log.exists, 'the new log')
    t.touch('go')
    m.finish(0)
    equal([(record.stream, record.content) for record in parse(old.read_bytes())], [('stdout', b'out')])
    equal(m.records(), [])


if __name__ == '__main__':
    main()
