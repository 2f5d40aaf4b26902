#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The gelf driver, decoded in Python and by npm's graygelf."""

import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from receivers import finish, GelfUdp, graygelf_server, launch, Peer  # noqa: E402
from harness import check, CID, equal, main, SHORT_CID, wait_for  # noqa: E402

# A line that does not compress well and fills a record.
NOISE = ''.join(chr(33 + (i * i * 7919 + i * 31) % 90) for i in range(12000)).replace('\\', '/')


def check_message(x, text, level=6):
    equal((x['version'], x['short_message'], x['level'], x['_container_id'], x['_container_name']),
          ('1.1', text, level, CID, 'name'))
    check(abs(time.time() - x['timestamp']) < 60, f'time {x["timestamp"]}')
    check('_id' not in x, 'unexpected _id, which servers refuse')


def run(t, script, address, *options, **kwargs):
    m = launch(t, script, 'gelf', f'gelf-address={address}', *options, **kwargs)
    return m, finish(m)


def udp(*options, expected):
    def test(t):
        server = GelfUdp(t)
        _, sink = run(t, f'print one\\n\neprint err\\n\nprint {NOISE}\\ntail', f'udp://127.0.0.1:{server.port}', *options)
        messages = server.receive(4)
        check_message(next(x for x in messages if x['level'] == 3), 'err', 3)
        for x, text in zip([x for x in messages if x['level'] == 6], ('one', NOISE, 'tail')):
            check_message(x, text)
        equal(dict(server.formats), {expected: 4})
        equal(sink['out'], sink['in'])
    return test


test_gzip = udp(expected='gzip')
test_zlib = udp('gelf-compression-type=zlib', 'gelf-compression-level=9', expected='zlib')
test_plain = udp('gelf-compression-type=none', expected='none')


def test_tcp(t):
    peer = Peer(t)
    run(t, f'print one\\n\nprint {NOISE}\\n', f'tcp://localhost:{peer.port}')
    wait_for(lambda: b''.join(peer.received()).count(b'\0') == 2, 'two messages')
    parts = b''.join(peer.received()).split(b'\0')
    equal(parts.pop(), b'')
    for part, text in zip(parts, ('one', NOISE)):
        check_message(json.loads(part), text)


def test_attributes(t):
    server = GelfUdp(t)
    m = t.monitor()
    (m.bundle / 'config.json').write_text('{"annotations": {"id": "7", "a/b": "x=y=z"}, "process": {"env": ["E=1=2"]}}')
    run(t, 'print one\\n', f'udp://127.0.0.1:{server.port}', 'labels=id,a/b', 'env=E', 'tag={{.ID}}/{{.Name}}', monitor=m)
    message, = server.receive(1)
    equal({key: message.get(key) for key in ('_id_', '_a_b', '_E', '_tag')},
          {'_id_': '7', '_a_b': 'x=y=z', '_E': '1=2', '_tag': f'{SHORT_CID}/name'})


def test_graygelf(t):
    """Another implementation, for each compression."""
    server = graygelf_server(t)
    for n, form in enumerate(('gzip', 'zlib', 'none')):
        run(t, f'print {form}\\n{NOISE}\\n', f'udp://127.0.0.1:{server.listening}', f'gelf-compression-type={form}',
            monitor=t.monitor(form))
        # graygelf decompresses in the background, so the short one may be second.
        first, second = sorted(server.records(2 * n + 2)[2 * n:], key=lambda x: len(x['short_message']))
        check_message(first, form)
        check_message(second, NOISE)


if __name__ == '__main__':
    main()
