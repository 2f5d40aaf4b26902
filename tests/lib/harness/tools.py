# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Programs that tests use and a machine may lack."""

import pathlib
import shutil
import traceback

from .check import skip

PACKAGES = pathlib.Path(__file__).resolve().parents[3] / 'contrib/lib/packages'


def package_of(program):
    """The package of a program for a message, if contrib/lib/packages lists it; else ''."""
    for line in PACKAGES.read_text().splitlines() if PACKAGES.exists() else ():
        fields = line.split()
        if len(fields) == 4 and fields[1] == f'command:{program}':
            debian, fedora = fields[2:]
            return f' (package {debian}{f", {fedora} on Fedora" if fedora != debian else ""})'
    return ''


def tool(program):
    """Its path; without it the test is left out."""
    return shutil.which(program) or skip(f'{program} is missing{package_of(program)}')


def missing_tool(error):
    """A message if a test failed because a program that it runs is not installed; else None."""
    if not isinstance(error, FileNotFoundError) or not error.filename or '/' in str(error.filename):
        return None
    if not traceback.extract_tb(error.__traceback__)[-1].filename.endswith('subprocess.py'):
        return None
    return f'{error.filename} is missing{package_of(error.filename)}'
