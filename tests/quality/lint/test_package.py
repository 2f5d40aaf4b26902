#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Builds from a tarball, without a repository, and the installed files."""

import json
import os
import re
import shutil
import subprocess

from rules import TOP
from harness import check, equal, main, slow


def output(*argv, **options):
    result = subprocess.run([*map(str, argv)], capture_output=True, text=True, **options)
    check(result.returncode == 0, f'{argv}: {result.stdout}{result.stderr}')
    return result.stdout


def unpack(t):
    """Unpacks the tree as from a tarball, inside of an unrelated repository."""
    tree = t.dir / 'package/tree'
    tree.mkdir(parents=True)
    for name in ('src', 'man', 'tests', 'contrib'):
        shutil.copytree(TOP / name, tree / name, ignore=shutil.ignore_patterns('corpus', '__pycache__'))
    for name in ('meson.build', 'meson_options.txt', '.gitattributes'):
        shutil.copy(TOP / name, tree / name)
    (tree / 'contrib/lib/commit').write_text('$Format:%H$\n')  # this tree may itself be from a tarball
    # Ignores variables of the caller that point to a repository.
    t.env = {key: value for key, value in os.environ.items() if not key.startswith('GIT_')}
    commit(t, tree.parent)
    return tree


def commit(t, directory, *paths):
    """Creates a repository with these paths, and returns its commit."""
    git = ('git', '-C', directory, '-c', 'user.name=x', '-c', 'user.email=x@example.org')
    output(*git, 'init', '-q', env=t.env)
    if paths:
        output(*git, 'add', *paths, env=t.env)
    output(*git, 'commit', '-q', '--allow-empty', '-m', 'x', env=t.env)
    return output(*git, 'rev-parse', 'HEAD', env=t.env).strip()


@slow(240)
def test_set_up(t):
    """meson.build uses no features newer than its meson_version; the commit of another repository is not used."""
    tree = unpack(t)
    log = output('meson', 'setup', tree / 'build', tree, env=t.env)
    equal([line for line in log.splitlines() if 'uses feature' in line], [], 'warnings')
    check('CONMON_COMMIT "unknown"' in (tree / 'build/build-config.h').read_text(), 'the commit of another repository was used')


@slow(240)
def test_commit_of_a_tarball(t):
    """A tarball created by git archive, as by meson dist, contains its commit."""
    tree = unpack(t)
    made_from = commit(t, tree, '-A')
    output('git', '-C', tree, 'archive', '-o', t.dir / 'package.tar', 'HEAD', env=t.env)
    (t.dir / 'unpacked').mkdir()
    output('tar', '-xf', t.dir / 'package.tar', '-C', t.dir / 'unpacked')
    output('meson', 'setup', '-Dtests=false', t.dir / 'build', t.dir / 'unpacked', env=t.env)
    check(f'CONMON_COMMIT "{made_from}"' in (t.dir / 'build/build-config.h').read_text(), 'wrong commit')


@slow(240)
def test_installed_files(t):
    """Exactly the programs, manual pages and completions are installed, in the right directories."""
    tree = unpack(t)
    output('meson', 'setup', '-Dtests=false', '--prefix=/usr', tree / 'build', tree, env=t.env)
    tls = subprocess.run(['pkg-config', '--exists', 'gnutls >= 3.6.3'], check=False).returncode == 0
    optional = {'/usr/libexec/conmon/conmon-tls'} if tls else set()
    pages = {f'/usr/share/man/man{page.suffix[1:]}/{page.name}' for page in (TOP / 'man').glob('*.[0-9]')}
    equal(set(json.loads(output('meson', 'introspect', tree / 'build', '--installed')).values()),
          {'/usr/bin/conmon', '/usr/bin/conmonctl', '/usr/share/bash-completion/completions/conmonctl',
           '/usr/share/zsh/site-functions/_conmonctl', '/usr/share/fish/vendor_completions.d/conmonctl.fish'} | pages | optional)


@slow(240)
def test_other_directories(t):
    """--sysconfdir and --datadir change the configuration directories, also in the manual pages."""
    tree = unpack(t)
    output('meson', 'setup', '-Dtests=false', '--prefix=/usr', '--sysconfdir=/gnu/etc', '--datadir=/gnu/share', tree / 'build',
           tree, env=t.env)
    config, page = (tree / 'build/build-config.h').read_text(), 'man/conmon.conf.5'
    check('CONMON_ADMIN_DIR "/gnu/etc/containers"' in config and 'CONMON_VENDOR_DIR "/gnu/share/containers"' in config, config)
    output('ninja', '-C', tree / 'build', page, 'src/libconmon.a.p/config_search.c.o', env=t.env)
    text, program = (tree / 'build' / page).read_text(), (tree / 'build/src/libconmon.a.p/config_search.c.o').read_bytes()
    for place in ('/etc/containers/conmon.conf', '/usr/share/containers/conmon.conf'):
        moved = place.replace('/usr', '').replace('/', '/gnu/', 1)
        check(moved in text and moved.encode() in program, f'{moved} is missing')
        check(f' {place}' not in text and place.encode() + b'\0' not in program.replace(moved.encode(), b''), f'{place} was not replaced')


def test_descriptions_of_packages(t):
    """The packaging has the current version and lists every example."""
    packaging = TOP / 'contrib/packaging'
    version = re.search(r"version: '([\d.]+)'", (TOP / 'meson.build').read_text()).group(1)
    for name, pattern in {'debian/changelog': r'^conmon \(([\d.]+)-', 'rpm/conmon.spec': r'^Version:\s+(\S+)',
                          'alpine/APKBUILD': r'^pkgver=(\S+)'}.items():
        equal(re.search(pattern, (packaging / name).read_text(), re.M).group(1), version, name)
    # The file in modules-load.d is installed by conmon-tls.
    examples = {f'contrib/examples/{path.name}' for path in (TOP / 'contrib/examples').iterdir() if path.name != 'modules-load.d'}
    equal(set((packaging / 'debian/conmon.examples').read_text().split()), examples, 'examples of Debian')


if __name__ == '__main__':
    main()
