#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""conmonctl: lists monitors, shows their status, and sends them requests."""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import CONMON, Inotify, alive, check, equal, kill, main, matches, status_field, wait_for  # noqa: E402
from harness.check import scaled  # noqa: E402

CONMONCTL = os.environ.get('CONMONCTL', pathlib.Path(CONMON).parent / 'conmonctl/conmonctl')
if not os.access(CONMONCTL, os.X_OK):
    print('1..0 # SKIP no conmonctl; set CONMONCTL to its path')
    sys.exit()


def ctl(*arguments, status=0, **kwargs):
    """The output of conmonctl with these arguments; its errors if a failure is expected."""
    ended = subprocess.run([CONMONCTL, *map(str, arguments)], capture_output=True, text=True, timeout=60,
                           env={'PATH': os.environ['PATH'], 'LC_ALL': 'C.UTF-8'}, **kwargs)
    equal(ended.returncode, status, f'status of {arguments} ({ended.stdout}{ended.stderr})')
    return ended.stderr if status else ended.stdout


def unique_id():
    return os.urandom(32).hex()


def container(t, script='print out\\n\nwait @/end', *extra, name=None, **kwargs):
    """A running container with a unique id and name: this machine may run others at the same time."""
    cid = unique_id()
    m = t.create(script, *extra, monitor=t.monitor(cid[:6] + cid[-6:], cid), name=name or f'ctl-{cid[-12:]}', **kwargs)
    m.name = name or f'ctl-{cid[-12:]}'
    return m


def one(*arguments):
    """The single monitor of a JSON list."""
    monitor, = json.loads(ctl(*arguments, '--json'))
    return monitor


def test_ended_container(t):
    """While the exit command runs, the last status file is used, in bundle or persist directory, unless it is
    another monitor's."""
    command = ['--exit-command', t.runtime, '--exit-command-arg', 'script', '--exit-command-arg', 'wait @/go']
    for persist in (True, False):
        m = container(t, 'die 9', *command, persist=persist)
        wait_for(m.exit_file.exists, 'the exit file')
        path = (m.persist if persist else m.bundle) / 'log-status.json'
        wait_for(lambda: one('list', m.name)['state'] == 'ending', 'conmonctl to see the end')
        end = one('status', m.name)['status']['end']
        equal((end['code'], end['signal']), (137, 9), 'end')
        check('end.signal: 9' in ctl('status', m.name), 'the text of the status')
        path.write_text(path.read_text().replace(f'"pid":{m.pid}', '"pid":1'))
        equal(one('list', m.name)['state'], 'unreachable', 'state with the status of another monitor')
    t.touch('go')


def test_list(t):
    m = container(t, 'print a\\n\nprint b\\n\neprint err\\n\nwait @/end')
    m.wait_log(b'err')
    header, row, *rest = ctl('list', m.name).splitlines()
    equal(header.split(), 'CONTAINER NAME ENGINE PID UP STATE LINES IN DROPPED MEMORY DRIVERS'.split())
    cells = row.split()
    equal(cells[:4] + cells[5:8], [m.cid[:12], m.name, '-', str(m.pid), 'running', '3', '0'])
    equal(cells[-1], 'k8s-file')
    equal(rest, ['', '1 monitor listed.'])
    equal(ctl('list', m.cid[:5], '--no-legend').split()[:2], [m.cid[:12], m.name])
    t.touch('end')


def test_json(t):
    m = container(t)
    m.wait_log(b'out')
    monitor = one('list', m.cid)
    equal({key: monitor[key] for key in ('container', 'name', 'pid', 'uid', 'exec', 'outdated', 'state')},
          {'container': m.cid, 'name': m.name, 'pid': m.pid, 'uid': os.geteuid(), 'exec': False, 'outdated': False,
           'state': 'running'})
    equal(monitor['container_pid'], m.container)
    equal(monitor['status']['sinks'][0]['in']['records'], 1)
    check(10_000 < monitor['private_dirty_bytes'] < 10_000_000, f"memory {monitor['private_dirty_bytes']}")
    t.touch('end')


def test_patterns(t):
    tag = os.urandom(6).hex()
    first, second = (container(t, name=f'ctl-{tag}-{n}') for n in 'ab')
    equal([monitor['pid'] for monitor in json.loads(ctl('list', f'ctl-{tag}-*', '--json'))], [first.pid, second.pid])
    equal(len(json.loads(ctl('list', f'ctl-{tag}-?', first.cid, '--json'))), 2)
    t.touch('end')


def test_status(t):
    m = container(t)
    m.wait_log(b'out')
    text = ctl('status', m.name)
    for wanted in (rf'^\u25cf {m.name}$', rf'^ +Container: {m.cid}$', rf'^ +Monitor: pid {m.pid}, up ',
                   rf'^ +Log: k8s-file to {re.escape(str(m.log))} \(ok\)$', r'^ +in: 1 record \(4B\)$',
                   r'^ +delivered: 1 record '):
        check(re.search(wanted, text, re.M), f'{wanted} is not in {text}')
    t.touch('end')


def test_dropped_records(t):
    """Dropped records are shown with the cause."""
    m = container(t, 'print out\\n\nwait @/end', '--log-driver', 'syslog', '--log-opt',
                  f'syslog-address=unix://{t.dir}/nobody', '--log-opt', 'mode=non-blocking')
    status = one('status', m.name)['status']
    syslog, = [sink for sink in status['sinks'] if sink['driver'] == 'syslog']
    wait_for(lambda: 'last error' in ctl('status', m.name), 'an error of the destination')
    check('k8s-file,syslog' in ctl('list', m.name), 'the drivers are not in the list')
    check(syslog['in']['records'] <= 1, 'more records than lines')
    t.touch('end')


def test_exec_sessions_are_shown_when_asked_for(t):
    m = container(t)
    session = t.exec('wait @/end', monitor=t.monitor('session', m.cid), name=m.name)
    equal(len(json.loads(ctl('list', m.cid, '--json'))), 1)
    both = json.loads(ctl('list', '--exec', m.cid, '--json'))
    equal([(monitor['pid'], monitor['exec']) for monitor in both], [(m.pid, False), (session.pid, True)])
    t.touch('end')


def test_reopen(t):
    m = container(t, 'print out\\n\nwait @/more\nprint out\\n\nwait @/end')
    m.wait_log(b'out')
    m.log.rename(f'{m.log}.1')
    equal(ctl('reopen', m.name), '1 of 1 monitor reopened their logs.\n')
    t.touch('more')
    wait_for(lambda: m.log.exists() and len(m.log.read_text().splitlines()) == 1, 'a line in the new log')
    t.touch('end')


def test_unknown_containers(t):
    error = ctl('status', 'no-such-container', status=4)
    equal(error, "conmonctl: none of your running containers has this name or id: 'no-such-container'\n")
    m = container(t)
    check('no-such-container' in ctl('list', m.name, 'no-such-container', status=4), 'the missing name is not reported')
    t.touch('end')


def test_wrong_usage(t):
    for arguments, text in ((['frobnicate'], "there is no command 'frobnicate'; see 'conmonctl --help'"),
                            (['reopen'], "'reopen' requires containers, or --all"),
                            (['status', '--all', 'x'], "containers and --all can't be combined"),
                            (['list', '--http'], "--http and --textfile are options of 'metrics'"),
                            (['top', '-d', '0'], '--interval must be between 0.1 and 3600 seconds'),
                            (['top', '-n', '0'], '--iterations must be at least 1')):
        equal(ctl(*arguments, status=2), f'conmonctl: {text}\n')


def test_help(t):
    """It is the same in every locale."""
    for locale in ('C', 'C.UTF-8'):
        text = subprocess.run([CONMONCTL, '--help'], stdout=subprocess.PIPE, check=True,
                              env={'PATH': os.environ['PATH'], 'LC_ALL': locale}).stdout
        check(text.startswith(b'Usage:\n  conmonctl [OPTION...] [COMMAND [CONTAINER...]]\n'), text)


def test_escape_sequences_in_names(t):
    m = container(t, name='evil\x1b[2J\n\x07')
    text = ctl('list', m.cid)
    check('\x1b' not in text and '\x07' not in text, repr(text))
    check('evil?[2J??' in text, repr(text))
    check('\x1b' not in ctl('status', m.cid), 'status shows escape sequences')
    t.touch('end')


@contextlib.contextmanager
def fake_monitor(t, directory, *arguments):
    """A process that is only named conmon. Yields its container id and its process id."""
    cid = unique_id()
    directory.mkdir()
    script = t.dir / 'wait.py'
    script.write_text('import sys\nsys.stdin.read()\n')
    python = shutil.copy(os.path.realpath(sys.executable), t.dir / 'conmon')
    fake = subprocess.Popen([python, str(script), '-c', cid, '-b', str(directory), *arguments], stdin=subprocess.PIPE)
    try:
        yield cid, fake.pid
    finally:
        fake.stdin.close()
        fake.wait()


def test_fake_monitors(t):
    """A process that is only named conmon may name files of others: a symlink or a plain file is not used as
    the FIFO."""
    directory = t.dir / 'fake'
    (t.dir / 'victim').write_text('precious\n')
    with fake_monitor(t, directory) as (cid, _):
        (directory / 'ctl').symlink_to(t.dir / 'victim')
        error = ctl('status', cid, status=1)
        check('no status of' in error, error)
        equal((t.dir / 'victim').read_text(), 'precious\n')


def test_special_files_of_fake_monitors(t):
    """A FIFO, or anything else that is not a regular file, is not even opened."""
    directory = t.dir / 'fake'
    with fake_monitor(t, directory, '-p', str(directory / 'pid')) as (cid, _):
        for name in ('pid', 'log-status.json'):
            os.mkfifo(directory / name)
        files = Inotify(directory, opens=True)
        check('container_pid' not in one('list', cid), 'there is a process id')
        check('no status of' in ctl('status', cid, status=1), 'there is a status')
        equal(files.read(), [], 'what was opened')
        files.close()


def test_escape_sequences_of_fake_monitors(t):
    """They are not printed: neither in messages, nor in names of logs."""
    directory = t.dir / 'fake'
    with fake_monitor(t, directory, '-n', 'evil\x1b[2J') as (cid, pid):
        for command in ('status', 'reopen'):
            error = ctl(command, cid, status=1)
            check('evil?[2J (pid' in error, repr(error))
        os.mkfifo(directory / 'ctl')
        sink = {'driver': 'x', 'name': 'log\x1b]0;title\x07', 'target': '/log', 'state': 'ok'}
        (directory / 'log-status.json').write_text(json.dumps(
            {'version': 1, 'container': cid, 'ended': True, 'monitor': {'pid': pid}, 'sinks': [sink]}))
        text = ctl('status', cid)
        check('Log: log?]0;title? to /log (ok)' in text, repr(text))


def test_replaced_programs_are_noticed(t):
    directory = t.dir / 'bin'
    directory.mkdir()
    t.program = shutil.copy(t.program, directory / 'conmon')
    m = container(t)
    check(not one('list', m.name)['outdated'], 'reported as outdated before the program was replaced')
    os.rename(shutil.copy(t.program, directory / 'new'), t.program)
    check(one('list', m.name)['outdated'], 'the replaced program is not reported')
    check('conmonctl upgrade' in ctl('list', m.name), 'the list does not say what to do')
    t.touch('end')


SAMPLE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)$')


def samples(text):
    """{(name, labels): value}. Each line must be a comment or a sample, without duplicates."""
    found = {}
    for line in text.splitlines():
        if line.startswith('# '):
            continue
        name, labels, value = SAMPLE.match(line).groups()
        key = name, frozenset(re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', labels or ''))
        check(key not in found, f'duplicate sample {line}')
        found[key] = float(value)
    return found


def test_metrics(t):
    m = container(t, name='quote"back\\slash')
    m.wait_log(b'out')
    found = samples(ctl('metrics', m.cid))
    labels = {('container', m.cid), ('name', 'quote\\"back\\\\slash')}
    sink = labels | {('driver', 'k8s-file'), ('sink', 'k8s-file')}
    equal(found['conmon_monitor_up', frozenset(labels)], 1)
    equal(found['conmon_log_records_total', frozenset(sink)], 1)
    equal(found['conmon_log_delivered_bytes_total', frozenset(sink)], 4)
    equal(found['conmon_log_dropped_records_total', frozenset(sink | {('cause', 'queue-full')})], 0)
    equal(found['conmon_monitors', frozenset()], 1)
    t.touch('end')


def test_metrics_of_logs_with_one_name(t):
    """They have different labels: two of one driver that are being closed have the same name, and older monitors name none."""
    directory = t.dir / 'fake'
    with fake_monitor(t, directory) as (cid, pid):
        os.mkfifo(directory / 'ctl')
        sinks = [{'driver': 'syslog', 'target': '/log', 'state': 'ok', 'in': {'records': n, 'bytes': 1}} for n in (1, 2, 3)]
        (directory / 'log-status.json').write_text(json.dumps(
            {'version': 1, 'container': cid, 'ended': True, 'monitor': {'pid': pid}, 'sinks': sinks}))
        found = {dict(labels)['sink']: value for (name, labels), value in samples(ctl('metrics', cid)).items()
                 if name == 'conmon_log_records_total'}
        equal(found, {'syslog': 1, 'syslog#2': 2, 'syslog#3': 3})


def test_metrics_of_a_file_and_over_http(t):
    m = container(t)
    path = t.dir / 'conmon.prom'
    ctl('metrics', '--textfile', path, m.name)
    check(samples(path.read_text()), 'nothing in the file')
    equal([entry.name for entry in t.dir.glob('conmon.prom*')], ['conmon.prom'])
    answer = ctl('metrics', '--http', m.name, input='GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n')
    head, body = answer.split('\n\n', 1) if '\r\n\r\n' not in answer else answer.split('\r\n\r\n', 1)
    check(head.startswith('HTTP/1.0 200 OK'), head)
    check(f'Content-Length: {len(body.encode())}' in head, head)
    check(samples(body), 'no samples')
    t.touch('end')


def test_top(t):
    m = container(t)
    equal(ctl('top', '-n', '2', '-d', '0.1', '--no-legend', m.name).count(m.cid[:12]), 2)
    t.touch('end')


def test_reader_that_leaves(t):
    """No SIGPIPE: a monitor may end while its FIFO is written to, and the others are still to be asked."""
    m = container(t)
    top = subprocess.Popen([CONMONCTL, 'top', '-d', '0.1', m.name], stdout=subprocess.PIPE, restore_signals=True)
    check(top.stdout.readline(), 'a list')
    ignored = int(status_field(top.pid, 'SigIgn'), 16)
    top.stdout.close()
    equal((top.wait(10), ignored >> signal.SIGPIPE - 1 & 1), (1, 1), 'status, and whether the signal is ignored')
    t.touch('end')


def test_passthrough(t):
    """There is no FIFO for requests."""
    m = container(t, log='passthrough')
    equal(one('list', m.name)['state'], 'unreachable')
    for command in ('status', 'reopen', 'reload', 'upgrade'):
        check('its log driver is passthrough' in ctl(command, m.name, status=1), f'no reason: {command}')
    t.touch('end')


def test_monitor_that_does_not_answer(t):
    m = container(t)
    os.kill(m.pid, 19)
    try:
        monitor = one('list', m.name)
        equal((monitor['state'], monitor['status']), ('unreachable', None))
        check('did not answer' in monitor['error'], monitor['error'])
        check('did not answer' in ctl('status', m.name, status=1), 'no message')
    finally:
        os.kill(m.pid, 18)
    t.touch('end')


def test_container_that_ends_meanwhile(t):
    """The request is not handled any more, which is noticed; the answer to an earlier one is not mistaken for one."""
    m = container(t, 'pause')
    ctl('reload', m.name)
    os.kill(m.pid, signal.SIGSTOP)
    begin = time.monotonic()
    with subprocess.Popen([CONMONCTL, 'reload', m.name], stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: pending(m.bundle / 'ctl'), 'the request')
        kill(m.container)
        wait_for(lambda: not alive(m.container), 'the end of the container')
        os.kill(m.pid, signal.SIGCONT)
        m.finish(137)
        matches('.*: the container has ended\n', process.stderr.read(), 'the reason')
    check(time.monotonic() - begin < scaled(10), f'it took {time.monotonic() - begin:.1f} s')


def test_answer_with_the_inode_of_the_status_before(t):
    """File times may be coarse: a second new status gets the inode that the first one has freed, and the same time."""
    m = container(t, 'pause')
    ctl('status', m.name)
    status = m.bundle / 'log-status.json'
    before, text = status.stat(), status.read_bytes()
    os.kill(m.pid, signal.SIGSTOP)
    begin = time.monotonic()
    with subprocess.Popen([CONMONCTL, 'reopen', m.name], stdout=subprocess.PIPE, text=True) as process:
        wait_for(lambda: pending(m.bundle / 'ctl'), 'the request')
        for _ in range(2):
            new = m.bundle / 'new-status'
            new.write_bytes(text)
            os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
            new.rename(status)
        equal(process.stdout.read(), '1 of 1 monitor reopened their logs.\n')
    check(time.monotonic() - begin < scaled(10), f'it took {time.monotonic() - begin:.1f} s')
    os.kill(m.pid, signal.SIGCONT)
    kill(m.container)
    m.finish(137)


def pending(path):
    """The number of bytes in a FIFO."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return struct.unpack('i', fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0]
    finally:
        os.close(fd)


if __name__ == '__main__':
    main()
