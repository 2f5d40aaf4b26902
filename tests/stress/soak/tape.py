# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The output of containers: files from which they copy pieces, so that the tests know each byte."""

import random

REGION = 1 << 20
SHORT, LONG, BINARY = 0, 1, 2
REGIONS = ('short lines', 'long lines', 'binary')
# By descriptor. Each line begins with this letter and a number, and does not contain the letter elsewhere.
LETTERS = {1: b'O', 2: b'E'}


def _lines(choice, letter, lengths):
    out, size, number = [], 0, choice.randrange(10000000)
    while size < REGION:
        length = choice.choice(lengths)
        number += 1
        line = b'%s%08d ' % (letter, number) + (b'abcdefghijklmnopqrstuvwxyz 0123456789' * (length // 37 + 1))[:length]
        if choice.random() < 0.05:
            line = b''  # empty ones, too
        out.append(line + b'\n')
        size += len(out[-1])
    return b''.join(out)[:REGION]


class Tape:
    """`path` is for containers, `data` for the tests. Short lines have up to 300 bytes, long ones up to 100,000."""

    def __init__(self, directory, fd, seed):
        choice = random.Random(f'{seed} tape {fd}')
        self.path = directory / f'tape{fd}'
        self.data = _lines(choice, LETTERS[fd], [0, 1, 10, 40, 80, 120, 300])
        self.data += _lines(choice, LETTERS[fd], [5, 90, 4000, 8100, 16384, 16385, 40000, 100000])
        self.data += choice.randbytes(REGION)
        self.path.write_bytes(self.data)

    def piece(self, choice, region, most, long=False):
        """A random piece of a region as (offset, length), mostly short, or a long one."""
        length = choice.randrange(REGION // 2) if long else int(most ** choice.random())
        return region * REGION + choice.randrange(REGION - length), length
