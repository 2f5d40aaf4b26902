#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The k8s-file log: records, size limits, and reopening."""

import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import (  # noqa: E402
    check, content, descriptors, differs, equal, main, matches, parse, skip, status_field, tool, wait_for)


def logged(t, container, *extra, name='1', **kwargs):
    """The records of a container from its start to its end."""
    m = t.create(container, *extra, monitor=t.monitor(name), **kwargs).finish(0)
    return m.records()


def shown(records):
    return [(record.stream, record.tag, record.content) for record in records]


def test_records(t):
    """Complete lines have the tag F, an unfinished one has P, and nothing is added at the end."""
    golden = {
        'print hello': [('stdout', 'P', b'hello')],
        'print hello\\n': [('stdout', 'F', b'hello')],
        'print \\n': [('stdout', 'F', b'')],
        'print \\n\\na\\n': [('stdout', 'F', b''), ('stdout', 'F', b''), ('stdout', 'F', b'a')],
        'print a\\nb': [('stdout', 'F', b'a'), ('stdout', 'P', b'b')],
        'eprint err\\n': [('stderr', 'F', b'err')],
        'print a\\x00b\\r\\n': [('stdout', 'F', b'a\0b\r')],
        'print  \\xff\\xfe \\n': [('stdout', 'F', b' \xff\xfe ')],
        'exit 0': [],
        'print a\nsleep 40\nprint b\\n': [('stdout', 'P', b'a'), ('stdout', 'F', b'b')],
        'print a\nsleep 40\nprint \\n': [('stdout', 'P', b'a'), ('stdout', 'F', b'')],
    }
    for number, (script, expected) in enumerate(golden.items()):
        equal(shown(logged(t, script, name=str(number))), expected, script)


def test_exact_bytes(t):
    """The blank after the tag is there even without content."""
    m = t.create('print x\\n\\n').finish(0)
    matches(rb'\S{35} stdout F x\n\S{35} stdout F \n'.decode(), m.log.read_text())


def test_one_byte_at_a_time(t):
    """Data of one read is one record; single bytes become partial records of the same line."""
    records = logged(t, 'sh for c in a b c d; do printf $c; sleep 0.02; done; echo')
    equal(content(records), b'abcd\n')


@differs('the order of streams')
def test_order_of_streams(t):
    """What was written to stderr first is logged first, also if both streams are readable at once."""
    script = ''.join(f'wait @/go{i}\neprint {i}\\n\nprint {i}\\n\ntouch @/done{i}\n' for i in range(20))
    m = t.create(script + 'wait @/end')
    for i in range(20):
        os.kill(m.pid, signal.SIGSTOP)
        wait_for(lambda: status_field(m.pid, 'State').startswith('T'), 'the monitor to stop')
        t.touch(f'go{i}')
        t.wait_file(f'done{i}')
        os.kill(m.pid, signal.SIGCONT)
        wait_for(lambda i=i: len(m.records()) == 2 * (i + 1), 'both lines')
    t.touch('end')
    m.finish(0)
    equal(' '.join(record.stream[3:] for record in m.records()), ' '.join(20 * ['err', 'out']))


@differs('an incomplete line at the end of a read is held back')
def test_fast_writer_has_few_partial_records(t):
    """A flood of short lines has hardly any partial records."""
    records = logged(t, 'fill 1 20000000 100')
    partial = sum(record.tag == 'P' for record in records)
    check(partial < 400, f'{partial} partial records of {len(records)}')
    equal(len(content(records)), 20000000)


@differs('records of up to 16 KiB')
def test_long_lines(t):
    """All readers accept records of 16 KiB."""
    for length in (8192, 16384, 16385, 16386, 100000):
        records = logged(t, f'fill 1 {length} {min(length, 65536)}', name=str(length))
        check(max(len(record.content) for record in records) <= 16384, f'{length}: a record that is too long')
        equal(len(content(records)), length, f'line of {length}')
    equal(len(logged(t, 'fill 1 16384 16384', name='whole')), 1, 'a line of 16384 bytes with its newline')


def test_time_zones(t):
    """Local time with a numeric offset, also of half and quarter hours."""
    for zone, offset in (('UTC', '+00:00'), ('Asia/Kolkata', '+05:30'), ('Asia/Kathmandu', '+05:45'),
                         ('America/St_Johns', '-03:30'), ('XXX11', '-11:00'), ('XXX-13:45', '+13:45')):
        if '/' in zone and not os.path.exists(f'/usr/share/zoneinfo/{zone}'):
            zone = {'+05:30': 'XXX-5:30', '+05:45': 'XXX-5:45', '-03:30': 'XXX3:30'}[offset]
        record = logged(t, 'print x\\n', env={'TZ': zone}, name=zone.replace('/', '-').replace(':', '_'))[0]
        if zone == 'America/St_Johns':
            check(record.time[-6:] in ('-03:30', '-02:30'), record.time)
        else:
            equal(record.time[-6:], offset, zone)
        hours, minutes = map(int, offset[1:].split(':'))
        shift = (hours * 60 + minutes) * 60 * (-1 if offset[0] == '-' else 1)
        local = time.mktime(time.strptime(record.time[:19], '%Y-%m-%dT%H:%M:%S')) - time.timezone
        if zone != 'America/St_Johns':
            check(abs(local - shift - time.time()) < 30, f'{zone}: {record.time}')


def test_times_do_not_go_back(t):
    records = logged(t, 'sh for i in 1 2 3 4 5; do echo $i; sleep 0.01; done')
    stamps = [record.time for record in records]
    equal(stamps, sorted(stamps))


# Limits

LINES = 'sh i=0; while [ $i -lt 400 ]; do echo "line $i $(printf %$((i * 37 % 300))s x)"; i=$((i+1)); done'


def test_size_limit_with_lines_of_every_length(t):
    """After truncation all lines are complete, and the last one is there."""
    m = t.create(LINES, '--log-size-max', '5000').finish(0)
    check(m.log.stat().st_size <= 5000, f'{m.log.stat().st_size} bytes')
    lines = content(m.records()).splitlines()
    numbers = [int(line.split()[1]) for line in lines]
    equal(numbers, list(range(numbers[0], 400)), 'the remaining lines')


@differs('options of release 2.2.0')
def test_rotation_with_lines_of_every_length(t):
    """No line is lost or duplicated across files."""
    m = t.create(LINES, '--log-size-max', '20000', '--log-rotate', '--log-max-files', '9').finish(0)
    files = [m.log.with_name(f'ctr.log.{number}') for number in range(9, 0, -1)] + [m.log]
    files = [path for path in files if path.exists()]
    check(len(files) > 2, 'the log was not rotated')
    numbers = [int(line.split()[1]) for path in files for line in content(parse(path.read_bytes())).splitlines()]
    equal(numbers, list(range(400)), 'all lines in order')
    for path in files:
        check(path.stat().st_size <= 20000, f'{path.name}: {path.stat().st_size} bytes')


def test_limit_includes_existing_records(t):
    """Records of earlier starts count towards the limit."""
    if t.reference:
        skip('release 2.1.10')
    m = t.monitor()
    for number in range(12):
        prepared = t.monitor(str(number + 2))
        t.create('fill 1 900 100', '--log-size-max', '2000', log=f'k8s-file:{m.log}', monitor=prepared).finish(0)
        check(m.log.stat().st_size <= 2000, f'{m.log.stat().st_size} bytes after {number + 1} starts')
        parse(m.log.read_bytes())


def test_limit_is_not_reached(t):
    for value in ('0', '-1', '1000000'):
        records = logged(t, 'fill 1 10000 100', '--log-size-max', value, name=value)
        equal(len(content(records)), 10000, value)


def test_global_limit(t):
    """The record that crosses the limit is complete, and the last one; values up to 0 mean no limit."""
    for value, expected in (('1', 1), ('145', 1), ('146', 2), ('0', 5), ('-1', 5)):
        script = '\nsleep 30\n'.join(['fill 1 100 100'] * 5)
        records = logged(t, script, '--log-global-size-max', value, name=value)
        equal(len([record for record in records if record.stream == 'stdout' and len(record.content) == 99]),
              expected, f'limit {value}')


def test_global_limit_leaves_clients_alone(t):
    m = t.create('wait @/go\nfill 1 100000 100', '--log-global-size-max', '500')
    client = m.attach()
    t.touch('go')
    equal(len(client.to_end()), 100000)
    m.finish(0)
    check(m.log.stat().st_size < 1500, f'{m.log.stat().st_size} bytes')


# Replacing the file

def test_reopen_under_load(t):
    """Every line is complete and in exactly one of the files."""
    m = t.create('sh i=0; while [ ! -e @/stop ]; do echo "line $i"; i=$((i+1)); done')
    files = []
    for number in range(15):
        moved = m.root / f'moved.{number}'
        os.rename(m.log, moved)
        files.append(moved)
        m.control('2 0 0\n')
        wait_for(m.log.exists, 'the new file')
        time.sleep(0.005)
    t.touch('stop')
    m.finish(0)
    records = [record for path in (*files, m.log) for record in parse(path.read_bytes())]
    numbers = [int(line.split()[1]) for line in content(records).splitlines()]
    equal(numbers, list(range(len(numbers))), 'lines')


def test_reopen_in_the_middle_of_a_line(t):
    """The new file begins with a new record."""
    m = t.create('print first half,\nwait @/go\nprint  second half\\n')
    m.wait_log(b'half,')
    moved = m.root / 'moved'
    os.rename(m.log, moved)
    m.control('2 0 0\n')
    wait_for(m.log.exists, 'the new file')
    t.touch('go')
    m.finish(0)
    equal(shown(parse(moved.read_bytes())), [('stdout', 'P', b'first half,')])
    equal(shown(m.records()), [('stdout', 'F', b' second half')])


def test_file_is_appended_to(t):
    """The log of an earlier run is kept."""
    m = t.monitor()
    for number in range(3):
        t.create(f'print {number}\\n', log=f'k8s-file:{m.log}', monitor=t.monitor(str(number + 2))).finish(0)
    equal(content(m.records()), b'0\n1\n2\n')


@differs('the reference does not open the new file in append mode')
def test_append_mode(t):
    """The file is opened with O_APPEND, also after a reopen."""
    m = t.create('pause')
    for _ in range(2):
        flags = [line for number in descriptors(m.pid) if descriptors(m.pid)[number] == str(m.log)
                 for line in open(f'/proc/{m.pid}/fdinfo/{number}') if line.startswith('flags')]
        check(flags and int(flags[0].split()[1], 8) & os.O_APPEND, f'{flags}')
        m.control('2 0 0\n')
        time.sleep(0.05)


def synced(t, *extra):
    """How often the monitor calls fsync."""
    tool('strace')
    prepared = t.monitor('m' + ''.join(extra))
    trace = t.dir / f'trace{len(t.monitors)}'
    prepared.spawn(['/usr/bin/strace', '-f', '-qq', '-o', str(trace), '-e', 'trace=fsync,fdatasync,sync,syncfs',
                  t.program, *t.arguments(prepared, conmon_pidfile=False), '--sync', *extra], t.traced_environment('print x\\n'), ('sync', 'start'))
    prepared.start.go()
    prepared.wait()
    return len(re.findall(r'\b(?:fsync|fdatasync|sync|syncfs)\(', trace.read_text()))


def test_no_sync_on_request(t):
    """With --no-sync-log the log is not synced."""
    equal(synced(t, '--no-sync-log'), 0, 'with --no-sync-log')
    check(synced(t) >= 1, 'without --no-sync-log the log is synced at the end')


def test_fifo_without_reader(t):
    """The caller gets its answer at once."""
    if t.reference:
        skip('a failing log neither ends nor blocks the monitor, and lost records are counted')
    fifo = t.dir / 'fifo'
    os.mkfifo(fifo)
    m = t.create('print x\\n\nexit 3', log=f'k8s-file:{fifo}')
    m.finish(3, timeout=5)


if __name__ == '__main__':
    main()
