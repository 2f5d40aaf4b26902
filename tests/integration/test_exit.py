#!/usr/bin/python3
"""How a container ended: exit files, the exit status of the monitor, their order."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from harness import *  # noqa


def test_exit_code(t):
    t.create('exit 3').finish(3)


def test_signal_is_128_plus_number(t):
    """B22"""
    t.create('die 9').finish(137)


if __name__ == '__main__':
    main()
