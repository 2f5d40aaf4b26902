# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Black-box tests of the monitor: what a test file needs comes from here.

A test file defines functions `test_*(t)` and ends with `main()`. `t` is a `Case`: a directory of its own,
ways to start the monitor, and a check at the end that nothing is left behind. Environment:

    CONMON              the monitor under test; default build/src/conmon of this tree
    CONMON_TEST_RUNTIME the fake runtime; default build/tests/lib/runtime/fake-runtime
    CONMON_TEST_TIMEOUT_FACTOR
                        multiplies all time limits; default 1
    CONMON_TEST_USER    if the tests run as root: the number of an ordinary user to run them as
"""

from . import listing, manual, pages
from .attach import Attach, drain
from .case import Case, CID, RUNTIME, CONMON, SHORT_CID, ignored
from .check import Failure, Skip, check, equal, matches, skip, wait_for
from .inotify import Inotify
from .logs import Record, content, parse, parse_json, whole_lines
from .monitor import Monitor
from .pipes import Channel, StartPipe
from .proc import (alive, children, context_switches, cpu_seconds, descendants, descriptors, environ, kill,
                   parent, status_field)
from .runner import differs, last, main, needs_no_root, needs_root, slow
from .tools import tool

__all__ = [name for name in dir() if not name.startswith('_')]
