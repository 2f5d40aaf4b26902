# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Runs each test function of a file in its own process and prints TAP."""

import _strptime  # noqa: F401
import argparse
import contextlib
import ctypes
import encodings.latin_1  # noqa: F401
import encodings.unicode_escape  # noqa: F401
import fnmatch
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from . import case as case_module
from .case import Case
from .check import TIMEOUT_FACTOR, Failure, Skip
from .tools import missing_tool

TIMEOUT = 60  # seconds for one test
PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE = 36, 4
_libc = ctypes.CDLL(None, use_errno=True)


def slow(seconds):
    """Decorator: the time limit of this test."""
    def mark(function):
        function.timeout = seconds
        return function
    return mark


def needs_root(function):
    """Decorator: the test is left out for an ordinary user."""
    function.needs_root = True
    return function


def last(function):
    """Decorator: runs when all others have ended, and only if no names were given."""
    function.last = True
    return function


def needs_no_root(function):
    """Decorator: the test is left out for root, whom file permissions don't stop."""
    function.needs_no_root = True
    return function


def differs(why):
    """Decorator: monitors before 3.0 behave differently; `why` says how, or since which release."""
    def mark(function):
        function.differs = why
        return function
    return mark


def _version():
    """The first number of the version of the monitor under test."""
    if not os.access(case_module.CONMON, os.X_OK):
        raise SystemExit(f'There is no monitor {case_module.CONMON}. Build one there, or name one with --monitor.')
    output = subprocess.run([case_module.CONMON, '--version'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            check=False).stdout.decode()
    words = output.split()
    return int(words[2].split('.')[0]) if len(words) > 2 and words[2][0].isdigit() else 0


def _become(user, bin_dir):
    """Becomes an ordinary user. The interpreter's library may be unreadable then: modules that Python loads
    on first use are imported above."""
    os.chown(bin_dir, user, user)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    _libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    os.environ['XDG_RUNTIME_DIR'] = bin_dir


def _limit(function):
    return int(getattr(function, 'timeout', TIMEOUT) * TIMEOUT_FACTOR)


def _alarm(*_):
    raise Failure('the test exceeded its time limit')


def _run(name, function, options):
    """Runs one test in the child. Returns 'ok', 'not ok' or 'skip REASON'."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGALRM, _alarm)
    signal.alarm(_limit(function))
    case, result = options.case(name, options.reference), 'ok'
    try:
        function(case)
    except Skip as reason:
        result = f'skip {reason}'
    except Exception as error:
        missing = missing_tool(error)
        result = f'skip {missing}' if missing else 'not ok'
        if not missing:
            traceback.print_exc(file=sys.stdout)
            print(case.describe())
    if result == 'not ok' and options.keep:
        print(f'directory kept: {case.dir}')
        return result
    try:
        case.close(strict=result == 'ok')
    except Exception:
        traceback.print_exc(file=sys.stdout)
        for m in case.monitors[-2:]:
            print(m.describe())
        result = 'not ok'
    return result


class Job:
    """A test that runs in a child process; its output is kept until it ends."""

    def __init__(self, name, function, options):
        self.name, self.output, self.started = name, b'', time.monotonic()
        self.limit = self.started + _limit(function) + 10
        reader, writer = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._child(writer, name, function, options)
        os.close(writer)
        self.reader = reader

    def _child(self, writer, name, function, options):
        result = 'not ok'
        try:
            os.dup2(writer, 1)
            os.dup2(writer, 2)
            os.setpgid(0, 0)
            if options.user:
                _become(options.user, options.bin_dir)
            result = _run(name, function, options)
        except BaseException:
            traceback.print_exc(file=sys.stdout)
        finally:
            print(f'\nresult: {result}', flush=True)
            os._exit(0)

    def pump(self):
        """Reads the test's output. Returns False when the test has ended."""
        data = os.read(self.reader, 65536)
        self.output += data
        return bool(data)

    def end(self):
        """The result, and the output as lines."""
        os.close(self.reader)
        os.waitpid(self.pid, 0)
        lines = [line for line in self.output.decode(errors='replace').splitlines() if line]
        result = 'not ok'
        if lines and lines[-1].startswith('result: '):
            result = lines.pop()[len('result: '):]
        return result, lines

    def report(self, number):
        result, lines = self.end()
        took = f'{time.monotonic() - self.started:.2f} s'
        if result.startswith('skip'):
            print(f'ok {number} - {self.name} # SKIP {result[5:]}')
        else:
            print(f'{result} {number} - {self.name} ({took})')
        for line in lines:
            print(f'# {line}')
        sys.stdout.flush()
        return result != 'not ok'


def _wanted(name, function, patterns):
    return not hasattr(function, 'last') and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _select(tests, options):
    """The tests to run as (name, function). Those that don't apply here are named and left out."""
    chosen, options.reference = [], _version() < 3
    for name, function in tests.items():
        if options.names and not _wanted(name, function, options.names):
            continue
        if options.reference and hasattr(function, 'differs'):
            print(f'# {name}: intended difference from this monitor: {function.differs}')
        elif (options.user or os.geteuid() != 0) and hasattr(function, 'needs_root'):
            print(f'# {name}: not for an ordinary user')
        elif not options.user and os.geteuid() == 0 and hasattr(function, 'needs_no_root'):
            print(f'# {name}: only for an ordinary user')
        else:
            chosen.append((name, function))
    if not chosen and options.names:
        sys.exit('no such test')
    return chosen


def _work(chosen, options):
    """Runs the tests, `options.jobs` at a time. Returns how many failed."""
    waiting, running, done, failed = list(chosen), [], 0, 0
    while waiting or running:
        while waiting and len(running) < options.jobs and not (running and hasattr(waiting[0][1], 'last')):
            running.append(Job(*waiting.pop(0), options))
        ready, _, _ = select.select([job.reader for job in running], [], [], 1)
        for job in list(running):
            if time.monotonic() > job.limit:
                os.killpg(job.pid, signal.SIGKILL)
            if job.reader in ready and not job.pump():
                running.remove(job)
                done += 1  # TAP numbers must be in order
                failed += not job.report(done)
    return failed


def _parse():
    parser = argparse.ArgumentParser()
    parser.add_argument('names', nargs='*', help='tests to run, shell patterns; default all')
    parser.add_argument('--list', action='store_true', help='print the names')
    parser.add_argument('--keep', action='store_true', help='keep the directory of a test that fails')
    parser.add_argument('--monitor', help='the monitor to test, instead of $CONMON')
    parser.add_argument('-j', '--jobs', type=int, default=int(os.environ.get('CONMON_TEST_JOBS', '2')))
    parser.add_argument('--user', type=int, default=int(os.environ.get('CONMON_TEST_USER', '0')),
                        help='run as this ordinary user')
    options = parser.parse_args()
    if os.geteuid() != 0:
        options.user = 0
    return options


def reset_inherited_state():
    """Keeps descriptors of the caller of the tests from the monitors, and resets the signals that it ignores
    or blocks, as nohup(1) and shells do."""
    for name in os.listdir('/proc/self/fd'):
        with contextlib.suppress(OSError):
            if int(name) > 2:
                os.set_inheritable(int(name), False)
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # Python itself ignores these
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _own_binaries(options):
    """Copies the programs, because an ordinary user may have no access to the build directory."""
    options.bin_dir = tempfile.mkdtemp(prefix='conmon-test-bin.')
    os.chmod(options.bin_dir, 0o755)
    case_module.CONMON = shutil.copy(case_module.CONMON, os.path.join(options.bin_dir, 'conmon'))
    case_module.RUNTIME = shutil.copy(case_module.RUNTIME, os.path.join(options.bin_dir, 'fake-runtime'))


def main(tests=None, case=Case):
    """Runs the `test_*` functions of the calling file, or the given {name: function}. `case` is the class of
    their argument."""
    if tests is None:
        module = sys.modules['__main__']
        tests = {name: function for name, function in vars(module).items() if name.startswith('test_')}
    reset_inherited_state()
    options = _parse()
    options.case = case
    if options.list:
        print('\n'.join(tests))
        return
    if options.monitor:
        case_module.CONMON = os.path.abspath(options.monitor)
    chosen = _select(tests, options)
    if not chosen:
        who = 'an ordinary user' if os.geteuid() != 0 or options.user else 'this monitor'
        print(f'1..0 # SKIP none of {len(tests)} cases can run for {who}')
        return
    print(f'1..{len(chosen)}')
    if options.user:
        _own_binaries(options)
    try:
        failed = _work(chosen, options)
    finally:
        if options.user:
            shutil.rmtree(options.bin_dir)
    sys.exit(1 if failed else 0)
