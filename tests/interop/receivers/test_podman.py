#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""podman with real servers: --log-driver journald with systemd-journald, and other drivers in addition to
podman's log."""

import contextlib
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / 'system')]
from http_server import HttpPeer  # noqa: E402
from receivers import Journald, fluent_server, hide_run  # noqa: E402
from podman import IMAGE, main  # noqa: E402
from test_config_podman import LINES, check_podman_logs, configure, run  # noqa: E402
from harness import check, equal, wait_for  # noqa: E402


@contextlib.contextmanager
def journal(p):
    """The journal runs until the block ends: podman is used after the test, too."""
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
    """Checks that the server has every line of the container, in order."""
    def mine():
        return [r['record'] for r in server.so_far() if r['tag'] == tag]
    wait_for(lambda: len(mine()) >= 3 * times, f'the records of {tag}; the server said {server.printed()[-1000:]}')
    for stream, lines in LINES.items():
        equal([r['log'].encode() for r in mine() if r['source'] == stream], lines * times, f'{stream} of {tag}')


def test_fluentd(p):
    """Chosen by a profile, which is kept over a restart, and by annotations alone."""
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


def test_otlp(p):
    """Chosen by a profile with a token, kept over a restart, and by annotations alone, which can't redirect
    the token to another server."""
    with contextlib.ExitStack() as p.stack:
        server = HttpPeer(p, 'otlp')
        token = p.dir / 'token'
        token.write_text('secret\n')
        configure(p, '[profile collector]\ndriver = otlp\nopt.batch-wait = 100ms\nopt.otlp-endpoint = %s\n'
                     'opt.otlp-token-file = %s\n[policy]\nannotations = all\n' % (server.url(), token))
        run(p, 'a', '--annotation', 'org.conmon.log/profile=collector')
        p.must('restart', 'a')
        p.wait_status('a', 'exited')
        check_podman_logs(p, 'a', times=2)
        for stream, lines in LINES.items():
            wait_for(lambda: all(sum(line in r.body for r in server.requests) >= 2 for line in lines), f'{stream} of a')
        equal({r.fields['authorization'] for r in server.finished()}, {'Bearer secret'})
        equal(sum(r.body.count(b'log.iostream') for r in server.requests), 2 * sum(map(len, LINES.values())), 'records')
        other = HttpPeer(p, 'otlp')
        run(p, 'b', *(word for option in ('driver=otlp', f'opt.otlp-endpoint={other.url("/x")}')
                      for word in ('--annotation', f'org.conmon.log/{option}')))
        wait_for(lambda: sum(r.body.count(b'log.iostream') for r in other.requests) == sum(map(len, LINES.values())),
                 'the records of b')
        equal({(r.path, r.fields.get('authorization')) for r in other.finished()}, {('/x/v1/logs', None)})
        other.requests.clear()
        done = p('run', '--annotation', 'org.conmon.log/profile=collector', '--annotation',
                 f'org.conmon.log/opt.otlp-endpoint={other.url()}', IMAGE, 'true')
        check(done.status != 0 and b"can't choose where a secret is sent" in done.err, str(done))
        equal(other.requests, [], 'requests at the address of the annotation')


def test_http_drivers(p):
    """Each is chosen by a profile."""
    with contextlib.ExitStack() as p.stack:
        token = p.dir / 'token'
        token.write_text('secret\n')
        servers = {name: HttpPeer(p, name) for name in ('splunk', 'loki', 'http')}
        configure(p, ''.join(f'[profile {name}]\ndriver = {name}\nopt.batch-wait = 100ms\nopt.{name}-url = {server.url()}\n'
                             f'opt.{name}-token-file = {token}\n' for name, server in servers.items()))
        for name, server in servers.items():
            run(p, name, '--annotation', f'org.conmon.log/profile={name}')
            for lines in LINES.values():
                wait_for(lambda: all(any(line in r.body for r in server.requests) for line in lines), f'{lines} at {name}')
            equal({r.fields['authorization'].split()[1] for r in server.finished()}, {'secret'})


if __name__ == '__main__':
    main()
