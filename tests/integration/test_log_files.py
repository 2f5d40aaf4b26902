#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The bytes that k8s-file and json-file write, and that a failing log does not affect anything else."""

import ctypes
import datetime
import json
import os
import pathlib
import re
import shlex
import resource
import stat
import sys
import threading
import time

HERE = pathlib.Path(os.path.abspath(__file__)).parent
sys.path.insert(0, str(HERE.parent / 'lib'))
from harness import check, CID, content, equal, main, needs_root, parse, parse_json, wait_for  # noqa: E402

GOLDEN = HERE / 'golden'
STAMP = rb'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}\+00:00'
JSON_STAMP = rb'(?<="time":")\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{0,8}[1-9])?Z'
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000


def both(t, container, *extra, **kwargs):
    """A container with a k8s-file and a json-file."""
    m = kwargs.pop('monitor', None) or t.monitor()
    m.json = m.root / 'ctr.json'
    return t.create(container, '--log-driver', f'json-file:{m.json}', *extra, monitor=m, **kwargs)


def status(m, path=None):
    """The sinks of the status file, by target."""
    data = json.loads((path or m.persist / 'log-status.json').read_text())
    return {sink['target']: sink for sink in data['sinks']}


def check_counters(sink):
    for unit in ('records', 'bytes'):
        lost = sum(cause[unit] for cause in sink['dropped'].values())
        equal(sink['in'][unit], sink['out'][unit] + lost + sink['queued'][unit], f'{unit} of {sink["target"]}')


# Formats


def test_golden(t):
    """NUL, CR, bad UTF-8, U+2028, empty lines, a line without an end."""
    m = both(t, f'sh exec cat {shlex.quote(str(GOLDEN))}/output.bin')
    m.finish(0)
    equal(re.sub(rb'(?m)^' + STAMP, b'TIME', m.log.read_bytes()), (GOLDEN / 'k8s-file.log').read_bytes())
    equal(re.sub(JSON_STAMP, b'TIME', m.json.read_bytes()), (GOLDEN / 'json-file.log').read_bytes())
    equal(content(parse(m.log.read_bytes())), (GOLDEN / 'output.bin').read_bytes(), 'the content for a CRI reader')


def test_docker_reader(t):
    """A JSON parser returns the original text, except for invalid UTF-8."""
    m = both(t, f'sh exec cat {shlex.quote(str(GOLDEN))}/output.bin')
    m.finish(0)
    text = (GOLDEN / 'output.bin').read_bytes()
    seen = content(parse_json(m.json.read_bytes()))
    equal(seen.split(b'\n')[:12], text.split(b'\n')[:12])
    equal(len(seen.split(b'\n')), len(text.split(b'\n')), 'lines')


def test_a_long_line(t):
    """1 MiB in records of 16 KiB, the last one with the end of the line."""
    m = both(t, "sh head -c 1048576 /dev/zero | tr '\\\\0' x; echo; echo x")
    m.finish(0)
    for records in (parse(m.log.read_bytes()), parse_json(m.json.read_bytes())):
        tags = [record.tag for record in records]
        check(all(tag == 'P' for tag in tags[:-2]) and tags[-2:] == ['F', 'F'], f'tags {"".join(tags)}')
        check(max(len(record.content) for record in records) <= 16384, 'a record is longer than 16 KiB')
        text = content(records)
        equal(len(text), 1048576 + 1 + 2, 'bytes')
        check(text.endswith(b'\nx\n'), f'the end: {text[-20:]!r}')


def test_characters_split_between_writes(t):
    """A UTF-8 character that is split between two writes is complete in JSON."""
    m = both(t, 'print caf\\xc3\nwait @/go\nprint \\xa9\\n')
    m.wait_log(b' P caf\xc3\n')
    wait_for(lambda: b'"caf"' in m.json.read_bytes(), 'the whole characters')
    t.touch('go')
    m.finish(0)
    equal(content(parse_json(m.json.read_bytes())), 'caf\u00e9\n'.encode())
    equal(content(m.records()), 'caf\u00e9\n'.encode())


def test_time_zones(t):
    """Zones of half and quarter hours; json-file always uses UTC."""
    zones = {'IST-5:30': '+05:30', 'NPT-5:45': '+05:45', 'NST3:30': '-03:30', 'UTC0': '+00:00', 'XXX-14': '+14:00'}
    for zone, offset in zones.items():
        m = both(t, 'print x\\n', env={'TZ': zone}, monitor=t.monitor(offset))
        m.finish(0)
        local, utc = m.records()[0].time, parse_json(m.json.read_bytes())[0].time
        equal(local[29:], offset, zone)
        moments = [datetime.datetime.fromisoformat(local[:26] + local[29:]),
                   datetime.datetime.fromisoformat(utc.rstrip('Z').ljust(26, '0')[:26] + '+00:00')]
        check(abs(moments[0] - moments[1]) < datetime.timedelta(milliseconds=1), f'{local} and {utc}')
        check(abs(moments[0].timestamp() - time.time()) < 100, f'{local} is not now')


def test_streams(t):
    t.skip_with(qemu='it is slower than the container')
    m = both(t, 'print out\\n\nsleep 30\neprint err\\n\nsleep 30\nprint out\\n')
    m.finish(0)
    for records in (m.records(), parse_json(m.json.read_bytes())):
        equal([(record.stream, record.content) for record in records],
              [('stdout', b'out'), ('stderr', b'err'), ('stdout', b'out')])


def test_metadata(t):
    """Tag, labels and environment of the bundle as attributes."""
    m = t.monitor()
    config = {'process': {'env': ['LANG=C', 'SECRET=x']}, 'annotations': {'team': 'blue', 'other': 'no'}}
    (m.bundle / 'config.json').write_text(json.dumps(config))
    both(t, 'print x\\n', '--log-opt', 'labels=team', '--log-opt', 'env=LANG', '--log-opt', 'tag={{.Name}}/{{.ID}}',
         monitor=m).finish(0)
    check(b'"stream":"stdout","attrs":{"LANG":"C","tag":"name/0123456789ab","team":"blue"},"time":' in
          m.json.read_bytes(), f'{m.json.read_bytes()!r}')


def test_large_bundle(t):
    """Annotations and labels come from one read of config.json, which fails as a whole if the file is too large."""
    m = t.monitor()
    config = {'annotations': {'team': 'blue', 'large': 'x' * (20 << 20), 'org.conmon.log/profile': 'p', 'last': 'red'}}
    (m.bundle / 'config.json').write_text(json.dumps(config))
    (t.dir / 'conmon.conf').write_text(f'[profile p]\ndriver = json-file:{t.dir}/{{{{.Name}}}}.json\nopt.labels = team,last\n')
    t.create('print x\\n', '--config', f'{t.dir}/conmon.conf', monitor=m).finish(0)
    equal(json.loads((t.dir / 'name.json').read_text())['attrs'], {'team': 'blue', 'last': 'red'})
    m = t.monitor('2')
    (m.bundle / 'config.json').touch()
    os.truncate(m.bundle / 'config.json', (64 << 20) + 1)
    m = t.launch('print x', '--log-driver', f'json-file:{t.dir}/x', '--log-opt', 'labels=a', monitor=m)
    equal(m.wait_launcher(), 1)
    m.pid = m.launcher
    equal(m.stderr.read_text(), f'[conmon:e]: {m.bundle}/config.json has more than {64 << 20} bytes\n')


def test_path_through_a_link(t):
    """`..` after a symbolic link is resolved by the kernel."""
    (t.dir / 'real/deep').mkdir(parents=True)
    (t.dir / 'link').symlink_to('real/deep')
    m = t.create('print one\\n\nwait @/go\nprint two\\n', '--log-driver', f'json-file:{t.dir}/link/../x.json')
    file = t.dir / 'real/x.json'
    wait_for(lambda: b'one' in file.read_bytes(), 'the first line')
    file.rename(t.dir / 'old')
    m.control('2 0 0\n')
    wait_for(file.exists, 'a new file in the same directory')
    t.touch('go')
    m.finish(0)
    check(b'two' in file.read_bytes() and not (t.dir / 'x.json').exists(), 'the second line')


def test_filters(t):
    """Filters and redaction of one sink do not affect the other."""
    m = t.monitor()
    (m.root / 'secrets').write_text('hunter2\n')
    both(t, 'print password hunter2\\nGET /health\\nok\\n\neprint trouble\\n', '--log-opt', 'exclude=/health',
         '--log-opt', 'streams=stdout', '--log-opt', f'redact-file={m.root}/secrets', monitor=m).finish(0)
    equal(content(parse_json(m.json.read_bytes())), b'password ***\nok\n')
    equal(content(m.records()), b'password hunter2\nGET /health\nok\n')
    equal(content(m.records(), 'stderr'), b'trouble\n')
    sink = status(m)[str(m.json)]
    equal(sink['dropped']['filtered']['records'], 2, 'filtered')
    check_counters(sink)


def test_strip(t):
    """Escape sequences and CR are stripped, from the caller's file too; the byte count is the container's."""
    m = t.create('print \33[1;31mred\33[0m\\n\nprint two\\n\nprint \33]0;title\athree', '-t', '--log-opt',
                 'k8s-file.strip=cr,ansi')
    m.finish(0)
    equal([r.content for r in m.records()], [b'red', b'two', b'three'])
    status = json.loads((m.persist / 'log-status.json').read_text())['sinks'][0]
    equal(status['in'], {'records': 3, 'bytes': len('\33[1;31mred\33[0m\r\ntwo\r\n\33]0;title\athree')})
    equal(status['out'], status['in'])


def test_rate_limit(t):
    m = both(t, 'fill 1 10000 10\nsleep 300', '--log-opt', 'rate-limit-burst=100', '--log-opt',
             'rate-limit-interval=200ms')
    m.finish(0)
    equal(lines(m.records()), 1000, 'lines of the other file')
    sink, records = status(m)[str(m.json)], parse_json(m.json.read_bytes())
    lost = sum(int(text.split()[1]) for text in (record.content for record in records if record.stream == 'stderr'))
    check(100 <= len(records) < 900, f'{len(records)} records')
    equal(lost, sink['dropped']['rate-limit']['records'], 'reported losses')
    check_counters(sink)


# Options


def test_help(t):
    code, out, err = t.run('--log-driver', 'help')
    equal((code, err), (0, ''))
    for name in ('k8s-file:PATH', 'json-file:PATH', 'journald', 'none', 'passthrough'):
        check(f'\n  {name} ' in out, f'{name} is not in {out}')
    code, out, err = t.run('--log-driver', 'json-file:help')
    equal((code, err), (0, ''))
    for option in ('max-size=SIZE', 'labels=A,B,...', 'rate-limit-action=drop|block'):
        check(f'\n  {option}\n' in out, f'{option} is not in {out}')


def refusal(t, *extra):
    """The message about an invalid option, which the launcher prints before it starts anything."""
    m = t.launch('exit 0', *extra)
    equal(m.wait_launcher(), 1, 'status of the launcher')
    m.pid = m.launcher
    return m.stderr.read_text()


def test_refusals(t):
    equal(refusal(t, '--log-driver', 'nosuch'), '[conmon:e]: No such log driver nosuch; there are: ' +
          ', '.join(re.findall(r'^  ([a-z0-9-]+)', t.run('--log-driver', 'help')[1], re.M)) + '\n')
    equal(refusal(t, '--log-driver', 'json-file:@/x', '--log-opt', 'max-size=big'),
          "[conmon:e]: Log driver json-file: option max-size can't be 'big'; allowed: a size such as 100k, 10m or 1g, "
          'at least 1\n')
    equal(refusal(t, '--log-opt', 'json-file.max-size=1m'),
          '[conmon:e]: --log-opt json-file.max-size=1m: log driver json-file is not in use\n')
    equal(refusal(t, '--log-driver', 'json-file:@/none/x'),
          f'[conmon:e]: Failed to open log file {t.dir}/none/x: No such file or directory\n')


# Status


def test_status_on_demand(t):
    m = both(t, 'print one\\ntwo\\nthr\nwait @/go')
    m.wait_log(b'thr')
    m.control('3 0 0\n')
    path = m.bundle / 'log-status.json'
    wait_for(path.exists, 'the status file')
    data = json.loads(path.read_text())
    equal((data['version'], data['container'], data['ended']), (1, CID, False))
    for sink in status(m, path).values():
        equal((sink['in'], sink['out']), ({'records': 3, 'bytes': 11},) * 2)
        equal((sink['state'], sink['errors']), ('ok', {'count': 0, 'last': None}))
        check_counters(sink)
    t.touch('go')
    m.finish(0)
    data = json.loads((m.persist / 'log-status.json').read_text())
    equal((data['ended'], [sink['driver'] for sink in data['sinks']]), (True, ['k8s-file', 'json-file']))


def test_status_without_persist_dir(t):
    m = t.create('print x\\n', persist=False)
    m.finish(0)
    equal(status(m, m.bundle / 'log-status.json')[str(m.log)]['out']['bytes'], 2, 'bytes')


# Failures: a second log fails in different ways; its status at the end is checked.


def fifo(m):
    path = m.root / 'fifo'
    os.mkfifo(path)
    return path


def lines(records):
    """The number of lines of the records: a line that was read in two parts has two records."""
    return content(records).count(b'\n')


def check_unaffected(m, expected, started, limit=10):
    """The container was not delayed, its end is recorded, and the ordinary file is complete."""
    m.finish(0)
    check(time.monotonic() - started < limit, f'it took {time.monotonic() - started:.1f} s')
    equal(lines(m.records()), expected, 'lines in the ordinary file')


def test_fifo_without_reader(t):
    """The caller gets its answer, the container runs, and lost records are counted."""
    m = t.monitor()
    path, started = fifo(m), time.monotonic()
    t.create('fill 1 2000000 100', '--log-driver', f'k8s-file:{path}', '--log-opt', 'max-buffer-size=256k', monitor=m)
    check_unaffected(m, 20000, started)
    sink = status(m)[str(path)]
    equal(sink['out']['records'], 0, 'delivered')
    equal(sink['errors']['last'], 'it has no reader')
    check(sink['dropped']['queue-full']['records'] > 15000, f'{sink}')
    check(sink['dropped']['at-end']['records'] > 1000, f'{sink}')
    check_counters(sink)


def test_fifo_as_the_only_log(t):
    """The container's own log has no reader yet; when there is one, it gets all records from the first on."""
    m = t.monitor()
    path = fifo(m)
    t.create('print first\\n\nwait @/go\nprint second\\n', monitor=m, log=f'k8s-file:{path}')
    with open(path, 'rb') as reader:
        check(reader.readline().endswith(b' stdout F first\n'), 'the first record')
        t.touch('go')
        check(reader.readline().endswith(b' stdout F second\n'), 'the second record')
        m.finish(0)
        equal(reader.read(), b'', 'the end')


def test_fifo_is_not_rotated(t):
    """With a size limit, or when new files are requested: it stays, and its reader gets everything."""
    m = t.monitor()
    path = fifo(m)
    t.create('print first\\n\nwait @/go\nfill 1 10000 100', '--log-size-max', '500', monitor=m, log=f'k8s-file:{path}')
    with open(path, 'rb') as reader:
        first = reader.readline()
        m.control('2 0 0\n')
        t.touch('go')
        equal(lines(parse(first + reader.read())), 101, 'lines')
    m.finish(0)
    check(stat.S_ISFIFO(path.lstat().st_mode), 'the FIFO was replaced')
    equal(sorted(name for name in os.listdir(m.root) if name.startswith('fifo')), ['fifo'])


def test_fifo_that_is_not_read(t):
    """A process has the FIFO open, but does not read."""
    m = t.monitor()
    path = fifo(m)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    started = time.monotonic()
    t.create('fill 1 2000000 100', '--log-driver', f'k8s-file:{path}', '--log-opt', 'drain-timeout=100ms', monitor=m)
    m.finish(0)
    check(time.monotonic() - started < 10, 'the end was delayed')
    sink = status(m)[str(path)]
    check(0 < sink['out']['records'] < 1000, f'{sink}')
    check_counters(sink)
    os.close(reader)


def test_slow_reader_blocks_if_asked_to(t):
    """With mode=blocking nothing is lost, and the container waits."""
    m = t.monitor()
    path = fifo(m)
    seen = []

    def read():
        with open(path, 'rb') as reader:
            time.sleep(0.3)
            seen.append(reader.read())

    thread = threading.Thread(target=read)
    thread.start()
    started = time.monotonic()
    t.create('fill 1 2000000 100', '--log-driver', f'k8s-file:{path}', '--log-opt', 'mode=blocking', monitor=m)
    m.finish(0)
    thread.join()
    equal(lines(parse(seen[0])), 20000, 'lines')
    check(time.monotonic() - started > 0.25, 'the container did not wait')
    equal(lines(m.records()), 20000, 'lines in the ordinary file')


def test_reader_goes_away(t):
    m = t.monitor()
    path = fifo(m)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    t.create('print one\\n\nwait @/go\nfill 1 1000000 100', '--log-driver', f'k8s-file:{path}', monitor=m)
    m.wait_log(b'one')
    os.close(reader)
    t.touch('go')
    check_unaffected(m, 10001, time.monotonic())
    sink = status(m)[str(path)]
    check(sink['errors']['count'] > 0, f'{sink}')
    check_counters(sink)


def test_full_device(t):
    started = time.monotonic()
    m = t.create('fill 1 2000000 100', '--log-driver', 'k8s-file:/dev/full')
    check_unaffected(m, 20000, started)
    sink = status(m)['/dev/full']
    equal((sink['out']['records'], sink['errors']['last']), (0, 'No space left on device'))
    check_counters(sink)


def test_file_size_limit(t):
    """With ulimit -f the log fails, but not the container or the record of its end."""
    prepared = t.monitor()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100000, limits[1]))
    try:
        m = t.create('fill 1 2000000 100\nexit 3', monitor=prepared)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    m.finish(3)
    sink = status(m)[str(m.log)]
    equal(sink['errors']['last'], 'File too large')
    check(99000 < m.log.stat().st_size <= 100000, f'the log has {m.log.stat().st_size} bytes')
    parse(m.log.read_bytes())
    check_counters(sink)


def small_disk(t, size):
    """A file system of this size in a private mount namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    path = t.dir / 'disk'
    path.mkdir()
    check(libc.unshare(CLONE_NEWNS) == 0, f'unshare: {os.strerror(ctypes.get_errno())}')
    check(libc.mount(None, b'/', None, MS_REC | MS_PRIVATE, None) == 0, 'no private mounts')
    check(libc.mount(b'none', bytes(path), b'tmpfs', 0, f'size={size}'.encode()) == 0,
          f'mount: {os.strerror(ctypes.get_errno())}')
    t.stack.callback(libc.umount2, bytes(path), 2)
    return path


@needs_root
def test_disk_full(t):
    """No incomplete records; when there is space again, the log continues with a line that reports the loss."""
    disk = small_disk(t, '1m')
    log, json_log = disk / 'ctr.log', disk / 'ctr.json'
    m = t.create('fill 1 3000000 100\ntouch @/written\nwait @/go\nprint last\\n', '--log-driver',
                 f'json-file:{json_log}', '--log-opt', 'json-file.max-buffer-size=256k', '--log-opt',
                 'k8s-file.max-buffer-size=256k', log=f'k8s-file:{log}')
    t.wait_file('written')
    path = m.bundle / 'log-status.json'
    m.control('3 0 0\n')
    wait_for(path.exists, 'the status file')
    for sink in status(m, path).values():
        equal((sink['state'], sink['errors']['last']), ('failing', 'No space left on device'))
    before = [log.read_bytes(), json_log.read_bytes()]
    os.rename(log, f'{log}.away')
    os.rename(json_log, f'{json_log}.away')
    m.control('2 0 0\n')
    wait_for(lambda: log.exists() and json_log.exists(), 'the new files')
    for name in (log, json_log):  # only now: a retry would write the queue to the old file
        os.truncate(f'{name}.away', 0)
    for name in (log, json_log):  # the queue has room when the loss is reported
        wait_for(lambda name=name: b'records dropped' in name.read_bytes(), f'the losses in {name}')
    t.touch('go')
    m.finish(0)
    for name, old, reader in ((log, before[0], parse), (json_log, before[1], parse_json)):
        first = reader(old[:old.rfind(b'\n') + 1])
        later = reader(name.read_bytes())
        equal(later[-1].content, b'last')
        lost = [int(record.content.split()[1]) for record in later if record.stream == 'stderr']
        check(len(lost) == 1 and lost[0] > 1000, f'reported losses: {lost}')
        sink = status(m)[str(name)]
        equal(lost[0], sink['dropped']['queue-full']['records'], 'reported losses')
        check(abs(lines(first + later) - 1 + lost[0] - 30000) < 100, f'{lines(first + later)} lines, lost {lost[0]}')
        check_counters(sink)


@needs_root
def test_disk_without_room_for_a_new_file(t):
    """A failed rotation is retried; records that fit into the queue are not lost."""
    disk = small_disk(t, '1m,nr_inodes=4')
    log, blockers = disk / 'ctr.log', [disk / 'one', disk / 'two']
    for blocker in blockers:
        blocker.touch()
    m = t.create('fill 1 1900 100\ntouch @/written\nwait @/go', '--log-size-max', 1500, '--log-opt',
                 'k8s-file.max-file=2', log=f'k8s-file:{log}')
    t.wait_file('written')

    def failed():
        m.control('3 0 0\n')
        path = m.bundle / 'log-status.json'
        return path.exists() and status(m, path)[str(log)]['errors']['last'] == 'No space left on device'
    wait_for(failed, 'the failed rotation')
    equal(len(parse(log.read_bytes())), 10, 'records for which there was space')
    for blocker in blockers:
        blocker.unlink()
    old = disk / 'ctr.log.1'
    wait_for(old.exists, 'the rotation')
    t.touch('go')
    m.finish(0)
    equal(len(parse(old.read_bytes())) + len(parse(log.read_bytes())), 19, 'records')
    equal(status(m)[str(log)]['out']['bytes'], 1900, 'bytes')


@needs_root
def test_reopening_without_room_for_a_new_file(t):
    """The old file is used until there is room, and the new one then, also without further output."""
    disk = small_disk(t, '4m,nr_inodes=3')
    log, old, blocker = disk / 'ctr.log', disk / 'ctr.log.old', disk / 'one'
    m = t.create('print one\\n\nwait @/go\nfill 1 1500000 100\nprint two\\n\nwait @/more\nprint last\\n\nwait @/end',
                 log=f'k8s-file:{log}')
    wait_for(lambda: log.read_bytes(), 'the first line')
    blocker.touch()
    log.rename(old)
    m.control('2 0 0\n')
    t.touch('go')
    wait_for(lambda: old.read_bytes().endswith(b' two\n'), 'the second line in the old file')
    equal(len(content(parse(old.read_bytes()))), 1500008, 'bytes in the old file')
    blocker.unlink()
    wait_for(log.exists, 'the new file')
    t.touch('more')
    wait_for(lambda: content(parse(log.read_bytes())) == b'last\n', 'the last line')
    t.touch('end')
    m.finish(0)
    equal(status(m)[str(log)]['out']['bytes'], 1500013)


@needs_root
def test_withdrawn_reopening_without_room_for_a_new_file(t):
    """The old file gets its name back before there is room: it stays, and the next request is not refused."""
    disk = small_disk(t, '4m,nr_inodes=3')
    log, old, blocker = disk / 'ctr.log', disk / 'ctr.log.old', disk / 'one'
    m = t.create('print one\\n\nwait @/go\nprint two\\n\nwait @/more\nprint three\\n\nwait @/end',
                 log=f'k8s-file:{log}')
    wait_for(lambda: log.read_bytes(), 'the first line')
    blocker.touch()
    log.rename(old)
    m.control('2 0 0\n3 0 0\n')
    wait_for((m.bundle / 'log-status.json').exists, 'the answer')
    t.touch('go')
    wait_for(lambda: content(parse(old.read_bytes())) == b'one\ntwo\n', 'the second line in the old file')
    old.rename(log)
    blocker.unlink()
    time.sleep(3)
    equal(content(parse(log.read_bytes())), b'one\ntwo\n', 'after a further attempt')
    log.rename(old)
    m.control('2 0 0\n')
    wait_for(log.exists, 'the new file')
    t.touch('more')
    wait_for(lambda: content(parse(log.read_bytes())) == b'three\n', 'the third line')
    equal(content(parse(old.read_bytes())), b'one\ntwo\n', 'the old file')
    t.touch('end')
    m.finish(0)


@needs_root
def test_old_age_without_room_for_a_new_file(t):
    disk = small_disk(t, '4m,nr_inodes=3')
    log, blocker = disk / 'ctr.log', disk / 'one'
    m = t.create('print one\\n\nsleep 1100\nprint two\\n\nwait @/more\nprint three\\n\nwait @/end',
                 '--log-opt', 'k8s-file.max-age=1s', log=f'k8s-file:{log}')
    blocker.touch()
    wait_for(lambda: content(parse(log.read_bytes())) == b'one\ntwo\n', 'the second line in the old file')
    blocker.unlink()
    wait_for(lambda: not log.read_bytes(), 'the new file')
    t.touch('more')
    wait_for(lambda: content(parse(log.read_bytes())) == b'three\n', 'the third line')
    t.touch('end')
    m.finish(0)


@needs_root
def test_file_is_a_mount_point(t):
    """A file that can't be replaced is truncated: the log continues and stays within its limit."""
    small_disk(t, '1m')
    m = t.monitor()
    m.log.touch()
    libc = ctypes.CDLL(None, use_errno=True)
    check(libc.mount(bytes(m.log), bytes(m.log), None, MS_BIND, None) == 0, 'no bind mount')
    t.stack.callback(libc.umount2, bytes(m.log), 2)
    t.create('fill 1 20000 100\nprint last\\n', '--log-size-max', 1500, monitor=m).finish(0)
    check(m.log.stat().st_size <= 1500, f'the log has {m.log.stat().st_size} bytes')
    equal(m.records()[-1].content, b'last')
    equal(status(m)[str(m.log)]['out']['bytes'], 20005, 'bytes')


def test_unwritable_directory(t):
    """The same in a directory without write permission (which does not stop root)."""
    m = t.monitor()
    directory = m.root / 'logs'
    directory.mkdir()
    log = directory / 'ctr.log'
    log.touch()
    directory.chmod(0o555)
    t.create('fill 1 20000 100\nprint last\\n', '--log-size-max', 1500, '--log-rotate', monitor=m,
             log=f'k8s-file:{log}').finish(0)
    directory.chmod(0o755)
    check(log.stat().st_size <= 1500, f'the log has {log.stat().st_size} bytes')
    equal(parse(log.read_bytes())[-1].content, b'last')


def test_no_name_for_a_temporary_file(t):
    """The same if the name is too long for a suffix, or if a directory has the temporary name."""
    m = t.monitor()
    long, taken = m.root / ('x' * 252), m.root / 'taken'
    (m.root / 'taken.tmp').mkdir()
    t.create('fill 1 20000 100\nprint last\\n', '--log-opt', 'max-size=1500', '--log-driver', f'json-file:{long}',
             '--log-driver', f'k8s-file:{taken}', monitor=m).finish(0)
    for log, records in (long, parse_json(long.read_bytes())), (taken, parse(taken.read_bytes())):
        check(log.stat().st_size <= 1500, f'the log has {log.stat().st_size} bytes')
        equal(records[-1].content, b'last')
        equal(status(m)[str(log)]['out']['bytes'], 20005, 'bytes')


def expect_old_file(t, m, log):
    """Two requests to reopen fail: all lines are in the old file."""
    number = len(t.monitors)
    t.create(f'print before\\n\nwait @/go{number}\nfill 1 3000 100\nprint last\\n', monitor=m, log=f'k8s-file:{log}')
    wait_for(lambda: b'before' in log.read_bytes(), 'the first line')
    for _ in range(2):
        m.control('2 0 0\n3 0 0\n')
        wait_for((m.bundle / 'log-status.json').exists, 'the status file')
        (m.bundle / 'log-status.json').unlink()
    t.touch(f'go{number}')
    m.finish(0)
    records = parse(log.read_bytes())
    equal((len(records), records[0].content, records[-1].content), (32, b'before', b'last'))
    check_counters(status(m)[str(log)])


@needs_root
def test_reopening_a_mount_point(t):
    small_disk(t, '1m')
    m = t.monitor()
    m.log.touch()
    libc = ctypes.CDLL(None, use_errno=True)
    check(libc.mount(bytes(m.log), bytes(m.log), None, MS_BIND, None) == 0, 'no bind mount')
    t.stack.callback(libc.umount2, bytes(m.log), 2)
    expect_old_file(t, m, m.log)


def test_reopening_without_a_temporary_name(t):
    m = t.monitor()
    expect_old_file(t, m, m.root / ('x' * 252))


def test_reopening_a_fifo_replaced_by_a_directory(t):
    """The reader of the old FIFO still gets the records."""
    m = t.monitor()
    fifo = m.root / 'fifo'
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    t.stack.callback(os.close, reader)
    t.create('wait @/go\nprint last\\n', monitor=m, log=f'k8s-file:{fifo}')
    fifo.rename(m.root / 'moved')
    fifo.mkdir()
    m.control('2 0 0\n')
    t.touch('go')
    m.finish(0)
    equal([record.content for record in parse(os.read(reader, 4096))], [b'last'])


def test_directory_removed(t):
    m = t.monitor()
    directory = m.root / 'logs'
    directory.mkdir()
    log = directory / 'ctr.log'
    t.create('fill 1 300 100\nwait @/go\nfill 1 300 100\nwait @/again\nprint last\\n', '--log-opt', 'k8s-file.max-size=440',
             '--log-opt', 'k8s-file.max-file=2', monitor=m, log=f'k8s-file:{log}')
    wait_for(lambda: log.exists() and log.stat().st_size > 400, 'the first records')
    log.unlink()
    directory.rmdir()
    t.touch('go')
    m.control('3 0 0\n')
    wait_for((m.bundle / 'log-status.json').exists, 'the status file')
    directory.mkdir()
    wait_for(log.exists, 'the new file')
    t.touch('again')
    m.finish(0)
    equal(parse(log.read_bytes())[-1].content, b'last')
    check_counters(status(m)[str(log)])


if __name__ == '__main__':
    main()
