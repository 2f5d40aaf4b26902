#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Each call of the monitor that can fail does so once.

Each scenario of scenario.py is run once to record the calls of the monitor in each state. Then it is run
again for each of them, with that call failing with an error from its manual page. A call (state, function,
object) fails at its first occurrence, with a different error in each scenario. With CONMON_FAULTS=all it also
fails at its last occurrence, and with every error.
"""

import collections
import errno
import os
import pickle
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../lib'))
from harness import check, equal, main, skip  # noqa: E402
from harness.runner import PR_SET_CHILD_SUBREAPER, _libc, reset_inherited_state
from scenario import INTERPOSE, LIVES, Fault, FaultCase, Late, Tally, Watched

ALL = os.environ.get('CONMON_FAULTS') == 'all'

# How often a scenario is repeated if the call did not occur, because it depends on timing.
TRIES = 3

NO_DESCRIPTORS = ('EMFILE', 'ENFILE', 'ENOMEM')

# Errors that can occur at run time. EBADF, EFAULT and EINVAL would be bugs of the program, and are omitted.
ERRORS = {
    'accept4': ('EMFILE', 'ECONNABORTED', 'ENOBUFS', 'ENFILE', 'ENOMEM', 'EINTR', 'EPROTO', 'EPERM'),
    'access': ('EACCES', 'EIO', 'ENOMEM'),
    'bind': ('EADDRINUSE', 'ENOMEM', 'EACCES', 'ENOSPC', 'EROFS'),
    'chdir': ('EACCES', 'ENOENT', 'EIO'),
    'clock_gettime': ('EPERM',),
    'connect': ('ECONNREFUSED', 'EAGAIN', 'EACCES', 'EINTR', 'ENOENT', 'ETIMEDOUT'),
    'dup': ('EMFILE',),
    'dup2': ('EMFILE', 'EBUSY', 'EINTR'),
    'epoll_create1': NO_DESCRIPTORS,
    'epoll_ctl': ('ENOMEM', 'ENOSPC'),
    'epoll_wait': ('EINTR',),
    'eventfd': NO_DESCRIPTORS,
    'execve': ('ENOMEM', 'ENOENT', 'EACCES', 'ETXTBSY', 'EIO'),
    'execv': ('ENOMEM', 'ENOENT', 'EACCES', 'ETXTBSY', 'EIO'),
    'fexecve': ('ENOMEM', 'ENOENT', 'EACCES', 'ETXTBSY', 'EIO'),
    'faccessat': ('EACCES', 'EIO', 'ENOMEM'),
    'fchmod': ('EPERM', 'EIO', 'EROFS'),
    'fcntl': ('EMFILE',),
    'fork': ('EAGAIN', 'ENOMEM'),
    'fstat': ('ENOMEM', 'EIO'),
    'fstatat': ('ENOMEM', 'EIO'),
    'fstatfs': ('ENOMEM', 'EIO'),
    'fdatasync': ('EIO', 'ENOSPC', 'EDQUOT'),
    'fdopendir': ('EMFILE', 'ENOMEM'),
    'fsync': ('EIO', 'ENOSPC', 'EDQUOT'),
    'ftruncate': ('EIO', 'EINTR'),
    'getaddrinfo': ('EAGAIN',),
    'getcwd': ('ENOENT', 'EACCES', 'ENOMEM'),
    'getdents': ('ENOENT', 'EIO'),
    'getrandom': ('EAGAIN', 'EINTR'),
    'getpeername': ('ENOTCONN', 'ENOBUFS'),
    'getsockopt': ('ENOBUFS', 'ENOMEM'),
    'inotify_add_watch': ('ENOSPC', 'ENOMEM', 'ENOENT', 'EACCES'),
    'inotify_init1': NO_DESCRIPTORS,
    'ioctl': ('ENOTTY', 'EIO'),
    'kill': ('EPERM', 'ESRCH'),
    'linkat': ('EPERM', 'ENOSPC', 'EMLINK', 'EIO', 'EEXIST', 'EDQUOT'),
    'listen': ('EADDRINUSE', 'ENOBUFS'),
    'lstat': ('ENOMEM', 'EACCES', 'EIO'),
    'memfd_create': NO_DESCRIPTORS,
    'mkdir': ('ENOSPC', 'EACCES', 'EROFS', 'EDQUOT'),
    'mkfifoat': ('ENOSPC', 'EACCES', 'EROFS', 'EDQUOT', 'EIO'),
    'mkostemp': ('EMFILE', 'ENOSPC', 'EACCES', 'EIO', 'ENFILE', 'ENOMEM', 'EROFS', 'EDQUOT'),
    'mmap': ('ENOMEM', 'EAGAIN'),
    'munmap': ('ENOMEM',),
    'open': ('EMFILE', 'EACCES', 'ENFILE', 'ENOMEM', 'EIO', 'EINTR', 'ENOSPC'),
    'openat': ('EMFILE', 'ENOSPC', 'ENFILE', 'ENOMEM', 'EIO', 'EINTR', 'EROFS', 'EEXIST'),
    'pipe2': ('EMFILE', 'ENFILE'),
    'poll': ('EINTR', 'ENOMEM'),
    'ppoll': ('EINTR', 'ENOMEM'),
    'prctl': ('EPERM', 'ENOSYS'),
    'read': ('EIO', 'short', 'EAGAIN', 'EINTR', 'ENOMEM'),
    'readlink': ('ENOMEM', 'EACCES', 'EIO'),
    'realpath': ('EACCES', 'EIO', 'ENOMEM', 'ELOOP'),
    'recv': ('ECONNRESET', 'EINTR', 'EAGAIN', 'ENOMEM', 'ENOBUFS'),
    'pread': ('EIO', 'EINTR'),
    'pwrite': ('ENOSPC', 'EIO', 'EDQUOT', 'EINTR'),
    'readdir': ('EIO', 'ENOENT', 'ENOTDIR'),
    'recvmsg': ('ECONNRESET', 'EINTR', 'EAGAIN', 'ENOMEM', 'EMFILE'),
    'pthread_create': ('EAGAIN', 'EPERM'),
    'rename': ('EIO', 'ENOSPC', 'EACCES', 'EDQUOT', 'EROFS', 'ENOMEM', 'EINTR'),
    'renameat': ('EIO', 'ENOSPC', 'EACCES', 'EDQUOT', 'EROFS', 'ENOMEM', 'EBUSY'),
    'send': ('EPIPE', 'EAGAIN', 'ENOBUFS', 'EINTR', 'ECONNREFUSED', 'ENOMEM'),
    'sendmmsg': ('EPIPE', 'EAGAIN', 'short', 'ENOBUFS', 'EINTR', 'ECONNRESET', 'ENOMEM'),
    'sendmsg': ('EPIPE', 'EAGAIN', 'ENOBUFS', 'EINTR', 'ECONNREFUSED', 'ENOMEM', 'EMSGSIZE'),
    'setpgid': ('EPERM', 'ESRCH'),
    'setrlimit': ('EPERM', 'EINVAL'),
    'setsid': ('EPERM',),
    'signalfd': NO_DESCRIPTORS + ('ENODEV',),
    'setsockopt': ('ENOMEM', 'ENOBUFS'),
    'shutdown': ('ENOTCONN',),
    'sigtimedwait': ('EINTR', 'EAGAIN'),
    'socket': NO_DESCRIPTORS + ('ENOBUFS', 'EACCES'),
    'socketpair': NO_DESCRIPTORS + ('ENOBUFS',),
    'stat': ('ENOMEM', 'EACCES', 'EIO'),
    'statfs': ('ENOMEM', 'EACCES', 'EIO', 'EINTR'),
    'statx': ('EIO', 'ENOSYS', 'EACCES'),
    'symlink': ('ENOSPC', 'EACCES', 'EROFS', 'EIO', 'EDQUOT'),
    'syscall': NO_DESCRIPTORS + ('EPERM', 'ENOSYS'),
    'tcgetattr': ('EIO', 'ENOTTY'),
    'tcsetattr': ('EIO', 'EINTR'),
    'timerfd_create': NO_DESCRIPTORS,
    'unlink': ('EBUSY', 'EACCES', 'EIO', 'EROFS'),
    'unlinkat': ('EBUSY', 'EACCES', 'EIO', 'EROFS'),
    'vfork': ('EAGAIN', 'ENOMEM'),
    'waitpid': ('EINTR',),
    'writev': ('EIO', 'ENOSPC', 'EAGAIN', 'EINTR', 'EPIPE', 'short'),
    'write': ('EIO', 'ENOSPC', 'EAGAIN', 'EINTR', 'EPIPE', 'short', 'EDQUOT', 'EFBIG'),
}

# Calls that can't fail, or whose failure can't be noticed or has no effect.
HARMLESS = {'sigprocmask', 'close', 'getpriority', 'setpriority', 'gethostname', 'alarm', 'signal', 'umask', 'getpid',
            'getppid', 'getpgid', 'getsid', 'getpgrp', 'geteuid', 'madvise', 'sysconf', 'time', 'timerfd_settime', 'waitid',
            'closedir', 'utimensat'}

# Other functions of the C library: no system calls, or only those of malloc.
LIBRARY = re.compile(r'_.*|explicit_bzero|(mem|str|sig.*set|dl|malloc_|mallopt)\w*|(gm|local)time_r|timegm|alphasort|environ|'
                     r'f(ree|error|flush|puts|nmatch)|puts|'
                     r'getenv|unsetenv|getauxval|sigismember|inet_pton|\w*printf|program_invocation_short_name|'
                     r'qsort|setlocale|stdout|pthread_(join|setname_np)')

# Reading and setting the flags of a descriptor, which the kernel does for every one that is open (F_GETFD to F_SETFL).
FLAGS = tuple(f'command {command} ' for command in (1, 2, 3, 4))

# A clock that a program can read never fails again; the real one is not that certain (RTC, namespaces).
MONOTONIC = 'clock 1'


def applies(call, how):
    """Whether the kernel can answer this call like that at all."""
    state, function, about = call
    if about == MONOTONIC or function in HARMLESS or about.startswith(FLAGS):
        return False
    if how == 'short':
        # Records are sent whole or not; what counts to an eventfd or tells signals has one size.
        return not about.startswith('socket') or function == 'sendmmsg'
    if function == 'write' and how == 'EAGAIN':
        return about.startswith(('pipe', 'socket', 'ptmx', 'ctl', 'winsz'))
    if function == 'write' and how == 'EPIPE' and state == 'resumed' and about.startswith('pipe'):
        return False  # the guard, which reads it, lives
    if function == 'write' and how == 'EPIPE':
        return about.startswith(('pipe', 'socket'))
    if function == 'write' and how in ('ENOSPC', 'EDQUOT', 'EFBIG'):
        return not about.startswith(('pipe', 'socket', 'ptmx', 'eventfd'))
    if function == 'read' and how in ('EAGAIN', 'short') and about in ('oom_score_adj', 'cgroup', 'pidfile'):
        return how == 'short'
    return True


def number(how):
    return how if how == 'short' else getattr(errno, how)


def faults(calls, life, tried):
    """The cases for the calls of one run. `tried` counts how often a call has failed in earlier scenarios."""
    counts = collections.Counter(calls)
    for call in sorted(counts):
        if call[1] not in ERRORS and call[1] not in HARMLESS:
            raise KeyError(f'{call[1]} can fail, but test_calls.py knows no errors for it')
        hows = [how for how in ERRORS.get(call[1], ()) if applies(call, how)]
        if not life.wants(call[0], not tried[call]):
            continue
        if hows and not ALL:
            hows = [hows[tried[call] % len(hows)]]
            tried[call] += 1
        for at in sorted({1, counts[call]}) if ALL else (1,):
            for how in hows:
                name = f'{life.name}, {call[0]}: {call[1]} ({call[2]}){f" no. {at}" if at > 1 else ""}: {how}'
                yield Fault(*call, at, number(how), name)


def record(life):
    """The calls of a run without a fault, and its number of descriptors."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signal.alarm(60)
        t = FaultCase('trace')
        t.trace()
        undisturbed = life(t)
        undisturbed.run()
        with os.fdopen(writer, 'wb') as file:
            pickle.dump((t.calls(), getattr(undisturbed, 'descriptors', 0)), file)
        t.close(strict=True)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, 'rb') as file:
        calls, life.usual = pickle.load(file)
    equal(os.waitpid(pid, 0)[1], 0, f'status of the run of {life.name} without a fault')
    return calls


def make_test(life, fault, tally):
    def test(t):
        tally.ran()
        for _ in range(TRIES):
            t.inject(fault)
            try:
                life(t, fault).run()
            except Late as late:
                if t.late:
                    raise
                print(f'{late}; retrying')
                t.late = True
                continue
            if t.was_hit():
                tally.held()
                return
        tally.did_not_run()
        skip('the call did not happen this time')
    return test


def test_log_is_written_before_clients(t):
    """Output is written to the log before it is sent to clients."""
    t.trace()
    Watched(t).run()
    calls = [call[1:] for call in t.calls()]
    check(calls.index(('write', 'ctr.log')) < calls.index(('sendmmsg', 'socket attach')), 'sent to the client before it was logged')


def test_every_function_is_known(t):
    """A function that the monitor begins to use needs its errors here, and a wrapper in interpose.c."""
    wrapped = symbols('--defined-only', INTERPOSE)
    for symbol in sorted(symbols('--undefined-only', t.program)):
        name = symbol.removesuffix('64')
        if not name.startswith('g_') and not LIBRARY.fullmatch(name) and name not in HARMLESS:
            check(name in ERRORS, f'{name} can fail, but test_calls.py knows no errors for it')
            check(symbol in wrapped, f'{symbol} can fail, but interpose.c has no wrapper for it')


def symbols(what, program):
    text = subprocess.run(['nm', '-D', what, program], stdout=subprocess.PIPE, check=True).stdout.decode()
    return {line.split()[-1].partition('@')[0] for line in text.splitlines()}


def main_with_faults():
    tests, tried = {'every function is known': test_every_function_is_known,
                    'the log is written before clients': test_log_is_written_before_clients}, collections.Counter()
    reset_inherited_state()
    tally = Tally()
    for life in LIVES if os.geteuid() == 0 else [life for life in LIVES if not life.needs_root]:
        for fault in faults(record(life), life, tried):
            tests[fault.name] = make_test(life, fault, tally)
    try:
        main(tests, FaultCase)
    finally:
        tally.report()


if __name__ == '__main__':
    main_with_faults()
