#!/usr/bin/python3
"""Containers with a terminal."""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from harness import *  # noqa


def test_output(t):
    """All is stream 2; the terminal makes CR LF of LF; the log keeps it."""
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
        m = t.create('raw\ncat', *extra, places=t.monitor(name))
        client = m.attach()
        time.sleep(0.05)
        client.send(b'typed')
        client.until(b'typed')
        kill(m.container)
        m.finish(137)


def test_early_input(t):
    """B52: what was typed before the terminal was there is not lost."""
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


def test_client_that_leaves_before_the_terminal_is_there(t):
    """It ends the input; what others send from then on is thrown away, and does not make them wait."""
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
    wait_for(lambda: sockets() == before, 'the client to be forgotten')
    client = m.attach()
    client.socket.settimeout(10)
    t.touch('go')
    m.created()
    client.send(b'x' * (4 << 20))
    kill(m.container)
    m.finish(137)


def test_client_that_leaves_does_not_end_the_input(t):
    """-t without -i: the terminal stays usable for the next client."""
    m = t.create('raw\ntouch @/ready\ncat', '-t')
    t.exists('ready')
    for how in ('half_close', 'close', 'close'):
        client = m.attach()
        client.send(b'typed')
        client.until(b'typed')
        getattr(client, how)()
    kill(m.container)
    m.finish(137)


def test_client_that_leaves_ends_the_input_of_exec(t):
    """-t with -i: output goes on, further clients can't type. B06"""
    m = t.create('raw\ntouch @/ready\nwait @/go\nprint out', '-t', '-i')
    t.exists('ready')
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
    """The terminal makes a signal of them."""
    m = t.create('touch @/ready\npause', '-t')
    t.exists('ready')
    m.attach().send(b'\x03')
    m.finish(130)


def test_console_socket(t):
    """In TMPDIR, mode 0700, gone as soon as the runtime has connected."""
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


@differs('section 20: a TMPDIR that is too long')
def test_long_tmpdir(t):
    long = t.dir / ('x' * 120)
    long.mkdir()
    m = t.create('print out', '-t', env={'TMPDIR': str(long)})
    m.finish(0)
    equal((os.listdir(long), content(m.records())), ([], b'out'))


@differs('section 20: a TMPDIR that is missing')
def test_missing_tmpdir(t):
    """Either it works or the caller is told; nothing hangs."""
    t.skip_with(valgrind='it needs a directory for temporary files')
    m = t.launch('exit 0', '-t', env={'TMPDIR': '/nonexistent/tmp'}).go()
    messages = m.sync.messages()
    check(len(messages) == 1, f'{messages}')
    m.wait()


@differs('section 20: the socket is removed on every way out')
def test_console_socket_is_removed_after_failure(t):
    for runtime in ('exit 1', 'eprint x\nexit 1', 'die 9', 'exit 0', 'console nofd\nexit 1'):
        m = t.launch('exit 0', '-t', runtime=runtime, places=t.monitor(runtime.replace('\n', '-'))).go()
        m.wait()
        equal(os.listdir(t.tmp), [], runtime)


def failed(t, runtime, **kwargs):
    m = t.launch('exit 0', '-t', runtime=runtime, places=t.monitor(f'm{len(t.monitors)}'), **kwargs).go()
    messages = m.sync.messages()
    check(len(messages) == 1 and messages[0]['data'] == -1, f'{runtime!r}: {messages}')
    equal(m.wait(), 1)
    return messages[0].get('message', '')


@differs('3.2: reported since release 2.2.0 (21)')
def test_runtime_without_console(t):
    """B55"""
    equal(failed(t, 'container\npidfile'), 'Runtime did not set up terminal')
    equal(failed(t, 'console connect\ncontainer\npidfile'), 'Runtime did not set up terminal')
    t.end_orphans()


@differs('the reference takes anything')
def test_console_without_descriptor(t):
    check(failed(t, 'console nofd\ncontainer\npidfile') != '', 'no reason given')


@differs('the reference takes anything')
def test_console_that_is_no_terminal(t):
    """Refused or used, but in either case the end is recorded and nothing spins."""
    m = t.launch('exit 0', '-t', runtime='console file\ncontainer\npidfile').go()
    message = m.sync.message()
    if message['data'] == -1:
        check(message.get('message'), 'no reason given')
        equal(m.wait(), 1)
    else:
        m.wait()
        check(m.exit_file.exists(), 'the end was not recorded')


@differs('the reference takes anything')
def test_two_consoles(t):
    """The first counts. B09"""
    m = t.create('print out', '-t', runtime='console twice\ncontainer\npidfile')
    m.finish(0)
    equal(content(m.records()), b'out')


@differs('the reference takes anything')
def test_bad_consoles_leak_nothing(t):
    for how in ('twice', 'pair', ''):
        m = t.create('wait @/go', '-t', runtime=f'console {how}\ncontainer\npidfile', places=t.monitor(f'm{how}'))
        targets = list(descriptors(m.pid).values())
        equal(len([target for target in targets if 'ptmx' in target]), 2, f'{how}: {targets}')
    t.touch('go')


def test_terminal_that_nobody_has_open(t):
    """B54: closing every slave is not the end; the container may open it again."""
    m = t.create('sh tty=$(tty); exec </dev/null >/dev/null 2>&1; sleep 0.4; echo back >$tty; sleep 0.2', '-t')
    time.sleep(0.15)
    before = cpu_seconds(m.pid)
    time.sleep(0.2)
    check(cpu_seconds(m.pid) - before < 0.05, 'the monitor is busy')
    m.finish(0)
    equal(content(m.records()), b'back\r\n')


def test_end_of_terminal_is_no_error(t):
    """B53"""
    m = t.create('print out\\n\nclose 0\nclose 1\nclose 2\nsleep 100\nexit 3', '-t')
    m.finish(3)
    equal(content(m.records()), b'out\r\n')


def test_last_output_of_a_terminal(t):
    """What was written right before the end is not lost."""
    for number in range(20):
        m = t.create('fill 1 3000 100\nprint last', '-t', places=t.monitor(str(number)))
        m.finish(0)
        check(content(m.records()).endswith(b'last'), f'the end is missing: {content(m.records())[-50:]}')


def test_runtime_messages_are_logged_as_errors(t):
    m = t.create('print out\\n', '-t', runtime='eprint warning\\n\nconsole\ncontainer\npidfile')
    m.finish(0)
    equal(content(m.records(), 'stderr'), b'warning\n')
    equal(content(m.records()), b'out\r\n')


def test_hangup_of_the_monitor(t):
    """The container keeps its terminal for as long as the monitor lives."""
    m = t.create('touch @/ready\npause', '-t')
    t.exists('ready')
    kill(m.pid, signal.SIGKILL)
    m.wait()
    wait_for(lambda: not alive(m.container), 'the container to be hung up')


def test_slow_runtime_with_terminal(t):
    m = t.create('print out', '-t', runtime='console\nsleep 50\ncontainer\nsleep 50\npidfile\nsleep 50')
    m.finish(0)
    equal(content(m.records()), b'out')


def test_terminal_container_ends_before_the_runtime(t):
    """B20"""
    for number in range(30):
        m = t.create('exit 5', '-t', runtime='console\ncontainer\npidfile\nsleep 20', places=t.monitor(str(number)))
        m.finish(5)


if __name__ == '__main__':
    main()
