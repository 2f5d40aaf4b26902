#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The fluentd driver, with the server from npm's @fluent-org/logger, and decoded by libmsgpackc."""

import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from receivers import check_sums, finish, fluent_server, free_port, launch, Peer  # noqa: E402
from harness import check, CID, equal, main, slow, wait_for  # noqa: E402

SCRIPT = 'print one\\n\nprint \\n\neprint err \\xc3\\xa4\\n\nprint tail'


def by_stream(records, stream):
    return [r['record']['log'] for r in records if r['record']['source'] == stream]


SUB_SECOND = 'fluentd-sub-second-precision=true'


def check_records(records, sub_second=False):
    equal(by_stream(records, 'stdout'), ['one', '', 'tail'])
    equal(by_stream(records, 'stderr'), ['err ä'])
    for r in records:
        equal(r['tag'], 'the.name')
        equal((r['record']['container_id'], r['record']['container_name']), (CID, '/name'))
        seconds, nanoseconds = r['time'] if sub_second else (r['time'], 1)
        check(abs(time.time() - seconds) < 60 and 0 < nanoseconds < 10**9, f'time {r["time"]}')


def run(t, *options):
    return finish(launch(t, SCRIPT, 'fluentd', 'tag=the.{{.Name}}', *options))


def test_tcp(t):
    server = fluent_server(t)
    sink = run(t, f'fluentd-address=tcp://127.0.0.1:{server.listening}')
    check_records(server.records(4))
    equal(sink['out'], sink['in'])


def test_unix_with_acknowledgements(t):
    server = fluent_server(t, path=f'{t.dir}/socket')
    sink = run(t, f'fluentd-address=unix://{t.dir}/socket', 'fluentd-request-ack=true', SUB_SECOND)
    check_records(server.records(4), sub_second=True)
    equal(sink['out'], sink['in'])


def test_shared_key(t):
    """The secrets come from a file and from the environment."""
    server = fluent_server(t, key='the key', user='joe', password='the password')
    (t.dir / 'key').write_text('the key\n')
    m = launch(t, SCRIPT, 'fluentd', 'tag=the.{{.Name}}', f'fluentd-address=127.0.0.1:{server.listening}',
               f'fluentd-shared-key-file={t.dir}/key', 'fluentd-username=joe', 'fluentd-password-env=PASSWORD',
               'fluentd-request-ack=true', env={'PASSWORD': 'the password'})
    finish(m)
    check_records(server.records(4))
    check('the key' not in ' '.join(m.argv) and 'the password' not in ' '.join(m.argv), 'a secret is in the arguments')


def test_wrong_key(t):
    """No record is delivered, all are counted, and the container is not affected."""
    server = fluent_server(t, key='the key')
    (t.dir / 'key').write_text('another\n')
    sink = run(t, f'fluentd-address=127.0.0.1:{server.listening}', f'fluentd-shared-key-file={t.dir}/key',
               'drain-timeout=200ms')
    equal((sink['out']['bytes'], sink['dropped']['at-end']), (0, sink['in']))
    equal(server.printed().splitlines()[1:], [])


@slow(90)
def test_many_with_acknowledgements(t):
    server = fluent_server(t)
    script = 'sh i=0; while [ $i -lt 5000 ]; do echo "line $i"; i=$((i+1)); done'
    m = launch(t, script, 'forward', f'fluentd-address=127.0.0.1:{server.listening}', 'fluentd-request-ack=true',
               'mode=blocking')
    sink = finish(m, timeout=30)
    equal(by_stream(server.records(5000), 'stdout'), [f'line {i}' for i in range(5000)])
    equal(sink['out']['records'], 5000)


@slow(90)
def test_restart_with_acknowledgements(t):
    """The server is restarted: with acknowledgements each line arrives, possibly twice, and first arrivals
    are in order."""
    port = free_port()
    servers = [fluent_server(t, port=port)]
    script = ('sh i=0; for go in one two three; do while [ ! -e @/$go ]; do sleep 0.02; done; '
              'n=0; while [ $n -lt 1000 ]; do echo "line $i"; i=$((i+1)); n=$((n+1)); done; done')
    m = launch(t, script, 'fluentd', f'fluentd-address=127.0.0.1:{port}', 'fluentd-request-ack=true', 'mode=blocking')
    t.touch('one')
    for go in ('two', 'three'):
        servers[-1].records(500)
        # Between two messages: this server acknowledges a message before it passes it on.
        servers[-1].stop()
        if go == 'two':
            t.touch(go)
        servers.append(fluent_server(t, port=port))
    t.touch('three')
    sink = finish(m, timeout=30)
    equal(check_sums(sink), 0, 'bytes dropped')
    seen = []
    for server in servers:
        for line in by_stream(server.so_far(), 'stdout'):
            if line not in seen[-1000:]:
                seen.append(line)
    expected = [f'line {i}' for i in range(3000)]
    equal(sorted(set(expected) - set(seen)), [], 'lines that are missing')
    equal(seen, expected, 'lines in the order of their first arrival')


def decode(data):
    """The stream as decoded by libmsgpackc."""
    done = subprocess.run([os.environ['MSGPACK_DUMP']], input=data, stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_msgpack(t):
    peer = Peer(t)
    m = launch(t, f'print {"x" * 20000}\\nlast\\n', 'fluentd', 'tag=T', f'fluentd-address=127.0.0.1:{peer.port}',
               SUB_SECOND)
    finish(m)
    wait_for(lambda: b'last' in b''.join(peer.received()), 'the last line')
    entries = []
    for tag, packed, option in decode(peer.received()[0]):
        equal(tag, 'T')
        records = decode(bytes.fromhex(packed['bin']))
        equal(option, {'size': len(records)})
        entries += records
    for stamp, record in entries:
        equal((stamp['ext'], len(stamp['data'])), (0, 16), 'EventTime')
        equal((record['container_id'], record['source']), (CID, 'stdout'))
    texts = [record['log'] for _, record in entries]
    equal(texts, ['x' * 16384, 'x' * 3616, 'last'])
    equal([(r.get('partial_message'), r.get('partial_ordinal'), r.get('partial_last')) for _, r in entries],
          [('true', '1', 'false'), ('true', '2', 'true'), (None, None, None)])
    equal(entries[0][1]['partial_id'], entries[1][1]['partial_id'])


if __name__ == '__main__':
    main()
