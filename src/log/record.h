#pragma once

/* One record: a line of output, or a piece of one that is too long or not finished yet. */

#include "base/stream_id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        LOG_RECORD_PARTIAL = 1 << 0,   /* the line goes on in the next record of this stream */
        LOG_RECORD_CONTINUES = 1 << 1, /* the line began in an earlier record of this stream */
        /* partial because nothing more can be read now, not because of its size */
        LOG_RECORD_PAUSED = 1 << 2,
        LOG_RECORD_MARKER = 1 << 3,    /* not from the container: tells what was lost */
};

/* The bytes are without their newline and belong to somebody else: they are valid until the function that got
 * the record returns. A record that is neither PARTIAL nor a MARKER has its newline right behind its bytes,
 * so that bytes[len] is '\n' and may be copied along. */
typedef struct LogRecord {
        const char *bytes;
        uint32_t len;
        uint32_t ordinal;    /* of this piece within its line, from 1; 0: a line of one piece */
        int64_t time_ns;     /* when it was read, nanoseconds since 1970 */
        /* the same for all pieces of a line, no other line has it; 0: a line of one piece */
        uint64_t partial_id;
        /* how many of the container's bytes it stands for, with the newline; of a marker: the lost records
         * that it tells of */
        uint32_t payload;
        uint8_t stream;      /* a StreamId */
        uint8_t flags;
} LogRecord;

/* Some records of one stream, in order. */
typedef struct LogBatch {
        const LogRecord *records;
        size_t n;
        size_t payload; /* the container's bytes in them, newlines counted */
        StreamId stream;
} LogBatch;
