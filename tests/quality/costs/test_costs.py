#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The cost of the monitor's work, in units that don't depend on the load of the machine.

Each cost is the difference between a long and a short output, which cancels the cost of the start.
"""

import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../lib'))
from harness import check, context_switches, equal, main, slow, tool, wait_for  # noqa: E402

MIB = 1 << 20
IDLE_SECONDS = 2

# One read returns at most 64 KiB, so 16 per MiB. Each comes with a poll, a write, and other calls of the main
# loop.
SYSTEM_CALLS_PER_MIB = 16 * 4
# valgrind counts each byte of `rep movsb`, which copies long lines.
INSTRUCTIONS_PER_MIB = {16: 10_500_000, 100: 2_100_000, 16000: 1_600_000}
SYSTEM_CALLS_OF_A_CONTAINER = 300

# Depending on timing a chunk may need one allocation more or less.
SLACK = 4


def run_under(t, tracer, container, **env):
    """Runs a container with the monitor under a tracer, which does not trace the runtime and the container.
    The container begins when its pid has been reported. Returns the monitor and the tracer's output."""
    m = t.monitor(str(len(t.monitors) + 1))
    go = m.root / 'go'
    out = m.root / 'trace'
    argv = [tool(tracer[0])] + [arg.replace('OUT', str(out)) for arg in tracer[1:]] + [t.program]
    argv += t.arguments(m, conmon_pidfile=False) + ['--sync']
    m.spawn(argv, t.environment(f'wait {go}\n{container}', **env), ('sync', 'start'))
    m.go().sync.message(60)
    go.touch()
    status = m.wait(100)
    equal(status, 0, 'exit status')
    return m, out.read_text()


def lines(count, length):
    return f'fill 1 {count * length} {length}'


def logged_bytes(m):
    """The number of bytes of output in the log: the content after the prefix, and the newline of complete records."""
    return sum(len(record) - 45 + (record[43:44] == b'F') for record in m.log.read_bytes().split(b'\n')[:-1])


def per_mib(cost, length, short, long):
    """The cost of one MiB of lines of this length; `cost` takes a number of lines."""
    few, many = short * MIB // length, long * MIB // length
    return (cost(many) - cost(few)) / ((many - few) * length / MIB)


# System calls

# Without -f, so that processes of the monitor are not traced.
STRACE = ('strace', '-qq', '-c', '-U', 'calls,name', '-o', 'OUT')


def system_calls(t, container):
    """(monitor, total, count by name)."""
    m, text = run_under(t, STRACE, container)
    table = {name: int(number) for number, name in re.findall(r'^\s*(\d+)\s+(\w+)$', text, re.M)}
    return m, table.pop('total'), table


@slow(60)
def test_system_calls_per_mib(t):
    def cost(count):
        m, total, table = system_calls(t, lines(count, 100))
        equal(logged_bytes(m), count * 100, 'bytes in the log')
        print(count, 'lines:', total, table)
        return total
    value = per_mib(cost, 100, 1, 17)
    print(f'{value:.1f} system calls a MiB')
    check(value <= SYSTEM_CALLS_PER_MIB, f'{value:.1f} system calls per MiB; the limit is {SYSTEM_CALLS_PER_MIB}')


@slow(60)
def test_system_calls_of_a_container(t):
    _, total, table = system_calls(t, 'exit 0')
    print(total, table)
    check(total <= SYSTEM_CALLS_OF_A_CONTAINER, f'{total} system calls from start to end of a container, '
          f'the limit is {SYSTEM_CALLS_OF_A_CONTAINER}')


@slow(60)
def test_opens_without_configuration(t):
    """The configuration file and the drop-in directory in two places, two more places for a user, and config.json."""
    _, text = run_under(t, ('strace', '-qq', '-e', 'trace=open,openat', '-o', 'OUT'), 'exit 0')
    opens = [line for line in text.splitlines() if re.search(r'conmon\.conf|/config\.json|uid_map', line)]
    check(all('ENOENT' in line for line in opens), f'opens that succeed: {opens}')
    equal(len(opens), 5 if os.geteuid() == 0 else 7, 'opens')


# Instructions and allocations

# With always-malloc GLib allocates small blocks with malloc, too, so that they are counted.
CALLGRIND = ('valgrind', '-q', '--tool=callgrind', '--callgrind-out-file=OUT', '--trace-children=no')
ALLOCATORS = {'malloc', 'calloc', 'realloc', 'memalign', 'posix_memalign', 'aligned_alloc'}


def profile(t, container):
    """(monitor, instructions, allocations)."""
    m, text = run_under(t, CALLGRIND, container, G_SLICE='always-malloc')
    names = dict(re.findall(r'^c?fn=(\(\d+\)) (.+)$', text, re.M))
    instructions = int(re.search(r'^(?:summary|totals): (\d+)', text, re.M).group(1))
    allocations = 0
    for called, number in re.findall(r'^cfn=(\(\d+\)).*\n(?:c?ob=.*\n|c?f[il]=.*\n)*calls=(\d+) ', text, re.M):
        if re.sub(r"'\d+$", '', names[called]) in ALLOCATORS:
            allocations += int(number)
    check(allocations > 0, 'no allocations: the profile was not parsed correctly')
    return m, instructions, allocations


@slow(100)
def test_instructions_and_allocations_per_mib(t):
    t.skip_with(sanitizer='valgrind cannot run the program')
    for length, bound in INSTRUCTIONS_PER_MIB.items():
        def cost(count):
            m, *numbers = profile(t, lines(count, length))
            equal(logged_bytes(m), count * length, 'bytes in the log')
            return numbers
        few, many = MIB // length, 3 * MIB // length
        (least, allocated_before), (most, allocated) = cost(few), cost(many)
        value = (most - least) / ((many - few) * length / MIB)
        print(f'{length}-byte lines: {value:.0f} instructions per MiB, {allocated - allocated_before} allocations')
        check(value <= bound, f'{length}-byte lines: {value:.0f} instructions per MiB; the limit is {bound}')
        check(allocated - allocated_before <= SLACK,
              f'{length}-byte lines: {allocated - allocated_before} more allocations for 2 MiB more')


# Idle

@slow(60)
def test_no_wake_ups_while_idle(t):
    m = t.create(f'fill 1 {MIB} 100\npause')
    wait_for(lambda: logged_bytes(m) == MIB, 'the whole output in the log')

    def quiet():
        before = context_switches(m.pid)
        time.sleep(IDLE_SECONDS)
        return context_switches(m.pid) == before
    # Releasing buffers may wake it up a few times first.
    wait_for(quiet, f'{IDLE_SECONDS} s without a wake-up', 20)


if __name__ == '__main__':
    main()
