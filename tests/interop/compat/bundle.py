# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Bundles for a real runtime. The container's program is the fake runtime, which is linked statically."""

import json
import shutil
import subprocess

from harness import check

RUNC = shutil.which('runc', path='/usr/bin:/usr/sbin:/bin:/sbin') or shutil.which('crun')

MOUNTS = [{'destination': '/proc', 'type': 'proc', 'source': 'proc'},
          {'destination': '/dev', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['nosuid', 'mode=755']},
          {'destination': '/dev/pts', 'type': 'devpts', 'source': 'devpts',
           'options': ['newinstance', 'ptmxmode=0666', 'mode=0620']}]


def process(args, terminal):
    return {'terminal': terminal, 'cwd': '/', 'env': ['PATH=/'], 'args': args, 'user': {'uid': 0, 'gid': 0}}


def command(script):
    return ['/program', 'script', 'dump /tmp/container.json', *script.split('\n')]


def options(run):
    return ['-r', RUNC, '--runtime-arg', f'--root={run.t.dir}/runc']


def make(run):
    """Writes the bundle and the process specification; for an exec also starts the container."""
    s, m = run.s, run.m
    rootfs = run.t.dir / 'rootfs'
    rootfs.mkdir()
    shutil.copy(run.t.runtime, rootfs / 'program')
    for name in ('proc', 'dev', 'tmp'):
        (rootfs / name).mkdir()
    script = s.container
    args = [script[8:]] if script.startswith('missing ') else command(script)
    terminal = '-t' in s.args
    main = process(['/program', 'script', 'pause'], False) if s.mode.startswith('exec') else process(args, terminal)
    config = {'ociVersion': '1.0.0', 'process': main, 'root': {'path': str(rootfs)}, 'hostname': 'test',
              'mounts': MOUNTS,
              'linux': {'cgroupsPath': f'/{run.t.dir.name}', 'namespaces': [{'type': kind} for kind in ('pid', 'ipc', 'uts', 'mount', 'network')]}}
    (m.bundle / 'config.json').write_text(json.dumps(config))
    (m.root / 'process.json').write_text(json.dumps(process(args, terminal)))
    s.args = [*s.args, *options(run)]
    if s.mode.startswith('exec'):
        call(run, 'run', '--detach', '--bundle', str(m.bundle), m.cid)


def call(run, *args, may_fail=False):
    with open(run.t.dir / 'runc.out', 'ab') as out:
        status = subprocess.run([RUNC, f'--root={run.t.dir}/runc', *args], stdin=subprocess.DEVNULL, stdout=out,
                                stderr=out, check=False).returncode
    check(status == 0 or may_fail, f'{RUNC} {args} ended with {status}: {(run.t.dir / "runc.out").read_text()}')


def start(run):
    if not run.s.mode.startswith('exec'):
        call(run, 'start', run.m.cid)


def remove(run):
    call(run, 'delete', '--force', run.m.cid, may_fail=True)
