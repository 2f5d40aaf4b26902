#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Rotation by the monitor, by rename and reopen, and by truncation, while a container writes as fast as it can."""

import os
import re
import shlex
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../lib'))
import log_lines  # noqa: E402
from harness import check, equal, Failure, main, parse, parse_json, slow, wait_for  # noqa: E402

COUNT = 1000000

# The container's script: it takes at least two seconds.
WRITER = f'sh exec /usr/bin/python3 {shlex.quote(HERE)}/log_lines.py {COUNT} 2'


def two_logs(t):
    """A prepared monitor with a k8s-file and a json-file."""
    m = t.monitor()
    m.json = m.root / 'ctr.json'
    return m


def pieces(path):
    """The files of a log, the oldest first. Rotated files have a number; the highest is the oldest."""
    old = [name for name in path.parent.iterdir() if name.name.startswith(path.name + '.')]
    return sorted(old, key=lambda name: -int(name.name.rpartition('.')[2])) + [path]


CRI = re.compile(rb'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}[+-]\d\d:\d\d stdout [FP] ', re.M)
JSON = re.compile(rb'^\{"log":"([^"\\]*(?:\\.[^"\\]*)*)","stream":"stdout","time":"\d{4}-\d\d-\d\dT[0-9:.]+Z"\}$', re.M)
ESCAPES = [(rb'\"', b'"'), (rb'\u003c', b'<'), (rb'\u003e', b'>'), (rb'\u0026', b'&'), (rb'\n', b'\n')]


def cri_output(data):
    """The container's output. Checks that each line is a record."""
    lines = data.split(b'\n')
    equal(lines.pop(), b'', 'what follows the last line')
    equal(sum(1 for _ in CRI.finditer(data)), len(lines), 'records among the lines')
    return b''.join([line[45:] + b'\n' if line[43] == 70 else line[45:] for line in lines])


def json_output(data):
    """The same for json-file. The output has no backslash, so each one in the log begins an escape."""
    found = JSON.findall(data)
    equal(len(found), data.count(b'\n'), 'records among the lines')
    text = b''.join(found)
    for escape, byte in ESCAPES:
        text = text.replace(escape, byte)
    check(b'\\' not in text, 'unneeded escape')
    return text


def expect_all(files, json_files):
    """Checks that every line is there once and in order. A sample is parsed by the strict readers as well."""
    expected = b''.join(log_lines.batches(COUNT))
    for paths, output, reader in ((files, cri_output, parse), (json_files, json_output, parse_json)):
        data = b''.join(path.read_bytes() for path in paths)
        seen = output(data)
        if seen != expected:
            at = next((index for index, pair in enumerate(zip(seen, expected)) if pair[0] != pair[1]), None)
            raise Failure(f'{paths[-1].name}: {len(seen)} of {len(expected)} bytes, different at {at}: '
                          f'{seen[(at or 0) - 50:(at or 0) + 100]!r}')
        for path in (paths[0], paths[-1]):
            reader(b''.join(path.read_bytes().splitlines(keepends=True)[:2000]))


@slow(150)
def test_own_limit(t):
    """A new file about every 100 ms."""
    m = two_logs(t)
    t.launch(WRITER, '--log-size-max', 6000000, '--log-driver', f'json-file:{m.json}',
             '--log-opt', 'max-size=6m', '--log-opt', 'k8s-file.max-file=500', '--log-opt', 'max-file=500',
             monitor=m).go().created()
    m.finish(0, timeout=100)
    for path in (m.log, m.json):
        check(len(pieces(path)) > 10, f'{path.name} was rotated only {len(pieces(path)) - 1} times')
        for piece in pieces(path):
            check(piece.stat().st_size <= 6000000, f'{piece.name} has {piece.stat().st_size} bytes')
    expect_all(pieces(m.log), pieces(m.json))


@slow(150)
def test_rename_and_reopen(t):
    """As kubelet does it."""
    m = two_logs(t)
    t.launch(WRITER, '--log-driver', f'json-file:{m.json}', monitor=m).go().created()
    number = 1000
    while not m.ended() and number > 0 and not m.exit_file.exists():
        time.sleep(0.1)
        number -= 1
        for path in (m.log, m.json):
            os.rename(path, f'{path}.{number}')
        try:
            m.control('2 0 0\n')
        except OSError:  # the container has just ended
            break
        wait_for(lambda: (m.log.exists() and m.json.exists()) or m.exit_file.exists(), 'the new files')
    m.finish(0, timeout=100)
    check(number < 990, f'renamed only {1000 - number} times')
    found = [[path for path in pieces(path) if path.exists()] for path in (m.log, m.json)]
    expect_all(*found)


@slow(150)
def test_truncation(t):
    """Truncated records are lost, but every remaining line is complete."""
    m = two_logs(t)
    t.launch(WRITER, '--log-driver', f'json-file:{m.json}', monitor=m).go().created()
    copies = {m.log: [], m.json: []}
    while not m.exit_file.exists():
        time.sleep(0.1)
        for path, kept in copies.items():
            kept.append(path.read_bytes())
            os.truncate(path, 0)
    m.finish(0, timeout=100)
    lines = set()
    for batch in log_lines.batches(COUNT):
        lines.update(batch.split(b'\n'))
    for path, output in ((m.log, cri_output), (m.json, json_output)):
        kept = copies[path] + [path.read_bytes()]
        check(len(kept) > 3, f'truncated only {len(kept)} times')
        for data in kept:
            # The copy was made while the monitor wrote: it may end with a partial record.
            data = data[:data.rfind(b'\n') + 1]
            seen = output(data).split(b'\n')
            for line in seen[1:-1]:
                check(line in lines, f'{path.name}: incomplete: {line[:200]!r}')


if __name__ == '__main__':
    main()
