"""Shows a monitor at work with real containers: demo.py CONMON"""

import ctypes
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(TOP / 'tests'))
sys.path.insert(0, str(TOP / 'tests/system'))

CONMON = os.path.abspath(sys.argv[1])
os.environ['CONMON'] = CONMON
os.environ['PATH'] += ':/usr/sbin:/sbin'
if not shutil.which('runc'):
    os.environ['OCI_RUNTIME'] = 'crun'

import oci  # noqa: E402
import podman  # noqa: E402
from harness import Failure, proc, wait_for  # noqa: E402

COLOURS = sys.stdout.isatty() and 'NO_COLOR' not in os.environ
IMAGE = podman.IMAGE


def paint(code, text):
    return f'\033[{code}m{text}\033[0m' if COLOURS else text


class Story:
    """What is told to the reader, and how often something was not as expected."""

    def __init__(self):
        self.good, self.bad, self.chapter = 0, 0, 0

    def title(self, text):
        self.chapter += 1
        print('\n' + paint('1', f'{self.chapter}. {text}'))

    def does(self, *words):
        print(paint('36', '   $ ' + ' '.join(map(quoted, words))))

    def says(self, output):
        """What a program printed, line by line."""
        for line in output.decode(errors='replace').replace('\r', '').rstrip('\n').split('\n'):
            print(paint('2', '   │ ') + line)

    def expect(self, what, actual, expected):
        """Compares, and tells the outcome."""
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
    """Types a line at a prompt and waits for the answer to be seen."""
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
    story.expect('each line came out where it belongs', (result.out, result.err),
                 (b'a line for stdout\n', b'a line for stderr\n'))
    story.does('podman', 'logs', 'first')
    out, err = p.logs('first')
    story.says(out + err)
    story.expect('the log has kept the same', (out, err), (result.out, result.err))
    story.does('cat', p.log_path('first').name)
    story.says(p.log_path('first').read_bytes())
    story.expect('podman has recorded 3', p.inspect('first', 'State.ExitCode'), '3')
    p.no_monitors()
    story.expect('the monitor has gone with its container', p.own_monitors(), [])


def podman_terminal(p, story):
    story.title('A shell on a terminal, as a person uses it')
    print('   (from here on conmon_path in containers.conf names the monitor)')
    story.does('podman', 'run', '-it', '--name', 'second', 'busybox', 'sh')
    t = p.terminal('run', '-it', '--name', 'second', '--env', 'PS1=# ', IMAGE, 'sh', rows=30, columns=100)
    t.until('# ')
    found = typed(story, t, 'echo "6 times 7 is $((6 * 7))"', r'\n6 times 7 is (\d+)\r\n')
    story.expect('the shell calculates', found.group(1), b'42')
    found = typed(story, t, 'stty size', r'\n(\d+ \d+)\r\n')
    story.expect('the terminal has the size of the window', found.group(1), b'30 100')
    t.resize(50, 120)
    print('   (the window is made larger)')
    wait_for(lambda: p('exec', 'second', 'stty', '-F', '/dev/pts/0', 'size').out == b'50 120\n', 'the new size')
    found = typed(story, t, 'stty size', r'\n(\d+ \d+)\r\n')
    story.expect('the container sees the new size', found.group(1), b'50 120')
    t.type('exit 5\n')
    story.says(b'# exit 5')
    story.expect('podman run ends with 5', t.end(), 5)


def podman_exec(p, story):
    story.title('A command in a container that runs in the background')
    story.does('podman', 'run', '-d', '--name', 'third', 'busybox', 'sleep', '1000')
    started = time.monotonic()
    cid = p.must('run', '-d', '--name', 'third', IMAGE, 'sleep', '1000')
    story.says(cid.encode())
    story.expect('podman run -d returns at once', time.monotonic() - started < 20, True)
    pid = p.conmon_pid('third')
    story.expect(f'its monitor is process {pid}, this build', os.readlink(f'/proc/{pid}/exe'), CONMON)
    tell_memory(story, pid)
    story.does('podman', 'exec', 'third', 'sh', '-c', 'ps; exit 200')
    result = p('exec', 'third', 'sh', '-c', 'ps; exit 200')
    story.says(result.out)
    story.expect('it runs beside the first process of the container',
                 result.out.split(b'\n')[1].split(), [b'1', b'root', b'sleep', b'1000'])
    story.expect('podman exec ends with 200', result.status, 200)
    story.does('podman', 'exec', 'third', 'no-such-program')
    result = p('exec', 'third', 'no-such-program')
    story.says(result.err)
    story.expect('a program that does not exist is 127, with a reason',
                 (result.status, b'executable file not found' in result.err), (127, True))
    story.does('podman', 'stop', '--time', '1', 'third')
    p.must('stop', '--time', '1', 'third')
    story.expect('stopped by force: 137', p.inspect('third', 'State.ExitCode'), '137')


def tell_memory(story, pid):
    """What the monitor costs while it waits. Pages of a program that was written just now count as its own until they are
    on the disk."""
    with open(f'/proc/{pid}/exe', 'rb') as program:
        os.fsync(program.fileno())
    with open(f'/proc/{pid}/smaps_rollup') as file:
        table = dict(line.split()[:2] for line in list(file)[1:])
    print(f"   (it holds {table['Private_Dirty:']} kB of memory of its own)")


def podman_attach(p, story):
    story.title('Two people at one container')
    script = 'echo ready; while read line; do echo "heard: $line"; done; exit 6'
    story.does('podman', 'run', '-di', '--name', 'fourth', 'busybox', 'sh', '-c', script)
    p.must('run', '-di', '--name', 'fourth', IMAGE, 'sh', '-c', script)
    p.wait_logs('fourth', b'ready\n')
    story.does('podman', 'attach', 'fourth')
    anna = attached(p, b'heard: hello from anna\n', 'hello from anna')
    story.does('podman', 'attach', 'fourth')
    bert = attached(p, b'heard: hello from bert\n', 'hello from bert')
    lines = anna.stdout.readline()
    story.says(b'heard: hello from anna\nheard: hello from bert')
    story.expect('anna sees what bert wrote', lines, b'heard: hello from bert\n')
    anna.kill()
    print('   (anna is cut off: with -i that ends the input of the container, for everybody)')
    story.expect('the container ends with 6', p.must('wait', 'fourth'), '6')
    story.expect('and so does the client of bert', bert.wait(20) is not None, True)
    story.expect('the log has everything', p.logs('fourth')[0],
                 b'ready\nheard: hello from anna\nheard: hello from bert\n')


def attached(p, answer, text):
    """A client whose first line has been answered."""
    client = p.start('attach', 'fourth', stdin=subprocess.PIPE)
    client.stdin.write(text.encode() + b'\n')
    line = client.stdout.readline()
    if line != answer:
        raise Failure(f'expected {answer!r}, got {line!r}')
    return client


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
    story.expect('both clients see it', first.data, second.data)
    s = t.session(m, 'sh', '-c', 'echo from the session; exit 200')
    t.exec(None, *t.runtime_options(), places=s, client=True)
    output = s.client.to_end()
    story.says(output)
    story.expect('the session prints', output, b'from the session\n')
    story.expect('the session ends with 200', s.wait(), 200)
    first.half_close()
    story.expect('at the end of the input the container ends with 0', m.wait(), 0)


# The whole

def tell(story, case, chapters):
    """Runs the chapters with one podman or runtime, and cleans up whatever happens."""
    try:
        for chapter in chapters:
            chapter(case, story)
        case.close(strict=True)
        story.title('The end')
        story.expect('nothing is left behind', os.path.exists(case.dir), False)
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
    tell(story, p, (podman_exit_status, podman_terminal, podman_exec, podman_attach))


def with_runtime(story):
    print('There is no podman here, so the runtime is used directly.')
    with tempfile.TemporaryDirectory(prefix='conmon-root.') as directory:
        oci.root = pathlib.Path(directory) / 'root'
        oci.make_root(oci.root)
        reason = oci.refusal()
        if reason:
            sys.exit(reason)
        tell(story, oci.Oci('demo'), (runtime_exit_status, runtime_terminal, runtime_exec))


def introduce(programs):
    print('\n' + paint('1', 'A container monitor at work'))
    for program in programs:
        told = subprocess.run([program, '--version'], capture_output=True, text=True, check=False)
        print('   ' + told.stdout.split('\n')[0])


def main():
    reason = oci.missing()
    if reason:
        sys.exit(reason)
    # Monitors become orphans; this process is their parent then, and sees that all are gone.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    story = Story()
    if shutil.which('podman'):
        introduce([CONMON, 'podman', oci.OCI_RUNTIME])
        with_podman(story)
    else:
        introduce([CONMON, oci.OCI_RUNTIME])
        with_runtime(story)
    if story.bad:
        print(paint('1;31', f'\n{story.bad} of {story.good + story.bad} things are not as they should be.\n'))
        sys.exit(1)
    print(paint('1;32', f'\nAll {story.good} things are as they should be.\n'))


if __name__ == '__main__':
    main()
