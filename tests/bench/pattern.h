#pragma once

/* What the measured containers write: an endless, repeating run of numbered lines. Whoever reads it (a log,
 * an attach client) can tell from the offset alone what must be there, so nothing can be lost, doubled or
 * moved without being seen. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As many bytes can be taken from one pointer. */
#define PATTERN_SPAN (256 * 1024)

typedef struct Pattern {
        char *block;
        size_t period;
} Pattern;

/* Lines of `line` bytes, the newline included (at least 1). With `crlf` each is one byte longer and ends in
 * CR LF: what a terminal makes of them. Ends the program if there is no memory. */
void pattern_init(Pattern *p, size_t line, bool crlf);

/* Returns the bytes at `offset` of the stream; PATTERN_SPAN of them can be read. */
const char *pattern_at(const Pattern *p, uint64_t offset);

/* True if the `len` bytes at `data` are what the stream has at `offset`. */
bool pattern_matches(const Pattern *p, uint64_t offset, const char *data, size_t len);
