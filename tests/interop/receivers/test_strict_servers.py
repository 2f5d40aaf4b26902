#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The drivers that use HTTP, with servers that were written only from the formats' documentation."""

import codecs
import contextlib
import http.client
import itertools
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from receivers import finish, launch  # noqa: E402
from strict_servers import basic, Elasticsearch, Loki, Otlp, Splunk  # noqa: E402
from harness import check, CID, equal, main, SHORT_CID  # noqa: E402

# About 100 kB: a pattern of 16 bytes, so that parts of 16384 bytes are identical. In LONG, characters are
# split between parts.
REPEATED = ''.join(itertools.islice(itertools.cycle('aä\u2028€😀"\\\t'), 50000)).encode()
LONG = b'-' + REPEATED
LINES = [b'plain', b'', b'same', b'same', b'same', b'', b'', b' blanks ', b'N\0U\0L', b'\0', b'bad \xff\xfe\x80 bytes',
         b'cut \xf0\x9f\x98', b'cut \xe2\x82 in the middle', b'surrogate \xed\xa0\x80', b'long form \xc0\xaf', b'\xf4\x90\x80\x80',
         b'a\rb', b'end\r', b'\r', 'line\u2028and\u2029paragraph\u0085next'.encode(), '\ufeffmark \uffff \U0010ffff'.encode(),
         bytes(range(1, 10)) + bytes(range(11, 32)) + b'\x7f', b'"quoted\\" \\u0041 / </script>', '😀 e\u0301'.encode(),
         b'{"a": 1}', b'[1', b'null', b'{"create":{}}', REPEATED, LONG, b'after', b'unfinished']
ERRORS = [b'', b'to stderr', b'same', b'same', b'\xff', LONG[:20000] + b'\xff']
ANNOTATIONS = {'id': '7', 'a/b': 'x=y=z', 'a_b': 'other', 'host': 'h', 'source': 's', 'container_name': 'n', 'app': 'web',
               'app.kubernetes.io/name': 'web', 'Grüße': 'ä"\\\n', '9': 'nine', 'nothing': '', 'line': 'l', '.dot.': 'd'}


def run(t, server, driver, *options, lines=LINES, errors=ERRORS, **kwargs):
    """Runs a container that writes these lines. No record may be refused or dropped."""
    (t.dir / 'out').write_bytes(b'\n'.join(lines))
    (t.dir / 'err').write_bytes(b'\n'.join(errors) + b'\n' if errors else b'')
    sizes = [(t.dir / name).stat().st_size for name in ('out', 'err')]
    script = ''.join(f'copy {fd} @/{name} 0 {size}\n' for fd, name, size in zip((1, 2), ('out', 'err'), sizes) if size)
    m = launch(t, script, driver, *options, **kwargs)
    sink = finish(m)
    equal(server.faults, [], 'faults found by the server')
    equal(sink['out'], sink['in'], f'status {sink}')
    return m


def _each_byte(error):
    """Decoders may replace invalid UTF-8 by one U+FFFD per byte or per sequence: here it is per byte."""
    return '\ufffd', error.start + 1


codecs.register_error('each byte', _each_byte)


def text(line):
    return line.decode(errors='each byte')


def joined(records, line, key, ordinal, last):
    """Joins the parts of lines: `line`, `key`, `ordinal` and `last` extract one attribute of a record."""
    lines, parts, whose = [], [], None
    for record in records:
        if key(record) is None:
            check(not parts, f'the last part of {whose} is missing')
            lines.append(line(record))
            continue
        check(not parts or key(record) == whose, f'parts of {key(record)} within {whose}')
        whose = key(record)
        parts.append(line(record))
        equal(int(ordinal(record)), len(parts), 'number of a part')
        check(last(record) in (True, False, 'true', 'false'), f'last: {last(record)!r}')
        if last(record) in (True, 'true'):
            check(len(parts) > 1, f'a single part of {whose}')
            lines.append(type(parts[0])().join(parts) if len({type(x) for x in parts}) == 1 else
                         b''.join(x if isinstance(x, bytes) else x.encode() for x in parts))
            parts = []
    check(not parts, f'the last part of {whose} is missing')
    return lines


def members(records, line, where=lambda record: record):
    return joined(records, line, *(lambda record, name=name: where(record).get(f'partial_{name}')
                                   for name in ('id', 'ordinal', 'last')))


def annotated(t, annotations=None):
    prepared = t.monitor()
    (prepared.bundle / 'config.json').write_text(json.dumps(
        {'annotations': annotations or ANNOTATIONS, 'process': {'env': ['E=1=2', 'app=env', 'EMPTY=']}}))
    return prepared


WANTED = ('labels-regex=.', 'env=E,EMPTY', 'tag={{.ID}}/{{.Name}}')


def secret(t, name, value):
    path = t.dir / name
    path.write_text(value + '\n')
    return path


def equal_lines(got, lines=tuple(LINES), errors=tuple(ERRORS)):
    for stream, wanted in (('stdout', lines), ('stderr', errors)):
        for n, (actual, expected) in enumerate(zip(got(stream), map(text, wanted))):
            equal(actual, expected, f'line {n} of {stream}')
        equal(len(got(stream)), len(wanted), f'lines of {stream}')


# ---------------------------------------------------------------------------------------------------- Splunk

GUID = '12345678-1234-1234-1234-1234567890ab'


def splunk(t, server, *options, **kwargs):
    token = secret(t, 'token', GUID)
    return run(t, server, 'splunk', f'splunk-url={server.url}', f'splunk-token-file={token}', *options, **kwargs)


def splunk_lines(server, line=lambda record: record['line']):
    def got(stream):
        events = [record['event'] for record in server.records if record['event']['source'] == stream]
        return members(events, line)
    return got


def test_splunk(t):
    server = Splunk(t, GUID, indexes=('main', 'other'))
    splunk(t, server, 'splunk-index=other', 'splunk-source=src', 'splunk-sourcetype=_json', *WANTED, monitor=annotated(t))
    equal_lines(splunk_lines(server))
    record = server.records[0]
    equal((record['index'], record['source'], record['sourcetype'], record['host']), ('other', 'src', '_json', os.uname().nodename))
    equal(record['event']['tag'], f'{SHORT_CID}/name')
    equal(record['event']['attrs'], {**ANNOTATIONS, 'E': '1=2', 'EMPTY': ''})


def test_splunk_gzip_and_acknowledgment(t):
    server = Splunk(t, GUID, acknowledge=True)
    splunk(t, server, 'splunk-gzip=true', 'splunk-index-acknowledgment=true', 'batch-size=64k')
    equal_lines(splunk_lines(server))
    check('gzip' in server.encodings, f'encodings {server.encodings}')
    equal(server.indexed, sum(map(len, server.batches.values())), 'acknowledged batches')
    check(server.indexed > 1, 'all records came in one batch')


def test_splunk_json(t):
    """Valid JSON is sent as the same value, everything else as a string."""
    values = [b'{"a": [1, 2.5e3, null, true], "b": {"c": "\\u00e9\\ud83d\\ude00"}}', b'"text"', b'12', b' [] ', b'true']
    others = [b'', b'NaN', b'01', b'{"a":1}x', b'{"a":1}{"b":2}', b'{"a":"\xff"}', b"{'a':1}", b'{"a":1,}', b'"\t"', b'[1 /* c */]',
              b'nul', b'-', b'"\x00"', b'"\\x"', b'{}}', b'[']
    server = Splunk(t, GUID)
    splunk(t, server, 'splunk-format=json', lines=values + others, errors=())
    got = [record['event']['line'] for record in server.records]
    equal(got, [json.loads(x) for x in values] + [text(x) for x in others])


def test_splunk_raw(t):
    server = Splunk(t, GUID)
    splunk(t, server, 'splunk-format=raw', 'tag=T', lines=LINES[:20], errors=())
    equal([record['event'] for record in server.records], [f'T {text(x)}' for x in LINES[:20]])


def test_splunk_raw_blank(t):
    """Splunk refuses blank events. Only a blank line without a prefix is lost."""
    server = Splunk(t, GUID)
    token = secret(t, 'token', GUID)
    (t.dir / 'out').write_bytes(b'a\n\n  \nb\n')
    sink = finish(launch(t, 'copy 1 @/out 0 8', 'splunk', f'splunk-url={server.url}', f'splunk-token-file={token}',
                         'splunk-format=raw', 'tag='))
    equal([record['event'] for record in server.records], ['a', 'b', 'conmon: 2 records dropped: refused'])
    equal(sink['dropped']['refused'], {'records': 2, 'bytes': 4})


# ------------------------------------------------------------------------------------------------------ Loki

def loki_lines(server):
    """The streams as a query returns them."""
    def got(stream):
        entries, = [entries for labels, entries in server.streams.items() if dict(labels)['source'] == stream]
        return members(entries, lambda entry: entry[1], lambda entry: entry[2])
    return got


def test_loki(t):
    token = secret(t, 'token', 'glc_secret')
    server = Loki(t, 'Bearer glc_secret', tenant='team')
    run(t, server, 'loki', f'loki-url={server.url}', f'loki-token-file={token}', 'loki-tenant-id=team')
    equal_lines(loki_lines(server))
    for labels, _, _, metadata in server.records:
        equal((labels['container_name'], labels['host'], metadata['container_id']), ('name', os.uname().nodename, CID))


def test_loki_gzip(t):
    password = secret(t, 'password', 'pä:ss')
    server = Loki(t, basic('user', 'pä:ss'))
    run(t, server, 'loki', f'loki-url={server.url}/', 'loki-user=user', f'loki-password-file={password}',
        'loki-compression=gzip', 'loki-batch-size=64k', 'loki-external-labels=cluster=c,job={{.Name}}')
    equal_lines(loki_lines(server))
    equal(set(server.encodings), {'gzip'})
    equal({(labels['cluster'], labels['job']) for labels, *_ in server.records}, {('c', 'name')})


def test_loki_labels(t):
    server = Loki(t)
    few = {name: ANNOTATIONS[name] for name in ('id', 'a/b', 'a_b', 'host', 'source', 'Grüße', '9', '.dot.')}
    run(t, server, 'loki', f'loki-url={server.url}', *WANTED, monitor=annotated(t, few), lines=[b'x'], errors=())
    (labels, _, line, _), = server.records
    equal((labels['source'], labels['id'], labels['tag'], labels['E'], line), ('stdout', '7', f'{SHORT_CID}/name', '1=2', 'x'))
    check({'x=y=z', 'other', 'h', 's', 'ä"\\\n', 'nine', 'd'} <= set(labels.values()), f'labels {labels}')


def test_loki_too_many_labels(t):
    """More labels than Loki accepts, and values that are too long, do not lead to lost lines."""
    server = Loki(t)
    many = {**{f'label{n}': str(n) for n in range(30)}, 'long': 'ä' * 3000}
    run(t, server, 'loki', f'loki-url={server.url}', 'labels-regex=.', monitor=annotated(t, many), lines=[b'x'], errors=())
    (labels, _, line, metadata), = server.records
    equal((labels['source'], line), ('stdout', 'x'))
    equal({name: {**labels, **metadata}.get(name) for name in many}, many)


# --------------------------------------------------------------------------------------------- Elasticsearch

def elasticsearch(t, server, *options, path='', **kwargs):
    return run(t, server, 'http', f'http-url={server.url}{path}', 'http-format=elasticsearch', *options, **kwargs)


def elasticsearch_lines(server):
    def got(stream):
        return members([x for x in server.records if x['stream'] == stream], lambda record: record['message'])
    return got


def test_elasticsearch(t):
    password = secret(t, 'password', 'secret')
    server = Elasticsearch(t, basic('elastic', 'secret'))
    elasticsearch(t, server, 'http-user=elastic', f'http-password-file={password}', path='/logs-web-default/_bulk')
    equal_lines(elasticsearch_lines(server))
    equal((server.index, server.records[0]['container_id'], server.records[0]['container_name']), ('logs-web-default', CID, 'name'))


def test_elasticsearch_gzip(t):
    fields = secret(t, 'fields', 'Authorization: ApiKey abc==')
    server = Elasticsearch(t, 'ApiKey abc==')
    elasticsearch(t, server, f'http-headers-file={fields}', 'http-compression=gzip', 'batch-size=64k',
                  path='/logs-web-default/_bulk')
    equal_lines(elasticsearch_lines(server))
    equal(set(server.encodings), {'gzip'})


def test_elasticsearch_default_path(t):
    server = Elasticsearch(t)
    elasticsearch(t, server, lines=[b'x'], errors=())
    equal((server.index, [record['message'] for record in server.records]), ('logs-conmon-default', ['x']))


def test_elasticsearch_attributes(t):
    """A dot in a name creates an object, which conflicts with a value of the same name."""
    server = Elasticsearch(t)
    elasticsearch(t, server, *WANTED, monitor=annotated(t), lines=[b'x'], errors=(), path='/logs-web-default/_bulk')
    record, = server.records
    equal((record['message'], record['tag'], record['attrs']['id']), ('x', f'{SHORT_CID}/name', '7'))
    equal(sorted(record['attrs'].values()), sorted([*{**ANNOTATIONS, 'EMPTY': '', 'E': '1=2'}.values()]))


# ------------------------------------------------------------------------------------------------------ OTLP

def is_text(line):
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def check_otlp(server):
    for stream, wanted in (('stdout', LINES), ('stderr', ERRORS)):
        records = [x for x in server.records if x['attributes']['log.iostream'] == stream]
        lines = joined(records, lambda x: x['body'], *(lambda x, name=name: x['attributes'].get(f'conmon.partial.{name}')
                                                       for name in ('id', 'ordinal', 'last')))
        equal(len(lines), len(wanted), f'lines of {stream}')
        for actual, line in zip(lines, wanted):
            equal(actual, line.decode() if is_text(line) else line, f'a line of {stream}')
        equal({x['severity_number'] for x in records}, {9 if stream == 'stdout' else 17})


def test_otlp(t):
    token = secret(t, 'token', 'secret')
    server = Otlp(t, 'Bearer secret')
    run(t, server, 'otlp', f'otlp-endpoint={server.url}', f'otlp-token-file={token}', *WANTED, monitor=annotated(t))
    check_otlp(server)
    resource = server.records[0]['resource']
    equal([resource[name] for name in ('service.name', 'container.id', 'container.name', 'host.name')],
          ['name', CID, 'name', os.uname().nodename])
    both = {**resource, **server.records[0]['attributes']}
    equal(both['conmon.tag'], f'{SHORT_CID}/name')
    equal({name: both.get(f'container.label.{name}') for name in ANNOTATIONS}, ANNOTATIONS)


def test_otlp_gzip(t):
    server = Otlp(t)
    run(t, server, 'otlp', f'otlp-endpoint={server.url}', 'otlp-compression=gzip', 'batch-size=64k')
    check_otlp(server)
    equal(set(server.encodings), {'gzip'})

# ------------------------------------------------------------------------------------------- the servers

def post(server, path, body, **fields):
    """Sends one request. Returns its status and the number of faults that the server has found."""
    connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=20)
    before = len(server.faults)
    with contextlib.closing(connection):
        connection.request('POST', path, body, {name.replace('_', '-'): value for name, value in fields.items()})
        status = connection.getresponse().status
    return status, len(server.faults) - before


def check_refused(server, path, bodies, **fields):
    for body in bodies:
        status, faults = post(server, path, body, **fields)
        check(faults == 1 and (status >= 400 or isinstance(server, Elasticsearch)), f'{body!r} was accepted: {status}')
    equal(server.records, [], 'records')


def test_strict_splunk(t):
    server, path = Splunk(t, GUID, acknowledge=True), '/services/collector/event'
    fields = {'Authorization': f'Splunk {GUID}', 'X_Splunk_Request_Channel': GUID}
    now = int(time.time())
    check_refused(server, path, [b'', b'[]', b'{"event":"x"}', b'{"event":"","time":%d}' % now, b'{"event":"x","time":"%dms"}' % now,
                                 b'{"event":"x","event":"y","time":%d}' % now, b'{"event":"\xff","time":%d}' % now,
                                 b'{"event":"\\ud800","time":%d}' % now, b'{"event":"x\n","time":%d}' % now,
                                 b'{"event":"x","index":"none","time":%d}' % now, b'{"event":"x","tag":"y","time":%d}' % now], **fields)
    good = b'{"event":"x","time":"%d.5"}{"event":{"a":1},"time":%d}' % (now, now)
    check_refused(server, path, [good], Authorization='Splunk ' + GUID[::-1], X_Splunk_Request_Channel=GUID)
    check_refused(server, path, [good], Authorization=f'Splunk {GUID}')
    equal((post(server, path, good, **fields), len(server.records)), ((200, 0), 2))


def test_strict_loki(t):
    server, path, kind = Loki(t), '/loki/api/v1/push', {'Content_Type': 'application/json'}
    good = '{"streams":[{"stream":{"a":"b"},"values":[["%d","x",{"c":"d"}]]}]}' % time.time_ns()
    bad = [good.replace(old, new).encode() for old, new in (
        ('{"a":"b"}', '{}'), ('"a"', '"a-b"'), ('"b"', '1'), ('"b"', '"' + 'b' * 2049 + '"'), ('["1', '[1'), ('"d"', '["d"]'),
        ('"x"', 'null'), ('{"a":"b"}', '{"a":"b","a":"b"}'), ('"x"', '"\t"'), ('["1', '["9'), (']}]}', ']}]'), ('"c":"d"', '"c d":"d"'))]
    check_refused(server, path, bad, **kind)
    check_refused(server, path, [good], Content_Type='text/plain')
    equal((post(server, path, good, **kind), len(server.records)), ((204, 0), 1))


def test_strict_elasticsearch(t):
    server, kind = Elasticsearch(t), {'Content_Type': 'application/x-ndjson'}
    good = b'{"create":{}}\n{"@timestamp":"%s"}\n' % time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()).encode()
    check_refused(server, '/i/_bulk', [good[:-1], good + b'\n', good[13:], good.replace(b'create', b'update'), good.replace(b'{}', b'{'),
                                       good.replace(b'Z"', b'"'), good.replace(b'"}', b'","":1}'), good.replace(b'"}', b'","a":1,"a.b":1}'),
                                       good.replace(b'"}', b'","a":1,"a":1}')], **kind)
    check_refused(server, '/_bulk', [good], **kind)
    check_refused(server, '/i/_bulk', [good], Content_Type='text/plain')
    equal((post(server, '/i/_bulk', good, **kind), len(server.records)), ((200, 0), 1))


def field(number, data):
    return bytes([number << 3 | 2, len(data)]) + data


def test_strict_otlp(t):
    server, kind = Otlp(t), {'Content_Type': 'application/x-protobuf'}

    def request(record, attributes=field(1, field(1, b'service.name') + field(2, field(1, b's')))):
        return field(1, field(1, attributes) + field(2, field(2, record)))
    stamp = b'\x09' + time.time_ns().to_bytes(8, 'little')
    good = stamp + b'\x10\x09' + field(5, field(1, b'x'))
    twice = field(6, field(1, b'a') + field(2, field(1, b'b'))) * 2
    check_refused(server, '/v1/logs', [b'', request(good)[:-1], request(stamp + b'\x10\x09'), request(good[9:]), request(good + twice),
                                       request(good + b'\x10\x09'), request(stamp + b'\x10\x19' + good[11:]), request(good + field(4, b'')),
                                       request(good[:11] + field(5, field(1, b'\xff'))), request(good, b''),
                                       request(stamp + b'\x12\x01\x09' + good[11:])], **kind)
    check_refused(server, '/v1/logs', [request(good)], Content_Type='application/json')
    equal((post(server, '/v1/logs', request(good), **kind), len(server.records)), ((200, 0), 1))


if __name__ == '__main__':
    main()
