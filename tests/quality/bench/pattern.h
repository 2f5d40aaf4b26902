/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The output of the measured containers: an endless sequence of numbered lines. A reader can calculate the
 * expected bytes from the offset alone, so lost, duplicated or reordered data is always found. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The number of bytes that can be read from one pointer. */
#define PATTERN_SPAN (256 * 1024)

typedef struct Pattern {
        char *block;
        size_t period;
} Pattern;

/* Lines of `line` bytes, the newline included (at least 1). With `crlf` each is one byte longer and ends in
 * CR LF, as from a terminal. Ends the program if memory is exhausted. */
void pattern_init(Pattern *p, size_t line, bool crlf);

/* Returns the bytes at `offset` of the stream; PATTERN_SPAN of them can be read. */
const char *pattern_at(const Pattern *p, uint64_t offset);

/* Whether the `len` bytes at `data` are equal to those of the stream at `offset`. */
bool pattern_matches(const Pattern *p, uint64_t offset, const char *data, size_t len);
