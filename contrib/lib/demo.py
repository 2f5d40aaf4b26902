# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Demonstrates a monitor with real containers: demo.py CONMON"""

import ctypes
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(TOP / 'tests/lib'))
sys.path.insert(0, str(TOP / 'tests/interop/system'))

CONMON = os.path.abspath(sys.argv[1])
CONMONCTL = os.path.join(os.path.dirname(CONMON), 'conmonctl/conmonctl')
CONMON_TLS = os.path.join(os.path.dirname(CONMON), 'tls/conmon-tls')
os.environ['CONMON'] = CONMON
os.environ['PATH'] += ':/usr/sbin:/sbin'
if not shutil.which('runc'):
    os.environ['OCI_RUNTIME'] = 'crun'

import oci  # noqa: E402
import podman  # noqa: E402
from harness import content, Failure, parse, proc, wait_for  # noqa: E402
from test_config_podman import add_to_containers_conf, configure  # noqa: E402

COLORS = sys.stdout.isatty() and 'NO_COLOR' not in os.environ
IMAGE = podman.IMAGE


def paint(code, text):
    return f'\033[{code}m{text}\033[0m' if COLORS else text


class Story:
    """Prints the demonstration, and counts passed and failed checks."""

    def __init__(self):
        self.good, self.bad, self.chapter = 0, 0, 0

    def title(self, text):
        self.chapter += 1
        print('\n' + paint('1', f'{self.chapter}. {text}'))

    def does(self, *words):
        print(paint('36', '   $ ' + ' '.join(map(quoted, words))))

    def says(self, output):
        """Shows the output of a program."""
        for line in output.decode(errors='replace').replace('\r', '').rstrip('\n').split('\n'):
            print(paint('2', '   │ ') + line)

    def expect(self, what, actual, expected):
        """Compares two values and prints the result."""
        if actual == expected:
            self.good += 1
            print(paint('32', '   ✓ ') + what)
        else:
            self.bad += 1
            print(paint('1;31', f'   ✗ {what}: expected {expected!r}, got {actual!r}'))


def quoted(word):
    word = str(word)
    return f"'{word}'" if any(letter in word for letter in ' ;$&|<>') else word


def typed(story, terminal, text, answer):
    """Types a line at a prompt and waits for the answer."""
    terminal.type(text + '\n')
    found = terminal.until(answer)
    story.says(b'# ' + text.encode() + b'\n' + found.group(0).strip())
    return found


# With podman

def podman_exit_status(p, story):
    story.title('A container that writes to both streams and ends with 3')
    script = 'echo "a line for stdout"; echo "a line for stderr" >&2; exit 3'
    story.does('podman', '--conmon', os.path.relpath(CONMON), 'run', '--name', 'first', 'busybox', 'sh', '-c', script)
    result = p('run', '--name', 'first', IMAGE, 'sh', '-c', script)
    story.says(result.out + result.err)
    story.expect('podman run ends with 3', result.status, 3)
    story.expect('each line was written to its stream', (result.out, result.err),
                 (b'a line for stdout\n', b'a line for stderr\n'))
    story.does('podman', 'logs', 'first')
    out, err = p.logs('first')
    story.says(out + err)
    story.expect('the log has the same lines', (out, err), (result.out, result.err))
    story.does('cat', p.log_path('first').name)
    story.says(p.log_path('first').read_bytes())
    story.expect('podman has recorded 3', p.inspect('first', 'State.ExitCode'), '3')
    p.no_monitors()
    story.expect('the monitor has exited with its container', p.own_monitors(), [])


def podman_terminal(p, story):
    story.title('An interactive shell on a terminal')
    print('   (from here on conmon_path in containers.conf names the monitor)')
    story.does('podman', 'run', '-it', '--name', 'second', 'busybox', 'sh')
    t = p.terminal('run', '-it', '--name', 'second', '--env', 'PS1=# ', IMAGE, 'sh', rows=30, columns=100)
    t.until('# ')
    found = typed(story, t, 'echo "6 times 7 is $((6 * 7))"', r'\n6 times 7 is (\d+)\r\n')
    story.expect('the shell calculates', found.group(1), b'42')
    found = typed(story, t, 'stty size', r'\n(\d+ \d+)\r\n')
    story.expect('the terminal has the size of the window', found.group(1), b'30 100')
    t.resize(50, 120)
    print('   (the window is resized)')
    wait_for(lambda: p('exec', 'second', 'stty', '-F', '/dev/pts/0', 'size').out == b'50 120\n', 'the new size')
    found = typed(story, t, 'stty size', r'\n(\d+ \d+)\r\n')
    story.expect('the container has the new size', found.group(1), b'50 120')
    t.type('exit 5\n')
    story.says(b'# exit 5')
    story.expect('podman run ends with 5', t.end(), 5)


def podman_exec(p, story):
    story.title('A command in a detached container')
    story.does('podman', 'run', '-d', '--name', 'third', 'busybox', 'sleep', '1000')
    started = time.monotonic()
    cid = p.must('run', '-d', '--name', 'third', IMAGE, 'sleep', '1000')
    story.says(cid.encode())
    story.expect('podman run -d returns at once', time.monotonic() - started < 20, True)
    pid = p.conmon_pid('third')
    story.expect(f'its monitor is process {pid}, with the program of this build', os.readlink(f'/proc/{pid}/exe'), CONMON)
    show_memory(story, pid)
    story.does('podman', 'exec', 'third', 'sh', '-c', 'ps; exit 200')
    result = p('exec', 'third', 'sh', '-c', 'ps; exit 200')
    story.says(result.out)
    story.expect('it runs in the container, next to its first process',
                 result.out.split(b'\n')[1].split(), [b'1', b'root', b'sleep', b'1000'])
    story.expect('podman exec ends with 200', result.status, 200)
    story.does('podman', 'exec', 'third', 'no-such-program')
    result = p('exec', 'third', 'no-such-program')
    story.says(result.err)
    story.expect('a program that does not exist: status 127, with a reason',
                 (result.status, b'executable file not found' in result.err), (127, True))
    story.does('podman', 'stop', '--time', '1', 'third')
    p.must('stop', '--time', '1', 'third')
    story.expect('killed after the timeout: 137', p.inspect('third', 'State.ExitCode'), '137')


def show_memory(story, pid):
    """The private memory of the idle monitor. Pages of a newly written program count as private until they
    are on the disk."""
    with open(f'/proc/{pid}/exe', 'rb') as program:
        os.fsync(program.fileno())
    with open(f'/proc/{pid}/smaps_rollup') as file:
        table = dict(line.split()[:2] for line in list(file)[1:])
    print(f"   (it uses {table['Private_Dirty:']} kB of private memory)")


def podman_attach(p, story):
    story.title('Two clients attached to one container')
    script = 'echo ready; while read line; do echo "heard: $line"; done; exit 6'
    story.does('podman', 'run', '-di', '--name', 'fourth', 'busybox', 'sh', '-c', script)
    p.must('run', '-di', '--name', 'fourth', IMAGE, 'sh', '-c', script)
    p.wait_logs('fourth', b'ready\n')
    story.does('podman', 'attach', 'fourth')
    first = attached(p, b'heard: hello from the first\n', 'hello from the first')
    story.does('podman', 'attach', 'fourth')
    second = attached(p, b'heard: hello from the second\n', 'hello from the second')
    lines = first.stdout.readline()
    story.says(b'heard: hello from the first\nheard: hello from the second')
    story.expect("the first client gets the answer to the second", lines, b'heard: hello from the second\n')
    first.kill()
    print('   (the first client is killed: with -i that ends the input of the container)')
    story.expect('the container ends with 6', p.must('wait', 'fourth'), '6')
    story.expect('and so does the second client', second.wait(20) is not None, True)
    story.expect('the log is complete', p.logs('fourth')[0],
                 b'ready\nheard: hello from the first\nheard: hello from the second\n')


def attached(p, answer, text):
    """Attaches a client, sends a line, and waits for the answer."""
    client = p.start('attach', 'fourth', stdin=subprocess.PIPE)
    client.stdin.write(text.encode() + b'\n')
    line = client.stdout.readline()
    if line != answer:
        raise Failure(f'expected {answer!r}, got {line!r}')
    return client


class TlsReceiver(threading.Thread):
    """A syslog server that accepts one TLS connection."""

    def __init__(self, directory):
        super().__init__(daemon=True)
        self.certificate, key, self.data = directory / 'server.pem', directory / 'server.key', bytearray()
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
                        '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-days', '2', '-keyout', key,
                        '-out', self.certificate], check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, key)
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.address = f'tcp+tls://localhost:{self.listener.getsockname()[1]}'
        self.start()

    def run(self):
        with self.context.wrap_socket(self.listener.accept()[0], server_side=True, suppress_ragged_eofs=True) as s:
            while data := s.recv(65536):
                self.data += data


def ask(story, *words):
    """Runs conmonctl and shows its output."""
    story.does('conmonctl', *words)
    done = subprocess.run([CONMONCTL, *words], capture_output=True, check=False)
    story.says(done.stdout + done.stderr)
    return done


def podman_flood(p, story):
    story.title('A new log and a live upgrade during a flood of output')
    installed, number = p.dir / 'conmon', 5
    shutil.copy(CONMON, installed)
    p.conmon = str(installed)
    add_to_containers_conf(p, f'[engine]\nconmon_env_vars = ["CONMON_TLS={CONMON_TLS}"]\n')
    configure(p, '')
    line = 'x' * 99
    script = f'for i in $(seq {number}); do yes {line} | head -c 10000000; sleep 0.5; done; echo the end; exec sleep 1000'
    story.does('podman', 'run', '-d', '--name', 'fifth', 'busybox', 'sh', '-c', script.replace(line, 'xx...x'))
    p.must('run', '-d', '--name', 'fifth', IMAGE, 'sh', '-c', script)
    pid = p.conmon_pid('fifth')
    ask(story, 'list', 'fifth')
    receiver = TlsReceiver(p.dir) if os.path.exists(CONMON_TLS) and shutil.which('openssl') else None
    if receiver:
        print('   (conmon.conf gets [defaults] profile = central: syslog over TLS, to a server in this script)')
        (p.etc / 'conmon.conf').write_text(
            f'[profile central]\ndriver = syslog\nopt.syslog-address = {receiver.address}\n'
            f'opt.syslog-tls-ca-cert = {receiver.certificate}\nopt.max-buffer-size = 16m\n[defaults]\nprofile = central\n')
        story.expect('the monitor reloads its configuration', ask(story, 'reload', 'fifth').returncode, 0)
        wait_for(lambda: len(receiver.data) > 1000000, 'the first lines of the flood reach the server')
    else:
        print('   (no TLS server, because OpenSSL or conmon-tls is missing)')
    shutil.copy(CONMON, p.dir / 'conmon.new')
    os.rename(p.dir / 'conmon.new', installed)
    print('   (the program file is replaced, as a package update does)')
    story.expect('the monitor is upgraded', ask(story, 'upgrade', 'fifth').returncode, 0)
    story.expect('the same process runs the new program',
                 (p.conmon_pid('fifth'), os.readlink(f'/proc/{pid}/exe')), (pid, str(installed)))
    wait_for(lambda: p.log_path('fifth').read_bytes()[-20:].endswith(b' the end\n'), 'the end of the flood', 40)
    story.expect(f'podman\'s log has each of {number * 10000000 + 8} bytes', len(content(parse(p.log_path('fifth').read_bytes()))),
                 number * 10000000 + 8)
    if receiver:
        wait_for(lambda: receiver.data.endswith(b'the end'), 'the end of the flood at the server', 40)
        lines = len(re.findall(rb'x{99}', receiver.data))
        print(f'   (the server got {lines} lines since the reload)')
    found = ask(story, 'list', '--no-legend', 'fifth').stdout.split()
    story.expect('no record was dropped', found[7], b'0')
    p.must('stop', '--time', '0', 'fifth')


# Without podman

def runtime_exit_status(t, story):
    story.title('A container that writes to both streams and ends with 3')
    m = t.container('sh', '-c', 'echo "a line for stdout"; echo "a line for stderr" >&2; exit 3')
    story.does('conmon', '-c', m.cid, '-b', 'BUNDLE', '-r', t.runtime, '-l', 'k8s-file:ctr.log', '…')
    t.created(m)
    story.expect('the monitor reports a process', proc.alive(m.container), True)
    story.does(t.runtime, 'start', m.cid)
    t.command('start', m.cid)
    story.expect('the monitor ends with 3', m.wait(), 3)
    story.expect('the exit file says 3', m.exit_code(), 3)
    story.says(m.log.read_bytes())
    story.expect('the log has both lines', sorted((r.stream, r.content) for r in m.records()),
                 [('stderr', b'a line for stderr'), ('stdout', b'a line for stdout')])


def runtime_terminal(t, story):
    story.title('A terminal, and its size')
    m = t.created(t.container('sh', '-c', 'read line; stty size; exit 5', terminal=True), '-t')
    client = m.attach()
    m.control('1 30 100\n')
    story.does(t.runtime, 'start', m.cid)
    t.command('start', m.cid)
    client.send(b'go\n')
    client.until(b'30 100\r\n')
    story.says(client.data[2])
    story.expect('the container ends with 5', m.wait(), 5)


def runtime_exec(t, story):
    story.title('A command in a running container, and two clients')
    m = t.started(t.container('cat'), '-i')
    first, second = m.attach(), m.attach()
    first.send(b'hello\n')
    for client in (first, second):
        client.until(b'hello\n')
    story.says(second.data[2])
    story.expect('both clients get it', first.data, second.data)
    s = t.session(m, 'sh', '-c', 'echo from the session; exit 200')
    t.exec(None, *t.runtime_options(), monitor=s, client=True)
    output = s.client.to_end()
    story.says(output)
    story.expect('the session prints', output, b'from the session\n')
    story.expect('the session ends with 200', s.wait(), 200)
    first.half_close()
    story.expect('at the end of the input the container ends with 0', m.wait(), 0)


# The whole

def tell(story, case, chapters):
    """Runs the chapters with one podman or runtime, and cleans up in any case."""
    try:
        for chapter in chapters:
            chapter(case, story)
        case.close(strict=True)
        story.title('The end')
        story.expect('no files are left', os.path.exists(case.dir), False)
    except Exception as error:
        story.bad += 1
        print(paint('1;31', f'   ✗ {error}'))
        print(case.describe())
    finally:
        if os.path.exists(case.dir):
            case.close(strict=False)


def with_podman(story):
    p = podman.Podman('demo')
    try:
        p.make_template()
        reason = podman.refusal(p)
    except Exception:
        p.close(strict=False)
        raise
    if reason:
        p.close(strict=False)
        sys.exit(reason)
    tell(story, p, (podman_exit_status, podman_terminal, podman_exec, podman_attach, podman_flood))


def with_runtime(story):
    print('podman is not installed, so the runtime is used directly.')
    with tempfile.TemporaryDirectory(prefix='conmon-root.') as directory:
        oci.root = pathlib.Path(directory) / 'root'
        oci.make_root(oci.root)
        reason = oci.refusal()
        if reason:
            sys.exit(reason)
        tell(story, oci.Oci('demo'), (runtime_exit_status, runtime_terminal, runtime_exec))


def introduce(programs):
    print('\n' + paint('1', 'Demonstration of a container monitor'))
    for program in programs:
        done = subprocess.run([program, '--version'], capture_output=True, text=True, check=False)
        print('   ' + done.stdout.split('\n')[0])


def main():
    reason = oci.missing()
    if reason:
        sys.exit(reason)
    # A subreaper: monitors become children of this process, which checks that all have exited.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    story = Story()
    if shutil.which('podman'):
        introduce([CONMON, 'podman', oci.OCI_RUNTIME])
        with_podman(story)
    else:
        introduce([CONMON, oci.OCI_RUNTIME])
        with_runtime(story)
    if story.bad:
        print(paint('1;31', f'\n{story.bad} of {story.good + story.bad} checks failed.\n'))
        sys.exit(1)
    print(paint('1;32', f'\nAll {story.good} checks passed.\n'))


if __name__ == '__main__':
    main()
