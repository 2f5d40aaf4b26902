# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Replacements for Splunk, Loki, Elasticsearch and an OpenTelemetry collector, which are not packaged.

They are written from the vendors' documentation, not from what the drivers send, and are stricter than the real servers:
everything that is not clearly allowed is answered with an error, and recorded in `faults`. `records` has the decoded
records, in order."""

import base64
import contextlib
import gzip
import json
import re
import socketserver
import struct
import threading
import time

JSON_TYPES = ('application/json', 'application/json; charset=utf-8')
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
ONCE = ('host', 'content-length', 'content-type', 'content-encoding', 'transfer-encoding', 'authorization', 'x-scope-orgid',
        'x-splunk-request-channel')


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, status, why, body=None):
        super().__init__(why)
        self.status, self.body = status, body


def demand(condition, why, status=400, body=None):
    if not condition:
        raise Refusal(status, why, body)


# ---------------------------------------------------------------------------------------------- JSON (RFC 8259)

def _object(pairs):
    names = [name for name, _ in pairs]
    demand(len(set(names)) == len(names), f'a name occurs twice in an object: {names}')
    for name in names:
        _text(name)
    return {name: _text(value) for name, value in pairs}


def _text(value):
    """A string of real characters: \\ud800 alone is none."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as e:
            raise Refusal(400, f'half of a surrogate pair: {e}') from e
    return value


def _no_constant(name):
    raise Refusal(400, f'{name} is not JSON')


DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)


def characters(data):
    try:
        return data.decode()
    except UnicodeDecodeError as e:
        raise Refusal(400, f'not UTF-8: {e}') from e


def values_of(text):
    """A sequence of JSON values, with or without white space between them."""
    at = 0
    while True:
        at = re.compile(r'[ \t\r\n]*').match(text, at).end()
        if at == len(text):
            return
        try:
            value, at = DECODER.raw_decode(text, at)
        except ValueError as e:
            raise Refusal(400, f'not JSON: {e}') from e
        yield value


def one_value(data):
    values = list(values_of(characters(data)))
    demand(len(values) == 1, f'{len(values)} values instead of one')
    return values[0]


def strings(value, what):
    demand(isinstance(value, dict) and all(isinstance(x, str) for x in value.values()), f'{what} {value!r:.200} has no strings')
    return value


# ---------------------------------------------------------------------------------------------- HTTP (RFC 9112)

class _Handler(socketserver.StreamRequestHandler):
    """Parses requests strictly; closes the connection if one is not well formed."""

    timeout = 60

    def handle(self):
        with contextlib.suppress(OSError):
            while self._request():
                pass

    def _line(self):
        line = self.rfile.readline(65536)
        demand(line.endswith(b'\r\n') and b'\r' not in line[:-2], f'line {line[:200]!r} of a header')
        return line[:-2]

    def _request(self):
        if not self.rfile.peek(1):
            return False
        server = self.server.owner
        try:
            target, fields = self._head()
            status, body = server.answer_to(target, fields, self._body(fields))
            goes_on = True
        except Refusal as e:
            server.faults.append(str(e))
            status, body, goes_on = e.status, e.body, False
        data = b'' if body is None else json.dumps(body).encode() if isinstance(body, dict) else body
        head = f'HTTP/1.1 {status} X\r\n' + ('' if status == 204 else f'Content-Length: {len(data)}\r\n')
        self.wfile.write(head.encode() + server.answer_fields + (b'' if goes_on else b'Connection: close\r\n') + b'\r\n' + data)
        return goes_on

    def _head(self):
        method, target, version = (self._line().split(b' ') + [b'', b''])[:3]
        demand(version == b'HTTP/1.1', f'version {version!r}', 505)
        demand(method == b'POST', f'method {method!r}', 405)
        demand(re.fullmatch(rb'/[!-~]*', target), f'target {target!r}')
        fields = {}
        while line := self._line():
            name, colon, value = line.partition(b':')
            demand(colon and TOKEN.fullmatch(name), f'field {line!r}')
            demand(re.fullmatch(rb'[\t -~\x80-\xff]*', value), f'value of {line!r}')
            name, value = name.decode().lower(), value.decode('latin-1').strip(' \t')
            demand(name not in fields or name not in ONCE, f'{name} occurs twice')
            fields[name] = value
        demand(fields.get('host'), 'Host is missing')
        return target.decode(), fields

    def _body(self, fields):
        demand('transfer-encoding' not in fields, 'unexpected Transfer-Encoding', 501)
        length = fields.get('content-length', '')
        demand(re.fullmatch('[0-9]+', length), f'Content-Length {length!r}', 411)
        demand(int(length) <= self.server.owner.largest, f'{length} bytes', 413)
        body = self.rfile.read(int(length))
        demand(len(body) == int(length), 'the body is truncated')
        encoding = fields.get('content-encoding')
        demand(encoding in (None, 'gzip'), f'Content-Encoding {encoding!r}', 415)
        if encoding is None:
            demand(body[:2] != b'\x1f\x8b', 'a compressed body without Content-Encoding')
            return body
        try:
            return gzip.decompress(body)
        except (OSError, EOFError, ValueError) as e:
            raise Refusal(400, f'not gzip: {e}') from e


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class StrictServer:
    """`answer` returns a status and a body. `encodings` has the Content-Encoding of each accepted request."""

    largest = 100 << 20
    answer_fields = b'Content-Type: application/json\r\n'

    def __init__(self, t, authorization=None, port=0):
        self.authorization = authorization
        self.records, self.faults, self.encodings = [], [], []
        self.lock = threading.Lock()
        self.tcp = _Tcp(('127.0.0.1', port), _Handler)
        self.tcp.owner = self
        self.port = self.tcp.server_address[1]
        self.url = f'http://127.0.0.1:{self.port}'
        thread = threading.Thread(target=self.tcp.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        t.stack.callback(lambda: (self.tcp.shutdown(), self.tcp.server_close(), thread.join(5)))

    def answer_to(self, target, fields, body):
        with self.lock:
            result = self.answer(target, fields, body)
            self.encodings.append(fields.get('content-encoding'))
            return result

    def answer(self, target, fields, body):
        raise NotImplementedError

    def authorize(self, fields):
        demand(fields.get('authorization') == self.authorization, f'Authorization {fields.get("authorization")!r}', 401)


def basic(user, password):
    return 'Basic ' + base64.b64encode(f'{user}:{password}'.encode()).decode()


def check_time(ns):
    demand(abs(time.time() - ns / 1e9) < 300, f'time {ns}')


# ---------------------------------------------------------------------------------------------------- Splunk

class Splunk(StrictServer):
    """The HTTP Event Collector with one token. With `acknowledge` it requires a channel, and acknowledges a
    batch on the second query, and only once."""

    EVENT = ('/services/collector', '/services/collector/event', '/services/collector/event/1.0')
    GUID = re.compile('[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}')

    def __init__(self, t, token, indexes=('main',), acknowledge=False, port=0):
        super().__init__(t, f'Splunk {token}', port)
        self.indexes, self.acknowledge = indexes, acknowledge
        self.batches = {}
        self.asked = {}
        self.indexed = 0

    def _demand(self, condition, why, status, code, **more):
        demand(condition, f'{why} (code {code})', status, {'text': why, 'code': code, **more})

    def _authorize(self, fields):
        given = fields.get('authorization')
        self._demand(given is not None, 'Token is required', 401, 2)
        self._demand(given.startswith('Splunk '), 'Invalid authorization', 401, 3)
        self._demand(given == self.authorization, 'Invalid token', 403, 4)

    def _channel(self, fields, query):
        channel = fields.get('x-splunk-request-channel') or dict(x.split('=', 1) for x in query.split('&') if x).get('channel')
        self._demand(channel, 'Data channel is missing', 400, 10)
        self._demand(self.GUID.fullmatch(channel), 'Invalid data channel', 400, 11)
        return channel.lower()

    def answer(self, target, fields, body):
        path, _, query = target.partition('?')
        self._authorize(fields)
        if path == '/services/collector/ack':
            return self._ack(self._channel(fields, query), one_value(body))
        demand(path in self.EVENT, f'path {path}', 404)
        channel = self._channel(fields, query) if self.acknowledge else None
        self._demand(body.strip(), 'No data', 400, 5)
        try:
            events = list(values_of(characters(body)))
        except Refusal as e:
            raise Refusal(400, str(e), {'text': 'Invalid data format', 'code': 6, 'invalid-event-number': 0}) from e
        for n, event in enumerate(events):
            self._check(n, event)
        self.records += events
        if not self.acknowledge:
            return 200, {'text': 'Success', 'code': 0}
        batches = self.batches.setdefault(channel, [])
        batches.append(0)
        return 200, {'text': 'Success', 'code': 0, 'ackId': len(batches) - 1}

    def _check(self, n, event):
        at = {'invalid-event-number': n}
        self._demand(isinstance(event, dict), 'Invalid data format', 400, 6, **at)
        self._demand('event' in event, 'Event field is required', 400, 12, **at)
        self._demand(event['event'] not in ('', None), 'Event field cannot be blank', 400, 13, **at)
        if isinstance(event['event'], str):
            self._demand(event['event'].strip(), 'Event field cannot be blank', 400, 13, **at)
        known = {'event', 'time', 'host', 'source', 'sourcetype', 'index', 'fields'}
        self._demand(set(event) <= known, 'Invalid data format', 400, 6, **at)
        for name in ('host', 'source', 'sourcetype', 'index'):
            self._demand(isinstance(event.get(name, 'x'), str) and event.get(name, 'x'), 'Invalid data format', 400, 6, **at)
        self._demand(event.get('index', 'main') in self.indexes, 'Incorrect index', 400, 7, **at)
        seconds = str(event.get('time'))
        self._demand(re.fullmatch(r'[0-9]{10}(\.[0-9]{1,9})?', seconds), 'Invalid data format', 400, 6, **at)
        check_time(float(seconds) * 1e9)

    def _ack(self, channel, query):
        self._demand(self.acknowledge, 'ACK is disabled', 400, 14)
        demand(isinstance(query, dict) and set(query) == {'acks'} and isinstance(query['acks'], list), f'query {query!r}')
        answer = {}
        for n in query['acks']:
            demand(isinstance(n, int) and 0 <= n < len(self.batches.get(channel, ())), f'id {n!r} of channel {channel}')
            self.batches[channel][n] += 1
            answer[str(n)] = self.batches[channel][n] == 2
            self.indexed += answer[str(n)]
        return 200, {'acks': answer}


# ------------------------------------------------------------------------------------------------------ Loki

class Loki(StrictServer):
    """The push API with the default limits of Loki 3. `streams` has the entries by labels, as a query returns
    them: ordered by time, and without entries with the same time and line, which Loki considers
    duplicates."""

    answer_fields = b''
    NAME = re.compile('[a-zA-Z_][a-zA-Z0-9_]*')
    largest = 4 << 20

    def __init__(self, t, authorization=None, tenant=None, port=0):
        super().__init__(t, authorization, port)
        self.tenant = tenant
        self.streams = {}

    def answer(self, target, fields, body):
        demand(target == '/loki/api/v1/push', f'path {target}', 404)
        self.authorize(fields)
        demand(fields.get('x-scope-orgid') == self.tenant, f'X-Scope-OrgID {fields.get("x-scope-orgid")!r}', 401)
        kind = fields.get('content-type', '')
        demand(kind.lower() in JSON_TYPES, f'Content-Type {kind!r}', 415)
        request = one_value(body)
        demand(isinstance(request, dict) and set(request) == {'streams'}, 'a request with members other than streams')
        demand(isinstance(request['streams'], list) and request['streams'], 'streams are missing', 422)
        taken = [self._stream(stream) for stream in request['streams']]
        for labels, entries in taken:
            self._keep(labels, entries)
        return 204, None

    def _stream(self, stream):
        demand(isinstance(stream, dict) and set(stream) == {'stream', 'values'}, f'stream {stream!r:.200}')
        labels = strings(stream['stream'], 'stream')
        demand(labels, 'at least one label pair is required per stream')
        demand(len(labels) <= 15, f'{len(labels)} label names; limit 15')
        for name, value in labels.items():
            demand(self.NAME.fullmatch(name), f'label {name!r}')
            demand(len(name) <= 1024, f'label name {name:.40}... too long')
            demand(len(value.encode()) <= 2048, f'the value of label {name} is too long: {len(value.encode())} bytes')
        demand(isinstance(stream['values'], list) and stream['values'], 'a stream without values')
        return labels, [self._entry(entry) for entry in stream['values']]

    def _entry(self, entry):
        demand(isinstance(entry, list) and 2 <= len(entry) <= 3, f'entry {entry!r:.200}')
        ns, line, *more = entry
        demand(isinstance(ns, str) and re.fullmatch('[1-9][0-9]{18}', ns), f'time {ns!r}')
        check_time(int(ns))
        demand(isinstance(line, str), f'line {line!r:.200}')
        demand(len(_text(line).encode()) <= 256 << 10, f'a line of {len(line)} bytes')
        metadata = strings(more[0], 'structured metadata') if more else {}
        demand(len(metadata) <= 128, f'{len(metadata)} of structured metadata')
        demand(sum(len(k.encode()) + len(v.encode()) for k, v in metadata.items()) <= 64 << 10, 'structured metadata is too large')
        demand(all(self.NAME.fullmatch(name) for name in metadata), f'names in {metadata!r:.200}')
        return int(ns), line, metadata

    def _keep(self, labels, entries):
        kept = self.streams.setdefault(tuple(sorted(labels.items())), [])
        for entry in entries:
            self.records.append((labels, *entry))
            if not any(entry[:2] == other[:2] for other in kept):
                kept.append(entry)
        kept.sort(key=lambda entry: entry[0])


# --------------------------------------------------------------------------------------------- Elasticsearch

class Elasticsearch(StrictServer):
    """The _bulk API for data streams: the only action is create, and an index is required. The first document
    with a field determines its type, as with dynamic mapping."""

    INDEX = re.compile(r'[a-z0-9.][^\\/*?"<>| ,#:A-Z]*')

    def __init__(self, t, authorization=None):
        super().__init__(t, authorization)
        self.types = {}
        self.index = None

    def answer(self, target, fields, body):
        path = target.partition('?')[0]
        found = re.fullmatch('(?:/([^/]+))?/_bulk', path)
        demand(found, f'path {path}', 405)
        self.authorize(fields)
        demand(fields.get('content-type') in ('application/x-ndjson', 'application/json'),
               f'Content-Type {fields.get("content-type")!r}', 406)
        demand(body.endswith(b'\n'), 'The bulk request must be terminated by a newline')
        lines = body[:-1].split(b'\n')
        demand(len(lines) % 2 == 0, f'{len(lines)} lines')
        # Each of these errors refuses the whole request, not an item.
        self.index = [self._action(line, found[1]) for line in lines[::2]][0]
        items = [{'create': self._document(line)} for line in lines[1::2]]
        return 200, {'took': 1, 'errors': any('error' in item['create'] for item in items), 'items': items}

    def _action(self, line, index):
        action = one_value(line)
        demand(isinstance(action, dict) and list(action) == ['create'], f'action {line!r}')
        metadata = strings(action['create'], 'create')
        demand(set(metadata) <= {'_index', '_id', 'pipeline', 'routing'}, f'action {line!r}')
        index = metadata.get('_index', index)
        demand(index, 'Validation Failed: 1: index is missing;')
        demand(self.INDEX.fullmatch(index), f'Invalid index name [{index}]')
        return index

    def _document(self, line):
        demand(line.strip(), 'an empty document')
        try:
            document = one_value(line)
            demand(isinstance(document, dict), f'document {line[:200]!r}')
            self._time(document.get('@timestamp'))
            for path, kind in list(self._leaves(document)):
                demand(self.types.setdefault(path, kind) == kind, f'[{path}] is {kind}, but was {self.types[path]}')
        except Refusal as e:
            self.faults.append(str(e))
            return {'_index': self.index, 'status': 400, 'error': {'type': 'document_parsing_exception', 'reason': str(e)}}
        self.records.append(document)
        return {'_index': self.index, '_id': str(len(self.records)), '_version': 1, 'result': 'created', 'status': 201}

    def _time(self, text):
        demand(isinstance(text, str), f'@timestamp {text!r}')
        found = re.fullmatch(r'(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?Z', text)
        demand(found, f'@timestamp {text!r}')
        seconds = time.mktime(time.strptime(found[1] + ' UTC', '%Y-%m-%dT%H:%M:%S %Z')) - time.timezone
        check_time(seconds * 1e9)

    def _leaves(self, value, path=''):
        """The fields of a document. Each dot in a name creates an object; names between dots must not be blank."""
        for name, inner in value.items():
            demand(name.strip() and all(part.strip() for part in name.split('.')), f'field name [{name}]')
            whole = path
            for part in name.split('.')[:-1]:
                whole = f'{whole}.{part}'
                yield whole, 'object'
            whole = f'{whole}.{name.split(".")[-1]}'
            if isinstance(inner, dict):
                yield whole, 'object'
                yield from self._leaves(inner, whole)
            elif inner is not None:
                demand(not isinstance(inner, list), f'[{whole}] is a list')
                yield whole, type(inner).__name__


# ------------------------------------------------------------------------------------------------------ OTLP

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def protobuf(data):
    """The fields of a message: (number, wire type, value)."""
    at, fields = 0, []

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            demand(at < len(data) and shift < 70, 'an unterminated varint')
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                demand(value < 1 << 64, f'varint {value}')
                return value
            shift += 7
    while at < len(data):
        key = varint()
        number, kind = key >> 3, key & 7
        demand(number > 0 and kind in (VARINT, FIXED64, BYTES, FIXED32), f'field {number} of wire type {kind}')
        if kind == VARINT:
            fields.append((number, kind, varint()))
            continue
        size = varint() if kind == BYTES else {FIXED64: 8, FIXED32: 4}[kind]
        demand(at + size <= len(data), f'field {number} is truncated')
        value = data[at:at + size]
        at += size
        fields.append((number, kind, value if kind == BYTES else int.from_bytes(value, 'little')))
    return fields


class Otlp(StrictServer):
    """OTLP/HTTP with opentelemetry-proto 1: a record is a dict with the attributes of its resource."""

    answer_fields = b'Content-Type: application/x-protobuf\r\n'

    # The fields of a message: {number: (name, wire type, repeated)}.
    REQUEST = {1: ('resource_logs', BYTES, True)}
    RESOURCE_LOGS = {1: ('resource', BYTES, False), 2: ('scope_logs', BYTES, True), 3: ('schema_url', BYTES, False)}
    RESOURCE = {1: ('attributes', BYTES, True), 2: ('dropped_attributes_count', VARINT, False)}
    SCOPE_LOGS = {1: ('scope', BYTES, False), 2: ('log_records', BYTES, True), 3: ('schema_url', BYTES, False)}
    SCOPE = {1: ('name', BYTES, False), 2: ('version', BYTES, False), 3: ('attributes', BYTES, True)}
    RECORD = {1: ('time_unix_nano', FIXED64, False), 2: ('severity_number', VARINT, False), 3: ('severity_text', BYTES, False),
              5: ('body', BYTES, False), 6: ('attributes', BYTES, True), 7: ('dropped_attributes_count', VARINT, False),
              8: ('flags', FIXED32, False), 9: ('trace_id', BYTES, False), 10: ('span_id', BYTES, False),
              11: ('observed_time_unix_nano', FIXED64, False), 12: ('event_name', BYTES, False)}
    KEY_VALUE = {1: ('key', BYTES, False), 2: ('value', BYTES, False)}

    def answer(self, target, fields, body):
        demand(target == '/v1/logs', f'path {target}', 404)
        self.authorize(fields)
        kind = fields.get('content-type')
        demand(kind == 'application/x-protobuf', f'Content-Type {kind!r}', 415)
        records = []
        for resource_logs in self._message(body, self.REQUEST).get('resource_logs', ()):
            outer = self._message(resource_logs, self.RESOURCE_LOGS)
            resource = self._attributes(self._message(outer.get('resource', b''), self.RESOURCE))
            demand(resource.get('service.name'), 'service.name is missing')
            for scope_logs in outer.get('scope_logs', ()):
                inner = self._message(scope_logs, self.SCOPE_LOGS)
                scope = self._message(inner.get('scope', b''), self.SCOPE)
                characters(scope.get('name', b'') + b' ' + scope.get('version', b''))
                records += [{**self._record(record), 'resource': resource} for record in inner.get('log_records', ())]
        demand(records, 'a request without records')
        self.records += records
        return 200, b''

    def _message(self, data, known):
        result = {}
        for number, kind, value in protobuf(data):
            demand(number in known, f'unknown field {number}; known: {[name for name, _, _ in known.values()]}')
            name, wanted, many = known[number]
            demand(kind == wanted, f'{name} has wire type {kind}')
            demand(many or name not in result, f'{name} occurs twice')
            if many:
                result.setdefault(name, []).append(value)
            else:
                result[name] = value
        return result

    def _attributes(self, message):
        result = {}
        for data in message.get('attributes', ()):
            pair = self._message(data, self.KEY_VALUE)
            key = characters(pair.get('key', b''))
            demand(key, 'an attribute without a key')
            demand(key not in result, f'the attribute {key} occurs twice')
            result[key] = self._value(pair.get('value', b''))
        return result

    def _value(self, data):
        fields = protobuf(data)
        demand(len(fields) == 1, f'{len(fields)} values in one')
        number, kind, value = fields[0]
        demand((number, kind) in ((1, BYTES), (2, VARINT), (3, VARINT), (4, FIXED64), (7, BYTES)), f'value {number} of type {kind}')
        if number == 1:
            return characters(value)
        if number == 2:
            demand(value in (0, 1), f'bool {value}')
            return bool(value)
        if number == 3:
            return value - (value >> 63 << 64)
        return struct.unpack('<d', value.to_bytes(8, 'little'))[0] if number == 4 else value

    def _record(self, data):
        record = self._message(data, self.RECORD)
        record['attributes'] = self._attributes(record)
        demand(1 <= record.get('severity_number', 0) <= 24, f'severity {record.get("severity_number")}')
        record['severity_text'] = characters(record.get('severity_text', b''))
        demand('body' in record, 'body is missing')
        record['body'] = self._value(record['body'])
        check_time(record.get('time_unix_nano', 0))
        check_time(record.get('observed_time_unix_nano', record['time_unix_nano']))
        demand(len(record.get('trace_id', b'')) in (0, 16) and len(record.get('span_id', b'')) in (0, 8), 'ids')
        return record
