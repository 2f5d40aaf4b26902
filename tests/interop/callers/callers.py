# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The caller's side of the protocol, step by step as in podman and CRI-O."""

import json
import os
import shlex

from harness import CID, Attach, Inotify, check, children, content, equal, parse, wait_for
from harness.proc import group

SESSION = 'fedcba9876543210' * 4


class Caller:
    """One recorded command line with its files and directories. `pids` are known after the start."""

    def __init__(self, t, row, abbreviations):
        self.t, self.row, self.m = t, row, t.monitor('1')
        m, d = self.m, t.dir
        self.run = d / 'run'
        self.log, self.tmp_pid, self.tmp_log = d / 'log/0.log', d / 'exec.pid', d / 'exec.log'
        for directory in (self.run, d / 'log', m.bundle / SESSION / 'exit', m.bundle / SESSION / 'persist' / CID):
            directory.mkdir(parents=True)
        self.cleanup = d / 'podman'
        self.cleanup.write_text(f'#!/bin/sh\nfor arg; do echo "$arg" >>{d}/cleanup.part; done\n'
                                f'mv {d}/cleanup.part {d}/cleanup\n')
        self.cleanup.chmod(0o755)
        self.names = {'CID': CID, 'SID': SESSION, 'RUNTIME': t.runtime, 'BUNDLE': m.bundle, 'RUN': self.run,
                      'NAME': 'some_name', 'EXITS': m.exits, 'PERSIST': m.persist, 'SOCKETS': m.sockets,
                      'PODMAN': self.cleanup, 'LOG': self.log, 'TMPPID': self.tmp_pid, 'TMPLOG': self.tmp_log,
                      'HOST_NOTIFY': d / 'host-notify', **abbreviations}

    def expand(self, text):
        for _ in range(2):
            for name in sorted(self.names, key=len, reverse=True):
                text = text.replace('$' + name, str(self.names[name]))
        return text

    def argv(self):
        return shlex.split(self.expand(self.row['line']))

    def has(self, option):
        return option in self.argv()

    def value(self, option):
        words = self.argv()
        return words[words.index(option) + 1] if option in words else None

    def spawn(self, container, pipes, kind, runtime=None, env=None, stdio=None, fds=None):
        cwd = self.expand(self.row['cwd']) if 'cwd' in self.row else self.t.dir
        first = 3 + self.row.get('preserve', 0)
        self.m.spawn([self.t.program, *self.argv()], self.t.environment(container, runtime, **(env or {})), pipes,
                     kind, first_fd=first, cwd=cwd, stdio=stdio, fds=fds)

    def no_children_yet(self):
        """Callers move the launcher to its cgroup now, so it must not have started anything yet."""
        equal(children(self.m.launcher), [], 'children of the launcher before the start byte')
        equal(group(self.m.launcher), self.m.launcher, 'process group of the launcher')

    def cleaned_up(self):
        """Checks that the clean-up command was run with exactly the arguments from the command line."""
        words, wanted = self.argv(), []
        for number, word in enumerate(words):
            if word == '--exit-command-arg':
                wanted.append(words[number + 1])
        if wanted:
            equal((self.t.dir / 'cleanup').read_text().split('\n')[:-1], wanted, 'arguments of the clean-up')


class PodmanCreate(Caller):
    """Create, attach, start, wait."""

    def start(self, container, runtime=None):
        stdio, ends = {}, []
        if self.has('-t'):
            read, write = os.pipe()
            stdio, ends = {2: write}, [read, write]
        fds = {}
        if self.row.get('preserve'):
            self.kept, far = os.pipe()
            fds = {3: far}
            ends.append(far)
        if self.row.get('notify'):
            (self.m.bundle / 'notify').mkdir()
        self.spawn(container, ('sync', 'start'), 'seqpacket', runtime, {'XDG_RUNTIME_DIR': ''}, stdio, fds)
        for fd in ends[1:]:
            os.close(fd)
        self.no_children_yet()
        self.m.start.go()
        equal(self.m.wait_launcher(), 0, 'status of the launcher')
        if self.has('-t'):
            equal(os.read(ends[0], 4096), b'', 'standard error to its end')
        return self.reported()

    def reported(self):
        """Checks that one read of at most 4096 bytes returns a complete line."""
        line = self.m.sync.read(240)
        check(line.endswith(b'\n'), f'incomplete line: {line!r}')
        self.message = json.loads(line)
        check('data' in self.message, f'{self.message}')
        pidfile = self.run / 'conmon.pid'
        self.m.pid = int(pidfile.read_bytes())
        equal(pidfile.read_text(), str(self.m.pid), 'pid file')
        if self.message['data'] > 0:
            self.m.container = self.message['data']
        return self.message

    def attach(self):
        """Resize first, then connect; both work as soon as the pid is known."""
        if self.has('passthrough'):
            return None
        self.m.control('1 24 80\n')
        return Attach(self.m.bundle / 'attach')

    def wait(self, code):
        """podman waits for the monitor to exit and expects that the clean-up is done then."""
        equal(self.m.wait(), code & 255, 'exit status of the monitor')
        equal((self.m.exits / CID).read_text(), str(code), 'exit file')
        if self.has('--persist-dir'):
            equal((self.m.persist / 'exit').read_text(), str(code), 'persistent exit file')
        self.cleaned_up()

    def wait_log(self, text):
        """Waits until the log has the text that `podman logs` shows."""
        if 'k8s-file' in (self.value('-l') or ''):
            equal(content(parse((self.m.bundle / 'ctr.log').read_bytes())), text, 'log')


class PodmanExec(Caller):
    """An exec session with all three pipes."""

    def start(self, container, runtime=None, attach=True):
        self.spawn(container, ('sync', 'start', 'attach'), 'seqpacket', runtime, {'XDG_RUNTIME_DIR': ''})
        m, bundle = self.m, self.m.bundle / SESSION
        self.no_children_yet()
        m.start.go()
        equal(m.wait_launcher(), 0, 'status of the launcher')
        equal(m.attach_pipe.message(), {'data': 0}, 'attach message')
        m.find()
        fd = os.open(bundle / 'ctl', os.O_WRONLY | os.O_NONBLOCK)
        os.write(fd, b'1 30 100\n')
        os.close(fd)
        self.client = Attach(bundle / 'attach') if attach else None
        m.start.go()
        m.start.close()
        m.attach_pipe.close()
        self.message = m.sync.message(240)
        m.sync.close()  # podman does not read the exit code, which is sent later
        if self.message['data'] > 0:
            m.container = self.message['data']
        return self.message

    def wait(self, code):
        """Waits for the end of the connection, then at most 5 s for the exit file."""
        path = self.m.bundle / SESSION / 'exit' / CID
        wait_for(path.exists, 'the exit file', 5)
        equal(path.read_text(), str(code), 'exit file')
        equal(self.m.wait(), code & 255, 'exit status of the monitor')
        self.cleaned_up()


class CrioCreate(Caller):
    """Create over a stream socket, attach through the socket directory, reopen the log."""

    def start(self, container, runtime=None):
        self.watch = Inotify(self.m.exits)
        stdio, read = {}, -1
        if self.has('-t'):
            read, write = os.pipe()
            stdio = {2: write}
        self.spawn(container, ('sync', 'start'), 'stream', runtime, {'CRI_O_EXTERNAL': '1'}, stdio)
        if read >= 0:
            os.close(write)
        self.no_children_yet()
        self.m.start.go()
        self.m.start.close()
        equal(self.m.wait_launcher(), 0, 'status of the launcher')
        if read >= 0:
            equal(os.read(read, 4096), b'', 'standard error to its end')
        self.message = json.loads(self.m.sync.read(240))
        pidfile = self.m.bundle / 'conmon-pidfile'
        if self.has('-P'):
            self.m.pid = int(pidfile.read_bytes())
        else:
            self.m.find()
        if self.message['pid'] > 0:
            self.m.container = self.message['pid']
        self.m.sync.close()
        return self.message

    def attach(self):
        fd = os.open(self.m.bundle / 'ctl', os.O_WRONLY)
        os.write(fd, b'1 24 80\n')
        os.close(fd)
        return Attach(self.m.sockets / CID / 'attach')

    def reopen(self):
        """kubelet renames the file, CRI-O requests a reopen and waits until the name appears again."""
        watch = Inotify(self.log.parent)
        os.rename(self.log, self.log.with_suffix('.rotated'))
        fd = os.open(self.m.bundle / 'ctl', os.O_WRONLY)
        os.write(fd, b'2 0 0\n')
        os.close(fd)
        watch.until('moved-to', self.log.name)
        watch.close()

    def wait(self, code):
        """CRI-O watches the exits directory for exactly the id, then reads the file once."""
        self.watch.until('moved-to', CID)
        equal((self.m.exits / CID).read_text(), str(code), 'exit file when its name appeared')
        equal(self.m.wait(), code & 255, 'exit status of the monitor')
        if self.has('--persist-dir'):
            equal((self.m.persist / 'exit').read_text(), str(code), 'persistent exit file')
        self.watch.close()

    def wait_log(self, text):
        equal(content(parse(self.log.read_bytes())), text, 'log')


class CrioExec(Caller):
    """exec-sync: a pipe, an empty pid file, the output from the log file."""

    def start(self, container, runtime=None):
        self.tmp_pid.touch()
        outs = [os.pipe(), os.pipe()]
        self.spawn(container, ('sync',), 'pipe', runtime, None, {1: outs[0][1], 2: outs[1][1]})
        for read, write in outs:
            os.close(write)
        for read, _ in outs:
            check(os.read(read, 4096) == b'', 'something on standard output or error')
            os.close(read)
        if not self.has('--sync'):
            equal(self.m.wait_launcher(), 0, 'status of the launcher')
            self.m.find()

    def wait(self, code):
        """`exit_code` is sent when the log is complete."""
        self.message = self.m.sync.message(30)
        equal(self.message['exit_code'], code, f'{self.message}')
        self.m.wait()

    def output(self):
        """As CRI-O parses the log: P has no newline, F has one; both streams."""
        records = parse(self.tmp_log.read_bytes())
        return content(records), content(records, 'stderr')


KINDS = {'podman-create': PodmanCreate, 'podman-exec': PodmanExec, 'crio-create': CrioCreate, 'crio-exec': CrioExec}
