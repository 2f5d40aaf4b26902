#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""A log on a stalled disk: on a frozen ext4 write(2) blocks and can't be interrupted. Everything else must continue."""

import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import (  # noqa: E402
    check, content, context_switches, differs, equal, main, needs_root, status_field, tool, wait_for)
from harness.attach import STDERR, STDOUT
from harness.check import scaled
from harness.logs import parse
from test_end import mount_disk, with_strace

WHY = differs('the reference blocks until the disk continues')


class Disk:
    def __init__(self, t):
        self.path = mount_disk(t)
        t.stack.callback(self.thaw)
        self.frozen = False

    def freeze(self):
        subprocess.run(['fsfreeze', '-f', self.path], check=True)
        self.frozen = True

    def thaw(self):
        if self.frozen:
            subprocess.run(['fsfreeze', '-u', self.path], check=True)
        self.frozen = False


def start(t, container, *extra, options=(), **kwargs):
    disk = Disk(t)
    log = disk.path / 'ctr.log'
    log_options = [word for option in options for word in ('--log-opt', option)]
    m = t.create(container, *log_options, *extra, log=f'k8s-file:{log}', **kwargs)
    return disk, log, m


def threads(m):
    return int(status_field(m.pid, 'Threads'))


def logged(log):
    return content(parse(log.read_bytes()))


def ends_at_once(t, m, disk, code, begin):
    wait_for(m.exit_file.exists, 'the exit file')
    took = time.monotonic() - begin
    check(disk.frozen and not m.ended(), 'the log was not stalled')
    check(took < scaled(1.5), f'the exit file came after {took:.1f} s')
    equal(m.exit_file.read_text(), str(code))


@needs_root
@WHY
def test_record_and_clients(t):
    """The container writes, waits and ends while the disk is frozen."""
    disk, log, m = start(t, 'print one\\n\nwait @/go\nprint two\\n\nwait @/more\nprint three\\n\nwait @/end\nexit 3')
    wait_for(lambda: logged(log) == b'one\n', 'the first line')
    client = m.attach()
    disk.freeze()
    t.touch('go')
    client.until(b'two\n')
    t.touch('more')
    client.until(b'three\n')
    begin = time.monotonic()
    t.touch('end')
    client.to_end()
    ends_at_once(t, m, disk, 3, begin)
    disk.thaw()
    m.finish(3)
    equal(logged(log), b'one\ntwo\nthree\n')


@needs_root
@WHY
def test_signals(t):
    disk, log, m = start(t, 'print one\\n\nwait @/go\nprint two\\n\npause')
    client = m.attach()
    wait_for(lambda: logged(log) == b'one\n', 'the first line')
    disk.freeze()
    t.touch('go')
    client.until(b'two\n')
    begin = time.monotonic()
    os.kill(m.pid, signal.SIGTERM)
    ends_at_once(t, m, disk, 143, begin)
    disk.thaw()
    m.finish(143)
    equal(logged(log), b'one\ntwo\n')


@needs_root
@WHY
def test_last_words(t):
    """The write at the end of the container blocks."""
    disk, log, m = start(t, 'wait @/go\nprint last\\n\nexit 3')
    disk.freeze()
    begin = time.monotonic()
    t.touch('go')
    ends_at_once(t, m, disk, 3, begin)
    disk.thaw()
    m.finish(3)
    equal(logged(log), b'last\n')
    sink = json.loads((m.persist / 'log-status.json').read_text())['sinks'][0]
    equal((sink['queued']['records'], sink['out']['records']), (0, 1), 'queued and delivered, in the end')


def whole_status(m):
    m.control('3 0 0\n')
    path = m.bundle / 'log-status.json'
    wait_for(path.exists, 'the status')
    status = json.loads(path.read_text())
    path.unlink()
    return status


def status_of(m):
    return whole_status(m)['sinks'][0]


def lost(status):
    """The losses of all causes together."""
    return {key: sum(cause[key] for cause in status['dropped'].values()) for key in ('records', 'bytes')}


SIZE = 8 << 20


@needs_root
@WHY
def test_container_waits_for_a_blocking_log(t):
    """The queue has its usual limit, and nothing is lost."""
    disk, log, m = start(t, f'print one\\n\nwait @/go\nfill 1 {SIZE} 100\ntouch @/written\nexit 3')
    wait_for(lambda: logged(log) == b'one\n', 'the first line')
    disk.freeze()
    t.touch('go')
    time.sleep(1)
    check(not (t.dir / 'written').exists(), 'the container did not wait')
    queued = status_of(m)['queued']['bytes']
    check(500_000 < queued < 2_000_000, f'{queued} bytes are queued')
    disk.thaw()
    m.finish(3)
    equal(len(logged(log)), SIZE + 4)


@needs_root
@WHY
def test_log_that_does_not_block_drops(t):
    disk, log, m = start(t, f'print one\\n\nwait @/go\nfill 1 {SIZE} 100\ntouch @/written\nwait @/end\nexit 3',
                         options=['k8s-file.mode=non-blocking'])
    wait_for(lambda: logged(log) == b'one\n', 'the first line')
    disk.freeze()
    t.touch('go')
    t.wait_file('written')
    wait_for(lambda: lost(status_of(m))['records'] > 0, 'a loss')
    disk.thaw()
    wait_for(lambda: status_of(m)['queued']['records'] == 0, 'an empty queue')
    status = status_of(m)
    t.touch('end')
    m.finish(3)
    equal(status['in']['bytes'], SIZE + 4)
    equal(status['in'], {key: status['out'][key] + lost(status)[key] for key in ('records', 'bytes')}, 'in')
    check(b'records dropped' in log.read_bytes(), 'the loss was not reported in the log')


@needs_root
@WHY
def test_log_continues(t):
    """After the thaw logging works as before, and the monitor is idle."""
    disk, log, m = start(t, 'print one\\n\nwait @/go\nprint two\\n\nwait @/more\nprint three\\n\nwait @/end\nexit 3')
    wait_for(lambda: logged(log) == b'one\n', 'the first line')
    disk.freeze()
    t.touch('go')
    time.sleep(1)
    disk.thaw()
    wait_for(lambda: logged(log) == b'one\ntwo\n', 'the second line')
    t.touch('more')
    wait_for(lambda: logged(log) == b'one\ntwo\nthree\n', 'the third line')
    equal(status_of(m)['queued']['records'], 0)

    def quiet():
        before = context_switches(m.pid)
        time.sleep(1)
        return context_switches(m.pid) == before
    wait_for(quiet, 'quiet', 20)
    t.touch('end')
    m.finish(3)


@needs_root
@WHY
def test_rotation(t):
    """A request for rotation is executed after the thaw."""
    disk, log, m = start(t, 'print one\\n\nwait @/go\nprint two\\n\nwait @/more\nprint three\\n\nwait @/end\nexit 3')
    wait_for(lambda: logged(log) == b'one\n', 'the first line')
    log.rename(disk.path / 'old')
    disk.freeze()
    m.control('2 0 0\n')
    wait_for(lambda: status_field(m.pid, 'State').startswith('D'), 'the rotation to stall')
    client = m.attach()
    t.touch('go')
    client.until(b'two\n')
    disk.thaw()
    wait_for(lambda: log.exists() and logged(log) == b'two\n', 'the new log')
    disk.freeze()
    t.touch('more')
    client.until(b'three\n')
    m.control('2 0 0\n')
    time.sleep(0.5)
    disk.thaw()
    wait_for(lambda: logged(log) == b'', 'the new log of the same name')
    t.touch('end')
    m.finish(3)
    equal(logged(log), b'')
    equal((disk.path / 'old').read_bytes().count(b'one'), 1)


@needs_root
@differs('the reference has no such driver')
def test_passthrough_to_a_file(t):
    """The monitor's own stdout is a file."""
    disk = Disk(t)
    out = disk.path / 'out'
    fd = os.open(out, os.O_WRONLY | os.O_CREAT)
    m = t.launch('print one\\n\nwait @/go\nprint two\\n\nexit 3', '-l', 'passthrough', '--log-opt',
                 'passthrough.tee=yes', spawn={'stdio': {1: fd}})
    os.close(fd)
    m.go().created().wait_log(b'one')
    wait_for(lambda: out.read_bytes() == b'one\n', 'the first line')
    disk.freeze()
    begin = time.monotonic()
    t.touch('go')
    ends_at_once(t, m, disk, 3, begin)
    disk.thaw()
    m.finish(3)
    equal((out.read_bytes(), content(m.records())), (b'one\ntwo\n', b'one\ntwo\n'))


@needs_root
@WHY
def test_exec_that_ends_at_once(t):
    """Output that was held back while the runtime worked is written to a log that has stalled meanwhile."""
    disk = Disk(t)
    log = disk.path / 'ctr.log'
    m = t.launch('print held\\n\ntouch @/done\nexit 3', mode='exec', runtime='container\nwait @/over\npidfile',
                 log=f'k8s-file:{log}')
    m.go()
    t.wait_file('done')
    disk.freeze()
    begin = time.monotonic()
    t.touch('over')
    m.created()
    equal(m.sync.message(), {'data': 3})
    ends_at_once(t, m, disk, 3, begin)
    disk.thaw()
    m.finish(3)
    equal(logged(log), b'held\n')


@needs_root
@WHY
def test_exec_that_continues(t):
    """Output that was held back while the runtime worked comes before later output, in the log and for clients."""
    disk = Disk(t)
    log = disk.path / 'ctr.log'
    m = t.launch('fill 1 30000 5\neprint held\\n\ntouch @/done\nwait @/go\nprint later\\n\neprint more\\n\nexit 3',
                 '--exec-attach', mode='exec', runtime='container\nwait @/over\npidfile', log=f'k8s-file:{log}',
                 pipes=('sync', 'start', 'attach'))
    m.go()
    m.attach_pipe.message()
    client = m.attach()
    m.start.go()
    t.wait_file('done')
    disk.freeze()
    t.touch('over')
    m.created()
    time.sleep(0.5)
    begin = time.monotonic()
    t.touch('go')
    client.to_end()
    ends_at_once(t, m, disk, 3, begin)
    disk.thaw()
    m.finish(3)
    records = parse(log.read_bytes())
    for where, stdout, stderr in (('log', content(records), content(records, 'stderr')),
                                  ('client', client.data[STDOUT], client.data[STDERR])):
        equal((len(stdout), bytes(stdout[-6:])), (30006, b'later\n'), f'the output in the {where}')
        equal(bytes(stderr), b'held\nmore\n', f'the errors in the {where}')


@needs_root
@WHY
def test_exit_command(t):
    disk, log, m = start(t, 'print one\\n\nwait @/go\nprint two\\n\nexit 3',
                         '--exit-command', '/usr/bin/touch', '--exit-command-arg', '@/cleaned')
    wait_for(lambda: logged(log) == b'one\n', 'the first line')
    disk.freeze()
    t.touch('go')
    t.wait_file('cleaned')
    disk.thaw()
    m.finish(3)
    equal(logged(log), b'one\ntwo\n')


@needs_root
@WHY
def test_second_log(t):
    """A log on another disk gets all records, too, but possibly later."""
    second = t.dir / 'second.log'
    disk, log, m = start(t, 'print one\\n\nwait @/go\nprint two\\n\nwait @/end\nprint three\\n\nexit 3',
                         '--log-driver', f'json-file:{second}')
    wait_for(lambda: logged(log) == b'one\n', 'the first line')
    disk.freeze()
    begin = time.monotonic()
    t.touch('go')
    time.sleep(0.5)
    t.touch('end')
    ends_at_once(t, m, disk, 3, begin)
    disk.thaw()
    m.finish(3)
    equal(logged(log), b'one\ntwo\nthree\n')
    equal([json.loads(line)['log'] for line in second.read_text().splitlines()], ['one\n', 'two\n', 'three\n'])


@WHY
def test_fifo_on_a_stalled_disk(t):
    """Opening a FIFO again, which has no reader, takes 4 s: open(2) with O_CREAT may wait for the disk."""
    m = t.monitor()
    fifo = t.dir / 'fifo'
    os.mkfifo(fifo)
    argv = t.arguments(m, conmon_pidfile=False) + ['--log-driver', f'k8s-file:{fifo}']
    with_strace(t, m, 'openat', '4s:when=2+', argv, t.traced_environment('print hello\\n\nwait @/go\nexit 3'), fifo)
    m.created()
    m.wait_log(b'hello')
    time.sleep(0.3)
    begin = time.monotonic()
    t.touch('go')
    wait_for(m.exit_file.exists, 'the exit file')
    check(time.monotonic() - begin < scaled(2), f'the exit file came after {time.monotonic() - begin:.1f} s')
    m.wait(30)


@needs_root
@differs('the reference does not compress')
def test_compression_during_the_stall(t):
    """An old file was compressed, and is not replaced before the disk continues."""
    tool('strace')
    disk = Disk(t)
    log, temp = disk.path / 'ctr.log', disk.path / 'ctr.log.gz.tmp'
    m = t.monitor()
    argv = t.arguments(m, conmon_pidfile=False, log=f'k8s-file:{log}')
    m.spawn(['/usr/bin/strace', '-f', '-qq', '-o', '/dev/null', '-e', 'trace=fdatasync', '-e',
             'inject=fdatasync:delay_exit=2s', t.program, *argv, '--sync', '--log-opt', 'k8s-file.max-size=100k',
             '--log-opt', 'k8s-file.max-file=3', '--log-opt', 'k8s-file.compress=true'],
            t.traced_environment('fill 1 100000 100\nwait @/go\nprint two\\n\nwait @/more\nprint three\\n\nexit 3'),
            ('sync', 'start'))
    m.start.go()
    wait_for(lambda: temp.exists() and temp.stat().st_size > 0, 'a compressed file')
    client = m.attach()
    disk.freeze()
    t.touch('go')
    client.until(b'two\n')
    time.sleep(3)
    begin = time.monotonic()
    t.touch('more')
    client.to_end()
    ends_at_once(t, m, disk, 3, begin)
    check(client.data[STDOUT].endswith(b'three\n'), 'the client did not get all output')
    disk.thaw()
    m.wait(30)
    equal(sorted(path.name for path in disk.path.glob('ctr.log*')), ['ctr.log', 'ctr.log.1', temp.name])
    equal(len(logged(disk.path / 'ctr.log.1')) + len(logged(log)), 100010)


@differs('the reference drops the rest')
def test_stale_file_handle(t):
    """ESTALE, as from an NFS server: the file is opened again by name."""
    tool('strace')
    m, old = t.monitor(), t.dir / 'old.log'
    old.touch()
    m.log.touch()
    argv = t.arguments(m, conmon_pidfile=False)
    m.spawn(['/usr/bin/strace', '-f', '-qq', '-o', '/dev/null', '-P', str(old), '-e', 'trace=write', '-e',
             'inject=write:error=ESTALE', t.program, *argv, '--sync'],
            t.traced_environment('print one\\n\nwait @/go\nprint two\\n\nprint three\\n\nexit 3'), ('sync', 'start'))
    m.start.go()
    m.wait_log(b'one')
    m.log.rename(old)
    m.log.touch()
    t.touch('go')
    m.wait(30)
    equal(m.exit_file.read_text(), '3')
    equal((logged(old), logged(m.log)), (b'one\n', b'two\nthree\n'))


def test_second_thread_only_during_output(t):
    m = t.create('wait @/go\nprint one\\n\nwait @/end\nexit 3')
    equal(threads(m), 1, 'threads before the first line')
    t.touch('go')
    m.wait_log(b'one')
    wait_for(lambda: threads(m) == 1, 'one thread', 5)
    t.touch('end')
    m.finish(3)


@needs_root
@differs('the reference has no configuration')
def test_requests_during_a_stall(t):
    """Each request is answered, in order. New log files come after the stall."""
    config = t.dir / 'conmon.conf'
    config.write_text('')
    disk, log, m = start(t, 'print one\\n\nwait @/go\nprint two\\n\nwait @/end\nprint three\\n\nexit 3',
                         '--config', str(config))
    wait_for(lambda: logged(log) == b'one\n', 'the first line')
    client = m.attach()
    log.rename(disk.path / 'old')
    disk.freeze()
    m.control('2 0 0\n5 0 0\n')
    t.touch('go')
    request = whole_status(m)['request']
    equal((request['kind'], request['result']), ('reload', 'failed'))
    m.control('4 0 0\n')
    request = whole_status(m)['request']
    equal((request['kind'], request['result']), ('upgrade', 'failed'))
    client.until(b'two\n')
    check(not log.exists(), 'the disk was not frozen')
    disk.thaw()
    wait_for(lambda: log.exists() and logged(log) == b'two\n', 'the new log')
    m.control('5 0 0\n')
    equal(whole_status(m)['request']['result'], 'ok')
    t.touch('end')
    m.finish(3)
    equal(logged(log), b'two\nthree\n')


@needs_root
@differs('the reference does not rotate')
def test_no_rotation_after_the_record(t):
    """The caller may have started another container with this log: output that waits exceeds max-size instead."""
    disk, log, m = start(t, 'print one\\n\nwait @/go\nprint two\\n\nwait @/more\nfill 1 3000 100\nexit 3',
                         options=['k8s-file.max-size=1k', 'k8s-file.max-file=3'])
    wait_for(lambda: logged(log) == b'one\n', 'the first line')
    client = m.attach()
    disk.freeze()
    t.touch('go')
    client.until(b'two\n')
    begin = time.monotonic()
    t.touch('more')
    ends_at_once(t, m, disk, 3, begin)
    disk.thaw()
    m.finish(3)
    equal([path.name for path in disk.path.glob('ctr.log*')], ['ctr.log'])
    equal(len(logged(log)), 3008)


@needs_root
@WHY
def test_no_reopen_after_the_record(t):
    disk, log, m = start(t, 'print one\\n\nwait @/go\nprint two\\n\nwait @/more\nprint three\\n\nexit 3')
    wait_for(lambda: logged(log) == b'one\n', 'the first line')
    client = m.attach()
    log.rename(disk.path / 'old')
    disk.freeze()
    t.touch('go')
    client.until(b'two\n')
    m.control('2 0 0\n')
    status_of(m)
    begin = time.monotonic()
    t.touch('more')
    ends_at_once(t, m, disk, 3, begin)
    disk.thaw()
    m.finish(3)
    check(not log.exists(), 'there is a new log')
    equal(logged(disk.path / 'old'), b'one\ntwo\nthree\n')


def traced(t, script, inject, *options, extra=()):
    """A monitor with a log on a disk of its own, and strace, which delays calls. Returns as start does."""
    tool('strace')
    disk = Disk(t)
    log = disk.path / 'ctr.log'
    m = t.monitor()
    log_options = [word for option in options for word in ('--log-opt', f'k8s-file.{option}')]
    argv = [*t.arguments(m, conmon_pidfile=False, log=f'k8s-file:{log}'), *map(t.expand, extra)]
    m.spawn(['/usr/bin/strace', '-f', '-qq', '-o', '/dev/null', *inject, t.program, *argv, '--sync', *log_options],
            t.traced_environment(script), ('sync', 'start'))
    m.start.go()
    m.created()
    return disk, log, m


COMPRESSING = ('max-size=100k', 'max-file=3', 'compress=true')


@needs_root
@differs('the reference does not compress')
def test_compressed_file_on_a_stalled_disk(t):
    """It replaces the old file when the disk continues; the loop does not wait for that."""
    disk, log, m = traced(t, 'fill 1 100000 100\nwait @/go\nprint two\\n\nwait @/end\nexit 3',
                          ['-e', 'trace=fdatasync', '-e', 'inject=fdatasync:delay_exit=2s'], *COMPRESSING)
    temp = disk.path / 'ctr.log.gz.tmp'
    wait_for(lambda: temp.exists() and temp.stat().st_size > 0, 'a compressed file')
    client = m.attach()
    disk.freeze()
    time.sleep(3)
    t.touch('go')
    client.until(b'two\n', timeout=2)
    disk.thaw()
    wait_for(lambda: not temp.exists(), 'the end of the compression')
    wait_for(lambda: logged(log).endswith(b'two\n'), 'the second line')
    t.touch('end')
    m.wait(30)
    equal(sorted(path.name for path in disk.path.glob('ctr.log*')), ['ctr.log', 'ctr.log.1.gz'])


@needs_root
@differs('the reference does not compress')
def test_start_of_compression(t):
    """Opening the files takes three seconds; the container ends meanwhile."""
    disk, log, m = traced(t, 'wait @/go\nfill 1 100000 100\nprint two\\n\nwait @/end\nexit 3',
                          ['-P', 'ctr.log.gz.tmp', '-e', 'trace=unlinkat', '-e', 'inject=unlinkat:delay_enter=3s'],
                          *COMPRESSING)
    client = m.attach()
    t.touch('go')
    client.until(b'two\n', timeout=2)
    begin = time.monotonic()
    t.touch('end')
    wait_for(m.exit_file.exists, 'the exit file')
    took = time.monotonic() - begin
    check(took < scaled(1.5), f'the exit file came after {took:.1f} s')
    m.wait(30)
    equal(sorted(path.name for path in disk.path.glob('ctr.log*')), ['ctr.log', 'ctr.log.1'])


@needs_root
@differs('the reference does not compress')
def test_end_during_compression_on_a_stalled_disk(t):
    """The compressed file is not removed before the disk continues; the exit command does not wait for that."""
    disk, log, m = traced(t, 'fill 1 100000 100\nwait @/end\nexit 3',
                          ['-e', 'trace=fdatasync', '-e', 'inject=fdatasync:delay_exit=4s'], *COMPRESSING,
                          extra=('--exit-command', '/usr/bin/touch', '--exit-command-arg', '@/cleaned'))
    temp = disk.path / 'ctr.log.gz.tmp'
    wait_for(lambda: temp.exists() and temp.stat().st_size > 0, 'a compressed file')
    disk.freeze()
    begin = time.monotonic()
    t.touch('end')
    ends_at_once(t, m, disk, 3, begin)
    t.wait_file('cleaned', 2)
    check(temp.exists(), 'the disk was not frozen')
    disk.thaw()
    m.wait(30)
    equal(sorted(path.name for path in disk.path.glob('ctr.log*')), ['ctr.log', 'ctr.log.1'])


@needs_root
@differs('the reference has no configuration')
def test_reload_with_a_log_on_a_stalled_disk(t):
    """It is refused; requests after it are answered, and nothing has changed."""
    disk = Disk(t)
    config = t.dir / 'conmon.conf'
    config.write_text('')
    m = t.create('print one\\n\nwait @/go\nprint two\\n\nwait @/end\nexit 3', '--config', str(config))
    m.wait_log(b'one')
    config.write_text(f'[defaults]\ndriver = json-file:{disk.path}/{{{{.Name}}}}\n')
    client = m.attach()
    disk.freeze()
    begin = time.monotonic()
    m.control('5 0 0\n')
    status = whole_status(m)
    took = time.monotonic() - begin
    check(took < scaled(2), f'the answer came after {took:.1f} s')
    equal((status['request']['kind'], status['request']['result']), ('reload', 'failed'))
    check('does not answer' in status['request']['message'], status['request']['message'])
    equal([sink['name'] for sink in status['sinks']], ['k8s-file'])
    t.touch('go')
    client.until(b'two\n')
    m.wait_log(b'two')
    m.control('5 0 0\n')
    check('does not answer' in whole_status(m)['request']['message'], 'the second reload was not refused')
    disk.thaw()

    def reloaded():
        m.control('5 0 0\n')
        return whole_status(m)['request']['result'] == 'ok'
    wait_for(reloaded, 'a reload')
    t.touch('end')
    m.finish(3)


@needs_root
@WHY
def test_slow_disk(t):
    """Each write takes 150 ms, too short for a stall. After some of them clients do not wait for the next ones."""
    times = []
    script = 'print first\\n\n' + ''.join(f'wait @/go{i}\nprint {i}\\n\n' for i in range(20)) + 'wait @/end\nexit 3'
    disk, log, m = traced(t, script, ['-P', str(t.dir / 'disk/ctr.log'), '-e', 'trace=write', '-e',
                                      'inject=write:delay_enter=150ms'])
    client = m.attach()
    for i in range(20):
        begin = time.monotonic()
        t.touch(f'go{i}')
        client.until(f'{i}\n'.encode())
        times.append(time.monotonic() - begin)
    print(*(f'{took * 1000:.0f}' for took in times), 'ms')
    took = sorted(times)[15]
    check(took < scaled(0.1), f'clients waited for {took * 1000:.0f} ms')
    m.control('5 0 0\n')
    equal(whole_status(m)['request']['result'], 'ok', 'a request during slow writes')
    t.touch('end')
    m.wait(30)
    equal(logged(log), b''.join([b'first\n', *(f'{i}\n'.encode() for i in range(20))]))


if __name__ == '__main__':
    main()
