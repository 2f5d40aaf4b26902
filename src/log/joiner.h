#pragma once

/* Makes records of another size than the shared ones, for the sinks that need that: longer or shorter
 * ones, or whole lines only. */

#include "log/record.h"

/* Takes a record, which is valid for the call. */
typedef void (*LogRecordFunc)(const LogRecord *record, void *data);

typedef struct LogJoinerConfig {
        size_t max_record; /* the most bytes of a record */
        bool hold;         /* unfinished lines wait for their end, or for max_record bytes of them */
        bool split_full;   /* a line of exactly max_record bytes is cut too: that, and nothing */
        bool characters;   /* no record ends within a UTF-8 character, but the last one may */
} LogJoinerConfig;

typedef struct LogJoiner LogJoiner;

LogJoiner *log_joiner_new(const LogJoinerConfig *config);
void log_joiner_free(LogJoiner *j);

/* Takes a record of the shared splitting; calls `emit` for each record that is ready by that. A record of
 * several joined pieces has the time of the first one. */
void log_joiner_push(LogJoiner *j, const LogRecord *r, LogRecordFunc emit, void *data);

/* How many of the records, all of one stream, would come out as they are: whole lines that need not be
 * pushed. Tells the container's bytes in them. */
size_t log_joiner_count_whole(const LogJoiner *j, const LogRecord *records, size_t n, size_t *ret_payload);

/* What is held back comes out as partial records. */
void log_joiner_flush(LogJoiner *j, LogRecordFunc emit, void *data);

/* Memory that holds nothing goes back to the kernel. */
void log_joiner_release(LogJoiner *j);
