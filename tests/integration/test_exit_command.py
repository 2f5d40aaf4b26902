#!/usr/bin/python3
"""The program that runs when everything about the container is recorded."""

import os
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from harness import *  # noqa


def command(t, *lines):
    """Options for an exit command that runs lines of the stand-in's language."""
    words = ['--exit-command', t.runtime, '--exit-command-arg', 'script']
    for line in lines:
        words += ['--exit-command-arg', line]
    return words


def test_runs_at_the_end(t):
    m = t.create('exit 3', *command(t, 'touch @/ran'))
    m.finish(3)
    check((t.dir / 'ran').exists(), 'it did not run before the monitor ended')


def test_arguments(t):
    """In order, empty and dashed ones included; argv[0] is the path."""
    m = t.create('exit 0', *command(t, 'dump @/exit'), '--exit-command-arg', 'print', '--exit-command-arg', '',
                 '--exit-command-arg=print x')
    m.finish(0)
    equal(t.dump('exit')['argv'], [t.runtime, 'script', f'dump {t.dir}/exit', 'print', '', 'print x'])


def test_everything_is_recorded_before(t):
    """Exit files, the attach socket, the socket link of the container: all done."""
    m = t.monitor()
    script = f'sh cat {m.exit_file} {m.persist_exit} >@/codes; ls {m.bundle} >@/bundle'
    t.create('exit 3', *command(t, script), places=m).finish(3)
    equal((t.dir / 'codes').read_text(), '33')
    check('attach' not in (t.dir / 'bundle').read_text().split(), 'the attach socket was still there')


def test_what_it_is_given(t):
    """B24: caller's environment, no descriptors, null devices, caller's directory, 0022."""
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
    """B03, B24: whatever was open at the start is closed."""
    t.skip_with(valgrind='it adds descriptors')
    extra = socket.socket()
    m = t.create('exit 0', *command(t, 'dump @/exit'), spawn={'fds': {9: extra.fileno(), 20: extra.fileno()}})
    m.finish(0)
    equal(sorted(t.dump('exit')['fds']), ['0', '1', '2'])


@differs('section 20: the mask is restored')
def test_signal_mask(t):
    """B24"""
    t.create('exit 0', *command(t, 'dump @/exit')).finish(0)
    dump = t.dump('exit')
    equal((int(dump['blocked'], 16), ignored(dump)), (0, 0))


@differs("the caller's score since release 2.1.9 (21)")
def test_oom_score(t):
    """B80"""
    with open('/proc/self/oom_score_adj') as file:
        own = max(int(file.read()), 0) + 50
    with open('/proc/self/oom_score_adj', 'w') as file:
        file.write(str(own))
    t.create('exit 0', *command(t, 'dump @/exit')).finish(0)
    equal(t.dump('exit')['oom_score_adj'], own)


def test_after_every_failure(t):
    """It runs also when the runtime failed in any way."""
    for number, runtime in enumerate(('exit 1', 'eprint x\nexit 1', 'die 9', 'exit 0', 'rawpid x')):
        for mode in ('create', 'exec'):
            name = f'ran{number}{mode}'
            m = t.launch('exit 0', *command(t, f'touch @/{name}'), runtime=runtime, mode=mode,
                         places=t.monitor(name)).go()
            m.wait()
            check((t.dir / name).exists(), f'no exit command after {runtime!r} in {mode}')


def test_after_a_timeout(t):
    t.create('pause', '-T', '1', *command(t, 'touch @/ran')).finish(-1)
    check((t.dir / 'ran').exists(), 'no exit command after a timeout')


def test_after_term(t):
    """B13"""
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
    """B25: the command may need a lock that the caller holds until the sync pipe ends."""
    for runtime in (None, 'exit 1'):
        go = f'go{runtime is None}'
        m = t.launch('exit 0', *command(t, f'wait @/{go}'), runtime=runtime, places=t.monitor(go)).go()
        m.sync.messages()
        t.touch(go)
        equal(m.wait(), 1 if runtime else 0)


def test_monitor_waits_for_it(t):
    """Callers wait for the monitor and expect the clean-up to be done."""
    m = t.create('exit 0', *command(t, 'touch @/started', 'wait @/go', 'touch @/done'))
    t.exists('started')
    check(m.exit_file.exists(), 'no exit file')
    check(not m.ended(), 'the monitor did not wait')
    t.touch('go')
    m.finish(0)
    check((t.dir / 'done').exists(), 'the monitor did not wait')


def test_its_status_changes_nothing(t):
    """B23"""
    for number, line in enumerate(('exit 9', 'die 9')):
        t.create('exit 3', *command(t, line), places=t.monitor(str(number))).finish(3)


def test_command_that_does_not_exist(t):
    t.create('exit 3', '--exit-command', '/nonexistent').finish(3)


def test_what_it_starts_is_not_adopted(t):
    """B17: a process that it leaves behind goes to whoever adopts orphans above the monitor."""
    m = t.create('exit 0', *command(t, f'sh ({t.runtime} script "dump @/early" "wait @/go" "dump @/late" &) &'))
    t.exists('early')
    m.finish(0)
    t.touch('go')
    equal(t.dump('late')['ppid'], os.getpid(), 'parent')


def test_orphans_of_the_container_are_waited_for(t):
    m = t.create('fork wait @/go\nexit 3', *command(t, 'touch @/ran'))
    t.exists('ran')
    check(not m.ended(), 'the monitor did not wait for the orphan')
    t.touch('go')
    m.finish(3)


def test_exit_delay(t):
    """E05: a delay costs neither a process nor processor time."""
    before = time.monotonic()
    m = t.create('exit 0', *command(t, 'touch @/ran'), '--exit-delay', '1')
    m.finish(0)
    took = time.monotonic() - before
    check((t.dir / 'ran').exists(), 'it did not run')
    check(1 <= took < 10, f'a delay of 1 s took {took:.2f} s')


@differs('issue of the design: no spare process during the delay')
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
    """More microseconds than 32 bits hold."""
    m = t.create('exit 0', *command(t, 'touch @/ran'), '--exit-delay', '3600')
    wait_for(m.exit_file.exists, 'the exit file')
    time.sleep(0.2)
    check(not (t.dir / 'ran').exists(), 'it did not wait')
    kill(m.pid, signal.SIGTERM)
    m.finish(0)
    check((t.dir / 'ran').exists(), 'it did not run')


def test_no_processor_time_during_the_delay(t):
    """B02"""
    m = t.exec('exit 0', *command(t, 'touch @/ran'), '--exit-delay', '1')
    wait_for(m.exit_file.exists, 'the exit file')
    before = cpu_seconds(m.pid)
    time.sleep(0.7)
    check(cpu_seconds(m.pid) - before < 0.03, 'the monitor is busy')
    m.finish(0)


def test_no_file_of_the_bundle_is_open(t):
    """B27: open files below the bundle keep it from being removed on some file systems."""
    m = t.monitor()
    log = m.bundle / 'ctr.log'
    t.create('print x\\n', *command(t, 'sh ls -l /proc/$PPID/fd >@/fds'), log=f'k8s-file:{log}', places=m).finish(0)
    text = (t.dir / 'fds').read_text()
    check(str(m.bundle) not in text, f'open below the bundle:\n{text}')


def test_socket_link_is_gone_in_the_end(t):
    if t.reference:
        skip('links removed at the end since release 2.1.7 (21)')
    m = t.create('exit 0', *command(t, 'exit 0'), full_attach=False)
    m.finish(0)
    equal(os.listdir(m.sockets), [])


if __name__ == '__main__':
    main()
