#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""podman logs and podman's log drivers."""

import os
import stat
import subprocess

from podman import IMAGE, main
from harness import check, content, differs, equal, parse, wait_for

# Writes a line each time the file /go appears, until /end appears.
ON_DEMAND = '''
echo up
while [ ! -e /end ]; do
    if [ -e /go ]; then cat /go; rm /go; fi
    sleep 0.05
done
'''


def say(p, text):
    p.must('exec', 'c', 'sh', '-c', f'echo {text} >/.go; mv /.go /go')


def test_logs(p):
    p.must('run', '-d', '--name', 'c', IMAGE, 'sh', '-c', 'echo err >&2; seq 3')
    p.must('wait', 'c')
    equal(p.logs('c'), (b'1\n2\n3\n', b'err\n'), 'log')
    p.shell('--name', 'd', script='seq 100')
    equal(p.logs('d', '--tail', '2')[0], b'99\n100\n', 'last lines')


def test_follow(p):
    """logs -f shows lines at once and ends with the container."""
    p.must('run', '-d', '--name', 'c', IMAGE, 'sh', '-c', ON_DEMAND)
    with open(p.dir / 'followed', 'wb') as file:
        following = p.start('logs', '--follow', 'c', stdout=file)
    for text in ('one', 'two'):
        say(p, text)
        wait_for(lambda: f'{text}\n' in (p.dir / 'followed').read_text(), f'{text} to be shown')
    p.end('c', '/end')
    equal(following.wait(30), 0, 'status of logs -f')
    equal((p.dir / 'followed').read_text(), 'up\none\ntwo\n', 'what logs -f showed')


def test_follow_attached_later(p):
    p.must('run', '-d', '--name', 'c', IMAGE, 'sh', '-c', 'seq 1000; sleep 1; echo end')
    result = p('logs', '-f', 'c')
    equal(result.out, b''.join(b'%d\n' % i for i in range(1, 1001)) + b'end\n', 'what logs -f showed')


def test_records(p):
    """The file has exactly the format that podman, CRI-O and the kubelet read."""
    p.shell('--name', 'c', script=r'echo one; printf "two\n\nthree"; printf "e\0\t\r\n" >&2')
    data = p.log_path('c').read_bytes()
    records = parse(data)
    equal(content(records), b'one\ntwo\n\nthree', 'stdout')
    equal(content(records, 'stderr'), b'e\0\t\r\n', 'stderr')
    equal([r.tag for r in records if r.stream == 'stdout'], ['F', 'F', 'F', 'P'], 'tags')


def test_long_line(p):
    """A line longer than a record is shown as one line."""
    script = 'head -c 200000 /dev/zero | tr "\\0" x; echo; echo next; head -c 70000 /dev/zero | tr "\\0" y'
    p.shell('--name', 'c', script=script)
    equal(p.logs('c')[0], b'x' * 200000 + b'\nnext\n' + b'y' * 70000, 'log')
    parse(p.log_path('c').read_bytes())


def test_every_byte(p):
    data = bytes(range(256)) * 40
    equal(p('run', '-i', '--name', 'c', IMAGE, 'cat', input=data).out, data, 'output')
    equal(content(parse(p.log_path('c').read_bytes())), data, 'content of the log')


def test_timestamps(p):
    p.shell('--name', 'c', script='echo line')
    out, _ = p.logs('c', '--timestamps')
    check(out.endswith(b' line\n') and out.startswith(b'20'), f'podman logs -t shows {out!r}')


def test_path(p):
    path = p.dir / 'chosen.log'
    p.shell('--name', 'c', '--log-opt', f'path={path}', script='echo here')
    equal(content(parse(path.read_bytes())), b'here\n', 'content of the chosen file')
    equal(p.logs('c')[0], b'here\n', 'log')


@differs('0600 before 2.1.13')
def test_mode(p):
    p.shell('--name', 'c', script='echo x')
    equal(stat.S_IMODE(os.stat(p.log_path('c')).st_mode), 0o640, 'mode of the log')


def test_kept_over_restart(p):
    p.shell('--name', 'c', script='echo again')
    p.must('start', '--attach', 'c')
    equal(p.logs('c')[0], b'again\n' * 2, 'log')


def test_max_size(p):
    """The file stays below the limit and has the last lines."""
    p.must('run', '--name', 'c', '--log-opt', 'max-size=10kb', IMAGE, 'seq', '5000')
    path = p.log_path('c')
    check(0 < path.stat().st_size <= 10000, f'the log has {path.stat().st_size} bytes')
    lines = content(parse(path.read_bytes())).split()
    equal(lines, [b'%d' % i for i in range(5001 - len(lines), 5001)], 'remaining lines')
    equal(p.logs('c')[0].split(), lines, 'podman logs')


def test_max_size_not_reached(p):
    p.must('run', '--name', 'c', '--log-opt', 'max-size=100kb', IMAGE, 'seq', '100')
    equal(p.logs('c')[0], b''.join(b'%d\n' % i for i in range(1, 101)), 'log')


def test_none(p):
    result = p('run', '--name', 'c', '--log-driver', 'none', IMAGE, 'echo', 'hello')
    equal((result.status, result.out), (0, b'hello\n'), 'status and output')
    result = p('logs', 'c')
    check(result.status != 0 and b'none' in result.err, f'podman logs: {result}')


def test_json_file(p):
    """podman's json-file writes the same file."""
    p.shell('--name', 'c', '--log-driver', 'json-file', script='echo hello')
    equal(p.logs('c')[0], b'hello\n', 'log')


def test_passthrough(p):
    """The container writes to the caller's files directly."""
    with open(p.dir / 'out', 'wb') as out, open(p.dir / 'err', 'wb') as err:
        result = p('run', '--log-driver', 'passthrough', '--name', 'c', IMAGE, 'sh', '-c',
                   'readlink /proc/self/fd/1; echo out; echo err >&2; exit 3', stdout=out, stderr=err)
    equal(result.status, 3, 'status')
    first, second = (p.dir / 'out').read_text().splitlines()
    check(not first.startswith('pipe:'), f'stdout of the container is {first}')
    equal((second, (p.dir / 'err').read_text()), ('out', 'err\n'), 'output')
    check(not (p.bundle('c') / 'attach').exists(), 'an attach socket exists')


def test_passthrough_with_terminal(p):
    """The terminal has no reader, but the container runs."""
    result = p('run', '-t', '--log-driver', 'passthrough', '--name', 'c', IMAGE, 'sh', '-c', 'tty && exit 3')
    equal((result.status, result.out), (3, b''), f'status and output of {result}')


def test_passthrough_stdin(p):
    with open(p.dir / 'in', 'w+b') as file:
        file.write(b'from a file\n')
        file.seek(0)
        result = p('run', '--log-driver', 'passthrough', '--rm', IMAGE, 'cat', input=file)
    equal((result.status, result.out), (0, b'from a file\n'), 'status and output')


def test_passthrough_detached(p):
    """The output goes to the caller's stdout, as long as the container runs."""
    with open(p.dir / 'out', 'wb') as out:
        result = p('run', '-d', '--log-driver', 'passthrough', '--name', 'c', IMAGE, 'sh', '-c',
                   'while [ ! -e /go ]; do sleep 0.05; done; echo later; exit 4', stdout=out,
                   stderr=subprocess.DEVNULL)
    equal(result.status, 0, 'status')
    p.end('c', '/go')
    equal(p.must('wait', 'c'), '4', 'exit status')
    equal((p.dir / 'out').read_text().splitlines()[-1], 'later', 'last line')


def test_full_disk(p):
    """The container does not fail if its log can't be written."""
    result = p('run', '--rm', '--log-opt', 'path=/dev/full', IMAGE, 'sh', '-c', 'seq 100; exit 3')
    equal((result.status, len(result.out.split())), (3, 100), f'status and lines of {result}')


if __name__ == '__main__':
    main()
