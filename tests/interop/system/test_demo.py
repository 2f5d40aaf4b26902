#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""What contrib/demo runs after the build: each of its checks passes, and none is left out."""

import pathlib
import subprocess
import sys

from oci import missing
from harness import CONMON, equal, main, skip, slow

DEMO = pathlib.Path(__file__).resolve().parents[3] / 'contrib/lib/demo.py'


@slow(240)
def test_demo(t):
    reason = missing('podman', 'openssl')
    if reason:
        skip(reason)
    done = subprocess.run([sys.executable, DEMO, CONMON], capture_output=True, text=True)
    equal((done.returncode, done.stdout.count('✓'), done.stdout.count('✗')), (0, 25, 0), done.stdout + done.stderr)


if __name__ == '__main__':
    main()
