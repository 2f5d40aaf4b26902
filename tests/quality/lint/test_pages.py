#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The manual pages tell of each option that the programs list: what it is for, its default and range, and an example.
That the programs accept the examples is for tests/integration/test_page_examples.py."""

import os
import re

from rules import TOP, rule, run
from harness import check, listing, manual

CONMON = os.environ.get('CONMON', str(TOP / 'build/src/conmon'))
CONMONCTL = os.environ.get('CONMONCTL', os.path.join(os.path.dirname(CONMON), 'conmonctl/conmonctl'))

# The pages need no examples of these options.
NOT_FOR_NEW_USE = ('Old name of', 'Accepted without effect', 'another name of', 'the same as')


def missing(option, items, shows):
    """What the items that define an option fail to describe. `shows` says whether an example uses the option."""
    text = ' '.join(item.text for item in items)
    if not text.strip():
        return ['is not described']
    wrong = [f'has no {number}, which is a limit' for number in option.range
             if not re.search(rf'(?<![\w.-]){re.escape(number)}(?![\w])', text)]
    if option.value and not re.search('default|required|without an address', text, re.I):
        wrong.append('has no default')
    if option.default and not re.search(rf'(?<![\w.-]){re.escape(option.default)}(?!\w)', text):
        wrong.append(f'does not have the default {option.default}')
    if option.value == 'N' and not re.search('from .* to |at least|at most|maximum|up to', text, re.I):
        wrong.append('has no range')
    if option.value == 'SIZE' and not re.search(r'\b(1000|1024)\b', text):
        wrong.append('has no unit')
    if not any(shows(example) for item in items for example in item.examples):
        wrong.append('has no example')
    return wrong


def all_missing(options, items_of, shows):
    check(options, 'the program lists no options')
    return [f'{option.name}: {what}' for option in options if not option.help.startswith(NOT_FOR_NEW_USE)
            for what in missing(option, items_of(option), lambda example: shows(option, example))]


def shows_word(option, example):
    return option.name in re.split('[ =]', example)


@rule({'man/conmon.8': '.Bl -tag\n.It Fl -timeout Ar n\nA limit.\nDefaults to 0, at most 9.\n.Dl --time 3\n.El\n'})
def conmon_page_describes_its_options(tree):
    items = manual.items(tree.read('man/conmon.8'))
    return all_missing(listing.options(CONMON, '--help-all'), lambda o: [i for i in items if o.name in i.options()], shows_word)


@rule({'man/conmonctl.1': '.Sh COMMANDS\n.Bl -tag\n.It Cm list\nPrints.\n.El\n.Sh OPTIONS\n'})
def conmonctl_page_describes_its_options(tree):
    items = manual.items(tree.read('man/conmonctl.1'))
    commands = [listing.Option(name, '', '') for name in listing.commands(CONMONCTL)]
    return all_missing(listing.options(CONMONCTL, '--help'), lambda o: [i for i in items if o.name in i.options()], shows_word) + all_missing(
        commands, lambda o: [i for i in items if i.section[0] == 'COMMANDS' and i.head == f'Cm {o.name}'], shows_word)


@rule({'man/conmon.conf.5': '.Ss attach\n.Bl -tag\n.It Cm queue-max\nFrom 8k to 2g, default 1m.\n.Dl queue-max = 1m\n.El\n'})
def configuration_page_describes_its_keys(tree):
    """A section may refer to another one for its keys."""
    items, wrong = manual.items(tree.read('man/conmon.conf.5')), []

    def items_of(section, option):
        own = [i for i in items if i.section[1].split(' ')[0] == section and re.match(rf'Cm {option.name}\b', i.head)]
        others = [i for i in items if own and i.section[1] == 'defaults' and re.match(rf'Cm {option.name}\b', i.head)]
        refers = [i for i in items if i.section[1].split(' ')[0] == section and 'As in [defaults]' in i.text]
        return own + (others if refers else [])
    for section, keys in listing.keys(CONMON).items():
        wrong += all_missing(keys, lambda o: items_of(section, o),
                           lambda o, example: re.match(rf'{o.name}(\.\S+)? = \S', example))
    return wrong


@rule({'man/conmon.8': '', 'man/conmon-log-drivers.7': '.Sh GELF\n.Bl -tag\n.It Li gelf-address= Ns Ar x\nRequired.\n'
                                                       '.Dl gelf-address:x\n.El\n'})
def pages_describe_the_options_of_log_drivers(tree):
    """Each option for TLS is described once for all drivers whose option has the usual name."""
    items = [item for page in ('conmon.8', 'conmon-log-drivers.7') for item in manual.items(tree.read(f'man/{page}'))]

    def items_of(option):
        family = re.sub('^[a-z]+(?=-tls-)', '', option.name)
        return [item for item in items if {option.name, family} & set(item.keys())]

    def shows(option, example):
        family = re.sub('^[a-z]+(?=-tls-)', '[a-z]+', option.name)
        return re.match(f'{family}=.', example)
    options = {(o.name, o.value, o.range, o.default): o for driver in listing.drivers(CONMON)
               for o in listing.driver_options(CONMON, driver)}
    check(len(options) > 100, f'the program lists {len(options)} options')
    return all_missing(options.values(), items_of, shows)


if __name__ == '__main__':
    run(globals())
