#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Health checks, with a fake podman. tests/interop/system has tests with podman itself."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import (  # noqa: E402
    CID, check, children, descriptors, differs, equal, kill, main, skip, slow, wait_for, whole_lines)
from harness.check import scaled  # noqa: E402
from test_end import with_strace  # noqa: E402

# Records the start and end of each call with its arguments; the files `config` and `run` define its behavior.
PODMAN = '''#!/bin/sh
cd "$(dirname "$0")" || exit 99
last=
for word; do last=$word; done
case " $* " in
*" container inspect "*) kind=inspect ;;
*" healthcheck run "*) kind=run ;;
*) kind=cleanup ;;
esac
echo "$kind begin $(date +%s.%N) $last" >>calls
[ $kind = cleanup ] || printf '%s\\n' "$@" >"$kind.args"
status=0
if [ $kind = inspect ]; then
    cat config || status=125
elif [ $kind = run ]; then
    . ./run
    status=$?
fi
echo "$kind end $(date +%s.%N) $status" >>calls
exit $status
'''

GLOBALS = ['--root', '/a/root', '--log-level', '', '--tmpdir', 'container']


def podman(t, config='null', run='return 0', checks='on', options=GLOBALS):
    """Options for a container with an exit command like podman's."""
    program = t.dir / 'podman'
    program.write_text(PODMAN)
    program.chmod(0o755)
    answer(t, config)
    behave(t, run)
    (t.dir / 'conmon.conf').write_text(f'[health]\nchecks = {checks}\n')
    (t.dir / 'conmon.conf').chmod(0o644)
    words = ['--exit-command', program]
    for word in [*options, 'container', 'cleanup', CID]:
        words += ['--exit-command-arg', word]
    return ['--config', t.dir / 'conmon.conf', *words]


def answer(t, config):
    (t.dir / 'config').write_text(config + '\n')


def behave(t, run):
    (t.dir / 'run.new').write_text(t.expand(run) + '\n')
    (t.dir / 'run.new').rename(t.dir / 'run')


def check_of(interval=0.2, timeout=1, startup='', **more):
    """podman's answer for a container with a check."""
    def nano(seconds):
        return int(seconds * 1e9)
    fields = ''.join(f',"{key}":{value}' for key, value in more.items())
    return (f'{{"Env":["A=1"],"Healthcheck":{{"Test":["CMD-SHELL","true"],"Interval":{nano(interval)},'
            f'"Timeout":{nano(timeout)}{fields}}}{startup}}}')


def calls(t, kind=None, what='begin'):
    """(time, rest) of each call."""
    rows = [line.decode().split() for line in whole_lines(t.dir / 'calls')]
    return [(float(row[2]), row[3]) for row in rows if row[1] == what and kind in (None, row[0])]


def runs(t):
    return len(calls(t, 'run', 'end'))


def wait_runs(t, number, timeout=10):
    wait_for(lambda: runs(t) >= number, f'{number} checks', timeout)


@differs('no health checks')
def test_podman_on_a_stalled_disk(t):
    """Executing podman takes 4 s. The container ends meanwhile."""
    m = t.monitor()
    argv = t.arguments(m, conmon_pidfile=False) + [str(word) for word in podman(t)]
    with_strace(t, m, 'execve', '4s', argv, t.traced_environment('wait @/go\nexit 3'), t.dir / 'podman')
    m.created()
    wait_for(lambda: len(children(children(m.pid)[0])) == 2, 'podman')
    begin = time.monotonic()
    t.touch('go')
    wait_for(m.exit_file.exists, 'the exit file')
    check(time.monotonic() - begin < scaled(2), f'the exit file came after {time.monotonic() - begin:.1f} s')
    m.wait(30)


@differs('no health checks')
def test_commands(t):
    """podman with its global options from the exit command: one inspect, then one call for each check."""
    t.create('pause', *podman(t, check_of()))
    wait_runs(t, 2)
    equal((t.dir / 'inspect.args').read_text().split('\n'),
          [*GLOBALS, 'container', 'inspect', '--format', '{{json .Config}}', CID, ''])
    equal((t.dir / 'run.args').read_text().split('\n'), [*GLOBALS, 'healthcheck', 'run', CID, ''])
    equal(len(calls(t, 'inspect')), 1, 'questions')


@differs('no health checks')
def test_interval(t):
    """The interval begins at the end of a check, whether it succeeded or failed."""
    t.create('pause', *podman(t, check_of(0.5), 'sleep 0.3; return 1'))
    wait_runs(t, 4)
    begins, ends = calls(t, 'run'), calls(t, 'run', 'end')
    for (end, _), (begin, _) in zip(ends, begins[1:]):
        check(0.45 <= begin - end < 3, f'{begin - end:.2f} s between two checks')


@differs('no health checks')
def test_no_check(t):
    """For each answer that means that no check is scheduled, there are no checks and no leaked descriptor or
    process."""
    for number, config in enumerate(('null', '{"Healthcheck":null}', '{"Healthcheck":{"Test":["NONE"],"Interval":1000000}}',
                                     '{"Healthcheck":{"Test":[""],"Interval":1000000}}', check_of(0))):
        m = t.create('pause', *podman(t, config), monitor=t.monitor(str(number)))
        before = len(m.stable_descriptors())
        wait_for(lambda number=number: len(calls(t, 'inspect', 'end')) > number, 'podman inspect')
        time.sleep(0.3)
        equal((runs(t), len(calls(t, 'inspect')), len(descriptors(m.pid)), children(m.pid)), (0, number + 1, before, [m.container]), config)
        kill(m.container)
        m.finish(137)


@differs('no health checks')
def test_one_check_at_a_time(t):
    t.create('pause', *podman(t, check_of(0.1, 30), 'sleep 0.5'))
    wait_runs(t, 4)
    times = sorted([(at, 1) for at, _ in calls(t, 'run')] + [(at, -1) for at, _ in calls(t, 'run', 'end')])
    running = 0
    for _, step in times:
        running += step
        check(running <= 1, 'two checks at the same time')


@slow(60)
@differs('no health checks')
def test_podman_that_hangs(t):
    """It is killed 10 s after the timeout: 5 s are for the process of the check, and 5 s for podman itself."""
    m = t.create('pause', *podman(t, check_of(0.1, 1), 'sleep 1000 & echo $! >@/sleeper; echo $$ >@/hangs; wait'))
    t.wait_file('hangs')
    start = time.monotonic()
    behave(t, 'return 0')
    wait_runs(t, 1, 30)
    took = time.monotonic() - start
    check(10 <= took < 15, f'it was killed after {took:.1f} s')
    for name in ('hangs', 'sleeper'):
        pid = int((t.dir / name).read_text())
        wait_for(lambda pid=pid: not os.path.exists(f'/proc/{pid}'), f'the end of {name}')
    wait_for(lambda: [child for child in children(m.pid) if child != m.container] == [], 'the end of other children')


@differs('no health checks')
def test_check_is_removed(t):
    """If podman refuses to run the check, the monitor inspects the container again."""
    m = t.create('pause', *podman(t, check_of()))
    wait_runs(t, 1)
    answer(t, '{"Healthcheck":null}')
    behave(t, 'return 125')
    wait_for(lambda: len(calls(t, 'inspect', 'end')) == 2, 'another question')
    time.sleep(0.5)
    equal(len(calls(t, 'inspect')), 2, 'questions')
    before = len(calls(t))
    time.sleep(0.5)
    equal(len(calls(t)), before, 'calls')
    kill(m.container)
    m.finish(137)


@differs('no health checks')
def test_container_not_started_yet(t):
    """podman refuses to check it; the monitor inspects it again and retries the check."""
    t.create('pause', *podman(t, check_of(30), 'return 125'))
    wait_for(lambda: len(calls(t, 'run', 'end')) >= 2, 'two checks')
    behave(t, 'return 0')
    wait_for(lambda: [status for _, status in calls(t, 'run', 'end')][-1] == '0', 'a successful check')


@slow(60)
@differs('no health checks')
def test_podman_that_fails(t):
    """Four times."""
    m = t.create('pause', *podman(t))
    (t.dir / 'config').unlink()
    wait_for(lambda: len(calls(t, 'inspect', 'end')) == 4, 'four questions', 30)
    time.sleep(1)
    equal(len(calls(t)), 4, 'calls')
    equal(children(m.pid), [m.container])


@slow(60)
@differs('no health checks')
def test_invalid_answers(t):
    answers = ('"Healthcheck"', '{"Healthcheck":{', '{"Healthcheck":[[[[]]]]}', '{"Healthcheck":{"Test":{"a":"b"},"Interval":"x"}}',
               '{"Healthcheck":{"Test":["a"],"Interval":-5}}', '{"Healthcheck":{"Test":["a"],"Interval":1e400}}',
               '{"Healthcheck":' + 'x' * 3000000)
    monitors = []
    for number, config in enumerate(answers):
        t.dir.joinpath(f'd{number}').mkdir()
        arguments = podman(t, config)
        monitors.append(t.create('pause', *arguments, monitor=t.monitor(str(number))))
        wait_for(lambda number=number: len(calls(t, 'inspect', 'end')) > number, 'podman inspect')
    for m in monitors:
        kill(m.container)
        m.finish(137)


@differs('no health checks')
def test_startup_checks(t):
    """They have their own interval until enough of them have succeeded."""
    startup = ',"StartupHealthCheck":{"Test":["CMD","true"],"Interval":200000000,"Timeout":1000000000,"Successes":2}'
    t.create('pause', *podman(t, check_of(30, startup=startup), 'echo >>@/n; [ $(wc -l <@/n) -gt 2 ]'))
    wait_runs(t, 4)
    equal([status for _, status in calls(t, 'run', 'end')], ['1', '1', '0', '0'], 'statuses')
    time.sleep(1)
    equal(runs(t), 4, 'checks')


@differs('no health checks')
def test_paused_container(t):
    """No check while the cgroup of the container is frozen."""
    if os.geteuid() != 0 or not os.path.isdir('/sys/fs/cgroup/freezer'):
        skip('needs root and the freezer of cgroup v1; tests/vm has version 2')
    group = f'/sys/fs/cgroup/freezer/conmon-test-{os.getpid()}'
    os.mkdir(group)
    t.stack.callback(os.rmdir, group)
    m = t.create('pause', *podman(t, check_of()))
    t.stack.callback(m.wait)
    t.stack.callback(lambda: kill(m.container))

    def write(name, text):
        with open(f'{group}/{name}', 'w') as file:
            file.write(text)
    t.stack.callback(write, 'freezer.state', 'THAWED')
    write('cgroup.procs', str(m.container))
    wait_runs(t, 1)
    write('freezer.state', 'FROZEN')
    time.sleep(0.5)
    before = len(calls(t))
    time.sleep(1)
    equal(len(calls(t)), before, 'calls while the container is frozen')
    write('freezer.state', 'THAWED')
    wait_for(lambda: len(calls(t)) > before + 1, 'further checks')


@differs('no health checks')
def test_container_ends_during_a_check(t):
    """The check gets SIGTERM, and the monitor does not wait for it."""
    m = t.create('wait @/end\nexit 3', *podman(t, check_of(0.1, 1000), 'trap "touch @/asked; exit" TERM; touch @/busy; '
                                                                      'while :; do sleep 0.05; done'))
    t.wait_file('busy')
    start = time.monotonic()
    t.touch('end')
    m.finish(3)
    check(time.monotonic() - start < 3, 'the end took long')
    t.wait_file('asked')
    equal(len(calls(t, 'cleanup', 'end')), 1, 'exit commands')


def test_checks_are_off(t):
    m = t.create('pause', *podman(t, check_of(), checks='off'))
    time.sleep(1.5)
    equal(calls(t), [], 'calls')
    kill(m.container)
    m.finish(137)


@differs('no health checks')
def test_automatic(t):
    """Checks run if there is no systemd, or if podman is configured not to use it."""
    m = t.create('pause', *podman(t, check_of(), checks='auto'), env={'DISABLE_HC_SYSTEMD': 'true'})
    wait_runs(t, 1)
    kill(m.container)
    m.finish(137)
    (t.dir / 'calls').unlink()
    m = t.create('pause', *podman(t, check_of(), checks='auto'), monitor=t.monitor('2'))
    time.sleep(1.5)
    equal(runs(t) > 0, not os.path.exists('/run/systemd/system'), 'checks')


def test_other_exit_commands(t):
    """No checks if the exit command is not podman's, or is for another container."""
    for number, words in enumerate(([], ['container'], ['container', 'cleanup'], ['cleanup', 'container', CID],
                                    ['container', 'cleanup', 'other'])):
        arguments = podman(t, check_of())
        arguments = arguments[:4] + [part for word in words for part in ('--exit-command-arg', word)]
        t.create('pause', *arguments, monitor=t.monitor(str(number)))
    time.sleep(1.5)
    equal(calls(t), [], 'calls')


def test_exec(t):
    t.exec('pause', *podman(t, check_of()))
    time.sleep(1.5)
    equal(calls(t), [], 'calls')


if __name__ == '__main__':
    main()
