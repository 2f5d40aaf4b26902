#!/usr/bin/python3
"""The log file that every caller reads: each record, size limits, and a file that is replaced under way."""

import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from harness import *  # noqa


def logged(t, container, *extra, name='1', **kwargs):
    """The records of a container's whole life."""
    m = t.create(container, *extra, places=t.monitor(name), **kwargs).finish(0)
    return m.records()


def shown(records):
    return [(record.stream, record.tag, record.content) for record in records]


def test_records(t):
    """B61, B62: every line is complete, an unfinished one is partial, and nothing is added at the end."""
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
    """B61: the blank behind the tag stays when there is no content."""
    m = t.create('print x\\n\\n').finish(0)
    matches(rb'\S{35} stdout F x\n\S{35} stdout F \n'.decode(), m.log.read_text())


def test_one_byte_at_a_time(t):
    """B68: what arrives together belongs together; single bytes are single pieces of the same line."""
    records = logged(t, 'sh for c in a b c d; do printf $c; sleep 0.02; done; echo')
    equal(content(records), b'abcd\n')


@differs('22.1: a line that is not complete when a read ends waits for its rest')
def test_fast_writer_is_not_cut_up(t):
    """L10: hardly a partial record in a flood of short lines."""
    records = logged(t, 'fill 1 20000000 100')
    partial = sum(record.tag == 'P' for record in records)
    check(partial < 400, f'{partial} partial records of {len(records)}')
    equal(len(content(records)), 20000000)


@differs('22.1: records of up to 16 KiB')
def test_long_lines(t):
    """L10: 16 KiB is what every reader takes."""
    for length in (8192, 16384, 16385, 16386, 100000):
        records = logged(t, f'fill 1 {length} {min(length, 65536)}', name=str(length))
        check(max(len(record.content) for record in records) <= 16384, f'{length}: a record that is too long')
        equal(len(content(records)), length, f'line of {length}')
    equal(len(logged(t, 'fill 1 16384 16384', name='whole')), 1, 'a line of 16384 bytes with its newline')


def test_time_zones(t):
    """B64: numeric offsets, also of half and quarter hours, in the time of the place."""
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
    """B57: each line that is left is whole, and the last one is there."""
    m = t.create(LINES, '--log-size-max', '5000').finish(0)
    check(m.log.stat().st_size <= 5000, f'{m.log.stat().st_size} bytes')
    lines = content(m.records()).splitlines()
    numbers = [int(line.split()[1]) for line in lines]
    equal(numbers, list(range(numbers[0], 400)), 'the lines that are left')


@differs('options of release 2.2.0 (21)')
def test_rotation_with_lines_of_every_length(t):
    """B57, L08: nothing is lost or doubled across files."""
    m = t.create(LINES, '--log-size-max', '20000', '--log-rotate', '--log-max-files', '9').finish(0)
    files = [m.log.with_name(f'ctr.log.{number}') for number in range(9, 0, -1)] + [m.log]
    files = [path for path in files if path.exists()]
    check(len(files) > 2, 'it was not rotated')
    numbers = [int(line.split()[1]) for path in files for line in content(parse(path.read_bytes())).splitlines()]
    equal(numbers, list(range(400)), 'all lines in order')
    for path in files:
        check(path.stat().st_size <= 20000, f'{path.name}: {path.stat().st_size} bytes')


def test_limit_counts_what_is_there(t):
    """B60: a container that starts over and over does not get a new allowance each time."""
    if t.reference:
        skip('release 2.1.10 (21)')
    m = t.monitor()
    for number in range(12):
        places = t.monitor(str(number + 2))
        t.create('fill 1 900 100', '--log-size-max', '2000', log=f'k8s-file:{m.log}', places=places).finish(0)
        check(m.log.stat().st_size <= 2000, f'{m.log.stat().st_size} bytes after {number + 1} starts')
        parse(m.log.read_bytes())


def test_limit_is_not_reached(t):
    for value in ('0', '-1', '1000000'):
        records = logged(t, 'fill 1 10000 100', '--log-size-max', value, name=value)
        equal(len(content(records)), 10000, value)


def test_global_limit(t):
    """B73: the record that crosses it is whole, nothing follows; 0 and less are no limit."""
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
    """B57, B58, L08: every line is whole and is in exactly one of the files."""
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
    """B58: the new file starts with a record of its own."""
    m = t.create('print first half,\nwait @/go\nprint  second half\\n')
    m.logged(b'half,')
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
        t.create(f'print {number}\\n', log=f'k8s-file:{m.log}', places=t.monitor(str(number + 2))).finish(0)
    equal(content(m.records()), b'0\n1\n2\n')


@differs('a reopened file is not in append mode in the reference')
def test_append_mode(t):
    """22.7: also after the file was replaced."""
    m = t.create('pause')
    for _ in range(2):
        flags = [line for number in descriptors(m.pid) if descriptors(m.pid)[number] == str(m.log)
                 for line in open(f'/proc/{m.pid}/fdinfo/{number}') if line.startswith('flags')]
        check(flags and int(flags[0].split()[1], 8) & os.O_APPEND, f'{flags}')
        m.control('2 0 0\n')
        time.sleep(0.05)


def synced(t, *extra):
    """How often the monitor calls fsync in a container's life."""
    if not os.path.exists('/usr/bin/strace'):
        skip('needs strace')
    places = t.monitor('m' + ''.join(extra))
    trace = t.dir / f'trace{len(t.monitors)}'
    places.spawn(['/usr/bin/strace', '-f', '-qq', '-o', str(trace), '-e', 'trace=fsync,fdatasync,sync,syncfs',
                  t.program, *t.arguments(places, conmon_pidfile=False), '--sync', *extra], t.traced_environment('print x\\n'), ('sync', 'start'))
    places.start.go()
    places.wait()
    return len(re.findall(r'\b(?:fsync|fdatasync|sync|syncfs)\(', trace.read_text()))


def test_no_sync_on_request(t):
    """B71"""
    equal(synced(t, '--no-sync-log'), 0, 'with --no-sync-log')
    check(synced(t) >= 1, 'without --no-sync-log the log is synced at the end')


def test_fifo_without_reader(t):
    """L09, 22.6: the caller is answered at once."""
    if t.reference:
        skip('22.6')
    fifo = t.dir / 'fifo'
    os.mkfifo(fifo)
    m = t.create('print x\\n\nexit 3', log=f'k8s-file:{fifo}')
    m.finish(3, timeout=5)


if __name__ == '__main__':
    main()
