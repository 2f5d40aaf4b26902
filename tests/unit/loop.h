/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Running the main loop in tests. */

#include "base/watch.h"

/* Runs the main loop until no source is ready; fails if one stays ready forever. */
static inline void
loop_serve(void)
{
        int rounds = 0;
        while (loop_iterate(false))
                g_assert_cmpint(++rounds, <, 2000);
}

static inline void
loop_time_over(void *data)
{
        *(bool *)data = true;
}

/* Waits until a source is ready, and serves it. Returns false if there was none within this time. */
static inline bool
loop_wait(gint64 usec)
{
        bool over = false;
        Timer limit;
        timer_init(&limit, loop_time_over, &over);
        timer_start(&limit, usec);
        while (!loop_iterate(true))
                continue;
        timer_stop(&limit);
        return !over;
}

/* The same for tests that look for something else, which has changed by then, or will soon. */
static inline void
loop_wait_briefly(void)
{
        (void)loop_wait(5000);
}
