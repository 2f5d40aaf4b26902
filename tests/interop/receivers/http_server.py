# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""HTTP servers for tests: they parse requests strictly according to RFC 9112 and send the bytes that a test
defines as answers."""

import gzip
import json
import socket
import time

from receivers import Peer
from harness import check, Failure, wait_for

SUCCESS = {
    'otlp': b'HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n',
    'splunk': b'HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{"text":"Success","code":0}',
    'loki': b'HTTP/1.1 204 No Content\r\n\r\n',
    'http': b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n',
}


def answer(status, body=b'', *fields):
    """The bytes of an answer."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f'HTTP/1.1 {status}', *fields, f'Content-Length: {len(body)}']
    return '\r\n'.join(head).encode() + b'\r\n\r\n' + body


class Request:
    def __init__(self, line, fields, body):
        self.method, self.path, version = line.split(' ')
        self.fields, self.sent = fields, body
        self.body = gzip.decompress(body) if fields.get('content-encoding') == 'gzip' else body
        check((self.method, version) == ('POST', 'HTTP/1.1'), f'the line of a request: {line}')
        for name in ('host', 'content-type', 'user-agent'):
            check(name in fields, f'a request without {name}: {fields}')

    def objects(self):
        """The JSON objects of the body, with any separators."""
        text, decoder, at, found = self.body.decode(), json.JSONDecoder(), 0, []
        while at < len(text):
            value, at = decoder.raw_decode(text, at)
            found.append(value)
            at += len(text[at:]) - len(text[at:].lstrip('\n'))
        return found


class HttpPeer(Peer):
    """Answers requests with the elements of `answers` in order, later ones with a success. An answer is
    bytes, which may be an incomplete answer; a pair of bytes and True, after which the connection is closed;
    None, for a reset; or a function of the request that returns one of these."""

    def __init__(self, t, driver, *answers, address=('127.0.0.1', 0)):
        self.requests, self.answers, self.success = [], list(answers), SUCCESS[driver]
        self.times, self.problems = [], []
        super().__init__(t, HttpPeer.serve, address)

    def serve(self, connection, parts):
        """One connection."""
        try:
            with connection.makefile('rb') as file:
                while (request := self._read(file)) and self._answer(connection, request):
                    pass
        except (Failure, ValueError, KeyError) as error:
            self.problems.append(error)

    def _answer(self, connection, request):
        with self.lock:
            self.requests.append(request)
            self.times.append(time.monotonic())
            what = self.answers.pop(0) if self.answers else self.success
        what = what(request) if callable(what) else what
        if what is None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
            # Otherwise the file object of this connection keeps the socket open.
            socket.close(connection.detach())
            return False
        data, end = (what, False) if isinstance(what, bytes) else what
        connection.sendall(data)
        if end:
            connection.shutdown(socket.SHUT_RDWR)
        return not end

    @staticmethod
    def _read(file):
        line = file.readline()
        if not line:
            return None
        check(line.endswith(b'\r\n'), f'a line without CR LF: {line}')
        fields = {}
        while (field := file.readline()) != b'\r\n':
            name, value = field.decode().split(': ', 1)
            check(name.lower() not in fields, f'duplicate field {name}')
            check(value.endswith('\r\n'), f'a field without CR LF: {field}')
            fields[name.lower()] = value.rstrip('\r\n')
        length = int(fields['content-length'])
        body = file.read(length)
        check(len(body) == length, f'{len(body)} bytes of a body of {length}')
        return Request(line.decode().rstrip('\r\n'), fields, body)

    def wait(self, n):
        """Waits for n requests and returns them."""
        wait_for(lambda: len(self.requests) >= n, f'request number {n}; got {len(self.requests)}')
        return self.requests

    def finished(self):
        """All requests, after the last one. Checks that each was well formed."""
        check(not self.problems, f'requests: {self.problems}')
        return self.requests

    def url(self, path=''):
        return f'http://127.0.0.1:{self.port}{path}'
