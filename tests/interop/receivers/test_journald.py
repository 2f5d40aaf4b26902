#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The journald driver with a real systemd-journald in a private /run, read with journalctl."""

import os
import re
import shlex
import signal
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from receivers import check_sums, finish, hide_run, Journald, status  # noqa: E402
from harness import check, CID, content, equal, main, parse, SHORT_CID, slow, wait_for  # noqa: E402

MATCH = f'CONTAINER_ID_FULL={CID}'
OPTIONS = ('-l', 'journald')


def messages(entries, stream=None):
    chosen = [e for e in entries if stream is None or e['PRIORITY'] == stream]
    return ''.join(e['MESSAGE'] for e in chosen)


def test_fields(t):
    hide_run()
    journal = Journald(t)
    m = t.create('print one\\n\\n\neprint <4>warned\\n\nprint <9>two\nwait @/go', '--log-tag', 'the tag', '--log-label', 'A=b c',
                 log='journald')
    # The journal looks up the sender in /proc, so it must still exist.
    wait_for(lambda: [e.get('_COMM') for e in journal.entries(MATCH)] == ['conmon'] * 3, 'the three lines')
    t.touch('go')
    m.finish(0)
    entries = journal.entries(MATCH)
    equal([(e['MESSAGE'], e['PRIORITY']) for e in entries if e['PRIORITY'] == '6'],
          [('one\n', '6'), ('\n', '6'), ('<9>two', '6')], 'stdout')
    equal([e['MESSAGE'] for e in entries if e['PRIORITY'] == '4'], ['warned\n'], 'with its own priority')
    for e in entries:
        equal({key: e.get(key) for key in ('CONTAINER_ID', 'CONTAINER_NAME', 'CONTAINER_TAG', 'SYSLOG_IDENTIFIER', 'A')},
              {'CONTAINER_ID': SHORT_CID, 'CONTAINER_NAME': 'name', 'CONTAINER_TAG': 'the tag',
               'SYSLOG_IDENTIFIER': 'the tag', 'A': 'b c'})
        equal((int(e['_PID']), e['_TRANSPORT']), (m.pid, 'journal'), 'the sender')
    equal([e.get('CONTAINER_PARTIAL_MESSAGE') for e in entries if e['MESSAGE'] == '<9>two'], ['true'])
    equal(sum('CONTAINER_PARTIAL_MESSAGE' in e for e in entries), 1, 'partial entries')


def datagrams(t, program, *extra):
    """The datagrams of a monitor for a small container, unordered, without the CODE_ fields."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        path = '/run/systemd/journal/socket'
        receiver.bind(path)
        receiver.settimeout(20)
        t.program = program
        m = t.create('print one\\n\\n\\r\\x00\\xff\\n\neprint err\\n\nprint tail', *extra, log='journald',
                     monitor=t.monitor(os.path.basename(program) + str(len(t.monitors))))
        sent = [receiver.recv(65536) for _ in range(5)]
        m.finish(0)
        os.unlink(path)
    return sorted(re.sub(rb'CODE_(FILE|LINE|FUNC)=.*\n', b'', data) for data in sent)


def test_same_bytes_as_the_reference(t):
    """The datagrams are identical to those of the distribution's conmon."""
    reference = '/usr/bin/conmon'
    check(os.path.exists(reference), f'{reference} is missing')
    hide_run()
    own = t.program
    for extra in ((), ('--log-tag', 'a tag')):
        equal(datagrams(t, own, *extra), datagrams(t, reference, *extra), f'entries with {extra}')


@slow(90)
def test_all_output_arrives(t):
    """More output than fits into any buffer: the container waits for the journal."""
    hide_run()
    journal = Journald(t)
    m = t.create('fill 1 1000000 100\nprint end', log='journald')
    m.finish(0, 30)
    text = messages(journal.entries(MATCH))
    equal((len(text), text[-3:]), (1000003, 'end'), 'length of all messages, and the last one')
    check_sums(status(m))


def test_several_in_a_call(t):
    """Several entries are sent with one system call."""
    hide_run()
    journal = Journald(t)
    wrapper = t.dir / 'traced'
    wrapper.write_text(f'#!/bin/sh\nexec strace -qq -o {t.dir}/trace -e trace=sendmmsg,sendmsg,sendto {shlex.quote(t.program)} "$@"\n')
    wrapper.chmod(0o755)
    t.program = str(wrapper)
    m = t.create('fill 1 100000 100', '--sync', log='journald', conmon_pidfile=False, env={'ASAN_OPTIONS': 'detect_leaks=0'})
    m.finish(0, 20)
    equal(len(messages(journal.entries(MATCH))), 100000)
    sent = [int(n) for n in re.findall(r'^sendmmsg\(.*= (\d+)$', (t.dir / 'trace').read_text(), re.M)]
    check(sum(sent) == 1000 and max(sent) > 5, f'entries in a call: {sent}')


def test_large_entry(t):
    """An entry that is too large for a datagram."""
    hide_run()
    journal = Journald(t)
    label = 'x' * 100000
    m = t.create('print hello\\n', '--log-label', f'LARGE={label}', '--log-label', f'SECOND={label}',
                 '--log-label', f'THIRD={label}', log='journald')
    m.finish(0)
    entry, = journal.entries(MATCH)
    equal(entry['MESSAGE'], 'hello\n')
    check(entry['LARGE'] == entry['SECOND'] == entry['THIRD'] == label, 'the labels')


def test_late_journal(t):
    """Without a journal the container starts, and records in the queue are sent when one appears."""
    hide_run()
    m = t.create('print early\\n\nwait @/go\nprint late\\n', log='journald')
    check('[conmon:w]: There is no journal' in m.stderr.read_text(), f'no warning: {m.stderr.read_text()}')
    journal = Journald(t)
    wait_for(lambda: messages(journal.entries(MATCH)) == 'early\n', 'the early record')
    t.touch('go')
    m.finish(0)
    equal(messages(journal.entries(MATCH)), 'early\nlate\n')


def test_no_journal(t):
    """If no journal appears, each lost byte is counted, and one warning is printed at the start."""
    hide_run()
    m = t.create('fill 1 1000000 100\neprint err\\n\nprint tail', log='journald')
    sink = finish(m)
    equal((sink['in'], sink['out']), ({'records': 10002, 'bytes': 1000008}, {'records': 0, 'bytes': 0}))
    equal(m.stderr.read_text().count('There is no journal'), 1, f'warnings in {m.stderr.read_text()}')


def test_restart(t):
    hide_run()
    journal = Journald(t)
    m = t.create('print one\\n\nwait @/two\nprint two\\n\ntouch @/written\nwait @/three\nprint three\\n', log='journald')
    wait_for(lambda: journal.entries(MATCH), 'the first entry')
    journal.stop()
    t.touch('two')
    t.wait_file('written')
    journal = Journald(t)
    wait_for(lambda: messages(journal.entries(MATCH)) == 'one\ntwo\n', 'the record written without a journal')
    t.touch('three')
    m.finish(0)
    equal(messages(journal.entries(MATCH)), 'one\ntwo\nthree\n')
    equal(check_sums(status(m)), 0, 'bytes dropped')


def test_stopped_journal(t):
    """A stopped journal (SIGSTOP) does not read: in non-blocking mode the container runs to its end, and the
    exit file is written in time."""
    hide_run()
    journal = Journald(t)
    os.kill(journal.process.pid, signal.SIGSTOP)
    t.stack.callback(os.kill, journal.process.pid, signal.SIGCONT)
    m = t.create('fill 1 3000000 100\ntouch @/written', '--log-opt', 'journald.mode=non-blocking', log='journald')
    t.wait_file('written')
    sink = finish(m)
    equal(sink['in'], {'records': 30000, 'bytes': 3000000})
    check(check_sums(sink) > 0, 'nothing was dropped')


def test_missing(t):
    hide_run()
    bad = t.launch('exit 0', '--log-opt', 'journald.on-missing=fail', log='journald')
    equal(bad.wait_launcher(), 1)
    check('no journal' in bad.stderr.read_text(), bad.stderr.read_text())
    m = t.create('print a\\n', '--log-opt', f'journald.on-missing=file:{t.dir}/instead', log='journald')
    m.finish(0)
    equal(content(parse((t.dir / 'instead').read_bytes())), b'a\n')


def test_cri_o(t):
    """Two logs, as CRI-O configures them; each is complete."""
    hide_run()
    journal = Journald(t)
    m = t.monitor()
    t.create('print one\\n\nprint two', '--log-path', 'journald:', log=str(m.log), monitor=m)
    m.finish(0)
    equal(content(m.records()), b'one\ntwo')
    equal(messages(journal.entries(MATCH)), 'one\ntwo')


if __name__ == '__main__':
    main()
