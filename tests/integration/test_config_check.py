#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""conmon --check-config, and the manual page of the configuration file."""

import json
import os
import pathlib
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import check, CID, equal, main, needs_root, skip  # noqa: E402

NO_TMPDIR = 'it needs a directory for temporary files'
PAGE = pathlib.Path(__file__).resolve().parents[2] / 'man/conmon.conf.5'
SECTIONS = ('defaults', 'match', 'profile', 'policy', 'attach', 'limits', 'health')


def write(t, name, text):
    path = t.dir / name
    path.write_text(text)
    return path


def check_config(t, *argv, **options):
    """Runs --check-config: (status, stdout, stderr)."""
    return t.run('--check-config', *argv, **options)


def in_force(text):
    """The output as {(section, key): (value, origin)}."""
    found, section = {}, None
    for line in text.splitlines():
        setting, _, origin = line.partition(' # ')
        setting, origin = setting.strip(), origin.strip()
        if setting.startswith('['):
            section = setting.strip('[]')
        elif setting and not setting.startswith('#'):
            key, _, value = setting.partition(' = ')
            found[section, key] = value, origin
    return found


def test_shows_what_is_in_force(t):
    a = write(t, 'a.conf', '# a comment\n[policy]\non-error = warn\n\n[profile x]\ndriver = json-file:/tmp/a{{.ID}}\nopt.max-size=1k\n'
                           '[profile y]\ndriver = json-file:/tmp/y{{.ID}}\n')
    b = write(t, 'b.conf', '[profile x]\ndriver = k8s-file:/tmp/b{{.ID}} ; json-file:/tmp/{{.Name}}\n[match web-*]\nprofile=x\n'
                           '[attach]\nqueue-max = 64k\n')
    status, out, err = check_config(t, a, b)
    equal((status, err), (0, ''))
    found = in_force(out)
    equal(found['policy', 'on-error'], ('warn', f'{a}:3'))
    equal(found['policy', 'add-to-none'], ('false', 'default'))
    equal(found['profile x', 'driver'], ('k8s-file:/tmp/b{{.ID}};json-file:/tmp/{{.Name}}', f'{b}:2'))
    check(('profile x', 'opt.max-size') not in found, 'a section is replaced as a whole')
    equal(found['profile y', 'driver'], ('json-file:/tmp/y{{.ID}}', f'{a}:9'))
    equal(found['match web-*', 'profile'], ('x', f'{b}:4'))
    equal(found['attach', 'queue-max'], ('64k', f'{b}:6'))
    equal(found['attach', 'stall-timeout'], ('2s', 'default'))


def test_output_is_a_configuration(t):
    """Without its comments, the output is a configuration file that means the same."""
    values = r'opt.include = \sa b\s;\;\\;\t\n\r;\s'
    a = write(t, 'a.conf', '[profile x]\ndriver=json-file:/tmp/a{{.ID}}\nopt.max-size=1k\n[limits]\nrotate=1\n[match *]\ndriver=\n'
                           f'[profile y]\ndriver=syslog\n{values}\n[profile a;b\\c]\ndriver=syslog\n'
                           '[match a]\nprofile=a;b\\\\c\n')
    _, first, _ = check_config(t, a)
    check(values in first and r'profile = a;b\\c ' in first, first)
    b = write(t, 'b.conf', re.sub(r' +# .*', '', first))
    status, second, err = check_config(t, b)
    equal((status, err), (0, ''))
    equal({key: value for key, (value, _) in in_force(second).items()},
          {key: value for key, (value, _) in in_force(first).items()})


def test_option_config(t):
    a = write(t, 'a.conf', '[policy]\non-error = warn\n')
    status, out, _ = t.run('--config', a, '--check-config')
    equal((status, in_force(out)['policy', 'on-error']), (0, ('warn', f'{a}:2')))


def test_first_error(t):
    """The message names file, line and key; nothing is printed to stdout."""
    cases = [
        ('x = 1\n', ':1: this is no [section], no KEY = VALUE in a section, and no # comment'),
        ('[policy]\n\nfoo = 1\n', ':3: [policy] foo: there is no such key; there are annotations, '),
        ('[profile a]\n# x\ndriver = nope\n', ':3: [profile a] driver: No such log driver nope; there are: '),
        ('[profile a]\ndriver = json-file:/x{{.ID}}\nopt.max-size = ten\n',
         ":3: [profile a] opt.max-size: Log driver json-file: option max-size can't be 'ten'; allowed: a size "),
        ('[profile a]\ndriver = json-file:/x{{.ID}}\nopt.foo = 1\n',
         ':3: [profile a] opt.foo: no log driver in use has an option foo'),
        ('[profile a]\ndriver = json-file:/x{{.ID}}\nopt.k8s-file.max-size = 1\n',
         ':3: [profile a] opt.k8s-file.max-size: log driver k8s-file is not in use'),
        ('[profile a]\ndriver = json-file:/x{{.ID}}\nopt.max-file = 2;3\n',
         ':3: [profile a] opt.max-file: it takes one value; a semicolon in it must be written \\;'),
        ('[profile a]\ndriver = json-file:/{{.Nome}}\n',
         ':2: [profile a] driver: in a path, known are {{.ID}}, {{.FullID}} and {{.Name}}'),
        ('[profile a]\ndriver = json-file:/x{{.ID}}\n[defaults]\nprofile = b\n',
         ':4: [defaults] profile: no configuration file has a profile b; there are: a'),
        ('[profile a]\ndriver =\nopt.tag = x\n', ':1: [profile a]: it has options but names no driver'),
        ('[profile a]\ndriver = none\nopt.tag = x\n', ':3: [profile a] opt.tag: log driver none has no options'),
        ('[match x]\nprofile = b\n', ':2: [match x] profile: no configuration file has a profile b'),
        ('[profile a]\ndriver = passthrough\n', ':2: [profile a] driver: passthrough would take the output away from '
                                                'all other logs; it needs opt.tee = yes'),
    ]
    # Errors that only the driver finds. They name the option if its value alone is wrong.
    for driver, option, sentence in [
        ('json-file', '', ':2: [profile a] driver: json-file requires a filename'),
        ('k8s-file:', '', ':2: [profile a] driver: k8s-file requires a filename'),
        ('k8s-file:/x{{.ID}}', 'max-file = 3', ':2: [profile a] driver: Log option max-file=3 has no effect without max-size'),
        ('json-file:/x{{.ID}}', 'compress = yes', ':2: [profile a] driver: Log option compress=true needs max-size'),
        ('json-file:/x{{.ID}}', 'tag = {{.Nome}}', ':3: [profile a] opt.tag: Log option tag={{.Nome}}: there is no field .Nome; '),
        ('json-file:/x{{.ID}}', 'streams = stdin', ':3: [profile a] opt.streams: Log driver json-file: option streams can\'t '),
        ('json-file:/x{{.ID}}', 'mode = blocking\nopt.on-full = drop-newest',
         ':2: [profile a] driver: Log driver json-file: mode=blocking and on-full=drop-newest contradict each other'),
        ('binary:x', '', ":2: [profile a] driver: Log driver binary can't be given as binary:x; it must be of the form "),
        ('gelf', '', ":2: [profile a] driver: Log driver gelf: gelf-address must be set, as udp://HOST:PORT"),
        ('gelf', 'gelf-address = h', ":3: [profile a] opt.gelf-address: Log driver gelf: option gelf-address can't be 'h'"),
        ('gelf', 'gelf-address = tcp://h:1\nopt.gelf-compression-level = 1',
         ':2: [profile a] driver: Log driver gelf: options gelf-compression-type and gelf-compression-level are for UDP'),
        ('fluentd', 'fluentd-address = udp://h',
         ":3: [profile a] opt.fluentd-address: Log driver fluentd: option fluentd-address can't be 'udp://h'; allowed: "),
        ('fluentd', 'fluentd-username = u',
         ':2: [profile a] driver: Log driver fluentd: option fluentd-username and fluentd-password-file or '),
        ('fluentd', 'fluentd-username = u\nopt.fluentd-password-env = P',
         ':2: [profile a] driver: Log driver fluentd: option fluentd-username needs fluentd-shared-key-file or '),
        ('syslog', 'syslog-address = tcp://',
         ":3: [profile a] opt.syslog-address: Log driver syslog: option syslog-address can't be 'tcp://'; allowed: "),
        ('syslog', 'syslog-facility = x',
         ":3: [profile a] opt.syslog-facility: Log driver syslog: option syslog-facility can't be 'x'; allowed: kern, "),
        ('journald', 'on-missing = x',
         ":3: [profile a] opt.on-missing: Log driver journald: option on-missing can't be 'x'; allowed: warn, fail, "),
    ]:
        cases.append((f'[profile a]\ndriver = {driver}\n' + (f'opt.{option}\n' if option else ''), sentence))
    for text, sentence in cases:
        path = write(t, 'bad.conf', text)
        status, out, err = check_config(t, path)
        equal((status, out), (1, ''), text)
        check(err.startswith(f'conmon: {path}{sentence}') and err.count('\n') == 1, f'{text!r}: {err!r}')


def choice(text):
    """The output for one container: its first line, and the rest as (setting, origin)."""
    first, _, rest = text.partition('\n# The container ')[2].partition('\n')
    return first, [tuple(part.strip() for part in line[1:].split(' # ')) for line in rest.splitlines()]


def test_what_a_container_gets(t):
    """The drivers for a name, profile, bundle, environment and command line are those of a real start."""
    bundle = t.dir / 'bundle'
    bundle.mkdir()
    (bundle / 'config.json').write_text('{"annotations": {"org.conmon.log/profile": "p"}}')
    a = write(t, 'a.conf', '[profile p]\ndriver = json-file:/tmp/{{.Name}}-{{.ID}}\nopt.tag = x\n'
                           '[match web-*]\ndriver = syslog;json-file:/tmp/{{.ID}}\nopt.syslog.tag = y\nopt.max-size = 1k\n')
    web = [('syslog', f'{a}:5: [match web-*] driver'), ('syslog.tag = y', f'{a}:6: [match web-*] opt.syslog.tag'),
           ('json-file:/tmp/{ID}', f'{a}:5: [match web-*] driver'),
           ('max-size = 1k', f'{a}:7: [match web-*] opt.max-size')]
    by_profile = [('json-file:/tmp/{}-{{ID}}', f'{a}:2: [profile p] driver'), ('tag = x', f'{a}:3: [profile p] opt.tag')]

    def profile_for(name):
        return [(setting.format(name) if '{}' in setting else setting, origin) for setting, origin in by_profile]
    for argv, env, name, wanted in (
            (['--name', 'web-1'], {}, 'web-1', web),
            (['--name', 'db'], {}, 'db', []),
            (['--name', 'db', '--log-profile', 'p'], {}, 'db', profile_for('db')),
            (['--log-profile', 'p'], {}, '{NAME}', profile_for('{NAME}')),
            (['--name', 'web-1', '-b', str(bundle)], {}, 'web-1', profile_for('web-1')),
            (['--name', 'db'], {'CONMON_LOG_PROFILE': 'p'}, 'db', profile_for('db')),
            (['--name', 'web-1', '--exec'], {}, 'web-1', []),
            (['--name', 'web-1', '--log-driver', 'json-file:/tmp/x'], {}, 'web-1', [('json-file:/tmp/x', '--log-driver')])):
        status, out, err = check_config(t, *argv, a, env=env)
        first, rest = choice(out)
        equal((status, err), (0, ''), str(argv))
        equal(first, f'{name} gets {"these drivers" if wanted else "nothing"} in addition to the log of -l{":" if wanted else ""}')
        equal(rest, wanted, str(argv))
        check('\n[match web-*] ' in out, 'the configuration')
    for argv, sentence in (
            (['--log-profile', 'q'], '--log-profile: no configuration file has a profile q; there are: p\n'),
            (['--name', 'a/b', '--log-profile', 'p'], f"{a}:2: [profile p] driver: a/b can't be part of a path\n")):
        equal(check_config(t, *argv, a)[::2], (1, f'conmon: {sentence}'))


def sinks_of_a_start(t, config, argv):
    """The drivers that a container gets, from its status at the end; or the error that prevents its start."""
    m = t.monitor(str(len(t.monitors) + 1))
    m.spawn([t.program, *t.arguments(m, api=0, name='web', persist=False, conmon_pidfile=False), '--config', str(config), '--sync',
             *argv(m)], t.environment('exit 0'))
    status, messages = m.wait(), m.stderr.read_text()
    if status != 0:
        return 'error', re.sub(r'^(\[conmon:e\]|conmon): ', '', messages)
    file = m.bundle / 'log-status.json'
    sinks = json.loads(file.read_text())['sinks'] if file.exists() else []
    return [sink['driver'] for sink in sinks], 'starts without' in messages


def sinks_of_a_check(t, config, argv):
    m = t.monitor(str(len(t.monitors) + 1))
    status, out, err = check_config(t, *t.arguments(m, api=0, name='web', persist=False, conmon_pidfile=False), '--config', config, *argv(m))
    if '\n# The container ' not in out:
        return 'error', re.sub('^conmon: ', '', err)
    check(status == ('starts without' in err), f'status {status}: {err}')
    return re.findall(r'^#   ([a-z0-9-]+)', out.partition('\n# The container ')[2], re.M), 'starts without' in err


def test_same_as_a_start(t):
    """What --check-config says a container gets is what it gets, and the errors are the same."""
    plain, warn = '[defaults]\ndriver = journald\n[limits]\nsize-max = 10m\n', '[policy]\non-error = warn\n'
    several = ('[sink a]\ndriver = journald\n[sink b]\ndriver = syslog\n[profile p]\nsinks = a;b\n[match web]\nprofile = p\n'
               'opt.syslog-address = udp://127.0.0.1:9\n')
    tee, file = ['--log-opt', 'passthrough.tee=true'], ['--log-driver', 'json-file:@/x']
    for text, *argv in (
            (plain,), (plain, '-l', 'journald'), (plain, '-l', 'none'), (several, '-l', 'journald'), (several,),
            (plain, '-l', 'passthrough'), (plain, '-l', 'passthrough', *tee), ('', '-l', 'passthrough', *tee, *file),
            ('', '-l', 'passthrough', *file), (plain, *tee), ('', '-l', 'journald', '--log-opt', 'journald.mode=blocking'),
            (plain, '--log-opt', 'k8s-file.max-size=1m'), (plain, '--log-opt', 'max-size=1m'), ('', '--log-tag', 'x'),
            (plain, '--log-tag', 'x'), ('', '-l', 'journald', '--log-label', 'a=b'), ('', '-l', 'bogus:x'),
            ('', '--log-driver', 'bogus'), ('', *file, '--log-opt', 'bogus=1'), (plain, '--log-profile', 'none'),
            (warn, '--log-profile', 'none'), (plain, '--log-profile', 'none', '--log-policy', 'on-error=warn'),
            (plain, '--log-policy', 'bogus=1'), (warn, '--log-profile', 'none', '-l', 'bogus:x'), (plain, '--log-level', 'bogus'),
            (plain, '--attach-queue-max', '1'), (plain, '--log-max-files', '0', '--log-rotate'), (warn + '[bogus]\n',),
            (warn + '[profile x]\ndriver = bogus\n',), ('', *file, *file), ('', *file, '--log-opt', 'k8s-file.compress=true'),
            ('', '--log-driver', 'journald', '--log-opt', 'on-missing=file:@/y')):
        config = write(t, 'a.conf', text)

        def command_line(m, argv=argv):
            return [word.replace('@', str(m.root)) for word in argv]
        found = [re.sub(r'/monitors/\d+/', '/', str(look(t, config, command_line))) for look in (sinks_of_a_check, sinks_of_a_start)]
        equal(*found, f'{text!r} and {argv}')


def test_only_settings_that_apply(t):
    """Each is below its driver, and one that another overrides is not shown."""
    a = write(t, 'a.conf', '[limits]\nsize-max = 5k\nrotate = true\nmax-files = 3\n')
    for argv, wanted in (
            (['--log-driver', 'syslog', '--log-driver', 'forward', '--log-opt', 'tag=x', '--log-opt', 'syslog.tag=y',
              '--log-opt', 'fluentd.mode=blocking', '--log-opt', 'tag=z'],
             ['syslog', 'syslog.tag = y', 'fluentd', 'fluentd.mode = blocking', 'tag = z']),
            (['--log-driver', 'syslog', '--log-opt', 'include=a', '--log-opt', 'include=b'], ['syslog', 'include = a', 'include = b']),
            (['-l', 'k8s-file:/tmp/a'], ['k8s-file:/tmp/a', 'size-max = 5k', 'max-files = 3']),
            (['-l', 'k8s-file:/tmp/a', '--log-size-max', '9', '--log-rotate', '--log-opt', 'k8s-file.max-file=2'],
             ['k8s-file:/tmp/a', 'k8s-file.max-file = 2', 'size-max = 9']),
            (['-l', '/tmp/a', '--log-global-size-max', '7'], ['k8s-file:/tmp/a', 'global-size-max = 7'])):
        status, out, err = check_config(t, '--config', a, *argv)
        equal((status, err), (0, ''))
        equal([setting for setting, _ in choice(out)[1]], wanted, str(argv))


def test_settings_of_the_command_line(t):
    """They are in effect, too."""
    a = write(t, 'a.conf', '[policy]\non-error = fail\n[attach]\nqueue-max = 64k\n[limits]\nsize-max = 5k\n')
    _, out, _ = check_config(t, '--log-policy', 'on-error=warn', '--attach-queue-max', '1m', '--log-size-max', '7', '--log-rotate', a)
    found = in_force(out)
    for key, value, option in (('policy on-error', 'warn', '--log-policy'), ('attach queue-max', '1m', '--attach-queue-max'),
                               ('limits size-max', '7', '--log-size-max'), ('limits rotate', 'true', '--log-rotate'),
                               ('limits max-files', '1', '--log-max-files')):
        equal(found[tuple(key.split())], (value, option), key)


def test_missing_files_are_warnings(t):
    """A missing directory or file is no error: it may exist when a container starts."""
    a = write(t, 'a.conf', f'[profile p]\ndriver = json-file:{t.dir}/none/{{{{.Name}}}}; json-file:{t.dir}/{{{{.Name}}}}/x\n'
                           f'opt.redact-file = {t.dir}/secrets\n[match db]\nprofile = p\n')
    missing = 'No such file or directory\n'
    directory = f'conmon: warning: {a}:2: [profile p] driver: no file can be made in {t.dir}'
    secrets = f"conmon: warning: {a}:2: [profile p] driver: redact-file={t.dir}/secrets can't be read: {missing}"
    status, out, err = check_config(t, a)
    equal((status, err), (0, f'{directory}/none: {missing}{secrets}{secrets}'))
    equal(in_force(out)['match db', 'profile'], ('p', f'{a}:5'))
    equal(check_config(t, '--name', 'db', a)[::2], (0, f'{directory}/none: {missing}{secrets}{directory}/db: {missing}{secrets}'))
    (t.dir / 'none').mkdir()
    (t.dir / 'db').mkdir()
    (t.dir / 'secrets').touch()
    equal(check_config(t, '--name', 'db', a)[::2], (0, ''))


def test_first_of_several_files(t):
    good, bad = write(t, 'good.conf', '[policy]\non-error=warn\n'), write(t, 'bad.conf', '[nope]\n')
    status, _, err = check_config(t, good, bad, write(t, 'worse.conf', '[worse]\n'))
    check(status == 1 and err.startswith(f'conmon: {bad}:1: '), err)


def test_file_writable_by_others(t):
    path = write(t, 'open.conf', '[policy]\non-error=warn\n')
    path.chmod(0o666)
    equal(check_config(t, path), (1, '', f'conmon: The configuration {path} is not trusted: everybody may write to it '
                                 f'(user {os.getuid()}, group {os.getgid()}, mode 0666)\n'))


def test_missing_file(t):
    path = t.dir / 'missing.conf'
    equal(check_config(t, path), (1, '', f'conmon: Failed to open the configuration file {path}: No such file or directory\n'))


def as_user(t):
    """The command prefix that runs the monitor as an ordinary user."""
    t.skip_with(valgrind=NO_TMPDIR)
    if os.geteuid() != 0:
        return ()
    copy, = t.for_another_user(t.program)
    t.program = shutil.which('setpriv')
    return '--reuid', '12345', '--regid', '12345', '--clear-groups', copy


def test_other_file_types_at_configuration_paths(t):
    """A path that exists with the wrong type is an error; a missing file or directory is not."""
    argv = as_user(t)
    home = t.dir / 'home/containers'
    home.mkdir(parents=True)
    file, drop_in, nowhere = home / 'conmon.conf', home / 'conmon.conf.d/1.conf', t.dir / 'nowhere'
    link = 'The configuration {} is a dangling symlink\n'
    for place, make, sentence in (
            (file, lambda: file.symlink_to(nowhere), link),
            (drop_in, lambda: drop_in.symlink_to(nowhere), link),
            (drop_in.parent, lambda: drop_in.parent.symlink_to(nowhere), link),
            (drop_in.parent, drop_in.parent.touch, 'Failed to open the configuration {}: Not a directory\n'),
            (file, file.mkdir, 'The configuration {} is not a regular file\n'),
            (file, lambda: os.mkfifo(file), 'The configuration {} is not a regular file\n'),
            (file, lambda: file.symlink_to('/dev/null'), 'The configuration {} is not '),
            (file, lambda: file.symlink_to(file), 'Failed to open the configuration {}: Too many levels of symbolic links\n'),
            (drop_in, drop_in.mkdir, 'The configuration {} is not a regular file\n')):
        if place == drop_in:
            drop_in.parent.mkdir()
        make()
        status, out, err = t.run(*argv, '--check-config', env={'XDG_CONFIG_HOME': str(home.parent)})
        check((status, out) == (1, '') and err.startswith(f'conmon: {sentence.format(place)}'), f'{place}: {err}')
        for path in (file, drop_in, drop_in.parent):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            elif os.path.lexists(path):
                path.unlink()
    for nothing in (home.parent, nowhere, '/dev/null'):
        status, _, err = t.run(*argv, '--check-config', env={'XDG_CONFIG_HOME': str(nothing)})
        equal((status, err), (0, ''), f'XDG_CONFIG_HOME={nothing}')


def test_unreadable_configuration(t):
    """A home that can't be searched is ignored; a file that exists but can't be read is an error."""
    argv = as_user(t)
    locked, loop, home = t.dir / 'locked', t.dir / 'loop', t.dir / 'home/.config/containers'
    locked.mkdir()
    loop.symlink_to(loop)
    home.mkdir(parents=True)
    locked.chmod(0)
    for place in (locked, loop, '/' + 300 * 'a', 30 * f'/{200 * "a"}'):
        for env in ({'XDG_CONFIG_HOME': None, 'HOME': str(place)}, {'XDG_CONFIG_HOME': str(place)}):
            status, _, err = t.run(*argv, '--check-config', env=env)
            equal((status, err), (0, ''), f'{env}')
    locked.chmod(0o700)
    file = home / 'conmon.conf'
    file.touch()
    file.chmod(0)
    equal(t.run(*argv, '--check-config', env={'XDG_CONFIG_HOME': None, 'HOME': str(t.dir / 'home')}),
          (1, '', f'conmon: Failed to open the configuration {file}: Permission denied\n'))


def test_users_files(t):
    """In XDG_CONFIG_HOME, else in HOME; drop-ins in the order of their names."""
    argv = as_user(t)
    home = t.dir / '.config/containers'
    (home / 'conmon.conf.d').mkdir(parents=True)
    (home / 'conmon.conf').write_text('[policy]\non-error = warn\n[attach]\nqueue-max=64k\n')
    (home / 'conmon.conf.d/2.conf').write_text('[attach]\nqueue-max=2m\n')
    (home / 'conmon.conf.d/1.conf').write_text('[attach]\nqueue-max=3m\n')
    status, out, err = t.run(*argv, '--check-config', env={'XDG_CONFIG_HOME': None})
    equal((status, err), (0, ''))
    equal(in_force(out)['policy', 'on-error'], ('warn', f'{home}/conmon.conf:2'))
    equal(in_force(out)['policy', 'annotations'], ('all', 'default'))
    equal(in_force(out)['attach', 'queue-max'], ('2m', f'{home}/conmon.conf.d/2.conf:2'))
    other = t.dir / 'other/containers'
    other.mkdir(parents=True)
    (other / 'conmon.conf').write_text('[attach]\nstall-timeout=7s\n')
    _, out, _ = t.run(*argv, '--check-config', env={'XDG_CONFIG_HOME': str(t.dir / 'other')})
    equal(in_force(out)['attach', 'stall-timeout'], ('7s', f'{other}/conmon.conf:2'))
    equal(in_force(out)['attach', 'queue-max'], ('1m', 'default'))
    (home / 'conmon.conf.d/1.conf').write_text('[attach]\nqueue-max=3q\n')
    status, _, err = t.run(*argv, '--check-config')
    check(status == 1 and f'{home}/conmon.conf.d/1.conf:2: [attach] queue-max: ' in err, err)


@needs_root
def test_rootless_podman(t):
    """The user is root in a user namespace, where files of the host's root belong to nobody: the user's
    search path applies, and root's file is trusted."""
    etc = pathlib.Path('/etc/containers')
    if not etc.is_dir():
        skip(f'there is no {etc}')
    t.skip_with(valgrind=NO_TMPDIR)
    copy, = t.for_another_user(t.program)
    file = write(t, 'conmon.conf', '[policy]\non-error = warn\n')
    script = f'mount -t tmpfs none {etc} && cp -p "$1" {etc}/conmon.conf && shift && exec "$@"'
    user = ['setpriv', '--reuid', '12345', '--regid', '12345', '--clear-groups', 'unshare', '-U', '-r', copy, '--check-config']
    t.program = shutil.which('unshare')
    for mode, variables, wanted in (
            (0o644, {'_CONTAINERS_ROOTLESS_UID': '12345'}, 'all'), (0o644, {}, 'profiles-only'),
            (0o644, {'_CONTAINERS_ROOTLESS_UID': ''}, 'profiles-only'), (0o600, {'_CONTAINERS_ROOTLESS_UID': '12345'}, 'all')):
        file.chmod(mode)
        status, out, err = t.run('-m', 'sh', '-c', script, 'sh', file, *user, env=variables)
        equal((status, err), (0, ''), f'{mode:o} {variables}')
        found = in_force(out)
        equal(found['policy', 'annotations'], (wanted, 'default'), str(variables))
        readable = mode == 0o644
        equal(found['policy', 'on-error'], ('warn', f'{etc}/conmon.conf:2') if readable else ('fail', 'default'))
    file.chmod(0o664)
    status, _, err = t.run('-m', 'sh', '-c', script, 'sh', file, *user, env={'_CONTAINERS_ROOTLESS_UID': '12345'})
    check(status == 1 and 'is not trusted: its group may write to it' in err, err)
    t.program = copy
    _, out, _ = t.run('--check-config', file, env={'_CONTAINERS_ROOTLESS_UID': '12345'})
    equal(in_force(out)['policy', 'annotations'], ('profiles-only', 'default'), 'root, regardless of the variable')


def keys_of_program(t):
    """The keys of each section, from the message about an unknown key."""
    found = {}
    for section in SECTIONS:
        name = ' x' if section in ('profile', 'match') else ''
        _, _, err = check_config(t, write(t, 'none.conf', f'[{section}{name}]\nnone = 1\n'))
        found[section] = set(re.search(r'there are (.*)', err).group(1).split(', '))
    return found


def keys_of_page():
    found = {}
    for part in re.split(r'^\.S[sh] ', PAGE.read_text(), flags=re.M)[1:]:
        title, _, text = part.partition('\n')
        section = title.split()[0]
        if section in SECTIONS:
            items = re.findall(r'^\.It Cm (\S+)', text, re.M)
            found[section] = {'opt.KEY' if item.startswith('opt') else item for item in items}
    return found


def test_manual_page_has_every_key(t):
    equal(keys_of_page(), keys_of_program(t), 'keys of the manual page')


def test_command_line_has_every_key(t):
    """As the manual page says, each setting for logs and clients has an option on the command line, too."""
    _, text, _ = t.run('--help')
    for section, keys in keys_of_program(t).items():
        for key in keys:
            if key == 'sinks' or section == 'sink':  # on the command line options follow their driver
                continue
            if section == 'health':
                continue
            if section == 'policy':
                _, _, err = t.run('-c', CID, '-u', CID, '-r', t.runtime, '-l', 'none', '--log-profile', 'x',
                                  '--log-policy', f'{key}=none')
                check('with a KEY of the section' not in err, f'--log-policy {key}: {err}')
                continue
            option = {'attach': f'--attach-{key}', 'limits': f'--log-{key}'}.get(section, f'--log-{key[:3]}')
            check(option in text, f'--help has no {option} for {key} in [{section}]')


@needs_root
def test_precedence_of_directories(t):
    """The administrator's sections take precedence over the vendor's, and drop-ins over the main file."""
    program = shutil.copy(t.program, t.dir / 'conmon')
    files = {'usr/share/containers/conmon.conf': '[attach]\nqueue-max=10k\n[policy]\non-error=warn\n[limits]\nrotate=1\n[profile a]\n'
             'driver=journald\n[profile b]\ndriver=journald\n',
             'usr/share/containers/conmon.conf.d/50.conf': '[attach]\nqueue-max=20k\n[limits]\nsize-max=5k\n',
             'etc/containers/conmon.conf': '[attach]\nqueue-max=30k\n[profile a]\n',
             'etc/containers/conmon.conf.d/10.conf': '[attach]\nstall-timeout=9s\n'}
    for directory in ('/usr/share/containers', '/etc/containers'):
        if not os.path.isdir(directory):
            skip(f'there is no {directory}')
        (t.dir / 'tree' / directory[1:]).mkdir(parents=True)
    for name, text in files.items():
        path = t.dir / 'tree' / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    script = ('mount --bind "$1/usr/share/containers" /usr/share/containers && '
              'mount --bind "$1/etc/containers" /etc/containers && exec "$2" --check-config')
    t.program = shutil.which('unshare')
    status, out, err = t.run('-m', 'sh', '-c', script, 'sh', t.dir / 'tree', program)
    equal((status, err), (0, ''))
    found = in_force(out)
    equal(found['attach', 'stall-timeout'], ('9s', '/etc/containers/conmon.conf.d/10.conf:2'))
    equal(found['attach', 'queue-max'], ('1m', 'default'), 'the whole section is replaced')
    equal(found['policy', 'on-error'], ('warn', '/usr/share/containers/conmon.conf:4'))
    equal(found['limits', 'size-max'], ('5k', '/usr/share/containers/conmon.conf.d/50.conf:4'))
    check(('profile a', 'driver') not in found and ('profile b', 'driver') in found, 'profile a is removed')


def test_manual_page_has_every_default(t):
    text = PAGE.read_text()
    for (section, key), (value, _) in in_force(check_config(t, write(t, 'e.conf', ''))[1]).items():
        item = re.search(rf'^\.Ss {section}$.*?^\.It Cm {key}\n(.*?)(^\.It Cm|^\.S[hs] )', text, re.M | re.S)
        check(re.search(rf'default.*{re.escape(value)}|{re.escape(value)}\n.*default', item.group(1), re.S),
              f'the page does not say that {value} is the default of {key} in [{section}]')


def test_examples_of_the_manual_page(t):
    examples = re.findall(r'^\.Bd -literal -offset indent\n(\[.*?)^\.Ed', PAGE.read_text(), re.M | re.S)
    equal(len(examples), 3, 'number of examples')
    for text in examples:
        status, _, err = check_config(t, write(t, 'example.conf', text))
        if os.geteuid() != 0:
            err = re.sub('(?m)^conmon: warning: .*: no file can be made in /var/log: Permission denied\n', '', err)
        if 'No such log driver' not in err:
            equal((status, err), (0, ''), text)


if __name__ == '__main__':
    main()
