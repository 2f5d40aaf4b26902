# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Runs one scenario with one monitor and returns all observations in a form that can be compared between monitors."""

import contextlib
import os
import pathlib
import re
import signal
import stat
import time

from harness import Attach, Failure, Inotify, descriptors, drain, ignored, kill, wait_for

import bundle

DUMP_RUNTIME = 'dump @/runtime.json\n'
DEFAULT_RUNTIME = 'console\ncontainer\npidfile'
KINDS = {stat.S_IFIFO: 'fifo', stat.S_IFSOCK: 'socket', stat.S_IFREG: 'file', stat.S_IFDIR: 'directory',
         stat.S_IFLNK: 'link', stat.S_IFCHR: 'device'}
TIME = re.compile(rb'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}([+-]\d\d:\d\d)', re.M)


class Scenario:
    """A row of scenarios.toml. `steps` are executed while the container runs, `early` before the runtime does."""

    def __init__(self, row):
        self.name = row['name']
        self.mode = row.get('mode', 'create')
        self.args = row.get('args', [])
        self.container = row.get('container', 'exit 0')
        self.runtime = row.get('runtime')
        self.early, self.steps = row.get('early', []), row.get('steps', [])
        self.options, self.env = row.get('options', {}), row.get('env', {})
        self.kind, self.pipes = row.get('kind', 'seqpacket'), tuple(row.get('pipes', ('sync', 'start')))
        self.umask, self.real = row.get('umask', 0o022), row.get('real', False)
        self.prepare, self.fds = row.get('prepare', []), row.get('fds', [])
        self.flood, self.exit_command = row.get('flood', False), row.get('exit_command', False)
        self.packets = row.get('packets', False)
        self.root_only = row.get('root', False) or self.real


class Run:
    """One scenario with one monitor."""

    def __init__(self, t, scenario):
        self.t, self.s, self.m = t, scenario, t.monitor('1')
        self.clients, self.seen, self.pids = {}, {}, {}

    # Normalization

    def plain(self, text):
        """Replaces values that differ between runs by names."""
        for word, name in ((str(self.t.dir), '@'), (self.t.runtime, 'RUNTIME'), (self.t.program, 'CONMON')):
            text = text.replace(word, name).replace(word.replace('/', '\\/'), name)
        for name, pid in self.pids.items():
            text = re.sub(rf'(?<!\d){pid}(?!\d)', name, text)
        return re.sub(r'conmon-term\.[A-Za-z0-9]{6}', 'conmon-term.*', text)

    def note(self, key, value):
        self.seen[key] = value

    # The run

    def observe(self):
        if self.s.mode == 'options':
            return self._options()
        for line in self.s.prepare:
            self._prepare(line)
        if self.s.real:
            bundle.make(self)
        watch = Inotify(self.m.bundle, self.m.persist, self.m.exits)
        self._launch()
        self._handshake()
        for step in self.s.steps:
            self._step(step)
        self._finish()
        self._collect()
        self._events(watch)
        if self.s.real:
            bundle.remove(self)
        return self.seen

    def _options(self):
        argv = [self.t.expand(arg) for arg in self.s.args]
        status, out, err = self.t.run(*argv, env=self.s.env)
        self.note('launcher.status', status)
        self.note('launcher.stdout', self.plain(out))
        self.note('launcher.stderr', self.plain(err))
        self.t.monitors.clear()
        return self.seen

    def _prepare(self, line):
        """mkdir PATH, touch PATH, write PATH TEXT, link PATH TARGET, chmod MODE PATH"""
        verb, path, *rest = self.t.expand(line).split(' ', 2)
        if verb == 'mkdir':
            os.makedirs(path)
        elif verb == 'touch':
            pathlib.Path(path).touch()
        elif verb == 'write':
            pathlib.Path(path).write_text(rest[0].encode().decode('unicode_escape'))
        elif verb == 'link':
            os.symlink(rest[0], path)
        elif verb == 'chmod':
            os.chmod(rest[0], int(path, 8))
        else:
            raise Failure(f'unknown preparation {line!r}')

    def _launch(self):
        s, t = self.s, self.t
        extra = list(s.args)
        if s.exit_command:
            extra += ['--exit-command', t.runtime, '--exit-command-arg', 'script', '--exit-command-arg',
                      'dump @/exitcmd.json', '--exit-command-arg', 'touch @/exitcmd-ran']
        container, runtime = s.container, DUMP_RUNTIME + (s.runtime or DEFAULT_RUNTIME)
        if not s.flood and not s.real:
            container = 'dump @/container.json\n' + container
        mode = 'exec' if s.mode.startswith('exec') else 'create'
        pipes = ('sync', 'start', 'attach') if s.mode == 'exec-attach' else s.pipes
        if s.mode == 'exec-attach':
            extra.append('--exec-attach')
        if s.mode == 'restore':
            extra += ['--restore', '@/checkpoint']
        spare = os.open('/dev/null', os.O_RDONLY)
        spawn = {'umask': s.umask, 'fds': {number: spare for number in s.fds}}
        options = {key: t.expand(value) if isinstance(value, str) else value for key, value in s.options.items()}
        t.launch(container, *extra, mode=mode, runtime=runtime, kind=s.kind, pipes=pipes, spawn=spawn, env=s.env,
                 monitor=self.m, **options)
        os.close(spare)

    def _handshake(self):
        m, s = self.m, self.s
        for step in s.early:
            if step.startswith('close '):
                self._step(step)
        if m.start and m.start.fd >= 0:
            try:
                m.start.go()
            except BrokenPipeError:
                pass
        if '--sync' not in m.argv:
            status = m.wait_launcher()
            self.note('launcher.status', status)
            if status != 0:
                return
            m.find()
        if s.mode == 'exec-attach':
            self.note('attach-pipe', [m.attach_pipe.read().decode()])
            for step in s.early:
                self._step(step)
            self._files('early')
            m.start.go()
        api = s.options.get('api', 1)
        if m.sync and m.sync.fd >= 0 and not (s.mode == 'exec' and api == 0):
            m.sync.read()
        self._learn()

    def _learn(self):
        """Reads the pids after the runtime has reported success."""
        record = b''.join(self.m.sync.records) if self.m.sync else b''
        found = re.match(rb'\{"(?:pid|data)": (\d+)', record)
        if found:
            self.m.container = int(found.group(1))
        elif self.m.sync and self.s.mode == 'exec' and self.s.options.get('api', 1) == 0 and self.s.steps:
            wait_for(lambda: self.m.pidfile.exists() and self.m.pidfile.read_text(), 'the pid file')
            self.m.container = int(self.m.pidfile.read_text())
        if self.s.real and self.m.container:
            bundle.start(self)

    def _step(self, line):
        verb, *words = line.split(' ')
        getattr(self, '_do_' + verb.replace('-', '_'))(*words)

    def _text(self, words):
        return ' '.join(words).encode().decode('unicode_escape').encode('latin-1')

    def _attach(self, name, path):
        """The reference listens a moment after the socket has its name."""
        self.clients[name] = Attach(path, connect=False)

        def connected():
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                self.clients[name].connect()
                return True
        wait_for(connected, 'the attach socket')

    def _do_attach(self, name):
        self._attach(name, self.m.attach_path)

    def _do_attach_link(self, name):
        self._attach(name, self.m.sockets / self.m.cid / 'attach')

    def _do_send(self, name, *words):
        self.clients[name].send(self._text(words))

    def _do_half_close(self, name):
        self.clients[name].half_close()

    def _do_leave(self, name):
        self.clients.pop(name).close()

    def _do_seen(self, name, *words):
        self.clients[name].until(self._text(words))

    def _do_seen_error(self, name, *words):
        self.clients[name].until(self._text(words), 3)

    def _do_touch(self, name):
        self.t.touch(name)

    def _do_ready(self, name):
        self.t.wait_file(name)

    def _do_logged(self, *words):
        self.m.wait_log(self._text(words))

    def _do_ctl(self, *words):
        self.m.control(self._text(words) + b'\n')

    def _do_winsz(self, *words):
        self.m.control(self._text(words) + b'\n', 'winsz')

    def _do_snapshot(self):
        self._files('running')
        self._descriptors()

    def _do_signal(self, name):
        kill(self.m.pid, getattr(signal, name))

    def _do_kill(self, number='9'):
        kill(self.m.container, int(number))

    def _do_close(self, name):
        {'sync': self.m.sync, 'start': self.m.start, 'attach': self.m.attach_pipe}[name].close()

    def _do_rename_log(self):
        os.rename(self.m.log, self.m.root / 'moved.log')

    def _do_reopened(self, size='0'):
        wait_for(lambda: self.m.log.exists() and self.m.log.stat().st_size == int(size), 'the new log file')

    def _do_sleep(self, ms):
        time.sleep(int(ms) / 1000)

    def _finish(self):
        m = self.m
        if m.launcher in m.statuses and m.statuses[m.launcher] != 0:
            m.pid = m.launcher
        drain(list(self.clients.values()))
        self.note('monitor.status', m.wait(15))
        if m.sync and m.sync.fd >= 0:
            while m.sync.read():
                pass
        if self.s.container.startswith('fork'):
            self.t.end_orphans()

    # Observations

    def _collect(self):
        m = self.m
        self.pids = {'MONITOR': m.pid}
        if m.container:
            self.pids['CONTAINER'] = m.container
        if self.s.real and (self.t.dir / 'rootfs/tmp/container.json').exists():
            os.rename(self.t.dir / 'rootfs/tmp/container.json', self.t.dir / 'container.json')
        dumps = {name: self.t.dump(f'{name}.json') for name in ('runtime', 'container', 'exitcmd')
                 if (self.t.dir / f'{name}.json').exists()}
        for name, dump in dumps.items():
            self.pids.setdefault(name.upper(), dump['pid'])
        if m.sync:
            self.note('sync', [self.plain(record.decode(errors='backslashreplace')) for record in m.sync.records])
        self.note('launcher.stdout', self.plain(m.stdout.read_text()))
        self.note('launcher.stderr', self.plain(m.stderr.read_text()))
        for key, path in (('exit.file', m.exit_file), ('exit.persist', m.persist_exit)):
            self.note(key, path.read_text() if path.exists() else None)
        for name, client in self.clients.items():
            self.note(f'client.{name}.stdout', bytes(client.data[2]))
            self.note(f'client.{name}.stderr', bytes(client.data[3]))
            if self.s.packets:
                self.note(f'client.{name}.packets', client.sizes)
        for name, dump in dumps.items():
            self._dump(name, dump)
        self._logs()
        self._files('end')

    def _logs(self):
        for path in sorted(self.m.root.glob('*.log*')):
            data = path.read_bytes()
            if self.s.flood:
                data = b'%d complete lines' % data.count(b' F ')
            lines = TIME.sub(rb'TIME\1', data).decode(errors='backslashreplace')
            self.note(f'log.{path.name}', self.plain(lines).split('\n'))

    def _files(self, phase):
        """Types and modes of all files in the directory of the run."""
        for path in sorted(self.t.dir.rglob('*')):
            name = self.plain(str(path.relative_to(self.t.dir)))
            if re.match(r'rootfs|runc|(monitors/1/)?(runtime|container|exitcmd|process|bundle/config)\.json|monitors/1/monitor\.', name):
                continue
            info = path.lstat()
            text = f'{KINDS[stat.S_IFMT(info.st_mode)]} {stat.S_IMODE(info.st_mode):o}'
            if stat.S_ISLNK(info.st_mode):
                text += ' to ' + self.plain(os.readlink(path))
            self.note(f'files.{phase}.{name}', text)

    def _events(self, watch):
        """The order in which files are created, renamed and removed."""
        watch.read()
        kinds = ('create', 'delete', 'moved-to')
        self.note('events', [f'{event.kind} {re.sub("[.][A-Za-z0-9]{6}$", ".*", event.name)}' for event in watch.seen
                             if event.kind in kinds and not event.name.startswith('log-status.json')])
        watch.close()

    def _descriptors(self):
        """The monitor's standard streams, and the inherited descriptors that it has kept open."""
        targets = descriptors(self.m.pid)
        self.note('monitor.fds', {number: targets.get(number) for number in (0, 1, 2, *self.s.fds)})

    def _dump(self, name, dump):
        owners = {self.m.pid: 'MONITOR', dump['pid']: 'SELF'}
        self.note(f'{name}.argv', [self.plain(word) for word in dump['argv']])
        self.note(f'{name}.env', sorted(self.plain(word) for word in dump['env']))
        for field in ('cwd', 'umask', 'blocked'):
            self.note(f'{name}.{field}', self.plain(dump[field]))
        self.note(f'{name}.ignored', f'{ignored(dump):x}')
        self.note(f'{name}.oom_score_adj', dump['oom_score_adj'])
        for field in ('pgid', 'sid'):
            self.note(f'{name}.{field}', owners.get(dump[field], 'other'))
        for number, entry in dump['fds'].items():
            kind = KINDS.get(entry['type'], 'other')
            target = entry['target'] if kind == 'device' and 'pts' not in entry['target'] else kind
            self.note(f'{name}.fd.{number}', f'{target} flags {entry["flags"]:o}')
            self.note(f'{name}.fdmode.{number}', f'{entry["mode"]:o}')
