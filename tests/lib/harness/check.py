# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Assertions. When they fail they report the actual value."""

import os
import re
import time

TIMEOUT_FACTOR = float(os.environ.get('CONMON_TEST_TIMEOUT_FACTOR', '1'))


class Failure(AssertionError):
    """An assertion failed."""


class Skip(Exception):
    """The machine lacks what a test needs."""


def skip(reason):
    raise Skip(reason)


def scaled(seconds):
    """A time limit, multiplied for slow machines and instrumented builds."""
    return seconds * TIMEOUT_FACTOR


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
    """Checks that the pattern matches the whole of `text`; returns the match."""
    found = re.fullmatch(pattern, text, re.S)
    if not found:
        raise Failure(f'{what}: {show(text)} does not match {pattern!r}')
    return found


def wait_for(condition, what, timeout=10):
    """Polls until `condition()` is true and returns what it returned."""
    deadline = time.monotonic() + scaled(timeout)
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failure(f'timeout after {scaled(timeout)} s: {what}')
        time.sleep(scaled(0.002))
