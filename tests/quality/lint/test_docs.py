#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The documentation: spelling, markup, and agreement with the program."""

import os
import re
import subprocess

from rules import TOP, rule, run
from harness import check
from test_code import LICENSE

CONMON = os.environ.get('CONMON', str(TOP / 'build/src/conmon'))

# Technical terms that codespell takes for misspellings.
WORDS = 'als,caf,crate,nd,nome,ser,te,tru,whats'


def output_of(*argv):
    return subprocess.run([CONMON, *argv], capture_output=True, text=True, check=True).stdout


def options_of_help():
    return set(re.findall(r'^\s+(?:-\w, +)?(--[a-z][a-z-]*)', output_of('--help-all'), re.M))


def options_of_page(tree):
    """The options that the lists of the manual page define: `.It Fl -cid ...` or `.It Fl c , Fl -cid ...`."""
    items = re.findall(r'^\.It (Fl .*)', tree.read('man/conmon.8'), re.M)
    return {'-' + name for item in items for name in re.findall(r'\bFl (-[a-z][a-z-]*)', item)}


@rule({'README.md': 'This is t' 'eh text.\n'}, {'src/a.c': '/* rec' 'ieve */\n'})
def spelling(tree):
    paths = [str(tree.top / path) for path, _ in tree.texts()]
    done = subprocess.run(['codespell', '--ignore-words-list', WORDS, '--ignore-regex', r'\\[nrt]', *paths],
                          capture_output=True, text=True)
    return done.stdout.splitlines() or ([done.stderr] if done.returncode else [])


@rule({'man/a.8': '.Dd January 1, 2026\n.Dt A 8\n.Os\n.Sh NAME\n.Nm a\n.Nd b\n.Sh X\n.Bl -tag\n.Xx\n'})
def manual_pages_pass_mandoc(tree):
    wrong = []
    for page in tree.paths('*.[0-9]', below=('man',)):
        done = subprocess.run(['mandoc', '-Tlint', '-Wstyle', tree.top / page], capture_output=True, text=True)
        wrong += [line for line in done.stdout.splitlines() if 'referenced manual not found' not in line]
    return wrong


@rule({'man/conmon.8': '.It Fl -help\n'})
def page_has_every_option(tree):
    shown = options_of_help()
    check(len(shown) > 50, f'--help-all shows {len(shown)} options')
    return sorted(shown - options_of_page(tree))


@rule({'man/conmon.8': '.It Fl -no-such-option Ar x\n'})
def page_has_no_other_option(tree):
    """An option that --help-all does not show must at least be accepted by the program."""
    wrong = []
    for option in sorted(options_of_page(tree) - options_of_help()):
        done = subprocess.run([CONMON, option, 'x', '--version'], capture_output=True, text=True)
        if done.returncode != 0:
            wrong.append(f'{option}: {done.stderr.strip()}')
    return wrong


def log_options():
    names = re.findall(r'^  ([a-z0-9-]+)', output_of('--log-driver', 'help'), re.M)
    check(len(names) > 8, f'--log-driver help shows {names}')
    found = set()
    for text in (output_of('--log-driver', f'{name}:help') for name in names):
        unused = re.search(r'^Accepted without effect: (.*)', text, re.M)
        found |= {*re.findall(r'^  ([a-z0-9-]+)=', text, re.M), *(unused.group(1).split(', ') if unused else ())}
    return found


@rule({'man/conmon-log-drivers.7': '.It Li tag=\n', 'man/conmon.8': ''},
      lambda: {'man/conmon-log-drivers.7': '.It Li ' + '= '.join([*log_options(), 'no-such-option=\n']), 'man/conmon.8': ''})
def pages_have_the_options_of_log_drivers(tree):
    """conmon-log-drivers(7) and conmon(8) describe each option of each driver, and no others."""
    text = ''.join(tree.read(f'man/{page}') for page in ('conmon-log-drivers.7', 'conmon.8'))
    described = set(re.findall(r'\b([a-z][a-z0-9-]*)=', ' '.join(re.findall(r'^\.It (Li [a-z].*)', text, re.M))))
    return [f'{name} is not described' for name in sorted(log_options() - described)] + [
        f'no log driver has {name}' for name in sorted(described - log_options())]


# The options that moby's daemon/logger/*/*.go accept, without drivers for clouds and Windows.
DOCKER_OPTIONS = '''mode max-buffer-size cache-disabled cache-max-size cache-max-file cache-compress tag labels labels-regex env
env-regex max-size max-file compress syslog-address syslog-facility syslog-format syslog-tls-ca-cert syslog-tls-cert
syslog-tls-key syslog-tls-skip-verify gelf-address gelf-compression-type gelf-compression-level gelf-tcp-max-reconnect
gelf-tcp-reconnect-delay fluentd-address fluentd-async fluentd-async-reconnect-interval fluentd-buffer-limit
fluentd-max-retries fluentd-request-ack fluentd-retry-wait fluentd-sub-second-precision fluentd-read-timeout
fluentd-write-timeout splunk-url splunk-source splunk-sourcetype splunk-index splunk-capath splunk-caname
splunk-insecureskipverify splunk-format splunk-verify-connection splunk-gzip splunk-gzip-level
splunk-index-acknowledgment'''.split()


@rule({'man/conmon-log-drivers.7': '.Sh DOCKER\n.Li mode\n.Sh NEXT\n'})
def page_has_docker_options(tree):
    """The section on Docker describes each option of the drivers that both have, and the program accepts them."""
    section = re.search(r'^\.Sh DOCKER\n(.*?)^\.Sh', tree.read('man/conmon-log-drivers.7'), re.S | re.M).group(1)
    done, accepted = set(re.findall(r'[a-z][a-z-]+', section)), log_options()
    return [f'{name} is not described' for name in DOCKER_OPTIONS if name not in done] + [
        f'no log driver accepts {name}' for name in DOCKER_OPTIONS if name not in accepted]


@rule({'README.md': 'See [there](no-such-file.md).\n'}, {'tests/README.md': '[a](../b)\n'})
def links_are_valid(tree):
    return [f'{path}: {link}' for path, text in tree.texts('*.md')
            for link in re.findall(r'\]\((?!https?:|#)([^)#\s]+)', text)
            if not (tree.top / path.parent / link).exists()]


@rule({'src/README.md': '```c\nint f(void) { return g(); }\n```\n'})
def example_of_a_log_driver_compiles(tree):
    """The example of a log driver in src/README.md, with the current headers; it begins as every source file does."""
    code = re.search(r'^```c\n(.*?)^```', tree.read('src/README.md'), re.S | re.M).group(1)
    flags = subprocess.run(['pkg-config', '--cflags', 'glib-2.0'], capture_output=True, text=True, check=True).stdout
    done = subprocess.run(['cc', '-std=gnu11', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Wno-unused-parameter', '-Werror',
                           '-Wno-missing-field-initializers', f'-I{TOP}/src', *flags.split(), '-fsyntax-only', '-xc', '-'],
                          input=code, capture_output=True, text=True)
    return done.stderr.splitlines() + ([] if LICENSE.match(code) else ['the example names no license'])


if __name__ == '__main__':
    run(globals())
