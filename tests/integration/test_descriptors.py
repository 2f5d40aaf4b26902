#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Descriptors inherited from the caller: kept open while the container runs, closed in time, and no others closed."""

import os
import resource
import select
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import alive, check, CID, content, cpu_seconds, descriptors, differs, equal, Inotify, main  # noqa: E402


def ended(fd):
    """Whether all processes have closed the other end of a pipe."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(0)) and os.read(fd, 1) == b''


def test_kept_while_the_container_runs(t):
    """For example ports, and pipes on whose closing a helper of the caller waits."""
    read, write = os.pipe()
    m = t.create('wait @/go', spawn={'fds': {7: write, 30: write}})
    os.close(write)
    check(not ended(read), 'closed early')
    targets = descriptors(m.pid)
    check(7 in targets and 30 in targets, f'{targets}')
    t.touch('go')
    m.finish(0)
    check(ended(read), 'still open')


def test_closed_before_the_connection_of_clients(t):
    """When a client sees the end, ports are free."""
    for number in range(20):
        read, write = os.pipe()
        prepared = t.monitor(str(number))
        m = t.create(f'wait @/go{number}', spawn={'fds': {7: write}}, monitor=prepared)
        os.close(write)
        client = m.attach()
        t.touch(f'go{number}')
        client.to_end()
        check(ended(read), 'open after the end of the connection')
        m.finish(0)
        os.close(read)


def test_closed_before_the_exit_file(t):
    """When the exit file appears, ports are free."""
    for number in range(20):
        prepared = t.monitor(str(number))
        watch = Inotify(prepared.exits)
        port = socket.socket()
        port.bind(('127.0.0.1', 0))
        address = port.getsockname()
        m = t.create('exit 0', spawn={'fds': {7: port.fileno()}}, monitor=prepared)
        port.close()
        watch.until('moved-to', CID)
        with socket.socket() as again:
            again.bind(address)
        watch.close()
        m.finish(0)


def test_closed_before_the_exit_command(t):
    read, write = os.pipe()
    m = t.create('exit 0', '--exit-command', t.runtime, '--exit-command-arg', 'script', '--exit-command-arg',
                 'touch @/started', '--exit-command-arg', 'wait @/go', spawn={'fds': {7: write}})
    os.close(write)
    t.wait_file('started')
    check(ended(read), 'open during the exit command')
    t.touch('go')
    m.finish(0)


def test_closed_after_a_failed_start(t):
    read, write = os.pipe()
    m = t.launch('exit 0', runtime='exit 1', spawn={'fds': {7: write}}).go()
    os.close(write)
    m.wait()
    check(ended(read), 'still open')


def test_only_inherited_descriptors_are_closed(t):
    """Closing inherited descriptors must not close those that the monitor has opened with the same numbers."""
    holes = [os.pipe() for _ in range(8)]
    fds = {number: write for number, (_, write) in zip((3, 6, 7, 10, 12, 13, 20, 40), holes)}
    m = t.launch('wait @/go\nprint out\\n\nexit 3', '-i', spawn={'fds': fds, 'first_fd': 4}).go().created()
    for _, write in holes:
        os.close(write)
    client = m.attach()
    t.touch('go')
    equal(client.to_end(), b'out\n')
    m.finish(3)
    for read, _ in holes:
        check(ended(read), 'still open')


def test_launcher_keeps_no_descriptors(t):
    """Descriptors of the launcher are closed when it has returned."""
    m = t.create('pause')
    check(not alive(m.launcher), 'the launcher lives')


def test_start_pipe_is_closed(t):
    """After the start byte; for exec with attach after the second one."""
    m = t.create('pause')
    poller = select.poll()
    poller.register(m.start.fd, select.POLLIN)
    check(poller.poll(1000), 'the start pipe is still open')


def test_number_of_descriptors(t):
    """The number of descriptors of an idle monitor is known; this finds leaks of the start."""
    t.skip_with(valgrind='it opens descriptors itself')
    for extra, most in (([], 20), (['-i'], 21), (['-t'], 20)):
        m = t.create('pause', *extra, monitor=t.monitor('m' + ''.join(extra)))
        count = len(descriptors(m.pid))
        check(count <= most, f'{count} descriptors with {extra}: {descriptors(m.pid)}')


def test_own_descriptors_are_close_on_exec(t):
    """All descriptors that are not inherited are close-on-exec."""
    t.skip_with(valgrind='it opens descriptors itself')
    for extra in ([], ['-i'], ['-t']):
        m = t.create('pause', *extra, monitor=t.monitor('m' + ''.join(extra)))
        client = m.attach()
        if not t.reference:
            client.send(b'x')
            time.sleep(0.02)
        for number in descriptors(m.pid):
            with open(f'/proc/{m.pid}/fdinfo/{number}') as file:
                flags = int(next(line for line in file if line.startswith('flags:')).split()[1], 8)
            target = descriptors(m.pid).get(number)
            private = bool(flags & os.O_CLOEXEC) or number < 3
            check(private or t.reference, f'descriptor {number} ({target}) would leak')


@differs('the reference gets numbers below 3 for its pipes and overwrites them')
def test_standard_streams_are_closed(t):
    """A caller without standard streams."""
    m = t.monitor()
    script = t.dir / 'closed'
    script.write_text('#!/bin/sh\nexec "$@" <&- >&- 2>&-\n')
    script.chmod(0o755)
    m.spawn([str(script), t.program, *t.arguments(m), '-i', '--sync'], t.environment('cat\nexit 3'),
            ('sync', 'start')).go().created()
    client = m.attach()
    client.send(b'hello')
    client.until(b'hello')
    client.half_close()
    client.to_end()
    m.finish(3)
    equal(content(m.records()), b'hello')


def test_descriptor_limit(t):
    """With a low limit clients are refused, but the container runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    m = t.create('wait @/go\nprint out\\n\nexit 3')
    if t.reference:
        t.touch('go')
        m.finish(3)
        return
    resource.prlimit(m.pid, resource.RLIMIT_NOFILE, (len(descriptors(m.pid)) + 5, hard))
    clients = [m.attach() for _ in range(10)]
    time.sleep(0.1)
    before = cpu_seconds(m.pid)
    time.sleep(0.3)
    check(cpu_seconds(m.pid) - before < 0.1, 'the monitor uses processor time')
    t.touch('go')
    m.finish(3)
    equal(content(m.records()), b'out\n')
    for client in clients:
        client.close()


if __name__ == '__main__':
    main()
