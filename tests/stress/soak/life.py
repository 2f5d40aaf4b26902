# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""One container from its start to its end, with random operations, and the checks at its end.

All choices come from one random generator, initialized with the seed and the number of the life: the same
number repeats the same choices, but not their timing.
"""

import collections
import contextlib

import json
import os
import random
import select
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../../lib'))
sys.path.insert(0, os.path.join(HERE, '../../interop/receivers'))
import sinks  # noqa: E402
from harness import (  # noqa: E402
    alive, check, children, descendants, descriptors, equal, Failure, Inotify, kill, status_field, wait_for)
from harness.case import Case  # noqa: E402
from harness.check import scaled  # noqa: E402
from tape import REGIONS  # noqa: E402
from versions import Installed  # noqa: E402

STREAMS = {1: 'stdout', 2: 'stderr'}
LETTERS = {1: 'o', 2: 'e'}

# The limit of one second is tested by tests/stress/faults; here the machine is busy, and only hangs are to be
# found.
ON_TIME = 20

HARMLESS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGPIPE)
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

# How much of a stream is kept in lives of several hours.
MEMORY_MAX = 64 << 20

# How much the monitor's private memory may grow from the first to the last third, in kB. Fragmentation of the
# heap costs a few pages; a leak of 100 bytes per operation would exceed this.
GROWTH_MAX = 48


# Connections are opened on demand, and a killed logger is restarted with a delay.
CONNECTIONS_MAX = 5


class SoakCase(Case):
    """A case that prints its operations on failure."""

    life = None

    def describe(self):
        lines = ['operations:', *self.life.story] if self.life else []
        return '\n'.join(lines + [m.describe() for m in self.monitors[:1]] + ['processes:', self.processes()])


class Stream:
    """The output that the container was told to write. `data` is the end of it, `total` its length."""

    def __init__(self):
        self.data, self.total, self.pending = bytearray(), 0, 0

    def add(self, data):
        self.data += data
        self.total += len(data)
        if len(self.data) > MEMORY_MAX:
            del self.data[:MEMORY_MAX // 2]


class Reader:
    """A client in a separate process, which writes the received data to files. `strict`: it must get all
    output after it connected."""

    def __init__(self, life, number, pace, stop_after, then):
        self.files = {stream: life.t.dir / f'client{number}-{stream}' for stream in (2, 3)}
        self.before = {name: stream.total for name, stream in life.streams.items()}
        self.first = not life.output_requested
        self.stalled = pace is None
        self.slow = self.stalled or pace > 0
        self.stops, self.then = stop_after is not None, then
        self.status = None
        connection = life.m.attach()
        self.pid = os.fork()
        if self.pid == 0:
            status = 4
            try:
                status = self._serve(connection, pace, stop_after, then)
            finally:
                os._exit(status)
        connection.close()

    def _serve(self, connection, pace, stop_after, then):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(0)
        # Among them are sockets of the servers, which would stay connected when a server closes them.
        own = connection.socket.fileno()
        os.closerange(3, own)
        os.closerange(own + 1, 4096)
        if then == 'half close':
            connection.half_close()
        outputs, total = {stream: open(path, 'wb', 0) for stream, path in self.files.items()}, 0
        while not self.stalled:
            packet = connection.packet(36000)
            if packet is None:
                return 0
            outputs[packet[0]].write(packet[1])
            connection.data[packet[0]] = b''
            connection.sizes.clear()
            total += len(packet[1])
            if stop_after is not None and total >= stop_after:
                if then == 'leave':
                    return 3
                break
            time.sleep(pace)
        time.sleep(36000)

    def holds(self, life):
        """Whether it may hold up the container."""
        return self.status is None and (self.slow or self.stops) and (self.first or life.patient_clients)

    def poll(self):
        """Whether the client has exited."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is not None

    def end(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def got(self, name):
        path = self.files[2 if name == 'stdout' else 3]
        return path.read_bytes() if path.exists() else b''

    def forget(self):
        for path in self.files.values():
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


class Life:
    """With `long`, the container runs until `until`, and its memory is measured."""

    def __init__(self, t, seed, number, tapes, long=False, until=None, pace=0.15, own_run=False):
        self.t, self.number, self.long, self.until, self.pace = t, number, long, until, pace
        t.life = self
        self.choice = choice = random.Random(f'{seed} life {number}')
        self.tapes, self.story, self.begin = tapes, [], time.monotonic()
        self.counts = collections.Counter()
        self.streams = {'stdout': Stream(), 'stderr': Stream()}
        self.output_requested = self.killed = False  # whether output was requested; whether it may be incomplete
        self.early_end = False  # did not wait for stderr
        self.clients, self.samples = [], []
        self.address = f'127.{1 + number // 60000 % 250}.{number // 250 % 240 + 1}.{number % 250 + 1}'
        self.sinks = sinks.choose(choice, own_run, long)
        self.terminal = choice.random() < 0.2 and not isinstance(self.sinks[0], sinks.Passthrough)
        self.regions = self._regions()
        # Unread input is kept, with the connection of its sender.
        self.stdin = choice.random() < (0.8 if self.terminal else 0.6) or (long and self.terminal)
        self.reads_stdin = choice.random() < 0.8 or long
        self.leave_open = choice.random() < 0.6
        self.patient_clients = choice.random() < 0.5
        self.full_attach = choice.random() < 0.7
        self.api = choice.random() < 0.8
        self.timeout = choice.choice([1, 2, 3]) if choice.random() < 0.08 and not long else 0
        self.ignores_signals = long or choice.random() < 0.7
        self.sent = b''

    def _regions(self):
        common = [region for region in range(len(REGIONS)) if all(region in sink.regions for sink in self.sinks)]
        wild = list(range(len(REGIONS)))
        return common if self.choice.random() < 0.8 else wild

    def note(self, text):
        self.story.append(f'{time.monotonic() - self.begin:8.3f} {text}')

    # Expectations

    def exact_all(self):
        """Whether the container wrote all requested output."""
        return not self.killed and not self.early_end

    def wrote(self, name):
        return bytes(self.streams[name].data)

    @property
    def whole(self):
        return all(len(stream.data) == stream.total for stream in self.streams.values())

    def possible_numbers(self):
        """The numbers of lines that may have been written. For long lives the beginning of the output is
        taken from the tapes, because it is not kept."""
        texts = [self.wrote(name) for name in self.streams]
        if not self.whole:
            texts += [tape.data for tape in self.tapes.values()]
        return [line for text in texts for line in sinks.MARKED.findall(text)]

    def compare(self, how, name, got, where):
        """Compares received data with the output: `how` is all, start, end or part."""
        wrote, stream = self.wrote(name), self.streams[name]
        exact = not self.killed and not (name == 'stderr' and self.early_end)
        if not exact:
            how = {'all': 'start', 'end': 'part'}.get(how, how)
        if len(wrote) < stream.total and len(got) > len(wrote):
            got = got[-len(wrote):]
            how = {'all': 'end', 'start': 'part'}.get(how, how)
        fits = {'all': got == wrote, 'end': wrote.endswith(got), 'start': wrote.startswith(got),
                'part': got in wrote}[how]
        if not fits:
            at = next((i for i, (a, b) in enumerate(zip(got, wrote)) if a != b), min(len(got), len(wrote)))
            back = next((i for i, (a, b) in enumerate(zip(reversed(got), reversed(wrote))) if a != b), 0)
            raise Failure(f'{where}: {name} is not {how} of what was written: {len(got)} bytes, not {len(wrote)}; '
                          f'differs at {at} ({got[max(0, at - 40):at + 60]!r}, not {wrote[max(0, at - 40):at + 60]!r}), and {back} '
                          f'bytes from the end ({got[len(got) - back - 60:][:100]!r}, '
                          f'not {wrote[len(wrote) - back - 60:][:100]!r})')

    # The start

    def live(self):
        self.start()
        self.note(f'started: monitor {self.m.pid}, container {self.m.container}')
        if self.long:
            self.run_for_long()
        else:
            for _ in range(self.choice.randrange(1, 40)):
                if not self.alive():
                    break
                self.step()
        self.end()
        self.check()

    def start(self):
        t, choice = self.t, self.choice
        self.m = m = t.monitor(cid=f'{self.number:064x}')
        self.installed = Installed(t.program, t.dir / 'conmon')
        t.program = str(self.installed.path)
        for sink in self.sinks:
            sink.prepare(self)
        words = [word for sink in self.sinks for word in sink.words]
        if self.stdin:
            words.append('-i')
            words += ['--leave-stdin-open'] if self.leave_open else []
        words += ['-t'] if self.terminal else []
        words += ['-T', self.timeout] if self.timeout else []
        words += ['--attach-stall-timeout', '0' if self.patient_clients else choice.choice(['200ms', '2s'])]
        words += ['--attach-queue-max', choice.choice(['16k', '128k', '1m'])] if choice.random() < 0.5 else []
        words += ['--no-sync-log'] if choice.random() < 0.9 else []
        words += self.exit_command()
        self.note(f'life {self.number}: -l {self.sinks[0].log} {" ".join(map(str, words))}'
                  f'{", writes " + ", ".join(REGIONS[region] for region in self.regions)}')
        self.make_fifos()
        self.events = Inotify(m.exits)
        t.launch(self.script(), *words, monitor=m, api=self.api, full_attach=self.full_attach,
                 log=self.sinks[0].log)
        m.go()
        m.created()
        self.send(1, 'append @/ack o')
        self.send(2, 'append @/ack e')
        self.settle()

    def exit_command(self):
        words = ['--exit-command', self.t.runtime]
        for arg in ('script', f'append {self.t.dir}/exited .'):
            words += ['--exit-command-arg', arg]
        return words

    def make_fifos(self):
        self.commands = {}
        for fd in (1, 2):
            os.mkfifo(self.t.dir / f'do{fd}')
            self.commands[fd] = os.open(self.t.dir / f'do{fd}', os.O_RDWR)
        os.mkfifo(self.t.dir / 'ack')
        self.acks = os.open(self.t.dir / 'ack', os.O_RDWR | os.O_NONBLOCK)

    def script(self):
        lines = [f'ignore {int(number)}' for number in FORWARDED] if self.ignores_signals else []
        lines += ['raw'] if self.terminal else []
        lines += ['fork obey @/do2']
        lines += ['fork sh exec cat >@/input'] if self.stdin and self.reads_stdin else []
        return '\n'.join(lines + ['obey @/do1', 'exit 0'])

    # Commands to the container

    def send(self, fd, line):
        """Sends a command, which the container acknowledges."""
        os.write(self.commands[fd], self.t.expand(line + '\n').encode())
        self.streams[STREAMS[fd]].pending += line.startswith('append')

    def take_acks(self):
        with contextlib.suppress(BlockingIOError):
            data = os.read(self.acks, 4096).decode()
            self.streams['stdout'].pending -= data.count('o')
            self.streams['stderr'].pending -= data.count('e')

    def pending(self):
        return sum(stream.pending for stream in self.streams.values())

    def alive(self):
        return alive(self.m.container) and not self.m.exit_file.exists()

    def settle(self):
        """Waits until the container has written all output, after removing everything that may block it."""
        for client in self.clients:
            if client.holds(self):
                client.end()
        for sink in self.sinks:
            if sink.holds():
                self.note(f'{sink.driver} accepts output again')
                sink.free()
        deadline = time.monotonic() + scaled(40)
        poller = select.poll()
        poller.register(self.acks, select.POLLIN)
        while self.pending() and self.alive():
            check(time.monotonic() < deadline, f'the container is blocked in writing: {self.hangs()}')
            poller.poll(200)
            self.take_acks()
        self.take_acks()

    def hangs(self):
        with contextlib.suppress(OSError, Failure, StopIteration):
            return json.dumps(self.status_now())
        return 'no status'

    def status_now(self):
        path = self.m.bundle / 'log-status.json'
        path.unlink(missing_ok=True)
        self.m.control('3 0 0\n')
        wait_for(lambda: path.exists() or not self.alive(), 'the status of the log')
        return json.loads(path.read_text()) if path.exists() else {'sinks': []}

    # Operations

    def step(self):
        names, weights = zip(*OPERATIONS.items())
        name = self.choice.choices(names, weights)[0]
        did = None
        try:
            did = getattr(self, name)()
        except (OSError, Failure):
            time.sleep(1 if self.timeout else 0)
            if self.alive():
                raise
        if did is not None:
            self.counts[name] += 1
            self.note(f'{name}: {did}')
            time.sleep(min(self.choice.expovariate(1 / self.pace), 10 * self.pace))

    def write(self, flood=False):
        choice = self.choice
        for fd in choice.choice([(1,), (1,), (2,), (1, 2)]):
            if self.terminal and fd == 2:
                continue
            flood = flood or choice.random() < 0.15
            most = choice.choice([100, 4000, 50000, 50000, 400000])
            at, length = self.tapes[fd].piece(choice, choice.choice(self.regions), most, flood)
            chunk, pause = choice.choice([(65536, 0), (65536, 0), (8192, 0), (4096, 5), (100, 0), (1, 0), (7, 20)])
            if flood:
                chunk, pause = 65536, 0
            if pause or chunk < 1000:
                length = min(length, chunk * 300 if not pause else chunk * 40)
            self.output_requested = True
            self.send(fd, f'copy {fd} {self.tapes[fd].path} {at} {length} {chunk} {pause}')
            self.streams[STREAMS[fd]].add(self.tapes[fd].data[at:at + length])
            self.send(fd, f'append @/ack {LETTERS[fd]}')
            self.counts['bytes'] += length
        if self.pending() > 20:
            self.settle()
        return f'up to {sum(stream.total for stream in self.streams.values())} bytes'

    def wait(self):
        self.settle()
        return ''

    def rest(self):
        time.sleep(self.choice.choice([0.05, 0.2, 0.5, 1.3]))
        return ''

    def can_attach(self):
        return self.m.attach_path.exists()

    def attach(self):
        choice = self.choice
        if not self.can_attach() or len([c for c in self.clients if c.status is None]) > 6:
            return None
        pace = choice.choice([0, 0, 0, 0.002, 0.05, None])
        stop_after = choice.randrange(200000) if pace is not None and choice.random() < 0.4 else None
        then = choice.choice(['leave', 'leave', 'stay stalled', 'half close']) if stop_after is not None else \
            choice.choice(['', '', 'half close'])
        with contextlib.suppress(ConnectionRefusedError, FileNotFoundError):
            self.clients.append(Reader(self, len(self.clients), pace, stop_after, then))
            return f'pace {pace}, after {stop_after} bytes, {then}'
        check(not self.alive(), 'no client was accepted')
        return None

    def disturb_client(self):
        """Kills, stops or continues a client."""
        there = [client for client in self.clients if not client.poll()]
        if not there:
            return None
        client, how = self.choice.choice(there), self.choice.choice(['kill', 'kill', 'stop', 'continue'])
        if how == 'kill':
            client.end()
        elif how == 'stop':
            client.slow = True
            kill(client.pid, signal.SIGSTOP)
        else:
            kill(client.pid, signal.SIGCONT)
        return f'{how} {self.clients.index(client)}'

    def many_connections(self):
        if not self.can_attach():
            return None
        n = self.choice.randrange(1, 60)
        connections = []
        for _ in range(n):
            with contextlib.suppress(OSError):
                connections.append(self.m.attach())
                if self.choice.random() < 0.3:
                    connections[-1].socket.send(b'')
                if self.choice.random() < 0.5:
                    connections.pop(0).close()
        for connection in connections:
            connection.close()
        return f'{n}'

    def send_input(self):
        """Sends packets to the container's stdin. They arrive complete and in order, also if the sender
        disconnects at once. Without --leave-stdin-open a client that disconnects ends the input for all
        clients."""
        choice = self.choice
        if not self.can_attach():
            return None
        try:
            connection = self.m.attach()
        except OSError:
            check(not self.alive(), 'no client was accepted')
            return None
        goes = self.stdin and self.reads_stdin
        packets = []
        for _ in range(choice.choice([1, 1, 3, 20])):
            at, length = self.tapes[1].piece(choice, 0, 32768)
            packets.append(self.tapes[1].data[at:at + length])
        connection.socket.setblocking(False)
        for packet in packets:
            if not self.send_packet(connection, packet, goes):
                break
            self.sent += packet
        if choice.random() < 0.3:
            connection.half_close()
        if goes and self.leave_open and choice.random() < 0.5:
            self.input_has_come()
        connection.close()
        if goes and self.leave_open:
            self.input_has_come()
        return f'{len(packets)} packets, {sum(map(len, packets))} bytes'

    def send_packet(self, connection, packet, goes):
        deadline = time.monotonic() + (scaled(20) if goes else 0.1)
        while True:
            try:
                connection.socket.send(packet)
                return True
            except BlockingIOError:
                pass
            except OSError:  # the monitor has closed the connection
                return False
            if time.monotonic() > deadline or not self.alive():
                check(not goes or not self.alive(), 'the input is not accepted')
                return False
            time.sleep(0.02)

    def input(self):
        path = self.t.dir / 'input'
        return path.read_bytes() if path.exists() else b''

    def input_has_come(self):
        path = self.t.dir / 'input'
        wait_for(lambda: not self.alive() or (path.exists() and path.stat().st_size >= len(self.sent)),
                 f'{len(self.sent)} bytes of input, not {len(self.input())}', 20)

    def has_control(self):
        return (self.m.bundle / 'ctl').exists()

    def control(self, text, fifo='ctl'):
        with contextlib.suppress(BlockingIOError):
            self.m.control(text, fifo)

    def resize(self):
        if not self.has_control():
            return None
        rows, columns = self.choice.randrange(1, 300), self.choice.randrange(1, 300)
        if self.choice.random() < 0.5:
            self.control(f'1 {rows} {columns}\n')
        else:
            self.control(f'{rows} {columns}\n', 'winsz')
        return f'{rows} {columns}'

    def garbage(self):
        if not self.has_control():
            return None
        fifo = self.choice.choice(['ctl', 'winsz'])
        text = self.choice.choice([b'x\n', b'1 2\n', b'1 1 1 1\n', b'1' * 500 + b'\n', b'\0\xff\n' * 20, b'3', b'\n',
                                   b'9 9 9\n', b'1 -1 99999999999999\n'])
        self.control(text, fifo)
        self.control(b'\n', fifo)  # ends an unfinished line
        return f'{fifo} {text[:20]}'

    def status(self):
        if not self.has_control():
            return None
        self.check_status(self.status_now(), False)
        return ''

    def upgrade(self):
        """Installs the other version and requests a live upgrade."""
        if not self.has_control():
            return None
        self.installed.swap()
        path = self.m.bundle / 'log-status.json'
        path.unlink(missing_ok=True)
        self.m.control('4 0 0\n3 0 0\n')
        wait_for(lambda: path.exists() or not self.alive(), 'the answer of the upgrade')
        if not path.exists():
            return None
        status = json.loads(path.read_text())
        if status['request']['result'] != 'ok' and not self.alive():
            return None
        equal(status['request'].get('message'), None, 'why there was no upgrade')
        equal(status['monitor'], {'version': self.installed.version, 'pid': self.m.pid}, 'the continuing process')
        self.check_status(status, False)
        return self.installed.version

    def reopen(self):
        """Requests new log files after renaming the old ones."""
        if not self.has_control():
            return None
        if not all(sink.appends or sink.renames for sink in self.sinks):
            return None
        renamed = [(sink, path) for sink in self.sinks for path in sink.renames]
        for sink, _ in renamed:
            sink.rename()
        self.m.control('2 0 0\n')
        for _, path in renamed:
            wait_for(lambda: path.exists() or not self.alive(), f'a new {path.name}')
        return f'{len(renamed)} renamed'

    def signals(self):
        numbers = HARMLESS + FORWARDED if self.ignores_signals else HARMLESS
        chosen = [self.choice.choice(numbers) for _ in range(self.choice.choice([1, 5, 50]))]
        for number in chosen:
            kill(self.m.pid, number)
        return f'{len(chosen)}'

    def destination(self):
        """Disturbs a server or a logger."""
        return self.choice.choice(self.sinks).disturb(self.choice)

    def run_exec(self):
        """Runs an exec session, mostly with a client."""
        choice, t = self.choice, self.t
        code, size = choice.randrange(256), choice.choice([0, 10, 100000])
        script = f'print hello\\n\nfill 1 {size} 100\neprint bye\\n\nexit {code}'
        kind = choice.choice(['attached', 'attached', 'detached', 'old'])
        log = choice.choice(['none', None])
        m = t.monitor(f'exec{self.counts["run_exec"]}', cid=self.m.cid)
        if kind == 'attached':
            t.exec(script, client=True, monitor=m, log=log)
            equal(m.client.to_end(scaled(10)), b'hello\n' + (b'x' * 99 + b'\n') * (size // 100) +
                  b'x' * (size % 100), 'output of an exec session')
            equal(m.client.data[3], b'bye\n', 'error output of an exec session')
            m.client.close()
        else:
            t.launch(script, mode='exec', monitor=m, log=log, api=kind == 'detached').go()
            if kind == 'detached':
                m.created()
        message = m.sync.message(20)
        equal(message.get('data', message.get('exit_code')), code, f'exit code of an exec session ({message})')
        m.finish(code, 20)
        m.close_pipes()
        t.monitors.remove(m)
        return f'{kind}, {size} bytes, {code}'

    # Long lives

    def run_for_long(self):
        next_sample = 0
        while time.monotonic() < self.until:
            check(self.alive(), 'the container has ended')
            self.step()
            if time.monotonic() >= next_sample:
                self.sample()
                next_sample = time.monotonic() + 8
        self.sample()

    def sample(self):
        """Measures the idle monitor without clients."""
        self.settle()
        for sink in self.sinks:
            sink.free()
        self.check_clients()
        for client in self.clients:
            client.forget()
        self.clients = []
        time.sleep(4)  # buffers are released, and connections retried, within 2 s
        memory = int(status_field(self.m.pid, 'RssAnon').split()[0])
        threads = int(status_field(self.m.pid, 'Threads'))
        self.samples.append((memory, len(descriptors(self.m.pid)), threads, len(children(self.m.pid))))
        self.note(f'sample: {memory} kB, {self.samples[-1][1]} descriptors, {threads} threads')

    def check_flat(self):
        """Compares the medians of the first third after the warm-up and of the last third."""
        samples = self.samples[len(self.samples) // 6 + 1:]
        if len(samples) < 12:
            return  # not long enough
        third = len(samples) // 3

        def median(part, index):
            return sorted(sample[index] for sample in part)[len(part) // 2]
        for index, (what, most) in enumerate({'kB of memory': GROWTH_MAX, 'descriptors': CONNECTIONS_MAX, 'threads': 0}.items()):
            first, last = median(samples[:third], index), median(samples[-third:], index)
            if index == 0 and 'ASAN_OPTIONS' in os.environ:
                continue  # valgrind does not return freed memory
            check(last <= first + most, f'{what}: from {first} to {last} in {self.story[-1].split()[0]} s: '
                  f'{[sample[index] for sample in self.samples]}')
        self.counts.update({f'kB of life {self.number}, first third': median(samples[:third], 0),
                            f'kB of life {self.number}, last third': median(samples[-third:], 0)})

    # The end

    def end(self):
        choice, m = self.choice, self.m
        how = choice.choice(['exit', 'exit', 'exit in a hurry', 'exit in a flood', 'exit in a flood', 'kill', 'die',
                             'signal']) if not self.long else 'exit'
        code = choice.randrange(256)
        if self.timeout:
            how = choice.choice([how, 'timeout', 'timeout'])
        if how == 'signal' and self.ignores_signals:
            how = 'exit'
        if how == 'exit':
            self.settle()
        elif how.endswith('flood') and self.alive():
            self.write(flood=True)
        self.note(f'end: {how}, {code}')
        self.early_end = how != 'exit' and self.streams['stderr'].pending > 0
        possible = {code}
        if how.startswith('exit'):
            self.send(1, f'exit {code}')
        elif how == 'die':
            possible = {128 + 9 if code % 2 else 128 + 6}
            self.send(1, f'die {9 if code % 2 else 6}')
        elif how == 'kill':
            self.killed, possible = True, {137}
            kill(m.container)
        elif how == 'signal':
            self.killed, possible = True, {143}
            kill(m.pid, signal.SIGTERM)
        else:
            possible = {-1}
        if self.timeout:
            possible.add(-1)
            self.killed = True  # depends on timing
        self.wait_for_end(possible)

    def wait_for_end(self, possible):
        """A blocked container can't end; it is unblocked after a while."""
        m, m_end = self.m, time.monotonic() + 1
        wait_for(lambda: not alive(m.container) or time.monotonic() > m_end, 'the end', 60)
        if alive(m.container):
            for client in self.clients:
                if client.holds(self):
                    client.end()
            for sink in self.sinks:
                if sink.holds():
                    sink.free()
            wait_for(lambda: not alive(m.container), f'the end of the container; {self.hangs()}', 60)
        gone = time.monotonic()
        wait_for(m.exit_file.exists, 'the exit file', ON_TIME)
        self.note(f'exit file {time.monotonic() - gone:.3f} s later')
        self.send(2, 'exit 0')
        status = m.wait(40)
        self.note('the monitor has ended')
        code = int(m.exit_file.read_bytes())
        check(code in possible, f'exit code {code}, not one of {possible}')
        equal(m.exit_code(), code, 'exit code')
        equal(status, code & 255, 'exit status of the monitor')
        if code == -1:
            self.killed = True
        self.events.read()
        equal(self.events.seen.count(('moved-to', m.cid)), 1, 'number of exit files written')
        equal((self.t.dir / 'exited').read_bytes(), b'.', 'runs of the exit command')

    def check(self):
        self.end_clients()
        self.wait_for_processes()
        self.check_clients()
        status = self.last_status()
        if status:
            self.check_status(status, True)
        for sink in self.sinks:
            sink.verify(self.part(status, sink))
        self.check_input()
        self.check_rest()
        if self.long:
            self.check_flat()

    def end_clients(self):
        """Clients that read exit by themselves; the others are killed."""
        for client in self.clients:
            if not client.poll():
                kill(client.pid, signal.SIGCONT)
                if client.stalled or (client.stops and client.then != 'leave'):
                    client.end()
        for client in self.clients:
            wait_for(client.poll, 'the end of a client', 60)

    def wait_for_processes(self):
        """Compressors and loggers may still be exiting."""
        def remaining():
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            return descendants(os.getpid())
        wait_for(lambda: not remaining(), 'the end of all processes', 30)

    def check_clients(self):
        for index, client in enumerate(self.clients):
            if self.long and client.status is None:
                client.end()
            check(client.poll() and client.status != 4, f'unexpected error in client {index}')
            whole_end = client.status == 0 and not client.stalled and (self.patient_clients or client.first)
            for name in self.streams:
                how = 'end' if whole_end else 'part'
                if whole_end and client.first and not any(client.before.values()):
                    how = 'all'
                self.compare(how, name, client.got(name), f'client {index}')

    def last_status(self):
        path = self.m.persist / 'log-status.json'
        return json.loads(path.read_text()) if path.exists() else None

    def part(self, status, sink):
        return next((part for part in (status or {'sinks': []})['sinks'] if part['driver'] == sink.driver), None)

    def check_status(self, status, ended):
        for sink in status['sinks']:
            for unit in ('records', 'bytes'):
                dropped = sum(cause[unit] for cause in sink['dropped'].values())
                equal(sink['in'][unit], sink['out'][unit] + sink['queued'][unit] + dropped, f'sum of {unit} of {sink}')
            if not ended or sink['driver'] in ('none', 'passthrough'):
                continue
            equal(sink['queued'], {'records': 0, 'bytes': 0}, f'queued at the end: {sink}')
            wrote = sum(stream.total for stream in self.streams.values())
            took = sink['in']['bytes']
            check(took == wrote if self.exact_all() else took <= wrote,
                  f'{took} bytes received by the log, {wrote} were written: {sink}')
            for cause, count in sink['dropped'].items():
                self.counts[f'records dropped: {cause}'] += count['records']

    def check_input(self):
        got = self.input()
        check(len(got) <= len(self.sent), f'{len(got)} bytes of input, and only {len(self.sent)} were sent')
        # Without --leave-stdin-open there is no wait between clients, so several may have sent at the same
        # time.
        if self.leave_open or self.counts['send_input'] == 1:
            check(self.sent.startswith(got), f'{len(got)} bytes of input are not the beginning of the {len(self.sent)} sent bytes')

    def check_rest(self):
        allowed = {'ctl', 'winsz', 'notify', 'log-status.json', 'config.json'}
        left = set(os.listdir(self.m.bundle)) - allowed
        check(not left, f'left in the bundle: {left}')
        if os.path.isdir(self.m.sockets):
            equal(os.listdir(self.m.sockets), [], 'left in the socket directory')


OPERATIONS = {
    'write': 12, 'wait': 4, 'rest': 3, 'attach': 5, 'disturb_client': 3, 'many_connections': 1, 'send_input': 4,
    'resize': 2, 'garbage': 1, 'status': 1, 'upgrade': 2, 'reopen': 3, 'signals': 2, 'destination': 3, 'run_exec': 1,
}
