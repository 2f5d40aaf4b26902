# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Two builds of a program that differ only in their version string."""

import os
import pathlib
import shutil
import subprocess


def version_of(program):
    words = subprocess.run([program, '--version'], capture_output=True, text=True, check=True).stdout.split()
    return words[2]


def make_other(program, path):
    """A copy whose version has the same length."""
    version = version_of(program)
    other = 'X' + version[1:]
    data = pathlib.Path(program).read_bytes()
    path.write_bytes(data.replace(version.encode(), other.encode()))
    path.chmod(0o755)
    return other


class Installed:
    """The program at `path`, which is alternately replaced by the other version and the first one. Copies of
    both are beside it."""

    def __init__(self, program, path):
        self.path = path
        self.files = [path.with_name(path.name + suffix) for suffix in ('-1', '-2')]
        shutil.copy(program, self.files[0])
        self.versions = [version_of(program), make_other(program, self.files[1])]
        self.current = 1
        self.swap()

    @property
    def version(self):
        return self.versions[self.current]

    def swap(self):
        """Replaces the program as package managers do: the name always exists."""
        self.current = 1 - self.current
        new = self.path.with_name(self.path.name + '.new')
        os.link(self.files[self.current], new)
        os.rename(new, self.path)
