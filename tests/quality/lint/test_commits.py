#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The form of commit messages, since the rule was introduced."""

import re
import subprocess

from rules import TOP
from harness import check, equal, main, skip

FIRST = '4a9d341'
SUBJECT_MAX = 60


def git(*argv):
    """The output of git. Skips the test in a tarball or a shallow clone."""
    done = subprocess.run(['git', '-C', TOP, *argv], capture_output=True, text=True)
    if done.returncode:
        skip(f'no history here: {done.stderr.strip()}')
    return done.stdout


def complaints(subject, body):
    if len(subject) > SUBJECT_MAX:
        yield f'the subject has {len(subject)} characters'
    if not re.match(r'[A-Za-z.][\w./, -]*: \S', subject):
        yield 'the subject does not begin with an area and a colon'
    if not body.strip():
        yield 'the body is missing'


def test_commits(t):
    """A subject with an area and a short summary, and a body with the reason."""
    check((TOP / '.git').exists() or skip('no history here'), 'no repository')
    log = git('log', '--no-merges', '--format=%h%x00%s%x00%b%x01', f'{FIRST}..HEAD')
    commits = [commit.strip().split('\0') for commit in log.split('\1') if commit.strip()]
    check(commits, 'no commits')
    equal([f'{commit} {subject}: {what}' for commit, subject, body in commits for what in complaints(subject, body)], [],
          'commits')


def test_commits_can_fail(t):
    equal([*complaints('log: keep the last line', 'It was lost.')], [], 'a good commit')
    for subject, body in (('log: ' + 'x' * SUBJECT_MAX, 'why'), ('keep the last line', 'why'), ('log: keep it', '\n')):
        equal(len([*complaints(subject, body)]), 1, subject)


if __name__ == '__main__':
    main()
