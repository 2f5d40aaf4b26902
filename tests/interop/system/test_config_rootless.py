#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Choosing log drivers with rootless podman. The user is root in a user namespace; there the user's
configuration directory applies, and annotations may choose drivers."""

import os
import shutil
import subprocess

from podman import IMAGE, Podman, main
from harness import check, equal, proc, skip, wait_for
from harness.syslog import Syslog
from test_config_podman import (EXAMPLES, LINES, add_to_containers_conf, check_podman_logs, configure,
                                gets_annotations, refused, rows, run, warned)

USER = 12345
BECOME = ['setpriv', f'--reuid={USER}', f'--regid={USER}', '--clear-groups']


class Rootless(Podman):
    """podman run by an ordinary user, who owns its directory."""

    def __init__(self, name, reference=False):
        super().__init__(name, reference)
        self.conmon = str(shutil.copy(self.conmon, self.dir / 'conmon'))
        (self.dir / 'runtime').mkdir(mode=0o700)
        self.environment['XDG_RUNTIME_DIR'] = f'{self.dir}/runtime'
        self.own()
        # Warnings that podman prints when it creates the namespace are not tested.
        self('unshare', 'true')

    def own(self):
        """Changes the owner of the test's files to the user."""
        for directory, _, names in os.walk(self.dir):
            for path in [directory, *(os.path.join(directory, name) for name in names)]:
                os.chown(path, USER, USER, follow_symlinks=False)

    def argv(self, *args):
        argv = super().argv(*args)
        if '--cgroup-parent' in argv:
            at = argv.index('--cgroup-parent')
            del argv[at:at + 2]
        return [*BECOME, *argv]

    def leave_namespace(self):
        """Kills podman's pause process, so that the next command creates new namespaces."""
        for path in self.dir.glob('**/pause.pid'):
            pid = int(path.read_text())
            path.unlink()
            if (proc.status_field(pid, 'Uid') or '0').split()[0] == str(USER):
                proc.kill(pid)

    def _sweep(self):
        self.leave_namespace()
        super()._sweep()


def users_file(p, text, directory='.config'):
    """Writes the user's configuration and starts a server."""
    if not hasattr(p, 'server'):
        p.server = Syslog()
    path = p.dir / directory / 'containers/conmon.conf'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for made in (path, *path.relative_to(p.dir).parents):
        os.chown(p.dir / made, USER, USER)
    return path


def central(p):
    """The example with the port of the test's server."""
    if not hasattr(p, 'server'):
        p.server = Syslog()
    return (EXAMPLES / 'conmon.conf').read_text().replace('tcp://127.0.0.1:514', p.server.address)


def test_users_file(p):
    what, = rows('~/.config/containers/conmon.conf')
    users_file(p, central(p) + what.replace('] ', ']\n') + '\n')
    run(p, 'c')
    p.server.expect_lines('c', LINES)
    equal(p('unshare', 'cat', '/proc/self/uid_map').text.split()[:2], ['0', str(USER)], 'podman has not created a user namespace')


def test_xdg_config_home(p):
    """podman passes the variable since 4.8; before, conmon_env_vars is needed."""
    users_file(p, central(p) + '[defaults]\nprofile = central\n', 'elsewhere')
    add_to_containers_conf(p, '[engine]\nconmon_env_vars = ["XDG_CONFIG_HOME=%s/elsewhere"]\n' % p.dir)
    run(p, 'c')
    p.server.expect_lines('c', LINES)


def test_annotations(p):
    """For a user, annotations may choose a driver without any file, or a profile by name; the choice is kept
    over a restart."""
    users_file(p, central(p))
    run(p, 'a', '--annotation', 'org.conmon.log/profile=central')
    p.must('restart', 'a')
    p.wait_status('a', 'exited')
    check_podman_logs(p, 'a', times=2)
    p.server.expect_lines('a', {stream: lines * 2 for stream, lines in LINES.items()})
    (p.dir / '.config/containers/conmon.conf').unlink()
    options = {'driver': 'syslog', 'opt.syslog-address': f'udp://127.0.0.1:{p.server.port}', 'opt.syslog-format': 'rfc5424',
               'opt.tag': '{{.Name}}'}
    run(p, 'b', *(word for key, value in options.items() for word in ('--annotation', f'org.conmon.log/{key}={value}')))
    p.server.expect_lines('b', LINES)


def test_what_annotations_can_never_choose(p):
    """Not for a user either: paths, programs, local sockets, on podman's command line as in an image."""
    users_file(p, '')
    evil = p.dir / 'evil'
    cases = {
        'file': ({'driver': f'k8s-file:{evil}'}, "an annotation can't name a path or a program"),
        'program': ({'driver': f'binary:///bin/touch?{evil}='}, "an annotation can't name a path or a program"),
        'journal': ({'driver': 'journald'}, 'journald uses a local socket, and the policy does not list it among sockets'),
        'socket': ({'driver': 'syslog', 'opt.syslog-address': 'unix:///run/x'},
                   "'unix:///run/x' is not a network address, and the policy does not list it among sockets"),
    }
    (p.dir / 'Containerfile').write_text(f'FROM {IMAGE}\n')
    for name, (annotations, sentence) in cases.items():
        words = [word for key, value in annotations.items() for word in ('--annotation', f'org.conmon.log/{key}={value}')]
        message = refused(p, *words)
        check(sentence in message and message.count('\n') == 1, message)
        p.must('build', '--quiet', *words, '-t', f'localhost/{name}', '-f', p.dir / 'Containerfile', p.dir)
        if name == 'file':
            copied = gets_annotations(p, 'localhost/file')
        if copied:
            message = refused(p, image=f'localhost/{name}')
            check(sentence in message and message.count('\n') == 1, message)
    users_file(p, '[policy]\non-error = warn\n')
    check('[conmon:w]: Annotation org.conmon.log/' in warned(p, *words), 'the warning')
    check(not evil.exists(), 'a file was created')


def test_policy(p):
    """The user's policy applies, and a file that others can write is refused."""
    path = users_file(p, '[policy]\nannotations = profiles-only\n')
    check('the policy is annotations = profiles-only' in refused(p, '--annotation', 'org.conmon.log/driver=gelf'), 'policy')
    path.chmod(0o666)
    check(f'The configuration {path} is not trusted: everybody may write to it' in refused(p), 'mode')


def test_files_of_root(p):
    """They are trusted, although their owner appears as nobody in the namespace; the user's sections override them."""
    p.leave_namespace()
    configure(p)
    with open(p.etc / 'conmon.conf', 'a') as file:
        file.write('[defaults]\nprofile = central\n')
    run(p, 'a')
    p.server.expect_lines('a', LINES)
    users_file(p, '[defaults]\ndriver =\n')
    run(p, 'b')
    equal(p.server.lines('b'), [], 'messages at the server')


def test_health_checks(p):
    """The monitor runs podman in the user's namespace."""
    if os.path.exists('/run/systemd/system'):
        skip('podman creates timers if systemd runs')
    p.must('run', '-d', '--name', 'c', '--health-cmd', 'echo well', '--health-interval', '1s', IMAGE, 'sleep', '1000')
    wait_for(lambda: p.inspect('c', 'State.Health.Status') == 'healthy', 'a check', 30)
    p.must('kill', 'c')
    p.no_monitors()


def obstacle():
    """Why rootless podman does not work on this machine, or None."""
    if os.geteuid() != 0:
        return None
    done = subprocess.run([*BECOME, 'unshare', '-U', '-r', '-m', 'true'], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    return f'no user namespaces: {done.stdout.decode().strip()}' if done.returncode != 0 else None


if __name__ == '__main__':
    reason = obstacle()
    if reason:
        print(f'1..0 # SKIP {reason}')
    else:
        main(Rootless)
