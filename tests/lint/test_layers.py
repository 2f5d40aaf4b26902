#!/usr/bin/python3
"""Who includes whom: base <- {config, ctl, io, log, proc, seccomp} <- core <- main.c."""

import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'tests'))
from harness import equal, main  # noqa: E402

SIBLINGS = {'config', 'ctl', 'io', 'log', 'proc', 'seccomp'}
ALLOWED = {'base': {'base'}, 'core': {'base', 'core', *SIBLINGS}, 'main.c': {'base', 'core', 'build-config.h'},
           **{sibling: {'base', sibling} for sibling in SIBLINGS}}


def test_includes(t):
    """Every quoted include names a file from the top of src, in a layer that may be used there."""
    wrong = []
    for path in sorted((TOP / 'src').rglob('*.[ch]')):
        layer = path.relative_to(TOP / 'src').parts[0]
        for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', path.read_text(), re.M):
            generated = name == 'build-config.h' or name.endswith('-list.h')
            exists = generated or (TOP / 'src' / name).is_file()
            if not exists or name.split('/')[0] not in ALLOWED[layer] | {'build-config.h'}:
                wrong.append(f'{path.relative_to(TOP)} includes {name}')
    equal(wrong, [], 'includes against the layers')


if __name__ == '__main__':
    main()
