#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Capabilities and other rights of the monitor and of each process that it starts."""

import os
import resource
import shlex
import signal
import socket
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import check, equal, main, needs_no_root, needs_root, proc, wait_for  # noqa: E402
from harness.proc import status_field

FIELDS = ('Uid', 'Gid', 'Groups', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp')

# Numbers from capabilities(7).
CAPABILITIES = {'chown': 0, 'dac_override': 1, 'dac_read_search': 2, 'fowner': 3, 'kill': 5, 'setuid': 7,
                'net_bind_service': 10, 'sys_module': 16, 'sys_rawio': 17, 'sys_ptrace': 19, 'sys_admin': 21,
                'sys_boot': 22, 'sys_resource': 24, 'sys_time': 25, 'mknod': 27, 'mac_override': 32}
MONITOR = ('dac_override', 'dac_read_search', 'fowner', 'kill', 'sys_resource', 'mac_override')


def bits(*names):
    return sum(1 << CAPABILITIES[name] for name in names)


def sets(pid):
    """The sets of capabilities as numbers."""
    return {name: int(status_field(pid, name), 16) for name in FIELDS if name.startswith('Cap')}


def rights(text):
    """The rights of a program: from its /proc/self/status, its limits, and its OOM score."""
    status, limits, score = text.split('---\n')
    table = {key: value.strip() for key, _, value in (line.partition(':') for line in status.splitlines())}
    return [(name, table[name]) for name in FIELDS] + [limits, score]


def tell(path):
    """A line of shell that writes the input for `rights` to a file."""
    return (f'{{ cat /proc/self/status; echo ---; cat /proc/self/limits; echo ---; cat /proc/self/oom_score_adj; }} '
            f'>{path}.new; mv {path}.new {path}')


def callers(t):
    """The rights of a program that the caller starts directly."""
    subprocess.run(['/bin/sh', '-c', tell(t.dir / 'caller')], check=True)
    return rights((t.dir / 'caller').read_text())


def limited(*monitors):
    """Waits until the monitor has lowered its rights, which it does after the message with the container's pid."""
    for m in monitors:
        wait_for(lambda: sets(m.pid)['CapEff'] & ~bits(*MONITOR) == 0, 'the monitor to give up capabilities')


def nothing_left(pid):
    """Waits until a child has given up all rights after fork(2)."""
    wait_for(lambda: (sets(pid)['CapPrm'], sets(pid)['CapBnd'] if os.getuid() == 0 else 0,
                      status_field(pid, 'NoNewPrivs')) == (0, 0, '1'), f'process {pid} to give up all rights')
    with open(f'/proc/{pid}/limits') as file:
        core = next(line.split()[4] for line in file if line.startswith('Max core file size'))
    equal(core, '0', 'limit of core dumps')


def program(t, name, text):
    path = t.dir / name
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)
    return path


def test_runtime_and_container(t):
    runtime = program(t, 'wrapper', f'{tell(t.dir / "runtime")}; exec {shlex.quote(t.runtime)} "$@"')
    m = t.create(f'sh {tell("@/container")}; exit 3', '-r', runtime)
    m.finish(3)
    wanted = callers(t)
    for name in ('runtime', 'container'):
        equal(rights((t.dir / name).read_text()), wanted, name)


def test_exit_command(t):
    """It has the caller's rights: the monitor restores its own before it starts the command."""
    m = t.create('wait @/go', '--exit-command',
                 program(t, 'command', f'grep CapEff /proc/$PPID/status >{t.dir}/parent; {tell(t.dir / "exit")}'))
    limited(m)
    t.touch('go')
    m.finish(0)
    wanted = callers(t)
    equal(rights((t.dir / 'exit').read_text()), wanted)
    equal((t.dir / 'parent').read_text().split()[1], dict(wanted[:len(FIELDS)])['CapEff'], 'the monitor at the end')


def test_monitor(t):
    """While the container runs, few capabilities are effective. All stay permitted: a container's root could
    trace a process whose permitted capabilities it has, too."""
    m = t.create('wait @/go\nexit 3', '--exit-command', '/bin/true')
    own = sets(os.getpid())
    limited(m)
    equal(sets(m.pid), {**own, 'CapEff': own['CapPrm'] & bits(*MONITOR)})
    t.touch('go')
    m.finish(3)


def test_no_new_privileges(t):
    """Unless there is an exit command, which may be a set-user-ID program."""
    plain = t.create('pause')
    limited(plain)
    wait_for(lambda: status_field(plain.pid, 'NoNewPrivs') == '1', 'no new privileges')
    command = t.create('pause', '--exit-command', '/bin/true', monitor=t.monitor('command'))
    limited(command)
    plain.attach().close()
    equal(status_field(command.pid, 'NoNewPrivs'), status_field('self', 'NoNewPrivs'))


@needs_root
def test_files_and_processes_of_others(t):
    """The monitor can still handle containers whose files and processes belong to other users."""
    t.dir.chmod(0o777)
    m = t.create('user 1000\nsh trap "exit 7" TERM; touch @/ready; while :; do sleep 0.05; done')
    limited(m)
    for path in (m.exits, m.persist, m.root):
        os.chown(path, 1000, 1000)
        path.chmod(0o700)
    os.chown(m.log, 1000, 1000)
    m.log.chmod(0)
    m.log.rename(m.root / 'old')
    m.control('2 0 0\n')
    wait_for(m.log.exists, 'the reopened log')
    t.wait_file('ready')
    os.kill(m.pid, 15)
    m.finish(7)


def logger(t, text):
    return f'binary://{program(t, "logger", text)}'


def test_logger(t):
    """An external logger has capabilities for files, users and sockets, but not for the kernel or other processes."""
    t.skip_with(valgrind='it has no pidfd_open(2)')
    driver = logger(t, f'{tell(t.dir / "logger.rights")}; exec 5>&-; exec cat <&3 >/dev/null')
    m = t.create('wait @/go\nprint x\\n', '--log-driver', driver)
    t.wait_file('logger.rights')
    t.touch('go')
    m.finish(0)
    found = dict(rights((t.dir / 'logger.rights').read_text())[:len(FIELDS)])
    wanted = dict(callers(t)[:len(FIELDS)])
    equal((found['Uid'], found['NoNewPrivs']), (wanted['Uid'], '1'))
    got, own = int(found['CapEff'], 16), int(wanted['CapEff'], 16)
    kept = bits('chown', 'dac_override', 'fowner', 'kill', 'setuid', 'net_bind_service', 'sys_resource')
    lost = bits('sys_module', 'sys_rawio', 'sys_ptrace', 'sys_admin', 'sys_boot', 'sys_time', 'mknod')
    equal((got & kept, got & lost, got & ~own), (own & kept, 0, 0), f'capabilities {got:x} of {own:x}')
    if os.getuid() == 0:
        equal(found['CapBnd'], found['CapEff'], 'capabilities that it could regain')


@needs_root
def test_logger_works_as_root(t):
    """Loggers that run as root may write files of other owners and become another user."""
    t.skip_with(valgrind='it has no pidfd_open(2)')
    (t.dir / 'private').mkdir(mode=0o700)
    os.chown(t.dir / 'private', 1000, 1000)
    driver = logger(t, f'cd {t.dir}/private && echo x >file && chown 1001:1001 file && chmod 600 file && echo y >>file '
                       '&& setpriv --reuid=1000 --clear-groups true && touch done; exec 5>&-; exec cat <&3 >/dev/null')
    m = t.create('wait @/go\nprint x\\n', '--log-driver', driver)
    t.wait_file('private/done')
    t.touch('go')
    m.finish(0)


def test_process_that_ends_the_logger(t):
    """It has only CAP_KILL, to kill a logger that runs as another user."""
    t.skip_with(valgrind='it has no pidfd_open(2)')
    driver = logger(t, f'trap "" TERM; exec 5>&-; echo $$ >{t.dir}/pid.new; mv {t.dir}/pid.new {t.dir}/pid; '
                       'while :; do sleep 0.05; done')
    m = t.create('wait @/go\nprint x\\n', '--log-driver', driver, '--log-opt', 'drain-timeout=100ms')
    t.wait_file('pid')
    t.touch('go')
    m.finish(0)
    reaper = wait_for(lambda: next((pid for pid in proc.descendants(os.getpid()) if name_of(pid) == 'conmon-logger'), None),
                      'the process')
    wait_for(lambda: sets(reaper)['CapPrm'] & ~bits('kill') == 0, 'the process to give up capabilities')
    leader = int((t.dir / 'pid').read_text())
    os.kill(leader, 9)
    try:
        while os.waitpid(-leader, 0):
            pass  # a zombie is still a member of its group
    except ChildProcessError:
        pass
    wait_for(lambda: not proc.alive(reaper), 'the process to end')


def name_of(pid):
    try:
        with open(f'/proc/{pid}/comm') as file:
            return file.read().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ''


def slow_client(t):
    """A container that has ended while a client did not read. Returns the client and the process that feeds it."""
    (t.dir / 'go').unlink(missing_ok=True)
    m = t.create('wait @/go\nfill 1 700000 100')
    client = m.attach()
    t.touch('go')
    m.finish(0)
    return client, next(pid for pid in proc.descendants(os.getpid()) if proc.alive(pid))


def test_process_for_a_slow_client(t):
    """It sends the remaining output and needs no rights for that."""
    client, rest = slow_client(t)
    nothing_left(rest)
    client.close()
    wait_for(lambda: not proc.alive(rest), 'the process to end')


def test_signals_end_the_process_for_a_slow_client(t):
    """It has its own name, command line and session, so that it is not taken for the monitor of a dead container."""
    t.skip_with(valgrind='its threads and command line are those of valgrind')
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        client, rest = slow_client(t)
        wait_for(lambda: proc.command(rest) == 'conmon-client', 'its command line')
        equal((name_of(rest), proc.session(rest)), ('conmon-client', rest))
        equal([int(status_field(rest, field), 16) & 0x7fffffff for field in ('SigBlk', 'SigIgn')], [0, 0], 'signals')
        with open(f'/proc/{rest}/oom_score_adj') as file:
            check(int(file.read()) >= 0, 'it is protected from the OOM killer')
        os.kill(rest, number)
        wait_for(lambda: not proc.alive(rest), f'signal {number} to end it')
        client.close()


SECRETS = (['--log-driver', 'fluentd', '--log-opt', 'fluentd-address=unix:///nonexistent/socket', '--log-opt',
            'fluentd-shared-key-file=@/secret'],
           ['--log-driver', 'json-file:@/redacted', '--log-opt', 'redact-file=@/secret'])


@needs_no_root
def test_secrets_are_not_dumped(t):
    """A monitor that has read a secret is not dumpable: no core dump, no ptrace by its user, and its files in
    /proc belong to root. Programs that it executes are not affected."""
    (t.dir / 'secret').write_text('unutterable\n')
    for number, extra in enumerate(SECRETS):
        m = t.create(f'sh {tell(f"@/container{number}")}; touch @/done{number}; exec sleep 1000', *extra,
                     monitor=t.monitor(str(number)))
        equal(os.stat(f'/proc/{m.pid}/mem').st_uid, 0, f'owner with {extra}')
        t.wait_file(f'done{number}')
        equal(os.stat(f'/proc/{m.container}/mem').st_uid, os.getuid(), 'owner of the container')
        equal(rights((t.dir / f'container{number}').read_text()), callers(t))
    m = t.create('pause', monitor=t.monitor('plain'))
    equal(os.stat(f'/proc/{m.pid}/mem').st_uid, os.getuid(), 'owner without a secret')


def test_no_core_file(t):
    """A monitor with a secret writes no core file, on systems that write any."""
    t.skip_with(valgrind='it writes core files itself')
    (t.dir / 'secret').write_text('unutterable\n')
    m = t.create('pause', *SECRETS[0])
    resource.prlimit(m.pid, resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
    os.kill(m.pid, signal.SIGABRT)
    status = os.waitpid(m.pid, 0)[1]
    m.statuses[m.pid] = -signal.SIGABRT
    check(os.WIFSIGNALED(status) and not os.WCOREDUMP(status), f'status {status:x}')
    proc.kill(m.container)


def plant(victim, *paths):
    """Creates symlinks at the paths of the monitor's files, to a file that it must not touch."""
    victim.write_text('untouched')
    victim.chmod(0o600)
    for path in paths:
        path.symlink_to(victim)


def kind(path):
    return stat.S_IFMT(path.lstat().st_mode)


def test_planted_symlinks(t):
    """Files in the bundle, exit and persist directories replace a symlink instead of following it."""
    m = t.monitor()
    (m.bundle / 'notify').mkdir()
    host = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    host.bind(str(t.dir / 'host'))
    victim = t.dir / 'victim'
    bundle = [m.bundle / name for name in ('attach', 'ctl', 'winsz', 'log-status.json', 'notify/notify.sock')]
    plant(victim, *bundle, m.exit_file, m.persist_exit, m.persist / 'log-status.json', m.conmon_pidfile)
    t.create('wait @/go\nexit 3', '--sdnotify-socket', t.dir / 'host', monitor=m)
    m.control('9 9 9\n2 0 0\n')
    m.attach().close()
    equal([kind(path) for path in bundle[:3] + bundle[4:]],
          [stat.S_IFSOCK, stat.S_IFIFO, stat.S_IFIFO, stat.S_IFSOCK])
    t.touch('go')
    m.finish(3)
    equal([kind(path) for path in (m.exit_file, m.persist_exit, m.conmon_pidfile)], [stat.S_IFREG] * 3)
    equal((victim.read_text(), victim.stat().st_mode & 0o777), ('untouched', 0o600))
    host.close()


def test_directory_that_is_a_symlink(t):
    """The notification socket is accessible to all users: its directory, which the container shares, must not
    be a symlink."""
    m = t.monitor()
    other = t.dir / 'other'
    other.mkdir()
    (other / 'notify.sock').write_text('untouched')
    (m.bundle / 'notify').symlink_to(other)
    t.launch('exit 0', '--sdnotify-socket', t.dir / 'host', monitor=m).go()
    check(m.sync.message()['data'] < 0, 'the container was started')
    equal(m.wait(), 1)
    equal(((other / 'notify.sock').read_text(), os.listdir(other)), ('untouched', ['notify.sock']))


if __name__ == '__main__':
    main()
