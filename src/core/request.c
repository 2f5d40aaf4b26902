/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "core/request.h"

#include "base/clock.h"
#include "base/diag.h"
#include "base/json.h"
#include "core/monitor.h"

#include <string.h>

/* How often, and for how long in all, a request waits for the main thread: a second. */
#define POSTPONED_USEC (G_USEC_PER_SEC / 50)
#define POSTPONED_MAX  50

/* On a slow disk the stand-in, in which requests fail, runs the loop every now and then. */
static void
on_start(void *data)
{
        Monitor *m = data;
        if (stand_in_serves(m->stand_in) && m->request.postponed++ < POSTPONED_MAX)
                timer_start(&m->request.start, POSTPONED_USEC);
        else
                m->request.run(m);
}

void
request_begin(Monitor *m, const char *kind, TimerFunc run)
{
        request_done(&m->request);
        m->request = (Request){.kind = kind, .run = run};
        line_fifo_hold(m->endpoints.ctl);
        timer_init(&m->request.start, on_start, m);
        timer_start(&m->request.start, 0);
}

void
request_answer(Monitor *m, char *failure)
{
        Request *r = &m->request;
        if (failure)
                diag_warn("Failed to %s: %s", r->kind, failure);
        timer_stop(&r->start);
        r->answered = true;
        r->answered_ns = clock_realtime_ns();
        r->failure = failure;
        line_fifo_resume(m->endpoints.ctl);
}

void
request_describe(const Request *r, GString *json)
{
        char at[CLOCK_UTC_SIZE];
        if (!r->answered)
                return;
        clock_format_utc(r->answered_ns, at);
        g_string_append_printf(json, ",\"request\":{\"kind\":\"%s\",\"result\":\"%s\",\"at\":\"%s\"", r->kind,
                               r->failure ? "failed" : "ok", at);
        if (r->failure) {
                g_string_append(json, ",\"message\":");
                json_append_string(json, r->failure, strlen(r->failure));
        }
        g_string_append_c(json, '}');
}

void
request_done(Request *r)
{
        timer_stop(&r->start);
        g_clear_pointer(&r->failure, g_free);
}
