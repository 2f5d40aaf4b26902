# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The shell commands of the pages: README.md, src/README.md, tests/README.md and the manual pages."""

import pathlib
import re

from . import manual

TOP = pathlib.Path(__file__).resolve().parents[3]
PAGES = ['README.md', 'src/README.md', 'tests/README.md', *sorted(f'man/{path.name}' for path in (TOP / 'man').glob('*.[0-9]'))]

# A program with at least one argument, or a program of this tree.
COMMAND = re.compile(r'''(\$\ )?(?:
        (apt-get|conmon|conmonctl|echo|journalctl|kubectl|logrotate|man|meson|mkdir|mv|podman|runc|socat|until)\ .* |
        \$\ conmonctl | (\./)?(build|contrib|tests)/\S*[a-z](\ .*)?)''', re.X)


def _markdown(text):
    """Indented lines without the explanation after them, and words in backquotes."""
    text = re.sub('^```.*?^```', '', text, flags=re.S | re.M)
    for line in re.findall('^    (.*)', text, re.M):
        yield re.sub('  .*', '', line)
    for words in re.findall('`([^`]+)`', re.sub('^    .*', '', text, flags=re.M)):
        if ' ' in words or words.startswith('./'):
            yield ' '.join(words.split())


def _mdoc(text):
    """Displays, and words in quotes."""
    for display in re.findall(r'^\.Bd -literal[^\n]*\n(.*?)^\.Ed', text, re.S | re.M):
        yield from (line.strip() for line in re.sub(r'\\e\n +', '', display).replace('\\e', '\\').splitlines())
    for line in re.findall(r'^\.(?:Dl|Ql) .*', text, re.M):
        yield re.sub(' ?[.,:;]$', '', manual.plain(line)).strip()


def commands(page):
    text = (TOP / page).read_text()
    found = (_markdown if page.endswith('.md') else _mdoc)(text)
    return [command for command in dict.fromkeys(found) if COMMAND.fullmatch(command)]
