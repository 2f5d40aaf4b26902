#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Checks the machine's properties on which the other files rely."""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
from harness import check, equal, main  # noqa: E402


def test_cgroup_v2(t):
    controllers = pathlib.Path('/sys/fs/cgroup/cgroup.controllers').read_text().split()
    check({'cpu', 'memory', 'pids'} <= set(controllers), f'controllers {controllers}')


def test_systemd_is_process_1(t):
    equal(pathlib.Path('/proc/1/comm').read_text(), 'systemd\n', 'process 1')
    equal(subprocess.run(['systemctl', 'is-active', 'systemd-journald', 'dbus.socket'], capture_output=True, text=True).stdout,
          'active\nactive\n', 'services')


def test_kernel_tls(t):
    check('tls' in pathlib.Path('/proc/sys/net/ipv4/tcp_available_ulp').read_text().split(), 'no kernel TLS')


if __name__ == '__main__':
    main()
