#!/usr/bin/python3
"""What the caller is told on the sync pipe: success, and each way in which a runtime can fail."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from harness import *  # noqa

KEYS = {('create', 0): 'pid', ('create', 1): 'data', ('restore', 0): 'pid', ('restore', 1): 'data',
        ('exec', 0): 'exit_code', ('exec', 1): 'data'}
GO = 'container\npidfile\n'


def modes():
    for (mode, api), key in KEYS.items():
        yield mode, api, key


def start(t, mode, api, container='exit 0', *extra, **kwargs):
    """A monitor in one of the six situations, with the start byte given."""
    if mode == 'restore':
        extra = ('--restore', '@/checkpoint', *extra)
    places = t.monitor(f'{mode}{api}{len(t.monitors)}')
    m = t.launch(container, *extra, mode='exec' if mode == 'exec' else 'create', api=api, places=places, **kwargs)
    return m.go()


def failure(m, key, text, status=1):
    """One failure message, the end, and the exit status; no exit file."""
    expected = {key: -1} if text is None else {key: -1, 'message': text}
    equal(m.sync.messages(), [expected])
    equal(m.wait(), status, 'exit status of the monitor')
    check(not m.exit_file.exists() and not m.persist_exit.exists(), 'an exit file after a failure')


def test_success(t):
    """The exact bytes."""
    for mode, api, key in modes():
        m = start(t, mode, api, 'wait @/go\nexit 7')
        if key != 'exit_code':
            data = m.sync.read()
            pid = int(m.pidfile.read_text())
            equal(data, f'{{"{key}": {pid}}}\n'.encode())
        t.touch('go')
        rest = b''.join(iter(m.sync.read, b''))
        equal(rest, {'pid': b'', 'data': b'{"data": 7}\n' if mode == 'exec' else b'',
                     'exit_code': b'{"exit_code": 7}\n'}[key], f'{mode} {api}: after the end')
        (t.dir / 'go').unlink()
        m.finish(7)


def test_one_write_per_message(t):
    """On a socket that keeps records each read is one message."""
    m = t.exec('exit 3')
    equal(m.sync.read(), b'{"data": 3}\n')
    m.sync.expect_end()
    m.finish(3)


def test_every_kind_of_pipe(t):
    for kind in ('seqpacket', 'stream', 'pipe'):
        m = start(t, 'create', 1, kind=kind).created()
        m.finish(0)
        m = start(t, 'create', 1, runtime='eprint boom\nexit 1', kind=kind)
        failure(m, 'data', 'boom')


def test_runtime_fails_with_text(t):
    """The text is what the runtime wrote, unmodified: callers classify it. B31"""
    for mode, api, key in modes():
        m = start(t, mode, api, runtime='eprint runc: "boom" /x\\ty\\n\nexit 1')
        failure(m, key, 'runc: "boom" /x\ty\n')


@differs('a silent failure is reported since release 2.2.0 (21)')
def test_runtime_fails_silently(t):
    """B32"""
    for mode, api, key in modes():
        m = start(t, mode, api, runtime='exit 1')
        failure(m, key, f'The runtime {t.runtime} ended with exit status 1 and gave no reason')


def test_runtime_is_killed(t):
    for mode, api, key in modes():
        m = start(t, mode, api, runtime='eprint dying\ndie 9')
        failure(m, key, 'dying')


@differs('a silent failure is reported since release 2.2.0 (21)')
def test_runtime_is_killed_silently(t):
    for mode, api, key in modes():
        failure(start(t, mode, api, runtime='die 15'), key,
                f'The runtime {t.runtime} was killed by signal 15 and gave no reason')


@differs('a silent failure is reported since release 2.2.0 (21)')
def test_runtime_cannot_be_executed(t):
    """Executable by its permission bits, but nothing the kernel can run."""
    program = t.dir / 'no-program'
    program.write_bytes(b'\x7fNOT')
    program.chmod(0o755)
    for mode, api, key in modes():
        m = start(t, mode, api, '', '-r', program)
        messages = m.sync.messages()
        equal([message[key] for message in messages], [-1], f'{mode} {api}')
        matches(r'\[conmon:e\]: Failed to execute the runtime .*no-program: .+', messages[0]['message'])
        equal(m.wait(), 1)


@differs('22.3: the text is cut so that the message has at most 4096 bytes')
def test_chatty_runtime(t):
    """1 MiB on standard error must neither block the runtime nor break the message."""
    for mode, api, key in modes():
        m = start(t, mode, api, runtime='fill 2 1048576 100\nexit 1')
        data = m.sync.read()
        check(len(data) <= 4096, f'a message of {len(data)} bytes')
        check(len(data) > 3900, f'a message of only {len(data)} bytes')
        message = json.loads(data)
        equal(message[key], -1)
        check((('x' * 99 + '\n') * 100).startswith(message['message']), 'not the beginning')
        m.sync.expect_end()
        equal(m.wait(), 1)


def test_chatty_runtime_that_succeeds(t):
    """1 MiB on standard error and success: the text goes to the log and delays nothing."""
    if t.reference:
        skip('22.3: the reference does not read it and hangs')
    m = start(t, 'create', 1, 'exit 0', runtime='fill 2 1048576 100\n' + GO)
    m.created().finish(0)
    check(content(m.records(), 'stderr') == (b'x' * 99 + b'\n') * 10485 + b'x' * 76, 'the log is not complete')


@differs('22.3')
def test_message_is_cut_between_characters(t):
    """The cut must leave whole UTF-8 characters and whole escapes."""
    for text, unit in (('ä', 'ä'), ('€', '€'), ('\U0001f600', '\U0001f600'), ('"', '"'), ('\x01', '\x01')):
        for shift in range(6):
            places = t.monitor(f'{ord(unit)}-{shift}')
            escaped = ''.join(f'\\x{byte:02x}' for byte in text.encode())
            m = t.launch('', runtime='eprint ' + 'a' * shift + escaped * 3000 + '\nexit 1', places=places).go()
            data = m.sync.read()
            check(len(data) <= 4096, f'a message of {len(data)} bytes')
            matches('a' * shift + f'(?:{unit})+', json.loads(data)['message'], f'{unit!r} after {shift} bytes')
            m.sync.expect_end()
            equal(m.wait(), 1)


def test_every_byte_in_the_message(t):
    """B33: whatever the runtime writes, the message is JSON; the text ends at the first NUL."""
    for value in range(1, 128):
        if t.reference and value in (0x1f, 0x7f):
            continue  # release 2.2.0 escapes them
        m = start(t, 'create', 1, runtime=f'eprint <\\x{value:02x}>\nexit 1')
        failure(m, 'data', f'<{chr(value)}>')


@differs('escapes of later releases (3.1)')
def test_escapes(t):
    """The exact bytes. B33"""
    m = start(t, 'create', 1, runtime='eprint \\x01\\x1f\\x7f\\x08\\x0c\\r\\n\\t"\\\\/ä\nexit 1')
    equal(m.sync.read(), b'{"data": -1, "message": "\\u0001\\u001f\\u007f\\b\\f\\r\\n\\t\\"\\\\\\/\xc3\xa4"}\n')
    equal(m.wait(), 1)


def test_bytes_that_are_not_utf8(t):
    """B32: they come through as they are; Go's decoder replaces them."""
    m = start(t, 'create', 1, runtime='eprint a\\xff\\xfeb\nexit 1')
    data = m.sync.read()
    check(b'\xff' in data or b'\\ufffd' in data.lower() or '\ufffd'.encode() in data, f'{data!r}')
    json.loads(data.decode(errors='replace'))
    equal(m.wait(), 1)


def test_nul_ends_the_message(t):
    failure(start(t, 'create', 1, runtime='eprint before\\x00after\nexit 1'), 'data', 'before')


@differs('reported since the main branch of 2026-08 (21)')
def test_no_pidfile(t):
    """The runtime claims success but wrote no pid file."""
    for mode, api, key in modes():
        m = start(t, mode, api, runtime='exit 0')
        messages = m.sync.messages()
        equal([message[key] for message in messages], [-1], f'{mode} {api}')
        equal(m.wait(), 1)


@differs('the reference leaves it running')
def test_container_without_a_pidfile_is_ended(t):
    """Nobody knows of it, so nobody could stop it."""
    for script in ('exit 0', 'rawpid garbage\nexit 0', 'pidfile\nexit 1'):
        m = start(t, 'create', 1, 'dump @/container\npause', '--exit-command', '/bin/true',
                  runtime=f'container\nsh while [ ! -s @/container ]; do sleep 0.01; done\n{script}')
        equal([message['data'] for message in m.sync.messages()], [-1], script)
        equal(m.wait(), 1)
        check(not alive(int(t.dump('container')['pid'])), f'the container is still there: {script}')
        (t.dir / 'container').unlink()


@differs('reported since the main branch of 2026-08 (21)')
def test_no_pidfile_names_the_file(t):
    m = start(t, 'create', 1, runtime='exit 0')
    message = m.sync.message()
    check(str(m.pidfile) in message.get('message', ''), f'the file is not named in {message}')
    equal(m.wait(), 1)


@differs('reported since the main branch of 2026-08 (21)')
def test_no_pidfile_but_text(t):
    for mode, api, key in modes():
        failure(start(t, mode, api, runtime='eprint odd\nexit 0'), key, 'odd')


@differs('the reference reads on until there is no memory')
def test_pidfile_without_end(t):
    places = t.monitor()
    m = t.launch('exit 0', runtime=f'sh ln -sf /dev/zero {places.pidfile}', places=places).go()
    check('no process id' in m.sync.message().get('message', ''), 'another message')
    equal(m.wait(), 1)


@differs('pid files are read strictly (3.3, 20)')
def test_garbage_in_the_pidfile(t):
    for number, garbage in enumerate(('', 'garbage', '-5', '-1', '0', '12x', '99999999999999', ' ', '0x10')):
        for mode in ('create', 'exec'):
            m = start(t, mode, 1, runtime=f'rawpid {garbage}\nexit 0')
            messages = m.sync.messages()
            equal([message['data'] for message in messages], [-1], f'{mode} {garbage!r}')
            equal(m.wait(), 1)


def test_pidfile_with_newline(t):
    m = start(t, 'create', 1, 'pause', runtime='container\npidfile\nsh echo >>$PIDFILE', env={
        'PIDFILE': str(t.dir / 'monitors/create10/pidfile')})
    m.created()
    check(alive(m.container), 'the reported pid is not the container')


def test_old_pidfile_is_not_believed(t):
    """CRI-O creates an empty pid file before it starts an exec; a failed runtime leaves it so. B31"""
    for api, key in ((0, 'exit_code'), (1, 'data')):
        places = t.monitor(f'old{api}')
        places.pidfile.touch()
        m = t.launch('', mode='exec', api=api, places=places, runtime='eprint no such process\nexit 1').go()
        failure(m, key, 'no such process')


@differs('a silent failure is reported since release 2.2.0 (21)')
def test_terminal_that_never_came(t):
    """B55: the runtime's own text wins over the missing terminal."""
    for mode, api, key in modes():
        m = start(t, mode, api, '', '-t', runtime='exit 0')
        failure(m, key, 'Runtime did not set up terminal')
        failure(start(t, mode, api, '', '-t', runtime='eprint no tty\nexit 1'), key, 'no tty')


def test_terminal_with_missing_binary(t):
    """B55"""
    m = start(t, 'create', 1, '', '-t', runtime='eprint exec: not found\nexit 1')
    failure(m, 'data', 'exec: not found')
    t.leftovers = os.listdir(t.tmp) if t.reference else ()


def test_exec_session_ends_with_every_code(t):
    """B36"""
    for code in (0, 1, 2, 125, 126, 127, 128, 137, 254, 255):
        for api, expected in ((0, [{'exit_code': code}]), (1, [{'data': code}])):
            m = start(t, 'exec', api, f'exit {code}')
            if api:
                m.created()
            equal(m.sync.messages(), expected, f'api {api}, code {code}')
            m.finish(code)


def test_exec_session_ends_by_signal(t):
    for number in (1, 2, 6, 9, 15):
        m = start(t, 'exec', 0, f'die {number}')
        equal(m.sync.messages(), [{'exit_code': 128 + number}])
        m.finish(128 + number)


def test_exec_timeout(t):
    """CRI-O compares text and code."""
    m = start(t, 'exec', 0, 'pause', '-T', '1')
    equal(m.sync.read(), b'{"exit_code": -1, "message": "command timed out"}\n')
    m.sync.expect_end()
    m.finish(-1)
    m = start(t, 'exec', 1, 'pause', '-T', '1').created()
    equal(m.sync.read(), b'{"data": -1, "message": "command timed out"}\n')
    m.finish(-1)


def test_create_timeout_is_silent(t):
    for api, key in ((0, 'pid'), (1, 'data')):
        m = start(t, 'create', api, 'pause', '-T', '1').created()
        equal(m.sync.messages(), [])
        m.finish(-1)


@differs('a broken sync pipe is tolerated since release 2.1.8 (21)')
def test_caller_that_closes_its_end(t):
    """B12, B39: at each step; the end is recorded all the same."""
    for mode, api, _ in modes():
        m = t.launch('exit 9', *(('--restore', '@/c') if mode == 'restore' else ()), api=api,
                     mode='exec' if mode == 'exec' else 'create', places=t.monitor(f'early{mode}{api}'))
        m.sync.close()
        m.go()
        m.finish(9)
    m = start(t, 'exec', 1, 'wait @/go\nexit 9').created()
    m.sync.close()
    t.touch('go')
    m.finish(9)


def test_caller_that_closes_before_a_failure(t):
    m = t.launch('', runtime='eprint x\nexit 1')
    m.sync.close()
    m.go()
    equal(m.wait(), 1)


def test_sync_pipe_stays_open_until_the_end(t):
    """The caller that keeps reading sees the end only when the monitor is about to go."""
    m = t.create('pause')
    check(not m.sync.poll(0.05), 'something on the sync pipe')
    kill(m.container)
    m.sync.expect_end()
    m.finish(137)


def test_stderr_of_a_successful_runtime_is_logged(t):
    m = t.create('exit 0', runtime='eprint warning: odd\\n\n' + GO)
    m.finish(0)
    equal(content(m.records(), 'stderr'), b'warning: odd\n')


def test_attach_message_of_exec(t):
    """It is there before the runtime is executed: the runtime waits for the second start byte."""
    m = t.launch('exit 0', '--exec-attach', mode='exec', pipes=('sync', 'start', 'attach'),
                 runtime='touch @/runtime\n' + GO)
    m.go()
    equal(m.attach_pipe.read(), b'{"data": 0}\n')
    for path in (m.attach_path, m.bundle / 'ctl', m.bundle / 'winsz'):
        check(path.exists(), f'no {path.name} when the attach message came')
    check(not m.sync.poll(0.05), 'a message before the second start byte')
    check(not (t.dir / 'runtime').exists(), 'the runtime ran before the second start byte')
    m.start.go()
    m.created().finish(0)


def test_end_of_start_pipe_releases_exec(t):
    m = t.launch('exit 2', '--exec-attach', mode='exec', pipes=('sync', 'start', 'attach')).go()
    equal(m.attach_pipe.message(), {'data': 0})
    m.start.close()
    m.created().finish(2)


@differs('a broken pipe is tolerated since release 2.1.8 (21)')
def test_attach_pipe_that_nobody_reads(t):
    m = t.launch('exit 2', '--exec-attach', mode='exec', pipes=('sync', 'start', 'attach'))
    m.attach_pipe.close()
    m.go()
    m.start.go()
    m.created().finish(2)


if __name__ == '__main__':
    main()
