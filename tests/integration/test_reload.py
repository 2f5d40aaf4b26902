#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""ctl message `5 0 0`: the configuration files are read again while the container runs."""

import json
import os
import socket
import subprocess
import sys
import pathlib
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import (  # noqa: E402
    check, CONMON, content, descriptors, equal, main, parse_json, slow, status_field, tool, wait_for)
from harness.check import scaled
from harness.syslog import Syslog  # noqa: E402

CONMONCTL = pathlib.Path(CONMON).parent / 'conmonctl/conmonctl'


def configure(t, text):
    """Writes the configuration; @/ is the test's directory. Returns the arguments that name it."""
    new = t.dir / 'conmon.conf.new'
    new.write_text(t.expand(text))
    new.rename(t.dir / 'conmon.conf')
    return ['--config', str(t.dir / 'conmon.conf')]


def status(m, line='3 0 0\n'):
    """A new status, written after the other messages were handled."""
    path = m.bundle / 'log-status.json'
    path.unlink(missing_ok=True)
    m.control(line)
    wait_for(path.exists, 'a status')
    return json.loads(path.read_text())


def sinks(m, line='3 0 0\n'):
    return {sink['name']: sink for sink in status(m, line)['sinks']}


def reload(t, m, text):
    """Changes the configuration; returns the sinks after it was applied."""
    configure(t, text)
    after = status(m, '5 0 0\n3 0 0\n')
    equal((after['request']['kind'], after['request']['result']), ('reload', 'ok'), str(after['request']))
    return {sink['name']: sink for sink in after['sinks']}


def refused(t, m, text):
    """The error message for an invalid configuration."""
    configure(t, text)
    request = status(m, '5 0 0\n3 0 0\n')['request']
    equal((request['kind'], request['result']), ('reload', 'failed'))
    return request['message']


def lines(path):
    return [line.removeprefix('line') for line in content(parse_json(path.read_bytes())).decode().split()]


def start(t, text, *extra, steps=3, **options):
    """A container that writes the number of each step when `step` allows it."""
    script = ''.join(f'print line{step}\\n\nwait @/go{step}\n' for step in range(1, steps + 1))
    m = t.create(script, *configure(t, text), *extra, **options)
    m.wait_log(b'line1')
    return m


def step(t, m, number):
    """Lets the container run this step."""
    t.touch(f'go{number - 1}')
    m.wait_log(f'line{number}'.encode())


def end(t, m):
    for number in (1, 2, 3):
        t.touch(f'go{number}')
    m.finish(0)


FILE = '[defaults]\ndriver = json-file:@/%s-{{.Name}}\n'


def test_sinks_added_and_removed(t):
    """A sink that is no longer configured is closed, a new one is opened, and the log of -l is not affected."""
    m = start(t, FILE % 'a')
    equal(sorted(reload(t, m, FILE % 'b')), ['json-file', 'k8s-file'])
    step(t, m, 2)
    check(not any('a-name' in target for target in descriptors(m.pid).values()), str(descriptors(m.pid)))
    equal(list(reload(t, m, '')), ['k8s-file'])
    step(t, m, 3)
    end(t, m)
    equal((lines(t.dir / 'a-name'), lines(t.dir / 'b-name')), (['1'], ['2']))
    equal(content(m.records()), b'line1\nline2\nline3\n')


def test_first_configuration(t):
    m = start(t, '')
    reload(t, m, FILE % 'a')
    step(t, m, 2)
    end(t, m)
    equal(lines(t.dir / 'a-name'), ['2', '3'])


class Server:
    """Reads its connections to the end and counts them."""

    def __init__(self):
        self.socket = socket.create_server(('127.0.0.1', 0))
        self.socket.settimeout(10)
        self.address = f'tcp://127.0.0.1:{self.socket.getsockname()[1]}'

    def accept(self):
        self.peer, _ = self.socket.accept()
        self.peer.settimeout(10)

    def expect(self, text):
        data = b''
        while text not in data:
            more = self.peer.recv(1 << 16)
            check(more, f'the connection ended before {text}')
            data += more


SINK = '''[sink near]
driver = syslog
opt.syslog-address = {}
opt.syslog-format = rfc5424
opt.tag = t
{}
[defaults]
sinks = near
'''


def test_connection_and_counters_are_kept(t):
    """Options of the queue, of filters and of others change; the connection stays open."""
    server = Server()
    m = start(t, SINK.format(server.address, ''))
    server.accept()
    server.expect(b' line1')
    after = reload(t, m, SINK.format(server.address, 'opt.max-buffer-size = 64k\nopt.exclude = line2') + '[profile p]\ndriver=none\n')
    equal((after['near']['queue']['max'], after['near']['out']['records']), (65536, 1))
    step(t, m, 2)
    step(t, m, 3)
    server.expect(b' line3')
    near = sinks(m)['near']
    equal((near['in']['records'], near['out']['records'], near['dropped']['filtered']['records']), (3, 2, 1))
    server.socket.settimeout(0)
    try:
        server.socket.accept()
        check(False, 'a second connection was made')
    except BlockingIOError:
        pass
    end(t, m)


def test_after_an_upgrade(t):
    """The new program knows which sinks are configured. There is no upgrade while a sink is being closed."""
    server = Server()
    m = start(t, SINK.format(server.address, '') + FILE.replace('[defaults]\n', '[match none]\n') % 'a')
    server.accept()
    server.expect(b' line1')
    equal(status(m, '4 0 0\n3 0 0\n')['request']['result'], 'ok')
    after = reload(t, m, SINK.format(server.address, 'opt.max-buffer-size = 64k'))
    equal((after['near']['queue']['max'], after['near']['out']['records']), (65536, 1))
    step(t, m, 2)
    server.expect(b' line2')
    silent = Server()
    reload(t, m, f'[defaults]\ndriver = fluentd\nopt.fluentd-address = {silent.address}\nopt.fluentd-request-ack = yes\n'
                 'opt.drain-timeout = 2s\n')
    step(t, m, 3)
    reload(t, m, '')
    request = status(m, '4 0 0\n3 0 0\n')['request']
    equal((request['result'], request['message']), ('failed', 'a log driver that a reload took away has something to send still'))
    end(t, m)


def test_queue_is_kept(t):
    """Records queued for a server that does not respond stay queued."""
    free = socket.create_server(('127.0.0.1', 0))
    address = f'tcp://127.0.0.1:{free.getsockname()[1]}'
    free.close()
    m = start(t, SINK.format(address, 'opt.drain-timeout = 0'))
    equal(sinks(m)['near']['queued']['records'], 1)
    after = reload(t, m, SINK.format(address, 'opt.drain-timeout = 100ms\nopt.on-full = drop-oldest'))
    equal(after['near']['queued']['records'], 1)
    step(t, m, 2)
    equal(sinks(m)['near']['queued']['records'], 2)
    end(t, m)


def test_smaller_queue(t):
    """A batch for an HTTP server is sent when it takes up half of the queue, also of a queue that became smaller."""
    server = Server()
    text = f"""[defaults]
driver = http
opt.http-url = {server.address.replace('tcp', 'http')}
opt.batch-wait = 1h
opt.batch-size = 400k
opt.max-buffer-size = """
    m = t.create('wait @/go\nfill 1 30000 100\nwait @/end', *configure(t, text + '1m\n'))
    reload(t, m, text + '20k\n')
    t.touch('go')
    server.accept()
    server.expect(b'"log"')
    server.peer.close()
    t.touch('end')
    m.finish(0)


def test_another_server(t):
    """The old connection gets the earlier records, the new one the rest; the counters continue."""
    one, two = Syslog(), Syslog()
    m = start(t, SINK.format(one.address, ''))
    reload(t, m, SINK.format(two.address, ''))
    step(t, m, 2)
    two.expect_lines('t', {'stdout': [b'line2']})
    one.expect_lines('t', {'stdout': [b'line1']})
    wait_for(lambda: list(sinks(m)) == ['k8s-file', 'near'], 'the end of the old connection')
    near = sinks(m)['near']
    equal((near['in']['records'], near['out']['records']), (2, 2))
    end(t, m)


def test_replaced_twice(t):
    """The last of three sinks with one name gets the counters of both that are closing."""
    silent = [Server() for _ in range(3)]
    text = ('[sink near]\ndriver = fluentd\nopt.fluentd-address = {}\nopt.fluentd-request-ack = yes\n'
            'opt.drain-timeout = 1s\n[defaults]\nsinks = near\n')
    m = start(t, text.format(silent[0].address))
    for number in (2, 3):
        reload(t, m, text.format(silent[number - 1].address))
        step(t, m, number)
    wait_for(lambda: list(sinks(m)) == ['k8s-file', 'near'], 'the end of the old ones')
    near = sinks(m)['near']
    equal([near[name]['records'] for name in ('in', 'out', 'queued')] + [near['dropped']['at-end']['records']], [3, 0, 1, 2])
    end(t, m)


def test_removed_with_a_queue(t):
    """The sink is drained for at most drain-timeout and is in the status until then; the end of the container
    does not wait longer."""
    silent = Server()  # does not accept connections, so that nothing is acknowledged
    text = ('[defaults]\ndriver = fluentd\nopt.fluentd-address = {}\nopt.fluentd-request-ack = yes\n'
            'opt.drain-timeout = 1s\n').format(silent.address)
    m = start(t, text)
    closing = reload(t, m, '')
    equal(list(closing), ['k8s-file', 'fluentd (closing)'])
    equal(closing['fluentd (closing)']['in']['records'], 1)
    step(t, m, 2)
    wait_for(lambda: list(sinks(m)) == ['k8s-file'], 'the end of the sink')
    end(t, m)


def test_end_while_one_is_closing(t):
    silent = Server()
    m = start(t, f'[defaults]\ndriver = fluentd\nopt.fluentd-address = {silent.address}\nopt.fluentd-request-ack = yes\n'
                 'opt.drain-timeout = 500ms\n')
    reload(t, m, FILE % 'a')
    end(t, m)
    equal(lines(t.dir / 'a-name'), ['2', '3'])


class LateServer:
    """An HTTP server that delays its first answer until `go` is set."""

    def __init__(self):
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.url = 'http://127.0.0.1:%d/' % self.listener.getsockname()[1]
        self.asked, self.go = threading.Event(), threading.Event()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        connection, _ = self.listener.accept()
        connection.recv(65536)
        self.asked.set()
        self.go.wait()
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')


def test_last_one_to_end_is_closing(t):
    """The answer that a removed sink has waited for is the last thing that happens."""
    server = LateServer()
    # Freed memory is overwritten.
    m = start(t, f'[defaults]\ndriver = http\nopt.http-url = {server.url}\nopt.batch-wait = 0\n',
              env={'GLIBC_TUNABLES': 'glibc.malloc.perturb=165:glibc.malloc.tcache_count=0'})
    server.asked.wait(10)
    reload(t, m, '')
    for number in (1, 2, 3):
        t.touch(f'go{number}')
    wait_for(m.exit_file.exists, 'the exit file')
    server.go.set()
    m.finish(0)
    equal([sink['name'] for sink in json.loads((m.persist / 'log-status.json').read_text())['sinks']], ['k8s-file'])


def test_one_of_two(t):
    """Two sinks of one driver: the remaining one keeps its name and its server."""
    one, two = Syslog(), Syslog()
    head = '[sink {}]\ndriver=syslog\nopt.syslog-address={}\nopt.syslog-format=rfc5424\nopt.tag=t\n'
    both = head.format('a', one.address) + head.format('b', two.address)
    m = start(t, both + '[defaults]\nsinks = a;b\n')
    equal(sorted(reload(t, m, both + '[defaults]\nsinks = b\n')), ['b', 'k8s-file'])
    step(t, m, 2)
    two.expect_lines('t', {'stdout': [b'line1', b'line2']})
    one.expect_lines('t', {'stdout': [b'line1']})
    equal(sorted(reload(t, m, both + '[defaults]\nsinks = b;a\n')), ['a', 'b', 'k8s-file'])
    step(t, m, 3)
    for server, wanted in ((one, [b'line1', b'line3']), (two, [b'line1', b'line2', b'line3'])):
        server.expect_lines('t', {'stdout': wanted})
    end(t, m)


def test_filters(t):
    """They apply from then on, also to the rest of a partial line."""
    m = t.create('print 1 password\\n\nprint be\nwait @/go1\nprint gun password\\n\nwait @/go2\nprint 3 password\\n',
                 *configure(t, FILE % 'a'))
    m.wait_log(b'be')
    (t.dir / 'secrets').write_text('password\n')
    reload(t, m, FILE % 'a' + 'opt.redact-file = @/secrets\n')
    t.touch('go1')
    m.wait_log(b'gun password')
    reload(t, m, FILE % 'a')
    t.touch('go2')
    m.finish(0)
    equal(content(parse_json((t.dir / 'a-name').read_bytes())), b'1 password\nbegun ***\n3 password\n')


def test_secret_during_a_reload(t):
    """A reload does not cut the line that a sink has begun: a secret that it interrupts is hidden. The sink is
    changed, or replaced by another one."""
    (t.dir / 'secrets').write_text('password\nabcdefghijklmnopqrst\n')
    conf = FILE % 'a' + 'opt.redact-file = @/secrets\nopt.max-record = 64\n'
    parts = 'print a pass\nwait @/go1\nprint word b\\n\n' \
            f'print {54 * "x"}abcdefghijklmnopqrstyyyyyyyyy\nwait @/go2\nprint z\\n\n'
    for number, option in enumerate(('exclude = *{}*', 'labels = {}')):
        m = t.monitor(str(number))
        (m.bundle / 'config.json').write_text('{}')
        t.create(parts, *configure(t, conf + 'opt.' + option.format(1)), name=str(number), monitor=m)
        for step in (1, 2):
            m.wait_log((b'a pass', b'yyy')[step - 1])
            reload(t, m, conf + 'opt.' + option.format(step + 1))
            t.touch(f'go{step}')
        m.finish(0)
        records = parse_json((t.dir / f'a-{number}').read_bytes())
        equal([record.content for record in records], [b'a *** b', 54 * b'x' + b'***', b'yyyyyyyyyz'], option)
        equal([record.tag for record in records], ['F', 'P', 'F'], option)
        for step in (1, 2):
            (t.dir / f'go{step}').unlink()


def test_limits_of_files(t):
    """For the engine's own file and for another one."""
    m = t.create('fill 1 50000 100\nwait @/go\nfill 1 50000 100\nwait @/end', *configure(t, FILE % 'a'))
    wait_for(lambda: m.log.exists() and m.log.stat().st_size > 50000, 'the first lines')
    m.stable_descriptors()
    equal(sorted(path.name for path in m.root.glob('ctr.log*')), ['ctr.log'])
    reload(t, m, FILE % 'a' + 'opt.max-size = 20k\nopt.max-file = 3\n[limits]\nsize-max = 30k\nrotate = yes\nmax-files = 2\n')
    t.touch('go')
    wait_for(lambda: sinks(m)['k8s-file']['in']['records'] == 1000, 'all lines')
    t.touch('end')
    m.finish(0)
    equal(sorted(path.name for path in m.root.glob('ctr.log*')), ['ctr.log', 'ctr.log.1', 'ctr.log.2'])
    equal(sorted(path.name for path in t.dir.glob('a-name*')), ['a-name', 'a-name.1', 'a-name.2'])
    check(m.log.stat().st_size <= 30000 and (t.dir / 'a-name').stat().st_size <= 20000, 'sizes')


def test_errors_change_nothing(t):
    """The message names file, line and key; no sink is changed."""
    m = start(t, FILE % 'a')
    place = f'{t.dir}/conmon.conf'
    for text, sentence in (
            ('nonsense\n', f'{place}:1: this is no [section], no KEY = VALUE in a section, and no # comment'),
            ('[defaults]\ndriver = nope\n', f'{place}:2: [defaults] driver: No such log driver nope; there are: '),
            ('[profile x]\ndriver = nope\n', f'{place}:2: [profile x] driver: No such log driver nope; there are: '),
            ('[policy]\non-error = warn\n[defaults]\ndriver = nope\n', f'{place}:4: [defaults] driver: No such log driver'),
            ('[defaults]\ndriver = json-file:@/b-{{.Name}};json-file:@/no/{{.Name}}\n',
             f'{place}:2: [defaults] driver: Failed to open log file {t.dir}/no/name: No such file or directory'),
            (FILE % 'a' + 'opt.redact-file = @/none\nopt.max-size = 1k\n',
             f'{place}:2: [defaults] driver: Failed to read the secrets of redact-file={t.dir}/none: '),
            ('[defaults]\ndriver = passthrough\nopt.tee = yes\n',
             f"{place}:2: [defaults] driver: passthrough can't be added while the container runs")):
        message = refused(t, m, text)
        check(message.startswith(sentence), f'{text!r}: {message}')
        equal(list(sinks(m)), ['k8s-file', 'json-file'], text)
    step(t, m, 2)
    reload(t, m, FILE % 'b')
    step(t, m, 3)
    end(t, m)
    equal((lines(t.dir / 'a-name'), lines(t.dir / 'b-name')), (['1', '2'], ['3']))


def slow_disk(file, call, ends):
    """While a reload reads the configuration, asks for a new log or closes a removed one, output is passed on and the
    end recorded."""
    def test(t):
        strace = tool('strace')
        (t.dir / 'b-name').touch()
        m = start(t, FILE % 'a', '-i')
        client = m.attach()
        tracer = subprocess.Popen([strace, '-qq', '-f', '-p', str(m.pid), '-o', t.dir / 'trace', '-P', t.dir / file,
                                   '-e', f'trace={call}', '-e', f'inject={call}:delay_enter=4000000'])
        t.stack.callback(tracer.wait)
        t.stack.callback(tracer.terminate)
        wait_for(lambda: status_field(m.pid, 'TracerPid') == str(tracer.pid), 'strace')
        configure(t, FILE % 'b')
        m.control('5 0 0\n')
        time.sleep(scaled(0.3))
        begin = time.monotonic()
        for number in (1, 2, 3) if ends else (1,):
            t.touch(f'go{number}')
        client.until(b'line2\n')
        if ends:
            wait_for(m.exit_file.exists, 'the exit file')
        took = time.monotonic() - begin
        check(took < scaled(1.5), f'it took {took:.1f} s')
        if not ends:
            wait_for(lambda: 'b-name' in str(descriptors(m.pid)), 'the new configuration', 10)
        tracer.terminate()
        tracer.wait()  # a traced process can't look for leaks
        end(t, m)
        equal(content(m.records()), b'line1\nline2\nline3\n', 'the log')
    return test


test_slow_configuration = slow_disk('conmon.conf', 'openat', ends=False)
test_end_during_slow_configuration = slow_disk('conmon.conf', 'openat', ends=True)
test_end_while_a_new_file_does_not_answer = slow_disk('b-name', '%%stat', ends=True)
test_slow_close = slow_disk('a-name', 'close', ends=False)
test_end_during_slow_close = slow_disk('a-name', 'close', ends=True)


def test_file_of_an_option_that_stalls(t):
    """The reload is refused, and everything else continues. A FIFO that nobody writes stalls like a disk."""
    fifo = t.dir / 'secret'
    m = start(t, FILE % 'a', '-i', steps=5)
    client = m.attach()
    splunk = 'driver = splunk\nopt.splunk-url = http://127.0.0.1:9\nopt.splunk-token-file = @/secret\n'
    fluentd = 'driver = fluentd\nopt.fluentd-shared-key-file = @/secret\n'
    redaction = FILE % 'b' + 'opt.redact-file = @/secret\n'
    for number, text in enumerate((redaction, '[defaults]\n' + splunk, '[defaults]\n' + fluentd), 1):
        os.mkfifo(fifo)
        message = refused(t, m, text)
        check('does not answer' in message, message)
        t.touch(f'go{number}')
        client.until(f'line{number + 1}\n'.encode())
        message = refused(t, m, FILE % 'b')
        check('does not answer' in message, 'a second reload was not refused')
        fifo.open('w').close()
        fifo.unlink()
        wait_for(lambda: status(m, '5 0 0\n3 0 0\n')['request']['result'] == 'ok', 'a reload')
    fifo.write_text('line5\n')
    reload(t, m, redaction.replace('b-', 'c-'))
    for number in (4, 5):
        t.touch(f'go{number}')
    m.finish(0)
    equal((lines(t.dir / 'a-name'), lines(t.dir / 'b-name'), lines(t.dir / 'c-name')),
          (['1', '2'], ['3', '4'], ['***']))


def test_precedence_is_kept(t):
    """Files do not override command line and annotations, but changed profiles apply."""
    m = start(t, FILE % 'a', '--log-driver', f'json-file:{t.dir}/own', '--log-opt', 'json-file.tag=own')
    equal(list(reload(t, m, FILE % 'b')), ['k8s-file', 'json-file'])
    step(t, m, 2)
    end(t, m)
    equal((lines(t.dir / 'own'), list(t.dir.glob('*-name'))), (['1', '2', '3'], []))
    for number in (1, 2, 3):
        (t.dir / f'go{number}').unlink()
    m = t.monitor('2')
    (m.bundle / 'config.json').write_text('{"annotations": {"org.conmon.log/profile": "p"}}')
    m = start(t, '[profile p]\ndriver = json-file:@/p-{{.Name}}\n' + FILE % 'a', monitor=m)
    reload(t, m, '[profile p]\ndriver = json-file:@/q-{{.Name}}\n' + FILE % 'b')
    step(t, m, 2)
    end(t, m)
    equal((lines(t.dir / 'p-name'), lines(t.dir / 'q-name')), (['1'], ['2', '3']))
    check(not (t.dir / 'a-name').exists() and not (t.dir / 'b-name').exists(), 'the defaults')


def test_limits_of_clients(t):
    """New limits apply to connected clients, too."""
    m = t.create('print out\\n\nwait @/go\nfill 1 8000000 1000\nprint end\\n', *configure(t, '[attach]\nstall-timeout = 0\n'))
    m.wait_log(b'out')
    client = m.attach()  # does not read
    t.touch('go')
    wait_for(lambda: m.log.stat().st_size > 1000000, 'output')
    m.stable_descriptors()
    check(not m.exit_file.exists(), 'the client did not delay the container')
    reload(t, m, '[attach]\nstall-timeout = 100ms\n')
    m.finish(0)
    client.close()
    check(content(m.records()).endswith(b'end\n'), 'the end')


@slow(60)
def test_flood(t):
    """The configuration alternates between two files: every line is in the log of -l, and once in one of the two."""
    script = 'fill 1 1000000 100\nwait @/first\n' + '\nsleep 20\n'.join(['fill 1 1000000 100'] * 19)
    m = t.create(f'{script}\nwait @/go', *configure(t, FILE % 'a'))
    wait_for(lambda: (t.dir / 'a-name').stat().st_size > 0, 'output in the first file')
    for number in range(100):
        configure(t, FILE % 'ba'[number % 2])
        m.control('5 0 0\n')
        if number % 10 == 0:
            sinks(m)
        if number == 0:
            t.touch('first')
            wait_for(lambda: (t.dir / 'b-name').stat().st_size > 0, 'output in the second file')
    wait_for(lambda: sinks(m)['k8s-file']['in']['bytes'] == 20000000, 'all lines')
    t.touch('go')
    m.finish(0)
    whole = [(t.dir / f'{name}-name').read_bytes().count(b'\\n","stream"') for name in 'ab']
    check(sum(whole) == 200000 and min(whole) > 0, str(whole))


def test_conmonctl(t):
    if not CONMONCTL.exists():
        return
    cid = os.urandom(32).hex()  # this machine may run other containers
    m = start(t, FILE % 'a', monitor=t.monitor('ctl', cid))

    def ctl(status):
        ended = subprocess.run([CONMONCTL, 'reload', cid], capture_output=True, text=True, timeout=60, check=False)
        equal(ended.returncode, status, ended.stderr)
        return ended.stderr
    configure(t, FILE % 'b')
    ctl(0)
    step(t, m, 2)
    configure(t, 'nonsense\n')
    check(f'{t.dir}/conmon.conf:1: this is no [section]' in ctl(1), 'the reason')
    end(t, m)
    equal(lines(t.dir / 'b-name'), ['2', '3'])


if __name__ == '__main__':
    main()
