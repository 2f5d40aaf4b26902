/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Selection of lines: options include and exclude. */

#include "log/api/record.h"

/* A pattern without `*` matches lines that contain it. One with `*`, which stands for any bytes, must match
 * the whole line. Matching takes linear time for any pattern. */
bool log_pattern_matches(const char *pattern, const char *line, size_t len);

typedef struct LogFilter {
        /* a line must match one of them, unless there are none; ends with NULL; borrowed */
        const char *const *include;
        const char *const *exclude; /* and must not match any of these */
        bool passing[N_STREAMS];    /* the decision for the current line of each stream */
} LogFilter;

/* The first record of a line decides for its other records. */
bool log_filter_passes(LogFilter *f, const LogRecord *r);
