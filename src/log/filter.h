#pragma once

/* Which lines a sink takes: options include and exclude. */

#include "log/record.h"

/* A pattern without `*` fits lines that contain it; one with `*` fits lines that it describes from the first
 * byte to the last, `*` being any bytes. Takes time in proportion to the line, whatever the pattern is. */
bool log_pattern_matches(const char *pattern, const char *line, size_t len);

typedef struct LogFilter {
        /* a line must fit one of them, if there are any; ends with NULL; borrowed */
        const char *const *include;
        const char *const *exclude; /* and none of these */
        bool passing[N_STREAMS];    /* what was decided for the line that goes on */
} LogFilter;

/* Decides by the first record of a line; its later records share its fate. */
bool log_filter_passes(LogFilter *f, const LogRecord *r);
