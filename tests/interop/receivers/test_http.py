#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The drivers that use HTTP: the reaction of each to every kind of answer, and the bytes that they send,
decoded by third-party programs if available (OTLP), else in Python according to the servers'
documentation."""

import gzip
import json
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from http_server import answer, HttpPeer  # noqa: E402
from receivers import finish, HERE, launch, status_now  # noqa: E402
import packages  # noqa: E402
from harness import check, CID, equal, main, SHORT_CID, slow, wait_for  # noqa: E402
from harness.check import scaled  # noqa: E402

# The option for the address, and further options.
DRIVERS = {
    'otlp': ('otlp-endpoint',),
    'splunk': ('splunk-url', 'splunk-token-env=TOKEN'),
    'loki': ('loki-url',),
    'http': ('http-url',),
    'http-elasticsearch': ('http-url', 'http-format=elasticsearch'),
    'http-array': ('http-url', 'http-format=array'),
}
COUNT = 20
LINE = re.compile(rb'line (\d+) of the container')
SIZES = [len(f'line {i} of the container\n') for i in range(COUNT)]
tests = {}


def lines(count=COUNT):
    return f'sh i=0; while [ $i -lt {count} ]; do echo "line $i of the container"; i=$((i+1)); done'


def start(t, name, peer, *options, script=None, **kwargs):
    address, *more = DRIVERS[name]
    return launch(t, script or lines(), name.split('-')[0], f'{address}={peer.url()}', 'batch-wait=100ms', *more, *options,
                  env={'TOKEN': 'abc'}, **kwargs)


def numbers(request):
    return [int(found) for found in LINE.findall(request.body)]


def serve(t, name, *answers):
    return HttpPeer(t, name.split('-')[0], *answers)


BULK_OK = answer('200 OK', {'errors': False, 'items': []})


def success_of(name):
    """The answer of a server that has accepted all records."""
    return (BULK_OK,) if name == 'http-elasticsearch' else ()


# Answers to the first request, and whether the records are sent again (True) or dropped as refused (False),
# or a function of the driver that returns this.
def only_not_otlp(name):
    return name != 'otlp'


ANSWERS = {
    'busy': (answer('503 Service Unavailable', b'later'), True),
    'limited': (answer('429 Too Many Requests', b'slowly', 'Retry-After: 1'), True),
    'timed_out': (answer('408 Request Timeout'), only_not_otlp),
    'failed': (answer('500 Internal Server Error', b'sorry'), only_not_otlp),
    'gateway': ((answer('502 Bad Gateway', b'<html>\r\n</html>', 'Connection: close'), True), True),
    'bad': (answer('400 Bad Request', b'no'), False),
    'denied': (answer('401 Unauthorized'), False),
    'unknown': (answer('404 Not Found', b'page not found'), False),
    'moved': (answer('301 Moved', b'', 'Location: https://elsewhere.invalid/'), False),
    'half': ((b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf', True), True),
    'half_a_chunk': ((b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\nhalf', True), True),
    'nothing': ((b'', True), True),
    'reset': (None, True),
    'slow': (b'HTTP/1.1 200 OK\r\nContent-', True),
    'silent': (b'', True),
    'continued': (b'HTTP/1.1 100 Continue\r\n\r\n', True),
    'not_http': (b'220 smtp.example.com ESMTP\r\n', True),
    'endless': (b'HTTP/1.1 200 OK\r\n' + b'X: y\r\n' * 5000, True),
}


def answered(name, what, again):
    def test(t):
        peer = serve(t, name, what, *success_of(name) * COUNT)
        sink = finish(start(t, name, peer, f'{name.split("-")[0]}-timeout=400ms'))
        requests = peer.finished()
        got = [number for request in requests for number in numbers(request)]
        first = numbers(requests[0])
        expected = again(name) if callable(again) else again
        refused = 0 if expected else len(first)
        equal(got, (first if expected else []) + list(range(COUNT)), 'lines, in the order of requests')
        equal(sink['in'], {'records': COUNT, 'bytes': sum(SIZES)}, 'output of the container')
        equal(sink['dropped']['refused'], {'records': refused, 'bytes': sum(SIZES[:refused])}, 'refused records')
        equal(sink['out'], {'records': COUNT - refused, 'bytes': sum(SIZES[refused:])}, 'delivered records')
        equal(sink['http']['requests'], len(requests), 'requests')
        equal(sink['http']['refused'], int(not expected), 'refused requests')
        equal(sink['errors']['count'], int(bool(expected)), f'errors of {sink["errors"]}')
        check(not expected or what != ANSWERS['limited'][0] or peer.times[1] - peer.times[0] >= 1, f'times {peer.times}')
    return test


# Invalid answers concern only the transport: they are tested with two drivers. http-array differs only in the
# body.
BROKEN = {'half', 'half_a_chunk', 'nothing', 'reset', 'slow', 'silent', 'continued', 'not_http', 'endless'}
for _name in set(DRIVERS) - {'http-array'}:
    for _answer in set(ANSWERS) - (BROKEN if _name not in ('otlp', 'splunk') else set()):
        tests[f'test_{_answer}_{_name.replace("-", "_")}'] = answered(_name, *ANSWERS[_answer])


# ------------------------------------------------------------------------------------------- partial success

def check_partly(t, name, what, delivered, refused, requests, words):
    """`what` answers the first request, which has 20 records."""
    peer = serve(t, name, what, *success_of(name))
    sink = finish(start(t, name, peer))
    equal(len(peer.finished()), requests, 'requests')
    equal((sink['out']['records'], sink['dropped']['refused']['records']), (delivered, refused))
    equal(sink['http']['message'], words, "the server's message")
    return peer, sink


def test_partial_success_otlp(t):
    """ExportLogsPartialSuccess does not say which records were rejected."""
    body = b'\x0a\x0c\x08\x03\x12\x08too long'
    peer, sink = check_partly(t, 'otlp', answer('200 OK', body), 17, 3, 2, 'too long')
    check(b'conmon: 3 records dropped: refused' in peer.requests[1].body, 'no report')
    equal(sink['dropped']['refused']['bytes'], sum(SIZES[17:]))


def test_warning_otlp(t):
    """If no record was rejected, the message is a warning."""
    check_partly(t, 'otlp', answer('200 OK', b'\x0a\x06\x12\x04hint'), 20, 0, 1, '')


def test_one_event_splunk(t):
    what = answer('400 Bad Request', {'text': 'Invalid data format', 'code': 6, 'invalid-event-number': 4})
    peer, sink = check_partly(t, 'splunk', what, 19, 1, 3, 'Invalid data format')
    equal(numbers(peer.requests[1]), [i for i in range(COUNT) if i != 4])
    check(b'conmon: 1 record dropped: refused' in peer.requests[2].body, 'no report')
    equal(sink['dropped']['refused']['bytes'], SIZES[4])
    equal(sink['errors']['count'], 0)


def test_error_in_a_success_splunk(t):
    check_partly(t, 'splunk', answer('200 OK', {'text': 'Incorrect index', 'code': 7}), 0, 20, 1, 'Incorrect index')


def test_page_of_a_proxy(t):
    """A success that comes from a proxy, not from the server."""
    for name in 'splunk', 'http-elasticsearch':
        peer = serve(t, name, answer('200 OK', b'<html>Please log in</html>'), *success_of(name))
        sink = finish(start(t, name, peer, monitor=t.monitor(name)))
        equal((len(peer.finished()), sink['out']['records'], sink['errors']['count']), (2, 20, 1))


def test_compressing_server_splunk(t):
    """A server may compress its answers unless the request says that it must not."""
    def compress(request):
        whole = b'{"text":"Success","code":0}'
        if request.fields.get('accept-encoding') == 'identity':
            return answer('200 OK', whole)
        return answer('200 OK', gzip.compress(whole), 'Content-Encoding: gzip')
    peer = serve(t, 'splunk', compress)
    sink = finish(start(t, 'splunk', peer))
    equal((len(peer.finished()), sink['out']['records'], sink['errors']['count']), (1, 20, 0))


def test_each_elasticsearch(t):
    """Some records are accepted, some refused, and some are to be retried: only these are sent again."""
    items = [{'create': {'status': 201}} for _ in range(COUNT)]
    items[3] = {'create': {'status': 400, 'error': {'type': 'document_parsing_exception', 'reason': 'no such field'}}}
    items[7] = items[9] = {'create': {'status': 429, 'error': {'type': 'es_rejected', 'reason': 'busy'}}}
    peer, sink = check_partly(t, 'http-elasticsearch', answer('200 OK', {'took': 1, 'errors': True, 'items': items}), 19, 1,
                              2, 'no such field')
    equal(numbers(peer.requests[1]), [7, 9])
    check(b'conmon: 1 record dropped: refused' in peer.requests[1].body, 'no report')
    equal(sink['dropped']['refused']['bytes'], SIZES[3])


def test_too_large(t):
    """A server with a limit of 1000 bytes gets all records except one that is larger."""
    for name in DRIVERS:
        def judge(request, name=name):
            if len(request.body) > 3000:
                return answer('413 Content Too Large')
            return (success_of(name) or (peer.success,))[0]
        peer = serve(t, name)
        peer.answers = [judge] * 100
        sink = finish(start(t, name, peer, monitor=t.monitor(name), script=f'print {"x" * 4000}\\n\n' + lines()))
        equal((sink['out']['records'], sink['dropped']['refused']), (COUNT, {'records': 1, 'bytes': 4001}), name)
        taken = [n for request in peer.finished() if len(request.body) <= 3000 for n in numbers(request)]
        equal(taken, list(range(COUNT)), name)


# ------------------------------------------------------------------------------------------------- the bytes

SCRIPT = 'print one\\n\nprint \\n\neprint err \\xc3\\xa4"\\\\\\n\nprint tail'


def run(t, name, *options, script=SCRIPT, **kwargs):
    peer = serve(t, name, *success_of(name) * 100)
    sink = finish(start(t, name, peer, *options, script=script, **kwargs))
    equal(sink['out'], sink['in'], 'delivered records')
    return peer.finished()


def by_stream(records, text, stream):
    return {which: [record[text] for record in records if record[stream] == which] for which in ('stdout', 'stderr')}


EXPECTED = {'stdout': ['one', '', 'tail'], 'stderr': ['err ä"\\']}


def decode(t, requests):
    """Decodes requests with OpenTelemetry's definitions."""
    modules = packages.node_modules('@opentelemetry/otlp-transformer@0.203.0')
    files = []
    for n, request in enumerate(requests):
        files.append(t.dir / f'request-{n}')
        files[-1].write_bytes(request.body)
        equal((request.path, request.fields['content-type']), ('/v1/logs', 'application/x-protobuf'))
    done = subprocess.run(['node', HERE / 'otlp-decode.js', *files], env={**os.environ, 'NODE_PATH': str(modules)},
                          stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_otlp(t):
    m = t.monitor()
    annotations = {'io.kubernetes.pod.namespace': 'ns', 'io.kubernetes.pod.name': 'p', 'io.kubernetes.pod.uid': 'u-1',
                   'io.kubernetes.container.name': 'c', 'io.kubernetes.cri-o.ImageName': 'reg:5000/a/b:1.2@sha256:abc',
                   'team': 'x y'}
    (m.bundle / 'config.json').write_text(json.dumps({'annotations': annotations}))
    records = decode(t, run(t, 'otlp', 'labels=team', 'otlp-compression=gzip', monitor=m))
    equal(by_stream([{**r, **r['attributes']} for r in records], 'body', 'log.iostream'), EXPECTED)
    for r in records:
        resource = {**r['resource']}
        check(resource.pop('host.name'), 'host.name is missing')
        equal(resource, {
            'service.name': 'name', 'container.id': CID, 'container.name': 'name', 'k8s.namespace.name': 'ns',
            'k8s.pod.name': 'p', 'k8s.pod.uid': 'u-1', 'k8s.container.name': 'c', 'container.image.name': 'reg:5000/a/b',
            'container.image.tags': ['1.2'], 'container.label.team': 'x y'})
        stdout = r['attributes']['log.iostream'] == 'stdout'
        equal((r['severity'], r['severityText']), (9, 'INFO') if stdout else (17, 'ERROR'))
        equal((r['scope'], r['time']), ('conmon', r['observed']))
        check(abs(time.time() - int(r['time']) / 1e9) < 60, f'time {r["time"]}')


def test_otlp_bytes_and_parts(t):
    records = decode(t, run(t, 'otlp', 'max-record=64', 'parse-prefix=yes',
                            script='print a\\xff\\n\nprint <4>warning\\n\nprint ' + '0123456789' * 7 +
                            '\\n\nprint a\\x00b\\n'))
    equal([(r['body'], r['bytes'], r['severity']) for r in records],
          [(None, '61ff', 9), ('warning', None, 13), ('0123456789' * 6 + '0123', None, 9), ('456789', None, 9),
           ('a\0b', None, 9)])
    parts = [r['attributes'] for r in records[2:4]]
    equal([(p['conmon.partial.ordinal'], p['conmon.partial.last']) for p in parts], [('1', False), ('2', True)])
    equal(len({p['conmon.partial.id'] for p in parts}), 1)


@slow(30)
def test_otlp_flood(t):
    """Many batches, each decoded, in order."""
    peer = serve(t, 'otlp')
    m = start(t, 'otlp', peer, 'batch-size=64k', 'mode=blocking', script=lines(30000))
    sink = finish(m, timeout=60)
    equal(sink['out']['records'], 30000)
    records = decode(t, peer.finished())
    equal([r['body'] for r in records], [f'line {i} of the container' for i in range(30000)])


def test_splunk(t):
    request, = run(t, 'splunk', 'splunk-index=i', 'splunk-gzip=true', 'drain-timeout=12s')
    equal((request.path, request.fields['authorization']), ('/services/collector/event/1.0', 'Splunk abc'))
    events = request.objects()
    equal(by_stream([e['event'] for e in events], 'line', 'source'), EXPECTED)
    for e in events:
        equal((e['index'], e['event']['tag'], set(e)), ('i', SHORT_CID, {'event', 'time', 'host', 'index'}))
        check(abs(time.time() - float(e['time'])) < 60, f'time {e["time"]}')


def test_splunk_json(t):
    request, = run(t, 'splunk', 'splunk-format=json', script='print {"a":[1]}\\n\nprint {"a":}\\n\nprint 12\\n')
    equal([e['event']['line'] for e in request.objects()], [{'a': [1]}, '{"a":}', 12])


def test_loki(t):
    request, = run(t, 'loki', 'loki-tenant-id=me', 'loki-compression=gzip', 'loki-external-labels=job=x')
    equal((request.path, request.fields['x-scope-orgid']), ('/loki/api/v1/push', 'me'))
    body = json.loads(request.body)
    records = [{'line': line, 'source': stream['stream']['source'], 'ns': ns, 'metadata': metadata, 'labels': stream['stream']}
               for stream in body['streams'] for ns, line, metadata in stream['values']]
    equal(by_stream(records, 'line', 'source'), EXPECTED)
    for r in records:
        equal((set(r['labels']), r['labels']['job'], r['metadata']),
              ({'container_name', 'host', 'source', 'job'}, 'x', {'container_id': CID}))
        check(abs(time.time() - int(r['ns']) / 1e9) < 60, f'time {r["ns"]}')


def test_json(t):
    """NDJSON, Elasticsearch's _bulk, and an array."""
    for name, text, stamp in (('http', 'log', 'time'), ('http-elasticsearch', 'message', '@timestamp'),
                              ('http-array', 'message', '@timestamp')):
        request, = run(t, name, 'http-compression=gzip', monitor=t.monitor(name))
        objects = request.objects()
        if name == 'http-array':
            objects, = objects
        elif name == 'http-elasticsearch':
            check(request.body.endswith(b'\n'), 'the last line has no newline')
            equal((request.path, objects[::2]), ('/logs-conmon-default/_bulk', [{'create': {}}] * 4))
            objects = objects[1::2]
        equal(by_stream(objects, text, 'stream'), EXPECTED, name)
        equal({(o['container_id'], o['container_name'], len(o)) for o in objects}, {(CID, 'name', 5)}, name)
        check(all(re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z', o[stamp]) for o in objects), f'{objects}')


# ------------------------------------------------------------------------------------------------ connections

def test_kept_connection(t):
    """All requests use one connection, one at a time."""
    peer = serve(t, 'otlp')
    m = start(t, 'otlp', peer, 'batch-wait=0', script='sh for i in 1 2 3; do echo "line $i of the container"; sleep 0.3; done')
    finish(m)
    equal((peer.connections, len(peer.finished())), (1, 3))


def test_absent(t):
    """The container runs, and the server gets the records from the queue when it appears."""
    peer = serve(t, 'loki')
    port = peer.port
    peer.close()
    m = launch(t, lines() + '; while [ ! -e @/go ]; do sleep 0.05; done', 'loki', f'loki-url=http://127.0.0.1:{port}',
               'batch-wait=0')
    wait_for(lambda: status_now(m)['state'] == 'failing', 'the failure')
    late = HttpPeer(t, 'loki', address=('127.0.0.1', port))
    t.touch('go')
    sink = finish(m)
    equal((sink['out']['records'], [n for r in late.finished() for n in numbers(r)]), (COUNT, list(range(COUNT))))


def test_delays(t):
    """The delays double; each is shortened by up to half."""
    peer = serve(t, 'loki')
    peer.answers = [answer('503 Service Unavailable')] * 5
    finish(start(t, 'loki', peer, 'loki-min-backoff=100ms'))
    gaps = [later - earlier for earlier, later in zip(peer.times, peer.times[1:])]
    check(all(0.05 * 2**i <= gap < 0.1 * 2**i + scaled(1) for i, gap in enumerate(gaps)), f'delays: {gaps}')


def test_delays_after_progress(t):
    """They do not grow while the server accepts some records of each batch."""
    def judge(request):
        n = len(numbers(request))
        return answer('200 OK', {'errors': n > 1, 'items': [{'create': {'status': 201}}] + [{'create': {'status': 429}}] * (n - 1)})
    peer = serve(t, 'http-elasticsearch')
    peer.answers = [judge] * 10
    sink = finish(start(t, 'http-elasticsearch', peer, script=lines(6)))
    gaps = [later - earlier for earlier, later in zip(peer.times, peer.times[1:])]
    equal((len(gaps), sink['out']['records']), (5, 6))
    check(all(gap < 0.5 + scaled(1) for gap in gaps), f'delays: {gaps}')


def test_busy_until_the_end(t):
    """After a long overload the delays have grown; at the end they are short again, within drain-timeout."""
    peer = serve(t, 'loki')
    peer.answers = [answer('503 Service Unavailable')] * 10
    m = start(t, 'loki', peer, 'loki-min-backoff=10ms', 'drain-timeout=2s', script=lines() + '; while [ ! -e @/go ]; do sleep 0.05; done')
    peer.wait(9)
    t.touch('go')
    sink = finish(m)
    equal((sink['out']['records'], len(peer.finished())), (COUNT, 11))


def test_compression_is_skipped_if_useless(t):
    """A body that gzip would not make shorter is sent uncompressed."""
    request, = run(t, 'http', 'http-compression=gzip', script='print x\\n')
    equal(request.fields.get('content-encoding'), 'gzip')
    check(len(request.sent) < len(request.body), 'it is not shorter')


if __name__ == '__main__':
    tests.update({name: function for name, function in list(globals().items())
                  if name.startswith('test_') and callable(function)})
    main(tests)
