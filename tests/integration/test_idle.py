#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""An idle monitor does not wake up, in any state."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import (  # noqa: E402
    check, context_switches, cpu_seconds, differs, equal, main, slow, status_field, wait_for)

KEEPS_MEMORY = 'it does not return freed memory'


def states(t):
    """(description, monitor) for each state, all at the same time."""
    yield 'running', t.create('pause', monitor=t.monitor('running'))
    yield 'running with stdin', t.create('pause', '-i', monitor=t.monitor('stdin'))
    yield 'running with a terminal', t.create('pause', '-t', monitor=t.monitor('terminal'))
    yield 'journald', t.create('pause', log='journald', monitor=t.monitor('journald'))
    yield 'after output', _after_output(t)
    yield 'client attached', _with_client(t, 'client')
    yield 'client attached to a terminal', _with_client(t, 'tty-client', '-t')
    yield 'client gone', _client_gone(t, 'gone')
    yield 'client with stdin disconnected', _client_gone(t, 'gone-stdin', '-i')
    yield 'client half closed', _half_closed(t)
    yield "container's stdin closed", _stdin_closed(t)
    yield 'stdin full', _stdin_full(t)
    yield 'streams closed', _streams_closed(t)
    yield 'terminal without an open slave', _no_slave(t)
    yield 'after resizes and reopens', _after_control(t)
    yield 'exec', t.exec('pause', monitor=t.monitor('exec'))
    yield 'with a long timeout', t.create('pause', '-T', '3600', monitor=t.monitor('timeout'))
    yield 'relaying notifications', _notify(t)
    yield 'no child', t.create('pause', runtime='container foster\npidfile', monitor=t.monitor('foster'))
    yield 'passthrough', t.create('pause', log='passthrough', monitor=t.monitor('passthrough'))
    yield 'stream paused for a client', _paused(t)
    yield 'exit command', _exit_command(t)


def _after_output(t):
    m = t.create('print out\\n\neprint err\\n\nprint unfinished\npause', monitor=t.monitor('output'))
    m.wait_log(b'unfinished')
    return m


def _with_client(t, name, *extra):
    m = t.create('pause', *extra, monitor=t.monitor(name))
    t.stack.callback(m.attach().close)
    return m


def _client_gone(t, name, *extra):
    m = t.create(f'wait @/{name}-go\nprint out\\n\npause', *extra, monitor=t.monitor(name))
    client = m.attach()
    client.send(b'x')
    t.touch(f'{name}-go')
    client.until(b'out')
    client.close()
    return m


def _half_closed(t):
    m = t.create('pause', '-i', monitor=t.monitor('half'))
    client = m.attach()
    t.stack.callback(client.close)
    client.half_close()
    return m


def _stdin_closed(t):
    m = t.create('close 0\nprint closed\\n\npause', '-i', monitor=t.monitor('closed'))
    client = m.attach()
    t.stack.callback(client.close)
    m.wait_log(b'closed')
    client.send(b'x' * 20000)
    client.send(b'x' * 20000)
    return m


def _stdin_full(t):
    m = t.create('pause', '-i', monitor=t.monitor('full'))
    client = m.attach()
    t.stack.callback(client.close)
    client.socket.setblocking(False)
    try:
        while True:
            client.socket.send(b'x' * 32768)
    except BlockingIOError:
        return m


def _streams_closed(t):
    m = t.create('touch @/streams-ready\nclose 0\nclose 1\nclose 2\npause', '-i', monitor=t.monitor('streams'))
    t.wait_file('streams-ready')
    return m


def _no_slave(t):
    m = t.create('touch @/slave-ready\nclose 0\nclose 1\nclose 2\npause', '-t', monitor=t.monitor('slave'))
    t.wait_file('slave-ready')
    return m


def _after_control(t):
    m = t.create('pause', '-t', monitor=t.monitor('control'))
    m.control('1 24 80\n2 0 0\nnonsense\n')
    m.control('30 90\n', 'winsz')
    return m


def _notify(t):
    m = t.monitor('notify')
    (m.bundle / 'notify').mkdir()
    return t.create('pause', '--sdnotify-socket', '/nonexistent', monitor=m)


def _paused(t):
    m = t.monitor('paused')
    t.create('wait @/paused-go\nfill 1 99999999999 100', log='none', monitor=m)
    client = m.attach()
    t.stack.callback(client.close)
    time.sleep(0.05)
    t.touch('paused-go')
    return m


def _exit_command(t):
    m = t.create('exit 0', '--exit-command', t.runtime, '--exit-command-arg', 'script', '--exit-command-arg',
                 'touch @/command-ready', '--exit-command-arg', 'wait @/command-go', monitor=t.monitor('command'))
    t.wait_file('command-ready')
    return m


@slow(90)
@differs('the reference wakes up for terminals without an open slave and for a closed stdin')
def test_no_wake_ups(t):
    """0 context switches."""
    seconds = 10 if os.geteuid() == 0 else 3
    monitors = list(states(t))
    time.sleep(2.5)  # memory is released after a second without output
    before = {what: (context_switches(m.pid), cpu_seconds(m.pid)) for what, m in monitors}
    time.sleep(seconds)
    busy = []
    for what, m in monitors:
        switches, seconds = context_switches(m.pid) - before[what][0], cpu_seconds(m.pid) - before[what][1]
        print(f'{what}: {switches} context switches, {seconds:.2f} s')
        if switches or seconds:
            busy.append(f'{what}: {switches}')
    t.touch('command-go')
    check(not busy, f'context switches in {seconds} s: {", ".join(busy)}')


def test_memory_is_released(t):
    """After a flood of output memory is as before."""
    t.skip_with(sanitizer=KEEPS_MEMORY, valgrind=KEEPS_MEMORY)
    m = t.create('wait @/go\nfill 1 50000000 100\ntouch @/done\npause', log='none')
    time.sleep(0.05)
    before = int(status_field(m.pid, 'RssAnon').split()[0])
    t.touch('go')
    t.wait_file('done')
    time.sleep(0.3)
    after = int(status_field(m.pid, 'RssAnon').split()[0])
    check(after - before < 200, f'anonymous memory before {before} kB, after {after} kB')


def test_memory_of_slow_clients_is_released(t):
    """The memory of output that was queued for clients is released, too."""
    t.skip_with(sanitizer=KEEPS_MEMORY, valgrind=KEEPS_MEMORY)
    fills = '\n'.join(f'fill 1 {1 + 37 * i} 100' for i in range(300))
    m = t.create(f'wait @/go\n{fills}\ntouch @/done\npause', log='none')
    clients = [m.attach() for _ in range(5)]

    def memory():
        return int(status_field(m.pid, 'RssAnon').split()[0])
    before = memory()
    t.touch('go')
    wait_for(lambda: memory() - before > 1000, f'queued output: {before} kB, {memory()} kB')
    for client in clients:
        client.close()
    t.wait_file('done')
    wait_for(lambda: memory() - before < 200, f'the release of memory: {before} kB, {memory()} kB')


def test_one_thread(t):
    """The monitor has no other threads."""
    for extra in ([], ['-t'], ['-i'], ['-l', 'journald']):
        m = t.create('pause', *extra, monitor=t.monitor('m' + ''.join(extra)))
        equal(status_field(m.pid, 'Threads'), '1', f'threads with {extra}')


if __name__ == '__main__':
    main()
