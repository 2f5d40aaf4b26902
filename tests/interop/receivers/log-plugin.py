#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""A logging plugin as described in Docker's documentation (Docker log driver plugins). It writes each record
to a file as a JSON object. Options change its behavior:

    log-plugin.py SOCKET OUTPUT [OPTION=VALUE ...]

    crash=N             exit within record N + 1
    wait=SECONDS        wait after each record
    late=SECONDS        wait between the answer to StartLogging and opening the FIFO
    err=TEXT            the error in the answer to StartLogging
    implements=NAME     the answer to Plugin.Activate
    capabilities=no     no answer to LogDriver.Capabilities
    invalid=yes         answers are not JSON
    stalled=yes         open the FIFO, but do not read
    intermittent=SECONDS
                        for this time, stop and continue at random
"""

import http.server
import json
import os
import random
import signal
import socketserver
import struct
import sys
import threading
import time

SOCKET, OUTPUT = sys.argv[1:3]
OPTIONS = dict(word.split('=', 1) for word in sys.argv[3:])
INTERMITTENT_UNTIL = time.monotonic() + float(OPTIONS.get('intermittent', 0))
count = 0
ending = False


def append(path, value):
    with open(path, 'ab', buffering=0) as file:
        file.write(json.dumps(value).encode() + b'\n')


def cut_end(path):
    """Removes the incomplete line of a killed process: a signal can interrupt even a single write between two pages."""
    if os.path.exists(path):
        with open(path, 'rb') as file:
            whole = file.read().rfind(b'\n') + 1
        os.truncate(path, whole)


def read_exactly(fd, size):
    data = b''
    while len(data) < size:
        piece = os.read(fd, size - len(data))
        if not piece:
            return None
        data += piece
    return data


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
        yield key >> 3, value


def decode(data):
    """Decodes a LogEntry message of Docker's API."""
    names = {1: 'source', 2: 'time', 3: 'line', 4: 'partial', 5: 'metadata'}
    entry = {names[number]: value for number, value in fields(data)}
    if 'metadata' in entry:
        parts = {1: 'last', 2: 'id', 3: 'ordinal'}
        entry['metadata'] = {parts[number]: value.decode() if number == 2 else value
                             for number, value in fields(entry['metadata'])}
    entry['source'] = entry['source'].decode()
    entry['line'] = entry.get('line', b'').decode('latin-1')
    return entry


def read_record(fd):
    head = read_exactly(fd, 4)
    if head is None:
        return False
    size = struct.unpack('>I', head)[0]
    if count == int(OPTIONS.get('crash', -1)):
        read_exactly(fd, size // 2)
        os._exit(1)
    data = read_exactly(fd, size)
    if data is not None:
        append(OUTPUT, decode(data))
    return data is not None


def consume(path, fd):
    global count
    while 'stalled' in OPTIONS:
        time.sleep(1)
    while not ending and read_record(fd):
        count += 1
        time.sleep(float(OPTIONS.get('wait', 0)))
        if time.monotonic() < INTERMITTENT_UNTIL and random.random() < 0.001:
            time.sleep(random.uniform(0, 0.5))
    if ending:
        os._exit(0)


def start(path, late):
    time.sleep(late)
    fd = os.open(path, os.O_RDONLY)
    threading.Thread(target=consume, args=(path, fd), daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def answer(self, value, status=200):
        body = b'{invalid' if 'invalid' in OPTIONS else json.dumps(value).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/vnd.docker.plugins.v1.2+json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        text = self.rfile.read(int(self.headers['Content-Length']))
        body = json.loads(text) if text else None
        append(f'{OUTPUT}.calls', [self.path, self.headers['Host'], body])
        if self.path == '/Plugin.Activate':
            self.answer({'Implements': ['Other', OPTIONS.get('implements', 'LogDriver')]})
        elif self.path == '/LogDriver.Capabilities' and 'capabilities' not in OPTIONS:
            self.answer({'Cap': {'ReadLogs': True}})
        elif self.path == '/LogDriver.StartLogging':
            if 'err' not in OPTIONS and 'late' not in OPTIONS:
                start(body['File'], 0)
            self.answer({'Err': OPTIONS.get('err', '')})
            if 'late' in OPTIONS:
                threading.Thread(target=start, args=(body['File'], float(OPTIONS['late'])), daemon=True).start()
        elif self.path == '/LogDriver.StopLogging':
            self.answer({'Err': ''})
        else:
            self.answer({'Err': 'no such call'}, 404)

    def address_string(self):
        return 'conmon'


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def on_term(*_):
    global ending
    ending = True
    threading.Timer(0.2, os._exit, (0,)).start()


signal.signal(signal.SIGTERM, on_term)
cut_end(OUTPUT)
cut_end(f'{OUTPUT}.calls')
if os.path.exists(SOCKET):
    os.unlink(SOCKET)
Server(SOCKET, Handler).serve_forever()
