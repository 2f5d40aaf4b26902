/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Compression of messages in memory. zlib is loaded for the first message. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

typedef struct Deflate {
        bool gzip; /* RFC 1952, else zlib's own format, RFC 1950 */
        int level; /* zlib's, -1 to 9 */
        struct DeflateState *state; /* NULL: zlib is not loaded */
} Deflate;

/* Writes the compressed form of all pieces together to `out`. Returns its length; 0 if it would be longer
 * than `max`, or zlib can't be loaded. */
size_t deflate_pieces(Deflate *d, const struct iovec *pieces, size_t n, char *out, size_t max);

/* Loads zlib. False if that fails. */
bool deflate_is_possible(Deflate *d);

/* Frees all memory, and unloads zlib, until the next message. */
void deflate_release(Deflate *d);
