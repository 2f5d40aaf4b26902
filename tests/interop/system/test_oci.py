#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The monitor and runtime without podman, as scripts and CRI-O use them."""

from oci import main
from harness import check, equal, proc, wait_for


def test_exit_status(t):
    m = t.started(t.container('sh', '-c', 'echo out; echo err >&2; exit 7'))
    m.finish(7)
    equal([(r.stream, r.tag, r.content) for r in sorted(m.records(), key=lambda r: r.stream)],
          [('stderr', 'F', b'err'), ('stdout', 'F', b'out')], 'log')


def test_created_until_started(t):
    """Before the start the container's process exists, is reported, and is a child of the monitor."""
    m = t.created(t.container('sh', '-c', 'exit 3'))
    equal(int(m.pidfile.read_text()), m.container, 'pid file of the runtime')
    equal(proc.parent(m.container), m.pid, 'parent of the container')
    check(m.attach_path.exists() and (m.bundle / 'ctl').exists(), 'no attach socket or ctl')
    t.command('start', m.cid)
    m.finish(3)


def test_killed(t):
    m = t.started(t.container('sleep', '1000'))
    t.command('kill', m.cid, 'KILL')
    m.finish(137)


def test_missing_executable(t):
    """The caller gets the runtime's message."""
    m = t.launch(None, *t.runtime_options(), monitor=t.container('no-such-program')).go()
    message = m.sync.message()
    equal(message['data'], -1, 'data')
    check('no-such-program' in message['message'], f'the reason is missing: {message}')
    equal(m.wait(), 1, 'exit status of the monitor')
    check(not m.exit_file.exists(), 'an exit file exists')


def test_attach(t):
    """A client that connects before the start gets all output, and its input arrives."""
    m = t.created(t.container('cat'), '-i')
    client = m.attach()
    client.send(b'hello\n')
    t.command('start', m.cid)
    client.until(b'hello\n')
    client.half_close()
    equal(client.to_end(), b'hello\n', 'output')
    m.finish(0)


def test_terminal(t):
    m = t.created(t.container('sh', '-c', 'read line; stty size; exit 5', terminal=True), '-t')
    client = m.attach()
    m.control('1 30 100\n')
    t.command('start', m.cid)
    client.send(b'go\n')
    client.until(b'30 100\r\n')
    m.finish(5)


def test_exec(t):
    m = t.started(t.container('sleep', '1000'))
    s = t.session(m, 'sh', '-c', 'echo out; exit 9')
    t.exec(None, *t.runtime_options(), monitor=s, client=True)
    equal(s.client.to_end(), b'out\n', 'output')
    equal(s.sync.message(), {'data': 9}, 'second message')
    s.finish(9)
    t.command('kill', m.cid, 'KILL')
    m.finish(137)


def exec_sync(t, m, *argv, extra=()):
    """Runs exec-sync as CRI-O does: in the foreground, with one message at the end, and the output in a log.
    Returns both."""
    s = t.session(m, *argv)
    s.pidfile.touch()
    t.launch(None, *t.runtime_options(), '--sync', *extra, monitor=s, mode='exec', api=0, cuuid=False, bundle=False,
             exit_dir=False, persist=False, conmon_pidfile=False, full_attach=False, log=str(s.log),
             pipes=('sync',), kind='pipe')
    message = s.sync.message()
    s.wait()
    return message, b''.join(r.content + b'\n' * (r.tag == 'F') for r in s.records())


def test_exec_sync(t):
    m = t.started(t.container('sleep', '1000'))
    equal(exec_sync(t, m, 'sh', '-c', 'echo out; exit 4'), ({'exit_code': 4}, b'out\n'), 'message and output')
    message, _ = exec_sync(t, m, 'sleep', '1000', extra=('-T', '1'))
    equal(message, {'exit_code': -1, 'message': 'command timed out'}, 'message')
    message, _ = exec_sync(t, m, 'no-such-program')
    equal(message['exit_code'], -1, 'exit code')
    check('no-such-program' in message['message'], f'the reason is missing: {message}')
    t.command('kill', m.cid, 'KILL')
    t.reap()
    m.finish(137)


def test_exit_command(t):
    """The exit command deletes the container."""
    m = t.container('true')
    words = [*t.state, 'delete', m.cid]
    t.started(m, '--exit-command', t.runtime, *[f'--exit-command-arg={word}' for word in words])
    m.finish(0)
    t.command('state', m.cid, status=1)


def test_socket_directory(t):
    """Without --full-attach a link leads to the bundle, which is removed at the end."""
    m = t.created(t.container('sh', '-c', 'exit 0'), full_attach=False)
    equal((m.sockets / m.cid).resolve(), m.bundle.resolve(), 'target of the link')
    t.command('start', m.cid)
    m.finish(0)
    wait_for(lambda: t.reference or not (m.sockets / m.cid).is_symlink(), 'the removal of the link')


if __name__ == '__main__':
    main()
