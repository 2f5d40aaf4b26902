#!/usr/bin/python3
"""Numbered lines of random length, the same each time: `log_lines.py COUNT SECONDS` writes them in this time or more."""

import random
import sys
import time

# All of ASCII that can be printed, but no backslash.
FILLER = bytes(32 + number % 95 for number in range(70000)).replace(b'\\', b'')
BATCH = 5000


def batches(count):
    """The lines as bytes, BATCH at a time. Some are longer than a record can be."""
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
