#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Choosing log drivers with an unmodified podman: the receiver gets every line, and podman's own log is complete."""

import ctypes
import json
import pathlib
import re
import shlex
import shutil

from podman import IMAGE, main
from harness import check, content, equal, parse, wait_for
from harness.syslog import Syslog
from harness.toml import loads

TOP = pathlib.Path(__file__).resolve().parents[3]
EXAMPLES = TOP / 'contrib/examples'
SCRIPT = 'echo first line; echo second >&2; echo last'
LINES = {'stdout': [b'first line', b'last'], 'stderr': [b'second']}

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 4096, 16384, 1 << 18


def mount(source, target, flags):
    if _libc.mount(str(source).encode(), str(target).encode(), None, flags, None) != 0:
        raise OSError(ctypes.get_errno(), f'mount {source} {target}')


def configure(p, text=None):
    """Mounts an /etc/containers for this test with a conmon.conf: `text`, or the example with the port of the
    test's server."""
    if not hasattr(p, 'etc'):
        p.server, p.etc = Syslog(), p.dir / 'etc'
        shutil.copytree('/etc/containers', p.etc)
        check(_libc.unshare(CLONE_NEWNS) == 0, 'no mount namespace')
        mount('none', '/', MS_REC | MS_PRIVATE)
        mount(p.etc, '/etc/containers', MS_BIND)
    if text is None:
        text = (EXAMPLES / 'conmon.conf').read_text().replace('tcp://127.0.0.1:514', p.server.address)
    (p.etc / 'conmon.conf').write_text(text)


def add_to_containers_conf(p, text):
    """Merges settings, such as those of an example, into the containers.conf of the tests."""
    path = p.dir / 'containers.conf'
    lines = path.read_text().splitlines()
    for table, settings in loads(text).items():
        at = lines.index(f'[{table}]') + 1
        lines[at:at] = [f'{key} = {json.dumps(value)}' for key, value in settings.items()]
    path.write_text('\n'.join(lines) + '\n')


def drop_in(p, example):
    """Lets podman read its default files, with an example as the only drop-in."""
    directory = p.etc / 'containers.conf.d'
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    shutil.copy(p.dir / 'containers.conf', p.etc)
    shutil.copy(EXAMPLES / example, directory)
    p.environment.pop('CONTAINERS_CONF', None)


def check_podman_logs(p, name, *, times=1):
    """Checks podman logs, podman logs -f, and the log file."""
    out, err = b'first line\nlast\n' * times, b'second\n' * times
    equal(p.logs(name), (out, err), 'podman logs')
    followed = p('logs', '--follow', name)
    equal((followed.status, followed.out, followed.err), (0, out, err), 'podman logs -f')
    records = parse(p.log_path(name).read_bytes())
    equal(b''.join(p.logs(name, '--tail', '1')), records[-1].content + b'\n', 'podman logs --tail')
    equal((content(records), content(records, 'stderr')), (out, err), 'the file')


def run(p, name, *arguments, image=IMAGE):
    p.must('run', '--name', name, *arguments, image, 'sh', '-c', SCRIPT)
    check_podman_logs(p, name)


def shape(value):
    """The output of `podman inspect` without values that differ between containers."""
    if isinstance(value, dict):
        return {key: shape(element) for key, element in value.items()}
    if isinstance(value, list):
        return [shape(element) for element in value]
    if isinstance(value, str):
        value = re.sub(r'\b([0-9a-f]{64}|[0-9a-f]{12})\b', 'ID', value)
        value = re.sub(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*', 'TIME', value)
    return value


def inspect(p, name):
    shown = json.loads(p.must('container', 'inspect', name))[0]
    for key in ('Id', 'Created', 'Name', 'Args', 'Pid', 'lockNumber'):
        shown.pop(key, None)
    for key in ('Pid', 'ConmonPid', 'CgroupPath'):
        shown['State'].pop(key, None)
    shown['Config'].pop('Hostname', None)
    shown['Config'].pop('CreateCommand', None)
    shown['Config']['Env'].sort()
    return shape(shown)


# The rows of the table in README.md

def section_of_readme():
    return re.search(r'^## Logs to more places\n(.*?)^## ', (TOP / 'README.md').read_text(), re.S | re.M).group(1)


def rows(where):
    """The text that the table gives for this place."""
    found = [line.split('|')[1:-1] for line in section_of_readme().splitlines() if f'`{where}`' in line]
    check(found, f'README.md has no row for {where}')
    return [re.search(r'`(.*)`', row[2]).group(1) for row in found]


def test_containers_conf(p):
    """The drop-ins of contrib/examples: one with annotations, one with the environment."""
    configure(p)
    texts = rows('/etc/containers/containers.conf')
    equal(len(texts), 2, 'rows')
    for number, (text, example) in enumerate(zip(texts, ('containers.conf', 'containers-env.conf'))):
        table, setting = re.fullmatch(r'(\[.*?\]) (.*)', text).groups()
        wanted = loads(f'{table}\n{setting}\n')
        have = loads((EXAMPLES / example).read_text())
        for name, settings in wanted.items():
            for key, values in settings.items():
                check(set(values) <= set(have[name][key]), f'{example} does not have {text}')
        drop_in(p, example)
        run(p, f'c{number}')
        p.server.expect_lines(f'c{number}', LINES)


def test_podman_run(p):
    """A profile by name, and, if the policy allows it, a driver with its options."""
    configure(p)
    by_profile, by_driver = rows('podman run')
    run(p, 'a', *by_profile.split())
    p.server.expect_lines('a', LINES)

    configure(p, '[policy]\nannotations = all\n')
    words = by_driver.replace(':514', f':{p.server.port}').split()
    run(p, 'r', *words, '--annotation', 'org.conmon.log/opt.syslog-format=rfc5424', '--annotation', 'org.conmon.log/opt.tag=r')
    p.server.expect_lines('r', LINES)
    text = (EXAMPLES / 'podman-run').read_text()
    command = text[text.index('exec podman run'):].replace('${SYSLOG_ADDRESS:-udp://127.0.0.1:514}',
                                                           f'udp://127.0.0.1:{p.server.port}')
    words = [word for word in shlex.split(command.replace('"$@"', '')) if word.strip()]
    equal(words[:3], ['exec', 'podman', 'run'])
    run(p, 'b', *words[3:])
    p.server.expect_lines('b', LINES)


def quadlet_command(path, cidfile):
    """The arguments before and after the image that podman 5.4's generator creates for the example. (Older
    releases order them differently.) Omits --cgroups=split, which needs a systemd unit."""
    settings = re.search(r'^\[Container\]\n(.*?)(?=^\[)', path.read_text(), re.S | re.M).group(1)
    keys = [line.split('=', 1) for line in settings.splitlines() if line and not line.startswith('#')]
    one = dict(keys)
    check({key for key, _ in keys} == {'ContainerName', 'Image', 'Exec', 'Annotation'}, 'the example has other keys')
    words = ['run', '--name', one['ContainerName'], f'--cidfile={cidfile}', '--replace', '--rm', '--sdnotify=conmon', '-d']
    for key, value in keys:
        if key == 'Annotation':
            words += ['--annotation', value]
    return words, [one['Image'], *shlex.split(one['Exec'])]


def test_quadlet(p):
    """Runs the command of the unit, and once more without --rm, so that podman's own log can be checked."""
    configure(p)
    path = EXAMPLES / 'web.container'
    annotation, = rows('web.container')
    check(f'\n{annotation}\n' in path.read_text(), f'the example does not have {annotation}')
    cid_file = p.dir / 'web.cid'
    words, rest = quadlet_command(path, cid_file)
    p.must(*words, *rest)
    p.server.expect_lines('web', LINES)
    p.no_monitors()
    cid_file.unlink(missing_ok=True)
    words.remove('--rm')
    p.must(*words, *rest)
    p.must('wait', 'web')
    check_podman_logs(p, 'web')
    p.server.expect_lines('web', {stream: lines * 2 for stream, lines in LINES.items()})


# Containers with an additional driver

def test_follow(p):
    """podman logs -f shows lines at once, and the driver gets them, too."""
    configure(p)
    p.must('run', '-d', '--name', 'c', '--annotation', 'org.conmon.log/profile=central', IMAGE, 'sh', '-c',
           'for i in 1 2 3; do while [ ! -e /go$i ]; do sleep 0.05; done; echo line $i; done')
    with open(p.dir / 'followed', 'wb') as file:
        following = p.start('logs', '--follow', 'c', stdout=file)
    for number in (1, 2, 3):
        p.must('exec', 'c', 'touch', f'/go{number}')
        wait_for(lambda: f'line {number}\n' in (p.dir / 'followed').read_text(), f'line {number} to be shown')
    equal(following.wait(30), 0, 'status of logs -f')
    p.server.expect_lines('c', {'stdout': [b'line 1', b'line 2', b'line 3'], 'stderr': []})


def test_many_lines(p):
    """More lines than fit into the queue, with mode=blocking."""
    configure(p)
    with open(p.etc / 'conmon.conf', 'a') as file:
        file.write('[defaults]\nprofile = central\nopt.mode = blocking\n')
    p.must('run', '--name', 'c', IMAGE, 'seq', '20000')
    wanted = [b'%d' % i for i in range(1, 20001)]
    p.server.expect_lines('c', {'stdout': wanted, 'stderr': []})
    equal(p.logs('c')[0].split(), wanted, 'podman logs')


def test_restart(p):
    """The choice is kept over a restart, with an annotation and with the environment."""
    configure(p)
    run(p, 'c', '--annotation', 'org.conmon.log/profile=central')
    p.must('restart', 'c')
    p.wait_status('c', 'exited')
    p.server.expect_lines('c', {stream: lines * 2 for stream, lines in LINES.items()})
    check_podman_logs(p, 'c', times=2)
    add_to_containers_conf(p, (EXAMPLES / 'containers-env.conf').read_text())
    run(p, 'd')
    p.must('restart', 'd')
    p.wait_status('d', 'exited')
    p.server.expect_lines('d', {stream: lines * 2 for stream, lines in LINES.items()})


def test_inspect_is_unchanged(p):
    """Adding drivers without changing the command line does not change podman inspect, except that
    annotations are shown."""
    configure(p, '')
    run(p, 'before')
    configure(p)
    add_to_containers_conf(p, (EXAMPLES / 'containers-env.conf').read_text())
    run(p, 'after')
    p.server.expect_lines('after', LINES)
    before, after = inspect(p, 'before'), inspect(p, 'after')
    equal({key: after[key] for key in after if after[key] != before.get(key)},
          {key: before[key] for key in before if after.get(key) != before[key]}, 'podman inspect')
    run(p, 'annotated', '--annotation', 'org.conmon.log/profile=central')
    equal(inspect(p, 'annotated')['HostConfig']['LogConfig'], inspect(p, 'before')['HostConfig']['LogConfig'],
          'the log in podman inspect')


def test_rotation(p):
    """The limits of the configuration apply to podman's log: old lines are in rotated files."""
    configure(p, '[limits]\nsize-max = 10k\nrotate = true\nmax-files = 100\n')
    p.must('run', '--name', 'c', IMAGE, 'seq', '1000')
    path = p.log_path('c')
    files = sorted(path.parent.glob(path.name + '*'), key=lambda f: -int(f.suffix[1:]) if f != path else 0)
    check(len(files) > 3, f'{files}')
    data = b''.join(file.read_bytes() for file in files)
    equal(content(parse(data)).split(), [b'%d' % i for i in range(1, 1001)], 'all files')


def test_log_driver_none(p):
    configure(p, '[defaults]\ndriver = json-file:%s/{{.Name}}.json\n' % p.dir)
    p.must('run', '--name', 'c', '--log-driver', 'none', IMAGE, 'echo', 'hi')
    check(not (p.dir / 'c.json').exists(), 'a driver was added to none')


def test_exec_and_health_check(p):
    """They work as usual, also with an invalid configuration, and their output is not sent to the added drivers."""
    configure(p)
    p.must('run', '-d', '--name', 'c', '--annotation', 'org.conmon.log/profile=central', '--health-cmd', 'echo healthy',
           IMAGE, 'sh', '-c', 'echo up; while [ ! -e /end ]; do sleep 0.05; done')
    p.must('exec', 'c', 'echo', 'hi')
    configure(p, 'nonsense\n')
    equal(p.must('exec', 'c', 'echo', 'hi'), 'hi')
    p.must('healthcheck', 'run', 'c')
    p.end('c', '/end')
    p.must('wait', 'c')
    p.server.expect_lines('c', {'stdout': [b'up'], 'stderr': []})


def test_absent_server(p):
    """A driver that can't deliver does not affect podman's log or the end of the monitor."""
    configure(p, '[defaults]\ndriver = syslog\nopt.syslog-address = tcp://127.0.0.1:1\nopt.drain-timeout = 500ms\n')
    run(p, 'c')
    p.no_monitors()


# Errors

def refused(p, *arguments, image=IMAGE):
    """The error that podman's user gets when the container does not start."""
    result = p('run', *arguments, image, 'echo', 'hi')
    equal((result.status, result.out), (126, b''), str(result))
    return result.err.decode()


def warned(p, *arguments, image=IMAGE):
    """The warning that the user gets when the container starts with only podman's log."""
    result = p('run', '--name', 'warned', *arguments, image, 'echo', 'hi')
    equal((result.status, result.out), (0, b'hi\n'), str(result))
    equal(p.logs('warned')[0], b'hi\n', 'podman logs')
    p.must('rm', 'warned')
    return result.err.decode()


def test_errors_reach_the_user(p):
    """File, line and key, with each podman command."""
    configure(p, '[policy]\n\n[defaults]\ndriver = nope\n')
    sentence = '/etc/containers/conmon.conf:4: [defaults] driver: No such log driver nope; there are: '
    for arguments in ((), ('-d',), ('-t',), ('-i',)):
        check(sentence in refused(p, *arguments), f'podman run {arguments}')
    p.must('create', '--name', 'c', IMAGE, 'true')
    started = p('start', 'c')
    check(started.status == 125 and sentence in started.err.decode(), str(started))
    configure(p, '[policy]\non-error = warn\n[defaults]\ndriver = nope\n')
    check(sentence in warned(p), 'the warning')
    configure(p, '')
    p.must('start', '-a', 'c')


def test_status_of_errors(p):
    """podman looks for phrases in the message, and would report that the container's command is missing or
    not executable."""
    for path in ('/no/such/directory/x', '/sys/kernel/x'):
        configure(p, f'[defaults]\ndriver = json-file:{path}-{{{{.ID}}}}\n')
        message = refused(p)
        check(message.startswith('Error: OCI runtime error: ') and f'Failed to open log file {path}-' in message, message)
    equal(p('run', IMAGE, '/no/such/program').status, 126)
    configure(p, '')
    equal(p('run', IMAGE, '/no/such/program').status, 127)


def test_bad_configuration(p):
    configure(p, '')
    for text, sentence in (('nonsense\n', ':1: this is no [section]'), ('[defaults]\nfoo = 1\n', ':2: [defaults] foo: '),
                           ('[defaults]\nprofile = nope\n', ':2: [defaults] profile: no configuration file has a profile')):
        configure(p, text)
        check(f'/etc/containers/conmon.conf{sentence}' in refused(p), text)
    configure(p, '[policy]\non-error = warn\n')
    (p.etc / 'conmon.conf').chmod(0o666)
    check('The configuration /etc/containers/conmon.conf is not trusted: everybody may write to it' in refused(p), 'mode')
    (p.etc / 'conmon.conf').chmod(0o644)
    add_to_containers_conf(p, '[engine]\nconmon_env_vars = ["CONMON_LOG_PROFILE=nope"]\n')
    check('Environment variable CONMON_LOG_PROFILE: no configuration file has a profile nope' in warned(p), 'environment')


def check_refusals(p, images):
    for name in images:
        message = refused(p, image=f'localhost/{name}')
        check('Annotation org.conmon.log/' in message and message.count('\n') == 1, message)
    configure(p, '[policy]\non-error = warn\n')
    for name in images:
        message = warned(p, image=f'localhost/{name}')
        check('[conmon:w]: Annotation org.conmon.log/' in message, message)
    configure(p, '[policy]\nannotations = none\n')
    message = warned(p, image='localhost/program')
    check('are not followed: the policy is annotations = none' in message, message)


def gets_annotations(p, image):
    """Whether this podman gives a container the annotations of its image."""
    p.must('create', '--name', 'probe', image, 'true')
    shown = json.loads(p.must('container', 'inspect', 'probe'))[0]['Config']['Annotations'] or {}
    p.must('rm', 'probe')
    return any(key.startswith('org.conmon.log/') for key in shown)


def test_annotations_of_an_image(p):
    """podman before 4.6 gives the image's annotations to the container: for root they must not choose anything."""
    configure(p)
    evil = p.dir / 'evil'
    (p.dir / 'Containerfile').write_text(f'FROM {IMAGE}\n')
    cases = {
        'syslog': {'driver': 'syslog', 'opt.syslog-address': f'udp://127.0.0.1:{p.server.port}'},
        'file': {'driver': f'k8s-file:{evil}'},
        'program': {'driver': f'binary:///bin/touch?{evil}='},
        'profile': {'profile': 'nope'},
    }
    for name, annotations in cases.items():
        words = [word for key, value in annotations.items() for word in ('--annotation', f'org.conmon.log/{key}={value}')]
        p.must('build', '--quiet', *words, '-t', f'localhost/{name}', '-f', p.dir / 'Containerfile', p.dir)
    if gets_annotations(p, 'localhost/syslog'):
        check_refusals(p, cases)
    else:
        for name in cases:
            p.must('run', f'localhost/{name}', 'echo', 'hi')
    equal(p.server.lines(), [], 'messages at the server')
    check(not evil.exists(), 'a file was created')


def test_invalid_annotations(p):
    """A value that is too long, and an unknown key."""
    configure(p)
    for annotation, sentence in ((f'profile={"x" * 100000}', 'profile: its value has 100000 bytes; 4096 are allowed'),
                                 ('foo=x', 'foo: it is unknown; there are profile, driver and opt.KEY')):
        check(sentence in refused(p, '--annotation', f'org.conmon.log/{annotation}'), sentence)


if __name__ == '__main__':
    main()
