#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""tests/runtime-check with runc, and with wrappers that break runc."""

import os
import pathlib
import shutil
import subprocess

from oci import OCI_RUNTIME, PATH, main
from harness import check, equal, skip, slow
from harness.tools import package_of

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / 'runtime-check'

# The options of `create` before the id: --bundle B --pid-file P.
FAULTS = {
    'parent': 'RUNTIME "$@" || exit; case $2 in create) echo 1 >"$6" ;; esac',
    'pid_file': 'RUNTIME "$@" || exit; case $2 in create) echo "pid $(cat "$6")" >"$6" ;; esac',
    'failure': 'RUNTIME "$@" 2>/dev/null',
    'exit_status': 'RUNTIME "$@"; case $2 in start) exit 1 ;; esac',
    'stdio': 'RUNTIME "$@" 2>&1',
    'nobody_else': 'RUNTIME "$@" || exit; case $2 in create) sleep 8 & ;; esac',
    'terminal': 'exit 0',
    'exec_failure': 'RUNTIME "$@"; exit 0',
}


def verdicts(*argv):
    """(exit status, {name: yes, no or lacks})."""
    done = subprocess.run([SCRIPT, *argv], capture_output=True, text=True, check=False)
    rows = [line for line in done.stdout.splitlines() if not line.startswith(' ')]
    check(rows, f'output {done.stdout + done.stderr!r}')
    return done.returncode, {row.rpartition('[')[2].rstrip(']'): row.split()[0] for row in rows}


@slow(120)
def test_runtime(t):
    status, found = verdicts(OCI_RUNTIME)
    equal({name: verdict for name, verdict in found.items() if verdict != 'yes'}, {}, 'missing features')
    equal((status, len(found)), (0, 20), 'exit status and number of checks')


@slow(120)
def test_gvisor(t):
    """A different kind of runtime: its processes run in a sandbox, its options have one dash."""
    if not shutil.which('runsc', path=PATH):
        skip(f'runsc is missing{package_of("runsc")}')
    status, found = verdicts('runsc', '--arg=--network=none', '--arg=--platform=ptrace')
    equal({name: verdict for name, verdict in found.items() if verdict != 'yes'},
          dict.fromkeys(('missing_program', 'descriptors', 'options', 'systemd_cgroup'), 'lacks'), 'missing features')
    equal(status, 0, 'exit status')


@slow(120)
def test_faults(t):
    """Each fault is found."""
    for name, text in FAULTS.items():
        program = t.dir / name
        program.write_text('#!/bin/sh\n' + text.replace('RUNTIME', shutil.which(OCI_RUNTIME, path=PATH)) + '\n')
        program.chmod(0o755)
        equal(verdicts(program, '--only', name), (1, {name: 'no'}), f'{name} with a fault')


def test_lacks(t):
    """A missing optional feature is not a failure."""
    program = t.dir / 'runtime'
    program.write_text(f'#!/bin/sh\ncase $* in *--no-pivot*) exit 1 ;; esac\nexec {shutil.which(OCI_RUNTIME, path=PATH)} "$@"\n')
    program.chmod(0o755)
    equal(verdicts(program, '--only', 'options'), (0, {'options': 'lacks'}))


def test_reasons(t):
    done = subprocess.run([SCRIPT, 'no-such-runtime'], capture_output=True, text=True, check=False)
    equal((done.returncode, done.stderr), (1, 'runtime-check: no-such-runtime is missing\n'))
    done = subprocess.run(['setpriv', '--reuid=12345', SCRIPT, '/bin/true'], capture_output=True, text=True, check=False,
                          env={**os.environ, 'PYTHONDONTWRITEBYTECODE': '1'})
    check(done.returncode != 0, 'an ordinary user')


if __name__ == '__main__':
    main()
