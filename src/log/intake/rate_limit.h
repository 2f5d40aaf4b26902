/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Limits the lines of a sink per interval: options rate-limit-burst, rate-limit-interval,
 * rate-limit-action. */

#include "base/watch.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct LogRateLimit {
        int64_t burst;   /* lines per interval; 0: no limit */
        gint64 interval; /* microseconds, at most a day */
        bool block;      /* the container waits; otherwise lines are dropped until the end of the interval */
        bool limited;    /* the limit is reached */
        /* of the interval; with `block`: of the share of the accepted lines; monotonic, nanoseconds */
        gint64 end;
        int64_t used;    /* lines in the interval; not used with `block` */
        Timer timer;     /* runs while limited */
} LogRateLimit;

/* `on_end` is called when lines are no longer limited; it calls log_rate_limit_end. */
void log_rate_limit_init(LogRateLimit *l, int64_t burst, gint64 interval, bool block, TimerFunc on_end,
                         void *data);
void log_rate_limit_end(LogRateLimit *l);

/* Live upgrade. log_rate_limit_init is called before restoring. */
void log_rate_limit_save(const LogRateLimit *l, StateWriter *w);
void log_rate_limit_restore(LogRateLimit *l, StateReader *r);

/* Counts a line at the time `now` (monotonic, microseconds). Returns false if it has to be dropped. */
bool log_rate_limit_take(LogRateLimit *l, gint64 now);
