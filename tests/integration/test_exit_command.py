#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The exit command, which runs after the end of the container is recorded."""

import os
import shlex
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import (  # noqa: E402
    alive, check, children, context_switches, cpu_seconds, descriptors, differs, equal, ignored, kill, main,
    skip, wait_for)


def command(t, *lines):
    """Options for an exit command that runs a script of the fake runtime."""
    words = ['--exit-command', t.runtime, '--exit-command-arg', 'script']
    for line in lines:
        words += ['--exit-command-arg', line]
    return words


def test_runs_at_the_end(t):
    m = t.create('exit 3', *command(t, 'touch @/ran'))
    m.finish(3)
    check((t.dir / 'ran').exists(), 'it did not run before the monitor ended')


def test_arguments(t):
    """In order, with empty ones and those that begin with a dash; argv[0] is the path."""
    m = t.create('exit 0', *command(t, 'dump @/exit'), '--exit-command-arg', 'print', '--exit-command-arg', '',
                 '--exit-command-arg=print x')
    m.finish(0)
    equal(t.dump('exit')['argv'], [t.runtime, 'script', f'dump {t.dir}/exit', 'print', '', 'print x'])


def test_everything_is_recorded_before(t):
    """Before it runs, exit files are written, and the attach socket and the link to it are removed."""
    m = t.monitor()
    script = f'sh cat {m.exit_file} {m.persist_exit} >@/codes; ls {m.bundle} >@/bundle'
    t.create('exit 3', *command(t, script), monitor=m).finish(3)
    equal((t.dir / 'codes').read_text(), '33')
    check('attach' not in (t.dir / 'bundle').read_text().split(), 'the attach socket still existed')


def test_process_attributes(t):
    """The caller's environment and directory, umask 0022, /dev/null as standard streams, no other descriptors."""
    t.skip_with(valgrind='it adds variables and descriptors')
    m = t.create('exit 0', *command(t, 'dump @/exit'), spawn={'cwd': '/usr', 'umask': 0o022},
                 env={'SOME_VARIABLE': 'some value'})
    m.finish(0)
    dump = t.dump('exit')
    equal(sorted(dump['env']), sorted(f'{key}={value}' for key, value in m.environment.items()))
    equal({number: entry['target'] for number, entry in dump['fds'].items()},
          {'0': '/dev/null', '1': '/dev/null', '2': '/dev/null'})
    equal((dump['cwd'], dump['umask'], dump['sid'], dump['pgid']), ('/usr', '0022', m.pid, m.pid))


def test_no_descriptor_of_the_caller(t):
    """All inherited descriptors are closed."""
    t.skip_with(valgrind='it adds descriptors')
    extra = socket.socket()
    m = t.create('exit 0', *command(t, 'dump @/exit'), spawn={'fds': {9: extra.fileno(), 20: extra.fileno()}})
    m.finish(0)
    equal(sorted(t.dump('exit')['fds']), ['0', '1', '2'])


@differs('the caller\'s signal mask is restored')
def test_signal_mask(t):
    """The signal mask is the caller's."""
    t.create('exit 0', *command(t, 'dump @/exit')).finish(0)
    dump = t.dump('exit')
    equal((int(dump['blocked'], 16), ignored(dump)), (0, 0))


@differs("the caller's score since release 2.1.9")
def test_oom_score(t):
    """The exit command does not inherit the monitor's protection from the OOM killer."""
    with open('/proc/self/oom_score_adj') as file:
        own = max(int(file.read()), 0) + 50
    with open('/proc/self/oom_score_adj', 'w') as file:
        file.write(str(own))
    t.create('exit 0', *command(t, 'dump @/exit')).finish(0)
    equal(t.dump('exit')['oom_score_adj'], own)


def test_after_every_failure(t):
    """It also runs after each kind of failure of the runtime."""
    for number, runtime in enumerate(('exit 1', 'eprint x\nexit 1', 'die 9', 'exit 0', 'rawpid x')):
        for mode in ('create', 'exec'):
            name = f'ran{number}{mode}'
            m = t.launch('exit 0', *command(t, f'touch @/{name}'), runtime=runtime, mode=mode,
                         monitor=t.monitor(name)).go()
            m.wait()
            check((t.dir / name).exists(), f'no exit command after {runtime!r} in {mode}')


def test_after_a_timeout(t):
    t.create('pause', '-T', '1', *command(t, 'touch @/ran')).finish(-1)
    check((t.dir / 'ran').exists(), 'no exit command after a timeout')


def test_after_sigterm(t):
    """It also runs after a SIGTERM to the monitor."""
    m = t.create('pause', *command(t, 'touch @/ran'))
    kill(m.pid, signal.SIGTERM)
    m.finish(143)
    check((t.dir / 'ran').exists(), 'no exit command after SIGTERM')


def test_runs_once(t):
    t.create('exit 3', *command(t, 'append @/ran x')).finish(3)
    equal((t.dir / 'ran').read_text(), 'x')


def test_not_after_a_refused_command_line(t):
    m = t.launch('exit 0', *command(t, 'touch @/ran'), '--log-level', 'bogus')
    equal(m.wait_launcher(), 1)
    check(not (t.dir / 'ran').exists(), 'it ran')


def test_caller_sees_the_end_first(t):
    """The command may need a lock that the caller holds until the sync pipe is closed."""
    for runtime in (None, 'exit 1'):
        go = f'go{runtime is None}'
        m = t.launch('exit 0', *command(t, f'wait @/{go}'), runtime=runtime, monitor=t.monitor(go)).go()
        m.sync.messages()
        t.touch(go)
        equal(m.wait(), 1 if runtime else 0)


def test_monitor_waits_for_it(t):
    """Callers wait for the monitor and expect that the clean-up is done then."""
    m = t.create('exit 0', *command(t, 'touch @/started', 'wait @/go', 'touch @/done'))
    t.wait_file('started')
    check(m.exit_file.exists(), 'no exit file')
    check(not m.ended(), 'the monitor did not wait')
    t.touch('go')
    m.finish(0)
    check((t.dir / 'done').exists(), 'the monitor did not wait')


def test_status_is_ignored(t):
    """The exit status of the command does not change the monitor's."""
    for number, line in enumerate(('exit 9', 'die 9')):
        t.create('exit 3', *command(t, line), monitor=t.monitor(str(number))).finish(3)


def test_command_that_does_not_exist(t):
    t.create('exit 3', '--exit-command', '/nonexistent').finish(3)


def test_children_are_not_adopted(t):
    """A process that the command leaves behind is reparented past the monitor at once: a service manager that
    is notified of it checks its parent."""
    orphan = f'({shlex.quote(t.runtime)} script "wait @/orphaned" "dump @/late" "touch @/done" &)'
    m = t.create('exit 0', *command(t, f'sh {orphan}; >@/orphaned; until [ -e @/done ]; do sleep 0.02; done'))
    m.finish(0)
    equal(t.dump('late')['ppid'], os.getpid(), 'parent')


def test_orphans_of_the_container_are_not_killed(t):
    """Processes that the container left behind neither delay the end of the monitor nor are killed."""
    m = t.create('fork sh echo $$ >@/pid.new; mv @/pid.new @/pid; exec sleep 100000\nexit 3', *command(t, 'touch @/ran'))
    m.finish(3, timeout=5)
    check((t.dir / 'ran').exists(), 'the exit command did not run')
    t.wait_file('pid')
    check(alive(int((t.dir / 'pid').read_text())), 'the orphan was ended')
    t.end_orphans()


def test_exit_delay(t):
    """The command runs after the delay."""
    before = time.monotonic()
    m = t.create('exit 0', *command(t, 'touch @/ran'), '--exit-delay', '1')
    m.finish(0)
    took = time.monotonic() - before
    check((t.dir / 'ran').exists(), 'it did not run')
    check(1 <= took < 10, f'a delay of 1 s took {took:.2f} s')


@differs('the reference keeps a process during the delay')
def test_exit_delay_without_a_process(t):
    m = t.create('exit 0', *command(t, 'touch @/ran'), '--exit-delay', '2')
    wait_for(m.exit_file.exists, 'the exit file')
    time.sleep(0.2)
    equal(children(m.pid), [], 'children during the delay')
    equal(sorted(descriptors(m.pid))[:3], [0, 1, 2])
    before = context_switches(m.pid)
    time.sleep(0.5)
    equal(context_switches(m.pid) - before, 0, 'context switches during the delay')
    m.finish(0)


@differs('no signal ends the delay of the reference')
def test_long_delay(t):
    """More microseconds than fit in 32 bits."""
    m = t.create('exit 0', *command(t, 'touch @/ran'), '--exit-delay', '3600')
    wait_for(m.exit_file.exists, 'the exit file')
    time.sleep(0.2)
    check(not (t.dir / 'ran').exists(), 'it did not wait')
    kill(m.pid, signal.SIGTERM)
    m.finish(0)
    check((t.dir / 'ran').exists(), 'it did not run')


def test_no_processor_time_during_the_delay(t):
    """The monitor is idle during the exit delay."""
    m = t.exec('exit 0', *command(t, 'touch @/ran'), '--exit-delay', '1')
    wait_for(m.exit_file.exists, 'the exit file')
    before = cpu_seconds(m.pid)
    time.sleep(0.7)
    check(cpu_seconds(m.pid) - before < 0.03, 'the monitor uses processor time')
    m.finish(0)


def test_no_file_of_the_bundle_is_open(t):
    """On some file systems a directory with open files can't be removed."""
    m = t.monitor()
    log = m.bundle / 'ctr.log'
    t.create('print x\\n', *command(t, 'sh ls -l /proc/$PPID/fd >@/fds'), log=f'k8s-file:{log}', monitor=m).finish(0)
    text = (t.dir / 'fds').read_text()
    check(str(m.bundle) not in text, f'open files in the bundle:\n{text}')


def test_socket_link_is_removed(t):
    if t.reference:
        skip('links removed at the end since release 2.1.7')
    m = t.create('exit 0', *command(t, 'exit 0'), full_attach=False)
    m.finish(0)
    equal(os.listdir(m.sockets), [])


if __name__ == '__main__':
    main()
