# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""A parser of k8s-file logs that accepts only what podman and kubelet both accept."""

import collections
import datetime
import json
import re

from .check import Failure, check

Record = collections.namedtuple('Record', 'time stream tag content')

_LINE = re.compile(rb'(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}[+-]\d\d:\d\d) (stdout|stderr) ([FP]) (.*)', re.S)


def whole_lines(path):
    """The lines of a file that another process may be writing, without a last one that has no newline yet."""
    data = path.read_bytes() if path.exists() else b''
    return data.split(b'\n')[:-1]


def _as_podman(line):
    """Four fields separated by blanks, the time with nine digits and a numeric offset."""
    fields = line.split(b' ')
    check(len(fields) >= 4, f'podman needs four fields: {line!r}')
    check(len(fields[0]) == 35, f'time stamp of {len(fields[0])} bytes: {line!r}')
    return fields[2], b' '.join(fields[3:])


def _as_kubelet(line):
    """Time to the first blank, stream, tags separated by colons, rest."""
    stamp, _, rest = line.partition(b' ')
    text = stamp.decode()
    datetime.datetime.fromisoformat(text[:26] + text[29:])
    stream, _, rest = rest.partition(b' ')
    check(stream in (b'stdout', b'stderr'), f'stream {stream!r}')
    tags, blank, rest = rest.partition(b' ')
    check(blank, f'kubelet needs a blank after the tag: {line!r}')
    return tags.split(b':')[0], rest


def parse(data):
    """All records of a log. Checks that both readers parse each line in the same way."""
    check(data == b'' or data.endswith(b'\n'), f'the log does not end with a newline: {data[-200:]!r}')
    records = []
    for line in data.split(b'\n')[:-1]:
        found = _LINE.fullmatch(line)
        if not found:
            raise Failure(f'not a log line: {line!r}')
        stamp, stream, tag, text = found.groups()
        check(_as_podman(line) == _as_kubelet(line) == (tag, text), f'readers disagree about {line!r}')
        records.append(Record(stamp.decode(), stream.decode(), tag.decode(), text))
    return records


def content(records, stream='stdout'):
    """What the container wrote to a stream: F ends a line, P does not."""
    return b''.join(record.content + (b'\n' if record.tag == 'F' else b'')
                    for record in records if record.stream == stream)


_JSON_TIME = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z')


def parse_json(data):
    """All records of a json-file log, with the tags that a k8s-file would have. Checks what a JSON parser
    does not report: the order of the members, no blanks, the time as Go formats it."""
    check(data == b'' or data.endswith(b'\n'), f'the log does not end with a newline: {data[-200:]!r}')
    records = []
    for line in data.split(b'\n')[:-1]:
        try:
            record = json.loads(line)
        except ValueError as error:
            raise Failure(f'not JSON: {line!r}: {error}') from error
        keys = list(record)
        check(keys in (['log', 'stream', 'time'], ['log', 'stream', 'attrs', 'time']), f'members {keys}: {line!r}')
        check(_JSON_TIME.fullmatch(record['time']), f'time {record["time"]}')
        text = record['log'].encode()
        tag = 'F' if text.endswith(b'\n') else 'P'
        records.append(Record(record['time'], record['stream'], tag, text[:-1] if tag == 'F' else text))
    return records
