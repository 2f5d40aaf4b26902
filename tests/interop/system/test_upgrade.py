#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Live upgrade of the monitors of a podman container and of its exec session: commands that wait, read or
write are not affected."""

import os
import pathlib
import subprocess
import sys

from podman import IMAGE, main
from harness import check, differs, equal, wait_for

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / 'stress/soak'))
from versions import Installed  # noqa: E402

ONLY_HERE = 'conmon 2 cannot be upgraded in place'
CONMONCTL = pathlib.Path(os.environ.get('CONMON', '')).parent / 'conmonctl/conmonctl'

COUNT = 'trap "exit 3" TERM; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done'


def upgrade(p, installed, cid, monitors):
    """Upgrades all monitors of the container to the other version."""
    installed.swap()
    done = subprocess.run([CONMONCTL, 'upgrade', cid], capture_output=True, text=True)
    equal((done.returncode, done.stderr), (0, ''), 'status and errors of conmonctl')
    equal(done.stdout, f'{monitors} of {monitors} monitor{"s" if monitors > 1 else ""} upgraded.\n', 'output of conmonctl')


def numbers(output):
    """The numbers of the lines; the output of podman attach ends with an empty line."""
    return [int(line.split()[1]) for line in output.splitlines() if line]


@differs(ONLY_HERE)
def test_attach_logs_exec_stop_wait(p):
    installed = Installed(p.conmon, p.dir / 'conmon')
    p.conmon = str(installed.path)
    p.must('run', '-d', '--name', 'c', IMAGE, 'sh', '-c', COUNT)
    cid, pid = p('inspect', '--format', '{{.Id}} {{.State.ConmonPid}}', 'c').text.split()
    attached = p.start('attach', '--no-stdin', '--sig-proxy=false', 'c')
    followed = p.start('logs', '-f', 'c')
    waiting = p.start('wait', 'c')
    session = p.start('exec', '-i', 'c', 'cat', stdin=subprocess.PIPE)
    first = [process.stdout.readline() for process in (attached, followed)]
    for word in (b'one\n', b'two\n', b'three\n'):
        session.stdin.write(word)
        session.stdin.flush()
        equal(session.stdout.readline(), word, 'answer of the session')
        upgrade(p, installed, cid, 2)
    session.stdin.close()
    equal(session.wait(20), 0, 'status of the session')
    wait_for(lambda: len(p.own_monitors()) == 1, "the end of the session's monitor")
    upgrade(p, installed, cid, 1)
    equal(p('exec', 'c', 'echo', 'new').out, b'new\n', 'another session')
    equal(p('inspect', '--format', '{{.State.ConmonPid}} {{.State.Status}}', 'c').text, f'{pid} running', 'state in podman inspect')
    p.must('stop', '-t', '20', 'c')
    equal(waiting.communicate(timeout=20)[0], b'3\n', 'output of podman wait')
    logged = numbers(p.logs('c')[0])
    equal(logged, list(range(1, len(logged) + 1)), 'lines of the log')
    seen = numbers(first[0] + attached.stdout.read())
    equal(seen, list(range(seen[0], logged[-1] + 1)), 'lines of the client')
    shown = numbers(first[1] + followed.stdout.read())
    equal(shown, logged[:len(shown)], 'lines of podman logs -f')
    check(len(shown) > 0, 'no output of podman logs -f')
    wait_for(lambda: p('inspect', '--format', '{{.State.Status}} {{.State.ExitCode}}', 'c').text == 'exited 3', 'the end')


if __name__ == '__main__':
    main()
