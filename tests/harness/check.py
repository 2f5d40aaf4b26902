"""Statements about what must hold, which say what they saw when it does not."""

import os
import re
import time

PATIENCE = float(os.environ.get('CONMON_TEST_PATIENCE', '1'))


class Failure(AssertionError):
    """What a test expected did not happen."""


class Skip(Exception):
    """The machine lacks what a test needs."""


def skip(reason):
    raise Skip(reason)


def patient(seconds):
    """How long a wait may take that is to take at most so long: slow machines and builds need more."""
    return seconds * PATIENCE


def show(value):
    text = repr(value)
    return text if len(text) <= 2000 else f'{text[:1000]} ... {text[-900:]} (length {len(value)})'


def check(condition, message):
    if not condition:
        raise Failure(message)


def equal(actual, expected, what='value'):
    if actual != expected:
        raise Failure(f'{what}: expected {show(expected)}, got {show(actual)}')


def matches(pattern, text, what='text'):
    """Returns the match of the whole of `text`."""
    found = re.fullmatch(pattern, text, re.S)
    if not found:
        raise Failure(f'{what}: {show(text)} does not match {pattern!r}')
    return found


def wait_for(condition, what, timeout=10):
    """Polls until `condition()` is true and returns what it returned."""
    deadline = time.monotonic() + patient(timeout)
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failure(f'waited {patient(timeout)} s in vain for: {what}')
        time.sleep(patient(0.002))
