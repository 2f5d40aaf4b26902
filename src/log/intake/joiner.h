/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Joins or splits records for sinks that need a size of their own, or whole lines. */

#include "base/state.h"
#include "log/api/record.h"

/* Gets a record. It is valid during the call, as are the next `ahead` bytes of its line, which follow it in
 * memory. */
typedef void (*LogRecordFunc)(const LogRecord *record, size_t ahead, void *data);

typedef struct LogJoinerConfig {
        size_t max_record; /* bytes of a record */
        /* a line is cut only when this many bytes after the cut are known, or its end; only with `hold` */
        size_t look_ahead;
        bool hold;         /* hold unfinished lines until their end, or max_record bytes */
        bool split_full;   /* split a line of exactly max_record bytes, too: the second record is empty */
        bool characters;   /* no record but the last one ends within a UTF-8 character */
        LogRecordFunc emit;
        void *data;
} LogJoinerConfig;

typedef struct LogJoiner LogJoiner;

LogJoiner *log_joiner_new(const LogJoinerConfig *config);
void log_joiner_free(LogJoiner *j);

/* Processes a record, and emits each one that is complete. A record of several joined pieces has
 * the time of the first. */
void log_joiner_push(LogJoiner *j, const LogRecord *r);

/* Returns how many of the records, all of one stream, are whole lines that would be emitted unchanged: they
 * need not be pushed. *ret_payload is the number of the container's bytes in them. */
size_t log_joiner_count_whole(const LogJoiner *j, const LogRecord *records, size_t n, size_t *ret_payload);

/* Changes max_record. To be called before the first push. */
void log_joiner_set_max(LogJoiner *j, size_t max_record);

/* Takes over the line of a stream that another joiner, which j replaces, has begun. No effect if j does not
 * hold lines, or if it is too long; then the other one still has it. */
void log_joiner_take_over(LogJoiner *j, LogJoiner *old, StreamId stream);

/* True if this stream is within a line whose last emitted piece had this partial_id. */
bool log_joiner_is_within(const LogJoiner *j, StreamId stream, uint64_t partial_id);

/* The streams have ended: emits held bytes as records with LOG_RECORD_ENDS. The only piece of a line gets no
 * number, like a whole line. */
void log_joiner_flush(LogJoiner *j);

/* Live upgrade. Keeps held bytes and max_record. */
void log_joiner_save(const LogJoiner *j, StateWriter *w);
void log_joiner_restore(LogJoiner *j, StateReader *r);

/* Gives unused memory back to the kernel. */
void log_joiner_release(LogJoiner *j);
