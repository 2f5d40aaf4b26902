#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The ctl and winsz FIFOs: resizing, reopening, and invalid lines."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import check, content, descriptors, differs, equal, Inotify, main, parse, skip, wait_for  # noqa: E402


def terminal(t, **kwargs):
    """A container that prints each new size of its terminal, and a client that reads it."""
    m = t.create('ignore 1\nwait @/go\nwinch', '-t', **kwargs)
    client = m.attach()
    t.touch('go')
    client.until(b'0x0\r\n')
    return m, client


def resized(m, client, rows, columns):
    """Resizes to a new size and waits for it."""
    m.control(f'1 {rows} {columns}\n')
    client.until(f'{rows}x{columns}\r\n'.encode())


def sizes(client):
    return client.data[2].split()


@differs('no signal if the size is equal')
def test_equal_size(t):
    """Callers send the size again on attach: the program gets SIGWINCH and redraws."""
    m, client = terminal(t)
    resized(m, client, 24, 80)
    m.control('1 24 80\n')
    client.until(b'24x80\r\n24x80\r\n')


def test_resize(t):
    m, client = terminal(t)
    resized(m, client, 24, 80)
    resized(m, client, 50, 132)


def test_rows_come_first(t):
    m, client = terminal(t)
    m.control('1 1 2\n')
    client.until(b'1x2\r\n')


def test_limits(t):
    """0 to 1000."""
    m, client = terminal(t)
    resized(m, client, 1000, 1000)
    resized(m, client, 1, 1000)
    resized(m, client, 1000, 1)


@differs('limits since release 2.2.0')
def test_sizes_out_of_range(t):
    m, client = terminal(t)
    for line in ('1 1001 10', '1 10 1001', '1 -1 10', '1 10 -1', '1 100000 100000', '1 4294967306 10',
                 '1 99999999999999999999 10'):
        m.control(line + '\n')
    resized(m, client, 7, 8)
    equal(sizes(client), [b'0x0', b'7x8'])


@differs('limits since release 2.2.0; a bad line drops what was read with it')
def test_invalid_lines(t):
    """An invalid line is ignored, the next one is valid."""
    m, client = terminal(t)
    for line in ('foo', '999', '999 2 2', '1 2', '1', '', ' ', '1 10.5 20.3', '1 0x10 0x20', '1 -1 -1', '3 1 1',
                 '0 5 5', '1 a b', '1,2,3', 'ä ö ü', '1 2 x', '\x00\x01\x02', '-1 5 5'):
        m.control(line + '\n')
    resized(m, client, 7, 8)
    equal(sizes(client), [b'0x0', b'7x8'])


@differs('a bad line drops what was read with it')
def test_invalid_lines_in_one_write(t):
    """An invalid line does not affect others of the same write."""
    m, client = terminal(t)
    m.control('foo\n1 5\n1 3 4\nbar\n')
    client.until(b'3x4\r\n')


def test_extra_words(t):
    m, client = terminal(t)
    m.control('1 2 3 4 5 six\n')
    client.until(b'2x3\r\n')


def test_leading_zeros_are_decimal(t):
    m, client = terminal(t)
    m.control('1 010 0020\n')
    client.until(b'10x20\r\n')


def test_blanks(t):
    m, client = terminal(t)
    m.control('  1   12\t 34  \n')
    client.until(b'12x34\r\n')


@differs('a long line is part of what was read with it')
def test_over_long_lines(t):
    """A line that is too long is dropped as a whole; the next line is valid."""
    m, client = terminal(t)
    for length in (199, 200, 201, 4096, 4097, 65536):
        m.control('1 2 2 ' + '#' * (length - 6))
        time.sleep(0.005)
        m.control('\n')
    resized(m, client, 7, 8)
    check(sizes(client)[-1] == b'7x8', f'{sizes(client)}')
    check(b'2x2' not in sizes(client)[2:] or len(sizes(client)) <= 4, f'{sizes(client)}')


def test_line_in_pieces(t):
    """A line may be written in several pieces."""
    m, client = terminal(t)
    for piece in ('1', ' 3', '1 ', '4', '2\n'):
        m.control(piece)
        time.sleep(0.01)
    client.until(b'31x42\r\n')


def test_line_without_newline_is_not_a_line(t):
    m, client = terminal(t)
    m.control('1 5 5')
    time.sleep(0.05)
    equal(sizes(client), [b'0x0'])
    m.control('5\n')
    client.until(b'5x55\r\n')


@differs('the reference parses a message of several lines again from its start')
def test_burst(t):
    """The last of many resizes takes effect."""
    m, client = terminal(t)
    for number in range(1, 300):
        m.control(f'1 {number} {number + 1}\n')
    client.until(b'299x300\r\n')


@differs('the reference parses a message of several lines again from its start')
def test_burst_in_one_write(t):
    """Resizes and reopens mixed in one write."""
    m, client = terminal(t)
    m.control(''.join(f'1 {number} 9\n2 0 0\n' for number in range(1, 100)))
    client.until(b'99x9\r\n')


def test_winsz(t):
    """Lines with rows and columns for the terminal."""
    m, client = terminal(t)
    m.control('33 44\n', 'winsz')
    client.until(b'33x44\r\n')


def test_winsz_with_wrong_lines(t):
    if t.reference:
        skip('limits since release 2.2.0; a bad line drops what was read with it')
    m, client = terminal(t)
    for line in ('foo', '1', '-1 5', '1001 1', '1 1001', '', '#' * 3000, '1.5 2', '1 x'):
        m.control(line + '\n', 'winsz')
    m.control('33 44\n', 'winsz')
    client.until(b'33x44\r\n')
    equal(sizes(client), [b'0x0', b'33x44'])


def test_pieces_in_both(t):
    """Partial lines of the two FIFOs are independent."""
    if t.reference:
        skip('the reference has one buffer for both')
    m, client = terminal(t)
    m.control('1 3')
    time.sleep(0.01)
    m.control('44 ', 'winsz')
    time.sleep(0.01)
    m.control('3 34\n')
    client.until(b'33x34\r\n')
    m.control('55\n', 'winsz')
    client.until(b'44x55\r\n')


def test_readers_stay_open(t):
    """Callers open the FIFO without blocking, and ENXIO is an error to them."""
    m, client = terminal(t)
    for fifo in ('ctl', 'winsz'):
        for _ in range(20):
            os.close(os.open(m.bundle / fifo, os.O_WRONLY | os.O_NONBLOCK))
    resized(m, client, 7, 8)


def test_readers_are_open_early(t):
    """A resize can be written before the runtime is executed; it is applied when the terminal is received."""
    m = t.launch('wait @/go\nwinsize', '--exec-attach', '-t', mode='exec', pipes=('sync', 'start', 'attach')).go()
    equal(m.attach_pipe.message(), {'data': 0})
    m.control('1 21 43\n')
    client = m.attach()
    m.start.go()
    m.created()
    time.sleep(0.1)
    t.touch('go')
    equal(client.to_end(), b'21x43\r\n')
    m.finish(0)


def test_resize_right_after_create(t):
    """A resize that arrives before the terminal is not lost."""
    m = t.create('wait @/go\nwinsize', '-t')
    m.control('1 21 43\n')
    client = m.attach()
    time.sleep(0.1)
    t.touch('go')
    equal(client.to_end(), b'21x43\r\n')
    m.finish(0)


def test_resize_without_a_terminal(t):
    """Ignored, any number of times."""
    m = t.create('wait @/go\nprint out\\n\nexit 3')
    for number in range(2 if t.reference else 12000):
        try:
            m.control('1 24 80\n')
        except BlockingIOError:
            time.sleep(0.001)
    t.touch('go')
    m.finish(3)
    equal(content(m.records()), b'out\n')


def test_reopen(t):
    """A new file with the same name is created; the old one is left as it is."""
    m = t.create('print one\\n\nwait @/go\nprint two\\n\nwait @/end')
    m.wait_log(b'one')
    watch = Inotify(m.root)
    moved = m.root / 'moved.log'
    os.rename(m.log, moved)
    m.control('2 0 0\n')
    watch.until('moved-to', m.log.name)
    t.touch('go')
    m.wait_log(b'two')
    t.touch('end')
    m.finish(0)
    equal(content(parse(moved.read_bytes())), b'one\n')
    equal(content(m.records()), b'two\n')


def test_reopen_creates_a_directory_entry(t):
    """CRI-O waits for an inotify event even if the file was not renamed."""
    m = t.create('print one\\n\nwait @/go\nprint two\\n')
    m.wait_log(b'one')
    watch = Inotify(m.root)
    m.control('2 0 0\n')
    watch.until('moved-to', m.log.name)
    t.touch('go')
    m.finish(0)
    equal(content(m.records()), b'two\n')


def test_log_is_never_missing(t):
    """The name of the log exists at any time during a reopen."""
    m = t.create('fill 1 20000000 100')
    for _ in range(100):
        m.control('2 0 0\n')
        check(m.log.exists(), 'the log file was missing')
    m.finish(0)
    parse(m.log.read_bytes())


def test_reopen_without_a_log(t):
    for driver in ('none', 'journald'):
        m = t.create(f'wait @/{driver}\nexit 3', log=driver, monitor=t.monitor(driver + 'x'))
        m.control('2 0 0\n')
        t.touch(driver)
        m.finish(3)


def test_reopen_in_a_removed_directory(t):
    """Records are lost, but the monitor runs on."""
    if t.reference:
        skip('a failing log neither ends nor blocks the monitor, and lost records are counted')
    m = t.monitor()
    logs = m.root / 'logs'
    logs.mkdir()
    t.create('print one\\n\nwait @/go\nprint two\\n\nexit 3', log=f'k8s-file:{logs}/ctr.log', monitor=m)
    wait_for(lambda: (logs / 'ctr.log').stat().st_size > 0, 'the first line')
    os.rename(logs, m.root / 'moved')
    m.control('2 0 0\n')
    t.touch('go')
    m.finish(3)


def test_reopen_with_wrong_numbers(t):
    """The other two numbers are required, with any values."""
    m = t.create('print one\\n\nwait @/go')
    m.wait_log(b'one')
    for line in ('2\n', '2 0\n', '2 x y\n'):
        m.control(line)
        time.sleep(0.02)
    check(b'one' in m.log.read_bytes(), 'reopened')
    m.control('2 1 1\n')
    wait_for(lambda: b'one' not in m.log.read_bytes(), 'the reopened file')
    t.touch('go')
    m.finish(0)


@differs('a failing log neither ends nor blocks the monitor, and lost records are counted')
def test_bad_input_leaks_nothing(t):
    """Descriptors and memory do not grow with any amount of invalid input."""
    m, client = terminal(t)
    before = m.stable_descriptors()
    blob = os.urandom(60000).replace(b'\n', b'x')
    for fifo in ('ctl', 'winsz'):
        for chunk in (blob, b'\n' * 5000, b'1 ' * 5000 + b'\n', b'1 2 3 ' * 500 + b'\n'):
            for _ in range(5):
                fd = os.open(m.bundle / fifo, os.O_WRONLY)
                os.write(fd, chunk)
                os.close(fd)
        m.control('\n', fifo)
    resized(m, client, 77, 88)
    equal(descriptors(m.pid), before, 'descriptors')


def test_removed_fifo(t):
    """The monitor runs on without it."""
    m = t.create('wait @/go\nexit 3')
    os.unlink(m.bundle / 'ctl')
    os.unlink(m.bundle / 'winsz')
    t.touch('go')
    m.finish(3)


if __name__ == '__main__':
    main()
