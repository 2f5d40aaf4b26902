#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Docker's logging plugins: requests, records, and that no record is lost when a plugin restarts."""

import json
import os
import signal
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../stress/upgrade'))
from test_upgrade import Upgraded  # noqa: E402
from receivers import finish, HERE, hide_run, launch, Server, status_now  # noqa: E402
from harness import check, CID, equal, main, wait_for, whole_lines  # noqa: E402


class Plugins:
    """A directory for plugins, and one plugin in it that can be started more than once."""

    def __init__(self, t):
        self.t = t
        if os.geteuid() == 0:
            hide_run()
            self.dir, self.env = '/run/docker', {}
        else:
            self.dir, self.env = f'{t.dir}/docker', {'XDG_RUNTIME_DIR': str(t.dir)}
        os.makedirs(f'{self.dir}/plugins')
        self.output = t.dir / 'received'

    def serve(self, *options, name='shipper'):
        server = Server(self.t, [HERE / 'log-plugin.py', f'{self.dir}/plugins/{name}.sock', self.output, *options])
        server.wait(lambda: os.path.exists(f'{self.dir}/plugins/{name}.sock'), 'the socket')
        return server

    def launch(self, script, *options, **kwargs):
        return launch(self.t, script, 'plugin:shipper', *options, env=self.env, **kwargs)

    def received(self, count=0):
        """The records. What the plugin has read it writes a moment later: at least so many come."""
        wait_for(lambda: len(whole_lines(self.output)) >= count, f'{count} records')
        return [json.loads(line) for line in whole_lines(self.output)]

    def lines(self, count=0):
        return [record['line'] for record in self.received(count)]

    def calls(self, name=''):
        found = [json.loads(line) for line in whole_lines(self.t.dir / 'received.calls')]
        return [call for call in found if name in call[0]]

    def fifos(self):
        return os.listdir(f'{self.dir}/logging') if os.path.exists(f'{self.dir}/logging') else []


def flood(count):
    return f'sh i=0; while [ $i -lt {count} ]; do echo "line $i"; i=$((i+1)); done'


def expected(count):
    return [f'line {i}' for i in range(count)]


def test_protocol(t):
    p = Plugins(t)
    p.serve()
    m = t.monitor()
    (m.bundle / 'config.json').write_text(json.dumps({
        'process': {'args': ['sh', '-c', 'x'], 'env': ['A=b=c', 'Q="<']},
        'annotations': {'team': 'blue', 'io.container.manager': 'libpod',
                        'io.kubernetes.cri-o.Created': '2026-01-02T03:04:05Z'}}))
    m = p.launch('print one\\n\neprint two\\n\nprint three', 'plugin-opt=url=http://x/?a=b', 'plugin-opt=tag={{.Name}}',
                 words=('-n', 'web'), monitor=m)
    sink = finish(m)
    equal([(r['source'], r['line'], 'partial' in r) for r in p.received(3)],
          [('stdout', 'one', False), ('stderr', 'two', False), ('stdout', 'three', False)])
    check(all(1.7e18 < r['time'] < 9e18 for r in p.received()), p.received())
    equal([(path, host) for path, host, _ in p.calls()],
          [(path, 'plugin.moby.localhost') for path in
           ('/Plugin.Activate', '/LogDriver.Capabilities', '/LogDriver.StartLogging', '/LogDriver.StopLogging')])
    started, stopped = p.calls('StartLogging')[0][2], p.calls('StopLogging')[0][2]
    equal(stopped, {'File': started['File']})
    check(started['File'].startswith(f'{p.dir}/logging/'), started['File'])
    equal(started['Info'], {
        'Config': {'url': 'http://x/?a=b', 'tag': '{{.Name}}'}, 'ContainerID': CID, 'ContainerName': '/web',
        'ContainerEntrypoint': 'sh', 'ContainerArgs': ['-c', 'x'], 'ContainerImageID': '', 'ContainerImageName': '',
        'ContainerCreated': '2026-01-02T03:04:05Z', 'ContainerEnv': ['A=b=c', 'Q="<'],
        'ContainerLabels': {'team': 'blue', 'io.container.manager': 'libpod',
                            'io.kubernetes.cri-o.Created': '2026-01-02T03:04:05Z'}, 'LogPath': '', 'DaemonName': 'podman'})
    equal(p.fifos(), [])
    equal((sink['out'], sink['starts'], sink['read_logs'], sink['unread']), (sink['in'], 1, True, 0))


def test_parts(t):
    """Parts of a long line have an id, a number, and a flag for the last one."""
    p = Plugins(t)
    p.serve()
    finish(p.launch('fill 1 40000 40000'))
    parts = p.received(3)
    equal([len(r['line']) for r in parts], [16384, 16384, 7231])
    equal([(r['partial'], r['metadata'].get('last', 0), r['metadata']['ordinal']) for r in parts],
          [(1, 0, 1), (1, 0, 2), (1, 1, 3)])
    equal(len({r['metadata']['id'] for r in parts}), 1)


def test_other_plugins(t):
    """A plugin with another name, and one without capabilities."""
    p = Plugins(t)
    p.serve('implements=LoggingDriver', 'capabilities=no')
    sink = finish(p.launch('print x\\n'))
    equal((p.lines(1), sink['read_logs']), (['x'], False))


def test_late_reader(t):
    """A plugin may open the FIFO after it has answered."""
    p = Plugins(t)
    p.serve('late=0.5')
    sink = finish(p.launch('print x\\n'))
    equal((p.lines(1), sink['starts']), (['x'], 1))


def refused(t, sentence, *options):
    p = Plugins(t)
    server = p.serve(*options) if options else None
    m = p.launch('print x\\n\nwait @/go')
    wait_for(lambda: sentence in (status_now(m)['errors']['last'] or ''), sentence)
    if server:
        server.stop()
    p.serve()
    wait_for(lambda: p.lines() == ['x'], 'the record')
    t.touch('go')
    sink = finish(m)
    equal(sink['out'], sink['in'])


def test_refusal(t):
    refused(t, '/LogDriver.StartLogging: it says: no <disk>', 'err=no <disk>')


def test_invalid_answer(t):
    refused(t, "/Plugin.Activate: its answer can't be read: ", 'invalid=yes')


def test_no_log_driver(t):
    refused(t, 'it is no plugin for logs', 'implements=VolumeDriver')


def test_absent(t):
    """The plugin appears later; earlier records are kept for it."""
    refused(t, 'there is no shipper.sock in ')


def test_absent_to_the_end(t):
    p = Plugins(t)
    m = p.launch('print x\\n', 'drain-timeout=200ms')
    sink = finish(m)
    equal(sink['dropped']['at-end'], sink['in'])


def test_quiet_container(t):
    """A plugin is notified of a container without output, too."""
    p = Plugins(t)
    p.serve()
    finish(p.launch('exit 0'))
    equal([call[0] for call in p.calls()][2:], ['/LogDriver.StartLogging', '/LogDriver.StopLogging'])


def test_quiet_container_without_plugin(t):
    m = Plugins(t).launch('exit 0')
    equal((finish(m)['errors']['count'], m.stderr.read_text()), (0, ''))


def test_slow_plugin(t):
    """StopLogging is sent after the plugin has read all records."""
    p = Plugins(t)
    p.serve('wait=0.02')
    finish(p.launch(flood(100)))
    equal(p.lines(100), expected(100))
    equal(len(p.calls('StopLogging')), 1)


def keep_running(t, p, *options):
    """Restarts the plugin after each exit until the end of the test. Returns the list of processes."""
    servers, over = [p.serve(*options)], threading.Event()

    def restart():
        while not over.is_set():
            servers[-1].process.wait()
            if not over.is_set():
                servers.append(p.serve(*options))
    thread = threading.Thread(target=restart)

    def stop():
        over.set()
        servers[-1].process.kill()
        thread.join()
    t.stack.callback(stop)
    thread.start()
    return servers


def test_crashes(t):
    """It crashes repeatedly within a record; each record arrives once, in order."""
    p = Plugins(t)
    servers = keep_running(t, p, 'crash=700')
    sink = finish(p.launch(flood(5000)), timeout=60)
    equal(p.lines(5000), expected(5000))
    check(len(servers) > 5, f'{len(servers)} processes')
    equal((sink['out'], sink['starts']), (sink['in'], len(p.calls('StartLogging'))))


def test_kills(t):
    """It is killed while it reads: each time at most the record is lost that it had read and not written."""
    p = Plugins(t)
    servers = keep_running(t, p, 'wait=0.0005')
    m = p.launch(flood(6000))
    for kill in range(3):
        before = len(p.lines())
        wait_for(lambda: len(p.lines()) > before + 400, 'records')
        servers[-1].process.send_signal(signal.SIGKILL)
        wait_for(lambda: len(p.calls('StartLogging')) == kill + 2, 'the next plugin')
    sink = finish(m, timeout=60)
    wait_for(lambda: p.lines()[-1:] == ['line 5999'], 'the last record')
    numbers = [int(line.split()[1]) for line in p.lines()]
    equal(numbers, sorted(set(numbers)), 'each once, in order')
    check(len(numbers) >= 6000 - 3, f'{6000 - len(numbers)} lines are missing')
    equal(sink['out'], sink['in'])


def test_restart_of_an_idle_plugin(t):
    """The next record goes to the new process."""
    p = Plugins(t)
    server = p.serve()
    m = p.launch('print one\\n\nwait @/go\nprint two\\n\nwait @/end')
    wait_for(lambda: p.lines() == ['one'], 'the first record')
    server.stop()
    p.serve()
    t.touch('go')
    wait_for(lambda: p.lines() == ['one', 'two'], 'the second record')
    equal(status_now(m)['starts'], 2)
    t.touch('end')
    finish(m)


def test_upgrade(t):
    """A live upgrade of the monitor keeps the same FIFO."""
    p = Plugins(t)
    p.serve('wait=0.0002')
    u = Upgraded(t)
    m = p.launch(flood(3000) + '; while [ ! -e @/go ]; do sleep 0.02; done')
    for count in (300, 800, 1300):
        wait_for(lambda: len(p.lines()) > count, f'{count} records')
        u.upgrade(m)
    t.touch('go')
    sink = finish(m, timeout=60)
    equal(p.lines(3000), expected(3000))
    equal((sink['out'], len(p.calls('StartLogging')), len(p.calls('StopLogging')), p.fifos()), (sink['in'], 1, 1, []))


if __name__ == '__main__':
    main()
