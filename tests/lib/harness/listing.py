# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The options that the programs list in their help, for tests of the manual pages."""

import dataclasses
import re
import subprocess
import tempfile


@dataclasses.dataclass
class Option:
    """`value`: its placeholder in the help, '' for a flag; `range`: the numbers that limit it; `default`: '' if the help
    names none."""
    name: str
    value: str
    help: str
    range: tuple = ()
    default: str = ''


def _help(program, *argv):
    return subprocess.run([program, *argv], capture_output=True, text=True, check=True).stdout


def options(program, *argv):
    """Of --help or --help-all: '  -b, --bundle=DIR   OCI bundle'."""
    rows = re.findall(r'^  (?:-(?:\w), +| +)?(--[a-z][a-z-]*)(?:=(\S+))? +(\S.*)', _help(program, *argv), re.M)
    return [Option(name, value, text) for name, value, text in rows]


def commands(program):
    """Of conmonctl --help: '  list [CONTAINER...]   List monitors'."""
    return re.findall(r'^  ([a-z]+) ', _help(program, '--help').partition('\nCommands:\n')[2], re.M)


def drivers(program):
    """{name: placeholder of the argument, or ''} of the log drivers."""
    return dict(re.findall(r'^  ([a-z0-9-]+):?(\S*)', _help(program, '--log-driver', 'help'), re.M))


def _numbers(text):
    """Of 'from 1 to 9', 'at least 1' or 'at most 9'."""
    both = re.search(r'\bfrom (-?\w+) to (-?\w+)', text)
    return both.groups() if both else tuple(re.findall(r'\bat (?:least|most) (-?\w+)', text))


def driver_options(program, driver):
    """Of --log-driver NAME:help, but those without effect."""
    found = []
    for name, value, text in re.findall(r'^  ([a-z0-9-]+)=(\S*)\n +(.*)', _help(program, '--log-driver', f'{driver}:help'), re.M):
        notes = re.search(r'(?: \(([^()]*)\))?$', text).group(1) or ''
        default = re.search(r'\bdefault ([^;]*)', notes)
        found.append(Option(name, value, text, _numbers(notes), default.group(1) if default else ''))
    return found


def _refused(program, text):
    """The message about a configuration file with an error."""
    with tempfile.NamedTemporaryFile('w', suffix='.conf') as file:
        file.write(text)
        file.flush()
        return subprocess.run([program, '--check-config', file.name], capture_output=True, text=True).stderr


NAMED_SECTIONS = ('match', 'profile', 'sink')
SECTIONS = ('defaults', *NAMED_SECTIONS, 'policy', 'attach', 'limits', 'health')


def keys(program):
    """{section: options} of configuration files. The message for an invalid value has the range of a key."""
    found = {}
    for section in SECTIONS:
        title = f'[{section} x]' if section in NAMED_SECTIONS else f'[{section}]'
        names = re.search(r'there are (.*)', _refused(program, f'{title}\nno-such-key = 1\n')).group(1).split(', ')
        messages = {name: _refused(program, f'{title}\n{name} = x y\n') for name in names}
        allowed = {name: re.search('; allowed: (.*)', text) for name, text in messages.items()}
        found[section] = [Option(name.replace('opt.KEY', 'opt'), 'VALUE', '', _numbers(match.group(1)) if match else ())
                          for name, match in allowed.items()]
    return found
