# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Programs that conflict with installed packages or are not packaged. They are downloaded once to a cache
directory outside of the tree.

    CONMON_TEST_CACHE   the cache directory; default /var/tmp/conmon-tests-UID
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess

from harness import Failure, skip

CACHE = pathlib.Path(os.environ.get('CONMON_TEST_CACHE', f'/var/tmp/conmon-tests-{os.getuid()}'))


@contextlib.contextmanager
def _made_once(name):
    """Returns a new directory to fill, or None if it exists already. Only one test at a time creates it."""
    CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    with open(CACHE / f'{name}.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (CACHE / name).exists():
            yield None
            return
        new = CACHE / f'{name}.new'
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        yield new
        new.rename(CACHE / name)


def _run(*argv, cwd):
    done = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=120, check=False)
    if done.returncode != 0:
        raise Failure(f'{" ".join(argv)}: status {done.returncode}: {done.stdout.decode(errors="replace")[-2000:]}')


def node_modules(*names):
    """A directory with these npm packages, for NODE_PATH."""
    if not shutil.which('npm') or not shutil.which('node'):
        skip('npm is missing')
    name = 'npm-' + '-'.join(part.replace('/', '-').replace('@', '') for part in names)
    with _made_once(name) as new:
        if new:
            (new / 'package.json').write_text('{"private": true}\n')
            _run('npm', 'install', '--no-audit', '--no-fund', '--ignore-scripts', *names, cwd=new)
    return CACHE / name / 'node_modules'


def unpacked(name, *packages):
    """The root of a tree with the files of these Debian packages, without installing them."""
    if not shutil.which('apt-get'):
        skip('apt-get is missing')
    with _made_once(name) as new:
        if new:
            _download(new, packages)
            for archive in new.glob('*.deb'):
                _run('dpkg-deb', '-x', str(archive), str(new), cwd=new)
                archive.unlink()
    return CACHE / name


def _download(directory, packages):
    """The first try may fail because the package lists are missing or stale."""
    sandbox = ('-o', 'APT::Sandbox::User=root')
    try:
        _run('apt-get', *sandbox, 'download', *packages, cwd=directory)
    except Failure:
        _run('apt-get', '-qq', 'update', cwd=directory)
        _run('apt-get', *sandbox, 'download', *packages, cwd=directory)
