# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Shows the progress of `meson test`: progress.py MINUTES, with its output as stdin.

Prints a line for each test: its number and the total, the elapsed and the expected time, and the result."""

import re
import sys
import time

LINE = re.compile(r'\s*(?P<done>\d+)/(?P<all>\d+)\s+(?:\S+ (?:/ |- [^ :]+:))?(?P<name>\S+)\s+(?P<result>[A-Z]+)\s+(?P<took>[\d.]+)s')


def clock(seconds):
    return f'{int(seconds) // 60}:{int(seconds) % 60:02}'


def main():
    usual, started = float(sys.argv[1]) * 60, time.monotonic()
    for line in sys.stdin:
        found = LINE.match(line)
        if found:
            width = len(found['all'])
            print(f"{found['done']:>{width}} of {found['all']}  {clock(time.monotonic() - started)} of about "
                  f"{clock(usual)}  {found['name']:<32} {found['result']:<8} {found['took']} s", flush=True)
        elif re.match(r'(ERROR: (?!Unknown TAP)|FAILED|ninja: error)', line):
            print(line, end='', flush=True)


if __name__ == '__main__':
    main()
