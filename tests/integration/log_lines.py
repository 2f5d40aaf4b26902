#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Numbered lines of pseudo-random length, the same in each run: `log_lines.py COUNT SECONDS` writes COUNT of
them in at least SECONDS."""

import random
import sys
import time

# Printable ASCII without the backslash.
FILLER = bytes(32 + number % 95 for number in range(70000)).replace(b'\\', b'')
BATCH = 5000


def batches(count):
    """The lines as bytes, BATCH at a time. Some are longer than a record."""
    source = random.Random(count)
    for first in range(0, count, BATCH):
        batch = min(BATCH, count - first)
        lengths = [int(source.expovariate(1 / 40)) for _ in range(batch)]
        lengths[source.randrange(batch)] = source.randrange(16000, 66000)
        yield b''.join(b'%d:%b\n' % (first + index, FILLER[length % 7:length]) for index, length in enumerate(lengths))


def main(count, seconds):
    start = time.monotonic()
    for number, data in enumerate(batches(count), 1):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        time.sleep(max(0, start + seconds * number * BATCH / count - time.monotonic()))


if __name__ == '__main__':
    main(int(sys.argv[1]), float(sys.argv[2]))
