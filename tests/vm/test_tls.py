#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Kernel TLS in the guest, which has the module: the cases of interop/tls to which it matters, and its costs."""

import os
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / 'lib'), str(HERE.parent / 'interop/tls')]
os.environ.update(CONMON_TLS='/opt/vm/conmon-tls', CONMON_TEST_RUNTIME='/opt/vm/fake-runtime', CONMON_TEST_TLS='kernel')
from harness import check, equal, main, wait_for  # noqa: E402
import test_tls_drivers  # noqa: E402
import test_tls_helper  # noqa: E402
from test_tls_drivers import authority, finish, launch, Peer, start, status_now, TlsPeer, verified  # noqa: E402

CASES = ('fluentd', 'gelf', 'openssl', 'reconnect', 'server_ends', 'slow_reader', 'syslog')


def private_kb(m):
    """Without clean pages of files: whether these are private depends on which other monitors run."""
    with open(f'/proc/{m.pid}/smaps_rollup', encoding='ascii') as file:
        return next(int(line.split()[1]) for line in file if line.startswith('Private_Dirty:'))


def test_memory(t):
    """A connection with TLS takes at most 12 kB more of the monitor's private memory than one without."""
    a = authority(t)
    plain, encrypted = Peer(t), TlsPeer(t, a.issue('server'))
    script = 'print one\\n\nwait @/end'
    monitors = (launch(t, script, 'syslog', f'syslog-address=tcp://localhost:{plain.port}', 'tag={{.Name}}',
                       monitor=t.monitor('plain')),
                start(t, 'syslog', encrypted.port, verified('syslog', a), script=script, monitor=t.monitor('encrypted')))
    for m in monitors:
        wait_for(lambda m=m: status_now(m)['out']['records'] == 1, 'the line')
    equal([status_now(m).get('tls') for m in monitors], [None, 'kernel'], 'who encrypts')
    time.sleep(2.2)  # buffers are released two seconds after the output at the latest
    memory = [private_kb(m) for m in monitors]
    check(0 <= memory[1] - memory[0] <= 12, f'private memory without TLS and with it: {memory} kB')
    t.touch('end')
    for m in monitors:
        finish(m)


if __name__ == '__main__':
    drivers = {f'test_{name}': getattr(test_tls_drivers, f'test_{name}') for name in CASES}
    main({**drivers, 'test_kernel': test_tls_helper.test_kernel, 'test_memory': test_memory})
