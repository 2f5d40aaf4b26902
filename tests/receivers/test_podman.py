#!/usr/bin/python3
"""podman with --log-driver journald and a real systemd-journald: what podman logs shows."""

import contextlib
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / 'system')]
from receivers import Journald, hide_run  # noqa: E402
from podman import IMAGE, main  # noqa: E402
from harness import equal, wait_for  # noqa: E402


@contextlib.contextmanager
def journal(p):
    """Stays until the block ends: podman is used after the test, too."""
    hide_run()
    with contextlib.ExitStack() as p.stack:
        yield Journald(p)


def test_logs(p):
    with journal(p):
        p.shell('--name', 'c', '--log-driver', 'journald', script='echo one; echo; echo err >&2; printf tail')
        wait_for(lambda: p.logs('c')[0] == b'one\n\ntail', f'podman logs; there is {p.logs("c")}')
        equal(p.logs('c')[1], b'err\n', 'stderr')


def test_tail_and_tag(p):
    with journal(p) as server:
        p.must('run', '--name', 'c', '--log-driver', 'journald', '--log-opt', 'tag={{.Name}}-tag', IMAGE, 'seq', '2000')
        expected = b''.join(b'%d\n' % i for i in range(1, 2001))
        wait_for(lambda: p.logs('c')[0] == expected, 'podman logs')
        equal(p.logs('c', '--tail', '2')[0], b'1999\n2000\n', 'podman logs --tail')
        entries = server.entries('CONTAINER_NAME=c')
        equal({(e['CONTAINER_TAG'], e['SYSLOG_IDENTIFIER']) for e in entries}, {('c-tag', 'c-tag')})


def test_long_line(p):
    """podman joins the entries of a line."""
    with journal(p):
        p.shell('--name', 'c', '--log-driver', 'journald', script='head -c 20000 /dev/zero | tr "\\0" x; echo end')
        wait_for(lambda: p.logs('c')[0] == b'x' * 20000 + b'end\n', 'podman logs')


if __name__ == '__main__':
    main()
