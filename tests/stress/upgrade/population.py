#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Live upgrades of many containers of all kinds (see ../soak) at the same time, repeatedly to another version and
back. All output is compared.

CONMON_UPGRADE_CONTAINERS is their number; 200 need an idle machine and some minutes."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../soak'))

import soak  # noqa: E402

COUNT = os.environ.get('CONMON_UPGRADE_CONTAINERS', '20')

if __name__ == '__main__':
    sys.argv[1:1] = ['--count', COUNT, '--lives', COUNT, '--long', '0', '--upgrades', '40', '--pace', '0.1']
    soak.main()
