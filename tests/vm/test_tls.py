#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Kernel TLS in the guest, which has the module: the cases of interop/tls to which it matters."""

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / 'lib'), str(HERE.parent / 'interop/tls')]
os.environ.update(CONMON_TLS='/opt/vm/conmon-tls', CONMON_TEST_RUNTIME='/opt/vm/fake-runtime', CONMON_TEST_TLS='kernel')
from harness import main  # noqa: E402
import test_tls_drivers  # noqa: E402
import test_tls_helper  # noqa: E402

CASES = ('fluentd', 'gelf', 'openssl', 'reconnect', 'slow_reader', 'syslog')

if __name__ == '__main__':
    drivers = {f'test_{name}': getattr(test_tls_drivers, f'test_{name}') for name in CASES}
    main({**drivers, 'test_kernel': test_tls_helper.test_kernel})
