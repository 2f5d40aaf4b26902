# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The sinks of a life, and checks that all output arrived."""

import gzip
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../../lib'))
from harness import check, content, equal, Failure, kill, matches, parse, parse_json, wait_for  # noqa: E402
from harness.case import ROOT  # noqa: E402
from peers import Journal, Peer  # noqa: E402
from tape import LETTERS, LONG, SHORT, BINARY  # noqa: E402

LOGGER = os.environ.get('LOGGER', str(ROOT / 'build/tests/interop/receivers/test-logger'))
MARKED = re.compile(rb'([OE])(\d{8}) ')
# The start of a syslog message with octet counting: after a truncated line it could look like the rest of a
# number.
FRAME = re.compile(rb'\d+ <\d+>1 ')
PIECES_MAX = 300  # number of renamed files that are kept
STREAMS = ('stdout', 'stderr')


def k8s_content(data):
    """The output on each stream. The harness parses only a sample, because its parsers are slow."""
    lines = data.split(b'\n')
    equal(lines.pop(), b'', 'what follows the last line')
    found = {'stdout': [], 'stderr': []}
    for line in lines:
        check(line[35:36] == b' ' and line[42:43] == b' ' and line[43:45] in (b'F ', b'P '), f'not a log line: {line!r}')
        found[line[36:42].decode()].append(line[45:] + b'\n' if line[43] == 70 else line[45:])
    parse(b''.join(line + b'\n' for line in lines[:50] + lines[-50:]))
    return {name: b''.join(parts) for name, parts in found.items()}


def json_content(data):
    records = parse_json(data)
    return {name: content(records, name) for name in STREAMS}


class Sink:
    """`driver` is the name in the status; `regions` are the kinds of output whose content can be compared;
    `primary` is set if it is an argument of -l."""

    driver, primary, regions = '', False, (SHORT, LONG, BINARY)
    renames = ()  # files that may be renamed
    appends = True  # whether a reopen without renaming is allowed

    def prepare(self, life):
        """Before the monitor starts: starts servers, sets `log` (for -l) and `words` (other arguments)."""
        self.life, self.log, self.words = life, None, []

    def options(self, *pairs):
        for pair in pairs:
            self.words += ['--log-opt', f'{self.driver}.{pair}']

    def holds(self):
        """Whether it may block the container now."""
        return False

    def free(self):
        """Makes it accept output again."""

    def disturb(self, choice):
        """Disturbs its destination. Returns the name of the operation, or None."""

    def verify(self, sink):
        """Checks received records. `sink` is its part of the status, with checked sums, or None."""

    def forget(self):
        """In a long life: what was verified is not needed any more."""


class File(Sink):
    """A file, which may be renamed by the test, or rotated by the monitor."""

    def pieces(self):
        old = [path for path in self.path.parent.iterdir() if path.name.startswith(self.path.name + '.')]
        for path in old:
            matches(r'.*\.\d+(\.gz)?', path.name, 'name beside a log')
        old.sort(key=lambda path: -int(path.name.removesuffix('.gz').rpartition('.')[2]))
        # The container may have ended before there was a new file.
        return self.renamed + old + ([] if self.renamed and not self.path.exists() else [self.path])

    def prepare(self, life):
        super().prepare(life)
        self.renamed, self.n_renamed, self.compare = [], 0, 'all'

    def rename(self):
        """Renames the log as logrotate does. The caller then requests a reopen and waits for the new file."""
        self.n_renamed += 1
        to = self.path.parent / f'{self.n_renamed:06d}-{self.path.name}'
        os.rename(self.path, to)
        self.renamed.append(to)
        if len(self.renamed) > PIECES_MAX:
            self.renamed.pop(0).unlink()
            self.compare = 'end'

    def verify(self, sink):
        data = b''.join(gzip.decompress(path.read_bytes()) if path.suffix == '.gz' else path.read_bytes()
                        for path in self.pieces())
        if sink and sum(cause['records'] for cause in sink['dropped'].values()) and self.kind != 'global':
            raise Failure(f'a file has not accepted all records: {sink}')
        if not set(self.life.regions) <= set(self.regions):
            return
        for name, text in self.content(data).items():
            self.life.compare(self.compare, name, text, f'{self.path.name} ({self.kind})')


class K8sFile(File):
    driver, primary, content = 'k8s-file', True, staticmethod(k8s_content)

    def prepare(self, life):
        super().prepare(life)
        choice = life.choice
        self.path = life.m.log
        self.log = f'k8s-file:{self.path}'
        self.kind = choice.choice(['plain', 'plain', 'limited', 'rotated', 'compressed', 'global'])
        if life.long:
            self.kind = choice.choice(['plain', 'rotated', 'compressed'])
        size = choice.randrange(20000, 400000)
        if self.kind == 'limited':
            self.words = ['--log-size-max', size]
        elif self.kind == 'rotated':
            self.words = ['--log-rotate', '--log-max-files', choice.randrange(1, 6), '--log-size-max', size]
        elif self.kind == 'compressed':
            self.options(f'max-size={size}', f'max-file={choice.randrange(2, 6)}', 'compress=true')
        elif self.kind == 'global':
            self.words = ['--log-global-size-max', size]
        self.compare = {'plain': 'all', 'global': 'start'}.get(self.kind, 'end')
        self.renames = (self.path,) if self.kind == 'plain' else ()
        self.appends = self.kind in ('limited', 'rotated', 'compressed')


class JsonFile(File):
    driver, content = 'json-file', staticmethod(json_content)
    regions = (SHORT, LONG)

    def prepare(self, life):
        super().prepare(life)
        choice = life.choice
        self.path = life.m.root / 'ctr.json'
        self.words = ['--log-driver', f'json-file:{self.path}']
        self.kind = choice.choice(['plain', 'limited', 'compressed', 'compressed'])
        if self.kind != 'plain':
            self.options(f'max-size={choice.randrange(20000, 400000)}')
            self.compare = 'end'
        if self.kind == 'compressed':
            self.options(f'max-file={choice.randrange(2, 6)}', 'compress=true')
        self.renames = (self.path,) if self.kind == 'plain' else ()


class NoLog(Sink):
    driver, primary = 'none', True

    def prepare(self, life):
        super().prepare(life)
        self.log = 'none'


class Passthrough(Sink):
    """The container, or the monitor for it, writes to the monitor's stdout."""

    driver, primary = 'passthrough', True

    def prepare(self, life):
        super().prepare(life)
        self.log = 'passthrough'
        if len(life.sinks) > 1:
            self.options('tee=yes')

    def verify(self, sink):
        self.life.compare('all', 'stdout', self.life.m.stdout.read_bytes(), 'standard output of the monitor')


class Journald(Sink):
    driver, primary, regions = 'journald', True, (SHORT, LONG)

    def prepare(self, life):
        super().prepare(life)
        self.log, self.journal = 'journald', Journal()

    def verify(self, sink):
        if not sink or any(cause['records'] for cause in sink['dropped'].values()):
            return
        wait_for(lambda: self.journal.count() >= sink['out']['records'], 'all entries of the journal')
        equal(self.journal.count(), sink['out']['records'] + sink['markers'], 'entries in the journal')
        for name, priority in zip(STREAMS, (b'6', b'3')):
            self.life.compare('all', name, b''.join(self.journal.texts(priority)), 'the journal')


class Remote(Sink):
    """A server that is sometimes down. Lines have a letter for their stream and a number."""

    regions = (SHORT,)
    ack = False

    def prepare(self, life):
        super().prepare(life)
        choice = life.choice
        self.peer = Peer((life.address, 0), self.ack)
        self.blocking, self.limited = choice.random() < 0.4, choice.random() < 0.15
        self.words = ['--log-driver', self.driver]
        self.options('mode=blocking' if self.blocking else 'mode=non-blocking')
        if choice.random() < 0.5:
            self.options(f'drain-timeout={choice.choice(["100ms", "500ms", "5s"])}')
        if choice.random() < 0.5:
            self.options(f'max-buffer-size={choice.choice(["20k", "64k", "1m"])}')
        if self.limited:
            self.options('rate-limit-burst=200', 'rate-limit-interval=100ms',
                         'rate-limit-action=' + choice.choice(['drop', 'block']))
        host, port = self.peer.address
        self.set_address(f'tcp://{host}:{port}')

    def holds(self):
        return self.blocking and (self.peer.listener is None or self.peer.stalled)

    def free(self):
        self.peer.restart()

    def disturb(self, choice):
        what = choice.choice(['kill', 'restart', 'kill and restart', 'stall', 'resume'])
        if what.startswith('kill'):
            self.peer.kill()
        if what.endswith('restart'):
            self.peer.restart()
        if what in ('stall', 'resume'):
            self.peer.set_stalled(what == 'stall')
        return f'{self.driver} server: {what}'

    def numbers(self):
        """All received lines, as (letter, number)."""
        return [line for data in self.peer.received() for line in MARKED.findall(FRAME.sub(b'\n', data))]

    def verify(self, sink):
        self.peer.set_stalled(False)
        wrote = [MARKED.findall(self.life.wrote(name)) for name in STREAMS]
        everything = set(self.life.possible_numbers())
        odd = [line for line in self.numbers() if line not in everything]
        check(not odd, f'{self.driver}: unexpected lines: {odd[:5]}')
        lossless = sink and not any(cause['records'] for cause in sink['dropped'].values())
        if not lossless or not self.life.exact_all() or not self.life.whole:
            return
        if self.peer.deaths == 0:
            wait_for(lambda: len(self.numbers()) >= sum(map(len, wrote)),
                     f'all lines at the {self.driver} server, {sum(map(len, wrote))} and not {len(self.numbers())}')
            for letter, lines in zip(LETTERS.values(), wrote):
                equal([line for line in self.numbers() if line[0] == letter], lines, f'lines at the {self.driver} server')
        elif self.ack:
            wait_for(lambda: set(self.numbers()) >= {line for lines in wrote for line in lines},
                     'all lines that were acknowledged at the server')

    def forget(self):
        self.peer.forget()


class Syslog(Remote):
    driver = 'syslog'

    def set_address(self, address):
        self.options(f'syslog-address={address}', 'syslog-format=' + self.life.choice.choice(['rfc3164', 'rfc5424']))


class Fluentd(Remote):
    driver = 'fluentd'

    def prepare(self, life):
        self.ack = life.choice.random() < 0.5
        super().prepare(life)

    def set_address(self, address):
        self.options(f'fluentd-address={address}')
        if self.ack:
            self.options('fluentd-request-ack=true')


class Gelf(Remote):
    driver = 'gelf'

    def set_address(self, address):
        self.options(f'gelf-address={address}')


class Datagrams(Sink):
    """A syslog server for UDP: the monitor learns at most that no process listens."""

    driver = 'syslog'

    def prepare(self, life):
        super().prepare(life)
        self.peer = Peer((life.address, 0))  # no process listens on this port for datagrams
        self.words = ['--log-driver', 'syslog']
        self.options(f'syslog-address=udp://{life.address}:{self.peer.address[1]}', 'drain-timeout=200ms')


class Logger(Sink):
    """An external logger, which is killed from time to time."""

    driver = 'binary'

    def prepare(self, life):
        super().prepare(life)
        choice = life.choice
        self.files = {name: life.m.root / f'logger-{name}' for name in STREAMS}
        self.words = ['--log-driver',
                      f'binary://{LOGGER}?out={self.files["stdout"]}&err={self.files["stderr"]}']
        self.blocking, self.kills = choice.random() < 0.5, 0
        self.options('mode=blocking' if self.blocking else 'mode=non-blocking')
        if choice.random() < 0.5:
            self.options('max-buffer-size=64k')

    def disturb(self, choice):
        """The delay before a restart grows, so this must not happen often."""
        if self.kills >= 3:
            return None
        sink = next(sink for sink in self.life.status_now()['sinks'] if sink['driver'] == 'binary')
        if sink.get('pid', 0) <= 0:
            return None
        self.kills += 1
        kill(sink['pid'])
        return 'logger killed'

    def verify(self, sink):
        if not sink:
            return
        got = {name: path.read_bytes() if path.exists() else b'' for name, path in self.files.items()}
        size = sum(map(len, got.values()))
        markers = sink['markers'] * 200
        lost = 8192 * self.kills  # data that it had read and not written
        check(sink['out']['bytes'] - lost <= size <= sink['out']['bytes'] + markers + 2,
              f'the logger wrote {size} bytes after {self.kills} kills; {sink}')
        if self.kills == 0 and not any(cause['records'] for cause in sink['dropped'].values()):
            for name, text in got.items():
                self.life.compare('all', name, text, 'output of the logger')


PRIMARY = (K8sFile, K8sFile, K8sFile, K8sFile, NoLog, Passthrough)
SECONDARY = (JsonFile, Syslog, Fluentd, Gelf, Datagrams, Logger)


def choose(choice, own_run, long=False):
    """A random selection of sinks. `own_run`: whether a fake journal is possible."""
    primary = choice.choice(PRIMARY + ((Journald,) if own_run else ()))
    sinks = [K8sFile() if long else primary()]
    for kind in choice.sample(SECONDARY, choice.choice([0, 0, 1, 1, 1, 2, 2, 3])):
        if kind.driver not in [sink.driver for sink in sinks]:
            sinks.append(kind())
    return sinks
