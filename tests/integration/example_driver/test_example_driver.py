#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The example of a log driver in src/README.md: a program built from exactly its text and its line of Meson."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / 'lib'))
from harness import check, equal, main, wait_for  # noqa: E402


def test_writes_lines(t):
    path = t.dir / 'plain.log'
    m = t.create('print one\\n\\nthree\\n', '--log-driver', f'plain:{path}')
    m.finish(0)
    equal(path.read_bytes(), b'one\n\nthree\n')


def test_max_size(t):
    """`--log-driver plain:/tmp/log --log-opt max-size=...`, with more output than that."""
    path = t.dir / 'plain.log'
    m = t.create('fill 1 100000 100', '--log-driver', f'plain:{path}', '--log-opt', 'max-size=16k')
    m.finish(0)
    check(0 < path.stat().st_size <= 16384, f'{path.stat().st_size} bytes in the file')


def test_upgrade(t):
    path = t.dir / 'plain.log'
    m = t.create('print one\\n\nwait @/upgraded\nprint two\\n', '--log-driver', f'plain:{path}')
    m.wait_log(b'one')
    m.control('4 0 0\n3 0 0\n')
    status = m.bundle / 'log-status.json'
    wait_for(status.exists, 'the answer')
    equal(json.loads(status.read_text())['request']['result'], 'ok', 'result')
    t.touch('upgraded')
    m.finish(0)
    equal(path.read_bytes(), b'one\ntwo\n')


def test_error_message(t):
    m = t.launch('exit 0', '--log-driver', f'plain:{t.dir}/none/plain.log')
    equal(m.wait_launcher(), 1, 'status of the launcher')
    m.pid = m.launcher
    equal(m.stderr.read_text(),
          f'[conmon:e]: Failed to open the log file {t.dir}/none/plain.log: No such file or directory\n')


def test_help(t):
    drivers, options = (t.run('--log-driver', name)[1] for name in ('help', 'plain:help'))
    check('plain:PATH' in drivers and 'a file of bare lines' in drivers, drivers)
    check('then a new one takes its place' in options, options)


if __name__ == '__main__':
    main()
