#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The program file is replaced while monitors run, as by an update of the package: a new file is renamed over
it, or it is removed. Running monitors are not affected: stop, attach, exec sessions, logs and exits work.

Libraries that are loaded on demand (zlib, yajl) may be replaced in the same way; a monitor that needs one for
the first time loads the installed one."""

import json
import os
import shlex
import shutil
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import content, equal, kill, main, slow, wait_for  # noqa: E402

N = 50

LOGGER = '''#!/bin/sh
exec 5>&-
cat <&4 >/dev/null &
exec cat <&3 >>"$2"
'''


class Stopped:
    """`podman stop`."""

    script, arguments, code = 'pause', (), 128 + signal.SIGTERM

    def __init__(self, t, number):
        self.t = t
        self.m = t.monitor(str(number), cid=f'{number:064x}')

    def exit_command(self):
        words = ['--exit-command', self.t.runtime]
        for arg in ('script', f'append @/exited {self.m.root.name}\\n'):
            words += ['--exit-command-arg', arg]
        return words

    def start(self):
        self.t.create(self.script, *self.arguments, *self.exit_command(), monitor=self.m)

    def use(self):
        os.kill(self.m.pid, signal.SIGTERM)

    def end(self):
        self.m.finish(self.code)
        self.m.close_pipes()


class Killed(Stopped):
    """`podman kill`."""

    code = 137

    def use(self):
        kill(self.m.container)


class Attached(Stopped):
    """A client attaches, sends, and reads the answer."""

    script, arguments, code = 'discard 2\nprint after\\n\nexit 3', ('-i',), 3

    def use(self):
        client = self.m.attach()
        client.send(b'go')
        equal(client.to_end(), b'after\n', 'output for the client')
        client.close()

    def end(self):
        super().end()
        equal(content(self.m.records()), b'after\n', 'log')


class Terminal(Stopped):
    """A terminal is resized."""

    script, arguments, code = 'winch', ('-i', '-t'), 137

    def use(self):
        self.m.control('1 33 44\n')
        client = self.m.attach()
        self.m.control('1 55 66\n')
        client.until(b'55x66')
        client.close()
        kill(self.m.container)


class Logged(Stopped):
    """Old logs are compressed, and the log is renamed and reopened."""

    script, code = 'discard 1\nfill 1 300000 100\ndiscard 1\nexit 6', 6

    def __init__(self, t, number):
        super().__init__(t, number)
        self.json = self.m.root / 'ctr.json'
        self.arguments = ('-i', '--leave-stdin-open', '--log-driver', f'json-file:{self.json}', '--log-opt',
                          'max-size=100000', '--log-opt', 'max-file=4', '--log-opt', 'compress=true')

    def send(self, text):
        client = self.m.attach()
        client.send(text)
        client.close()

    def use(self):
        self.send(b'1')
        wait_for(lambda: (self.m.log.exists() and len(self.m.log.read_bytes()) > 300000), 'the log')
        wait_for(lambda: list(self.m.root.glob('ctr.json.*.gz')), 'the compressed log')
        os.rename(self.m.log, f'{self.m.log}.old')
        self.m.control('2 0 0\n')
        wait_for(self.m.log.exists, 'the new log')
        self.send(b'2')

    def end(self):
        super().end()
        equal(self.m.log.read_bytes(), b'', 'the new log')


class WithLogger(Attached):
    """An external logger exits and is restarted."""

    def __init__(self, t, number):
        super().__init__(t, number)
        self.output = self.m.root / 'logged'
        self.arguments = ('-i', '--log-driver', f'binary://{t.dir}/logger?out={self.output}')

    def logger(self):
        path = self.m.bundle / 'log-status.json'
        path.unlink(missing_ok=True)
        self.m.control('3 0 0\n')
        wait_for(path.exists, 'the status')
        return json.loads(path.read_text())['sinks'][-1]

    def use(self):
        before = self.logger()['pid']
        kill(before)
        wait_for(lambda: self.logger()['starts'] == 2, 'the restart of the logger')
        super().use()

    def end(self):
        super().end()
        equal(self.output.read_bytes(), b'after\n', 'output of the logger')


class Session(Attached):
    """An exec session that was started before."""

    code = 8
    script = 'discard 2\nprint after\\n\nexit 8'

    def start(self):
        self.t.exec(self.script, '-i', monitor=self.m)

    def end(self):
        self.m.finish(self.code)
        equal(self.m.sync.message(), {'data': 8}, 'exit code for the caller')
        self.m.close_pipes()


KINDS = (Stopped, Killed, Attached, Terminal, Logged, WithLogger, Session)


def replace_program(t, make, original):
    """Renames a new file over the program."""
    make(original, f'{t.program}.new')
    os.rename(f'{t.program}.new', t.program)


def new_build(original, path):
    shutil.copy(original, path)
    with open(path, 'ab') as file:
        file.write(b'other')


def wrapper(original, path):
    with open(path, 'w') as file:
        file.write(f'#!/bin/sh\nexec {shlex.quote(original)} "$@"\n')
    os.chmod(path, 0o755)


def run_new_session(t, number):
    m = t.exec('print new\\n\nexit 9', client=True, monitor=t.monitor(f'new{number}'))
    equal(m.client.to_end(), b'new\n', 'output of a new session')
    m.client.close()
    m.finish(9)


@slow(180)
def test_upgrade(t):
    t.skip_with(valgrind='it has no pidfd_open(2)')
    original, t.program = t.program, str(t.dir / 'conmon')
    shutil.copy(original, t.program)
    (t.dir / 'logger').write_text(LOGGER)
    (t.dir / 'logger').chmod(0o755)
    lives = [KINDS[number % len(KINDS)](t, number) for number in range(N)]
    for life in lives:
        life.start()
    upgrades = [lambda: replace_program(t, new_build, original), lambda: replace_program(t, wrapper, original),
                lambda: os.unlink(t.program)]
    for number, upgrade in enumerate(upgrades):
        upgrade()
        some = lives[number::len(upgrades)]
        for life in some:
            equal(os.readlink(f'/proc/{life.m.pid}/exe'), f'{t.program} (deleted)', 'the program of a running monitor')
            life.use()
        for life in some:
            life.end()
        if os.path.exists(t.program):
            run_new_session(t, number)
    exited = sorted((t.dir / 'exited').read_text().split(), key=int)
    equal(exited, [life.m.root.name for life in lives if not isinstance(life, Session)], 'runs of the exit command')


if __name__ == '__main__':
    main()
