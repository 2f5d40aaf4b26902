#!/usr/bin/python3
"""podman and real servers: --log-driver journald with systemd-journald, and fluentd beside podman's own log."""

import contextlib
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / 'system')]
from receivers import Journald, fluent_server, hide_run  # noqa: E402
from podman import IMAGE, main  # noqa: E402
from test_config_podman import LINES, check_podman_logs, configure, run  # noqa: E402
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


def check_records(server, tag, times=1):
    """Every line of the container, in order."""
    def mine():
        return [r['record'] for r in server.so_far() if r['tag'] == tag]
    wait_for(lambda: len(mine()) >= 3 * times, f'the records of {tag}; the server said {server.said()[-1000:]}')
    for stream, lines in LINES.items():
        equal([r['log'].encode() for r in mine() if r['source'] == stream], lines * times, f'{stream} of {tag}')


def test_fluentd(p):
    """By profile, kept over a restart, and by annotations alone."""
    with contextlib.ExitStack() as p.stack:
        server = fluent_server(p)
        address = f'tcp://127.0.0.1:{server.listening}'
        configure(p, '[profile forward]\ndriver = fluentd\nopt.tag = {{.Name}}\nopt.fluentd-address = %s\n'
                     '[policy]\nannotations = all\n' % address)
        run(p, 'a', '--annotation', 'org.conmon.log/profile=forward')
        check_records(server, 'a')
        p.must('restart', 'a')
        p.wait_status('a', 'exited')
        check_podman_logs(p, 'a', times=2)
        check_records(server, 'a', times=2)
        run(p, 'b', *(word for option in ('driver=fluentd', 'opt.tag={{.Name}}', f'opt.fluentd-address={address}')
                      for word in ('--annotation', f'org.conmon.log/{option}')))
        check_records(server, 'b')


if __name__ == '__main__':
    main()
