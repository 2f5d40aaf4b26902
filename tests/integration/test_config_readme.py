#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Each row of README.md's table of ways to choose a log driver. Rows for podman are tested by
tests/interop/system/test_config_podman.py."""

import json
import os
import pathlib
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import check, content, equal, main, needs_root, SHORT_CID, skip  # noqa: E402
from harness.syslog import Syslog  # noqa: E402
from harness.toml import load  # noqa: E402

TOP = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = TOP / 'contrib/examples'
# The tables of the runtime handler in the examples for CRI-O.
HANDLERS = {name: load(EXAMPLES / name)['crio']['runtime']['runtimes']['logged']
            for name in ('crio.conf', 'crio-env.conf')}
SCRIPT = 'print first line\\n\neprint second\\n\nprint last\\n'
LINES = {'stdout': [b'first line', b'last'], 'stderr': [b'second']}

# Executes the remaining arguments in a mount namespace where $2 is a copy of the file $1, alone in its
# directory.
WITH_FILE = '''set -e
mount -t tmpfs none "$(dirname "$2")"
cp "$1" "$2"
shift 2
exec "$@"
'''


def table():
    """The rows as (where, what, driver); for the first two only the text in backquotes."""
    section = re.search(r'^## Logs to more places\n(.*?)^## ', (TOP / 'README.md').read_text(), re.S | re.M).group(1)
    rows = [line.split('|')[1:-1] for line in section.splitlines() if line.startswith('| ')][1:]
    return [(*(re.search(r'`(.*)`', cell).group(1) for cell in row[1:3]), row[4].strip()) for row in rows]


def central(t):
    """The example configuration, with the test's server and directory."""
    text = (EXAMPLES / 'conmon.conf').read_text()
    for place, own in (('tcp://127.0.0.1:514', t.server.address), ('/var/log/container-', f'{t.dir}/')):
        check(place in text, f'the example does not have {place}')
        text = text.replace(place, own)
    return text


def section(what):
    """`[title] key = value` as the lines of a file."""
    return re.fullmatch(r'(\[.*?\]) (.*)', what).expand('\\1\n\\2\n')


def with_section(t, what):
    """The example with this section added or replaced."""
    text = central(t)
    return text if section(what) in text else text + section(what)


def written(t, text):
    path = t.dir / f'file-{len(list(t.dir.glob("file-*")))}'
    path.write_text(text)
    return str(path)


def check_driver(t, name):
    """Checks that the driver got every line, in order within each stream."""
    if t.driver == 'syslog':
        t.server.expect_lines(name, LINES)
        return
    equal(t.driver, 'json-file')
    records = [json.loads(line) for line in (t.dir / f'{name}-{SHORT_CID}.json').read_text().splitlines()]
    for stream, lines in LINES.items():
        equal([r['log'].encode() for r in records if r['stream'] == stream], [line + b'\n' for line in lines], stream)


def spawned(t, m, argv, environment, name):
    """Runs a container to its end and checks both logs."""
    m.spawn(argv, environment, ('sync', 'start'))
    m.go().created()
    equal(m.wait(), 0, 'exit status')
    records = m.records()
    equal((content(records), content(records, 'stderr')), (b'first line\nlast\n', b'second\n'), 'the log of -l')
    check_driver(t, name)


def usual(t, *extra, name='web-1', program=(), env=None):
    """A container with podman's command line."""
    m = t.monitor(str(len(t.monitors) + 1))
    argv = [*program, t.program, *t.arguments(m, name=name, conmon_pidfile=False), '--sync', *extra]
    spawned(t, m, argv, t.environment(SCRIPT, **(env or {})), name)


def system_file(t, path, what):
    """The system's files, in a mount namespace."""
    if not pathlib.Path(path).parent.is_dir():
        skip(f'there is no directory for {path}')
    file = written(t, with_section(t, what))
    usual(t, name='batch-1' if 'batch' in what else 'web-1', program=[shutil.which('unshare'), '-m', '/bin/sh', '-c', WITH_FILE, 'sh', file, path])


def users_file(t, path, what):
    directory = t.dir / '.config/containers'
    directory.mkdir(parents=True)
    (directory / 'conmon.conf').write_text(with_section(t, what))
    if os.geteuid() != 0:
        usual(t)
        return
    t.program, t.runtime = map(str, t.for_another_user(t.program, t.runtime))
    m = t.monitor('user')
    for path in (t.dir, *t.dir.rglob('*')):
        os.chown(path, 12345, 12345)
    argv = [shutil.which('setpriv'), '--reuid', '12345', '--regid', '12345', '--clear-groups', t.program,
            *t.arguments(m, name='web-1', conmon_pidfile=False), '--sync']
    m.stderr.touch(mode=0o666)
    spawned(t, m, argv, t.environment(SCRIPT), 'web-1')


def cri_o(t, annotations=None, env=None):
    """CRI-O's command line, and the bundle that it creates for a pod."""
    m = t.monitor(str(len(t.monitors) + 1))
    (m.bundle / 'config.json').write_text(json.dumps({'annotations': {
        'io.container.manager': 'cri-o', 'io.kubernetes.cri-o.ContainerType': 'container', **(annotations or {})}}))
    name = 'k8s_web_web_default_0'
    argv = [t.program, '-b', str(m.bundle), '-c', m.cid, '--exit-dir', str(m.exits), '-l', str(m.log), '--log-level',
            'info', '-n', name, '-P', str(m.conmon_pidfile), '-p', str(m.pidfile), '--persist-dir', str(m.persist),
            '-r', t.runtime, '--runtime-arg', '--root=/run/runc', '--socket-dir-path', str(m.sockets), '--syslog',
            '-u', m.cid, '--config', written(t, central(t))]
    spawned(t, m, argv, t.environment(SCRIPT, CRI_O_EXTERNAL='1', **(env or {})), name)


def cri_o_handler(t, path, what):
    cri_o(t, HANDLERS['crio.conf'][what])


def cri_o_environment(t, path, what):
    cri_o(t, env=dict(variable.split('=', 1) for variable in HANDLERS['crio-env.conf'][what]))


def cri_o_pod(t, path, what):
    text = (EXAMPLES / 'pod.yaml').read_text()
    check(f'\n    {what}\n' in text, f'pod.yaml does not say {what}')
    cri_o(t, dict([what.split(': ')]))


def script(t, path, what):
    words = what.replace('tcp://127.0.0.1:514', t.server.address).split()
    if '--log-driver' in words:
        words += ['--log-opt', 'syslog-format=rfc5424', '--log-opt', 'tag={{.Name}}']
    usual(t, *words, '--config', written(t, central(t)))


WAYS = {
    '/etc/containers/conmon.conf': system_file,
    '/usr/share/containers/conmon.conf': system_file,
    '~/.config/containers/conmon.conf': users_file,
    '/etc/crio/crio.conf.d/logged.conf default_annotations': cri_o_handler,
    '/etc/crio/crio.conf.d/logged.conf monitor_env': cri_o_environment,
    'pod.yaml': cri_o_pod,
    'conmon': script,
}
PODMAN = {'/etc/containers/containers.conf', 'podman run', 'web.container'}


def way(where, what):
    return WAYS.get(where) or WAYS.get(f'{where} {what}')


def run_row(where, what, driver):
    def test(t):
        t.server, t.driver = Syslog(), driver
        way(where, what)(t, where, what)
    return needs_root(test) if way(where, what) is system_file else test


def test_monitor_of_cri_o(t):
    """The examples name the monitor by the path in which the text installs it."""
    path, = re.findall(r'^ +monitor_path = "(.*)"$', (TOP / 'README.md').read_text(), re.M)
    equal([table['monitor_path'] for table in HANDLERS.values()], [path, path])


@needs_root
def test_vendor_file(t):
    """With the vendor's file, an error in another file does not prevent a container from starting."""
    t.skip_with(valgrind='it needs a directory for temporary files')
    broken = written(t, '[defaults]\nfoo = 1\n')
    if not all(pathlib.Path(path).is_dir() for path in ('/etc/containers', '/usr/share/containers')):
        skip('there is no directory for configuration files')
    m = t.monitor()
    m.spawn([shutil.which('unshare'), '-m', '/bin/sh', '-c', WITH_FILE, 'sh', str(EXAMPLES / 'vendor.conf'),
             '/usr/share/containers/conmon.conf', '/bin/sh', '-c', WITH_FILE, 'sh', broken, '/etc/containers/conmon.conf',
             t.program, *t.arguments(m, conmon_pidfile=False), '--sync'], t.environment(SCRIPT), ('sync', 'start'))
    m.go().created()
    equal(m.wait(), 0, 'exit status')
    message = m.stderr.read_text()
    check('/etc/containers/conmon.conf:2: [defaults] foo: there is no such key' in message and 'the container starts' in message, message)


def test_each_row_has_its_test(t):
    rows = table()
    check(len(rows) >= 15, f'{len(rows)} rows')
    for where, what, driver in rows:
        check(way(where, what) or where in PODMAN, f'no test runs {where}: {what}')
        check(driver == 'syslog' or where not in PODMAN, f'{where}: {driver}')
    tests = (TOP / 'tests/interop/system/test_config_podman.py').read_text()
    for where in PODMAN:
        check(f"'{where}'" in tests, f'test_config_podman.py does not run {where}')


for number, row in enumerate(table()):
    if row[0] not in PODMAN:
        globals()[f'test_row_{number + 1}_{re.sub("[^a-z]+", "_", row[0]).strip("_")}'] = run_row(*row)


if __name__ == '__main__':
    main()
