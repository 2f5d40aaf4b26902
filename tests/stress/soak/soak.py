#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Soak tests: containers of all kinds for a given time, with random operations. See README.md."""

import argparse
import collections
import json
import os
import pathlib
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import types

# Nothing here depends on speed.
os.environ.setdefault('CONMON_TEST_TIMEOUT_FACTOR', '6')
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../../lib'))
sys.path.insert(0, os.path.join(HERE, '../../interop/receivers'))

from harness import runner  # noqa: E402
import life  # noqa: E402
from life import Life, SoakCase  # noqa: E402
from receivers import hide_run  # noqa: E402
from tape import Tape  # noqa: E402

FAILURES_MAX = 3  # then it ends
LONG = 1000000  # lives with this number or a higher one run for the whole time


def options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float, default=float(os.environ.get('CONMON_SOAK_SECONDS', '60')),
                        help='for how long containers are started')
    parser.add_argument('--seed', default=os.environ.get('CONMON_SOAK_SEED') or str(random.SystemRandom().randrange(10**9)),
                        help='any text; default random')
    parser.add_argument('--lives', type=int, default=8, help='number of containers at the same time')
    parser.add_argument('--long', type=int, default=4, help='number of additional containers that run for the whole time')
    parser.add_argument('--count', type=int, help='number of containers, instead of a time')
    parser.add_argument('--upgrades', type=int, help='weight of upgrades among the operations')
    parser.add_argument('--life', type=int, help='run only this life of the seed')
    parser.add_argument('--pace', type=float, default=0.15, help='mean pause between operations, in seconds')
    parser.add_argument('--keep', action='store_true', help='keep the directory of a life that fails')
    parser.add_argument('--verbose', action='store_true', help='print the operations of all lives')
    return parser.parse_args()


def has_own_run():
    """Whether this life has a private /run for a fake journal."""
    if os.geteuid() != 0:
        return False
    try:
        hide_run()
    except OSError:
        return False
    return True


class Soak:
    def __init__(self, given, directory):
        self.given, self.directory = given, directory
        self.tapes = {fd: Tape(directory, fd, given.seed) for fd in (1, 2)}
        self.until = time.monotonic() + given.seconds
        self.job_options = types.SimpleNamespace(user=0, case=SoakCase, reference=False, keep=given.keep)
        self.jobs, self.failed, self.ended, self.counts = [], [], 0, collections.Counter()

    def start(self, number):
        long = number >= LONG

        def live(t):
            os.umask(0o022)
            one = Life(t, self.given.seed, number, self.tapes, long, self.until, self.given.pace, has_own_run())
            try:
                one.live()
            finally:
                if self.given.verbose:
                    print('\n'.join(one.story))
            print('counts: ' + json.dumps(one.counts))
        live.timeout = int(self.given.seconds if long else 0) + 280
        self.jobs.append(runner.Job(str(number), live, self.job_options))

    def collect(self, timeout):
        """Reads the output of lives, and evaluates those that have ended."""
        ready = select.select([job.reader for job in self.jobs], [], [], timeout)[0]
        for job in list(self.jobs):
            if time.monotonic() > job.limit:
                os.killpg(job.pid, signal.SIGKILL)
            if job.reader in ready and not job.pump():
                self.jobs.remove(job)
                self.finish(job)

    def finish(self, job):
        result, lines = job.end()
        self.ended += 1
        for line in lines:
            if line.startswith('counts: '):
                self.counts.update(json.loads(line[len('counts: '):]))
        if result != 'ok' or self.given.verbose:
            print('\n'.join(lines))
        if result != 'ok':
            self.failed.append(job.name)
            print(f'life {job.name} of seed {self.given.seed}: {result}; repeat with: '
                  f'tests/stress/soak/soak.py --seed {self.given.seed} --life {job.name}', flush=True)

    def run(self):
        if self.given.life is not None:
            self.start(self.given.life)
        else:
            self.run_population()
        while self.jobs:
            self.collect(1)

    def run_population(self):
        for number in range(self.given.long):
            self.start(LONG + number)
        number = 0
        count = self.given.count
        while (number < count if count else time.monotonic() < self.until) and len(self.failed) < FAILURES_MAX:
            short = sum(int(job.name) < LONG for job in self.jobs)
            if short < self.given.lives:
                self.start(number)
                number += 1
            self.collect(0.05 if short < self.given.lives else 0.5)

    def report(self):
        for name in sorted(self.counts):
            print(f'{self.counts[name]:12} {name}')
        print(f'seed {self.given.seed}: {self.ended} lives, {len(self.failed)} failed', flush=True)


def main():
    given = options()
    if given.upgrades is not None:
        life.OPERATIONS['upgrade'] = given.upgrades
    print(f'seed {given.seed}, {given.seconds:.0f} s', flush=True)
    os.nice(10)
    directory = pathlib.Path(tempfile.mkdtemp(prefix='conmon-soak.'))
    soak = Soak(given, directory)
    try:
        soak.run()
    finally:
        shutil.rmtree(directory)
    soak.report()
    sys.exit(1 if soak.failed else 0)


if __name__ == '__main__':
    main()
