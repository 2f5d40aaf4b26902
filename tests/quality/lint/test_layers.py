#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Allowed includes: base <- {config, ctl, io, log, proc, seccomp} <- core <- main.c, and similar within log/;
conmon-tls is a separate program."""

import re

from rules import rule, run

SIBLINGS = {'config', 'ctl', 'io', 'log', 'proc', 'seccomp'}
ALLOWED = {'base': {'base'}, 'core': {'base', 'core', *SIBLINGS}, 'main.c': {'base', 'core', 'build-config.h'},
           'conmonctl': {'base', 'core', 'conmonctl'}, 'tls': {'base', 'tls'},
           **{sibling: {'base', sibling} for sibling in SIBLINGS}}

# The rooms of log/, from the bottom up; rooms in one set must not include each other. The files of log/
# itself are above all of them.
LOG_ROOMS = [{'api'}, {'intake'}, {'sink'}, {'file', 'net', 'pipe'}, {'drivers'}]

GENERATED = {'build-config.h', 'sandbox-filters.h'}

# The protocol between the two programs.
SHARED = {'tls/protocol.h'}


def room_of(parts):
    """The index in LOG_ROOMS and the name of the room of a path in log/."""
    name = parts[0] if len(parts) > 1 else ''
    return next((n for n, rooms in enumerate(LOG_ROOMS) if name in rooms), len(LOG_ROOMS)), name


def includes(tree, top):
    """(path below `top`, name) of every quoted include."""
    for path, text in tree.texts('*.[ch]', below=(top,)):
        for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', text, re.M):
            yield path.relative_to(top), name


@rule({'src/base/a.c': '#include "core/b.h"\n', 'src/core/b.h': ''}, {'src/io/a.c': '#include "a.h"\n', 'src/io/a.h': ''},
      {'src/base/a.c': '#include "base/no-such-file.h"\n'}, {'src/new/a.c': '#include "base/b.h"\n', 'src/base/b.h': ''})
def includes_follow_the_layers(tree):
    """Every quoted include names a file relative to src, in a layer that is allowed there."""
    def allowed(path, name):
        generated = name in GENERATED or name.endswith('-list.h')
        return ((generated or (tree.top / 'src' / name).is_file())
                and (name in SHARED or name.split('/')[0] in ALLOWED.get(path.parts[0], set()) | GENERATED))
    return [f'{path} includes {name}' for path, name in includes(tree, 'src') if not allowed(path, name)]


@rule({'src/log/api/a.h': '#include "log/sink/b.h"\n'}, {'src/log/file/a.c': '#include "log/net/b.h"\n'},
      {'src/log/drivers/a.c': '#include "log/log.h"\n'})
def includes_follow_the_rooms_of_log(tree):
    """No file of log/ includes one of a higher room, or of another room in the same set."""
    wrong = []
    for path, name in includes(tree, 'src/log'):
        row, room = room_of(path.parts)
        other_row, other = room_of(name.split('/')[1:])
        if name.startswith('log/') and (other_row > row or (other_row == row and other != room)):
            wrong.append(f'log/{path} includes {name}')
    return wrong


if __name__ == '__main__':
    run(globals())
