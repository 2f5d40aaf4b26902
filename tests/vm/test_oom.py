#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The OOM killer kills a process in the container's cgroup or a nested one: podman reports it."""

import json

from machine import main
from harness import equal

HOG = 'exec tail /dev/zero'

# The container's processes move to a leaf cgroup, so that the memory controller can be enabled for nested
# ones.
HOG_BELOW = '''cd /sys/fs/cgroup && mkdir leaf hog && echo $$ >leaf/cgroup.procs && echo +memory >cgroup.subtree_control &&
echo 10M >hog/memory.max && sh -c "echo \\$\\$ >hog/cgroup.procs; exec tail /dev/zero"; echo status $?; exit 6'''


def killed(t):
    t.run('--name', 'a', '--memory', '30m', '--memory-swap', '30m', script=HOG, status=137)
    equal(t.inspect('a', 'State.OOMKilled'), 'true', 'OOMKilled')
    end = json.loads((t.bundle('a') / 'log-status.json').read_text())['end']
    equal((end['code'], end['signal'], end['core_dumped'], end['oom']), (137, 9, False, True), 'end in the status')


def killed_in_nested_cgroup(t):
    out = t.run('--name', 'a', '--memory', '60m', '--privileged', '--cgroupns', 'private', script=HOG_BELOW, status=6)
    equal(out, 'status 137', 'status of the process')
    equal(t.inspect('a', 'State.OOMKilled'), 'true', 'OOMKilled')


def test_crun(t):
    killed(t)


def test_runc(t):
    t.runtime = 'runc'
    killed(t)


def test_crun_in_a_nested_cgroup(t):
    killed_in_nested_cgroup(t)


if __name__ == '__main__':
    main()
