# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Reads TOML, also with a Python that has no tomllib."""

import importlib
import pathlib
import sys


def loads(text):
    """The tables of a text. Without a TOML parser the whole test file is skipped."""
    for name in ('tomllib', 'tomli', 'pip._vendor.tomli'):
        try:
            return importlib.import_module(name).loads(text)
        except ImportError:
            pass
    print('1..0 # SKIP no TOML parser: needs Python 3.11 or the package python3-tomli')
    sys.exit(0)


def load(path):
    """The tables of a file."""
    return loads(pathlib.Path(path).read_text(encoding='utf-8'))
