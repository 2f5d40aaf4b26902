#!/usr/bin/python3
"""Containers of all kinds for a given time, with everything that can happen to them: see README.md."""

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

# Others are to be served first, and nothing here is about speed.
os.environ.setdefault('CONMON_TEST_PATIENCE', '6')
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..'))
sys.path.insert(0, os.path.join(HERE, '../receivers'))

from harness import runner  # noqa: E402
from life import Life, SoakCase  # noqa: E402
from receivers import hide_run  # noqa: E402
from tape import Tape  # noqa: E402

FAILURES_MAX = 3  # then it ends
LONG = 1000000  # lives from this number on last for the whole time


def options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float, default=float(os.environ.get('CONMON_SOAK_SECONDS', '60')),
                        help='how long containers are started')
    parser.add_argument('--seed', default=os.environ.get('CONMON_SOAK_SEED') or str(random.SystemRandom().randrange(10**9)),
                        help='any text; random if there is none')
    parser.add_argument('--lives', type=int, default=8, help='how many containers at a time')
    parser.add_argument('--long', type=int, default=4, help='how many more live for the whole time')
    parser.add_argument('--life', type=int, help='only this life of the seed, alone')
    parser.add_argument('--pace', type=float, default=0.15, help='mean pause between operations, in seconds')
    parser.add_argument('--keep', action='store_true', help='keep the directory of a life that fails')
    parser.add_argument('--verbose', action='store_true', help='print the operations of all lives')
    return parser.parse_args()


def has_own_run():
    """Whether this life has a /run for itself, where it can put a journal."""
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
            life = Life(t, self.given.seed, number, self.tapes, long, self.until, self.given.pace, has_own_run())
            try:
                life.live()
            finally:
                if self.given.verbose:
                    print('\n'.join(life.story))
            print('counts: ' + json.dumps(life.counts))
        live.timeout = int(self.given.seconds if long else 0) + 280
        self.jobs.append(runner.Job(str(number), live, self.job_options))

    def collect(self, timeout):
        """Takes what lives printed, and looks at those that have ended."""
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
            print(f'life {job.name} of seed {self.given.seed}: {result}; again, alone: '
                  f'tests/soak/soak.py --seed {self.given.seed} --life {job.name}', flush=True)

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
        while time.monotonic() < self.until and len(self.failed) < FAILURES_MAX:
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
