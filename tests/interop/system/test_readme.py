#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Installing the monitor for podman and going back, with the commands and settings of README.md and conmon(8)."""

import os
import re
import shlex
import shutil
import subprocess

from podman import main
from test_config_podman import configure, mount, MS_BIND
from harness import CONMON, check, equal
from harness.pages import TOP, commands

INSTALLED = '/usr/local/bin/conmon'
README = (TOP / 'README.md').read_text()


def install(p):
    """The monitor in the place that the pages name, for this test only."""
    configure(p, '')
    (p.dir / 'bin').mkdir()
    shutil.copy(CONMON, p.dir / 'bin')
    mount(p.dir / 'bin', os.path.dirname(INSTALLED), MS_BIND)


def words(page, start):
    """The only command of a page that begins so, without `podman`."""
    command, = {command for command in commands(page) if command.startswith(start)}
    return shlex.split(command)[1:]


def monitor_of(p, container):
    return os.readlink(f'/proc/{p.conmon_pid(container)}/exe')


def test_one_command(p):
    install(p)
    for page in ('README.md', 'man/conmon.8'):
        option, p.conmon, *rest = words(page, 'podman --conmon')
        equal((option, p.conmon), ('--conmon', INSTALLED))
        if '-it' in rest:
            t = p.terminal(*rest)
            t.until('# ')
            pid, = p.own_monitors()
            equal(os.readlink(f'/proc/{pid}/exe'), INSTALLED)
            t.type('exit 5\n')
            equal(t.end(), 5, 'exit status')
        else:
            check(re.match(r'\w+ \w+ +\d+ ', p.must(*rest)), 'the output of date')


def use(p, settings):
    """Writes containers.conf, in which these lines replace the monitor of the tests."""
    path = p.dir / 'containers.conf'
    lines = [line for line in path.read_text().splitlines() if not line.startswith('conmon_path')]
    at = lines.index('[engine]') + 1
    path.write_text('\n'.join(lines[:at] + settings + lines[at:]) + '\n')
    return p.must(*words('README.md', "podman info --format '{{.Host.Conmon")).split(': ', 1)


def try_container(p, name, monitor):
    equal(monitor_of(p, name), monitor)
    equal(p.must('exec', name, 'echo', 'hi'), 'hi')
    equal(p.logs(name)[0], b'up\n')
    p.must('stop', '--time', '0', name)
    equal(p.inspect(name, 'State.ExitCode'), '137')


def test_all_commands(p):
    """The setting selects the monitor for new containers, and its removal the distribution's; running containers keep
    theirs."""
    install(p)
    setting, = re.findall(r'^    \[engine\]\n    (.*)\n', README, re.M)
    check(f'[engine]\n{setting}\n' in (TOP / 'man/conmon.8').read_text(), 'conmon(8) has another setting')
    argv = p.argv
    p.argv = lambda *args: [word for word in argv(*args) if word not in ('--conmon', CONMON)]
    distribution, _ = use(p, [])
    check(distribution != INSTALLED, 'the distribution has no monitor')
    p.must('run', '-d', '--name', 'old', 'busybox', 'sh', '-c', 'echo up; exec sleep 1000')
    path, version = use(p, [setting])
    answer = subprocess.run([CONMON, '--version'], capture_output=True, text=True).stdout
    equal((path, version.split(',')[0]), (INSTALLED, answer.split('\n')[0]))
    p.must('run', '-d', '--name', 'new', 'busybox', 'sh', '-c', 'echo up; exec sleep 1000')
    p.wait_logs('old', b'up\n')
    try_container(p, 'old', distribution)
    equal(use(p, [])[0], distribution)
    p.wait_logs('new', b'up\n')
    try_container(p, 'new', INSTALLED)


if __name__ == '__main__':
    main()
