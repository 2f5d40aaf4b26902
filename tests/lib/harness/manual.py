# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The manual pages: what each list item defines, says and shows."""

import dataclasses
import re
import subprocess

# Macros that change how words look, not what they say.
LOOKS = {'Ar', 'Cm', 'Dl', 'Dq', 'Dv', 'Em', 'Ev', 'Fl', 'Li', 'No', 'Oc', 'Oo', 'Op', 'Pa', 'Pq', 'Ql', 'Sq', 'Sx', 'Xr'}


@dataclasses.dataclass
class Item:
    """`head`: the words after .It; `section`: the titles of .Sh and .Ss; `text`: the body without macros, with that of
    lists within, `examples`: its displays of one line."""
    head: str
    section: tuple
    text: str = ''
    examples: list = dataclasses.field(default_factory=list)

    def options(self):
        """`Fl b , Fl -bundle Ar dir` defines -b and --bundle."""
        return ['-' + name for name in re.findall(r'\bFl (-?[A-Za-z0-9][a-z0-9-]*)', self.head)]

    def keys(self):
        """`Li max-size= Ns Ar size` defines max-size; `Ar driver Ns Li -tls-key=` defines it for all drivers."""
        if not self.head.startswith(('Li ', 'Ar driver ')):
            return []
        return re.findall(r'(?:^|[ ,])(-?[a-z][a-z0-9-]*)=', self.head)


def plain(line):
    """One line of source without its macros."""
    text = line.replace('\\&', '').replace('\\ ', ' ').replace('\\(dq', '"').replace('\\e', '\\')
    if not line.startswith('.'):
        return text
    words, out, join = text[1:].split(' '), [], True
    for i, word in enumerate(words):
        if word == 'Ns':
            join = True
        elif word in LOOKS and i < len(words) - 1:
            if word == 'Fl':
                words[i + 1] = '-' + words[i + 1]
        elif word not in LOOKS:
            out.append(word if join or word in ',.;:)' else ' ' + word)
            join = False
    return ''.join(out)


def _add_line(items, line):
    if line.startswith('.Dl '):
        items[-1].examples.append(plain(line))
    else:
        for item in items:
            item.text += ' ' + plain(line)


def items(source):
    """The list items of a page, in their order."""
    found, lists, title = [], [], ['', '']
    for line in source.split('\n'):
        macro, _, rest = line.partition(' ')
        if macro in ('.Sh', '.Ss'):
            title = [rest, ''] if macro == '.Sh' else [title[0], rest]
        elif macro == '.Bl':
            lists.append(None)
        elif macro == '.El':
            lists.pop()
        elif macro == '.It':
            lists[-1] = Item(rest, tuple(title))
            found.append(lists[-1])
        else:
            inner = [item for item in lists if item]
            if inner:
                _add_line(inner, line)
    return found


def complete_commands(source):
    """{name: shell commands} of the section EXAMPLES: after "name: what it does:" a literal display."""
    section = re.search(r'^\.Sh EXAMPLES\n(.*?)^\.Sh ', source, re.S | re.M).group(1)
    found = re.findall(r'^([a-z0-9-]+): [^\n]*\n\.Bd -literal -offset indent\n(.*?)^\.Ed$', section, re.S | re.M)
    return {name: text.replace('\\e\n', '\\\n').replace('\\e', '\\') for name, text in found}


def shared_words(source):
    """The assignment in the section EXAMPLES that the commands share."""
    return re.search(r"^c='.*'$", source, re.M).group()


def arguments(source, name):
    """The arguments of the command `conmon` in one of the complete commands."""
    script = f'conmon() {{ printf "%s\\0" "$@"; }}\njournalctl() {{ :; }}\n{shared_words(source)}\n{complete_commands(source)[name]}'
    result = subprocess.run(['/bin/sh', '-ec', script], capture_output=True, text=True, check=True)
    return result.stdout.split('\0')[:-1]
