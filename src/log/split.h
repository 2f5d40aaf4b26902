#pragma once

/* Cutting a chunk of output into records: once, for all sinks. */

#include "log/record.h"

/* How many bytes of the chunk can go out now. Lines that are finished can; of a line that is not, whole
 * multiples of LOG_RECORD_MAX; what is left over only if nothing more can be read at once (`more` false). */
size_t log_split_ready(const char *data, size_t len, bool more);

/* Where a stream is within a line. All zero, but for next_id, is the start. */
typedef struct LogSplitter {
        StreamId stream;
        uint32_t ordinal;    /* of the piece before; 0 at the start of a line */
        uint64_t partial_id; /* of the line */
        uint64_t next_id;    /* for the next line that comes in pieces; never 0 */
        int64_t now_ns;      /* of the chunk */
        bool more;           /* the chunk is not all that can be read at once */
} LogSplitter;

/* Prepares the splitter of a stream. `seed` makes the ids of partial records differ between runs. */
void log_splitter_init(LogSplitter *s, StreamId stream, uint64_t seed);

/* Cuts the next records off `data`, which is in whole to go out (see log_split_ready), at most
 * `max` of them. They point into it. The caller has set now_ns and more. Returns their number and
 * how many bytes they cover. */
size_t log_splitter_cut(LogSplitter *s, const char *data, size_t len, LogRecord *records, size_t max,
                        size_t *ret_used);
