#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Messages on the sync pipe: success, and each way in which a runtime can fail."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import alive, check, content, differs, equal, kill, main, matches, skip, wait_for  # noqa: E402

KEYS = {('create', 0): 'pid', ('create', 1): 'data', ('restore', 0): 'pid', ('restore', 1): 'data',
        ('exec', 0): 'exit_code', ('exec', 1): 'data'}
GO = 'container\npidfile\n'


def modes():
    for (mode, api), key in KEYS.items():
        yield mode, api, key


def start(t, mode, api, container='exit 0', *extra, **kwargs):
    """Starts a monitor in one of the modes and sends the start byte."""
    if mode == 'restore':
        extra = ('--restore', '@/checkpoint', *extra)
    prepared = t.monitor(f'{mode}{api}{len(t.monitors)}')
    m = t.launch(container, *extra, mode='exec' if mode == 'exec' else 'create', api=api, monitor=prepared, **kwargs)
    return m.go()


def failure(m, key, text, status=1):
    """Checks for one failure message, the end of the pipe, the exit status, and no exit file."""
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
    """On a SOCK_SEQPACKET socket each read returns one message."""
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
    """The runtime's text is passed on unmodified, because callers interpret it."""
    for mode, api, key in modes():
        m = start(t, mode, api, runtime='eprint runc: "boom" /x\\ty\\n\nexit 1')
        failure(m, key, 'runc: "boom" /x\ty\n')


@differs('a silent failure is reported since release 2.2.0')
def test_runtime_fails_silently(t):
    """There is a message even if the runtime prints none."""
    for mode, api, key in modes():
        m = start(t, mode, api, runtime='exit 1')
        failure(m, key, f'The runtime {t.runtime} exited with status 1 and gave no reason')


def test_runtime_is_killed(t):
    for mode, api, key in modes():
        m = start(t, mode, api, runtime='eprint dying\ndie 9')
        failure(m, key, 'dying')


@differs('a silent failure is reported since release 2.2.0')
def test_runtime_is_killed_silently(t):
    for mode, api, key in modes():
        failure(start(t, mode, api, runtime='die 15'), key,
                f'The runtime {t.runtime} was killed by signal 15 and gave no reason')


@differs('a silent failure is reported since release 2.2.0')
def test_runtime_cannot_be_executed(t):
    """The permission bits allow execution, but the kernel can't execute the file."""
    program = t.dir / 'no-program'
    program.write_bytes(b'\x7fNOT')
    program.chmod(0o755)
    for mode, api, key in modes():
        m = start(t, mode, api, '', '-r', program)
        messages = m.sync.messages()
        equal([message[key] for message in messages], [-1], f'{mode} {api}')
        matches(r'\[conmon:e\]: Failed to execute the runtime .*no-program: .+', messages[0]['message'])
        equal(m.wait(), 1)


@differs('the text is cut so that the message has at most 4096 bytes')
def test_chatty_runtime(t):
    """1 MiB on standard error neither blocks the runtime nor breaks the message."""
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
    """1 MiB on standard error and success: the text goes to the log without delay."""
    if t.reference:
        skip('the reference does not read it and hangs')
    m = start(t, 'create', 1, 'exit 0', runtime='fill 2 1048576 100\n' + GO)
    m.created().finish(0)
    check(content(m.records(), 'stderr') == (b'x' * 99 + b'\n') * 10485 + b'x' * 76, 'the log is not complete')


@differs('the reference blocks while the runtime writes more than a pipe holds')
def test_message_is_cut_between_characters(t):
    """The cut does not split UTF-8 characters or escapes."""
    for text, unit in (('ä', 'ä'), ('€', '€'), ('\U0001f600', '\U0001f600'), ('"', '"'), ('\x01', '\x01')):
        for shift in range(6):
            prepared = t.monitor(f'{ord(unit)}-{shift}')
            escaped = ''.join(f'\\x{byte:02x}' for byte in text.encode())
            m = t.launch('', runtime='eprint ' + 'a' * shift + escaped * 3000 + '\nexit 1', monitor=prepared).go()
            data = m.sync.read()
            check(len(data) <= 4096, f'a message of {len(data)} bytes')
            matches('a' * shift + f'(?:{unit})+', json.loads(data)['message'], f'{unit!r} after {shift} bytes')
            m.sync.expect_end()
            equal(m.wait(), 1)


def test_every_byte_in_the_message(t):
    """The message is valid JSON for any byte; the text ends at the first NUL."""
    for value in range(1, 128):
        if t.reference and value in (0x1f, 0x7f):
            continue  # release 2.2.0 escapes them
        m = start(t, 'create', 1, runtime=f'eprint <\\x{value:02x}>\nexit 1')
        failure(m, 'data', f'<{chr(value)}>')


@differs('escapes of later releases')
def test_escapes(t):
    """The exact bytes."""
    m = start(t, 'create', 1, runtime='eprint \\x01\\x1f\\x7f\\x08\\x0c\\r\\n\\t"\\\\/ä\nexit 1')
    equal(m.sync.read(), b'{"data": -1, "message": "\\u0001\\u001f\\u007f\\b\\f\\r\\n\\t\\"\\\\\\/\xc3\xa4"}\n')
    equal(m.wait(), 1)


def test_bytes_that_are_not_utf8(t):
    """They are passed on unchanged; Go's decoder replaces them."""
    m = start(t, 'create', 1, runtime='eprint a\\xff\\xfeb\nexit 1')
    data = m.sync.read()
    check(b'\xff' in data or b'\\ufffd' in data.lower() or '\ufffd'.encode() in data, f'{data!r}')
    json.loads(data.decode(errors='replace'))
    equal(m.wait(), 1)


def test_nul_ends_the_message(t):
    failure(start(t, 'create', 1, runtime='eprint before\\x00after\nexit 1'), 'data', 'before')


@differs('reported since the main branch of 2026-08')
def test_no_pidfile(t):
    """The runtime reports success without a pid file."""
    for mode, api, key in modes():
        m = start(t, mode, api, runtime='exit 0')
        messages = m.sync.messages()
        equal([message[key] for message in messages], [-1], f'{mode} {api}')
        equal(m.wait(), 1)


@differs('the reference does not kill it')
def test_container_without_a_pidfile_is_killed(t):
    """The caller has no pid to stop it with."""
    for script in ('exit 0', 'rawpid garbage\nexit 0', 'pidfile\nexit 1'):
        m = start(t, 'create', 1, 'dump @/container\npause', '--exit-command', '/bin/true',
                  runtime=f'container\nsh while [ ! -s @/container ]; do sleep 0.01; done\n{script}')
        equal([message['data'] for message in m.sync.messages()], [-1], script)
        equal(m.wait(), 1)
        pid = int(t.dump('container')['pid'])
        wait_for(lambda: not alive(pid), f'the end of the container: {script}', 2)
        (t.dir / 'container').unlink()


@differs('reported since the main branch of 2026-08')
def test_no_pidfile_names_the_file(t):
    m = start(t, 'create', 1, runtime='exit 0')
    message = m.sync.message()
    check(str(m.pidfile) in message.get('message', ''), f'the file is not named in {message}')
    equal(m.wait(), 1)


@differs('reported since the main branch of 2026-08')
def test_no_pidfile_but_text(t):
    for mode, api, key in modes():
        failure(start(t, mode, api, runtime='eprint odd\nexit 0'), key, 'odd')


@differs('the reference reads until memory is exhausted')
def test_infinite_pidfile(t):
    prepared = t.monitor()
    m = t.launch('exit 0', runtime=f'sh ln -sf /dev/zero {prepared.pidfile}', monitor=prepared).go()
    check('no process id' in m.sync.message().get('message', ''), 'another message')
    equal(m.wait(), 1)


@differs('here pid files are parsed strictly')
def test_invalid_pidfile(t):
    for number, garbage in enumerate(('', 'garbage', '-5', '-1', '0', '1', '12x', '99999999999999', ' ', '0x10')):
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


def test_stale_pidfile_is_ignored(t):
    """CRI-O creates an empty pid file before it starts an exec; a failed runtime leaves it empty."""
    for api, key in ((0, 'exit_code'), (1, 'data')):
        prepared = t.monitor(f'old{api}')
        prepared.pidfile.touch()
        m = t.launch('', mode='exec', api=api, monitor=prepared, runtime='eprint no such process\nexit 1').go()
        failure(m, key, 'no such process')


@differs('a silent failure is reported since release 2.2.0')
def test_missing_terminal(t):
    """The runtime's text takes precedence over the missing terminal."""
    for mode, api, key in modes():
        m = start(t, mode, api, '', '-t', runtime='exit 0')
        failure(m, key, 'Runtime did not set up terminal')
        failure(start(t, mode, api, '', '-t', runtime='eprint no tty\nexit 1'), key, 'no tty')


def test_terminal_with_missing_binary(t):
    """The runtime's reason takes precedence over the missing terminal."""
    m = start(t, 'create', 1, '', '-t', runtime='eprint exec: not found\nexit 1')
    failure(m, 'data', 'exec: not found')
    t.leftovers = os.listdir(t.tmp) if t.reference else ()


def test_exec_session_ends_with_every_code(t):
    """Each exit code is reported."""
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
    """CRI-O compares the text and the code."""
    m = start(t, 'exec', 0, 'pause', '-T', '1')
    equal(m.sync.read(), b'{"exit_code": -1, "message": "command timed out"}\n')
    m.sync.expect_end()
    m.finish(-1)
    m = start(t, 'exec', 1, 'pause', '-T', '1').created()
    equal(m.sync.read(), b'{"data": -1, "message": "command timed out"}\n')
    m.finish(-1)


def test_create_timeout_sends_no_message(t):
    for api, key in ((0, 'pid'), (1, 'data')):
        m = start(t, 'create', api, 'pause', '-T', '1').created()
        equal(m.sync.messages(), [])
        m.finish(-1)


@differs('a broken sync pipe is tolerated since release 2.1.8')
def test_caller_that_closes_its_end(t):
    """At each step; the end is still recorded."""
    for mode, api, _ in modes():
        m = t.launch('exit 9', *(('--restore', '@/c') if mode == 'restore' else ()), api=api,
                     mode='exec' if mode == 'exec' else 'create', monitor=t.monitor(f'early{mode}{api}'))
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
    """A caller that keeps reading sees the end of the pipe only when the monitor is about to exit."""
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
    """It is sent before the runtime is executed, which waits for the second start byte."""
    m = t.launch('exit 0', '--exec-attach', mode='exec', pipes=('sync', 'start', 'attach'),
                 runtime='touch @/runtime\n' + GO)
    m.go()
    equal(m.attach_pipe.read(), b'{"data": 0}\n')
    for path in (m.attach_path, m.bundle / 'ctl', m.bundle / 'winsz'):
        check(path.exists(), f'no {path.name} when the attach message arrived')
    check(not m.sync.poll(0.05), 'a message before the second start byte')
    check(not (t.dir / 'runtime').exists(), 'the runtime ran before the second start byte')
    m.start.go()
    m.created().finish(0)


def test_end_of_start_pipe_releases_exec(t):
    m = t.launch('exit 2', '--exec-attach', mode='exec', pipes=('sync', 'start', 'attach')).go()
    equal(m.attach_pipe.message(), {'data': 0})
    m.start.close()
    m.created().finish(2)


@differs('a broken pipe is tolerated since release 2.1.8')
def test_attach_pipe_that_nobody_reads(t):
    m = t.launch('exit 2', '--exec-attach', mode='exec', pipes=('sync', 'start', 'attach'))
    m.attach_pipe.close()
    m.go()
    m.start.go()
    m.created().finish(2)


if __name__ == '__main__':
    main()
