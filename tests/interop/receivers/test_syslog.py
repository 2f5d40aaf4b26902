#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The syslog driver, with the distribution's rsyslog and syslog-ng."""

import datetime
import os
import re
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from receivers import (  # noqa: E402
    bind_dev_log, DatagramPeer, finish, hide_run, launch, own_host_name, Peer, Rsyslog, SyslogNg)
from harness import check, equal, main, slow, wait_for  # noqa: E402

SCRIPT = 'print one\\n\nprint  two \\xc3\\xa4 %\\n\nprint 3 tail'
LINES = ['one', ' two ä %', '3 tail']
LONG = 'x' * 10000


def check_time(text):
    moment = datetime.datetime.fromisoformat(text.replace('Z', '+00:00'))
    age = datetime.datetime.now(datetime.timezone.utc) - moment
    check(abs(age.total_seconds()) < 60, f'time {text}')


def run(t, address, *options):
    m = launch(t, SCRIPT, 'syslog', f'syslog-address={address}', 'tag={{.Name}}', *options)
    sink = finish(m)
    equal(sink['out'], sink['in'], 'delivered records')
    return m


def old_style(kind):
    """Docker's format: no host name, with any transport."""
    def test(t):
        server = Rsyslog(t)
        m = run(t, server.address(kind))
        messages = server.received(3)
        # On the local socket rsyslog keeps the leading blank; otherwise it takes it for a separator.
        equal([x['msg'].lstrip() for x in messages], [line.lstrip() for line in LINES])
        for x in messages:
            equal((x['pri'], x['tag']), ('30', f'name[{m.pid}]:'))
            check_time(x['time'])
    return test


test_rsyslog_tcp = old_style('tcp')
test_rsyslog_udp = old_style('udp')
test_rsyslog_unix = old_style('unix')
test_rsyslog_unixgram = old_style('unixgram')


def test_rsyslog_rfc3164(t):
    server = Rsyslog(t)
    m = run(t, server.address('tcp'), 'syslog-format=rfc3164', 'syslog-facility=local5')
    for x in server.received(3):
        equal((x['pri'], x['host'], x['tag']), (str(21 * 8 + 6), socket.gethostname(), f'name[{m.pid}]:'))


def new_style(server, pid):
    messages = server.received(3)
    for x in messages:
        equal((x['pri'], x['host'], x['app'], x['msgid']), ('30', socket.gethostname(), 'name', 'name'))
        check_time(x['time'])
        equal(x.get('proc'), str(pid))
    return messages


def test_rsyslog_rfc5424(t):
    """Over TCP with octet counting."""
    server = Rsyslog(t)
    m = run(t, server.address('tcp'), 'syslog-format=rfc5424micro')
    messages = new_style(server, m.pid)
    equal([x['msg'] for x in messages], LINES)
    check(any('.' in x['time'] for x in messages), 'no fractional seconds')


def test_rsyslog_rfc5424_udp(t):
    server = Rsyslog(t)
    m = run(t, server.address('udp'), 'syslog-format=rfc5424')
    equal([x['msg'] for x in new_style(server, m.pid)], LINES)


def test_syslog_ng(t):
    """Octet counting, lines, datagrams and local sockets."""
    server = SyslogNg(t)
    n = 0
    for kind in ('framed', 'tcp', 'udp', 'unix', 'unixgram'):
        options = ['syslog-format=rfc5424'] if kind == 'framed' else []
        m = launch(t, SCRIPT, 'syslog', f'syslog-address={server.address(kind)}', 'tag={{.Name}}', *options,
                   monitor=t.monitor(kind))
        finish(m)
        messages = server.received(n + 3)[n:]
        equal([x['msg'].lstrip() for x in messages], [line.lstrip() for line in LINES], f'messages over {kind}')
        for x in messages:
            equal((x['pri'], x['app'], x['proc']), ('30', 'name', str(m.pid)), kind)
        n += 3


def test_structured_data(t):
    """Attributes, and the parts of a long line, as parsed by syslog-ng."""
    server = SyslogNg(t)
    m = t.monitor()
    (m.bundle / 'config.json').write_text('{"process": {"env": ["A=q\\"]\\\\=x"]}}')
    m = launch(t, f'print {LONG}\\n', 'syslog', f'syslog-address={server.address("framed")}', 'syslog-format=rfc5424',
               'env=A', monitor=m)
    finish(m)
    messages = server.received(2)
    equal(''.join(x['msg'] for x in messages), LONG, 'the line')
    check(all(len(x['msg']) < 8000 for x in messages), 'a text with the maximum length of a message')
    equal([(x['partial'], x['last'], x['a']) for x in messages], [('1', 'false', 'q"]\\=x'), ('2', 'true', 'q"]\\=x')])


def test_local_socket(t):
    """Without an address: /dev/log, here the socket of the test's rsyslog."""
    hide_run()
    server = Rsyslog(t)
    bind_dev_log(server.dir / 'dgram')
    m = launch(t, SCRIPT, 'syslog', 'tag={{.Name}}')
    finish(m)
    equal([x['msg'].lstrip() for x in server.received(3)], [line.lstrip() for line in LINES])


def test_local_socket_search_order(t):
    """All paths are tried with datagrams first, then with a stream."""
    hide_run()
    stream = Peer(t, address=t.dir / 'stream')
    bind_dev_log(t.dir / 'stream')
    datagrams = DatagramPeer(t, address='/run/syslog')
    finish(launch(t, 'print one\\n', 'syslog'))
    wait_for(lambda: datagrams.received()[0].endswith(b': one\n'), 'a datagram')
    datagrams.close()
    os.unlink('/run/syslog')
    finish(launch(t, 'print two\\n', 'syslog'))
    wait_for(lambda: stream.received() and stream.received()[-1].endswith(b': two\n'), 'a line')


def test_host_name(t):
    """An invalid host name does not break messages."""
    own_host_name('a b\n<1>c')
    for form, expected in (('rfc3164', rb'<30>\w{3} [ \d]\d [\d:]{8} a_b_<1>c name\[\d+\]: one\n'),
                           ('rfc5424', rb'\d+ <30>1 \S+ a_b_<1>c name \d+ name - one')):
        peer = Peer(t)
        finish(launch(t, 'print one\\n', 'syslog', f'syslog-address=tcp://127.0.0.1:{peer.port}', f'syslog-format={form}',
                      'tag={{.Name}}', monitor=t.monitor(form)))
        wait_for(lambda: re.fullmatch(expected, b''.join(peer.received())), f'a message, {peer.received()}')


@slow(120)
def test_many(t):
    """20,000 lines over TCP, complete and in order, in either framing."""
    for form in ('rfc3164', 'rfc5424'):
        server = Rsyslog(t)
        m = launch(t, 'sh i=0; while [ $i -lt 20000 ]; do echo "$i a b c d"; i=$((i+1)); done', 'syslog',
                   f'syslog-address={server.address("tcp")}', f'syslog-format={form}', 'mode=blocking',
                   monitor=t.monitor(form))
        finish(m)
        messages = server.received(20000)
        equal([x['msg'].lstrip() for x in messages], [f'{i} a b c d' for i in range(20000)], form)
        server.stop()
        (server.dir / 'received').unlink()


if __name__ == '__main__':
    main()
