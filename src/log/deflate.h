#pragma once

/* Compression of single messages in memory, with a zlib that is loaded when the first message comes. */

#include <stdbool.h>
#include <stddef.h>

typedef struct Deflate {
        bool gzip; /* RFC 1952, else zlib's own format, RFC 1950 */
        int level; /* as zlib has it, -1 to 9 */
        struct DeflateState *state; /* NULL: none at the moment */
} Deflate;

/* Writes the compressed form of `len` bytes to `out`. Returns its length; 0 if it would be longer than `max`
 * or there is no zlib (see deflate_is_possible). */
size_t deflate_message(Deflate *d, const char *bytes, size_t len, char *out, size_t max);

/* True if there is a zlib. */
bool deflate_is_possible(Deflate *d);

/* Memory goes back until the next message. */
void deflate_release(Deflate *d);
