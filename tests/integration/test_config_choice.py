#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Which log drivers a container gets from files, annotations, environment and command line, and what the
policy allows."""

import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import check, CID, content, equal, main, parse, SHORT_CID, slow, wait_for  # noqa: E402
from harness.syslog import Syslog  # noqa: E402

PREFIX = 'org.conmon.log/'
OUTPUT = [b'first line', b'second', b'last']
SCRIPT = 'print first line\\n\neprint second\\n\nprint last\\n'


def config(t, text):
    """Writes a configuration file, in which @/ is the test's directory; returns the arguments that select it."""
    path = t.dir / 'conmon.conf'
    path.write_text(t.expand(text))
    return ['--config', str(path)]


def bundle(t, annotations, name=None):
    """A prepared monitor with a bundle that has these annotations."""
    m = t.monitor(name or str(len(t.monitors) + 1))
    (m.bundle / 'config.json').write_text(json.dumps({'ociVersion': '1.0.2', 'process': {'args': ['sh']},
                                                      'annotations': annotations}))
    return m


def run(t, *extra, **options):
    """Runs a container that writes LINES and ends; checks that its own log is complete. Returns the monitor."""
    m = t.create(SCRIPT, *extra, **options)
    m.finish(0)
    if m.log.exists():
        records = m.records()
        equal((content(records), content(records, 'stderr')), (b'first line\nlast\n', b'second\n'), 'the log of -l')
    return m


def check_received(t, name, wanted=True):
    """Checks that the driver that writes this file got every line in order."""
    path = t.dir / name
    if not wanted:
        check(not path.exists(), f'{name} was written')
        return
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for stream, lines in (('stdout', ['first line\n', 'last\n']), ('stderr', ['second\n'])):
        equal([r['log'] for r in records if r['stream'] == stream], lines, f'{stream} in {name}')


def refusal(t, *extra, **options):
    """The message on the sync pipe for a container that must not start."""
    m = t.launch('print x', *extra, **options)
    m.start.go()
    equal(m.wait_launcher(), 0, 'status of the launcher')
    m.find()
    message = m.sync.message()
    equal(message['data'], -1)
    m.sync.expect_end()
    equal(m.wait(), 1, 'status of the monitor')
    check(not m.exit_file.exists(), 'there is an exit file')
    check('\n' not in message['message'], message['message'])
    return message['message']


# Files

def test_defaults(t):
    run(t, *config(t, '[defaults]\ndriver = json-file:@/out-{{.Name}}.json\nopt.tag=t\n'))
    check_received(t, 'out-name.json')
    equal(json.loads((t.dir / 'out-name.json').read_text().splitlines()[0])['attrs'], {'tag': 't'})


def test_several_drivers(t):
    run(t, *config(t, '[defaults]\ndriver = json-file:@/a-{{.Name}}.json; json-file:@/b-{{.Name}}.json\n'))
    check_received(t, 'a-name.json')
    check_received(t, 'b-name.json')


def test_without_a_file_nothing_changes(t):
    m = run(t, '--log-policy', 'on-error=warn')
    equal(m.stderr.read_text(), '')


def test_match(t):
    """The last matching section applies, else the defaults."""
    text = ('[defaults]\ndriver=json-file:@/{{.Name}}-default\n[match web-*]\ndriver=json-file:@/{{.Name}}-web\n'
            '[match *-1]\nprofile=one\n[profile one]\ndriver=json-file:@/{{.Name}}-one\n[match quiet]\ndriver=\n')
    arguments = config(t, text)
    for name, wanted in (('db', 'db-default'), ('web-2', 'web-2-web'), ('web-1', 'web-1-one'), ('quiet', None)):
        before = set(os.listdir(t.dir))
        run(t, *arguments, name=name, monitor=t.monitor(f'm-{name}'))
        equal(set(os.listdir(t.dir)) - before - {'monitors'}, {wanted} - {None}, name)
        if wanted:
            check_received(t, wanted)


def test_path_of_each_container(t):
    run(t, *config(t, '[defaults]\ndriver = json-file:@/{{.ID}}-{{.FullID}}-{{.Name}}\n'), name='n')
    check_received(t, f'{SHORT_CID}-{CID}-n')


def test_name_with_a_slash(t):
    arguments = config(t, '[defaults]\ndriver = json-file:@/{{.Name}}/x\n')
    for name in ('../..', '..', 'a/b'):
        equal(refusal(t, *arguments, name=name),
              f"{t.dir}/conmon.conf:2: [defaults] driver: {name} can't be part of a path")


def test_section_options_override_its_profile(t):
    run(t, *config(t, '[profile p]\ndriver=json-file:@/out-{{.Name}}\nopt.tag=profile\nopt.include=*last*\n'
                      '[defaults]\nprofile=p\nopt.tag=section\nopt.include=*line*;*none*\n'))
    records = [json.loads(line) for line in (t.dir / 'out-name').read_text().splitlines()]
    equal([(r['log'], r['attrs']['tag']) for r in records], [('first line\n', 'section')])


def test_option_does_not_reach_the_callers_log(t):
    """The configuration adds the same driver as -l, with options that must not apply to -l."""
    run(t, *config(t, '[defaults]\ndriver=k8s-file:@/copy-{{.Name}}.log\nopt.k8s-file.include=*last*\nopt.streams=stdout\n'))
    equal(content(parse((t.dir / 'copy-name.log').read_bytes())), b'last\n')


def test_journal_is_not_written_twice(t):
    """With -l journald, the configuration does not add a second journald sink: readers would see every line twice."""
    m = run(t, *config(t, '[defaults]\ndriver=journald; json-file:@/out-{{.Name}}\nopt.journald.priority-stdout=5\n'), log='journald')
    equal([sink['driver'] for sink in json.loads((m.persist / 'log-status.json').read_text())['sinks']],
          ['journald', 'json-file'])
    check_received(t, 'out-name')


# Precedence

def test_precedence_of_sources(t):
    """Command line over annotations over environment over files."""
    arguments = config(t, ''.join(f'[profile {name}]\ndriver=json-file:@/{name}-{{{{.Name}}}}\n' for name in 'caef')
                       + '[defaults]\nprofile=f\n')
    annotation = {PREFIX + 'profile': 'a'}
    environment = {'CONMON_LOG_PROFILE': 'e'}
    cases = [
        ('f', [], {}, {}),
        ('f', [], {}, {'CONMON_LOG_PROFILE': ''}),
        ('e', [], {}, environment),
        ('a', [], annotation, environment),
        ('a', [], annotation, {}),
        ('c', ['--log-profile', 'c'], annotation, environment),
        ('c', ['--log-driver', t.expand('json-file:@/c-6')], annotation, environment),
    ]
    for number, (wanted, argv, annotations, env) in enumerate(cases):
        run(t, *arguments, *argv, monitor=bundle(t, annotations), env=env, name=str(number))
        for name in 'caef':
            check_received(t, f'{name}-{number}', name == wanted)


def test_options_from_all_sources(t):
    """The source with the highest precedence applies."""
    arguments = config(t, '[defaults]\ndriver=json-file:@/tag-{{.Name}}\nopt.tag=file\n[policy]\nannotations=all\n')
    annotated = {PREFIX + 'opt.tag': 'annotation'}
    for number, (tag, argv, annotations) in enumerate([
            ('file', [], {}), ('annotation', [], annotated), ('line', ['--log-opt', 'tag=line'], annotated)]):
        run(t, *arguments, *argv, monitor=bundle(t, annotations), name=str(number))
        equal(json.loads((t.dir / f'tag-{number}').read_text().splitlines()[0])['attrs'], {'tag': tag})


def test_repeated_options(t):
    """A repeated option on the command line replaces the values of the files instead of adding to them."""
    run(t, *config(t, '[defaults]\ndriver=json-file:@/out-{{.Name}}\nopt.include=*last*;*second*\n'), '--log-opt', 'include=*first*',
        '--log-opt', 'include=*none*')
    equal([json.loads(line)['log'] for line in (t.dir / 'out-name').read_text().splitlines()], ['first line\n'])


def test_log_none(t):
    text = '[defaults]\ndriver=json-file:@/out-{{.Name}}\n[policy]\nadd-to-none=%s\n'
    for number, (log, flag, wanted) in enumerate([('none', 'no', False), ('off', 'no', False), ('null', 'no', False),
                                                  ('none', 'yes', True)]):
        run(t, *config(t, text % flag), log=log, name=str(number))
        check_received(t, f'out-{number}', wanted)


def test_annotations_with_log_none(t):
    """Nothing is added, and a warning says so."""
    arguments = config(t, '[profile p]\ndriver=json-file:@/out-{{.Name}}\n')
    m = run(t, *arguments, log='none', monitor=bundle(t, {PREFIX + 'profile': 'p'}))
    check_received(t, 'out-name', False)
    equal(m.stderr.read_text(), '[conmon:w]: The annotations org.conmon.log/… are not followed: with -l none, only '
                                'add-to-none = true in the policy adds a log\n')
    run(t, *arguments, '--log-policy', 'add-to-none=true', log='none', monitor=bundle(t, {PREFIX + 'profile': 'p'}))
    check_received(t, 'out-name')


def test_log_none_with_a_profile_on_the_command_line(t):
    run(t, *config(t, '[profile p]\ndriver=json-file:@/out-{{.Name}}\n'), '--log-profile', 'p', log='none')
    check_received(t, 'out-name')


def test_passthrough(t):
    """Nothing can be added; there is a warning if annotations or the command line asked for it."""
    arguments = config(t, '[defaults]\ndriver=json-file:@/out-{{.Name}}\n[profile p]\ndriver=json-file:@/out-{{.Name}}\n')
    warning = '[conmon:w]: The annotations org.conmon.log/… are not followed: with -l passthrough the output does not come ' \
              'to the monitor\n'
    useless = '[conmon:w]: No other log driver gets anything with -l passthrough; --log-opt passthrough.tee=yes is for that\n'
    for annotations, extra, message in (({}, [], ''), ({PREFIX + 'profile': 'p'}, [], warning),
                                     ({PREFIX + 'profile': 'p'}, ['--log-opt', 'passthrough.tee=no'], warning),
                                     ({}, ['--log-driver', t.expand('json-file:@/other')], useless)):
        m = t.launch('print x\\n', *arguments, *extra, log='passthrough', monitor=bundle(t, annotations))
        m.go().created().finish(0)
        equal((m.stdout.read_text(), m.stderr.read_text()), ('x\n', message))
        check(not (t.dir / 'out-name').exists(), 'something was added to passthrough')


def test_passthrough_with_tee(t):
    """The output passes through the monitor, so that logs can be added."""
    arguments = config(t, '[defaults]\ndriver=json-file:@/default-{{.Name}}\n[profile p]\ndriver=json-file:@/out-{{.Name}}\n')
    for name, annotations in (('default-name', {}), ('out-name', {PREFIX + 'profile': 'p'})):
        m = t.launch(SCRIPT, *arguments, '--log-opt', 'passthrough.tee=yes', log='passthrough', monitor=bundle(t, annotations))
        m.go().created().finish(0)
        equal((m.stdout.read_text(), m.stderr.read_text()), ('first line\nlast\n', 'second\n'))
        check_received(t, name)


def test_one_file_for_all(t):
    """A path without the container's id or name is refused: containers would share one file, and rotate it."""
    for text in ('[defaults]\ndriver=json-file:@/all\n', '[match *]\ndriver=json-file:@/all\n',
                 '[profile p]\ndriver=json-file:@/all\n', '[defaults]\nsinks=x\n[sink x]\ndriver=json-file:@/all\n'):
        message = refusal(t, *config(t, text))
        check(message.endswith(f' driver: Log driver json-file: {t.dir}/all would be one file for many containers; {{{{.ID}}}}, '
                            '{{.FullID}} or {{.Name}} in the path gives each its own'), message)
    run(t, *config(t, '[match name]\ndriver=json-file:@/mine\n'))
    check_received(t, 'mine')


def test_exec(t):
    """Nothing is added unless the policy says so; annotations are always ignored."""
    text = '[defaults]\ndriver=json-file:@/{{.Name}}\n[policy]\nadd-to-exec=%s\n'
    for flag in ('no', 'yes'):
        m = t.exec('print x\\n', *config(t, text % flag), log='none', name=flag, monitor=bundle(t, {PREFIX + 'foo': 'x'}))
        equal(m.wait(), 0)
        equal((t.dir / flag).exists(), flag == 'yes')


# Annotations

def test_profile_by_annotation(t):
    """The default policy allows it."""
    run(t, *config(t, '[profile p]\ndriver=json-file:@/out-{{.Name}}\n'), '--log-policy', 'annotations=profiles-only',
        monitor=bundle(t, {PREFIX + 'profile': 'p', 'other': 'x'}))
    check_received(t, 'out-name')


def test_default_policy(t):
    """For an ordinary user annotations may choose a driver, for root they may not."""
    m = t.launch('exit 0', monitor=bundle(t, {PREFIX + 'driver': 'syslog', PREFIX + 'opt.syslog-address': 'udp://127.0.0.1:1'}))
    m.start.go()
    m.wait_launcher()
    m.find()
    message = m.sync.message()
    if os.geteuid() != 0:
        check(message['data'] > 0, message)
        m.container = message['data']
        m.finish(0)
    else:
        equal(message, {'data': -1, 'message': 'Annotation org.conmon.log/driver: the policy is annotations = '
                                               'profiles-only, so it may only name a profile'})
        m.wait()


@slow(90)
def test_refused_annotations(t):
    """Each is an error on the sync pipe; with on-error = warn the container runs with its own log only."""
    everything = '[policy]\nannotations=all\non-error=%s\n[profile p]\ndriver=json-file:@/p-{{.Name}}\n'
    long = 'x' * (1 << 20)
    cases = [
        ({'driver': 'binary:///bin/sh'}, "driver: binary:///bin/sh: an annotation can't name a path or a program"),
        ({'driver': 'k8s-file:@/evil'}, "driver: k8s-file:@/evil: an annotation can't name a path or a program"),
        ({'driver': 'none'}, "driver: the driver none can't be chosen by an annotation; these can: fluentd"),
        ({'driver': 'evil'}, "driver: the driver evil can't be chosen by an annotation; these can: fluentd"),
        ({'driver': 'fluentd', 'opt.on-missing': 'file:@/evil'}, 'opt.on-missing: no log driver in use has an option'),
        ({'driver': 'fluentd', 'opt.env': 'PATH'}, "opt.env: the option env can't be set by an annotation"),
        ({'driver': 'fluentd', 'opt.k8s-file.include': 'x'}, "opt.k8s-file.include: the option k8s-file.include can't be"),
        ({'driver': 'fluentd', 'opt.redact-file': '/etc/shadow'}, "opt.redact-file: the option redact-file can't be set"),
        ({'driver': 'syslog', 'opt.syslog-address': 'unix:///run/x'}, "opt.syslog-address: 'unix:///run/x' is not a "
         'network address, and the policy does not list it among sockets'),
        ({'driver': 'journald'}, 'driver: journald uses a local socket, and the policy does not list it among sockets'),
        ({'driver': 'journald', 'opt.syslog-address': 'udp://127.0.0.1:1'}, 'driver: journald uses a local socket'),
        ({'driver': 'syslog'}, 'driver: syslog uses a local socket, and the policy does not list it among sockets'),
        ({'driver': 'syslog', 'opt.syslog-address': ''}, "opt.syslog-address: '' is not a network address"),
        ({'driver': 'fluentd', 'opt.mode': 'x'}, "opt.mode: Log driver fluentd: option mode can't be 'x'; allowed: "),
        ({'driver': 'fluentd', 'opt.syslog-format': 'x'}, 'opt.syslog-format: no log driver in use has an option'),
        ({'opt.tag': 'x'}, 'opt.tag: no log driver is chosen that it could be for'),
        ({'profile': 'q'}, 'profile: no configuration file has a profile q; there are: p'),
        ({'profile': long}, 'profile: its value has 1048576 bytes; 4096 are allowed'),
        ({'profile': 'a\nb'}, 'profile: its value is not plain text in one line'),
        ({'profile': 5}, 'profile: its value is not a string'),
        ({'foo': 'x'}, 'foo: it is unknown; there are profile, driver and opt.KEY'),
    ]
    for annotations, sentence in cases:
        table = {PREFIX + key: t.expand(value) if isinstance(value, str) else value for key, value in annotations.items()}
        sentence = t.expand(f'Annotation {PREFIX}{sentence}')
        message = refusal(t, *config(t, everything % 'fail'), monitor=bundle(t, table))
        check(message.startswith(sentence), f'{annotations!r:.200}: {message}')
        m = run(t, *config(t, everything % 'warn'), monitor=bundle(t, table))
        err = m.stderr.read_text()
        check(err.startswith(f'[conmon:w]: {sentence}') and
              err.endswith('; the container starts without what the configuration adds\n'), err)
    equal(sorted(t.dir.glob('evil*')) + sorted(t.dir.glob('p')), [], 'files that were written')


def test_socket_that_annotations_may_choose(t):
    m = run(t, '--log-policy', 'annotations=all', '--log-policy', 'sockets=unix:///run/x;journald',
            monitor=bundle(t, {PREFIX + 'driver': 'journald'}))
    equal([sink['driver'] for sink in json.loads((m.persist / 'log-status.json').read_text())['sinks']],
          ['k8s-file', 'journald'])


def test_contradictory_annotations(t):
    message = refusal(t, monitor=bundle(t, {PREFIX + 'profile': 'p', PREFIX + 'driver': 'journald'}))
    equal(message, 'The annotations org.conmon.log/profile and org.conmon.log/driver contradict each other')
    m = t.monitor('twice')
    (m.bundle / 'config.json').write_text('{"annotations":{"%sprofile":"a","%sprofile":"b"}}' % (PREFIX, PREFIX))
    check(' duplicate ' in refusal(t, monitor=m), 'the duplicate annotation is not reported')
    m = t.monitor('broken')
    (m.bundle / 'config.json').write_text('{"annotations":{"%sprofile":"a"' % PREFIX)
    check(refusal(t, monitor=m).startswith('Failed to read annotations in config.json: it is not valid JSON'), 'sentence')


def test_ignored_annotations(t):
    """A warning, and the container starts."""
    for annotations in ({PREFIX + 'profile': 'evil'}, {PREFIX + 'driver': 'evil'}, {PREFIX + 'foo': 'evil'}):
        m = run(t, '--log-policy', 'annotations=none', monitor=bundle(t, annotations))
        equal(m.stderr.read_text(), '[conmon:w]: The annotations org.conmon.log/… are not followed: the policy is '
                                    'annotations = none\n')
    m = run(t, '--log-policy', 'annotations=none', monitor=bundle(t, {'a': 'b'}))
    equal(m.stderr.read_text(), '')


def test_profiles_that_annotations_may_name(t):
    arguments = config(t, '[policy]\nprofiles=pub-*\n[profile pub-a]\ndriver=json-file:@/a-{{.Name}}\n[profile b]\ndriver=json-file:@/b-{{.Name}}\n')
    run(t, *arguments, monitor=bundle(t, {PREFIX + 'profile': 'pub-a'}))
    check_received(t, 'a-name')
    equal(refusal(t, *arguments, monitor=bundle(t, {PREFIX + 'profile': 'b'})),
          'Annotation org.conmon.log/profile: the policy keeps the profile b from annotations')
    run(t, *arguments, monitor=bundle(t, {}), env={'CONMON_LOG_PROFILE': 'b'})
    check_received(t, 'b-name')


# Bad configuration

def test_bad_configuration(t):
    """One message with file, line and key, on the sync pipe, or with on-error = warn among the monitor's own
    messages."""
    cases = [
        ('nonsense\n', ':{line}: this is no [section], no KEY = VALUE in a section, and no # comment'),
        ('[nope]\n', ':{line}: there is no section [nope]; there are'),
        ('[attach]\nfoo=1\n', ':{next}: [attach] foo: there is no such key; there are queue-max, stall-timeout'),
        ('[defaults]\ndriver=nope\n', ':{next}: [defaults] driver: No such log driver nope; there are: '),
        ('[defaults]\nprofile=nope\n', ':{next}: [defaults] profile: no configuration file has a profile nope'),
        ('[defaults]\ndriver=json-file:@/no/such/directory-{{.Name}}\n',
         ':{next}: [defaults] driver: Failed to open log file @/no/such/directory-name: '),
        ('[profile x]\ndriver=nope\n', ':{next}: [profile x] driver: No such log driver nope; there are: '),
        ('[match nobody]\nprofile=nope\n', ':{next}: [match nobody] profile: no configuration file has a profile nope'),
        ('[profile x]\ndriver=json-file\n', ':{next}: [profile x] driver: json-file requires a filename'),
        ('[defaults]\ndriver=passthrough\n', ':{next}: [defaults] driver: passthrough would take the output away from '
                                             'all other logs; it needs opt.tee = yes'),
    ]
    for text, sentence in cases:
        for policy, line in (('', 1), ('[policy]\non-error=warn\n', 3)):
            arguments = config(t, policy + text)
            start = t.expand(f'{arguments[1]}{sentence.format(line=line, next=line + 1)}')
            if policy:
                message = run(t, *arguments).stderr.read_text()
                check(message.startswith('[conmon:w]: ' + start), f'{text!r}: {message}')
            else:
                message = refusal(t, *arguments)
                check(message.startswith(start), f'{text!r}: {message}')


def test_messages_avoid_phrases_that_podman_interprets(t):
    """podman looks for these phrases and would report that the container's command is missing or not executable."""
    place = '/sys/kernel' if os.geteuid() == 0 else '/root'
    for path, why in ((f'{t.dir}/no/x', 'no file or directory of that name'), (f'{place}/x', 'no permission'),
                      (f'{t.dir}/permission denied/NO SUCH FILE OR DIRECTORY/open executable', '')):
        message = refusal(t, *config(t, f'[match name]\ndriver = json-file:{path}\n'))
        check(f'[match name] driver: Failed to open log file {t.dir if place not in path else place}/' in message and
              message.endswith(why), message)
        for words in ('permission denied', 'operation not permitted', 'executable file not found in',
                      'no such file or directory', 'open executable'):
            check(words not in message.lower(), message)


def test_file_writable_by_others(t):
    arguments = config(t, '[policy]\non-error=warn\n')
    os.chmod(arguments[1], 0o666)
    check(refusal(t, *arguments).startswith(f'The configuration {arguments[1]} is not trusted: everybody may write to it'),
          'sentence')


def test_unknown_profile_in_the_environment(t):
    for value in ('nope', '../x', 'x' * 100000, 'a\nb'):
        message = refusal(t, env={'CONMON_LOG_PROFILE': value.replace('\n', ' ')})
        check(message.startswith('Environment variable CONMON_LOG_PROFILE: no configuration file has a profile '), message)


def test_without_a_sync_pipe(t):
    """Without a sync pipe the error goes to stderr."""
    m = t.launch('exit 0', *config(t, '[nope]\n'), pipes=())
    equal(m.wait_launcher(), 1)
    m.pid = m.launcher
    check(m.stderr.read_text().startswith(f'[conmon:e]: {t.dir}/conmon.conf:1: there is no section [nope]; '),
          m.stderr.read_text())


def test_old_sync_pipe(t):
    """With the old API version CRI-O reads another key."""
    m = t.launch('exit 0', *config(t, '[nope]\n'), api=0)
    m.start.go()
    m.wait_launcher()
    m.find()
    message = m.sync.message()
    check(message['pid'] == -1 and ':1: there is no section [nope]' in message['message'], message)
    m.wait()


def test_command_line_errors_come_first(t):
    """They are reported as without a configuration."""
    arguments = config(t, '[nope]\n')
    status, _, err = t.run('-c', CID, '-u', CID, '-r', t.runtime, '-l', 'nope:x', *arguments, env={'_OCI_SYNCPIPE': '1'})
    equal((status, err), (1, '[conmon:e]: No such log driver nope\n'))
    status, _, err = t.run('-c', CID, '-u', CID, '-r', t.runtime, *arguments, env={'_OCI_SYNCPIPE': '1'})
    equal((status, err), (1, '[conmon:e]: Log driver not provided. Use --log-path\n'))


def test_exec_is_never_affected(t):
    for text in ('nonsense', '[nope]\n', '[defaults]\ndriver=nope\n[policy]\nadd-to-exec=1\n'):
        m = t.exec('exit 3', *config(t, text), log='none', env={'CONMON_LOG_PROFILE': 'nope'},
                   monitor=bundle(t, {PREFIX + 'driver': 'nope'}))
        equal((m.wait(), m.stderr.read_text()), (3, ''), text)


def test_exec_with_a_wrong_option(t):
    m = t.launch('exit 3', '--log-profile', 'nope', mode='exec', log='none')
    m.start.go()
    m.wait_launcher()
    m.find()
    equal(m.sync.message(), {'data': -1, 'message': '--log-profile: no configuration file has a profile nope'})
    m.wait()


def test_broken_policy_option(t):
    check(refusal(t, '--log-policy', 'on-error=perhaps').startswith(
        "--log-policy on-error=perhaps: it can't be 'perhaps'; allowed: fail, warn"), 'sentence')
    check(refusal(t, '--log-policy', 'foo=1').startswith('--log-policy foo=1: it must be KEY=VALUE with a KEY of'), 'sentence')


def test_failing_drivers(t):
    """Drivers that can't deliver, or that exit, do not affect the log of -l."""
    t.skip_with(valgrind='it has no pidfd_open(2)')
    drivers = 'binary:///bin/false; json-file:/dev/full; syslog; fluentd'
    m = run(t, *config(t, f'[defaults]\ndriver = {drivers}\nopt.syslog-address = tcp://127.0.0.1:1\n'
                          'opt.fluentd-address = tcp://127.0.0.1:1\nopt.drain-timeout = 100ms\n'))
    sinks = json.loads((m.persist / 'log-status.json').read_text())['sinks']
    delivered = {sink['driver']: sink['out']['records'] for sink in sinks}
    del delivered['binary']  # data in the logger's pipe counts as delivered
    equal(delivered, {'k8s-file': 3, 'json-file': 0, 'syslog': 0, 'fluentd': 0})


# Limits and clients

def lines(path):
    return path.read_bytes().count(b'\n') if path.exists() else 0


def test_limits(t):
    """podman's log is rotated, and old files are kept; the command line takes precedence."""
    arguments = config(t, '[limits]\nsize-max=10k\nrotate=true\nmax-files=2\n')
    m = t.create('fill 1 100000 100', *arguments)
    m.finish(0)
    names = sorted(path.name for path in m.root.glob('ctr.log*'))
    equal(names, ['ctr.log', 'ctr.log.1', 'ctr.log.2'])
    check(all((m.root / name).stat().st_size <= 10000 for name in names), 'the files are not larger')
    m = t.create('fill 1 100000 100', *arguments, '--log-size-max', '30000', '--log-rotate', '--log-max-files', '1')
    m.finish(0)
    equal(sorted(path.name for path in m.root.glob('ctr.log*')), ['ctr.log', 'ctr.log.1'])
    check(m.log.with_name('ctr.log.1').stat().st_size > 10000, 'size of the command line')


def test_size_on_the_command_line_with_rotation_in_a_file(t):
    """podman passes max-size as --log-size-max; with rotation old records are kept."""
    m = t.create('fill 1 20000 100', *config(t, '[limits]\nrotate=true\nmax-files=9\n'), '--log-size-max', '10000')
    m.finish(0)
    equal(sum(lines(path) for path in m.root.glob('ctr.log*')), 200)


def test_global_size_limit(t):
    m = t.create('fill 1 100000 100', *config(t, '[limits]\nglobal-size-max=20k\n'))
    m.finish(0)
    check(20000 <= m.log.stat().st_size < 20200, f'{m.log.stat().st_size} bytes')


def late_client(t, *extra, waits=None):
    """How many of 4 MB a client gets that does not read until the container has written them, or for some seconds."""
    m = t.create('wait @/go\nprint x\nwait @/more\nfill 1 4000000 100\ntouch @/filled\nwait @/end', *extra)
    t.touch('go')
    m.wait_log(b'x')
    client = m.attach()
    t.touch('more')
    if waits:
        time.sleep(waits)
    else:
        t.wait_file('filled')
    t.touch('end')
    got = len(client.to_end())
    m.finish(0)
    client.close()
    for name in ('go', 'more', 'end', 'filled'):
        (t.dir / name).unlink()
    return got


@slow(90)
def test_attach_settings(t):
    """Output is queued up to queue-max; with a smaller queue the client is disconnected after stall-timeout."""
    large = config(t, '[attach]\nqueue-max = 16m\nstall-timeout = 0\n')
    equal(late_client(t, *large), 4000000, 'what the client got')
    small = ['--attach-queue-max', '8k']
    check(late_client(t, *large, *small, '--attach-stall-timeout', '50ms') < 4000000, 'the command line does not take precedence')
    equal(late_client(t, *large, *small, waits=2.5), 4000000, 'what the client got after more than the default time')
    small = config(t, '[attach]\nqueue-max = 8k\nstall-timeout = 50ms\n')
    check(late_client(t, *small) < 4000000, 'the client got everything')


def test_bad_attach_settings(t):
    for option, value in (('--attach-queue-max', '1'), ('--attach-queue-max', 'x'), ('--attach-stall-timeout', '5')):
        status, _, err = t.run('-c', CID, '-u', CID, '-r', t.runtime, '-l', 'none', option, value)
        check(status == 1 and err.startswith(f"[conmon:e]: {option}: it can't be '{value}'; allowed: a "), err)


# CRI-O

def cri_o(t, m, *extra):
    """CRI-O's command line for a container."""
    return [t.program, '-b', str(m.bundle), '-c', m.cid, '--exit-dir', str(m.exits), '-l', str(m.log), '--log-level',
            'info', '-n', 'k8s_web_pod_default_0', '-P', str(m.conmon_pidfile), '-p', str(m.pidfile),
            '--persist-dir', str(m.persist), '-r', t.runtime, '--runtime-arg', '--root=/run/runc',
            '--socket-dir-path', str(m.sockets), '--syslog', '-u', m.cid, *extra]


POD = {
    'io.container.manager': 'cri-o', 'io.kubernetes.container.name': 'web', 'io.kubernetes.cri-o.ContainerType': 'container',
    'io.kubernetes.cri-o.Annotations': json.dumps({'kubernetes.io/config.seen': 'x'}), 'io.kubernetes.pod.namespace': 'default',
}


def test_cri_o(t):
    """The CRI log is written, reopened on request, and never rotated by the monitor, regardless of
    annotations and files."""
    arguments = config(t, '[profile central]\ndriver=json-file:@/out-{{.Name}}.json\n[defaults]\ndriver=json-file:@/other-{{.Name}}.json\n'
                          '[limits]\nsize-max=1k\nrotate=1\nmax-files=3\n')
    m = bundle(t, {**POD, PREFIX + 'profile': 'central'})
    m.spawn(cri_o(t, m, *arguments), t.environment('print first line\\n\nwait @/go\nfill 1 10000 100\nprint end\\n',
                                                  CRI_O_EXTERNAL='1'), ('sync', 'start'), 'stream')
    m.go().created()
    m.wait_log(b'first line')
    old = m.log.with_name('ctr.log.20261122-000000')
    m.log.rename(old)
    m.control('2 0 0\n')
    wait_for(m.log.exists, 'the new log')
    t.touch('go')
    equal(m.wait(), 0)
    equal(sorted(path.name for path in m.root.glob('ctr.log*')), ['ctr.log', old.name])
    both = content(parse(old.read_bytes()) + parse(m.log.read_bytes()))
    check(both.startswith(b'first line\n') and both.endswith(b'end\n') and both.count(b'\n') == 102, 'the CRI file')
    sent = [json.loads(line)['log'] for line in (t.dir / 'out-k8s_web_pod_default_0.json').read_text().splitlines()]
    equal(''.join(sent).encode(), both, 'what the driver got')
    check(not (t.dir / 'other-k8s_web_pod_default_0.json').exists(), 'the defaults were taken too')


def test_cri_o_pod_that_names_a_driver(t):
    """The message becomes CRI-O's error; with on-error = warn the container runs with only the CRI log."""
    hostile = {**POD, PREFIX + 'driver': 'syslog', PREFIX + 'opt.syslog-address': 'udp://127.0.0.1:1'}
    for policy in ('fail', 'warn'):
        m = bundle(t, hostile)
        m.spawn(cri_o(t, m, '--log-policy', f'on-error={policy}', '--log-policy', 'annotations=profiles-only'),
                t.environment('print x\\n'), ('sync', 'start'), 'stream')
        m.go()
        message = m.sync.message()
        if policy == 'fail':
            equal(message, {'pid': -1, 'message': 'Annotation org.conmon.log/driver: the policy is annotations = '
                                                  'profiles-only, so it may only name a profile'})
            m.wait()
        else:
            m.container = message['pid']
            equal((m.wait(), content(m.records())), (0, b'x\n'))


LINES = {'stdout': [b'first line', b'last'], 'stderr': [b'second']}


def names(m):
    return [(sink['driver'], sink['name']) for sink in json.loads((m.persist / 'log-status.json').read_text())['sinks']]


def test_one_driver_twice(t):
    """Each has the options that follow it, and its own name."""
    servers = {tag: Syslog() for tag in ('one', 'two')}
    arguments = []
    for tag, server in servers.items():
        arguments += ['--log-driver', 'syslog', '--log-opt', f'syslog-address={server.address}', '--log-opt',
                      'syslog-format=rfc5424', '--log-opt', f'tag={tag}']
    m = run(t, *arguments)
    m.wait()
    for tag, server in servers.items():
        server.expect_lines(tag, LINES)
        equal(len(server.lines()), 3, f'messages at the server of {tag}')
    equal(names(m), [('k8s-file', 'k8s-file'), ('syslog', 'syslog'), ('syslog', 'syslog#2')])


def test_sinks_of_a_file(t):
    """Two [sink] sections with the same driver and different options."""
    servers = {name: Syslog() for name in ('near', 'far')}
    text = ''.join(f'''[sink {name}]
driver = syslog
opt.syslog-address = {server.address}
opt.syslog-format = rfc5424
opt.tag = {name}

''' for name, server in servers.items())
    m = run(t, *config(t, text + '[defaults]\nsinks = near;far\n'))
    m.wait()
    for name, server in servers.items():
        server.expect_lines(name, LINES)
        equal(len(server.lines()), 3, f'messages at the server of {name}')
    equal(names(m), [('k8s-file', 'k8s-file'), ('syslog', 'near'), ('syslog', 'far')])


# The JSON library

def without_json(t):
    """The environment of a monitor that can't load the JSON library."""
    directory = t.dir / 'lib'
    directory.mkdir()
    for name in ('libyajl.so.2', 'libjson-c.so.5'):
        (directory / name).write_text('no library\n')
    return {'LD_LIBRARY_PATH': str(directory)}


def test_without_the_json_library(t):
    """An error only where the library is needed; the message names the packages."""
    env = without_json(t)
    other = bundle(t, {'x': 'see org.conmon.log/driver'})
    run(t, *config(t, '[policy]\nannotations=all\n'), monitor=other, env=env)
    equal(other.stderr.read_text(), '', 'messages where it is not needed')
    gelf = bundle(t, {})
    run(t, '--log-driver', 'gelf', '--log-opt', 'gelf.gelf-address=udp://127.0.0.1:9', monitor=gelf, env=env)
    missing = 'the library that reads JSON can\'t be loaded ('
    check(missing in gelf.stderr.read_text(), gelf.stderr.read_text())
    said = refusal(t, *config(t, '[policy]\nannotations=all\n[profile p]\ndriver=json-file:@/x\n'),
                   monitor=bundle(t, {'org.conmon.log/profile': 'p'}), env=env)
    check(said.startswith('Failed to read annotations in config.json: ' + missing), said)
    check('; install the package lib' in said, said)


if __name__ == '__main__':
    main()
