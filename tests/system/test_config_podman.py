#!/usr/bin/python3
"""Log drivers chosen under an unmodified podman: the receiver gets every line, and podman's own log stays complete."""

import ctypes
import json
import pathlib
import re
import shlex
import shutil
import sys
import tomllib

from podman import IMAGE, main
from harness import check, content, equal, parse, wait_for
from harness.syslog import Syslog

TOP = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = TOP / 'contrib/examples'
SCRIPT = 'echo first line; echo second >&2; echo last'
LINES = {'stdout': [b'first line', b'last'], 'stderr': [b'second']}

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 4096, 16384, 1 << 18


def mount(source, target, flags):
    if _libc.mount(str(source).encode(), str(target).encode(), None, flags, None) != 0:
        raise OSError(ctypes.get_errno(), f'mount {source} {target}')


def configure(p, text=None):
    """Gives this test and its podman an /etc/containers of their own. Without a text, the example with the port of the
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
    """Merges a few settings of a containers.conf, such as an example, into the one that the tests use."""
    path = p.dir / 'containers.conf'
    lines = path.read_text().splitlines()
    for table, settings in tomllib.loads(text).items():
        at = lines.index(f'[{table}]') + 1
        lines[at:at] = [f'{key} = {json.dumps(value)}' for key, value in settings.items()]
    path.write_text('\n'.join(lines) + '\n')


def drop_in(p, example):
    """Lets podman read its files where it does by itself, the only drop-in being an example."""
    directory = p.etc / 'containers.conf.d'
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    shutil.copy(p.dir / 'containers.conf', p.etc)
    shutil.copy(EXAMPLES / example, directory)
    p.environment.pop('CONTAINERS_CONF', None)


def check_podman_logs(p, name, *, times=1):
    """podman logs, podman logs -f, and the file itself."""
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
    """What `podman inspect` shows, without what differs between any two containers."""
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


# The rows of README.md's table

def section_of_readme():
    return re.search(r'^## Logs to more places\n(.*?)^## ', (TOP / 'README.md').read_text(), re.S | re.M).group(1)


def rows(where):
    """What is to be written there, as the table says."""
    found = [line.split('|')[1:-1] for line in section_of_readme().splitlines() if f'`{where}`' in line]
    check(found, f'README.md has no row for {where}')
    return [re.search(r'`(.*)`', row[2]).group(1) for row in found]


def test_containers_conf(p):
    """A drop-in with annotations, and one with the environment: those of contrib/examples."""
    configure(p)
    texts = rows('/etc/containers/containers.conf')
    equal(len(texts), 2, 'rows')
    for number, (text, example) in enumerate(zip(texts, ('containers.conf', 'containers-env.conf'))):
        table, setting = re.fullmatch(r'(\[.*?\]) (.*)', text).groups()
        wanted = tomllib.loads(f'{table}\n{setting}\n')
        have = tomllib.loads((EXAMPLES / example).read_text())
        for name, settings in wanted.items():
            for key, values in settings.items():
                check(set(values) <= set(have[name][key]), f'{example} does not have {text}')
        drop_in(p, example)
        run(p, f'c{number}')
        p.server.received(f'c{number}', LINES)


def test_podman_run(p):
    """A profile by name, and, where the policy allows it, a driver with its options."""
    configure(p)
    by_profile, by_driver = rows('podman run')
    run(p, 'a', *by_profile.split())
    p.server.received('a', LINES)

    configure(p, '[policy]\nannotations = all\n')
    text = (EXAMPLES / 'podman-run').read_text()
    check(by_driver in text, f'the example does not have {by_driver}')
    command = text[text.index('exec podman run'):].replace('${SYSLOG_ADDRESS:-udp://127.0.0.1:514}',
                                                           f'udp://127.0.0.1:{p.server.port}')
    words = [word for word in shlex.split(command.replace('"$@"', '')) if word.strip()]
    equal(words[:3], ['exec', 'podman', 'run'])
    run(p, 'b', *words[3:])
    p.server.received('b', LINES)


def quadlet_command(path, cidfile):
    """What the generator of podman 5.4 makes of the example, as words in front of the image and behind it. Those before
    differ in the order of the words. Left out is --cgroups=split, which needs a unit of systemd."""
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
    """As the unit runs it; and a second time without --rm, so that podman's own log can be looked at."""
    configure(p)
    path = EXAMPLES / 'web.container'
    annotation, = rows('web.container')
    check(f'\n{annotation}\n' in path.read_text(), f'the example does not have {annotation}')
    cid_file = p.dir / 'web.cid'
    words, rest = quadlet_command(path, cid_file)
    p.must(*words, *rest)
    p.server.received('web', LINES)
    p.no_monitors()
    cid_file.unlink(missing_ok=True)
    words.remove('--rm')
    p.must(*words, *rest)
    p.must('wait', 'web')
    check_podman_logs(p, 'web')
    p.server.received('web', {stream: lines * 2 for stream, lines in LINES.items()})


# Life with a further driver

def test_follow(p):
    """podman logs -f shows lines as they come, while the driver gets them too."""
    configure(p)
    p.must('run', '-d', '--name', 'c', '--annotation', 'org.conmon.log/profile=central', IMAGE, 'sh', '-c',
           'for i in 1 2 3; do while [ ! -e /go$i ]; do sleep 0.05; done; echo line $i; done')
    with open(p.dir / 'followed', 'wb') as file:
        following = p.start('logs', '--follow', 'c', stdout=file)
    for number in (1, 2, 3):
        p.must('exec', 'c', 'touch', f'/go{number}')
        wait_for(lambda: f'line {number}\n' in (p.dir / 'followed').read_text(), f'line {number} to be shown')
    equal(following.wait(30), 0, 'status of logs -f')
    p.server.received('c', {'stdout': [b'line 1', b'line 2', b'line 3'], 'stderr': []})


def test_many_lines(p):
    """More than the queue holds, with a driver that makes the container wait."""
    configure(p)
    with open(p.etc / 'conmon.conf', 'a') as file:
        file.write('[defaults]\nprofile = central\nopt.mode = blocking\n')
    p.must('run', '--name', 'c', IMAGE, 'seq', '20000')
    wanted = [b'%d' % i for i in range(1, 20001)]
    p.server.received('c', {'stdout': wanted, 'stderr': []})
    equal(p.logs('c')[0].split(), wanted, 'podman logs')


def test_restart(p):
    """The choice is kept, by annotation and by environment."""
    configure(p)
    run(p, 'c', '--annotation', 'org.conmon.log/profile=central')
    p.must('restart', 'c')
    p.wait_status('c', 'exited')
    p.server.received('c', {stream: lines * 2 for stream, lines in LINES.items()})
    check_podman_logs(p, 'c', times=2)
    add_to_containers_conf(p, (EXAMPLES / 'containers-env.conf').read_text())
    run(p, 'd')
    p.must('restart', 'd')
    p.wait_status('d', 'exited')
    p.server.received('d', {stream: lines * 2 for stream, lines in LINES.items()})


def test_inspect_is_unchanged(p):
    """By every way that leaves the command line alone. An annotation is shown, as any is."""
    configure(p, '')
    run(p, 'before')
    configure(p)
    add_to_containers_conf(p, (EXAMPLES / 'containers-env.conf').read_text())
    run(p, 'after')
    p.server.received('after', LINES)
    before, after = inspect(p, 'before'), inspect(p, 'after')
    equal({key: after[key] for key in after if after[key] != before.get(key)},
          {key: before[key] for key in before if after.get(key) != before[key]}, 'podman inspect')
    run(p, 'annotated', '--annotation', 'org.conmon.log/profile=central')
    equal(inspect(p, 'annotated')['HostConfig']['LogConfig'], inspect(p, 'before')['HostConfig']['LogConfig'],
          'the log in podman inspect')


def test_rotation(p):
    """The limits of the configuration are podman's limits: old lines are kept in old files."""
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
    """They work as ever, also under a broken configuration, and nothing of theirs is sent."""
    configure(p)
    p.must('run', '-d', '--name', 'c', '--annotation', 'org.conmon.log/profile=central', '--health-cmd', 'echo healthy',
           IMAGE, 'sh', '-c', 'echo up; while [ ! -e /end ]; do sleep 0.05; done')
    p.must('exec', 'c', 'echo', 'hi')
    configure(p, 'nonsense\n')
    equal(p.must('exec', 'c', 'echo', 'hi'), 'hi')
    p.must('healthcheck', 'run', 'c')
    p.must('exec', 'c', 'touch', '/end')
    p.must('wait', 'c')
    p.server.received('c', {'stdout': [b'up'], 'stderr': []})


def test_server_that_is_not_there(p):
    """A driver that can't deliver takes nothing from podman's log, and the monitor ends all the same."""
    configure(p, '[defaults]\ndriver = syslog\nopt.syslog-address = tcp://127.0.0.1:1\nopt.drain-timeout = 500ms\n')
    run(p, 'c')
    p.no_monitors()


# What is refused

def refused(p, *arguments, image=IMAGE):
    """What podman's user reads when the container does not start."""
    result = p('run', *arguments, image, 'echo', 'hi')
    equal((result.status, result.out), (126, b''), str(result))
    return result.err.decode()


def warned(p, *arguments, image=IMAGE):
    """What the user reads when it starts all the same, with podman's own log only."""
    result = p('run', '--name', 'warned', *arguments, image, 'echo', 'hi')
    equal((result.status, result.out), (0, b'hi\n'), str(result))
    equal(p.logs('warned')[0], b'hi\n', 'podman logs')
    p.must('rm', 'warned')
    return result.err.decode()


def test_errors_reach_the_user(p):
    """File, line and key, by whatever way podman was called."""
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
    """Podman finds words in what it is told, and would say that the container's program is not there, or not allowed."""
    for path in ('/no/such/directory/x', '/sys/kernel/x'):
        configure(p, f'[defaults]\ndriver = json-file:{path}\n')
        told = refused(p)
        check(told.startswith('Error: OCI runtime error: ') and f'Failed to open log file {path}: ' in told, told)
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
        told = refused(p, image=f'localhost/{name}')
        check('Annotation org.conmon.log/' in told and told.count('\n') == 1, told)
    configure(p, '[policy]\non-error = warn\n')
    for name in images:
        told = warned(p, image=f'localhost/{name}')
        check('[conmon:w]: Annotation org.conmon.log/' in told, told)
    configure(p, '[policy]\nannotations = none\n')
    told = warned(p, image='localhost/program')
    check('are not followed: the policy is annotations = none' in told, told)


def gets_annotations(p, image):
    """Whether podman gives a container the annotations of its image."""
    p.must('create', '--name', 'probe', image, 'true')
    shown = json.loads(p.must('container', 'inspect', 'probe'))[0]['Config']['Annotations'] or {}
    p.must('rm', 'probe')
    return any(key.startswith('org.conmon.log/') for key in shown)


def test_hostile_image(p):
    """Podman before 4.6 gives the image's annotations to the container: they choose nothing for root."""
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
    equal(p.server.lines(), [], 'what the server got')
    check(not evil.exists(), 'a file was made')


def test_unreadable_annotation_values(p):
    """A long text, an unknown key."""
    configure(p)
    for annotation, sentence in ((f'profile={"x" * 100000}', 'profile: its value has 100000 bytes; 4096 are allowed'),
                                 ('foo=x', 'foo: it is unknown; there are profile, driver and opt.KEY')):
        check(sentence in refused(p, '--annotation', f'org.conmon.log/{annotation}'), sentence)


if __name__ == '__main__':
    main()
