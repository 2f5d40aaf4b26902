#!/usr/bin/python3
"""What a packager gets: a tree without a repository that is set up, and what it installs."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'tests'))
from harness import check, equal, main  # noqa: E402


def output(*argv, **options):
    result = subprocess.run([*map(str, argv)], capture_output=True, text=True, **options)
    check(result.returncode == 0, f'{argv}: {result.stdout}{result.stderr}')
    return result.stdout


def unpack(t):
    """A tree as a tarball has it, below a repository of somebody else."""
    tree = t.dir / 'package/tree'
    tree.mkdir(parents=True)
    for name in ('src', 'man', 'tests'):
        shutil.copytree(TOP / name, tree / name, ignore=shutil.ignore_patterns('corpus', '__pycache__'))
    for name in ('meson.build', 'meson_options.txt'):
        shutil.copy(TOP / name, tree / name)
    # It ignores the variables with which a caller of the tests may point to a repository.
    t.env = {key: value for key, value in os.environ.items() if not key.startswith('GIT_')}
    identity = ('-c', 'user.name=x', '-c', 'user.email=x@example.org')
    output('git', 'init', '-q', tree.parent, env=t.env)
    output('git', '-C', tree.parent, *identity, 'commit', '-q', '--allow-empty', '-m', 'x', env=t.env)
    return tree


def test_set_up(t):
    """The oldest Meson that meson.build allows has all that it asks for; the commit of others is not its own."""
    tree = unpack(t)
    told = output('meson', 'setup', tree / 'build', tree, env=t.env)
    equal([line for line in told.splitlines() if 'uses feature' in line], [], 'warnings')
    check('CONMON_COMMIT "unknown"' in (tree / 'build/build-config.h').read_text(), 'it has a commit of others')


def test_installed_files(t):
    """The program and every manual page, each where it belongs, and nothing else."""
    tree = unpack(t)
    output('meson', 'setup', '-Dtests=false', '--prefix=/usr', tree / 'build', tree, env=t.env)
    pages = {f'/usr/share/man/man{page.suffix[1:]}/{page.name}' for page in (TOP / 'man').glob('*.[0-9]')}
    equal(set(json.loads(output('meson', 'introspect', tree / 'build', '--installed')).values()),
          {'/usr/bin/conmon'} | pages)


if __name__ == '__main__':
    main()
