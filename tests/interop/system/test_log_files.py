#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""podman logs with log options that only this monitor has. podman does not pass them; a wrapper adds them."""

import os
import re
import shlex

from podman import IMAGE, main
from harness import check, content, differs, equal, parse, wait_for

OPTIONS = 'the reference does not have these options'


def with_options(p, *options):
    """podman's global options for a monitor with these options added."""
    wrapper = p.dir / 'wrapper' / 'conmon'
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.quote(p.conmon)} "$@" {" ".join(options)}\n')
    wrapper.chmod(0o755)
    return '--conmon', str(wrapper)


@differs(OPTIONS)
def test_rotation(p):
    """All files together have the last lines; podman logs shows those of the current file."""
    p.must(*with_options(p, '--log-opt', 'k8s-file.max-file=3'), 'run', '--name', 'c', '--log-opt', 'max-size=20kb',
           IMAGE, 'seq', '5000')
    path = p.log_path('c')
    files = [path.with_name(path.name + suffix) for suffix in ('.2', '.1', '')]
    for file in files:
        check(0 < file.stat().st_size <= 20000, f'{file.name} has {file.stat().st_size} bytes')
    equal(len([name for name in os.listdir(path.parent) if name.startswith(path.name)]), 3, 'files')
    lines = content(parse(b''.join(file.read_bytes() for file in files))).split()
    equal(lines, [b'%d' % number for number in range(5001 - len(lines), 5001)], 'lines of all files')
    current = content(parse(path.read_bytes()))
    equal(p.logs('c')[0], current, 'podman logs')
    equal(p.logs('c', '--tail', '1')[0], b'5000\n', 'podman logs --tail 1')


@differs(OPTIONS)
def test_follow_over_rotations(p):
    """podman logs -f polls every 250 ms; with a slow writer it misses no line."""
    p.must(*with_options(p, '--log-opt', 'k8s-file.max-file=3'), 'run', '-d', '--name', 'c', '--log-opt',
           'max-size=400b', IMAGE, 'sh', '-c', 'for i in $(seq 30); do echo line $i; sleep 0.3; done')
    shown = p('logs', '-f', 'c').out
    equal(shown.splitlines()[-1], b'line 30', 'the last line')
    numbers = [int(number) for number in re.findall(rb'line (\d+)\n', shown)]
    equal(numbers, sorted(set(numbers)), 'lines in order')
    check(len(numbers) >= 20, f'podman logs -f showed {numbers}')


@differs(OPTIONS)
def test_reported_losses(p):
    """podman can read the record that reports lost lines."""
    p.must(*with_options(p, '--log-opt', 'k8s-file.rate-limit-burst=5', '--log-opt',
                         'k8s-file.rate-limit-interval=1h'), 'run', '--name', 'c', IMAGE, 'seq', '100')
    out, err = p.logs('c')
    equal(out, b'1\n2\n3\n4\n5\n', 'podman logs')
    equal(err, b'conmon: 95 records dropped: rate limit\n', 'stderr in podman logs')
    equal(p.logs('c', '--tail', '1')[1], err, 'podman logs --tail 1')


@differs(OPTIONS)
def test_second_log(p):
    """A json-file in addition to podman's log."""
    p.must(*with_options(p, '--log-driver', f'json-file:{p.dir}/second.json', '--log-opt', "'tag={{.Name}}'"), 'run',
           '--name', 'c', IMAGE, 'echo', 'hello')
    wait_for((p.dir / 'second.json').exists, 'the second log')
    check(b'{"log":"hello\\n","stream":"stdout","attrs":{"tag":"c"},"time":"2' in (p.dir / 'second.json').read_bytes(),
          'the second log')
    equal(p.logs('c')[0], b'hello\n', 'podman logs')


if __name__ == '__main__':
    main()
