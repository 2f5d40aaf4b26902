#!/usr/bin/python3
"""What the monitor and its processes may do, and what those that callers know are started with."""

import os
import resource
import signal
import socket
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from harness import *  # noqa
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
    """What a program got: from its /proc/self/status, its limits, and its OOM score."""
    status, limits, score = text.split('---\n')
    table = {key: value.strip() for key, _, value in (line.partition(':') for line in status.splitlines())}
    return [(name, table[name]) for name in FIELDS] + [limits, score]


def tell(path):
    """A line of shell that leaves there what `rights` reads."""
    return (f'{{ cat /proc/self/status; echo ---; cat /proc/self/limits; echo ---; cat /proc/self/oom_score_adj; }} '
            f'>{path}.new; mv {path}.new {path}')


def callers(t):
    """What every program gets that a caller starts by itself."""
    subprocess.run(['/bin/sh', '-c', tell(t.dir / 'caller')], check=True)
    return rights((t.dir / 'caller').read_text())


def limited(*monitors):
    """Waits for what the monitor does behind the message with the container's pid."""
    for m in monitors:
        wait_for(lambda: sets(m.pid)['CapEff'] & ~bits(*MONITOR) == 0, 'the monitor to give up capabilities')


def nothing_left(pid):
    """It takes a moment from fork(2) to there."""
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
    runtime = program(t, 'wrapper', f'{tell(t.dir / "runtime")}; exec {t.runtime} "$@"')
    m = t.create(f'sh {tell("@/container")}; exit 3', '-r', runtime)
    m.finish(3)
    wanted = callers(t)
    for name in ('runtime', 'container'):
        equal(rights((t.dir / name).read_text()), wanted, name)


def test_exit_command(t):
    """It gets what the caller has, also after the monitor has given up its own, which it has again by then."""
    m = t.create('wait @/go', '--exit-command',
                 program(t, 'command', f'grep CapEff /proc/$PPID/status >{t.dir}/parent; {tell(t.dir / "exit")}'))
    limited(m)
    t.touch('go')
    m.finish(0)
    wanted = callers(t)
    equal(rights((t.dir / 'exit').read_text()), wanted)
    equal((t.dir / 'parent').read_text().split()[1], dict(wanted[:len(FIELDS)])['CapEff'], 'the monitor at the end')


def test_monitor(t):
    """While the container runs, few capabilities have effect. None is lost: a process with few permitted ones could be
    traced by a container's root that has these, too."""
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
    command = t.create('pause', '--exit-command', '/bin/true', places=t.monitor('command'))
    limited(command)
    plain.attach().close()
    equal(status_field(command.pid, 'NoNewPrivs'), status_field('self', 'NoNewPrivs'))


@needs_root
def test_files_and_processes_of_others(t):
    """What the monitor does for containers whose files and processes belong to others still works."""
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
    wait_for(m.log.exists, 'the log to be opened again')
    t.exists('ready')
    os.kill(m.pid, 15)
    m.finish(7)


def logger(t, text):
    return f'binary://{program(t, "logger", text)}'


def test_logger(t):
    """An external logger may deal with files, users and sockets, but not with the kernel or other processes."""
    t.skip_with(valgrind='it has no pidfd_open(2)')
    driver = logger(t, f'{tell(t.dir / "logger.rights")}; exec 5>&-; exec cat <&3 >/dev/null')
    m = t.create('wait @/go\nprint x\\n', '--log-driver', driver)
    t.exists('logger.rights')
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
        equal(found['CapBnd'], found['CapEff'], 'what it could get back')


@needs_root
def test_logger_as_before(t):
    """What loggers are known to do as root: other owners' files, other users for themselves."""
    t.skip_with(valgrind='it has no pidfd_open(2)')
    (t.dir / 'private').mkdir(mode=0o700)
    os.chown(t.dir / 'private', 1000, 1000)
    driver = logger(t, f'cd {t.dir}/private && echo x >file && chown 1001:1001 file && chmod 600 file && echo y >>file '
                       '&& setpriv --reuid=1000 --clear-groups true && touch done; exec 5>&-; exec cat <&3 >/dev/null')
    m = t.create('wait @/go\nprint x\\n', '--log-driver', driver)
    t.exists('private/done')
    t.touch('go')
    m.finish(0)


def test_process_that_ends_the_logger(t):
    """It has only what it needs to kill the logger, whoever that runs as."""
    t.skip_with(valgrind='it has no pidfd_open(2)')
    driver = logger(t, f'trap "" TERM; exec 5>&-; echo $$ >{t.dir}/pid.new; mv {t.dir}/pid.new {t.dir}/pid; '
                       'while :; do sleep 0.05; done')
    m = t.create('wait @/go\nprint x\\n', '--log-driver', driver, '--log-opt', 'drain-timeout=100ms')
    t.exists('pid')
    t.touch('go')
    m.finish(0)
    reaper = wait_for(lambda: next((pid for pid in proc.descendants(os.getpid()) if name_of(pid) == 'conmon-logger'), None),
                      'the process')
    wait_for(lambda: sets(reaper)['CapPrm'] & ~bits('kill') == 0, 'the process to give up capabilities')
    os.kill(int((t.dir / 'pid').read_text()), 9)
    wait_for(lambda: not proc.alive(reaper), 'the process to end')


def name_of(pid):
    try:
        with open(f'/proc/{pid}/comm') as file:
            return file.read().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ''


def test_process_for_a_slow_client(t):
    """It sends what is left and needs no rights for that."""
    m = t.create('wait @/go\nfill 1 700000 100')
    client = m.attach()
    t.touch('go')
    m.finish(0)
    rest = next(pid for pid in proc.descendants(os.getpid()) if proc.alive(pid))
    nothing_left(rest)
    client.close()
    wait_for(lambda: not proc.alive(rest), 'the process to end')


SECRETS = (['--log-driver', 'fluentd', '--log-opt', 'fluentd-address=unix:///nonexistent/socket', '--log-opt',
            'fluentd-shared-key-file=@/secret'],
           ['--log-driver', 'json-file:@/redacted', '--log-opt', 'redact-file=@/secret'])


@needs_no_root
def test_secrets_are_not_dumped(t):
    """A monitor that has read a secret has no core dump, and no process of its user can look into it: then its files in
    /proc are root's. What it executes is as ever."""
    (t.dir / 'secret').write_text('unutterable\n')
    for number, extra in enumerate(SECRETS):
        m = t.create(f'sh {tell(f"@/container{number}")}; touch @/told{number}; exec sleep 1000', *extra,
                     places=t.monitor(str(number)))
        equal(os.stat(f'/proc/{m.pid}/mem').st_uid, 0, f'owner with {extra}')
        t.exists(f'told{number}')
        equal(os.stat(f'/proc/{m.container}/mem').st_uid, os.getuid(), 'owner of the container')
        equal(rights((t.dir / f'container{number}').read_text()), callers(t))
    m = t.create('pause', places=t.monitor('plain'))
    equal(os.stat(f'/proc/{m.pid}/mem').st_uid, os.getuid(), 'owner without a secret')


def test_no_core_file(t):
    """As far as this system writes core dumps at all."""
    t.skip_with(valgrind='it writes core files of its own')
    (t.dir / 'secret').write_text('unutterable\n')
    m = t.create('pause', *SECRETS[0])
    resource.prlimit(m.pid, resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
    os.kill(m.pid, signal.SIGABRT)
    status = os.waitpid(m.pid, 0)[1]
    m.statuses[m.pid] = -signal.SIGABRT
    check(os.WIFSIGNALED(status) and not os.WCOREDUMP(status), f'status {status:x}')
    proc.kill(m.container)


def plant(victim, *paths):
    """Symlinks where the monitor makes its files, to one that it must not touch."""
    victim.write_text('untouched')
    victim.chmod(0o600)
    for path in paths:
        path.symlink_to(victim)


def kind(path):
    return stat.S_IFMT(path.lstat().st_mode)


def test_planted_symlinks(t):
    """What is made in bundle, exit and persist directories takes the place of a symlink, and never goes through it."""
    m = t.monitor()
    (m.bundle / 'notify').mkdir()
    host = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    host.bind(str(t.dir / 'host'))
    victim = t.dir / 'victim'
    bundle = [m.bundle / name for name in ('attach', 'ctl', 'winsz', 'log-status.json', 'notify/notify.sock')]
    plant(victim, *bundle, m.exit_file, m.persist_exit, m.persist / 'log-status.json', m.conmon_pidfile)
    t.create('wait @/go\nexit 3', '--sdnotify-socket', t.dir / 'host', places=m)
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
    """The notification socket is open to everybody: the directory that the container shares must be the bundle's."""
    m = t.monitor()
    other = t.dir / 'other'
    other.mkdir()
    (other / 'notify.sock').write_text('untouched')
    (m.bundle / 'notify').symlink_to(other)
    t.launch('exit 0', '--sdnotify-socket', t.dir / 'host', places=m).go()
    check(m.sync.message()['data'] < 0, 'it was started')
    equal(m.wait(), 1)
    equal(((other / 'notify.sock').read_text(), os.listdir(other)), ('untouched', ['notify.sock']))


if __name__ == '__main__':
    main()
