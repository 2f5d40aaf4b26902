/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/intake/rate_limit.h"

#define NS_PER_USEC 1000

void
log_rate_limit_init(LogRateLimit *l, int64_t burst, gint64 interval, bool block, TimerFunc on_end, void *data)
{
        *l = (LogRateLimit){.burst = burst, .interval = interval, .block = block};
        timer_init(&l->timer, on_end, data);
}

void
log_rate_limit_end(LogRateLimit *l)
{
        l->limited = false;
        timer_stop(&l->timer);
}

static void
limit_for(LogRateLimit *l, gint64 usec)
{
        l->limited = true;
        timer_start(&l->timer, usec);
}

/* Each line takes up its share of the interval. Lines that were read before the container could be stopped
 * are accepted, and delay later ones. */
static void
take_credit(LogRateLimit *l, gint64 now)
{
        if (__builtin_add_overflow(MAX(l->end, now * NS_PER_USEC), l->interval * NS_PER_USEC / l->burst,
                                   &l->end))
                l->end = INT64_MAX;
        gint64 ahead = l->end / NS_PER_USEC - now;
        if (ahead > l->interval)
                limit_for(l, ahead - l->interval / 2);
}

bool
log_rate_limit_take(LogRateLimit *l, gint64 now)
{
        if (l->block) {
                take_credit(l, now);
                return true;
        }
        if (now * NS_PER_USEC >= l->end) {
                l->end = (now + l->interval) * NS_PER_USEC;
                l->used = 0;
                log_rate_limit_end(l);
        }
        if (++l->used <= l->burst)
                return true;
        if (!l->limited)
                limit_for(l, l->end / NS_PER_USEC - now);
        return false;
}

void
log_rate_limit_save(const LogRateLimit *l, StateWriter *w)
{
        state_begin(w, "rate-limit");
        state_put_uint(w, "limited", l->limited);
        state_put_int(w, "end", l->end);
        state_put_int(w, "used", l->used);
        timer_save(&l->timer, w, "timer");
        state_end(w);
}

void
log_rate_limit_restore(LogRateLimit *l, StateReader *r)
{
        state_enter(r, "rate-limit");
        l->limited = state_get_bool(r, "limited");
        l->end = state_get_int(r, "end", 0, INT64_MAX);
        l->used = state_get_int(r, "used", 0, INT64_MAX / 2);
        timer_restore(&l->timer, r, "timer");
        state_leave(r);
}
