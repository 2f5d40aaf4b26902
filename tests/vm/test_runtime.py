#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""tests/runtime-check with crun, which needs pure cgroup v1 or v2."""

import pathlib
import subprocess

from machine import main
from harness import check, equal, slow

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / 'runtime-check'


@slow(300)
def test_crun(t):
    done = subprocess.run([SCRIPT, 'crun'], capture_output=True, text=True, check=False)
    print(done.stdout)
    rows = [line for line in done.stdout.splitlines() if not line.startswith(' ')]
    check(len(rows) == 20, f'output {done.stdout + done.stderr!r}')
    others = [row for row in rows if not row.startswith('yes') and '[restore]' not in row]  # Debian's crun is built without it
    equal((done.returncode, others), (0, []), 'exit status, and missing features')


if __name__ == '__main__':
    main()
