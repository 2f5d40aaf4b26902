#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""External loggers with containerd's interface, in shell and in C."""

import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from receivers import check_sums, finish, HERE, launch, status_now  # noqa: E402
from harness import check, CID, equal, main, proc, slow, wait_for  # noqa: E402

LOGGER = os.environ.get('LOGGER', '')


def script(t, text):
    path = t.dir / 'logger'
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)
    return f'binary://{path}'


def test_shell(t):
    m = launch(t, 'print one\\n  two \\\\t\\n\neprint err\\n', f'binary://{HERE}/logger.sh?dir={t.dir}')
    finish(m)
    equal((t.dir / 'out').read_text(), 'out: one\nout:   two \\t\n')
    equal((t.dir / 'err').read_text(), 'err: err\n')
    equal((t.dir / 'container').read_text(), f'{CID} in default\n')


def test_page(t):
    """The logger in conmon-log-drivers(7), with another file."""
    page = (HERE.parents[2] / 'man/conmon-log-drivers.7').read_text()
    text = re.search(r'^This is a logger:\n.Bd -literal -offset indent\n#!/bin/sh\n(.*?)^.Ed', page, re.S | re.M).group(1)
    check('/var/log/containers.log' in text, text)
    text = text.replace('\\e', '\\').replace('/var/log/containers.log', str(t.dir / 'containers.log'))
    finish(launch(t, 'print one\\n  two \\\\t\\n\neprint err\\n\nprint no end', script(t, text)))
    lines = (t.dir / 'containers.log').read_text().splitlines()
    equal([line for line in lines if ' out ' in line], [f'{CID} out one', f'{CID} out   two \\t', f'{CID} out no end'])
    equal([line for line in lines if ' err ' in line], [f'{CID} err err'])


def test_c(t):
    """Every byte, in order."""
    m = launch(t, 'fill 1 20000000 100\neprint err\\0\\n\nprint tail', f'binary://{LOGGER}?out={t.dir}/out&err={t.dir}/err',
               'mode=blocking')
    sink = finish(m)
    out = (t.dir / 'out').read_bytes()
    equal((len(out), out[-5:], out.count(b'\n')), (20000004, b'\ntail', 200000))
    equal((t.dir / 'err').read_bytes(), b'err\0\n')
    equal(sink['out'], sink['in'])


def test_crashes(t):
    """The logger crashes repeatedly; the container is not affected, and no byte is lost or duplicated."""
    lines = 'sh i=0; while [ $i -lt 3000 ]; do echo "line $i of 3000"; i=$((i+1)); done'
    m = launch(t, lines, f'binary://{LOGGER}?out={t.dir}/out&err={t.dir}/err&crash=20000')
    sink = finish(m)
    expected = ''.join(f'line {i} of 3000\n' for i in range(3000))
    equal((t.dir / 'out').read_text(), expected)
    check(sink['starts'] > 1, f'{sink["starts"]} starts')


def test_missing_program(t):
    """It is refused at the start."""
    m = t.launch('exit 0', '--log-driver', 'binary:///nonexistent/logger', log='none')
    equal(m.wait_launcher(), 1)
    check('/nonexistent/logger' in m.stderr.read_text(), m.stderr.read_text())


def test_program_that_cannot_run(t):
    """It is retried with growing delays."""
    path = t.dir / 'logger'
    path.write_text('#!/nonexistent/shell\n')
    path.chmod(0o755)
    begin = time.monotonic()
    m = launch(t, 'print x\\n\nwait @/go', f'binary://{path}', 'drain-timeout=100ms')
    wait_for(lambda: status_now(m)['starts'] >= 4, 'four starts')
    check(time.monotonic() - begin > 0.1 + 0.2 + 0.4, 'the delays do not grow')
    t.touch('go')
    equal(finish(m)['unread'], 2)


def test_program_that_can_run_later(t):
    """Its interpreter is installed after the container has written output, which is not lost."""
    path = t.dir / 'logger'
    path.write_text(f'#!{t.dir}/shell\nexec 5>&-; exec cat <&3 >{t.dir}/out\n')
    path.chmod(0o755)
    m = launch(t, 'print early\\n\ntouch @/written\nwait @/go\nprint late\\n', f'binary://{path}')
    t.wait_file('written')
    (t.dir / 'shell').symlink_to('/bin/sh')
    t.touch('go')
    sink = finish(m)
    equal((t.dir / 'out').read_text(), 'early\nlate\n')
    equal((sink['in'], sink['unread']), ({'records': 2, 'bytes': 11}, 0))


def test_program_that_can_run_at_the_end(t):
    """After many attempts it works again within drain-timeout after the end, and reads what is left."""
    logger = script(t, f'[ -e {t.dir}/works ] || exit 1\ncat <&3 >{t.dir}/out')
    m = launch(t, 'print x\\n\nwait @/go', logger, 'drain-timeout=2s')
    wait_for(lambda: status_now(m)['starts'] >= 6, 'the sixth start')
    t.touch('go')
    wait_for(lambda: m.exit_file.exists(), 'the end')
    t.touch('works')
    finish(m)
    equal((t.dir / 'out').read_text(), 'x\n')


def test_does_not_read(t):
    """The logger does not read: the container runs to its end, and every byte is counted."""
    driver = script(t, 'exec 5>&-; exec sleep 1000')
    sink = finish(launch(t, 'fill 1 5000000 100\neprint err\\n', driver, 'drain-timeout=300ms'))
    equal(sink['in']['bytes'], 5000004)
    equal(sink['out']['bytes'], sink['unread'], 'bytes in the pipes')
    check(sink['dropped']['queue-full']['records'] > 0, 'nothing was dropped')


def test_reads_a_part(t):
    """It exits early, and its successors do not read: read, queued and dropped bytes add up to the output of
    the container."""
    driver = script(t, f'exec 5>&-; [ -e {t.dir}/part ] && exec sleep 1000; exec head -c 1000 <&3 >{t.dir}/part')
    sink = finish(launch(t, 'fill 1 5000000 100', driver, 'drain-timeout=300ms'))
    dropped = check_sums(sink)
    # head reads more than it writes.
    read = sink['in']['bytes'] - sink['unread'] - dropped
    check(len((t.dir / 'part').read_bytes()) == 1000 <= read <= 65536, f'read {read} bytes of {sink}')
    check(sink['starts'] > 1, f'{sink["starts"]} starts')


def test_writes_to_the_readiness_pipe(t):
    """It writes data to the descriptor that it should only close when it is ready."""
    driver = script(t, f'(head -c 1000000 /dev/urandom >&5); exec 5>&-; exec cat <&3 >{t.dir}/out')
    sink = finish(launch(t, 'fill 1 1000000 100', driver, 'mode=blocking'))
    equal(((t.dir / 'out').stat().st_size, sink['in'], sink['unread']), (1000000, sink['out'], 0))


def test_descriptors(t):
    """The logger has its three descriptors and /dev/null, and its own process group."""
    driver = script(t, f'ls -l /proc/self/fd >{t.dir}/list; echo $$ $(cut -d " " -f 5 /proc/$$/stat) >{t.dir}/group; '
                       'exec 5>&-; exec cat <&3 >/dev/null')
    m = launch(t, 'sleep 300', driver)
    finish(m)
    pid, group = (t.dir / 'group').read_text().split()
    equal(pid, group, 'process group')
    found = dict(re.findall(r' (\d+) -> (\S+)', (t.dir / 'list').read_text()))
    # The shell's script and the directory that ls reads are open, too.
    named = {number: target for number, target in found.items()
             if not target.startswith(('/proc', str(t.dir)))}
    equal(set(named), {'0', '2', '3', '4', '5'}, f'descriptors {found}')
    equal((named['0'], named['2']), ('/dev/null', '/dev/null'))


@slow(60)
def test_logger_that_does_not_exit(t):
    """The exit file does not wait for a logger that ignores the end of its input and SIGTERM; it is killed 12 s later."""
    driver = script(t, f'trap "echo >>{t.dir}/term" TERM; exec 5>&-; echo $$ >{t.dir}/pid; while :; do sleep 0.1; done')
    m = launch(t, 'wait @/go\nprint x\\n', driver, 'drain-timeout=100ms')
    t.wait_file('pid')
    pid = int(wait_for((t.dir / 'pid').read_text, 'the pid of the logger'))
    begin = time.monotonic()
    t.touch('go')
    m.finish(0)
    t.wait_file('term')
    check(proc.alive(pid), 'the monitor waited for the logger')
    waited = (m.persist / 'log-status.json').stat().st_mtime - m.exit_file.stat().st_mtime
    check(waited > 0.08, 'the exit file waited for the logger')
    wait_for(lambda: not proc.alive(pid), 'the end of the logger', 30)
    check(time.monotonic() - begin > 12, f'it was killed after {time.monotonic() - begin:.1f} s')


@slow(60)
def test_helper_that_outlives_the_logger(t):
    """Processes that the logger has started are killed with its process group, 12 s after its end. The
    monitor does not wait for that before the exit command, however the logger ends."""
    helper = 'trap "" TERM; (exec 3<&- 4<&- 5>&-; echo $BASHPID >{0}; exec sleep 1000) & exec 5>&-; '
    ways = {'input': 'exec cat <&3 >/dev/null', 'term': 'trap "exit 0" TERM; while :; do sleep 0.1; done'}
    helpers = []
    begin = time.monotonic()
    for name, end in ways.items():
        path = t.dir / f'logger-{name}'
        path.write_text('#!/bin/bash\n' + helper.format(t.dir / name) + end + '\n')
        path.chmod(0o755)
        m = t.create(f'wait @/go-{name}\nprint x\\n', '--log-driver', f'binary://{path}', '--log-opt',
                     'drain-timeout=100ms', '--exit-command', '/bin/true', monitor=t.monitor(name))
        helpers.append(int(wait_for(lambda: (t.dir / name).exists() and (t.dir / name).read_text(), 'the helper')))
        t.touch(f'go-{name}')
        m.finish(0, timeout=8)
    check(all(proc.alive(pid) for pid in helpers), 'the helpers were killed early')
    wait_for(lambda: not any(proc.alive(pid) for pid in helpers), 'the end of the helpers', 30)
    check(time.monotonic() - begin > 12, f'they were killed after {time.monotonic() - begin:.1f} s')


if __name__ == '__main__':
    main()
