#!/usr/bin/python3
"""The monitor's own messages: which, where, and in what form."""

import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from harness import *  # noqa

# A /dev of its own, in which log is the socket $1; then the rest of the arguments is executed.
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
    """What arrives at /dev/log in a mount namespace of the monitor's own."""

    def __init__(self, t, name='syslog'):
        self.socket, self.name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), name
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
    """B95: what was said after the start is found there."""
    lines = Syslog(t).run(t, runtime='eprint boom\nexit 5')
    lines.sort()
    equal(len(lines), 2, f'{lines}')
    matches(PREFIX.format(11, 'error') + 'Failed to create container: exit status 5', lines[0])
    matches(PREFIX.format(14, 'nwarn') + 'runtime stderr: boom', lines[1])


@needs_root
def test_syslog_of_a_success(t):
    """No message at all at the default level. E03"""
    equal(Syslog(t).run(t), [])


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
@differs('the reference waits')
def test_syslog_that_reads_nothing(t):
    """The monitor loses messages, and does not wait."""
    syslog = Syslog(t)
    m = syslog.start(t, container='wait @/go\nexit 3').created()
    for _ in range(1000):
        m.control('nonsense\n')
    t.touch('go')
    m.finish(3)


def test_nothing_on_a_successful_run(t):
    """E03, B97: at the default level, for create and for exec, with and without a terminal."""
    for extra in ([], ['-t'], ['-i']):
        for mode in ('create', 'exec'):
            m = t.create('exit 1', *extra, mode=mode, places=t.monitor(mode + ''.join(extra)))
            m.finish(1)
            equal((m.stdout.read_bytes(), m.stderr.read_bytes()), (b'', b''), f'{mode} {extra}')


def test_debug_messages(t):
    """Start-up messages are on standard error, each with its prefix."""
    m = t.create('exit 0', level='debug')
    m.finish(0)
    for line in filter(None, m.stderr.read_text().splitlines()):
        matches(r'\[conmon:[dwie]\]:? .+', line)


def test_no_message_reaches_the_container_log(t):
    """S05: what the monitor says about itself is not the container's output."""
    m = t.create('print out\\n', level='trace')
    m.control('nonsense\n') if alive(m.container) else None
    m.finish(0)
    equal([(record.stream, record.content) for record in m.records()], [('stdout', b'out')])


if __name__ == '__main__':
    main()
