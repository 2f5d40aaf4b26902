#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The examples in the lists of options of the manual pages: the programs accept each of them. That there is one for each
option is for tests/quality/lint/test_pages.py."""

import contextlib
import os
import pathlib
import re
import shlex
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import CONMON, RUNTIME, check, equal, listing, main, manual, skip  # noqa: E402

PAGES = pathlib.Path(__file__).resolve().parents[2] / 'man'
CONMONCTL = os.environ.get('CONMONCTL', pathlib.Path(CONMON).parent / 'conmonctl/conmonctl')

def items(*pages):
    return [item for page in pages for item in manual.items((PAGES / page).read_text())]


# The options of the monitor: each starts a container, or prints something.

PLUGIN = pathlib.Path(os.environ.get('CONMON_TEST_RUNTIME', RUNTIME)).parents[2] / 'unit/seccomp-plugin-0.so'
ANSWERS = {'--version', '--help', '--help-all', '--check-config'}


def placed(m, options, words):
    """The words with all paths in the directory of this monitor, where there is what they name."""
    def move(match):
        path = m.root / match.group(2)[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        return match.group(1) + str(path)
    moved = [re.sub('(^|[:=])(/[^:]*)', move, word) for word in words]
    for option, word in zip(moved, moved[1:]):
        path = pathlib.Path(word)
        if options.get(option) == 'DIR':
            path.mkdir(parents=True, exist_ok=True)
        elif option in ('--runtime', '--exit-command'):
            path.symlink_to(RUNTIME if option == '--runtime' else '/bin/true')
        elif option == '--config':
            path.touch()
        elif option == '--seccomp-notify-plugins' and '--seccomp-notify-socket' in moved:
            path.symlink_to(PLUGIN)
    return moved


def completed(m, words):
    """With what a start needs in addition."""
    needed = {'--cid': m.cid, '--cuuid': m.cid, '--runtime': RUNTIME, '--bundle': m.bundle,
              '--container-pidfile': m.pidfile, '--log-path': f'k8s-file:{m.log}'}
    if '--exec' in words:
        needed['--exec-process-spec'] = m.root / 'process.json'
    if '--log-profile' in words:
        profile = words[words.index('--log-profile') + 1]
        needed['--config'] = m.root / 'conmon.conf'
        needed['--config'].write_text(f'[profile {profile}]\ndriver = json-file:{m.root}/{{{{.ID}}}}\n')
    argv = [*words, '--sync']
    for option, value in needed.items():
        if option not in words:
            argv += [option, str(value)]
    if '--exec-process-spec' in words:
        argv += ['--exec']
    return argv if '--socket-dir-path' in words else [*argv, '--full-attach']


def run_option(t, options, example):
    """What is wrong with it: '' if it does what it should."""
    m = t.monitor(str(len(t.monitors) + 1))
    words = placed(m, options, shlex.split(example))
    answers = bool(ANSWERS & set(words))
    argv = words if answers else completed(m, words)
    (m.bundle / 'notify').mkdir()  # as the engine makes it for --sdnotify-socket
    pipes = ('sync', 'start', 'attach') if '--exec-attach' in words else ('sync', 'start')
    m.spawn([t.program, *argv], t.environment('exit 3', TEST_PLUGIN_LOG=str(m.root / 'plugin')), pipes)
    m.pid = m.launcher
    with contextlib.suppress(BrokenPipeError):  # it has refused the options already
        for _ in range(0 if answers else len(pipes) - 1):
            m.start.go()
    status, errors = m.wait_launcher(), m.stderr.read_text()
    return '' if status == (0 if answers else 3) and '[conmon:e]' not in errors else f'{example}: status {status}: {errors}'


def test_options_of_the_monitor(t):
    options = {option.name: option.value for option in listing.options(t.program, '--help-all')}
    examples = [example for item in items('conmon.8') if item.options() for example in item.examples
                if '--seccomp-notify-socket' not in example or os.access(PLUGIN, os.R_OK)]
    check(len(examples) > 50, f'there are {len(examples)} examples')
    equal([wrong for example in examples if (wrong := run_option(t, options, example))], [])
    check(run_option(t, options, '--exit-delay soon'), 'a wrong example is accepted')


# The options of log drivers: each is in what the container would get.

# What another option needs; the text says so.
COMPANIONS = (
    ('compress|max-file', ['max-size=10m', 'max-file=5']),
    ('(.*-tls)-(cert|key)(-file)?', [r'\1-cert\3=/c', r'\1-key\3=/k']),
    ('syslog-tls-.*', ['syslog-address=tcp+tls://h']),
    ('(fluentd)-(username|password-.*)', ['fluentd-username=u', 'fluentd-password-env=P', 'fluentd-shared-key-env=K']),
    ('(http|loki|otlp)-(user|password-.*)', [r'\1-user=u', r'\1-password-env=P']),
)


def checked(t, *argv):
    done = subprocess.run([t.program, '--check-config', *argv], capture_output=True, text=True,
                          env=t.environment(CONMON_TLS='/x'))  # accepts TLS also if it was built without
    return done.returncode, done.stdout, done.stderr


def completed_settings(example, required):
    """With what it needs; a secret from a file replaces that from a variable."""
    key, settings = example.partition('=')[0], [example]
    needed = required + [re.sub(pattern, other, key) for pattern, others in COMPANIONS if re.fullmatch(pattern, key) for other in others]

    def stem(setting):
        return re.sub('-(file|env)$', '', setting.partition('=')[0])
    return settings + list({stem(other): other for other in needed if stem(other) != stem(example)}.values())


def run_driver_option(t, driver, required, example):
    settings = completed_settings(example, required)
    status, out, err = checked(t, '--config', t.dir / 'empty.conf', '--log-driver', driver, *(f'--log-opt={o}' for o in settings))
    shown = f"#     {example.replace('=', ' = ', 1)} " in out or f"#   k8s-{example.partition('=')[2]} " in out  # without a journal
    return '' if status == 0 and shown else f'{driver}: {example}: status {status}: {err}'


def test_options_of_log_drivers(t):
    (t.dir / 'empty.conf').touch()
    arguments = {'PATH': '/x.log', 'NAME': 'loki', '///PATH[?KEY=VALUE]': '///bin/cat'}
    pages = items('conmon.8', 'conmon-log-drivers.7')
    examples = {example: item.text for item in pages if item.keys() for example in item.examples}
    waiting = dict(examples)
    for driver, argument in listing.drivers(t.program).items():
        names = {option.name for option in listing.driver_options(t.program, driver)}
        required = [example for example, text in examples.items() if re.search(r'Required\.|is required', text)
                    and example.partition('=')[0] in names]
        name = f'{driver}:{arguments[argument]}' if argument else driver
        for example in [example for example in waiting if example.partition('=')[0] in names]:
            equal(run_driver_option(t, name, required, example), '')
            del waiting[example]
    equal(waiting, {}, 'examples that no driver knows')
    check(run_driver_option(t, 'journald', [], 'mode=never'), 'a wrong example is accepted')


# The complete commands: what they give a container. tests/interop/receivers/test_commands.py runs them.

def test_complete_commands(t):
    source = (PAGES / 'conmon-log-drivers.7').read_text()
    (t.dir / 'empty.conf').touch()
    for name in listing.drivers(t.program):
        check(name in manual.complete_commands(source), f'the section EXAMPLES has no command for {name}')
        status, out, err = checked(t, *manual.arguments(source, name), '--config', t.dir / 'empty.conf')
        errors = [line for line in err.splitlines() if not line.startswith('conmon: warning: ')]
        equal((status, errors), (0, []), name)
        shown = re.findall(r'^#   ([a-z0-9-]+)', out.partition('\n# The container web gets ')[2], re.M)
        check(name in shown or (name, shown) == ('none', []), f'{name}: {shown}')


# The keys of configuration files: each is in what is in force.

# Sections that an example names, and keys that it needs.
AROUND = '[profile central]\ndriver = syslog\n[profile docker]\ndriver = json-file:/x/{{.ID}}\n' \
         '[sink near]\ndriver = syslog\n[sink archive]\ndriver = syslog\n'
BESIDE = {'opt.max-size = 10m': 'driver = json-file:/x/{{.ID}}', 'opt.syslog.tag = {{.Name}}': 'driver = syslog',
          'opt.syslog-address = udp://logs.example.net': 'driver = syslog', 'max-files = 5': 'rotate = true'}


def run_key(t, section, example):
    title = f'{section} x' if section in listing.NAMED_SECTIONS else section
    file = t.dir / 'a.conf'
    file.write_text(f'{AROUND}[{title}]\n{BESIDE.get(example, "")}\n{example}\n')
    status, out, err = checked(t, file)
    errors = [line for line in err.splitlines() if not re.search('^conmon: warning: .*: no file can be made in /', line)]
    shown = re.sub(r'\s+# .*', '', out, flags=re.M)
    found = f'[{title}]' in shown and example in shown.partition(f'[{title}]')[2].split('\n\n')[0].splitlines()
    return '' if (status, errors) == (0, []) and found else f'[{title}] {example}: status {status}: {err}'


def test_keys_of_configuration_files(t):
    examples = [(item.section[1].split(' ')[0], example) for item in items('conmon.conf.5') if item.head.startswith('Cm ')
                for example in item.examples]
    check(len(examples) > 20, f'there are {len(examples)} examples')
    equal([wrong for section, example in examples if (wrong := run_key(t, section, example))], [])
    check(run_key(t, 'limits', 'max-files = 0'), 'a wrong example is accepted')


# The commands and options of conmonctl, with a container that runs. None changes those of others.

def run_conmonctl(t, name, example):
    words = [name if word in ('web-1', 'db-1') else word for word in shlex.split(example)]
    words = [str(t.dir / pathlib.Path(word).name) if word.startswith('/') else word for word in words]
    if 'top' in words and '--iterations' not in words:
        words += ['--iterations', '2']
    if 'top' in words and '--interval' not in words:
        words += ['--interval', '0.1']
    done = subprocess.run([CONMONCTL, *words[1:]], capture_output=True, text=True, input='GET /metrics HTTP/1.1\r\n\r\n')
    # A pattern may match nothing here, and others' monitors may be silent.
    lenient = words[1:2] == ['list'] or '--all' in words
    return '' if done.returncode == 0 or lenient and done.returncode in (1, 4) else f'{example}: {done}'


def test_commands_of_conmonctl(t):
    if not os.access(CONMONCTL, os.X_OK):
        skip('there is no conmonctl; CONMONCTL names it')
    name = f'page-{os.getpid()}'
    m = t.create('wait @/end', name=name)
    examples = [example for item in items('conmonctl.1') for example in item.examples]
    check(len(examples) > 14, f'there are {len(examples)} examples')
    equal([wrong for example in examples if (wrong := run_conmonctl(t, name, example))], [])
    check(run_conmonctl(t, name, 'conmonctl stop web-1'), 'a wrong example is accepted')
    t.touch('end')
    m.finish(0)


if __name__ == '__main__':
    main()
