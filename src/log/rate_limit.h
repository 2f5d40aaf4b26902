#pragma once

/* How many lines a sink takes in an interval: options rate-limit-burst,
 * rate-limit-interval, rate-limit-action. */

#include "base/watch.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct LogRateLimit {
        int64_t burst;   /* lines an interval; 0: no limit */
        gint64 interval; /* microseconds, at most a day */
        bool block;      /* the container waits; else lines are dropped until the interval ends */
        bool limited;    /* the limit is reached */
        /* of the interval; with `block`: when what came so far is paid for; monotonic, nanoseconds */
        gint64 end;
        int64_t used;    /* lines of the interval; not with `block` */
        Timer timer;     /* runs while limited */
} LogRateLimit;

/* `on_end` is called when a limit that was reached holds no more; it calls log_rate_limit_end. */
void log_rate_limit_init(LogRateLimit *l, int64_t burst, gint64 interval, bool block, TimerFunc on_end,
                         void *data);
void log_rate_limit_end(LogRateLimit *l);

/* Counts a line that comes at `now`, monotonic, microseconds. False if it is to be dropped. */
bool log_rate_limit_take(LogRateLimit *l, gint64 now);
