/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* One record: a line of output, or a piece of one that is too long or not finished yet. */

#include "base/stream_id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most bytes one record holds by default, and the most that log_write leaves unconsumed. */
#define LOG_RECORD_MAX 16384

enum {
        LOG_RECORD_PARTIAL = 1 << 0,   /* the line continues in the next record of this stream */
        LOG_RECORD_CONTINUES = 1 << 1, /* the line began in an earlier record of this stream */
        /* partial because nothing more can be read without waiting, not because of its size */
        LOG_RECORD_PAUSED = 1 << 2,
        LOG_RECORD_MARKER = 1 << 3,    /* not from the container: reports what was lost */
        /* partial because the stream ended within the line: nothing follows */
        LOG_RECORD_ENDS = 1 << 4,
};

/* The bytes have no newline and are borrowed: they are valid until the function that got the record
 * returns. A record that is neither PARTIAL nor a MARKER has its newline right after its bytes, so that
 * bytes[len] is '\n' and may be copied along. */
typedef struct LogRecord {
        const char *bytes;
        uint32_t len;
        uint32_t ordinal;    /* of this piece within its line, from 1; 0: a line of one piece */
        int64_t time_ns;     /* when it was read, nanoseconds since 1970 */
        /* the same for all pieces of a line, no other line has it; 0: a line of one piece */
        uint64_t partial_id;
        /* the container's bytes that it represents, with the newline; of a marker: the number of lost
         * records */
        uint32_t payload;
        uint8_t stream;      /* a StreamId */
        uint8_t flags;
} LogRecord;

/* True if no piece of its line follows. */
static inline bool
log_record_is_last(const LogRecord *r)
{
        return !(r->flags & LOG_RECORD_PARTIAL) || r->flags & LOG_RECORD_ENDS;
}

/* True if the record is empty or white space according to Java's isWhitespace, as servers check: no-break
 * spaces are not. */
bool log_record_is_blank(const LogRecord *r);

/* Writes the members of a JSON object that say which piece of its line the record is, at most
 * 96 bytes: `,"partial_id":"…","partial_ordinal":1,"partial_last":false`; nothing for a
 * line of one piece. Returns the end. */
char *log_record_put_partial(const LogRecord *r, char *at);

/* Some records of one stream, in order. */
typedef struct LogBatch {
        const LogRecord *records;
        size_t n;
        size_t payload; /* the container's bytes in them, including newlines */
        StreamId stream;
} LogBatch;
