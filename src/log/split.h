/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Splitting a chunk of output into records: once, for all sinks. */

#include "base/state.h"
#include "log/api/record.h"

/* How many bytes of the chunk can be logged now: complete lines; of an incomplete line, whole multiples of
 * LOG_RECORD_MAX; the rest only if nothing more can be read without waiting (`more` false). */
size_t log_split_ready(const char *data, size_t len, bool more);

/* The position of a stream within a line. All zero, except next_id, is the start. */
typedef struct LogSplitter {
        StreamId stream;
        uint32_t ordinal;    /* of the previous piece; 0 at the start of a line */
        uint64_t partial_id; /* of the line */
        uint64_t next_id;    /* for the next line that is split; never 0 */
        int64_t now_ns;      /* of the chunk */
        bool more;           /* more than the chunk can be read without waiting */
} LogSplitter;

/* Prepares the splitter of a stream. `seed` makes the ids of partial records differ between runs. */
void log_splitter_init(LogSplitter *s, StreamId stream, uint64_t seed);

/* Splits the next records off `data`, all of which can be logged (see log_split_ready), at most `max` of
 * them. They point into it. The caller has set now_ns and more. Returns their number and how many bytes
 * they cover. */
size_t log_splitter_cut(LogSplitter *s, const char *data, size_t len, LogRecord *records, size_t max,
                        size_t *ret_used);

/* Live upgrade. log_splitter_init is called before restoring. */
void log_splitter_save(const LogSplitter *s, StateWriter *w);
void log_splitter_restore(LogSplitter *s, StateReader *r);
