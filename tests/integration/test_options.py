#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The command line: parsing, validation, and the order and text of errors."""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import check, CID, content, differs, equal, main, matches, parse, status_field  # noqa: E402

# all options: long name, short name, argument
OPTIONS = [
    ('api-version', '', None), ('bundle', 'b', 'x'), ('cid', 'c', 'x'), ('conmon-pidfile', 'P', 'x'),
    ('container-pidfile', 'p', 'x'), ('pidfile', '', 'x'), ('cuuid', 'u', 'x'), ('exec', 'e', None),
    ('exec-attach', '', None), ('exec-process-spec', '', 'x'), ('exit-command', '', 'x'),
    ('exit-command-arg', '', 'x'), ('exit-delay', '', '1'), ('exit-dir', '', 'x'), ('full-attach', '', None),
    ('leave-stdin-open', '', None), ('log-level', '', 'x'), ('log-path', 'l', 'x'), ('log-size-max', '', '1'),
    ('log-global-size-max', '', '1'), ('log-tag', '', 'x'), ('log-label', '', 'A=b'), ('log-rotate', '', None),
    ('log-max-files', '', '1'), ('log-allowlist-dir', '', 'x'), ('no-container-partial-message', '', None),
    ('name', 'n', 'x'), ('no-new-keyring', '', None), ('no-pivot', '', None), ('no-sync-log', '', None),
    ('persist-dir', '0', 'x'), ('replace-listen-pid', '', None), ('restore', '', 'x'), ('restore-arg', '', 'x'),
    ('runtime', 'r', 'x'), ('runtime-arg', '', 'x'), ('runtime-opt', '', 'x'), ('sdnotify-socket', '', 'x'),
    ('socket-dir-path', '', 'x'), ('stdin', 'i', None), ('sync', '', None), ('syslog', '', None),
    ('systemd-cgroup', 's', None), ('terminal', 't', None), ('timeout', 'T', '1'), ('version', '', None),
    ('seccomp-notify-socket', '', 'x'), ('seccomp-notify-plugins', '', 'x'),
]
HIDDEN = {'pidfile', 'restore-arg', 'seccomp-notify-socket', 'seccomp-notify-plugins'}
NEWER = {'log-allowlist-dir', 'log-label', 'log-rotate', 'log-max-files', 'no-container-partial-message'}

NO_CID = 'conmon: Container ID not provided. Use --cid\n'


def refused(t, *argv, text, env=None):
    status, out, err = t.run(*argv, env=env)
    equal((status, out, err), (1, '', text), f'answer to {argv}')


def test_version(t):
    """Callers parse the third word as a semantic version; CRI-O reads both streams together."""
    status, out, err = t.run('--version')
    equal((status, err), (0, ''))
    matches(r'conmon version (\d+)\.(\d+)\.(\d+)\ncommit: \S+\n', out)


def test_version_before_validation(t):
    """--version is answered before the other options are checked, if they can be parsed."""
    for argv in (['--version', '--exit-delay', '-1'], ['-e', '--restore', 'x', '--version', '-l', '']):
        status, out, err = t.run(*argv)
        equal((status, err, 'conmon version' in out), (0, '', True), str(argv))
    for argv in (['--version', '-c'], ['--version', '--bogus']):
        status, out, _ = t.run(*argv)
        equal((status, out), (1, ''), str(argv))


def test_version_without_stderr(t):
    for place in ({1: 'out'}, {2: 'err'}):
        number = next(iter(place))
        read, write = os.pipe()
        m = t.monitor(str(number))
        m.spawn([t.program, '--version'], t.environment(), stdio={number: write})
        os.close(write)
        m.pid = m.launcher
        equal(m.wait_launcher(), 0)
        equal(len(os.read(read, 4096)) > 0, number == 1, f'something on descriptor {number}')


def test_help(t):
    """Some callers look for --log-global-size-max in it."""
    for word in ('--help', '-h', '--help-all', '-?'):
        status, out, err = t.run(word)
        equal((status, err), (0, ''), word)
        for name, short, _ in OPTIONS:
            if name not in HIDDEN and name not in NEWER:
                check(f'--{name}' in out, f'{word} does not show --{name}')


@differs('options of release 2.2.0')
def test_help_of_newer_options(t):
    _, out, _ = t.run('--help')
    for name in NEWER:
        check(f'--{name}' in out, f'--help does not show --{name}')
    check('journald' in out, '--help does not name journald, which some suites look for')


@differs('the help has another format')
def test_form_of_help(t):
    """The short help fits on a screen and omits old names; the long one has a line for each option."""
    _, short, _ = t.run('--help')
    _, long, _ = t.run('--help-all', env={'LC_ALL': 'C.UTF-8'})
    check(len(short.splitlines()) < 60, f'--help has {len(short.splitlines())} lines')
    for text in (short, long):
        wide = [line for line in text.splitlines() if len(line) > 80 or not line.isascii()]
        equal(wide, [], 'lines wider than 80 columns, or not ASCII')
    for name in ('pidfile', 'restore-arg'):
        check(f' --{name}' not in short, f'--help shows --{name}')
    for name, short_name, value in OPTIONS:
        lines = re.findall(rf'^  (-., +| +)--{name}(?:=\S+)? +\S', long, re.M)
        equal([line.strip(', ') for line in lines], [f'-{short_name}' if short_name else ''], f'--help-all about --{name}')


@differs('the help has another format')
def test_help_among_other_options(t):
    """--help is shown regardless of the options after it; those before it must be valid."""
    status, out, err = t.run('--sync', '--help', '--no-such-option')
    equal((status, err, out.split(None, 1)[0]), (0, '', 'Usage:'))
    status, out, err = t.run('--no-such-option', '--help')
    equal((status, out), (1, ''))
    status, out, err = t.run('--name', '--help', '--version')
    check(out.startswith('conmon version'), f'a value that looks like --help: {out}{err}')


@differs('seccomp options depend on how the reference was built')
def test_every_option_is_known(t):
    """Each option alone fails because --cid is missing, not because it is unknown."""
    for name, short, value in OPTIONS:
        if name in ('cid', 'version'):
            continue
        forms = [[f'--{name}'] + ([value] if value else [])]
        if value:
            forms.append([f'--{name}={value}'])
        if short:
            forms.append([f'-{short}'] + ([value] if value else []))
        for argv in forms:
            refused(t, *argv, text=NO_CID)


def test_every_value_is_required(t):
    for name, short, value in OPTIONS:
        if value and not name.startswith(('seccomp', 'log-label', 'log-max', 'log-allow')):
            refused(t, f'--{name}', text=f'conmon: option parsing failed: Missing argument for --{name}\n')
            if short:
                refused(t, f'-{short}', text=f'conmon: option parsing failed: Missing argument for -{short}\n')


def test_flags_take_any_value_as_true(t):
    """--sync=false enables --sync."""
    m = t.launch('exit 4', '--sync=false', '--no-pivot=0')
    m.pid = m.launcher
    m.start.go()
    m.created().finish(4)


def test_unknown_options(t):
    for word, shown in (('--bogus', '--bogus'), ('--bogus=1', '--bogus=1'), ('-cfoo', '-cfoo'), ('-Z', '-Z'),
                        ('--cidd', '--cidd'), ('--ci', '--ci'), ('--no-sync', '--no-sync')):
        refused(t, word, 'x', text=f'conmon: option parsing failed: Unknown option {shown}\n')


def test_errors_go_to_stderr(t):
    """Parse errors are printed to standard error."""
    status, out, err = t.run('--bogus')
    equal((status, out), (1, ''))
    check(err.startswith('conmon: option parsing failed: '), err)


def refused_by_glib(t, *argv, text, env=None):
    """Messages of GLib, whose quotes depend on its release and on the locale."""
    status, out, err = t.run(*argv, env=env)
    plain = re.sub('[“”‘’`"?]', "'", err)
    equal((status, out, plain), (1, '', f'conmon: option parsing failed: {text}\n'), f'answer to {argv}')


def test_integers(t):
    for value in ('abc', '1x', '', '1 ', '0x', '1.5', '--'):
        refused_by_glib(t, '-T', value, text=f"Cannot parse integer value '{value}' for -T")
    for value in ('2147483648', '-2147483649', '99999999999999999999'):
        refused_by_glib(t, '--timeout', value, text=f"Integer value '{value}' for --timeout out of range")
    for value in ('9223372036854775808',):
        refused_by_glib(t, '--log-size-max', value, text=f"Integer value '{value}' for --log-size-max out of range")
    for value in ('0x10', '010', ' 7', '-1', '2147483647', '+3'):
        refused(t, '-T', value, text=NO_CID)
    for value in ('9223372036854775807', '-9223372036854775808'):
        refused(t, '--log-size-max', value, text=NO_CID)


def test_integer_error_in_the_c_locale(t):
    refused_by_glib(t, '-T', 'abc', env={'LANG': None, 'LC_ALL': 'C'}, text="Cannot parse integer value 'abc' for -T")


def test_positionals_are_ignored(t):
    """podman passes `--api-version 1` although it is a flag: the 1 is a positional argument."""
    for stray in (['1'], ['-'], ['a', 'b'], ['--', '--bogus', '-x']):
        m = t.create('exit 0', *stray)
        m.finish(0)


def test_double_dash_ends_the_options(t):
    refused(t, '--', '-c', 'x', text=NO_CID)


def test_clusters(t):
    """Short options may be combined; the last one may take the next argument as its value."""
    for cluster in (['-it', '-c', 'x'], ['-itc', 'x'], ['-tc', 'x'], ['-ct', 'x']):
        status, _, err = t.run(*cluster)
        equal((status, err.split(': ')[-1]), (1, 'Container UUID not provided. Use --cuuid\n'), str(cluster))


def test_last_scalar_wins(t):
    m = t.launch('exit 0', '-c', 'first', '-c', CID)
    m.go().created().finish(0)


def test_values_that_look_like_options(t):
    """Values that begin with a dash are not taken for options."""
    m = t.create('exit 0', '--runtime-arg', '--root', '--runtime-arg', '', '--runtime-arg=--x=y', '--runtime-opt',
                 '-c', runtime='dump @/runtime\ncontainer\npidfile')
    m.finish(0)
    argv = t.dump('runtime')['argv']
    equal(argv[1:4], ['--root', '', '--x=y'])
    check('-c' in argv, f'no -c in {argv}')


# The order of validation: each row violates one more rule than the rows after it.

ERROR = r'\[conmon:e\]: '


def test_first_group(t):
    refused(t, text=NO_CID)
    refused(t, '-u', 'x', '--log-level', 'bogus', text=NO_CID)


@differs('options of release 2.2.0')
def test_log_max_files(t):
    refused(t, '--log-max-files', '-1', text='conmon: log-max-files must be non-negative, got -1\n')
    refused(t, '--log-max-files', '0', '--log-rotate',
            text='conmon: log-max-files must be at least 1 when log-rotate is enabled, got 0\n')
    refused(t, '--log-max-files', '0', text=NO_CID)


def test_second_group_in_order(t):
    spec, good = '/dev/null', ['-c', CID]
    ladder = [
        (['--log-level', 'bogus', '-e', '--restore', 'x'], 'No such log level bogus'),
        (['-e', '--restore', 'x', '--exec-attach'], "Cannot use 'exec' and 'restore' at the same time"),
        (['--exec-attach'], 'Attach can only be specified with exec'),
        (['-e', '--exec-attach'], 'Attach can only be specified for a non-legacy exec session'),
        (['--exit-delay', '-1'], 'Container UUID not provided. Use --cuuid'),
        (['-e', '--api-version'], 'Container UUID not provided. Use --cuuid'),
        (['-e'], 'Runtime path not provided. Use --runtime'),
        (['-u', 'x'], 'Runtime path not provided. Use --runtime'),
        (['-u', 'x', '-r', '/nonexistent', '-e'], 'Runtime path /nonexistent is not valid No such file or directory'),
        (['-u', 'x', '-r', '/etc/passwd', '-e'], 'Runtime path /etc/passwd is not valid Permission denied'),
        (['-u', 'x', '-r', '/tmp', '-e', '--exit-delay', '-1'],
         'Exec process spec path not provided. Use --exec-process-spec'),
        (['-u', 'x', '-r', '/tmp', '--exit-delay', '-1', '-l', ''],
         'Delay before invoking exit command must be greater than or equal to 0'),
        (['-u', 'x', '-r', '/tmp', '-e', '--exec-process-spec', spec], 'Log driver not provided. Use --log-path'),
        (['-u', 'x', '-r', '/tmp'], 'Log driver not provided. Use --log-path'),
    ]
    for argv, text in ladder:
        status, out, err = t.run(*good, *argv)
        equal((status, out), (1, ''), str(argv))
        matches(ERROR + re.escape(text) + '\n', err, str(argv))


def test_log_path_errors(t):
    rows = [('', 'log-path must not be empty'), (':', 'log-path must not be empty'),
            ('k8s-file', 'k8s-file requires a filename'), ('k8s-file:', 'k8s-file requires a filename'),
            ('bogus:/x', 'No such log driver bogus'), ('bogus:', 'No such log driver bogus'),
            ('json-file:/x', 'No such log driver json-file'),
            ('/nonexistent/log', 'Failed to open log file No such file or directory'),
            ('/tmp', 'Failed to open log file Is a directory')]
    for value, text in rows:
        status, out, err = t.run('-c', CID, '-u', CID, '-r', '/tmp', '-l', value)
        equal((status, out), (1, ''), value)
        matches(ERROR + re.escape(text) + '\n', err, value)


def test_log_paths_are_checked_in_order(t):
    _, _, err = t.run('-c', CID, '-u', CID, '-r', '/tmp', '-l', 'bogus:x', '-l', '')
    matches(ERROR + 'No such log driver bogus\n', err)
    _, _, err = t.run('-c', CID, '-u', CID, '-r', '/tmp', '-l', '/nonexistent/x', '-l', '')
    matches(ERROR + 'log-path must not be empty\n', err)


def test_tag_with_only_k8s_file(t):
    _, _, err = t.run('-c', CID, '-u', CID, '-r', '/tmp', '-l', f'k8s-file:{t.dir}/log', '--log-tag', 'x')
    matches(ERROR + "k8s-file doesn't support --log-tag\n", err)


@differs('options of release 2.2.0')
def test_label_with_only_k8s_file(t):
    _, _, err = t.run('-c', CID, '-u', CID, '-r', '/tmp', '-l', f'k8s-file:{t.dir}/log', '--log-label', 'A=b')
    matches(ERROR + "k8s-file doesn't support --log-label\n", err)


def test_short_id_with_journald(t):
    for cid in ('123456789012', 'x'):
        status, _, err = t.run('-c', cid, '-u', cid, '-r', '/tmp', '-l', 'journald')
        equal(status, 1)
        matches(ERROR + 'Container ID must be longer than 12 characters\n', err)


@differs('options of release 2.2.0')
def test_labels(t):
    base = ['-c', CID, '-u', CID, '-r', '/tmp', '-l', 'journald']
    for label in ('=x', 'A', ''):
        status, _, err = t.run(*base, '--log-label', label)
        equal(status, 1, label)
        matches(ERROR + 'Container labels must be in format LABEL=VALUE.*\n', err, label)
    for label in ('a=b', 'A-B=c', 'A B=c', 'Ä=x'):
        status, _, err = t.run(*base, '--log-label', label)
        equal(status, 1, label)
        matches(ERROR + 'Container label names must contain only uppercase letters, numbers and underscore.*\n', err,
                label)


@differs('options of release 2.2.0')
def test_partial_message_warning(t):
    m = t.launch('exit 0', '--no-container-partial-message').go().created()
    m.finish(0)
    equal(m.stderr.read_text(), '[conmon:w]: --no-container-partial-message has no effect without journald log driver\n')


def test_refused_command_lines_have_no_side_effects(t):
    """The caller gets status 1, and no file, process or sync message is created."""
    m = t.launch('exit 0', '--log-level', 'bogus')
    equal(m.wait_launcher(), 1)
    equal(m.sync.read(), b'', 'sync pipe')
    for path in (m.log, m.conmon_pidfile, m.pidfile, m.exit_file, m.attach_path, m.bundle / 'ctl'):
        check(not path.exists(), f'{path} exists')


def test_directory_as_runtime(t):
    """Scripts pass a directory as the runtime and expect the launcher to succeed."""
    m = t.launch('', '-r', '/tmp')
    m.start.go()
    equal(m.wait_launcher(), 0)
    m.find()
    equal(m.wait(), 1)


def test_log_levels(t):
    """Log levels."""
    for level in ('error', 'fatal', 'panic', 'warn', 'warning', 'info', 'debug', 'trace', 'ERROR', 'Warn', 'tRaCe'):
        t.create('exit 0', level=level, monitor=t.monitor(level)).finish(0)
    for level in ('', 'warnings', 'notice', '3'):
        _, _, err = t.run('-c', 'x', '--log-level', level)
        matches(ERROR + f'No such log level {level}\n', err)


def test_no_log_level(t):
    """Log levels."""
    m = t.monitor()
    argv = t.arguments(m)
    at = argv.index('--log-level')
    del argv[at:at + 2]
    m.spawn([t.program, *argv], t.environment('exit 0'), ('sync', 'start')).go().created().finish(0)


@differs('seccomp options are accepted')
def test_seccomp_options_are_accepted(t):
    """Callers that pass them still work."""
    m = t.create('exit 0', '--seccomp-notify-plugins', '')
    m.finish(0)


# Locales

def test_non_ascii_in_the_c_locale(t):
    """A tag that is not ASCII is refused if the locale can't represent it."""
    text = 'conmon: option parsing failed: Invalid byte sequence in conversion input\n'
    for env in ({'LC_ALL': 'C'}, {'LC_ALL': 'POSIX'}, {'LANG': 'C'}, {'LANG': None}, {'LANG': 'xx_XX.UTF-8'}):
        refused(t, '-c', CID, '--log-tag', 'tägli', env=env, text=text)


def test_non_ascii_in_a_utf8_locale(t):
    """A tag that is not ASCII is passed on."""
    m = t.create('exit 0', '-n', 'nämli', '--runtime-arg', 'ärg', runtime='dump @/runtime\ncontainer\npidfile')
    m.finish(0)
    check('Ã¤rg' in t.dump('runtime')['argv'], 'the argument was changed')


def test_invalid_utf8_in_a_utf8_locale(t):
    m = t.monitor()
    m.spawn([os.fsencode(t.program), b'-c', b'\xff\xfe'], t.environment())
    m.pid = m.launcher
    equal(m.wait_launcher(), 1)
    equal(m.stdout.read_text() + m.stderr.read_text(), 'conmon: option parsing failed: Invalid byte sequence in conversion input\n')


def test_positionals_are_not_checked(t):
    m = t.create('exit 0', 'pösitional', env={'LC_ALL': 'C'})
    m.finish(0)


# The log path

def test_forms_of_the_log_path(t):
    """Spellings of the log path."""
    for value in ('@/a.log', ':@/b.log', 'k8s-file:@/c.log'):
        t.create('print hello\\n', log=t.expand(value), monitor=t.monitor(value[-5])).finish(0)
    for name in 'abc':
        equal(content(parse((t.dir / f'{name}.log').read_bytes())), b'hello\n', name)


def test_log_path_without_directory(t):
    """A value without a slash is a file in the working directory, even with the name of a driver after a colon."""
    for value, name in ((':journald', 'journald'), ('plain', 'plain'), ('k8s-file:rel', 'rel')):
        m = t.create('print hello\\n', log=value, monitor=t.monitor(name))
        m.finish(0)
        equal(content(parse((m.bundle / name).read_bytes())), b'hello\n', value)


def test_log_drivers_without_a_file(t):
    """Spellings of the log path."""
    for value in ('none', 'off', 'null', 'none:', 'off:x', 'journald', 'journald:', 'journald:x'):
        m = t.create('print hello\\n', log=value, monitor=t.monitor(value.replace(':', '_')))
        m.finish(0)
        # Another test's conmonctl may ask all monitors for their status.
        equal(set(os.listdir(m.bundle)) - {'log-status.json'}, {'ctl', 'winsz'}, f'files in the working directory after {value}')


@differs('a path may contain colons')
def test_log_path_with_colons(t):
    t.create('print hello\\n', log=t.expand('k8s-file:@/a:b')).finish(0)
    equal(content(parse((t.dir / 'a:b').read_bytes())), b'hello\n')


def test_command_line_stays_visible(t):
    """Callers find the monitor by its name, its executable and its command line."""
    t.skip_with(valgrind='the process has its name')
    m = t.create('pause')
    equal(status_field(m.pid, 'Name'), 'conmon')
    matches('.*/conmon', os.readlink(f'/proc/{m.pid}/exe'))
    with open(f'/proc/{m.pid}/cmdline') as file:
        equal(file.read().split('\0')[:-1], m.argv)


if __name__ == '__main__':
    main()
